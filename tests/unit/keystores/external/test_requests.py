"""What a proxy is asked, to the letter (XKS specification, "External key store proxy APIs" and "Authentication")."""

import base64
import re
import secrets
from typing import Any

import pytest

from strongroom.crypto.ciphertext_blob import parse
from strongroom.keystores.contract import KeyStore
from strongroom.keystores.external.failures import Kind, ProxyError
from strongroom.keystores.external.messages import Encrypted
from strongroom.keystores.external.proxy import Endpoint, Proxy
from strongroom.keystores.external.signing import Signer
from strongroom.keystores.external.store import ExternalKeyStore
from strongroom.model.custom_key_store import KeyStoreUse
from tests.xks.client import Connect
from tests.xks.keys import ALICE, external_key, used_for
from tests.xks.proxy import BASE, PREFIX, XksProxy

ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def test_each_request_has_just_these_headers_of_which_two_are_signed(xks: XksProxy, proxy: Proxy) -> None:
    proxy.health("r", "KmsHealthCheck")
    headers = xks.asked[0].headers
    assert [name for name, _ in headers] == ["Host", "X-Amz-Date", "Authorization", "Content-Type", "Content-Length"]
    found = dict(headers)
    assert found["Host"] == "xks.example.test"
    assert found["Content-Type"] == "application/json"
    assert re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIAXKS2345672345672/[0-9]{8}/us-east-1/kms-xks-proxy/aws4_request, "
        r"SignedHeaders=host;x-amz-date, Signature=[0-9a-f]{64}",
        found["Authorization"],
    )


def test_health_is_asked_with_request_and_operation_alone(xks: XksProxy, proxy: Proxy) -> None:
    proxy.health("0f-1", "ConnectCustomKeyStore")
    assert xks.asked[0].path == "/kms/xks/v1/health"
    assert xks.asked[0].body == {"requestMetadata": {"kmsRequestId": "0f-1", "kmsOperation": "ConnectCustomKeyStore"}}


def test_key_metadata_are_asked_without_a_kms_key(xks: XksProxy, proxy: Proxy) -> None:
    proxy.key_metadata(KeyStoreUse("0f-2", "CreateKey", ALICE), "key.2_B")
    assert xks.asked[0].path == "/kms/xks/v1/keys/key.2_B/metadata"
    assert xks.asked[0].body == {
        "requestMetadata": {"kmsRequestId": "0f-2", "kmsOperation": "CreateKey", "awsPrincipalArn": ALICE}
    }


@pytest.mark.parametrize("operation", ["Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncrypt"])
def test_encrypt_asks_for_gcm_and_for_the_integrity_value(xks: XksProxy, proxy: Proxy, operation: str) -> None:
    proxy.encrypt(used_for(operation), "key-1", b"\xfb\xff", b"associated")
    assert xks.asked[0].path == "/kms/xks/v1/keys/key-1/encrypt"
    assert xks.asked[0].body == {
        "requestMetadata": {
            "kmsRequestId": "0f-request",
            "kmsOperation": operation,
            "awsPrincipalArn": ALICE,
            "kmsKeyArn": ARN,
        },
        "plaintext": "+/8=",
        "encryptionAlgorithm": "AES_GCM",
        "additionalAuthenticatedData": "YXNzb2NpYXRlZA==",
        "ciphertextDataIntegrityValueAlgorithm": "SHA_256",
    }


@pytest.mark.parametrize("metadata", [b"", b"version 7"])
def test_decrypt_gives_back_what_encrypt_gave(xks: XksProxy, proxy: Proxy, metadata: bytes) -> None:
    xks.metadata = metadata
    encrypted = proxy.encrypt(used_for("Encrypt"), "key-1", b"plaintext", b"a")
    assert proxy.decrypt(used_for("ReEncrypt", "s3.us-east-1.amazonaws.com"), "key-1", encrypted, b"a") == b"plaintext"
    said: dict[str, Any] = {
        "requestMetadata": {
            "kmsRequestId": "0f-request",
            "kmsOperation": "ReEncrypt",
            "awsPrincipalArn": ALICE,
            "kmsKeyArn": ARN,
            "kmsViaService": "s3.us-east-1.amazonaws.com",
        },
        "ciphertext": base64.b64encode(encrypted.ciphertext).decode(),
        "encryptionAlgorithm": "AES_GCM",
        "initializationVector": base64.b64encode(encrypted.initialization_vector).decode(),
        "authenticationTag": base64.b64encode(encrypted.authentication_tag).decode(),
        "additionalAuthenticatedData": "YQ==",
    }
    if metadata:
        said["ciphertextMetadata"] = base64.b64encode(metadata).decode()
    assert xks.asked[1].path == "/kms/xks/v1/keys/key-1/decrypt"
    assert xks.asked[1].body == said


