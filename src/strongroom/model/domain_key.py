"""Domain keys: the keys under the root key, one family per purpose."""

from msgspec import Struct


class DomainKey(Struct, frozen=True):
    """A domain key as stored: wrapped by the root key. The newest version of a purpose is used for new work.

    `recovery` is the same key, wrapped for the holder of the recovery key.
    """

    purpose: str
    version: int
    created: float
    wrapped: bytes
    recovery: bytes | None = None

    def __repr__(self) -> str:
        return f"DomainKey({self.purpose} v{self.version})"
