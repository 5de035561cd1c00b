"""Imported HMAC keys of a length that the token does not wrap as it is.

SoftHSM fills a secret up with zero bytes to a multiple of eight before it wraps it. An HMAC key that is no longer than
the block of its hash stays the same key by that. One that is longer would be another; but its hash is the same key (RFC
2104, section 2), and of a length that is wrapped. The token makes the hash, and the server has it for a moment.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.errors import UnsupportedOperation
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.blame import KEY_REFUSED
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import MAC_MECHANISMS, MaterialClass
from strongroom.keystores.material_ids import challenge
from strongroom.model.key import KmsKey

_HASHES = {"HMAC_224": Mechanism(p11.CKM_SHA224), "HMAC_256": Mechanism(p11.CKM_SHA256)}
"""Key specs whose keys can be longer than the block of their hash, which is of 64 bytes."""


@contextmanager
def hashed(session: Session, kind: MaterialClass, key_spec: str, handle: int, can: Capabilities) -> Iterator[int]:
    """Have in the token the hash of an HMAC key that is longer than a block, as a key, until the block ends.

    Raises UnsupportedOperation if the token does not hash keys, or if keys of the spec are never as long; Pkcs11Error.
    """
    if key_spec not in _HASHES:
        raise cannot_be_wrapped(key_spec)
    try:
        value = session.digest_key(_HASHES[key_spec], handle)
    except KEY_REFUSED:
        raise cannot_be_wrapped(key_spec) from None
    template = Template({**can.made_attributes(kind), p11.CKA_VALUE: value})
    try:
        made = session.create(template)
    finally:
        template.wipe()
    with session.holding(made):
        yield made


def told_by(session: Session, handle: int, key: KmsKey) -> bytes:
    """What a secret of the token answers to its challenge (`material_ids`). Raises Pkcs11Error."""
    algorithm, message = challenge(key)
    return session.sign(Mechanism(MAC_MECHANISMS[algorithm]), handle, message)


def cannot_be_wrapped(key_spec: str) -> UnsupportedOperation:
    """The error for a key of such a length."""
    return UnsupportedOperation(f"{key_spec} keys of this length are not supported by this key store.")
