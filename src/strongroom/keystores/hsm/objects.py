"""Keys that were in the token before, and stay in it: found by their labels, used as they are.

They are AES-256 keys that nobody can read or take out, and that do AES-GCM. What else uses them is not known here.
"""

import os
from collections.abc import Callable

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM
from strongroom.crypto.xaes import TAG_LENGTH
from strongroom.errors import HsmError, KeyUnavailable
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.domain_keys import TokenKeys
from strongroom.keystores.hsm.failures import Pkcs11Error, SessionLostError, TokenLostError
from strongroom.keystores.hsm.keys import HsmDirectKey
from strongroom.keystores.hsm.opened import OpenedMaterials
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.token import Lease, Token
from strongroom.model.key import KeyMaterial, KmsKey

KEY_STORE = "object"
"""The name of this key store, with each key: its `wrapped` is a label."""

_KEY_LENGTH = 32
_NONCE_LENGTH = 12
_OF_SERVICES = (b"strongroom ", b"arn:")
"""How labels begin of keys that are somebody's already: domain keys, and KMS keys of custom key stores."""

_RULES = {
    p11.CKA_KEY_TYPE: (p11.CKK_AES, "is not an AES key"),
    p11.CKA_VALUE_LEN: (_KEY_LENGTH, "is not known to have 256 bits"),
    p11.CKA_SENSITIVE: (True, "can be read"),
    p11.CKA_EXTRACTABLE: (False, "can be taken out of the token"),
    p11.CKA_ENCRYPT: (True, "may not encrypt"),
    p11.CKA_DECRYPT: (True, "may not decrypt"),
}
"""Attribute -> what it must be, and what is wrong with a key otherwise."""
_REQUIRED = Template({kind: value for kind, (value, _) in _RULES.items()}).values()


class TokenObjects:
    """The objects of an installation's token, as external keys use them. Safe to share between threads."""

    def __init__(self, token: Token[TokenKeys], count_use: Callable[[KeyMaterial], None]) -> None:
        """`count_use` counts encryptions that must not be too many."""
        self._token = token
        self._count_use = count_use
        self._found = OpenedMaterials(token, self._find, lasting=True)

    def check(self, label: bytes) -> None:
        """See that the one key of a label can be used. It encrypts once for that, which nobody counts.

        Raises HsmError, in one line that says why it cannot; KMSInternal while the token is away.
        """

        def try_out(lease: Lease[TokenKeys]) -> None:
            handle = _found(lease.session, label)
            try:
                does_gcm = _does_gcm(lease.session, handle)
            except (SessionLostError, TokenLostError):
                raise
            except Pkcs11Error:
                does_gcm = False
            if not does_gcm:
                raise HsmError(f"{_called(label)} does not encrypt and decrypt with AES-GCM")

        try:
            self._token.run(try_out)
        except Pkcs11Error as error:
            raise HsmError(f"{_called(label)} cannot be looked at: {error}") from None

    def open(self, key: KmsKey, material: KeyMaterial) -> HsmDirectKey:
        """Find the key that a material names. Raises KeyUnavailable if there is none that `check` would take."""
        if material.key_store != KEY_STORE or material.algorithm != ALGORITHM_AES_256_GCM:
            raise KeyUnavailable
        return HsmDirectKey(self._found, self._found.get(key, material), self._count_use)

    def forget(self, region: str, material_id: str) -> None:
        """Drop what was found: it stays in the token. Idempotent."""
        self._found.forget(region, material_id)

    def _find(self, lease: Lease[TokenKeys], _: KmsKey, material: KeyMaterial) -> tuple[int, None]:
        try:
            return _found(lease.session, material.wrapped), None
        except HsmError:
            self._token.check(lease)  # in one that is away nothing is found
            raise KeyUnavailable from None


def _found(session: Session, label: bytes) -> int:
    """The one secret key of a label, if it keeps to the rules. Raises HsmError, Pkcs11Error."""
    if label.startswith(_OF_SERVICES):
        raise HsmError(f"{_called(label)} is a key of Strongroom or of a KMS")
    named = Template({p11.CKA_CLASS: p11.CKO_SECRET_KEY, p11.CKA_TOKEN: True, p11.CKA_LABEL: label})
    handles = session.find(named) if label else []
    if len(handles) != 1:
        raise HsmError(f"the token has {len(handles) or 'no'} secret keys labelled {_shown(label)}")
    values = session.attributes(handles[0], list(_RULES))
    for value, (kind, (_, otherwise)) in zip(values, _RULES.items(), strict=True):
        if value != _REQUIRED[kind]:
            raise HsmError(f"{_called(label)} {otherwise}")
    return handles[0]


def _does_gcm(session: Session, handle: int) -> bool:
    nonce, plaintext, associated_data = os.urandom(_NONCE_LENGTH), os.urandom(_KEY_LENGTH), b"strongroom trial"
    sealed = session.encrypt_gcm(handle, nonce, plaintext, associated_data)
    return (
        len(sealed) == len(plaintext) + TAG_LENGTH
        and session.decrypt_gcm(handle, nonce, sealed, associated_data) == plaintext
    )


def _called(label: bytes) -> str:
    return f"the key {_shown(label)} in the token"


def _shown(label: bytes) -> str:
    return repr(label.decode(errors="replace"))
