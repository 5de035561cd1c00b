"""ML-DSA against two others: dilithium-py, in plain Python, and pycryptodome, whose ML-DSA is mldsa-native's C.

OpenSSL 3.0 has no ML-DSA; ours is that of the newer OpenSSL inside pyca/cryptography. Private keys are read by
pycryptodome for both.
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import dilithium_py.ml_dsa
import pytest
from Crypto.PublicKey import MLDSA
from Crypto.Signature import mldsa
from Crypto.Signature.mldsa import MLDSAMuHash

from strongroom.errors import KMSInvalidSignature
from tests.crosschecks.keys import key_pair, signing_key, verifying_key

ALGORITHM = "ML_DSA_SHAKE_256"
MESSAGE = b"a message of some length"


class Peer(Protocol):
    """Another implementation, with our key pair. It signs and verifies the message, or mu, which is made of it."""

    def public(self) -> bytes: ...
    def mu(self, message: bytes) -> bytes: ...
    def sign(self, message_type: str, message: bytes) -> bytes: ...
    def verifies(self, message: bytes, signature: bytes) -> bool: ...


class DilithiumPy:
    def __init__(self, key_spec: str) -> None:
        self._set = getattr(dilithium_py.ml_dsa, key_spec)
        self._public, self._private = self._set.key_derive(MLDSA.import_key(key_pair(key_spec).private).seed)

    def public(self) -> bytes:
        return bytes(self._public)

    def mu(self, message: bytes) -> bytes:
        return bytes(self._set.prehash_external_mu(self._public, message))

    def sign(self, message_type: str, message: bytes) -> bytes:
        if message_type == "EXTERNAL_MU":
            return bytes(self._set.sign_external_mu(self._private, self.mu(message)))
        return bytes(self._set.sign(self._private, message))

    def verifies(self, message: bytes, signature: bytes) -> bool:
        return bool(self._set.verify(self._public, message, signature))


class Pycryptodome:
    def __init__(self, key_spec: str) -> None:
        self._key = MLDSA.import_key(key_pair(key_spec).private)

    def public(self) -> bytes:
        return self._key.pk

    def mu(self, message: bytes) -> bytes:
        return MLDSAMuHash(self._key, data=message).digest()

    def sign(self, message_type: str, message: bytes) -> bytes:
        if message_type == "EXTERNAL_MU":
            return mldsa.new(self._key).sign(MLDSAMuHash(self._key, data=message))
        return mldsa.new(self._key).sign(message)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        try:
            mldsa.new(self._key.public_key()).verify(message, signature)
        except ValueError:
            return False
        return True


@cache
def peer_of(implementation: Callable[[str], Peer], key_spec: str) -> Peer:
    return implementation(key_spec)


each_key_spec = pytest.mark.parametrize("key_spec", ["ML_DSA_44", "ML_DSA_65", "ML_DSA_87"])
each_implementation = pytest.mark.parametrize("implementation", [DilithiumPy, Pycryptodome])
each_message_type = pytest.mark.parametrize("message_type", ["RAW", "EXTERNAL_MU"])


@each_key_spec
def test_pycryptodome_writes_the_same_keys(key_spec: str) -> None:
    ours, theirs = key_pair(key_spec), MLDSA.import_key(key_pair(key_spec).private)
    assert theirs.param_set is MLDSA.ParamSet[key_spec]
    assert theirs.export_key() == ours.private
    assert theirs.public_key().export_key() == ours.public


@each_key_spec
@each_implementation
def test_the_same_seed_gives_the_same_public_key(key_spec: str, implementation: Callable[[str], Peer]) -> None:
    assert peer_of(implementation, key_spec).public() == MLDSA.import_key(key_pair(key_spec).public).pk


@each_key_spec
@each_implementation
@each_message_type
def test_the_other_verifies_what_we_sign(
    key_spec: str, implementation: Callable[[str], Peer], message_type: str
) -> None:
    peer = peer_of(implementation, key_spec)
    to_sign = MESSAGE if message_type == "RAW" else peer.mu(MESSAGE)
    signature = signing_key(key_spec).sign(ALGORITHM, message_type, to_sign)
    assert peer.verifies(MESSAGE, signature)
    assert not peer.verifies(b"another", signature)


@each_key_spec
@each_implementation
@each_message_type
def test_we_verify_what_the_other_signs(
    key_spec: str, implementation: Callable[[str], Peer], message_type: str
) -> None:
    peer, key = peer_of(implementation, key_spec), verifying_key(key_spec)
    signature = peer.sign(message_type, MESSAGE)
    key.verify(ALGORITHM, "RAW", MESSAGE, signature)
    key.verify(ALGORITHM, "EXTERNAL_MU", peer.mu(MESSAGE), signature)
    with pytest.raises(KMSInvalidSignature):
        key.verify(ALGORITHM, "RAW", b"another", signature)
    with pytest.raises(KMSInvalidSignature):
        key.verify(ALGORITHM, "EXTERNAL_MU", peer.mu(b"another"), signature)
