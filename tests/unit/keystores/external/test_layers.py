"""Double encryption: two layers, each of which is needed ("How external key stores work", KMS Developer Guide)."""

import secrets
from hashlib import sha256
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import CiphertextBlob, build_header, parse
from strongroom.errors import InvalidCiphertext, KMSInvalidState
from strongroom.keystores.contract import KeyStore, SymmetricKey
from strongroom.keystores.external.layers import Outer, associated_data, unpack
from strongroom.keystores.external.messages import Encrypted
from strongroom.keystores.external.proxy import Proxy
from strongroom.keystores.external.store import ExternalKeyStore
from strongroom.model.key import KeyMaterial, KmsKey
from tests.xks.keys import external_key, opened, used_for
from tests.xks.proxy import XksProxy

INVALID = "the specified ciphertext or additional authenticated data is corrupted, missing, or otherwise invalid"
MATERIAL_ID = "0123456789abcdef" * 4


class Made(NamedTuple):
    key: KmsKey
    material: KeyMaterial
    opened: SymmetricKey


def make(store: ExternalKeyStore, key: KmsKey | None = None) -> Made:
    key = key or external_key()
    material = store.new_material(used_for("CreateKey"), key, material_id=secrets.token_hex(32), created=1.5)
    return Made(key, material, store.open_symmetric(used_for("Encrypt"), key, material))


def with_body(blob: CiphertextBlob, body: bytes, nonce: bytes | None = None) -> CiphertextBlob:
    """A blob with another outer layer."""
    nonce = blob.nonce if nonce is None else nonce
    return parse(build_header(3, blob.material_id, nonce, len(body)) + body)


@pytest.mark.parametrize("length", [0, 1, 4096])
@pytest.mark.parametrize(("metadata", "iv_length"), [(b"", 12), (b"m" * 20, 16)])
def test_decrypts_what_it_encrypted(
    xks: XksProxy, store: ExternalKeyStore, length: int, metadata: bytes, iv_length: int
) -> None:
    xks.metadata, xks.iv_length = metadata, iv_length
    key = opened(store)
    plaintext = secrets.token_bytes(length)
    blob = key.encrypt(plaintext, {"a": "b"})
    assert len(blob) == 4 + 32 + iv_length + 4 + 1 + len(metadata) + 32 + 80 + length + 16
    assert len(blob) <= 6144
    assert key.decrypt(parse(blob), {"a": "b"}) == plaintext


@pytest.mark.parametrize(
    "context", [{}, {"a": "b"}, {"": ""}, {"k" * 4000: "v" * 4000}, {str(n): "é" * 100 for n in range(500)}],
    ids=["none", "one", "empty", "long", "many"],
)  # fmt: skip
def test_any_context_is_as_long_to_the_proxy_and_not_seen_by_it(
    xks: XksProxy, store: ExternalKeyStore, context: dict[str, str]
) -> None:
    key = opened(store)
    assert key.decrypt(parse(key.encrypt(b"plaintext", context)), context) == b"plaintext"
    for asked in xks.asked[1:]:
        assert len(asked.body["additionalAuthenticatedData"]) == 120


def test_the_associated_data_are_as_documented() -> None:
    found = associated_data(MATERIAL_ID, {"a": "b"})
    assert found.hex() == (
        b"strongroom external key\x01".hex()
        + MATERIAL_ID
        # of 00000002 00000001 61 00000001 62
        + "db7fb0036791c3990525f0aed7da93d891a51b27338e8a4e6efaff18960f7012"
    )


def test_a_proxy_sees_no_plaintext(xks: XksProxy, store: ExternalKeyStore) -> None:
    opened(store).encrypt(b"plaintext", {})
    assert "cGxhaW50ZXh0" not in str(xks.asked[-1].body)
    assert len(xks.asked[-1].body["plaintext"]) == 120  # 80 bytes more than the plaintext


