"""Paths and bodies of the XKS proxy API. What each operation needs is in tests/unit/operations/xks/test_requests.py."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import Validation
from strongroom.messages.xks import (
    BASE,
    BODIES,
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    HealthRequest,
    RequestMetadata,
    Route,
    XksRequest,
    decode,
    route,
)

ENCRYPT = Route("/tenant", "Encrypt", "k")
METADATA = {"kmsRequestId": "r", "kmsOperation": "o", "awsPrincipalArn": "p", "kmsKeyArn": "k"}


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("/kms/xks/v1/health", Route("", "GetHealthStatus", "")),
        ("/a/kms/xks/v1/health", Route("/a", "GetHealthStatus", "")),
        ("/a/b/kms/xks/v1/keys/k/metadata", Route("/a/b", "GetKeyMetadata", "k")),
        ("/kms/xks/v1/keys/k/encrypt", Route("", "Encrypt", "k")),
        ("/kms/xks/v1/keys/k/decrypt", Route("", "Decrypt", "k")),
        ("/kms/xks/v1/keys/health/decrypt", Route("", "Decrypt", "health")),
        ("/kms/xks/v1/kms/xks/v1/health", Route("/kms/xks/v1", "GetHealthStatus", "")),
        (f"/kms/xks/v1/keys/{'k' * 128}/encrypt", Route("", "Encrypt", "k" * 128)),
        (f"/kms/xks/v1/keys/{'k' * 129}/encrypt", None),
        ("", None),
        ("/", None),
        ("/health", None),
        ("/kms/xks/v1", None),
        ("/kms/xks/v1/", None),
        ("/kms/xks/v1health", None),
        ("/kms/xks/v1/health/", None),
        ("/kms/xks/v1/keys/k/health", None),
        ("/kms/xks/v1/keys//encrypt", None),
        ("/kms/xks/v1/keys/a/b/encrypt", None),
        ("/kms/xks/v1/keys/k/encrypt/", None),
        ("/kms/xks/v1/encrypt", None),
        ("/kms/xks/v2/health", None),
    ],
)
def test_a_path_means_an_operation_or_nothing(path: str, meaning: Route | None) -> None:
    assert route(path) == meaning


@given(st.text(alphabet="/akm%.", max_size=20), st.text(alphabet="/aehlthkysncrp", max_size=30))
def test_what_a_path_means_is_told_by_the_path_alone(prefix: str, rest: str) -> None:
    """Two different paths never mean the same."""
    where = route(f"{prefix}{BASE}{rest}")
    if where is not None:
        names = {"GetHealthStatus": "health", "GetKeyMetadata": "metadata"}
        name = names.get(where.operation, where.operation.lower())
        key = f"/keys/{where.external_key_id}" if where.external_key_id else ""
        assert f"{where.prefix}{BASE}{key}/{name}" == f"{prefix}{BASE}{rest}"


def test_a_request_has_what_its_path_says() -> None:
    metadata = RequestMetadata("r", "o", "p", "k")
    body = json.dumps({"requestMetadata": METADATA, "plaintext": "QUI=", "encryptionAlgorithm": "AES_GCM"}).encode()
    assert decode(ENCRYPT, body) == XksRequest("/tenant", "k", EncryptRequest(metadata, b"AB", "AES_GCM"))
    health = json.dumps({"requestMetadata": {"kmsRequestId": "r", "kmsOperation": "o"}}).encode()
    expected = XksRequest("", "", HealthRequest(RequestMetadata("r", "o")))
    assert decode(Route("", "GetHealthStatus", ""), health) == expected


@pytest.mark.parametrize("operation", BODIES)
@given(body=st.binary(max_size=60))
def test_what_is_no_request_is_refused(operation: str, body: bytes) -> None:
    with pytest.raises(Validation):
        decode(Route("", operation, "k"), body)


def test_a_refusal_carries_nothing_of_what_was_sent() -> None:
    """Tracebacks show the errors that an error was raised upon."""
    body = json.dumps({"requestMetadata": METADATA, "plaintext": "secret", "encryptionAlgorithm": "AES_GCM"})
    with pytest.raises(Validation) as caught:
        decode(ENCRYPT, body.encode())
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "secret" not in str(caught.value)


def test_nothing_shows_what_is_encrypted() -> None:
    metadata = RequestMetadata("r", "o")
    shown = repr(
        [
            EncryptRequest(metadata, b"secret", "AES_GCM"),
            DecryptRequest(metadata, b"secret", "AES_GCM", b"secret", b"secret"),
            EncryptResponse(b"secret", b"secret", b"secret", b"secret", b"secret"),
            DecryptResponse(b"secret"),
        ]
    )
    assert "secret" not in shown
