"""What an operation is given besides its request: the call, and what it may reach."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import KeyUnavailable
from strongroom.keystores.contract import KeyStore, SymmetricKey
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal
from strongroom.snapshot import Snapshot
from strongroom.storage.contract import Storage, Write


class Call(Struct, frozen=True):
    """One call of an operation. `now` is seconds since the epoch, the same for all that the call does."""

    now: float
    request_id: str
    principal: Principal
    region: str
    snapshot: Snapshot
    key_store: KeyStore
    storage: Storage

    @property
    def account(self) -> str:
        """The caller's account."""
        return self.principal.account

    def open_symmetric(self, authorized: AuthorizedKey) -> SymmetricKey:
        """The key material of a key that this caller may use.

        Raises KeyUnavailable if the material is missing or does not unwrap.
        """
        key = authorized.key
        entry = self.snapshot.keys[key.region, key.account, key.key_id]
        material = entry.materials.get(authorized.material_id)
        if material is None:
            raise KeyUnavailable(f"The key material of {key.arn} is not available.")
        return self.key_store.open_symmetric(material)


class Change(NamedTuple):
    """What an operation that changes state wants: its response, and the writes to commit with the audit record.

    `made` is the key that comes into being, which the record names among its resources.
    """

    response: Struct | None
    writes: Sequence[Write]
    made: KmsKey | None = None
