import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.xaes import XaesKey
from strongroom.errors import UnrecognizedClient
from strongroom.keystores.session_tokens import SessionTokens
from strongroom.model.session import Session

KEYS = {1: XaesKey(bytes(32)), 2: XaesKey(bytes([1]) * 32)}
TOKENS = SessionTokens(KEYS)
SESSION = Session(
    "ASIA2222222222222222",
    "the secret",
    "111122223333",
    "AROA1",
    1.0,
    3601.0,
    name="work",
    policy='{"ä": 1}',
    policy_arns=("arn:1",),
    tags=(("a", "b"),),
    transitive_tag_keys=("a",),
    source_identity="ann",
    federated_provider="arn:2",
    claims=(("issuer:sub", ("x",)),),
)


def test_a_session_comes_back_as_it_was_sealed() -> None:
    token = TOKENS.seal(SESSION)
    assert TOKENS.open(token) == SESSION
    assert TOKENS.seal(SESSION) != token
    assert SessionTokens({1: KEYS[1]}).open(SessionTokens({1: KEYS[1]}).seal(SESSION)) == SESSION


def test_nothing_of_it_can_be_read() -> None:
    token = TOKENS.seal(SESSION)
    for secret in ("the secret", "AROA1", "111122223333"):
        assert secret.encode() not in base64.b64decode(token)
    assert "the secret" not in repr(SESSION)


def refused(token: str) -> None:
    with pytest.raises(UnrecognizedClient, match=r"The security token included in the request is invalid\."):
        TOKENS.open(token)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_token_with_a_changed_byte_is_refused(place: int, change: int) -> None:
    sealed = bytearray(base64.b64decode(TOKENS.seal(SESSION)))
    sealed[place % len(sealed)] ^= change
    refused(base64.b64encode(sealed).decode())


def test_a_token_of_another_installation_or_purpose_is_refused() -> None:
    refused(SessionTokens({2: XaesKey(bytes([7]) * 32)}).seal(SESSION))
    refused(SessionTokens({3: KEYS[2]}).seal(SESSION))


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    refused(text)


def test_a_text_that_is_far_too_long_is_refused() -> None:
    refused("A" * 100_000)
