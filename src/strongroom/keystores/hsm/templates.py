"""What key material may do inside the token: one table of the classes of material, and the templates that follow.

Every usage flag is named in every template, since defaults of tokens are loose. Material of each class is wrapped by a
domain key of its own, whose UNWRAP_TEMPLATE says what may come out of it: whoever has the PIN and a wrapped key cannot
open it as something else, or so that it can be read.
"""

from typing import NamedTuple

from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template, Value
from strongroom.model.key_specs import (
    ENCRYPT_DECRYPT,
    GENERATE_VERIFY_MAC,
    KEY_AGREEMENT,
    SIGN_VERIFY,
    SYMMETRIC_DEFAULT,
)

AES_XAES = "aes-xaes"
AES_GCM = "aes-gcm"
HMAC = "hmac"
RSA_SIGN = "rsa-sign"
RSA_DECRYPT = "rsa-decrypt"
RSA_IMPORT = "rsa-import"
EC_SIGN = "ec-sign"
EC_DERIVE = "ec-derive"

MAC_MECHANISMS = {
    "HMAC_SHA_224": p11.CKM_SHA224_HMAC,
    "HMAC_SHA_256": p11.CKM_SHA256_HMAC,
    "HMAC_SHA_384": p11.CKM_SHA384_HMAC,
    "HMAC_SHA_512": p11.CKM_SHA512_HMAC,
}

_USAGES = (
    p11.CKA_ENCRYPT, p11.CKA_DECRYPT, p11.CKA_SIGN, p11.CKA_VERIFY, p11.CKA_WRAP, p11.CKA_UNWRAP, p11.CKA_DERIVE,
)  # fmt: skip
_PRIVATE_USAGES = (p11.CKA_DECRYPT, p11.CKA_SIGN, p11.CKA_SIGN_RECOVER, p11.CKA_UNWRAP, p11.CKA_DERIVE)
_PUBLIC_USAGES = (p11.CKA_ENCRYPT, p11.CKA_VERIFY, p11.CKA_WRAP)


def secret_key(key_type: int, *usages: int, **flags: bool) -> dict[int, Value]:
    """The attributes of a secret key of which nothing can be read. `token`: it stays in the token."""
    return {
        p11.CKA_CLASS: p11.CKO_SECRET_KEY,
        p11.CKA_KEY_TYPE: key_type,
        p11.CKA_TOKEN: flags.get("token", False),
        p11.CKA_PRIVATE: True,
        p11.CKA_SENSITIVE: True,
        p11.CKA_EXTRACTABLE: flags.get("extractable", False),
        **{usage: usage in usages for usage in _USAGES},
    }


def private_key(key_type: int, *usages: int, extractable: bool = False) -> dict[int, Value]:
    """The attributes of a private key of which nothing can be read."""
    return {
        p11.CKA_CLASS: p11.CKO_PRIVATE_KEY,
        p11.CKA_KEY_TYPE: key_type,
        p11.CKA_TOKEN: False,
        p11.CKA_PRIVATE: True,
        p11.CKA_SENSITIVE: True,
        p11.CKA_EXTRACTABLE: extractable,
        **{usage: usage in usages for usage in _PRIVATE_USAGES},
    }


def public_key(key_type: int, **values: Value) -> dict[int, Value]:
    """The attributes of a public key that does nothing."""
    return {
        p11.CKA_CLASS: p11.CKO_PUBLIC_KEY,
        p11.CKA_KEY_TYPE: key_type,
        p11.CKA_TOKEN: False,
        **dict.fromkeys(_PUBLIC_USAGES, False),
        **{getattr(p11, name): value for name, value in values.items()},
    }


class MaterialClass(NamedTuple):
    """A class of material: its type, what it may do, and with which mechanisms."""

    name: str
    key_type: int
    usages: tuple[int, ...]
    mechanisms: tuple[int, ...]

    @property
    def pair(self) -> bool:
        """Whether it is the private half of a key pair."""
        return self.key_type in (p11.CKK_RSA, p11.CKK_EC)

    def attributes(self, *, extractable: bool = False, mechanisms: bool = True) -> dict[int, Value]:
        """The attributes of material of this class. `mechanisms`: whether the token takes a list of them."""
        make = private_key if self.pair else secret_key
        found = make(self.key_type, *self.usages, extractable=extractable)
        return {**found, p11.CKA_ALLOWED_MECHANISMS: self.mechanisms} if mechanisms else found


CLASSES = {
    found.name: found
    for found in (
        MaterialClass(AES_XAES, p11.CKK_AES, (p11.CKA_DERIVE,), (p11.CKM_AES_ECB_ENCRYPT_DATA,)),
        MaterialClass(AES_GCM, p11.CKK_AES, (p11.CKA_ENCRYPT, p11.CKA_DECRYPT), (p11.CKM_AES_GCM,)),
        MaterialClass(HMAC, p11.CKK_GENERIC_SECRET, (p11.CKA_SIGN, p11.CKA_VERIFY), tuple(MAC_MECHANISMS.values())),
        MaterialClass(RSA_SIGN, p11.CKK_RSA, (p11.CKA_SIGN,), (p11.CKM_RSA_PKCS, p11.CKM_RSA_PKCS_PSS)),
        # Raw RSA besides OAEP, for tokens whose OAEP takes SHA-1 alone: a template cannot be changed later.
        MaterialClass(RSA_DECRYPT, p11.CKK_RSA, (p11.CKA_DECRYPT,), (p11.CKM_RSA_PKCS_OAEP, p11.CKM_RSA_X_509)),
        MaterialClass(RSA_IMPORT, p11.CKK_RSA, (p11.CKA_UNWRAP,), (p11.CKM_RSA_PKCS_OAEP,)),
        MaterialClass(EC_SIGN, p11.CKK_EC, (p11.CKA_SIGN,), (p11.CKM_ECDSA,)),
        MaterialClass(EC_DERIVE, p11.CKK_EC, (p11.CKA_DERIVE,), (p11.CKM_ECDH1_DERIVE,)),
    )
}
"""Name -> class. Each has a domain key of that name."""

_OF_USAGE = {
    ("RSA", SIGN_VERIFY): RSA_SIGN,
    ("RSA", ENCRYPT_DECRYPT): RSA_DECRYPT,
    ("ECC", SIGN_VERIFY): EC_SIGN,
    ("ECC", KEY_AGREEMENT): EC_DERIVE,
    ("HMAC", GENERATE_VERIFY_MAC): HMAC,
}


def class_of(key_spec: str, key_usage: str, *, xaes: bool) -> MaterialClass | None:
    """The class of a key's material; None if such keys are never used inside a token (Ed25519, post-quantum)."""
    if key_spec == SYMMETRIC_DEFAULT:
        return CLASSES[AES_XAES if xaes else AES_GCM]
    if key_spec == "ECC_NIST_EDWARDS25519":
        return None
    name = _OF_USAGE.get((key_spec.partition("_")[0], key_usage))
    return None if name is None else CLASSES[name]


MESSAGE_KEY = Template({**secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT), p11.CKA_VALUE_LEN: 32})
"""The key of one message of XAES-256-GCM."""
