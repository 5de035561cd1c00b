"""When a KMS key was last used (AWS: GetKeyLastUsage, kms:TrailingDaysWithoutKeyUsage)."""

from msgspec import Struct

from strongroom.model.key import KmsKey

_HOUR = 3_600.0
_DAY = 86_400.0


class KeyUsage(Struct, frozen=True):
    """The last successful cryptographic operation with a KMS key: of which request, and of which audit record.

    `used` is when the request arrived, in seconds since the epoch. As stored it may be behind, but then by uses in the
    same hour alone: `jobs/key_usage.py` says when it is stored.
    """

    account: str
    region: str
    key_id: str
    used: float
    operation: str
    request_id: str
    event_id: str

    @property
    def hour(self) -> float:
        """The beginning of the hour (UTC) of the use, in seconds since the epoch."""
        return self.used // _HOUR * _HOUR


def trailing_days(key: KmsKey, usage: KeyUsage | None, tracked_since: float, now: float) -> int:
    """For how many whole days a key has not been used. Times are in seconds since the epoch.

    They are counted from the end of the hour of the last use, since later uses in that hour may not be stored: so the
    count is not too high. It begins with the key, or with `tracked_since` if the key was made before uses were noted.
    """
    since = max(key.created, tracked_since)
    if usage is not None:
        since = max(since, usage.hour + _HOUR)
    return int(max(0.0, now - since) // _DAY)
