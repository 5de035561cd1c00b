"""What deletion leaves to do: the bytes of key material that is no longer stored may still be in the files."""

from msgspec import Struct


class PendingErasure(Struct, frozen=True):
    """A KMS key that was deleted, or material of it, until its bytes are gone from all files.

    `deleted` is when, in seconds since the epoch: the first time since bytes were erased last.
    """

    account: str
    region: str
    key_id: str
    deleted: float
