"""What deletion leaves to do: the bytes of key material that is no longer stored may still be somewhere."""

from msgspec import Struct

from strongroom.model.arn import key_arn


class PendingErasure(Struct, frozen=True):
    """A KMS key that was deleted, or material of it, until its bytes are gone from all files.

    `deleted` is when, in seconds since the epoch: the first time since bytes were erased last.
    Of a key whose material is in an HSM cluster, nothing is in the files: it notes the objects to destroy there, by the
    ids of the materials (`backing_keys`), and in which custom key store.
    """

    account: str
    region: str
    key_id: str
    deleted: float
    custom_key_store_id: str | None = None
    backing_keys: tuple[str, ...] | None = None

    @property
    def arn(self) -> str:
        """The ARN of the key."""
        return key_arn(self.region, self.account, self.key_id)
