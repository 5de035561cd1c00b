"""What a body must be, what it may be, and in which order it is looked at (XKS specification, "APIs")."""

from typing import Any

import pytest

from tests.unit.operations.xks.proxy import (
    METADATA,
    ONE,
    RULED,
    Proxy,
    Reply,
    Signer,
    decrypting,
    encoded,
    encrypting,
)

VALIDATION = (400, "ValidationException")
PATHS = {
    "GetHealthStatus": "health",
    "GetKeyMetadata": "keys/key-1/metadata",
    "Encrypt": "keys/key-1/encrypt",
    "Decrypt": "keys/key-1/decrypt",
}
REQUIRED_METADATA = {
    "GetHealthStatus": ["kmsRequestId", "kmsOperation"],
    "GetKeyMetadata": ["kmsRequestId", "kmsOperation", "awsPrincipalArn"],
    "Encrypt": ["kmsRequestId", "kmsOperation", "awsPrincipalArn", "kmsKeyArn"],
    "Decrypt": ["kmsRequestId", "kmsOperation", "awsPrincipalArn", "kmsKeyArn"],
}
REQUIRED = {
    "GetHealthStatus": ["requestMetadata"],
    "GetKeyMetadata": ["requestMetadata"],
    "Encrypt": ["requestMetadata", "plaintext", "encryptionAlgorithm"],
    "Decrypt": [
        "requestMetadata",
        "ciphertext",
        "encryptionAlgorithm",
        "initializationVector",
        "authenticationTag",
    ],
}
OF_EACH = pytest.mark.parametrize("operation", PATHS)


def good(proxy: Proxy, operation: str) -> dict[str, Any]:
    """The members of a request that is answered, and no more than it needs."""
    match operation:
        case "Encrypt":
            members = encrypting(b"secret")
        case "Decrypt":
            members = decrypting(proxy.encrypt(ONE, "key-1", b"secret"))
        case _:
            members = {"requestMetadata": METADATA}
    needed = {name: METADATA[name] for name in REQUIRED_METADATA[operation]}
    return members | {"requestMetadata": needed}


def ask(proxy: Proxy, operation: str, members: dict[str, Any]) -> Reply:
    return proxy.call(ONE, PATHS[operation], members)


@OF_EACH
def test_what_is_required_is_enough(proxy: Proxy, operation: str) -> None:
    assert ask(proxy, operation, good(proxy, operation)).outcome == (200, "")


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation, names in REQUIRED.items() for name in names]
)
def test_without_a_required_member_it_is_refused(proxy: Proxy, operation: str, name: str) -> None:
    members = good(proxy, operation)
    del members[name]
    assert ask(proxy, operation, members).outcome == VALIDATION


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation, names in REQUIRED_METADATA.items() for name in names]
)
def test_without_required_metadata_it_is_refused(proxy: Proxy, operation: str, name: str) -> None:
    members = good(proxy, operation)
    del members["requestMetadata"][name]
    assert ask(proxy, operation, members).outcome == VALIDATION


ILL_TYPED: list[Any] = [None, True, 1, 1.5, [], ["a"], {}]


@pytest.mark.parametrize("wrong", ILL_TYPED, ids=repr)
@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation, names in REQUIRED.items() for name in names]
)
def test_a_member_of_another_type_is_refused(proxy: Proxy, operation: str, name: str, wrong: Any) -> None:
    assert ask(proxy, operation, good(proxy, operation) | {name: wrong}).outcome == VALIDATION


