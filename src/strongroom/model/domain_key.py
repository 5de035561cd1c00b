"""Domain keys: the keys under the root key, one family per purpose."""

from msgspec import Struct


class DomainKey(Struct, frozen=True):
    """A domain key as stored: wrapped by the root key. The newest version of a purpose is used for new work."""

    purpose: str
    version: int
    created: float
    wrapped: bytes

    def __repr__(self) -> str:
        return f"DomainKey({self.purpose} v{self.version})"
