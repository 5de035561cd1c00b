"""What every symmetric key fulfils whose cipher is used without ciphertext blobs (strongroom/keystores/contract.py).

Its keys are of a token each: a library that is open already would not see them beside those of `test_key_store.py`.
"""

import secrets
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidCiphertext
from strongroom.keystores.contract import RawSymmetricKey
from strongroom.keystores.hsm.keys import HsmSymmetricKey
from strongroom.keystores.hsm.module import open_module
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.model.custom_key_store import KeyStoreUse
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.contracts.conftest import software
from tests.hsm import IDS, cluster_key_store, new_token, opened_hsm
from tests.keys import KEY, generate


@pytest.fixture(scope="module", params=["software", "hsm", "hsm that cannot derive", "cluster"])
def raw(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, softhsm: SoftHsm
) -> Iterator[RawSymmetricKey]:
    """A key whose cipher is used without blobs."""
    directory = tmp_path_factory.mktemp("raw")
    if request.param == "software":
        store = software(directory)
        yield store.open_symmetric(KEY, generate(store))
    elif request.param == "cluster":
        with cluster_key_store(new_token(softhsm), directory / "refused", open_module(str(LIBRARY))) as cluster:
            use = KeyStoreUse("request", "Encrypt", "arn:aws:iam::111122223333:root")
            material = cluster.new_material(use, KEY, material_id=secrets.token_hex(32), created=1.5)
            key = cluster.open_symmetric(use, KEY, material)
            assert isinstance(key, HsmSymmetricKey)
            yield key
    else:
        with opened_hsm(softhsm) as hsm:
            can = hsm.can._replace(xaes=request.param == "hsm")
            made = HsmKeyStore(hsm.token, can, allowed=("direct-gcm",), count_use=lambda _: None, material_ids=IDS)
            yield made.open_symmetric(KEY, generate(made))


NONCE_LENGTHS = {1: 24, 2: 12}


def fresh_nonce(raw: RawSymmetricKey) -> bytes:
    return secrets.token_bytes(NONCE_LENGTHS[raw.algorithm])


@given(plaintext=st.binary(max_size=4400), associated_data=st.binary(max_size=200))
def test_unseals_what_it_sealed(raw: RawSymmetricKey, plaintext: bytes, associated_data: bytes) -> None:
    nonce = fresh_nonce(raw)
    sealed = raw.seal(nonce, plaintext, associated_data)
    assert len(sealed) == len(plaintext) + 16
    assert raw.unseal(nonce, sealed, associated_data) == plaintext


@pytest.mark.parametrize("length", [8192, 65_535 + 16])
def test_seals_with_much_associated_data(raw: RawSymmetricKey, length: int) -> None:
    nonce, associated_data = fresh_nonce(raw), secrets.token_bytes(length)
    sealed = raw.seal(nonce, bytes(8192), associated_data)
    assert raw.unseal(nonce, sealed, associated_data) == bytes(8192)
    with pytest.raises(InvalidCiphertext):
        raw.unseal(nonce, sealed, associated_data[:-1] + bytes([associated_data[-1] ^ 1]))


def test_unseals_nothing_that_was_altered(raw: RawSymmetricKey) -> None:
    nonce, associated_data = fresh_nonce(raw), b"associated"
    parts = [nonce, raw.seal(nonce, b"plaintext", associated_data), associated_data]
    for which, part in enumerate(parts):
        for bit in range(8 * len(part)):
            altered = bytearray(part)
            altered[bit // 8] ^= 1 << bit % 8
            given_parts = [*parts[:which], bytes(altered), *parts[which + 1 :]]
            with pytest.raises(InvalidCiphertext):
                raw.unseal(*given_parts)
    assert raw.unseal(*parts) == b"plaintext"


def test_wrong_lengths_are_refused(raw: RawSymmetricKey) -> None:
    nonce = fresh_nonce(raw)
    sealed = raw.seal(nonce, b"plaintext", b"")
    for wrong in (b"", nonce[:-1], nonce + b"\x00", bytes(16), bytes(36 - len(nonce))):
        with pytest.raises(ValueError, match="nonce has"):
            raw.seal(wrong, b"plaintext", b"")
        with pytest.raises(InvalidCiphertext):
            raw.unseal(wrong, sealed, b"")
    for length in (*range(17), len(sealed) - 1):
        with pytest.raises(InvalidCiphertext):
            raw.unseal(nonce, sealed[:length], b"")
    assert raw.unseal(nonce, sealed, b"") == b"plaintext"
