"""What an operation is given besides its request: the call, and what it may reach."""

from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

from msgspec import Struct, structs

from strongroom import clock
from strongroom.authorization.decide import AuthorizedKey
from strongroom.authorization.identity import Identity
from strongroom.directory import Directory
from strongroom.errors import ConflictError, IntegrityError, KeyUnavailable, KMSInvalidState, NotFound
from strongroom.keystores.contract import (
    AgreementKey,
    DecapsulationKey,
    DecryptionKey,
    KeyStore,
    MacKey,
    SigningKey,
    SymmetricKey,
)
from strongroom.keystores.custom import CustomKeyStores
from strongroom.keystores.domain_keys import Seals
from strongroom.keystores.external_keys import ExternalKeys
from strongroom.model.custom_key_store import CustomKeyStore, KeyStoreUse
from strongroom.model.exchange import Incoming
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.numbered import Numbered
from strongroom.model.principal import Principal
from strongroom.operations.uses import Uses
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.audit_events import EventIndex
from strongroom.storage.contract import Keep, Replace, Storage, Write


class Call(Struct, frozen=True):
    """One call of an operation, by its name. `now` is seconds since the epoch, the same for all that the call does.

    `regions` are all that are served.
    """

    now: float
    request_id: str
    incoming: Incoming
    identity: Identity
    region: str
    snapshot: Snapshot
    key_store: KeyStore
    storage: Storage
    uses: Uses
    seals: Seals
    regions: Container[str]
    custom_key_stores: CustomKeyStores
    operation: str
    external_keys: ExternalKeys
    events: EventIndex

    @property
    def principal(self) -> Principal:
        """The caller."""
        return self.identity.principal

    @property
    def account(self) -> str:
        """The caller's account."""
        return self.identity.principal.account

    @property
    def directory(self) -> Directory:
        """The identities of the caller's account."""
        return self.snapshot.directories[self.account]

    def clock_is_trusted(self) -> bool:
        """Whether what cannot be undone may be dated by the clock."""
        return clock.doubt(clock.read_clocks(), self.snapshot.clock_readings.values()) is None

    def identity_change(self, response: Struct | None, *writes: Write) -> "Change":
        """A change of identities of the caller's account.

        It writes the account's row anew: of two changes of identities at once, one is decided again, so that what was
        looked at (a name that is free, a policy that nobody has) holds when it is written.
        """
        account, number = self.directory.account
        return Change(response, [*writes, Replace(account, number)])

    def open_symmetric(self, authorized: AuthorizedKey) -> SymmetricKey:
        """The material of a symmetric encryption key that this caller may use.

        These raise KeyUnavailable if the material is missing or does not unwrap. Of a key in a custom key store:
        KMSInvalidState if that does not do what it must.
        """
        key, material = authorized.key, self._material(authorized)
        store = self.snapshot.custom_key_store(key)
        if store is None:
            return self.key_store.open_symmetric(key, material)
        return self.custom_key_stores.connection(store).open_symmetric(self.use(key.arn), key, material)

    def random_bytes(self, authorized: AuthorizedKey, length: int) -> bytes:
        """Bytes fit for a data key, from where the key that encrypts it is."""
        store = self.snapshot.custom_key_store(authorized.key)
        if store is None:
            return self.key_store.random_bytes(length)
        return self.custom_key_stores.connection(store).random_bytes(length)

    def use(self, key_arn: str | None = None) -> KeyStoreUse:
        """What a custom key store is told of the call."""
        service = self.principal.service
        return KeyStoreUse(
            self.request_id,
            self.operation,
            self.principal.arn,
            key_arn,
            None if service is None else f"{service}.{self.region}.amazonaws.com",
        )

    def sealed_store_secret(self, custom_key_store_id: str, secret: str) -> bytes:
        """The secret of a custom key store of the caller's account, as it is stored; each time otherwise."""
        return self.seals.seal_store_secret(
            secret.encode(), account=self.account, region=self.region, custom_key_store_id=custom_key_store_id
        )

    def custom_key_store(self, custom_key_store_id: str) -> Numbered[CustomKeyStore]:
        """A custom key store of the caller's account, as it was found."""
        return self.snapshot.custom_key_stores[self.region, self.account, custom_key_store_id]

    def open_mac(self, authorized: AuthorizedKey) -> MacKey:
        """The material of an HMAC key that this caller may use."""
        return self.key_store.open_mac(authorized.key, self._material(authorized))

    def open_signing(self, authorized: AuthorizedKey) -> SigningKey:
        """The private key of a signing key that this caller may use."""
        return self.key_store.open_signing(authorized.key, self._material(authorized))

    def open_decryption(self, authorized: AuthorizedKey) -> DecryptionKey:
        """The private key of an asymmetric encryption key that this caller may use."""
        return self.key_store.open_decryption(authorized.key, self._material(authorized))

    def open_agreement(self, authorized: AuthorizedKey) -> AgreementKey:
        """The private key of a key agreement key that this caller may use."""
        return self.key_store.open_agreement(authorized.key, self._material(authorized))

    def open_decapsulation(self, authorized: AuthorizedKey) -> DecapsulationKey:
        """The private key of a key encapsulation key that this caller may use."""
        return self.key_store.open_decapsulation(authorized.key, self._material(authorized))

    def public_key(self, authorized: AuthorizedKey) -> bytes:
        """The public key of an asymmetric key that this caller may use, a DER SubjectPublicKeyInfo.

        Raises KMSInvalidState if its material was never imported.
        """
        if not authorized.key.current_material_id:
            raise KMSInvalidState(f"{authorized.key.arn} is pending import.")
        public_key = self._material(authorized).public_key
        assert public_key is not None, "asked for asymmetric keys only"
        return public_key

    def entry(self, authorized: AuthorizedKey) -> KeyEntry:
        """A key with all that belongs to it, as it was authorized."""
        key = authorized.key
        return self.snapshot.keys[key.region, key.account, key.key_id]

    def _material(self, authorized: AuthorizedKey) -> KeyMaterial:
        key = authorized.key
        material = self.entry(authorized).materials.get(authorized.material_id)
        if material is None:
            raise KeyUnavailable(f"The key material of {key.arn} is not available.")
        return material.record

    def read(self, authorized: AuthorizedKey) -> KmsKey:
        """The key as storage has it now: what is told of it is what anyone wrote. Blocks on the disk.

        Raises NotFound if it was deleted meanwhile, ConflictError if it was changed (the caller may not be allowed to
        see it as it is now), IntegrityError if its row was put back from before.
        """
        key = authorized.key
        found = self.storage.find(KmsKey, (key.account, key.region, key.key_id))
        if found is None:
            raise NotFound(f"Key '{key.arn}' does not exist")
        number = self.entry(authorized).number
        if found[1] < number:
            raise IntegrityError(f"the row of {key.arn} was put back from before")
        if found[1] > number:
            raise ConflictError(f"{key.arn} was changed meanwhile")
        return found[0]

    def replace(self, authorized: AuthorizedKey, **members: object) -> Replace:
        """The write that gives a key other `members`, decided on the key as it was authorized."""
        return Replace(structs.replace(authorized.key, **members), self.entry(authorized).number)

    def keep(self, authorized: AuthorizedKey) -> Keep:
        """The write that changes nothing, and conflicts unless the key is still as it was authorized."""
        return Keep(authorized.key, self.entry(authorized).number)


class Elsewhere(NamedTuple):
    """What a change does in another Region, which has a record of its own there (AWS: ReplicateKey, "CloudTrail").

    `key` is the key there, if the record names it among its resources.
    """

    event_name: str
    region: str
    request_parameters: dict[str, object]
    response_elements: dict[str, object]
    key: KmsKey | None = None


class Change(NamedTuple):
    """What an operation that changes state wants: its response, and the writes to commit with the audit record.

    `made` is the key that comes into being, which the record names among its resources. `elsewhere` is told by a second
    record, which refers to the request too. `undo` takes back, if the change is not made, what was made for it outside.
    """

    response: Struct | None
    writes: Sequence[Write]
    made: KmsKey | None = None
    elsewhere: Elsewhere | None = None
    undo: Callable[[], None] | None = None
