"""The probe: what a token can do is proven by known answers, and by what it refuses.

A mechanism that a token lists but does wrong is one that it does not have.
"""

import hmac
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from strongroom.crypto.ecc import CURVES, EccPrivateKey, EccPublicKey
from strongroom.crypto.rsa import MODULUS_BITS, RsaPrivateKey, RsaPublicKey
from strongroom.crypto.xaes import message_key_blocks
from strongroom.errors import RequestError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template, Value
from strongroom.keystores.hsm.capabilities import Capabilities, LastingKeys, unwraps
from strongroom.keystores.hsm.failures import DataRefusedError, HandleLostError, NotPossibleError, UnclearError
from strongroom.keystores.hsm.mechanisms import (
    OAEP_MECHANISMS,
    RAW_RSA,
    ecdsa_to_der,
    shared_secret,
    subkey,
    to_sign,
    wrapping_mechanism,
)
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.software_wrapping import encrypt_cbc, wrapped_in_software
from strongroom.keystores.hsm.templates import (
    CLASSES,
    MAC_MECHANISMS,
    MESSAGE_KEY,
    MaterialClass,
    public_key,
    secret_key,
)
from strongroom.model.key_specs import ENCRYPT_DECRYPT, KEY_AGREEMENT, KEY_SPECS, RAW, SIGN_VERIFY

