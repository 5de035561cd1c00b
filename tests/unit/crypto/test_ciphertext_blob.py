import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.ciphertext_blob import (
    ALGORITHM_XAES_256_GCM,
    CiphertextBlob,
    associated_data,
    build_header,
    parse,
)
from strongroom.errors import InvalidCiphertext

MATERIAL_ID = "0123456789abcdef" * 4
NONCE = bytes(range(24))
CIPHERTEXT = b"C" * 20
HEADER = bytes.fromhex("01 01 20" + MATERIAL_ID + "18" + NONCE.hex() + "00000014")
MATERIAL_IDS = st.binary(min_size=32, max_size=32).map(bytes.hex)
NONCES = st.binary(min_size=24, max_size=24)


def test_the_header_is_laid_out_as_documented() -> None:
    assert build_header(ALGORITHM_XAES_256_GCM, MATERIAL_ID, NONCE, len(CIPHERTEXT)) == HEADER


def test_parses_what_is_laid_out_as_documented() -> None:
    assert parse(HEADER + CIPHERTEXT) == CiphertextBlob(
        algorithm=1, material_id=MATERIAL_ID, nonce=NONCE, ciphertext=CIPHERTEXT, header=HEADER
    )


def test_the_associated_data_are_label_header_and_context() -> None:
    expected = b"strongroom ciphertext blob\x00" + HEADER + bytes.fromhex("00000002 00000001 61 00000001 62")
    assert associated_data(HEADER, {"a": "b"}) == expected


@given(MATERIAL_IDS, NONCES, st.binary(max_size=5_000))
def test_parse_undoes_build(material_id: str, nonce: bytes, ciphertext: bytes) -> None:
    header = build_header(ALGORITHM_XAES_256_GCM, material_id, nonce, len(ciphertext))
    assert parse(header + ciphertext) == CiphertextBlob(ALGORITHM_XAES_256_GCM, material_id, nonce, ciphertext, header)


def edited(offset: int, byte: int) -> bytes:
    blob = bytearray(HEADER + CIPHERTEXT)
    blob[offset] = byte
    return bytes(blob)


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HEADER[:10], id="cut in the material id"),
        pytest.param(HEADER[:50], id="cut in the nonce"),
        pytest.param(HEADER[:-1], id="cut in the length"),
        pytest.param(HEADER, id="no ciphertext"),
        pytest.param(HEADER + CIPHERTEXT[:-1], id="cut in the ciphertext"),
        pytest.param(HEADER + CIPHERTEXT + b"\x00", id="a byte appended"),
        pytest.param(b"\x00" + HEADER + CIPHERTEXT, id="a byte put before"),
        pytest.param(edited(0, 0), id="version 0"),
        pytest.param(edited(0, 2), id="version 2"),
        pytest.param(edited(1, 0), id="algorithm 0"),
        pytest.param(edited(1, 2), id="algorithm 2"),
        pytest.param(edited(2, 31), id="a shorter material id"),
        pytest.param(edited(2, 0), id="no material id"),
        pytest.param(edited(35, 12), id="a shorter nonce"),
        pytest.param(edited(35, 255), id="a nonce longer than the blob"),
        pytest.param(edited(60, 1), id="a huge ciphertext length"),
        pytest.param(edited(63, 19), id="a smaller ciphertext length"),
    ],
)
def test_refuses_what_is_no_blob(blob: bytes) -> None:
    with pytest.raises(InvalidCiphertext) as refused:
        parse(blob)
    assert refused.value.message is None


def test_refuses_a_nonce_of_another_length_even_if_all_lengths_agree() -> None:
    blob = bytes.fromhex("01 01 20" + MATERIAL_ID + "0c" + NONCE[:12].hex() + "00000014") + CIPHERTEXT
    with pytest.raises(InvalidCiphertext):
        parse(blob)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: HEADER[:36] + rest))
def test_parses_any_bytes_or_refuses_them(blob: bytes) -> None:
    try:
        parsed = parse(blob)
    except InvalidCiphertext:
        return
    assert parsed.header + parsed.ciphertext == blob
