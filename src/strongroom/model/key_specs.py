"""What each key spec can do (AWS: "Key spec reference"): one table, in which everything else is a lookup.

A spec that is not in the table does not exist here: SM2 is offered in the Regions of China alone.
"""

from typing import NamedTuple

ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
SIGN_VERIFY = "SIGN_VERIFY"
GENERATE_VERIFY_MAC = "GENERATE_VERIFY_MAC"
KEY_AGREEMENT = "KEY_AGREEMENT"
ENCAPSULATE_DECAPSULATE = "ENCAPSULATE_DECAPSULATE"

SYMMETRIC_DEFAULT = "SYMMETRIC_DEFAULT"
ED25519 = "ED25519_SHA_512"
ED25519_PH = "ED25519_PH_SHA_512"
ML_DSA = "ML_DSA_SHAKE_256"
ECDH = "ECDH"
ML_KEM = "ML_KEM"

RAW = "RAW"
DIGEST = "DIGEST"
EXTERNAL_MU = "EXTERNAL_MU"

AWS_KMS = "AWS_KMS"
EXTERNAL = "EXTERNAL"
AWS_CLOUDHSM = "AWS_CLOUDHSM"
EXTERNAL_KEY_STORE = "EXTERNAL_KEY_STORE"
_IMPORTED = (AWS_KMS, EXTERNAL)
_EVERY_ORIGIN = (AWS_KMS, EXTERNAL, AWS_CLOUDHSM, EXTERNAL_KEY_STORE)

_RSASSA = (
    "RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
    "RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512",
)  # fmt: skip


class KeySpec(NamedTuple):
    """One row.

    `algorithms`: key usage -> the algorithms that a key of it offers, in AWS's order. `plaintext`: encryption algorithm
    -> the most bytes that it encrypts. `origins`: where material may come from, and with it in which key stores it may
    be. `multi_region`: whether there are multi-Region keys of it. `pairs`: whether GenerateDataKeyPair makes them.
    """

    algorithms: dict[str, tuple[str, ...]]
    plaintext: dict[str, int]
    origins: tuple[str, ...] = _IMPORTED
    multi_region: bool = True
    pairs: bool = False


def _rsa(modulus: int) -> KeySpec:
    """RSA with a modulus of so many bytes; OAEP takes two hashes and two bytes of it (RFC 8017, section 7.1.1)."""
    plaintext = {"RSAES_OAEP_SHA_1": modulus - 2 * 20 - 2, "RSAES_OAEP_SHA_256": modulus - 2 * 32 - 2}
    return KeySpec({ENCRYPT_DECRYPT: tuple(plaintext), SIGN_VERIFY: _RSASSA}, plaintext, pairs=True)


def _nist_curve(ecdsa: str) -> KeySpec:
    return KeySpec({SIGN_VERIFY: (ecdsa,), KEY_AGREEMENT: (ECDH,)}, {}, pairs=True)


_ML_DSA = KeySpec({SIGN_VERIFY: (ML_DSA,)}, {}, origins=(AWS_KMS,))
_ML_KEM = KeySpec({ENCAPSULATE_DECAPSULATE: (ML_KEM,)}, {}, origins=(AWS_KMS,), pairs=True)

KEY_SPECS = {
    SYMMETRIC_DEFAULT: KeySpec({ENCRYPT_DECRYPT: (SYMMETRIC_DEFAULT,)}, {SYMMETRIC_DEFAULT: 4096}, _EVERY_ORIGIN),
    "RSA_2048": _rsa(256),
    "RSA_3072": _rsa(384),
    "RSA_4096": _rsa(512),
    "ECC_NIST_P256": _nist_curve("ECDSA_SHA_256"),
    "ECC_NIST_P384": _nist_curve("ECDSA_SHA_384"),
    "ECC_NIST_P521": _nist_curve("ECDSA_SHA_512"),
    "ECC_SECG_P256K1": KeySpec({SIGN_VERIFY: ("ECDSA_SHA_256",)}, {}, pairs=True),
    "ECC_NIST_EDWARDS25519": KeySpec({SIGN_VERIFY: (ED25519, ED25519_PH)}, {}, pairs=True),
    "HMAC_224": KeySpec({GENERATE_VERIFY_MAC: ("HMAC_SHA_224",)}, {}),
    "HMAC_256": KeySpec({GENERATE_VERIFY_MAC: ("HMAC_SHA_256",)}, {}),
    "HMAC_384": KeySpec({GENERATE_VERIFY_MAC: ("HMAC_SHA_384",)}, {}),
    "HMAC_512": KeySpec({GENERATE_VERIFY_MAC: ("HMAC_SHA_512",)}, {}),
    "ML_DSA_44": _ML_DSA,
    "ML_DSA_65": _ML_DSA,
    "ML_DSA_87": _ML_DSA,
    "ML_KEM_512": _ML_KEM,
    "ML_KEM_768": _ML_KEM,
    "ML_KEM_1024": _ML_KEM,
}
"""Key spec -> what it can do."""