def test_a_key_is_used_under_its_own_arn_and_external_id(
    xks: XksProxy, store: ExternalKeyStore, default: KeyStore
) -> None:
    key = external_key("key.2_B", "00000000-12ab-34cd-56ef-1234567890ab")
    material = default.generate(key, material_id=secrets.token_hex(32), created=1.5)
    blob = store.open_symmetric(used_for("Encrypt"), key, material).encrypt(b"", {})
    store.open_symmetric(used_for("Decrypt"), key, material).decrypt(parse(blob), {})
    assert [asked.path.removeprefix(BASE) for asked in xks.asked] == ["/keys/key.2_B/encrypt", "/keys/key.2_B/decrypt"]
    metadata = [asked.body["requestMetadata"] for asked in xks.asked]
    assert [found["kmsKeyArn"] for found in metadata] == [key.arn, key.arn]
    assert [found["kmsOperation"] for found in metadata] == ["Encrypt", "Decrypt"]


def test_a_prefix_and_its_credential(xks: XksProxy, connect: Connect) -> None:
    access_key_id, secret = next(iter(xks.prefixes[PREFIX].credentials.items()))
    connect(uri_path=f"{PREFIX}{BASE}", access_key_id=access_key_id, secret_access_key=secret).health("r", "o")
    assert xks.asked[0].path == "/second-store/kms/xks/v1/health"
    with pytest.raises(ProxyError, match="AuthenticationFailedException"):
        connect(uri_path=f"{PREFIX}{BASE}").health("r", "o")
    with pytest.raises(ProxyError, match="InvalidUriPathException"):
        connect(uri_path=f"/third{BASE}").health("r", "o")


def test_either_of_two_credentials_will_do(xks: XksProxy, connect: Connect) -> None:
    for access_key_id, secret in xks.credentials.items():
        connect(access_key_id=access_key_id, secret_access_key=secret).health("r", "o")


@pytest.mark.parametrize(
    "other",
    [{"access_key_id": "AKIAUNKNOWN234567234"}, {"secret_access_key": "x" * 43}, {"region": "eu-west-1"}],
    ids=lambda other: next(iter(other)),
)
def test_any_other_credential_or_region_is_refused(connect: Connect, other: dict[str, str]) -> None:
    with pytest.raises(ProxyError) as refused:
        connect(**other).health("r", "o")
    assert refused.value.kind is Kind.AUTHENTICATION_FAILED


def test_the_signing_key_is_that_of_the_day() -> None:
    day = 86_400
    kept, fresh = (Signer("AKIA", "secret", "us-east-1") for _ in range(2))
    before = kept.headers("h", "/p", b"", 10 * day - 1)
    assert kept.headers("h", "/p", b"", 10 * day) == fresh.headers("h", "/p", b"", 10 * day)
    assert kept.headers("h", "/p", b"", 10 * day - 1) == before


def test_a_credential_is_shown_nowhere(connect: Connect) -> None:
    secret = "S" * 43
    assert secret not in repr(Endpoint("https://x.example", BASE, "us-east-1", "AKIA", secret))
    with pytest.raises(ProxyError) as refused:
        connect(secret_access_key=secret).health("r", "o")
    assert secret not in repr(refused.value)


def test_associated_data_differ_as_encryptions_do(proxy: Proxy) -> None:
    found = [proxy.encrypt(used_for("Encrypt"), "key-1", b"same", b"") for _ in range(3)]
    assert len({encrypted.initialization_vector for encrypted in found}) == 3
    assert all(isinstance(encrypted, Encrypted) for encrypted in found)
