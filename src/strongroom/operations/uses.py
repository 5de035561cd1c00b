"""The last uses of KMS keys and of access keys: those that are stored, and over them what this process noted since."""

from collections.abc import Iterable, Sequence

from strongroom.model.key import KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.model.principal import AccessKeyUsage
from strongroom.snapshot import KeyEntry, Snapshot


class Uses:
    """The newest use of each KMS key and access key by this process, until `jobs/key_usage.py` has stored it.

    It counts at once in this process. Others know of it when it is stored: within a minute, if it is the first in its
    hour. Changed by the event loop's thread alone.
    """

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str, str], KeyUsage] = {}
        self._access_keys: dict[str, AccessKeyUsage] = {}

    def note(self, keys: Sequence[KmsKey], *, now: float, operation: str, request_id: str, event_id: str) -> None:
        """Note that an operation used these keys; `now` is in seconds since the epoch. Every use passes here.

        A request that took long may end after one that came later: that one stays.
        """
        for key in keys:
            identity = (key.region, key.account, key.key_id)
            before = self._noted.get(identity)
            if before is None or before.used <= now:
                self._noted[identity] = KeyUsage(
                    key.account, key.region, key.key_id, now, operation, request_id, event_id
                )

    def note_access_key(self, access_key_id: str, *, now: float, region: str, service: str) -> None:
        """Note that an access key signed a request of a service; `now` is in seconds since the epoch."""
        before = self._access_keys.get(access_key_id)
        if before is None or before.used <= now:
            self._access_keys[access_key_id] = AccessKeyUsage(access_key_id, now, region, service)

    def noted(self) -> list[KeyUsage | AccessKeyUsage]:
        """What is noted and not forgotten yet."""
        return [*self._noted.values(), *self._access_keys.values()]

    def forget(self, usages: Iterable[KeyUsage | AccessKeyUsage]) -> None:
        """Forget these uses, but none that came after."""
        for usage in usages:
            if isinstance(usage, AccessKeyUsage):
                if self._access_keys.get(usage.access_key_id) is usage:
                    del self._access_keys[usage.access_key_id]
                continue
            identity = (usage.region, usage.account, usage.key_id)
            if self._noted.get(identity) is usage:
                del self._noted[identity]

    def last_of_access_key(self, access_key_id: str, snapshot: Snapshot) -> AccessKeyUsage | None:
        """The last use of an access key that this process knows of."""
        stored = snapshot.access_key_usages.get(access_key_id)
        known = [self._access_keys.get(access_key_id), None if stored is None else stored.record]
        return max((usage for usage in known if usage is not None), key=lambda usage: usage.used, default=None)

    def last(self, entry: KeyEntry) -> KeyUsage | None:
        """The last use of a key that this process knows of."""
        key = entry.key
        noted = self._noted.get((key.region, key.account, key.key_id))
        stored = None if entry.usage is None else entry.usage.record
        if noted is None or (stored is not None and stored.used > noted.used):
            return stored
        return noted
