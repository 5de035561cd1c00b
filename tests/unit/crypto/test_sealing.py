import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.sealing import open_sealed, public_key_of, seal_to

PRIVATE_KEY = bytes(range(32))
PUBLIC_KEY = public_key_of(PRIVATE_KEY)


def test_derives_the_public_key_of_rfc_7748_section_6_1() -> None:
    private_key = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    expected = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert public_key_of(private_key).hex() == expected


@given(plaintext=st.binary(max_size=100), info=st.binary(max_size=50))
def test_opens_what_was_sealed(plaintext: bytes, info: bytes) -> None:
    sealed = seal_to(PUBLIC_KEY, plaintext, info)
    assert len(sealed) == len(plaintext) + 49
    assert open_sealed(PRIVATE_KEY, sealed, info) == plaintext


def test_seals_differently_each_time() -> None:
    assert seal_to(PUBLIC_KEY, b"same", b"") != seal_to(PUBLIC_KEY, b"same", b"")


def test_opens_what_an_earlier_version_sealed() -> None:
    sealed = bytes.fromhex(
        "01841997be4aa97b218c2ca77f86e47a3fbfed28b2c2dcc21044ae82d716d1864f35c1247599ed5402013cb18eb6a2422bef1771cb30c1f2844ce30306"
    )
    assert open_sealed(PRIVATE_KEY, sealed, b"info") == b"known answer"


def test_refuses_a_flipped_bit_anywhere() -> None:
    sealed = seal_to(PUBLIC_KEY, b"secret", b"info")
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(InvalidTag):
            open_sealed(PRIVATE_KEY, bytes(altered), b"info")


def test_refuses_what_was_cut_anywhere() -> None:
    sealed = seal_to(PUBLIC_KEY, b"secret", b"info")
    for length in range(len(sealed)):
        with pytest.raises(InvalidTag):
            open_sealed(PRIVATE_KEY, sealed[:length], b"info")


def test_refuses_another_info_and_another_key() -> None:
    sealed = seal_to(PUBLIC_KEY, b"secret", b"info")
    with pytest.raises(InvalidTag):
        open_sealed(PRIVATE_KEY, sealed, b"inf")
    with pytest.raises(InvalidTag):
        open_sealed(bytes(reversed(PRIVATE_KEY)), sealed, b"info")


def test_takes_no_public_key_of_another_length() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal_to(PUBLIC_KEY[:-1], b"", b"")