@pytest.mark.parametrize("wrong", ["", *ILL_TYPED], ids=repr)
@pytest.mark.parametrize("name", [*METADATA, "awsSourceVpc", "awsSourceVpce", "kmsViaService"])
@OF_EACH
def test_metadata_of_another_type_is_refused(proxy: Proxy, operation: str, name: str, wrong: Any) -> None:
    members = good(proxy, operation)
    members["requestMetadata"] |= {name: wrong}
    assert ask(proxy, operation, members).outcome == VALIDATION


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"[]", b'"x"', b"{", b"{} {}", b"{,}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"[" * 100_000,
        b'{"a":' * 100_000, b"0" * 1_000, b'{"a":NaN}', b'{"\xff":1}',
        b'{"requestMetadata":{"kmsRequestId":"\\ud800"}}',
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
@OF_EACH
def test_what_is_no_object_of_json_is_refused(proxy: Proxy, operation: str, body: bytes) -> None:
    assert proxy.post(f"{ONE}/kms/xks/v1/{PATHS[operation]}", body).outcome == VALIDATION


@pytest.mark.parametrize(
    "more",
    [
        {"kmsOperation": "KmsHealthCheck"},
        {"kmsOperation": "AnOperationOfTomorrow"},
        {"kmsRequestId": "no UUID: é \0"},
        {"awsPrincipalArn": "a" * 2048, "kmsKeyArn": "b" * 2048},
        {"awsPrincipalArn": "AWS Internal"},
        {"awsPrincipalArn": "ec2.amazonaws.com"},
        {"awsSourceVpc": "vpc-1", "awsSourceVpce": "vpce-1", "kmsViaService": "ebs"},
        {"SourceIdentity": "Ann", "tags": {"a": [None, 1]}},
    ],
    ids=", ".join,
)
@OF_EACH
def test_metadata_that_may_come_is_taken(proxy: Proxy, operation: str, more: dict[str, Any]) -> None:
    members = good(proxy, operation)
    members["requestMetadata"] |= more
    assert ask(proxy, operation, members).outcome == (200, "")


@OF_EACH
def test_metadata_past_2048_characters_is_refused(proxy: Proxy, operation: str) -> None:
    members = good(proxy, operation)
    members["requestMetadata"] |= {"awsPrincipalArn": "a" * 2049}
    assert ask(proxy, operation, members).outcome == VALIDATION


@OF_EACH
def test_members_that_nobody_knows_are_passed_over(proxy: Proxy, operation: str) -> None:
    more = {"Plaintext": 1, "unknown": {"deep": [[[]]]}, "": None}
    assert ask(proxy, operation, good(proxy, operation) | more).outcome == (200, "")


def test_of_a_member_that_comes_twice_the_last_counts(proxy: Proxy) -> None:
    body = encoded(good(proxy, "Encrypt"))
    last = body[:-1] + b', "plaintext": "bGFzdCBvZiBhbGw="}'
    encrypted = proxy.post(f"{ONE}/kms/xks/v1/keys/key-1/encrypt", last)
    decrypted = proxy.call(ONE, "keys/key-1/decrypt", decrypting(encrypted))
    assert decrypted.bytes_of("plaintext") == b"last of all"
    spoiled = body[:-1] + b', "plaintext": 1}'
    assert proxy.post(f"{ONE}/kms/xks/v1/keys/key-1/encrypt", spoiled).outcome == VALIDATION


@pytest.mark.parametrize("operation", ["Encrypt", "Decrypt"])
@pytest.mark.parametrize("algorithm", ["", "AES_GCM ", "aes_gcm", "AES_CBC", "AES-GCM"])
def test_the_algorithm_is_aes_gcm_alone(proxy: Proxy, operation: str, algorithm: str) -> None:
    members = good(proxy, operation) | {"encryptionAlgorithm": algorithm}
    assert ask(proxy, operation, members).outcome == VALIDATION


@pytest.mark.parametrize("algorithm", ["", "SHA256", "SHA-256", "sha_256", "SHA_384", 1, True, []])
def test_the_algorithm_of_the_integrity_value_is_sha_256_alone(proxy: Proxy, algorithm: Any) -> None:
    members = good(proxy, "Encrypt") | {"ciphertextDataIntegrityValueAlgorithm": algorithm}
    assert ask(proxy, "Encrypt", members).outcome == VALIDATION


BYTES = [
    ("Encrypt", "plaintext"),
    ("Encrypt", "additionalAuthenticatedData"),
    ("Decrypt", "ciphertext"),
    ("Decrypt", "initializationVector"),
    ("Decrypt", "authenticationTag"),
    ("Decrypt", "additionalAuthenticatedData"),
    ("Decrypt", "ciphertextMetadata"),
]
"""Members with bytes."""


@pytest.mark.parametrize(
    "text", ["-_-_", "+/+_", "QQ", "QUI", "QQ=", "QUJD=", "Q", "=", "====", "QUJD\n", " QUJD", "QU JD", "Q*JD", "é==="]
)
@pytest.mark.parametrize(("operation", "name"), BYTES)
def test_bytes_are_base64_of_the_standard_alphabet_with_padding(
    proxy: Proxy, operation: str, name: str, text: str
) -> None:
    assert ask(proxy, operation, good(proxy, operation) | {name: text}).outcome == VALIDATION


@pytest.mark.parametrize(
    ("name", "length", "outcome"),
    [
        ("initializationVector", 0, VALIDATION),
        ("initializationVector", 11, VALIDATION),
        ("initializationVector", 12, (400, "InvalidCiphertextException")),
        ("initializationVector", 13, VALIDATION),
        ("initializationVector", 15, VALIDATION),
        ("initializationVector", 16, (400, "InvalidCiphertextException")),
        ("initializationVector", 17, VALIDATION),
        ("authenticationTag", 0, VALIDATION),
        ("authenticationTag", 12, VALIDATION),
        ("authenticationTag", 15, VALIDATION),
        ("authenticationTag", 16, (400, "InvalidCiphertextException")),
        ("authenticationTag", 17, VALIDATION),
        ("ciphertextMetadata", 0, (400, "InvalidCiphertextException")),
        ("ciphertextMetadata", 20, (400, "InvalidCiphertextException")),
        ("ciphertextMetadata", 21, VALIDATION),
    ],
)
def test_parts_of_a_ciphertext_have_their_lengths(
    proxy: Proxy, name: str, length: int, outcome: tuple[int, str]
) -> None:
    """Of those that may be, these zeros are of no ciphertext."""
    members = good(proxy, "Decrypt") | {name: bytes(length)}
    assert ask(proxy, "Decrypt", members).outcome == outcome


TOO_LARGE = (501, "UnsupportedOperationException")


@pytest.mark.parametrize(
    ("plaintext", "aad", "outcome"),
    [
        (0, 0, (200, "")),
        (4300, 8192, (200, "")),
        (8192, 65535, (200, "")),
        (8193, 0, TOO_LARGE),
        (1, 65536, TOO_LARGE),
        (100_000, 100_000, TOO_LARGE),
    ],
)
def test_sizes_that_kms_needs_are_taken_and_much_more_is_not_supported(
    proxy: Proxy, plaintext: int, aad: int, outcome: tuple[int, str]
) -> None:
    encrypt = encrypting(bytes(plaintext)) | {"additionalAuthenticatedData": bytes(aad)}
    encrypted = ask(proxy, "Encrypt", encrypt)
    assert encrypted.outcome == outcome
    if encrypted.status == 200:
        decrypt = decrypting(encrypted, additionalAuthenticatedData=bytes(aad))
        assert ask(proxy, "Decrypt", decrypt).bytes_of("plaintext") == bytes(plaintext)
    else:
        other = good(proxy, "Decrypt") | {"ciphertext": bytes(plaintext), "additionalAuthenticatedData": bytes(aad)}
        assert ask(proxy, "Decrypt", other).outcome == outcome


@OF_EACH
def test_a_body_that_did_not_come_whole_is_not_supported(proxy: Proxy, operation: str) -> None:
    path = f"{ONE}/kms/xks/v1/{PATHS[operation]}".encode()
    assert proxy.send("POST", path, [], whole=False).outcome == TOO_LARGE


# Of two faults the earlier in this order is told: path (test_paths.py), signature, JSON, key, rules, state, size.

NOBODY = Signer("A" * 20, "wrong")
SIGNATURE, KEY, RULES, STATE = (
    (401, "AuthenticationFailedException"),
    (404, "KeyNotFoundException"),
    (403, "AccessDeniedException"),
    (400, "InvalidStateException"),
)
LARGE = encrypting(bytes(8193))
SHAPELESS: dict[str, Any] = {}
STRANGER = LARGE | {"requestMetadata": METADATA | {"awsPrincipalArn": "arn:aws:iam::111122223333:role/other"}}


@pytest.mark.parametrize(
    ("key", "members", "signer", "outcome"),
    [
        ("unknown", SHAPELESS, NOBODY, SIGNATURE),
        ("unknown", SHAPELESS, None, VALIDATION),
        ("forbidden", SHAPELESS, None, VALIDATION),
        ("unknown", LARGE, None, KEY),
        ("unknown", STRANGER, None, KEY),
        ("forbidden", LARGE, None, RULES),
        ("off", STRANGER, None, RULES),
        ("off", LARGE, None, STATE),
        ("allowed", LARGE, None, TOO_LARGE),
    ],
)
def test_the_first_fault_is_told(
    proxy: Proxy, key: str, members: dict[str, Any], signer: Signer | None, outcome: tuple[int, str]
) -> None:
    assert proxy.call(RULED, f"keys/{key}/encrypt", members, signer).outcome == outcome