MESSAGE_BYTES: dict[str, dict[str, int | None]] = {
    **{algorithm: {RAW: None, DIGEST: int(algorithm[-3:]) // 8} for algorithm in _RSASSA},
    "ECDSA_SHA_256": {RAW: None, DIGEST: 32},
    "ECDSA_SHA_384": {RAW: None, DIGEST: 48},
    "ECDSA_SHA_512": {RAW: None, DIGEST: 64},
    ED25519: {RAW: None},
    ED25519_PH: {DIGEST: 64},
    ML_DSA: {RAW: None, EXTERNAL_MU: 64},
}
"""Signing algorithm -> the message types that it takes -> how long such a message is in bytes; None if it is free."""

MAC_BYTES = {"HMAC_SHA_224": 28, "HMAC_SHA_256": 32, "HMAC_SHA_384": 48, "HMAC_SHA_512": 64}
"""MAC algorithm -> bytes of a MAC, and of a key that is generated for it."""

SECRET_BYTES = {
    SYMMETRIC_DEFAULT: 32,
    **{spec.replace("_SHA", ""): length for spec, length in MAC_BYTES.items()},
}
"""Key spec of a key that is no pair -> bytes of its material."""

HMAC_SPECS = frozenset(SECRET_BYTES) - {SYMMETRIC_DEFAULT}
"""The key specs of HMAC keys."""

MAX_IMPORTED_HMAC_BYTES = 128
"""The longest HMAC key that can be imported; none may be shorter than one that is generated."""


def fits_secret(key_spec: str, length: int) -> bool:
    """Whether imported material of a key that is no pair may have so many bytes."""
    longest = MAX_IMPORTED_HMAC_BYTES if key_spec in HMAC_SPECS else SECRET_BYTES[key_spec]
    return SECRET_BYTES[key_spec] <= length <= longest


DATA_KEY_BYTES = {"AES_128": 16, "AES_256": 32}
"""DataKeySpec -> length of the data key in bytes."""

_ON_ANY_KEY = frozenset({"CreateGrant", "DescribeKey", "RetireGrant"})
_ON_PUBLIC_KEYS = _ON_ANY_KEY | {"GetPublicKey"}
_ENCRYPTION = frozenset({"Decrypt", "Encrypt", "ReEncryptFrom", "ReEncryptTo"})
_DATA_KEYS = frozenset(
    {
        "GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
    }
)  # fmt: skip
_GRANT_OPERATIONS = {
    ENCRYPT_DECRYPT: _ON_PUBLIC_KEYS | _ENCRYPTION,
    SIGN_VERIFY: _ON_PUBLIC_KEYS | {"Sign", "Verify"},
    KEY_AGREEMENT: _ON_PUBLIC_KEYS | {"DeriveSharedSecret"},
    ENCAPSULATE_DECAPSULATE: _ON_PUBLIC_KEYS | {"Decapsulate", "Encapsulate"},
    GENERATE_VERIFY_MAC: _ON_ANY_KEY | {"GenerateMac", "VerifyMac"},
}


def grant_operations(key_spec: str, key_usage: str) -> frozenset[str]:
    """The operations that a grant on such a key can be for."""
    if key_spec == SYMMETRIC_DEFAULT:
        return _ON_ANY_KEY | _ENCRYPTION | _DATA_KEYS
    return _GRANT_OPERATIONS[key_usage]
