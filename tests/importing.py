"""Key material wrapped for import, as its owner does."""

import os
from typing import Any
from weakref import WeakKeyDictionary

from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from strongroom.crypto.key_pairs import load_encryption_key
from strongroom.keystores.contract import KeyStore
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey

ALGORITHMS = ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256")


def wrapped(import_key: ImportKey, material: bytes, aes_key: bytes | None = None) -> bytes:
    """Wrap material under an import key."""
    public = load_encryption_key(import_key.key_spec, import_key.public_key)
    if not import_key.two_steps:
        return public.encrypt(import_key.oaep, material)
    aes_key = os.urandom(32) if aes_key is None else aes_key
    return public.encrypt(import_key.oaep, aes_key) + aes_key_wrap_with_padding(aes_key, material)


def parameters_to_import(
    kms: Any, key_id: str, material: bytes, algorithm: str = "RSAES_OAEP_SHA_1", key_spec: str = "RSA_2048"
) -> dict[str, Any]:
    """What ImportKeyMaterial needs besides the key, as the owner of material makes it. The material does not expire."""
    parameters = kms.get_parameters_for_import(KeyId=key_id, WrappingAlgorithm=algorithm, WrappingKeySpec=key_spec)
    import_key = ImportKey(key_spec, algorithm, "", 0, b"", parameters["PublicKey"])
    return {
        "ImportToken": parameters["ImportToken"],
        "EncryptedKeyMaterial": wrapped(import_key, material),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }


def import_material(
    kms: Any,
    key_id: str,
    material: bytes,
    algorithm: str = "RSAES_OAEP_SHA_1",
    key_spec: str = "RSA_2048",
    **members: object,
) -> dict[str, Any]:
    """Import material into a KMS key; it does not expire unless `members` say when."""
    parameters = parameters_to_import(kms, key_id, material, algorithm, key_spec)
    if "ValidTo" in members:
        del parameters["ExpirationModel"]
    response: dict[str, Any] = kms.import_key_material(KeyId=key_id, **{**parameters, **members})
    return response


_IMPORT_KEYS: WeakKeyDictionary[KeyStore, dict[tuple[str, ...], ImportKey]] = WeakKeyDictionary()


def import_key_of(key_store: KeyStore, key: KmsKey, algorithm: str, key_spec: str = "RSA_2048") -> ImportKey:
    """An import key for a KMS key, made once: RSA keys take long to make, and a test seldom needs one of its own."""
    made = _IMPORT_KEYS.setdefault(key_store, {})
    name = (key.account, key.region, key.key_id, key.key_spec, key.key_usage, algorithm, key_spec)
    if name not in made:
        made[name] = key_store.new_import_key(key, key_spec, algorithm)
    return made[name]


def imported(key_store: KeyStore, key: KmsKey, import_key: ImportKey, material: bytes) -> KeyMaterial:
    """Import material into a key store."""
    return key_store.import_material(key, import_key, wrapped(import_key, material), created=1.5)
