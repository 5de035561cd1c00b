"""KMS keys in an external key store, and who uses them."""

import secrets

from msgspec.structs import replace

from strongroom.keystores.contract import SymmetricKey
from strongroom.keystores.external.store import ExternalKeyStore
from strongroom.model.custom_key_store import KeyStoreUse
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import EXTERNAL_KEY_STORE
from tests.keys import kms_key

ALICE = "arn:aws:iam::111122223333:user/alice"


def external_key(xks_key_id: str = "key-1", key_id: str = "1234abcd-12ab-34cd-56ef-1234567890ab") -> KmsKey:
    """A key that has an external key."""
    key = kms_key(key_id=key_id)
    return replace(key, origin=EXTERNAL_KEY_STORE, custom_key_store_id="cks-1234", xks_key_id=xks_key_id)


def used_for(operation: str, via_service: str | None = None) -> KeyStoreUse:
    """Alice, who calls an operation."""
    return KeyStoreUse("0f-request", operation, ALICE, external_key().arn, via_service)


def opened(store: ExternalKeyStore, key: KmsKey | None = None, operation: str = "Encrypt") -> SymmetricKey:
    """New material of a key, for one use."""
    key = key or external_key()
    creating = KeyStoreUse("0f-create", "CreateKey", ALICE)
    material = store.new_material(creating, key, material_id=secrets.token_hex(32), created=1.5)
    return store.open_symmetric(used_for(operation), key, material)
