"""Grant tokens: what was sealed here opens here, and nothing else does."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto import wrapping
from strongroom.crypto.xaes import NONCE_LENGTH, XaesKey
from strongroom.errors import InvalidGrantToken
from strongroom.keystores.grant_tokens import GrantTokens
from strongroom.model.grant import Grant

GRANT = Grant(
    "111122223333", "us-east-1", "1234abcd-12ab-34cd-56ef-1234567890ab", "ab" * 32, 1.0, "111122223333", ("Encrypt",),
    grantee_principal="arn:a",
)  # fmt: skip
NAME = (GRANT.account, GRANT.region, GRANT.key_id, GRANT.grant_id)
KEYS = {version: XaesKey(bytes([version]) * 32) for version in (1, 2)}
TOKENS = GrantTokens(KEYS)


def encoded(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def decoded(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def refused(token: str, tokens: GrantTokens = TOKENS) -> None:
    with pytest.raises(InvalidGrantToken) as caught:
        tokens.open(token)
    assert caught.value.message is None


def test_a_token_names_its_grant_and_each_is_another() -> None:
    first, second = TOKENS.seal(GRANT), TOKENS.seal(GRANT)
    assert first != second
    assert TOKENS.open(first) == TOKENS.open(second) == NAME
    assert first.replace("-", "").replace("_", "").isalnum()
    assert GRANT.grant_id not in str(decoded(first))
    assert len(first) < 400


def test_the_newest_key_makes_tokens_and_the_older_ones_still_open() -> None:
    old = GrantTokens({1: KEYS[1]})
    assert TOKENS.open(old.seal(GRANT)) == NAME
    assert decoded(TOKENS.seal(GRANT))[:4] == bytes.fromhex("00000002")
    refused(TOKENS.seal(GRANT), old)


def test_another_installations_token() -> None:
    refused(GrantTokens({2: XaesKey(bytes(32))}).seal(GRANT))


def test_what_was_wrapped_for_something_else() -> None:
    for binding in (("sealed-secrets", "2"), ("grant-token", "1"), ("grant-token",)):
        wrapped = wrapping.wrap(KEYS[2], b'["a","b","c","d"]', binding, os.urandom(NONCE_LENGTH))
        refused(encoded(bytes.fromhex("00000002") + wrapped))


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_altered_bytes(position: int, bit: int) -> None:
    sealed = bytearray(decoded(TOKENS.seal(GRANT)))
    sealed[position % len(sealed)] ^= 1 << bit
    refused(encoded(bytes(sealed)))


@given(st.data())
def test_altered_text(data: st.DataObject) -> None:
    """Also where base64 would not mind."""
    token = TOKENS.seal(GRANT)
    at = data.draw(st.integers(0, len(token)))
    put = data.draw(st.sampled_from(["A", "B", "-", "_", "=", "\n", " ", "+", "é", "\0"]))
    cut = data.draw(st.booleans())
    altered = token[:at] + put + token[at + cut :]
    if altered != token:
        refused(altered)


@given(st.text() | st.binary().map(encoded))
def test_garbage(token: str) -> None:
    refused(token)


def test_every_length() -> None:
    token = TOKENS.seal(GRANT)
    for length in range(len(token)):
        refused(token[:length])


def test_shows_nothing() -> None:
    assert repr(TOKENS) == "GrantTokens()"
