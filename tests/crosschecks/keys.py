"""Key pairs of ours, one for each key spec: an RSA-4096 key takes seconds to make."""

from functools import cache

from strongroom.crypto import key_pairs
from strongroom.crypto.ecc import EccPrivateKey
from strongroom.crypto.ed25519 import Ed25519PrivateKey
from strongroom.crypto.ml_dsa import MlDsaPrivateKey
from strongroom.crypto.rsa import RsaPrivateKey, RsaPublicKey

key_pair = cache(key_pairs.generate_key_pair)


def signing_key(key_spec: str) -> RsaPrivateKey | EccPrivateKey | Ed25519PrivateKey | MlDsaPrivateKey:
    return key_pairs.load_signing_key(key_spec, key_pair(key_spec).private)


def verifying_key(key_spec: str) -> key_pairs.VerifyingKey:
    return key_pairs.load_verifying_key(key_spec, key_pair(key_spec).public)


def decryption_key(key_spec: str) -> RsaPrivateKey:
    return key_pairs.load_decryption_key(key_spec, key_pair(key_spec).private)


def encryption_key(key_spec: str) -> RsaPublicKey:
    return key_pairs.load_encryption_key(key_spec, key_pair(key_spec).public)
