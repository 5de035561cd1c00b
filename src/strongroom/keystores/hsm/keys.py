"""What opened key material does in the token. Each class implements its protocol of `keystores/contract.py`."""

import hmac
import os
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.crypto.ciphertext_blob import (
    ALGORITHM_AES_256_GCM,
    ALGORITHM_XAES_256_GCM,
    CiphertextBlob,
    associated_data,
    build_header,
)
from strongroom.crypto.ecc import CURVES, load_peer
from strongroom.crypto.key_pairs import load_encryption_key
from strongroom.crypto.rsa import MODULUS_BITS
from strongroom.crypto.xaes import NONCE_LENGTH, TAG_LENGTH, message_key_blocks
from strongroom.errors import InvalidCiphertext, KMSInvalidMac
from strongroom.keystores.hsm.arguments import Mechanism
from strongroom.keystores.hsm.blame import certainly
from strongroom.keystores.hsm.failures import UnclearError
from strongroom.keystores.hsm.mechanisms import (
    OAEP_MECHANISMS,
    RAW_RSA,
    OaepOpener,
    ecdsa_to_der,
    shared_secret,
    to_sign,
)
from strongroom.keystores.hsm.opened import Opened, OpenedMaterials
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import MAC_MECHANISMS, MESSAGE_KEY
from strongroom.model.key import KeyMaterial

_PROOF = b"proof"
_OAEP_SHA_256 = "RSAES_OAEP_SHA_256"
_HALF_NONCE = 12
_MAC = {algorithm: Mechanism(number) for algorithm, number in MAC_MECHANISMS.items()}


