"""The last uses of KMS keys: those that are stored, and over them what this process noted since."""

from collections.abc import Iterable, Sequence

from strongroom.model.key import KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.snapshot import KeyEntry


class Uses:
    """The newest use of each KMS key by this process, until `jobs/key_usage.py` has stored it.

    It counts at once in this process. Others know of it when it is stored: within a minute, if it is the first in its
    hour. Changed by the event loop's thread alone.
    """

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str, str], KeyUsage] = {}

    def note(self, keys: Sequence[KmsKey], *, now: float, operation: str, request_id: str, event_id: str) -> None:
        """Note that an operation used these keys; `now` is in seconds since the epoch. Every use passes here."""
        for key in keys:
            usage = KeyUsage(key.account, key.region, key.key_id, now, operation, request_id, event_id)
            self._noted[key.region, key.account, key.key_id] = usage

    def noted(self) -> list[KeyUsage]:
        """What is noted and not forgotten yet."""
        return list(self._noted.values())

    def forget(self, usages: Iterable[KeyUsage]) -> None:
        """Forget these uses, but none that came after."""
        for usage in usages:
            identity = (usage.region, usage.account, usage.key_id)
            if self._noted.get(identity) is usage:
                del self._noted[identity]

    def last(self, entry: KeyEntry) -> KeyUsage | None:
        """The last use of a key that this process knows of."""
        key = entry.key
        noted = self._noted.get((key.region, key.account, key.key_id))
        stored = None if entry.usage is None else entry.usage.record
        if noted is None or (stored is not None and stored.used > noted.used):
            return stored
        return noted
