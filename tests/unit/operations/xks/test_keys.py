"""GetKeyMetadata, Encrypt and Decrypt: what they answer, for whom, and what does not decrypt."""

from hashlib import sha256
from typing import Any

import pytest

from strongroom.app.xks_proxy import update_xks_store
from strongroom.app.xks_proxy_keys import disable_external_key, enable_external_key
from strongroom.authorization.external_keys import AuthorizedExternalKey
from tests.composed import NOW
from tests.unit.operations.xks.proxy import (
    METADATA,
    ONE,
    PRINCIPAL,
    ROOT,
    RULED,
    TWO,
    Proxy,
    decrypting,
    encrypting,
)

AAD = b"project=nile,department=marketing"
INVALID = (400, "InvalidCiphertextException")
NOT_FOUND = (404, "KeyNotFoundException")
DENIED = (403, "AccessDeniedException")
METADATA_ONLY = {"requestMetadata": METADATA}
OF_KEY = ("metadata", "encrypt", "decrypt")


def asking(proxy: Proxy, name: str) -> dict[str, Any]:
    """A good request for an operation of a key."""
    match name:
        case "metadata":
            return METADATA_ONLY
        case "encrypt":
            return encrypting(b"secret")
        case _:
            return decrypting(proxy.encrypt(ONE, "key-1", b"secret"))


def test_metadata_says_what_kms_needs(proxy: Proxy) -> None:
    reply = proxy.call(ONE, "keys/key-1/metadata", METADATA_ONLY)
    assert reply.members == {"keySpec": "AES_256", "keyUsage": ["ENCRYPT", "DECRYPT"], "keyStatus": "ENABLED"}


@pytest.mark.parametrize("prefix", [ROOT, ONE])
@pytest.mark.parametrize("name", OF_KEY)
@pytest.mark.parametrize("key", ["unknown", "two", "KEY-1", "key%2D1", "key-1 ", "\x7f", "%00", "key-1."])
def test_a_key_that_the_prefix_does_not_have_is_not_found(proxy: Proxy, prefix: str, name: str, key: str) -> None:
    assert proxy.call(prefix, f"keys/{key}/{name}", asking(proxy, name)).outcome == NOT_FOUND


@pytest.mark.parametrize("name", ["encrypt", "decrypt"])
def test_a_disabled_key_is_not_used(proxy: Proxy, name: str) -> None:
    assert proxy.call(ONE, f"keys/off/{name}", asking(proxy, name)).outcome == (400, "InvalidStateException")


def test_a_disabled_key_shows_its_state(proxy: Proxy) -> None:
    reply = proxy.call(ONE, "keys/off/metadata", METADATA_ONLY)
    assert reply.members == {"keySpec": "AES_256", "keyUsage": ["ENCRYPT", "DECRYPT"], "keyStatus": "DISABLED"}


def test_a_key_is_disabled_and_enabled_at_once(proxy: Proxy) -> None:
    decrypt = decrypting(proxy.encrypt(ONE, "key-2", b"secret"))
    disable_external_key(proxy.config, ONE, "key-2", NOW)
    assert proxy.call(ONE, "keys/key-2/decrypt", decrypt).outcome == (400, "InvalidStateException")
    enable_external_key(proxy.config, ONE, "key-2", NOW)
    assert proxy.call(ONE, "keys/key-2/decrypt", decrypt).bytes_of("plaintext") == b"secret"


@pytest.mark.parametrize("length", [0, 1, 16, 4300])
@pytest.mark.parametrize("aad", [None, b"", AAD])
def test_what_is_encrypted_has_the_lengths_of_the_specification(proxy: Proxy, length: int, aad: bytes | None) -> None:
    more = {} if aad is None else {"additionalAuthenticatedData": aad}
    encrypted = proxy.encrypt(ONE, "key-1", b"p" * length, **more)
    assert len(encrypted.bytes_of("ciphertext")) == length
    assert len(encrypted.bytes_of("initializationVector")) in (12, 16)
    assert len(encrypted.bytes_of("authenticationTag")) == 16
    assert 0 < len(encrypted.bytes_of("ciphertextMetadata")) <= 20
    decrypted = proxy.call(ONE, "keys/key-1/decrypt", decrypting(encrypted, **more))
    assert decrypted.members.keys() == {"plaintext"}
    assert decrypted.bytes_of("plaintext") == b"p" * length


@pytest.mark.parametrize("aad", [b"", AAD])
def test_the_integrity_value_is_over_all_that_decrypt_needs(proxy: Proxy, aad: bytes) -> None:
    asked = {"ciphertextDataIntegrityValueAlgorithm": "SHA_256", "additionalAuthenticatedData": aad}
    encrypted = proxy.encrypt(ONE, "key-1", b"secret", **asked)
    parts = ("ciphertextMetadata", "initializationVector", "ciphertext", "authenticationTag")
    expected = sha256(aad + b"".join(encrypted.bytes_of(part) for part in parts)).digest()
    assert encrypted.bytes_of("ciphertextDataIntegrityValue") == expected
    decrypt = decrypting(encrypted, additionalAuthenticatedData=aad)
    assert proxy.call(ONE, "keys/key-1/decrypt", decrypt).bytes_of("plaintext") == b"secret"


