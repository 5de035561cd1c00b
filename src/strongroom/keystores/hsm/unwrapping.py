"""Key material that was wrapped under an import key, on its way into the token.

It is unwrapped inside the token wherever that can. With the operator's leave (`host-import`) the server takes off the
padding that the token cannot, puts what it finds into the token, as a key or under a fresh one, and goes on there.
Everything made in the token on the way is destroyed when a block ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from strongroom.crypto.key_pairs import load_encryption_key
from strongroom.crypto.rsa import MODULUS_BITS
from strongroom.errors import IncorrectKeyMaterial, InvalidCiphertext
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.blame import KEY_REFUSED, certainly
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.failures import UnclearError
from strongroom.keystores.hsm.mechanisms import OAEP_MECHANISMS, RAW_RSA, OaepOpener, wrapping_mechanism
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.software_wrapping import wrapped_in_software
from strongroom.keystores.hsm.templates import secret_key
from strongroom.keystores.import_wrapping import AES_KEY_BYTES, divided, unwrap_second
from strongroom.model.import_key import ImportKey

_IV = 16
_BLOCK = 8
_SHORTEST = 16
"""Bytes of the shortest that RFC 5649 wraps."""
_KNOWN = bytes(range(AES_KEY_BYTES))
_BYTES = Template(secret_key(p11.CKK_GENERIC_SECRET))
"""Bytes that do nothing: to open something so shows that it was wrapped, and not what it is."""
_AES_KEY = Template(secret_key(p11.CKK_AES, p11.CKA_UNWRAP))
_MEASURING = Template({**secret_key(p11.CKK_AES, p11.CKA_WRAP), p11.CKA_VALUE_LEN: AES_KEY_BYTES})
_MAKE_AES = Mechanism(p11.CKM_AES_KEY_GEN)


class Wrapped(NamedTuple):
    """Key material that `opener`, a key of the token, opens as often as it is asked to.

    `length` is that of the material in bytes, if the server knows it.
    """

    session: Session
    mechanism: Mechanism
    opener: int
    wrapped: bytes
    length: int | None

    @contextmanager
    def opened(self, template: Template) -> Iterator[int]:
        """Have it in the token, with some attributes, until the block ends. Raises Pkcs11Error."""
        with self.session.holding(self.session.unwrap(self.mechanism, self.opener, self.wrapped, template)) as handle:
            yield handle


class Unwrapping(NamedTuple):
    """An import key that is open in the token, and what is wrapped under it.

    `padding` takes off in the server what the token does not. `in_token`: whether the key unwraps there, or decrypts.
    """

    session: Session
    can: Capabilities
    import_key: ImportKey
    handle: int
    in_token: bool
    padding: OaepOpener | None

    @contextmanager
    def material(self, encrypted: bytes) -> Iterator[Wrapped]:
        """Have the material within the token's reach until the block ends. Raises InvalidCiphertext, Pkcs11Error.

        Whether it unwraps is seen only when it is opened.
        """
        first, rest = self._divided(encrypted)
        if self.in_token and not self.import_key.two_steps:
            mechanism = OAEP_MECHANISMS[self.import_key.oaep]
            yield Wrapped(self.session, mechanism, self.handle, first, None)
        elif self.in_token:
            handle = certainly(lambda: self._aes_key(first), self.prove, refused=KEY_REFUSED)
            with self.session.holding(handle):
                yield Wrapped(self.session, self._rfc_5649, handle, rest, None)
        else:
            with self._through_host(self._decrypted(first), rest) as wrapped:
                yield wrapped

    def bytes_of(self, encrypted: bytes) -> bytes:
        """Return the material itself: of a key that is used in software. Raises InvalidCiphertext, Pkcs11Error."""
        first, rest = self._divided(encrypted)
        decrypted = self._decrypted(first)
        return unwrap_second(decrypted, rest) if self.import_key.two_steps else decrypted

    def check(self, wrapped: Wrapped) -> None:
        """See that material was wrapped rightly, whatever it is, and that the token does what it does.

        Raises InvalidCiphertext, Pkcs11Error.
        """
        self.prove()

        def open_() -> None:
            with wrapped.opened(_BYTES):
                return

        certainly(open_, self.prove, refused=KEY_REFUSED)

    def prove(self) -> None:
        """See that the token opens what is known to be right, under the same key. Raises Pkcs11Error."""
        self.session.worn = True  # a call has failed in it
        with self._known() as known, known.opened(_BYTES):
            return

    @contextmanager
    def _known(self) -> Iterator[Wrapped]:
        """What is known to be right, wrapped as material is."""
        encrypted, rest = self._known_encrypted(), aes_key_wrap_with_padding(_KNOWN, _KNOWN)
        if not self.in_token:
            with self._through_host(_KNOWN, rest) as wrapped:  # that it decrypts was seen before
                yield wrapped
        elif self.import_key.two_steps:
            with self.session.holding(self._aes_key(encrypted)) as handle:
                yield Wrapped(self.session, self._rfc_5649, handle, rest, None)
        else:
            mechanism = OAEP_MECHANISMS[self.import_key.oaep]
            yield Wrapped(self.session, mechanism, self.handle, encrypted, None)

    def _prove_decryption(self) -> None:
        """See that the token decrypts what is known to be right. Raises Pkcs11Error."""
        self.session.worn = True
        try:
            decrypted = self._without_padding(self._once_decrypted(self._known_encrypted()))
        except InvalidCiphertext:
            decrypted = b""
        if decrypted != _KNOWN:
            raise UnclearError("C_Decrypt", 0)

    def _known_encrypted(self) -> bytes:
        public = load_encryption_key(self.import_key.key_spec, self.import_key.public_key)
        return public.encrypt(self.import_key.oaep, _KNOWN)

    @property
    def _rfc_5649(self) -> Mechanism:
        assert self.can.wrap is not None, "needs() refuses a token without"
        return Mechanism(self.can.wrap)

    def _divided(self, encrypted: bytes) -> tuple[bytes, bytes]:
        """What is encrypted under the RSA key, and what follows. Raises InvalidCiphertext for a length of neither."""
        first, rest = divided(self.import_key, encrypted)
        wrapped = len(rest) >= _SHORTEST and len(rest) % _BLOCK == 0
        fits = wrapped if self.import_key.two_steps else not rest
        if not fits or 8 * len(first) != MODULUS_BITS[self.import_key.key_spec]:
            raise InvalidCiphertext
        return first, rest

    def _aes_key(self, encrypted: bytes) -> int:
        """Open the AES key between, in the token. Raises InvalidCiphertext if it is not of 256 bits; Pkcs11Error."""
        session, mechanism = self.session, OAEP_MECHANISMS[self.import_key.oaep]
        # Not every token tells the length of what it has unwrapped. What is wrapped again shows it.
        measured = Template(self.can.measured_attributes())
        with (
            session.holding(session.generate_key(_MAKE_AES, _MEASURING)) as measuring,
            session.holding(session.unwrap(mechanism, self.handle, encrypted, measured)) as handle,
        ):
            if len(session.wrap(self._rfc_5649, measuring, handle)) != AES_KEY_BYTES + _BLOCK:
                raise InvalidCiphertext
        return session.unwrap(mechanism, self.handle, encrypted, _AES_KEY)

    @contextmanager
    def _through_host(self, decrypted: bytes, rest: bytes) -> Iterator[Wrapped]:
        """Put into the token what was decrypted here: the AES key as it is, the material under a fresh key."""
        session, wrap = self.session, self.can.wrap
        assert wrap is not None, "needs() refuses a token without"
        if self.import_key.two_steps:
            if len(decrypted) != AES_KEY_BYTES:
                raise InvalidCiphertext
            value, mechanism, wrapped, length = decrypted, self._rfc_5649, rest, None
        elif not decrypted:
            raise IncorrectKeyMaterial  # there is no wrapping of nothing
        else:
            value, iv, length = session.random(AES_KEY_BYTES), session.random(_IV), len(decrypted)
            mechanism, wrapped = wrapping_mechanism(wrap, iv), wrapped_in_software(wrap, value, iv, decrypted)
        template = Template({**secret_key(p11.CKK_AES, p11.CKA_UNWRAP), p11.CKA_VALUE: value})
        try:
            handle = session.create(template)
        finally:
            template.wipe()
        with session.holding(handle):
            yield Wrapped(session, mechanism, handle, wrapped, length)

    def _decrypted(self, encrypted: bytes) -> bytes:
        """Decrypt with the RSA key, and take the padding off. Raises InvalidCiphertext, Pkcs11Error."""
        opened = certainly(lambda: self._once_decrypted(encrypted), self._prove_decryption)
        return self._without_padding(opened)

    def _once_decrypted(self, encrypted: bytes) -> bytes:
        mechanism = RAW_RSA if self.padding is not None else OAEP_MECHANISMS[self.import_key.oaep]
        return self.session.decrypt(mechanism, self.handle, encrypted)

    def _without_padding(self, opened: bytes) -> bytes:
        return opened if self.padding is None else self.padding.open(opened)
