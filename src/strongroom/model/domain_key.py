"""Domain keys: the keys under the root key or in an HSM, one family per purpose."""

from msgspec import Struct


class DomainKey(Struct, frozen=True):
    """A domain key as stored: wrapped by the root key, or encrypted in an HSM. New work takes the newest version.

    Of those that are in the HSM themselves, only the version is stored: `wrapped` is empty.

    `recovery` is the same key, wrapped for the holder of the recovery key.
    """

    purpose: str
    version: int
    created: float
    wrapped: bytes
    recovery: bytes | None = None

    def __repr__(self) -> str:
        return f"DomainKey({self.purpose} v{self.version})"