def test_the_outer_layer_alone_decrypts_nothing(store: ExternalKeyStore, default: KeyStore, proxy: Proxy) -> None:
    """Who has the external key has the inner blob; who has KMS's material besides the plaintext."""
    made = make(store)
    blob = parse(made.opened.encrypt(b"plaintext", {}))
    bound = associated_data(made.material.material_id, {})
    inner = proxy.decrypt(used_for("Decrypt"), "key-1", unpack(blob.nonce, blob.ciphertext).encrypted, bound)
    assert b"plaintext" not in inner
    with pytest.raises(InvalidCiphertext):
        made.opened.decrypt(parse(inner), {})
    assert default.open_symmetric(made.key, made.material).decrypt(parse(inner), {}) == b"plaintext"


def test_the_inner_layer_alone_decrypts_nothing(store: ExternalKeyStore, default: KeyStore) -> None:
    made = make(store)
    blob = parse(made.opened.encrypt(b"plaintext", {}))
    inner_key = default.open_symmetric(made.key, made.material)
    with pytest.raises(InvalidCiphertext):
        inner_key.decrypt(blob, {})
    with pytest.raises(InvalidCiphertext):
        inner_key.decrypt(parse(unpack(blob.nonce, blob.ciphertext).encrypted.ciphertext), {})


def test_two_kms_keys_of_one_external_key_do_not_read_each_other(store: ExternalKeyStore) -> None:
    ours, others = make(store), make(store, external_key("key-1", "00000000-12ab-34cd-56ef-1234567890ab"))
    blob = parse(ours.opened.encrypt(b"plaintext", {}))
    with pytest.raises(InvalidCiphertext):
        others.opened.decrypt(blob, {})
    body = blob.ciphertext
    renamed = parse(build_header(3, others.material.material_id, blob.nonce, len(body)) + body)
    with pytest.raises(KMSInvalidState, match=INVALID):
        others.opened.decrypt(renamed, {})


def test_material_of_one_kms_key_is_not_read_through_another_external_key(store: ExternalKeyStore) -> None:
    made = make(store)
    blob = parse(made.opened.encrypt(b"plaintext", {}))
    elsewhere = store.open_symmetric(used_for("Decrypt"), external_key("key.2_B"), made.material)
    with pytest.raises(KMSInvalidState, match=INVALID):
        elsewhere.decrypt(blob, {})


def test_an_inner_layer_that_does_not_open_is_told_as_an_outer_one(store: ExternalKeyStore, proxy: Proxy) -> None:
    made, other = make(store), make(store)
    blob = parse(made.opened.encrypt(b"plaintext", {}))
    bound = associated_data(made.material.material_id, {})
    inner = proxy.decrypt(used_for("Decrypt"), "key-1", unpack(blob.nonce, blob.ciphertext).encrypted, bound)
    their_blob = parse(other.opened.encrypt(b"plaintext", {}))
    their_bound = associated_data(other.material.material_id, {})
    theirs = proxy.decrypt(
        used_for("Decrypt"), "key-1", unpack(their_blob.nonce, their_blob.ciphertext).encrypted, their_bound
    )
    altered = inner[:-1] + bytes([inner[-1] ^ 1])
    for forged in (b"", b"no blob", inner[:-1], altered, theirs, bytes([inner[0], 3]) + inner[2:]):
        outer = proxy.encrypt(used_for("Encrypt"), "key-1", forged, bound)
        with pytest.raises(KMSInvalidState, match=INVALID):
            made.opened.decrypt(
                with_body(blob, Outer(outer, sha256(forged).digest()).pack(), outer.initialization_vector), {}
            )


def test_a_proxy_that_answers_with_another_inner_blob_is_refused(xks: XksProxy, store: ExternalKeyStore) -> None:
    """It has seen both, and both are of the same key, context and length."""
    key = opened(store)
    first, second = (parse(key.encrypt(plaintext, {"a": "b"})) for plaintext in (b"pay 1", b"pay 9"))
    inner = xks.asked[-1].body["plaintext"]
    xks.spoiled = {"plaintext": inner}
    assert key.decrypt(second, {"a": "b"}) == b"pay 9"
    with pytest.raises(KMSInvalidState, match=INVALID):
        key.decrypt(first, {"a": "b"})