_RFC_5649 = (p11.CKM_AES_KEY_WRAP_KWP, p11.CKM_AES_KEY_WRAP_PAD)
"""The mechanisms that may be RFC 5649. The second is by its name another, but is this one in SoftHSM."""
_KNOWN_KEY = bytes(range(32))
_PLAINTEXT = b"what is known is proven"
_NONCE = b"ABCDEFGHIJKL"
_IV = b"ABCDEFGHIJKLMNOP"
_XAES_NONCE = b"ABCDEFGHIJKLMNOPQRSTUVWX"
_XAES_ANSWERS = (
    (b"\x01" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
    (b"\x03" * 32, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
)
"""The vectors of the specification (https://c2sp.org/XAES-256-GCM): key, associated data, ciphertext and tag."""
_PROVEN_WITH = "RSA_2048"


def probe(module: Module, session: Session) -> Capabilities:
    """Prove what the token can do. Makes session objects only. Raises Pkcs11Error if token or session are lost."""
    proofs = _Proofs(session)
    allowed_mechanisms = proofs.holds(proofs.mechanisms_are_kept_to)
    wrap = next((number for number in _RFC_5649 if proofs.holds(proofs.wraps_as_rfc_5649, number)), None)
    if wrap is None and proofs.holds(proofs.wraps_with_cbc):
        wrap = p11.CKM_AES_CBC_PAD
    gcm = proofs.holds(proofs.encrypts_with_gcm)
    done = {algorithm for algorithm in MAC_MECHANISMS if proofs.holds(proofs.makes_macs, algorithm)}
    if wrap is not None:
        done |= proofs.rsa_algorithms(wrap) | proofs.curves(wrap)
    return Capabilities(
        description=module.description(),
        wrap=wrap,
        unwrap_template=wrap is not None and proofs.holds(proofs.keeps_to_unwrap_template, wrap),
        allowed_mechanisms=allowed_mechanisms,
        unmodifiable=proofs.holds(proofs.takes, wrap, p11.CKA_MODIFIABLE),
        uncopyable=proofs.holds(proofs.takes, wrap, p11.CKA_COPYABLE),
        extractable=proofs.holds(proofs.takes_extractable, wrap),
        sealing=proofs.holds(proofs.encrypts_with_cbc),
        integrity="HMAC_SHA_256" in done,
        xaes=gcm and proofs.holds(proofs.derives_xaes),
        gcm=gcm,
        done=frozenset(done),
    )


def probe_lasting_keys(session: Session) -> LastingKeys:
    """Prove what the token can do with AES keys that it makes and keeps. As `probe` in objects and errors."""
    proofs = _Proofs(session)
    gcm = proofs.holds(proofs.encrypts_with_gcm)
    return LastingKeys(
        xaes=gcm and proofs.holds(proofs.derives_xaes),
        gcm=gcm,
        allowed_mechanisms=proofs.holds(proofs.mechanisms_are_kept_to),
        unmodifiable=proofs.holds(proofs.makes_with, p11.CKA_MODIFIABLE),
        uncopyable=proofs.holds(proofs.makes_with, p11.CKA_COPYABLE),
    )


def encrypts_with_gcm(session: Session) -> bool:
    """Whether the token does AES-GCM now. As `probe` in objects and errors."""
    proofs = _Proofs(session)
    return proofs.holds(proofs.encrypts_with_gcm)


class _Proofs:
    """One method for each thing proven: it returns if the answer is right, and fails otherwise."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: list[int] = []

    def holds(self, proof: Callable[..., None], *arguments: object) -> bool:
        """Whether a proof succeeds. What it made is destroyed."""
        try:
            proof(*arguments)
        except (NotPossibleError, DataRefusedError, UnclearError, HandleLostError, AssertionError, RequestError):
            return False
        finally:
            for handle in self._made:
                try:
                    self._session.destroy(handle)
                except (HandleLostError, UnclearError, NotPossibleError):
                    continue  # the token ends it with the session
            self._made.clear()
        return True

    def wraps_as_rfc_5649(self, number: int) -> None:
        kek = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP)
        secret = self._key(_KNOWN_KEY[::-1], p11.CKK_AES, p11.CKA_ENCRYPT, extractable=True)
        answer = aes_key_wrap_with_padding(_KNOWN_KEY, _KNOWN_KEY[::-1])
        _right(self._session.wrap(Mechanism(number), kek, secret) == answer)
        opened = {**secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT)}
        self._note(self._session.unwrap(Mechanism(number), kek, answer, Template(opened)))

    def wraps_with_cbc(self) -> None:
        kek = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP)
        secret = self._key(_KNOWN_KEY[::-1], p11.CKK_AES, p11.CKA_ENCRYPT, extractable=True)
        mechanism = Mechanism(p11.CKM_AES_CBC_PAD, _IV)
        answer = encrypt_cbc(_KNOWN_KEY, _IV, _KNOWN_KEY[::-1])
        _right(self._session.wrap(mechanism, kek, secret) == answer)
        opened = {**secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT)}
        self._note(self._session.unwrap(mechanism, kek, answer, Template(opened)))

    def encrypts_with_cbc(self) -> None:
        key = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT)
        mechanism = Mechanism(p11.CKM_AES_CBC_PAD, _IV)
        answer = encrypt_cbc(_KNOWN_KEY, _IV, _PLAINTEXT)
        _right(self._session.encrypt(mechanism, key, _PLAINTEXT) == answer)
        _right(self._session.decrypt(mechanism, key, answer) == _PLAINTEXT)

    def encrypts_with_gcm(self) -> None:
        key = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT)
        answer = AESGCM(_KNOWN_KEY).encrypt(_NONCE, _PLAINTEXT, b"context")
        _right(self._session.encrypt_gcm(key, _NONCE, _PLAINTEXT, b"context") == answer)
        _right(self._session.decrypt_gcm(key, _NONCE, answer, b"context") == _PLAINTEXT)
        altered = answer[:-1] + bytes([answer[-1] ^ 1])
        self._refused(lambda: self._session.decrypt_gcm(key, _NONCE, altered, b"context"))
        self._refused(lambda: self._session.decrypt_gcm(key, _NONCE, answer, b"contexT"))

    def derives_xaes(self) -> None:
        for secret, associated_data, answer in _XAES_ANSWERS:
            key = self._key(secret, p11.CKK_AES, p11.CKA_DERIVE)
            masked = subkey(self._session, key)
            blocks = message_key_blocks(masked, _XAES_NONCE)
            message_key = self._note(self._session.derive_by_encryption(key, blocks, MESSAGE_KEY))
            sealed = self._session.encrypt_gcm(message_key, _XAES_NONCE[12:], b"XAES-256-GCM", associated_data)
            _right(sealed.hex() == answer)

    def makes_macs(self, algorithm: str) -> None:
        secret = _KNOWN_KEY * 2
        key = self._key(secret, p11.CKK_GENERIC_SECRET, p11.CKA_SIGN, p11.CKA_VERIFY)
        answer = hmac.digest(secret, _PLAINTEXT, algorithm[len("HMAC_") :].replace("_", "").lower())
        _right(self._session.sign(Mechanism(MAC_MECHANISMS[algorithm]), key, _PLAINTEXT) == answer)

    def mechanisms_are_kept_to(self) -> None:
        """A mechanism is refused that the token does with a key that has no list."""
        named, other = Mechanism(p11.CKM_AES_CBC_PAD, _IV), Mechanism(p11.CKM_AES_CBC, _IV)
        free = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_ENCRYPT)
        self._session.encrypt(other, free, _KNOWN_KEY)
        attributes: dict[int, Value] = {
            **secret_key(p11.CKK_AES, p11.CKA_ENCRYPT),
            p11.CKA_VALUE: _KNOWN_KEY,
            p11.CKA_ALLOWED_MECHANISMS: (p11.CKM_AES_CBC_PAD,),
        }
        key = self._note(self._session.create(Template(attributes)))
        self._session.encrypt(named, key, _KNOWN_KEY)
        self._refused(lambda: self._session.encrypt(other, key, _KNOWN_KEY))

    def keeps_to_unwrap_template(self, wrap: int) -> None:
        opened = secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT)
        attributes: dict[int, Value] = {
            **secret_key(p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP),
            p11.CKA_VALUE: _KNOWN_KEY,
            p11.CKA_UNWRAP_TEMPLATE: opened,
        }
        kek = self._note(self._session.create(Template(attributes)))
        mechanism = wrapping_mechanism(wrap, _IV)
        wrapped = wrapped_in_software(wrap, _KNOWN_KEY, _IV, _KNOWN_KEY[::-1])
        key = self._note(self._session.unwrap(mechanism, kek, wrapped, Template(opened)))
        _right(self._session.attributes(key, [p11.CKA_VALUE]) == [None])  # some open a key otherwise than they are told
        for weaker in (
            {p11.CKA_EXTRACTABLE: True},
            {p11.CKA_SENSITIVE: False},
            {p11.CKA_SIGN: True},
            {p11.CKA_KEY_TYPE: p11.CKK_GENERIC_SECRET},
        ):
            loose = Template({**opened, **weaker})
            self._refused(lambda loose=loose: self._note(self._session.unwrap(mechanism, kek, wrapped, loose)))  # type: ignore[misc]

    def takes(self, wrap: int | None, attribute: int) -> None:
        """Whether a key can be opened with an attribute that is false."""
        kek = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP)
        _right(wrap is not None)
        assert wrap is not None
        wrapped = wrapped_in_software(wrap, _KNOWN_KEY, _IV, _KNOWN_KEY[::-1])
        opened = {**secret_key(p11.CKK_AES, p11.CKA_ENCRYPT), attribute: False}
        key = self._note(self._session.unwrap(wrapping_mechanism(wrap, _IV), kek, wrapped, Template(opened)))
        _right(self._session.attributes(key, [attribute]) == [b"\x00"])

    def makes_with(self, attribute: int) -> None:
        """Whether a key can be made with an attribute that is false."""
        attributes = {**secret_key(p11.CKK_AES, p11.CKA_ENCRYPT), p11.CKA_VALUE_LEN: 32, attribute: False}
        key = self._note(self._session.generate_key(Mechanism(p11.CKM_AES_KEY_GEN), Template(attributes)))
        _right(self._session.attributes(key, [attribute]) == [b"\x00"])

    def takes_extractable(self, wrap: int | None) -> None:
        kek = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP)
        _right(wrap is not None)
        assert wrap is not None
        mechanism = wrapping_mechanism(wrap, _IV)
        wrapped = wrapped_in_software(wrap, _KNOWN_KEY, _IV, _KNOWN_KEY[::-1])
        opened = Template(secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, extractable=True))
        key = self._note(self._session.unwrap(mechanism, kek, wrapped, opened))
        _right(self._session.wrap(mechanism, kek, key) == wrapped)

    def rsa_algorithms(self, wrap: int) -> set[str]:
        """The RSA algorithms that are right, with a private key that is opened as KMS keys are."""
        private = rsa.generate_private_key(65537, MODULUS_BITS[_PROVEN_WITH])
        public = RsaPublicKey(private.public_key())
        pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        done = {
            algorithm
            for algorithm in KEY_SPECS[_PROVEN_WITH].algorithms[SIGN_VERIFY]
            if self.holds(self._signs, wrap, CLASSES["rsa-sign"], pkcs8, algorithm, public)
        }
        for algorithm in KEY_SPECS[_PROVEN_WITH].algorithms[ENCRYPT_DECRYPT]:
            if self.holds(self._decrypts, wrap, pkcs8, algorithm, public):
                done.add(algorithm)
            if self.holds(self._unwraps, wrap, pkcs8, algorithm, public):
                done.add(unwraps(algorithm))
        if self.holds(self._wraps_with_oaep_sha_256, private):
            done.add("WRAPS_OAEP_SHA_256")
        if self.holds(self._does_raw_rsa, wrap, pkcs8, private.public_key().public_numbers().n):
            done.add("RAW_RSA")
        return done

    def curves(self, wrap: int) -> set[str]:
        """`<key spec> <key usage>` of what is right on each curve."""
        done = set()
        for spec, curve in CURVES.items():
            private = ec.generate_private_key(curve)
            pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            public, algorithm = EccPublicKey(private.public_key()), KEY_SPECS[spec].algorithms[SIGN_VERIFY][0]
            if self.holds(self._signs, wrap, CLASSES["ec-sign"], pkcs8, algorithm, public):
                done.add(f"{spec} {SIGN_VERIFY}")
            if self.holds(self._agrees, wrap, pkcs8, private):  # which finds the public half of an imported key, too
                done.add(f"{spec} {KEY_AGREEMENT}")
        return done

    def _signs(
        self, wrap: int, kind: MaterialClass, pkcs8: bytes, algorithm: str, public: RsaPublicKey | EccPublicKey
    ) -> None:
        key = self._opened(wrap, kind, pkcs8)
        mechanism, data = to_sign(algorithm, RAW, _PLAINTEXT)
        signature = self._session.sign(mechanism, key, data)
        if isinstance(public, EccPublicKey):
            signature = ecdsa_to_der(signature)
        public.verify(algorithm, RAW, _PLAINTEXT, signature)

    def _decrypts(self, wrap: int, pkcs8: bytes, algorithm: str, public: RsaPublicKey) -> None:
        key = self._opened(wrap, CLASSES["rsa-decrypt"], pkcs8)
        ciphertext = public.encrypt(algorithm, _PLAINTEXT)
        _right(self._session.decrypt(OAEP_MECHANISMS[algorithm], key, ciphertext) == _PLAINTEXT)

    def _unwraps(self, wrap: int, pkcs8: bytes, algorithm: str, public: RsaPublicKey) -> None:
        """Whether a key opens a secret that is encrypted for it, as import keys do: some tokens decrypt alone."""
        opener = self._opened(wrap, CLASSES["rsa-import"], pkcs8)
        template = Template(secret_key(p11.CKK_AES, p11.CKA_ENCRYPT))
        encrypted = public.encrypt(algorithm, _KNOWN_KEY)
        key = self._note(self._session.unwrap(OAEP_MECHANISMS[algorithm], opener, encrypted, template))
        answer = encrypt_cbc(_KNOWN_KEY, _IV, _PLAINTEXT)
        _right(self._session.encrypt(Mechanism(p11.CKM_AES_CBC_PAD, _IV), key, _PLAINTEXT) == answer)

    def _does_raw_rsa(self, wrap: int, pkcs8: bytes, modulus: int) -> None:
        key = self._opened(wrap, CLASSES["rsa-decrypt"], pkcs8)
        message = int.from_bytes(_PLAINTEXT)
        encrypted = pow(message, 65537, modulus).to_bytes(MODULUS_BITS[_PROVEN_WITH] // 8)
        _right(int.from_bytes(self._session.decrypt(RAW_RSA, key, encrypted)) == message)

    def _wraps_with_oaep_sha_256(self, private: rsa.RSAPrivateKey) -> None:
        numbers = private.public_key().public_numbers()
        attributes = {
            **public_key(p11.CKK_RSA),
            p11.CKA_WRAP: True,
            p11.CKA_MODULUS: numbers.n.to_bytes(MODULUS_BITS[_PROVEN_WITH] // 8),
            p11.CKA_PUBLIC_EXPONENT: numbers.e.to_bytes(3),
        }
        holder = self._note(self._session.create(Template(attributes)))
        secret = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_ENCRYPT, extractable=True)
        wrapped = self._session.wrap(OAEP_MECHANISMS["RSAES_OAEP_SHA_256"], holder, secret)
        _right(RsaPrivateKey(private).decrypt("RSAES_OAEP_SHA_256", wrapped) == _KNOWN_KEY)

    def _agrees(self, wrap: int, pkcs8: bytes, private: ec.EllipticCurvePrivateKey) -> None:
        key = self._opened(wrap, CLASSES["ec-derive"], pkcs8)
        theirs = ec.generate_private_key(private.curve).public_key()
        point = theirs.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        der = theirs.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        secret = shared_secret(self._session, key, point, (private.curve.key_size + 7) // 8)
        _right(secret == EccPrivateKey(private).shared_secret(der))

    def _opened(self, wrap: int, kind: MaterialClass, secret: bytes) -> int:
        kek = self._key(_KNOWN_KEY, p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP)
        wrapped = wrapped_in_software(wrap, _KNOWN_KEY, _IV, secret)
        opened = Template(kind.attributes(mechanisms=False))
        return self._note(self._session.unwrap(wrapping_mechanism(wrap, _IV), kek, wrapped, opened))

    def _key(self, value: bytes, key_type: int, *usages: int, extractable: bool = False) -> int:
        attributes = {**secret_key(key_type, *usages, extractable=extractable), p11.CKA_VALUE: value}
        return self._note(self._session.create(Template(attributes)))

    def _note(self, handle: int) -> int:
        self._made.append(handle)
        return handle

    def _refused(self, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except (DataRefusedError, NotPossibleError, UnclearError):
            return
        raise AssertionError("was not refused")


def _right(held: bool) -> None:  # noqa: FBT001 — it is what is asserted
    if not held:
        raise AssertionError("the answer is wrong")
