"""Import tokens: sealed, and good for nothing else."""

import base64
import secrets

import pytest

from strongroom.crypto.xaes import XaesKey
from strongroom.errors import InvalidGrantToken, InvalidImportToken, UnrecognizedClient
from strongroom.keystores.grant_tokens import GrantTokens
from strongroom.keystores.import_tokens import ImportParameters, ImportTokens
from strongroom.keystores.session_tokens import SessionTokens
from strongroom.model.import_key import ImportKey

WRAPPED = secrets.token_bytes(2_384)
"""As long as the private half of RSA_4096."""
PARAMETERS = ImportParameters(
    "111122223333",
    "us-east-1",
    "1234abcd-12ab-34cd-56ef-1234567890ab",
    1_790_000_000.125,
    ImportKey("RSA_4096", "RSA_AES_KEY_WRAP_SHA_256", "software", 1, WRAPPED, secrets.token_bytes(550)),
)
KEYS = {1: XaesKey(b"\1" * 32), 2: XaesKey(b"\2" * 32)}
TOKENS = ImportTokens(KEYS)


def test_a_token_says_what_it_was_given() -> None:
    assert TOKENS.open(TOKENS.seal(PARAMETERS)) == PARAMETERS
    assert ImportTokens({2: KEYS[2]}).open(TOKENS.seal(PARAMETERS)) == PARAMETERS  # the newest key made it
    assert TOKENS.open(ImportTokens({1: KEYS[1]}).seal(PARAMETERS)) == PARAMETERS  # an older one still opens


def test_a_token_shows_nothing_and_fits_the_api() -> None:
    token = TOKENS.seal(PARAMETERS)
    assert token != TOKENS.seal(PARAMETERS)
    assert WRAPPED[:16] not in token
    assert PARAMETERS.key_id.encode() not in token
    assert len(token) <= 3_584
    assert (repr(TOKENS), repr(PARAMETERS.import_key)) == ("ImportTokens()", "ImportKey(RSA_4096)")
    assert repr(WRAPPED)[2:-1] not in repr(PARAMETERS)


def test_every_altered_byte_is_refused() -> None:
    token = TOKENS.seal(PARAMETERS)
    for position in (*range(40), *range(40, len(token), 50), len(token) - 1):
        altered = bytearray(token)
        altered[position] ^= 1
        with pytest.raises(InvalidImportToken):
            TOKENS.open(bytes(altered))


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 28, 29, 44, 45, 100])
def test_what_is_cut_or_made_up_is_refused(length: int) -> None:
    for forged in (TOKENS.seal(PARAMETERS)[:length], secrets.token_bytes(length), b"\0\0\0\2" + bytes(length)):
        with pytest.raises(InvalidImportToken):
            TOKENS.open(forged)


def test_tokens_of_one_kind_are_none_of_another() -> None:
    token = TOKENS.seal(PARAMETERS)
    text = base64.urlsafe_b64encode(token).decode().rstrip("=")
    with pytest.raises(InvalidGrantToken):
        GrantTokens(KEYS).open(text)
    with pytest.raises(UnrecognizedClient):
        SessionTokens(KEYS).open(base64.b64encode(token).decode())