@pytest.mark.parametrize("metadata", [b"", b"version 7"])
def test_refuses_every_flipped_bit_of_the_outer_layer(xks: XksProxy, store: ExternalKeyStore, metadata: bytes) -> None:
    xks.metadata = metadata
    key = opened(store)
    blob = parse(key.encrypt(b"", {"a": "b"}))
    for position in range(len(blob.ciphertext)):
        altered = bytearray(blob.ciphertext)
        altered[position] ^= 1 << position % 8
        with pytest.raises((KMSInvalidState, InvalidCiphertext)):
            key.decrypt(with_body(blob, bytes(altered)), {"a": "b"})
    for position in range(len(blob.nonce)):
        vector = bytearray(blob.nonce)
        vector[position] ^= 1 << position % 8
        with pytest.raises(KMSInvalidState, match=INVALID):
            key.decrypt(with_body(blob, blob.ciphertext, bytes(vector)), {"a": "b"})


@pytest.mark.parametrize("other", [{}, {"a": "c"}, {"A": "b"}, {"a": "b", "c": ""}, {"ab": ""}])
def test_another_context_is_an_invalid_state(store: ExternalKeyStore, other: dict[str, str]) -> None:
    key = opened(store)
    blob = parse(key.encrypt(b"plaintext", {"a": "b"}))
    with pytest.raises(KMSInvalidState, match=INVALID):
        key.decrypt(blob, other)
    assert key.decrypt(blob, {"a": "b"}) == b"plaintext"


def test_blobs_of_other_algorithms_and_materials_are_not_shown_to_the_proxy(
    xks: XksProxy, store: ExternalKeyStore, default: KeyStore
) -> None:
    made = make(store)
    blob = parse(made.opened.encrypt(b"plaintext", {}))
    inner = parse(default.open_symmetric(made.key, made.material).encrypt(b"plaintext", {}))
    asked = len(xks.asked)
    for strange in (
        inner,
        replace(blob, algorithm=2),
        replace(blob, material_id="00" * 32),
        with_body(blob, b""),
        with_body(blob, bytes([21]) + bytes(100)),
        with_body(blob, bytes([3]) + bytes(50)),
        with_body(blob, bytes(48)),
    ):
        with pytest.raises(InvalidCiphertext) as refused:
            made.opened.decrypt(strange, {})
        assert refused.value.message is None
    assert len(xks.asked) == asked


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    metadata=st.binary(max_size=20),
    ciphertext=st.binary(max_size=5000),
    tag=st.binary(min_size=16, max_size=16),
    vector=st.binary(min_size=12, max_size=12) | st.binary(min_size=16, max_size=16),
)
def test_a_blob_holds_the_outer_layer(metadata: bytes, ciphertext: bytes, tag: bytes, vector: bytes) -> None:
    outer = Outer(Encrypted(ciphertext, vector, tag, metadata), sha256(ciphertext).digest())
    body = outer.pack()
    blob = parse(build_header(3, MATERIAL_ID, vector, len(body)) + body)
    assert (blob.algorithm, blob.material_id) == (3, MATERIAL_ID)
    assert unpack(blob.nonce, blob.ciphertext) == outer


@given(st.binary(max_size=100))
def test_takes_any_bytes_apart_or_refuses_them(packed: bytes) -> None:
    try:
        outer = unpack(bytes(12), packed)
    except InvalidCiphertext:
        return
    assert outer.pack() == packed


def test_the_blob_is_laid_out_as_documented() -> None:
    outer = Encrypted(b"C" * 5, b"I" * 12, b"T" * 16, b"MM")
    body = Outer(outer, b"H" * 32).pack()
    laid_out = bytes.fromhex("01 03 20" + MATERIAL_ID + "0c") + b"I" * 12 + bytes.fromhex("00000038 02")
    assert build_header(3, MATERIAL_ID, outer.initialization_vector, len(body)) + body == (
        laid_out + b"MM" + b"H" * 32 + b"C" * 5 + b"T" * 16
    )


@pytest.mark.parametrize("length", [0, 11, 13, 15, 17, 24])
def test_refuses_a_blob_with_a_vector_of_another_length(length: int) -> None:
    with pytest.raises(InvalidCiphertext):
        parse(build_header(3, MATERIAL_ID, bytes(length), 16) + bytes(16))