@pytest.mark.parametrize("asked", [{}, {"ciphertextDataIntegrityValueAlgorithm": None}])
def test_no_integrity_value_comes_unasked(proxy: Proxy, asked: dict[str, Any]) -> None:
    encrypted = proxy.encrypt(ONE, "key-1", b"secret", **asked)
    assert encrypted.status == 200
    assert "ciphertextDataIntegrityValue" not in encrypted.members


PARTS = (
    "ciphertext",
    "initializationVector",
    "authenticationTag",
    "additionalAuthenticatedData",
    "ciphertextMetadata",
)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("place", [0, -1])
def test_no_part_may_be_altered(proxy: Proxy, part: str, place: int) -> None:
    decrypt = decrypting(
        proxy.encrypt(ONE, "key-1", b"secret", additionalAuthenticatedData=AAD), additionalAuthenticatedData=AAD
    )
    assert proxy.call(ONE, "keys/key-1/decrypt", decrypt).status == 200
    altered = bytearray(decrypt[part])
    altered[place] ^= 1
    assert proxy.call(ONE, "keys/key-1/decrypt", decrypt | {part: bytes(altered)}).outcome == INVALID


@pytest.mark.parametrize("part", ["additionalAuthenticatedData", "ciphertextMetadata"])
def test_no_part_may_be_left_out(proxy: Proxy, part: str) -> None:
    decrypt = decrypting(
        proxy.encrypt(ONE, "key-1", b"secret", additionalAuthenticatedData=AAD), additionalAuthenticatedData=AAD
    )
    del decrypt[part]
    assert proxy.call(ONE, "keys/key-1/decrypt", decrypt).outcome == INVALID


def test_no_byte_goes_from_one_part_to_another(proxy: Proxy) -> None:
    encrypted = proxy.encrypt(ONE, "key-1", b"secret", additionalAuthenticatedData=AAD)
    metadata = encrypted.bytes_of("ciphertextMetadata")
    moved = decrypting(encrypted, additionalAuthenticatedData=AAD + metadata[:1], ciphertextMetadata=metadata[1:])
    assert proxy.call(ONE, "keys/key-1/decrypt", moved).outcome == INVALID
    shorter = decrypting(encrypted, additionalAuthenticatedData=AAD, ciphertext=encrypted.bytes_of("ciphertext")[:-1])
    assert proxy.call(ONE, "keys/key-1/decrypt", shorter).outcome == INVALID


@pytest.mark.parametrize(("prefix", "key"), [(ONE, "key-2"), (TWO, "key-1"), (TWO, "two"), (ROOT, "key-1")])
def test_another_key_does_not_decrypt(proxy: Proxy, prefix: str, key: str) -> None:
    decrypt = decrypting(proxy.encrypt(ONE, "key-1", b"secret"))
    assert proxy.call(prefix, f"keys/{key}/decrypt", decrypt).outcome == INVALID


@pytest.mark.parametrize("name", OF_KEY)
def test_rules_decide_who_may_use_which_key(proxy: Proxy, name: str) -> None:
    encrypted = proxy.encrypt(RULED, "allowed", b"secret")
    members = decrypting(encrypted) if name == "decrypt" else asking(proxy, name)
    assert proxy.call(RULED, f"keys/allowed/{name}", members).outcome == (200, "")
    assert proxy.call(RULED, f"keys/forbidden/{name}", members).outcome == DENIED
    others = members | {"requestMetadata": METADATA | {"awsPrincipalArn": PRINCIPAL + "2"}}
    assert proxy.call(RULED, f"keys/allowed/{name}", others).outcome == DENIED


def test_changed_rules_count_at_once(proxy: Proxy) -> None:
    assert proxy.encrypt(TWO, "two", b"secret").status == 200
    update_xks_store(proxy.config, TWO, rate=None, rules='{"Version": 1, "Rules": []}', now=NOW)
    assert proxy.encrypt(TWO, "two", b"secret").outcome == DENIED
    allowing = '{"Version": 1, "Rules": [{"Effect": "Allow", "Calls": ["Encrypt"]}]}'
    update_xks_store(proxy.config, TWO, rate=None, rules=allowing, now=NOW)
    assert proxy.encrypt(TWO, "two", b"secret").status == 200
    assert proxy.call(TWO, "keys/two/metadata", METADATA_ONLY).outcome == DENIED
    allowing = '{"Version": 1, "Rules": [{"Effect": "Allow"}]}'
    update_xks_store(proxy.config, TWO, rate=None, rules=allowing, now=NOW)
    assert proxy.call(TWO, "keys/two/metadata", METADATA_ONLY).status == 200


def test_what_authorizes_is_made_by_the_decision_alone() -> None:
    with pytest.raises(TypeError):
        AuthorizedExternalKey(object(), None)  # type: ignore[arg-type]
