"""ML-KEM against two others: kyber-py, in plain Python, and pycryptodome, whose ML-KEM is mlkem-native's C.

OpenSSL 3.0 has no ML-KEM. Ours of ML-KEM-768 and ML-KEM-1024 is that of the newer OpenSSL inside pyca/cryptography.
That does not offer ML-KEM-512: there we expand seeds with pycryptodome and leave the rest to pqcrypto. So of ML-KEM-512
pycryptodome says nothing new about the expansion of seeds; kyber-py does. Private keys are read by pycryptodome for
both.
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import kyber_py.ml_kem
import pytest
from Crypto.PublicKey import MLKEM

from strongroom.crypto.key_pairs import load_decapsulation_key, load_encapsulation_key
from tests.crosschecks.keys import key_pair


class Peer(Protocol):
    """Another implementation, with our key pair."""

    def public(self) -> bytes: ...
    def encapsulate(self) -> tuple[bytes, bytes]: ...
    def decapsulate(self, ciphertext: bytes) -> bytes: ...


class KyberPy:
    def __init__(self, key_spec: str) -> None:
        self._set = getattr(kyber_py.ml_kem, key_spec)
        self._public, self._private = self._set.key_derive(MLKEM.import_key(key_pair(key_spec).private).seed)

    def public(self) -> bytes:
        return bytes(self._public)

    def encapsulate(self) -> tuple[bytes, bytes]:
        shared_secret, ciphertext = self._set.encaps(self._public)
        return shared_secret, ciphertext

    def decapsulate(self, ciphertext: bytes) -> bytes:
        return bytes(self._set.decaps(self._private, ciphertext))


class Pycryptodome:
    """What it offers of ML-KEM is HPKE; encapsulation alone is not public."""

    def __init__(self, key_spec: str) -> None:
        self._key = MLKEM.import_key(key_pair(key_spec).private)

    def public(self) -> bytes:
        return self._key.ek

    def encapsulate(self) -> tuple[bytes, bytes]:
        return self._key.public_key()._encaps()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        return self._key._decaps(ciphertext)


@cache
def peer_of(implementation: Callable[[str], Peer], key_spec: str) -> Peer:
    return implementation(key_spec)


each_key_spec = pytest.mark.parametrize("key_spec", ["ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"])
each_implementation = pytest.mark.parametrize("implementation", [KyberPy, Pycryptodome])


@each_key_spec
def test_pycryptodome_writes_the_same_keys(key_spec: str) -> None:
    ours, theirs = key_pair(key_spec), MLKEM.import_key(key_pair(key_spec).private)
    assert theirs.param_set is MLKEM.ParamSet[key_spec]
    assert theirs.export_key() == ours.private
    assert theirs.public_key().export_key() == ours.public


@each_key_spec
@each_implementation
def test_the_same_seed_gives_the_same_public_key(key_spec: str, implementation: Callable[[str], Peer]) -> None:
    assert peer_of(implementation, key_spec).public() == MLKEM.import_key(key_pair(key_spec).public).ek


@each_key_spec
@each_implementation
def test_the_other_decapsulates_what_we_encapsulate(key_spec: str, implementation: Callable[[str], Peer]) -> None:
    shared_secret, ciphertext = load_encapsulation_key(key_spec, key_pair(key_spec).public).encapsulate()
    assert peer_of(implementation, key_spec).decapsulate(ciphertext) == shared_secret


@each_key_spec
@each_implementation
def test_we_decapsulate_what_the_other_encapsulates(key_spec: str, implementation: Callable[[str], Peer]) -> None:
    shared_secret, ciphertext = peer_of(implementation, key_spec).encapsulate()
    assert load_decapsulation_key(key_spec, key_pair(key_spec).private).decapsulate(ciphertext) == shared_secret


@each_key_spec
@each_implementation
@pytest.mark.parametrize("position", [0, -1])
def test_an_altered_ciphertext_gives_both_the_same_wrong_secret(
    key_spec: str, implementation: Callable[[str], Peer], position: int
) -> None:
    """FIPS 203, algorithm 18: implicit rejection."""
    peer = peer_of(implementation, key_spec)
    shared_secret, ciphertext = peer.encapsulate()
    altered = bytearray(ciphertext)
    altered[position] ^= 1
    wrong = load_decapsulation_key(key_spec, key_pair(key_spec).private).decapsulate(bytes(altered))
    assert wrong == peer.decapsulate(bytes(altered))
    assert wrong != shared_secret