class HsmSymmetricKey:
    """Material of a symmetric encryption key that is open in the token. XAES-256-GCM, whole in the token."""

    __slots__ = ("_materials", "_opened")

    algorithm = ALGORITHM_XAES_256_GCM

    def __init__(self, materials: OpenedMaterials[Any, int], opened: Opened[int]) -> None:
        self._materials = materials
        self._opened = opened

    def encrypt(self, plaintext: bytes, encryption_context: dict[str, str]) -> bytes:
        """Return a ciphertext blob, 80 bytes longer than `plaintext`. Draws a fresh nonce."""
        nonce = os.urandom(NONCE_LENGTH)
        material_id = self._opened.material.material_id
        header = build_header(ALGORITHM_XAES_256_GCM, material_id, nonce, len(plaintext) + TAG_LENGTH)
        return header + self.seal(nonce, plaintext, associated_data(header, encryption_context))

    def decrypt(self, blob: CiphertextBlob, encryption_context: dict[str, str]) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was encrypted."""
        # XAES-256-GCM is not key-committing: only the material that the header names is ever tried.
        if blob.material_id != self._opened.material.material_id or blob.algorithm != ALGORITHM_XAES_256_GCM:
            raise InvalidCiphertext
        return self.unseal(blob.nonce, blob.ciphertext, associated_data(blob.header, encryption_context))

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return the ciphertext and its 16-byte tag. `nonce` is 24 bytes, never used before with this key."""
        if len(nonce) != NONCE_LENGTH:
            raise ValueError("an XAES-256-GCM nonce has 24 bytes")

        def seal(session: Session, handle: int, masked: int) -> bytes:
            key = session.derive_by_encryption(handle, message_key_blocks(masked, nonce), MESSAGE_KEY)
            try:
                return session.encrypt_gcm(key, nonce[_HALF_NONCE:], plaintext, associated_data)
            finally:
                session.discard(key)

        return self._materials.use(self._opened, seal)

    def unseal(self, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was sealed."""
        if len(nonce) != NONCE_LENGTH or len(ciphertext) < TAG_LENGTH:
            raise InvalidCiphertext

        def open_(session: Session, handle: int, masked: int) -> bytes:
            key = session.derive_by_encryption(handle, message_key_blocks(masked, nonce), MESSAGE_KEY)
            try:
                return _open_gcm(session, key, nonce[_HALF_NONCE:], ciphertext, associated_data)
            finally:
                session.discard(key)

        return self._materials.use(self._opened, open_)


class HsmDirectKey:
    """Material that encrypts with AES-256-GCM itself, where a token cannot derive. Its uses are counted."""

    __slots__ = ("_count", "_materials", "_opened")

    algorithm = ALGORITHM_AES_256_GCM

    def __init__(
        self, materials: OpenedMaterials[Any, None], opened: Opened[None], count: Callable[[KeyMaterial], None]
    ) -> None:
        """`count` counts an encryption before it is done; it raises if there were too many."""
        self._materials = materials
        self._opened = opened
        self._count = count

    def encrypt(self, plaintext: bytes, encryption_context: dict[str, str]) -> bytes:
        """Return a ciphertext blob, 68 bytes longer than `plaintext`. Draws a fresh nonce."""
        nonce = os.urandom(_HALF_NONCE)
        material_id = self._opened.material.material_id
        header = build_header(ALGORITHM_AES_256_GCM, material_id, nonce, len(plaintext) + TAG_LENGTH)
        return header + self.seal(nonce, plaintext, associated_data(header, encryption_context))

    def decrypt(self, blob: CiphertextBlob, encryption_context: dict[str, str]) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was encrypted."""
        if blob.material_id != self._opened.material.material_id or blob.algorithm != ALGORITHM_AES_256_GCM:
            raise InvalidCiphertext
        return self.unseal(blob.nonce, blob.ciphertext, associated_data(blob.header, encryption_context))

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Count this use, and return the ciphertext and its 16-byte tag. `nonce` is 12 random bytes.

        Raises what counting raises, and then nothing is encrypted.
        """
        if len(nonce) != _HALF_NONCE:
            raise ValueError("an AES-256-GCM nonce has 12 bytes here")
        self._count(self._opened.material)
        return self._materials.use(
            self._opened, lambda session, handle, _: session.encrypt_gcm(handle, nonce, plaintext, associated_data)
        )

    def unseal(self, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext if anything at all is not as it was sealed."""
        if len(nonce) != _HALF_NONCE or len(ciphertext) < TAG_LENGTH:
            raise InvalidCiphertext
        return self._materials.use(
            self._opened, lambda session, handle, _: _open_gcm(session, handle, nonce, ciphertext, associated_data)
        )


class HsmMacKey:
    """Material of an HMAC key that is open in the token."""

    __slots__ = ("_materials", "_opened")

    def __init__(self, materials: OpenedMaterials[Any, None], opened: Opened[None]) -> None:
        self._materials = materials
        self._opened = opened

    def generate(self, algorithm: str, message: bytes) -> bytes:
        """Return the whole MAC of a message."""
        mechanism = _MAC[algorithm]
        return self._materials.use(self._opened, lambda session, handle, _: session.sign(mechanism, handle, message))

    def verify(self, algorithm: str, message: bytes, mac: bytes) -> None:
        """Raise KMSInvalidMac unless the MAC is the message's, whole."""
        if not hmac.compare_digest(self.generate(algorithm, message), mac):
            raise KMSInvalidMac


class HsmPrivateKey:
    """The private key of a key pair that is open in the token: signs, decrypts or agrees, as its class allows."""

    __slots__ = ("_materials", "_opened", "_opener")

    def __init__(
        self, materials: OpenedMaterials[Any, None], opened: Opened[None], opener: OaepOpener | None = None
    ) -> None:
        """`opener` takes off the padding of OAEP with SHA-256, if the token does not."""
        self._materials = materials
        self._opened = opened
        self._opener = opener

    def sign(self, algorithm: str, message_type: str, message: bytes) -> bytes:
        """Return a signature in the algorithm's own form."""
        mechanism, data = to_sign(algorithm, message_type, message)
        signature = self._materials.use(self._opened, lambda session, handle, _: session.sign(mechanism, handle, data))
        return ecdsa_to_der(signature) if algorithm.startswith("ECDSA") else signature

    def decrypt(self, algorithm: str, ciphertext: bytes) -> bytes:
        """Return the plaintext. Raises InvalidCiphertext."""
        spec, public = self._opened.key.key_spec, self._opened.material.public_key
        assert public is not None, "a key pair has one"
        if len(ciphertext) != MODULUS_BITS[spec] // 8:
            raise InvalidCiphertext
        known = load_encryption_key(spec, public)
        opener = self._opener if algorithm == _OAEP_SHA_256 else None
        mechanism = OAEP_MECHANISMS[algorithm] if opener is None else RAW_RSA

        def unpadded(opened: bytes) -> bytes:
            return opened if opener is None else opener.open(opened)

        def open_(session: Session, handle: int, _: None) -> bytes:
            def prove() -> None:
                opened = session.decrypt(mechanism, handle, known.encrypt(algorithm, _PROOF))
                if unpadded(opened) != _PROOF:
                    raise UnclearError("C_Decrypt", 0)

            return certainly(lambda: session.decrypt(mechanism, handle, ciphertext), prove)

        return unpadded(self._materials.use(self._opened, open_))

    def shared_secret(self, public_key: bytes) -> bytes:
        """Return the raw secret shared with the owner of a public key. Raises Validation if it is none that fits."""
        curve = CURVES[self._opened.key.key_spec]
        point = load_peer(public_key, curve).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        length = (curve.key_size + 7) // 8
        return self._materials.use(
            self._opened, lambda session, handle, _: shared_secret(session, handle, point, length)
        )


def _open_gcm(session: Session, key: int, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    def prove() -> None:
        sealed = session.encrypt_gcm(key, nonce, _PROOF, b"")
        if session.decrypt_gcm(key, nonce, sealed, b"") != _PROOF:
            raise UnclearError("C_Decrypt", 0)

    return certainly(lambda: session.decrypt_gcm(key, nonce, ciphertext, associated), prove)
