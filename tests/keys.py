"""KMS keys and their material, as a key store is given them."""

import secrets
from functools import cache

from strongroom.crypto.key_pairs import generate_key_pair
from strongroom.keystores.contract import KeyStore
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_specs import AWS_KMS, ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT
from strongroom.model.key_states import ENABLED


def kms_key(
    key_spec: str = SYMMETRIC_DEFAULT,
    key_usage: str = ENCRYPT_DECRYPT,
    key_id: str = "1234abcd-12ab-34cd-56ef-1234567890ab",
) -> KmsKey:
    """A key whose material is not made yet."""
    return KmsKey(
        account="111122223333",
        region="us-east-1",
        key_id=key_id,
        key_spec=key_spec,
        key_usage=key_usage,
        origin=AWS_KMS,
        state=ENABLED,
        description="",
        policy="{}",
        tags=(),
        created=1.5,
        current_material_id=secrets.token_hex(32),
    )


KEY = kms_key()

a_pair = cache(generate_key_pair)
"""One key pair of each spec, for tests to which it is all the same: those of RSA take long to make."""


def generate(key_store: KeyStore, key: KmsKey = KEY) -> KeyMaterial:
    """Make another material for a key."""
    return key_store.generate(key, material_id=secrets.token_hex(32), created=1.5)
