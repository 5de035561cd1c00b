"""What deletion leaves to do: the bytes of key material that is no longer stored may still be in the files."""

from msgspec import Struct


class PendingErasure(Struct, frozen=True):
    """A KMS key that was deleted at `deleted` (seconds since the epoch), until its bytes are gone from all files."""

    account: str
    region: str
    key_id: str
    deleted: float
