"""The recovery key: an RSA key pair whose private half is kept offline (docs/formats/hsm-wrapped-keys.md).

Everything that the token wraps or encrypts is wrapped a second time for its holder, who alone can move it to another
token. Each secret has a key encryption key of its own:

    recovery = format version (1 byte, 1) || how (1 byte) || length (2 bytes) || key encryption key || body

    how  body
    1    a key wrapped by RFC 5649
    2    initialization vector (16 bytes) || a key wrapped by AES-256-CBC

The key encryption key is encrypted by RSAES-OAEP with SHA-256, of material in the token with SHA-1 if that is all that
the token does; which of them is seen in `how` (+ 16 for SHA-1). Key material of the token never leaves it in clear:
the key encryption key is made in the token and wraps it there. In another token the holder's program puts the key
encryption key into the token, and the material is opened there.
"""

import os
from struct import Struct, error

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from strongroom.errors import HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.mechanisms import OAEP_MECHANISMS, wrapping_mechanism
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import public_key, secret_key

MIN_BITS = 3072
"""The smallest recovery key: it protects everything."""

_HEADER = Struct(">BBH")
_VERSION = 1
_BY_RFC_5649 = 1
_BY_CBC = 2
_SHA_1 = 16
_IV = 16
_KEY_LENGTH = 32
_SHA_256_PADDING = OAEP(MGF1(SHA256()), SHA256(), None)
_SHA_1_PADDING = OAEP(MGF1(SHA1()), SHA1(), None)  # noqa: S303 — its weakness, collisions, does not touch OAEP
_AES = Mechanism(p11.CKM_AES_KEY_GEN)


def read_public_key(pem: bytes) -> bytes:
    """Return a recovery key's public half, in DER. Raises HsmError if it is none that can be used."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HsmError("the recovery key is not a public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_BITS:
        raise HsmError(f"the recovery key is not an RSA key of {MIN_BITS} bits or more")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def rsa_public_key(der: bytes) -> rsa.RSAPublicKey:
    """The public half as `read_public_key` gave it."""
    key = load_der_public_key(der)
    assert isinstance(key, rsa.RSAPublicKey), "read_public_key takes no other"
    return key


def read_private_key(pem: bytes, passphrase: bytes | None) -> rsa.RSAPrivateKey:
    """Open a recovery key. Raises HsmError."""
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HsmError("the recovery key is not a private key in PEM, or its passphrase is another one") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise HsmError("the recovery key is not an RSA key")
    return key


class RecoveryRoot:
    """Opens, with the recovery key, what the lost token has encrypted of the service's own keys."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self.private = private
        """The key itself."""

    def __repr__(self) -> str:
        return "RecoveryRoot()"

    def wrap(self, secret: bytes, binding: tuple[str, ...]) -> bytes:
        """Wrap a secret again for the holder of the key."""
        del binding  # the database's own codes say what it is: they are checked with what is opened here
        return for_holder(self.private.public_key(), secret)

    def unwrap(self, wrapped: bytes, binding: tuple[str, ...]) -> bytes:
        """Return what `for_holder` was given."""
        del binding
        return opened(self.private, wrapped)


def for_holder(public: rsa.RSAPublicKey, secret: bytes) -> bytes:
    """Wrap a secret of this process for the holder of the recovery key."""
    kek = os.urandom(_KEY_LENGTH)
    return _framed(_BY_RFC_5649, public.encrypt(kek, _SHA_256_PADDING), aes_key_wrap_with_padding(kek, secret))


def opened(private: rsa.RSAPrivateKey, recovery: bytes) -> bytes:
    """Return what `for_holder` was given. Raises HsmError."""
    how, kek, body = _taken_apart(private, recovery)
    if how != _BY_RFC_5649:
        raise _altered()
    try:
        return aes_key_unwrap_with_padding(kek, body)
    except (InvalidUnwrap, ValueError):
        raise _altered() from None


def wrap_for_holder(session: Session, can: Capabilities, public: rsa.RSAPublicKey, key: int) -> bytes:
    """Wrap a key of the token for the holder of the recovery key, in the token. Raises Pkcs11Error."""
    numbers = public.public_numbers()
    sha_1 = "WRAPS_OAEP_SHA_256" not in can.done
    mechanism = OAEP_MECHANISMS["RSAES_OAEP_SHA_1" if sha_1 else "RSAES_OAEP_SHA_256"]
    assert can.wrap is not None, "needs() refuses a token without"
    cbc = can.wrap == p11.CKM_AES_CBC_PAD
    iv = session.random(_IV) if cbc else b""
    holder = session.create(
        Template(
            {
                **public_key(p11.CKK_RSA),
                p11.CKA_WRAP: True,
                p11.CKA_MODULUS: numbers.n.to_bytes(public.key_size // 8),
                p11.CKA_PUBLIC_EXPONENT: numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8),
            }
        )
    )
    made = [holder]
    try:
        kek = session.generate_key(
            _AES,
            Template({**secret_key(p11.CKK_AES, p11.CKA_WRAP, extractable=True), p11.CKA_VALUE_LEN: _KEY_LENGTH}),
        )
        made.append(kek)
        encrypted = session.wrap(mechanism, holder, kek)
        body = iv + session.wrap(wrapping_mechanism(can.wrap, iv), kek, key)
    finally:
        for handle in made:
            session.destroy(handle)
    return _framed((_BY_CBC if cbc else _BY_RFC_5649) + (_SHA_1 if sha_1 else 0), encrypted, body)


def unwrap_in_token(
    session: Session, can: Capabilities, private: rsa.RSAPrivateKey, recovery: bytes, template: Template
) -> int:
    """Open in the token what `wrap_for_holder` wrapped in another one. Raises HsmError, Pkcs11Error."""
    how, kek, body = _taken_apart(private, recovery)
    number, iv = can.wrap, b""
    if how == _BY_CBC:
        number, iv, body = p11.CKM_AES_CBC_PAD, body[:_IV], body[_IV:]
    elif number == p11.CKM_AES_CBC_PAD:
        raise HsmError("this token cannot open keys that are wrapped by RFC 5649")
    assert number is not None, "needs() refuses a token without"
    handle = session.create(Template({**secret_key(p11.CKK_AES, p11.CKA_UNWRAP), p11.CKA_VALUE: kek}))
    try:
        return session.unwrap(wrapping_mechanism(number, iv), handle, body, template)
    finally:
        session.destroy(handle)


def _framed(how: int, kek: bytes, body: bytes) -> bytes:
    return _HEADER.pack(_VERSION, how, len(kek)) + kek + body


def _taken_apart(private: rsa.RSAPrivateKey, recovery: bytes) -> tuple[int, bytes, bytes]:
    """Return how the body is wrapped, the key encryption key, and the body. Raises HsmError."""
    try:
        version, how, length = _HEADER.unpack_from(recovery)
    except error:
        raise _altered() from None
    begin = _HEADER.size
    encrypted, body = recovery[begin : begin + length], recovery[begin + length :]
    padding = _SHA_1_PADDING if how & _SHA_1 else _SHA_256_PADDING
    if version != _VERSION:
        raise _altered()
    try:
        return how & ~_SHA_1, private.decrypt(encrypted, padding), body
    except ValueError:
        raise HsmError("the recovery key is not the one that this installation was made with") from None


def _altered() -> HsmError:
    return HsmError("a key that is wrapped for the holder of the recovery key was altered")
