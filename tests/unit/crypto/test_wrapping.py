import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.wrapping import unwrap, wrap
from strongroom.crypto.xaes import XaesKey

KEY = XaesKey(b"\x01" * 32)
NONCE = bytes(range(24))
BINDING = ("purpose", "name")
WRAPPED = wrap(KEY, b"secret", BINDING, NONCE)


def test_is_laid_out_as_documented() -> None:
    associated_data = bytes.fromhex(
        "00000004"
        "00000019" + b"strongroom wrapped secret".hex() + "00000001" + "01"
        "00000007" + b"purpose".hex() + "00000004" + b"name".hex()
    )
    assert b"\x01" + NONCE + KEY.seal(NONCE, b"secret", associated_data) == WRAPPED


@given(
    secret=st.binary(max_size=100),
    binding=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=4).map(tuple),
    nonce=st.binary(min_size=24, max_size=24),
)
def test_unwrap_undoes_wrap(secret: bytes, binding: tuple[str, ...], nonce: bytes) -> None:
    wrapped = wrap(KEY, secret, binding, nonce)
    assert len(wrapped) == len(secret) + 41
    assert unwrap(KEY, wrapped, binding) == secret


@pytest.mark.parametrize("bit", range(8 * len(WRAPPED)))
def test_refuses_a_flipped_bit(bit: int) -> None:
    altered = bytearray(WRAPPED)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidTag):
        unwrap(KEY, bytes(altered), BINDING)


@pytest.mark.parametrize("length", range(len(WRAPPED)))
def test_refuses_what_was_cut(length: int) -> None:
    with pytest.raises(InvalidTag):
        unwrap(KEY, WRAPPED[:length], BINDING)


def test_refuses_what_was_lengthened() -> None:
    with pytest.raises(InvalidTag):
        unwrap(KEY, WRAPPED + b"\x00", BINDING)


@pytest.mark.parametrize(
    "binding",
    [(), ("purpose",), ("purpose", "nam", "e"), ("purposen", "ame"), ("name", "purpose"), ("purpose", "Name")],
)
def test_refuses_another_binding(binding: tuple[str, ...]) -> None:
    with pytest.raises(InvalidTag):
        unwrap(KEY, WRAPPED, binding)


def test_refuses_another_key() -> None:
    with pytest.raises(InvalidTag):
        unwrap(XaesKey(b"\x02" * 32), WRAPPED, BINDING)
