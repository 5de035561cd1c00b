"""External key stores: real processes, against a proxy over SoftHSM that is reached over TLS and can be spoiled."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from strongroom.crypto.ciphertext_blob import parse
from strongroom.testing.server import Server, initialize, running_server
from strongroom.testing.softhsm import SoftHsm
from tests.e2e.calls import refusal
from tests.e2e.custom_key_stores import connect, described, disconnect, wait_for
from tests.records import record_of_request
from tests.xks.proxy import BASE, PREFIX, XksProxy, running_proxy

CONTEXT = {"purpose": "test"}
VPC_SERVICE = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0"
UNREACHABLE = "AWS KMS cannot communicate with the external key store proxy."
TIMED_OUT = "AWS KMS rejected the request because the external key store proxy did not respond in time."
CORRUPTED = "the specified ciphertext or additional authenticated data is corrupted, missing, or otherwise invalid."
NOT_UNDERSTOOD = "AWS KMS cannot interpret the response from the external key store proxy."


@pytest.fixture(scope="module")
def xks(softhsm: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XksProxy]:
    with running_proxy(tmp_path_factory.mktemp("xks"), softhsm) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def served(xks: XksProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose configuration lets the proxy be asked, by two names, and nothing else."""
    data = tmp_path_factory.mktemp("served") / "data"
    initialize(data)
    with (data / "strongroom.yaml").open("a") as file:
        file.write(
            "xks_proxies:\n"
            f"  {xks.endpoint}: {{connect: '{xks.connect}', ca: {xks.ca}}}\n"
            f"  https://private.example.test: {{connect: '{xks.connect}', ca: {xks.ca}, "
            f"vpc_endpoint_service: {VPC_SERVICE}}}\n"
            "  https://loopback.example.test: {}\n"
        )
    with running_server(data) as server:
        yield server


@pytest.fixture(scope="module")
def kms(served: Server, kms_client: Callable[..., Any]) -> Any:
    return kms_client(served)


@pytest.fixture(scope="module")
def connected(kms: Any, xks: XksProxy) -> str:
    """A connected store."""
    made: str = kms.create_custom_key_store(**of_proxy(xks, "connected"))["CustomKeyStoreId"]
    connect(kms, made)
    return made


@pytest.fixture(scope="module")
def key(kms: Any, connected: str) -> str:
    """The ARN of a KMS key of the external key `key-1`."""
    return new_key(kms, connected, "key-1")


@pytest.fixture
def store(connected: str, xks: XksProxy) -> Iterator[str]:
    """The connected store; afterwards its proxy is as it was."""
    keys, credentials = dict(xks.keys), dict(xks.credentials)
    yield connected
    xks.delay, xks.body, xks.error, xks.spoiled, xks.raw = 0.0, None, None, {}, None
    xks.metadata, xks.iv_length = b"", 12
    xks.keys.clear()
    xks.keys.update(keys)
    xks.credentials.clear()
    xks.credentials.update(credentials)
    for external in keys.values():
        external.status, external.spec, external.usage = "ENABLED", "AES_256", ["DECRYPT", "ENCRYPT"]


def of_proxy(xks: XksProxy, name: str, prefix: str = "", **members: Any) -> dict[str, Any]:
    """The parameters of CreateCustomKeyStore for a prefix of the proxy."""
    access_key_id, secret = next(iter(xks.prefixes[prefix].credentials.items()))
    return {
        "CustomKeyStoreName": name,
        "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
        "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        "XksProxyUriEndpoint": xks.endpoint,
        "XksProxyUriPath": prefix + BASE,
        "XksProxyAuthenticationCredential": {"AccessKeyId": access_key_id, "RawSecretAccessKey": secret},
    } | members


def new_key(kms: Any, store: str, external: str) -> str:
    made = kms.create_key(Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId=external)
    arn: str = made["KeyMetadata"]["Arn"]
    return arn


def refused_use(kms: Any, key: str) -> str:
    """The text with which Encrypt is refused as a key in a custom key store is."""
    code, text = refusal(kms.encrypt, KeyId=key, Plaintext=b"x")
    assert code == "KMSInvalidStateException"
    return text


def wait_until_used(kms: Any, key: str) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            kms.encrypt(KeyId=key, Plaintext=b"x")
        except kms.exceptions.KMSInvalidStateException:
            assert time.monotonic() < deadline, "the proxy is back"
            time.sleep(0.1)
        else:
            return


def test_the_life_of_a_store(kms: Any, xks: XksProxy, served: Server) -> None:
    told = kms.create_custom_key_store(**of_proxy(xks, "life", PREFIX))
    store = told["CustomKeyStoreId"]
    record = record_of_request(served.data, told)
    assert record["requestParameters"] == {
        "customKeyStoreName": "life",
        "customKeyStoreType": "EXTERNAL_KEY_STORE",
        "xksProxyConnectivity": "PUBLIC_ENDPOINT",
        "xksProxyUriEndpoint": xks.endpoint,
        "xksProxyUriPath": PREFIX + BASE,
    }
    (access_key_id,) = xks.prefixes[PREFIX].credentials
    entry = described(kms, store)
    assert entry["XksProxyConfiguration"] == {
        "Connectivity": "PUBLIC_ENDPOINT",
        "AccessKeyId": access_key_id,
        "UriEndpoint": xks.endpoint,
        "UriPath": PREFIX + BASE,
    }
    assert (entry["ConnectionState"], entry["CustomKeyStoreType"]) == ("DISCONNECTED", "EXTERNAL_KEY_STORE")
    assert xks.asked[-1].body["requestMetadata"]["kmsOperation"] == "CreateCustomKeyStore"
    assert refusal(kms.create_key, Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId="key-1")[0] == (
        "CustomKeyStoreInvalidStateException"
    )
    connect(kms, store)
    assert xks.asked[-1].body["requestMetadata"]["kmsOperation"] == "ConnectCustomKeyStore"

    created = kms.create_key(Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId="key-1")
    metadata = created["KeyMetadata"]
    arn = metadata["Arn"]
    assert metadata["XksKeyConfiguration"] == {"Id": "key-1"}
    assert (metadata["KeyState"], metadata["Origin"]) == ("Enabled", "EXTERNAL_KEY_STORE")
    assert (metadata["CustomKeyStoreId"], metadata["MultiRegion"]) == (store, False)
    assert not {"CurrentKeyMaterialId", "CloudHsmClusterId"} & set(metadata)
    assert record_of_request(served.data, created)["requestParameters"]["xksKeyId"] == "key-1"
    again = refusal(kms.create_key, Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId="key-1")
    assert again[0] == "XksKeyAlreadyInUseException"

    sent = kms.encrypt(KeyId=arn, Plaintext=b"secret", EncryptionContext=CONTEXT)
    asked = xks.asked[-1]
    assert asked.path == f"{PREFIX}{BASE}/keys/key-1/encrypt"
    assert asked.body["requestMetadata"] == {
        "awsPrincipalArn": f"arn:aws:iam::{metadata['AWSAccountId']}:root",
        "kmsOperation": "Encrypt",
        "kmsRequestId": sent["ResponseMetadata"]["RequestId"],
        "kmsKeyArn": arn,
    }
    blob = sent["CiphertextBlob"]
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)
    assert (opened["Plaintext"], opened["KeyId"]) == (b"secret", arn)
    data = record_of_request(served.data, opened)["additionalEventData"]
    assert (data["customKeyStoreId"], data["xksKeyId"]) == (store, "key-1")

    asked_before = len(xks.asked)
    disconnect(kms, store)
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Unavailable"
    assert refused_use(kms, arn) == f"{arn} is unavailable."
    assert len(xks.asked) == asked_before
    connect(kms, store)
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"secret"
    kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    again = refusal(kms.create_key, Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId="key-1")
    assert again[0] == "XksKeyAlreadyInUseException"
    disconnect(kms, store)
    assert refusal(kms.delete_custom_key_store, CustomKeyStoreId=store)[0] == "CustomKeyStoreHasCMKsException"
    (secret,) = xks.prefixes[PREFIX].credentials.values()
    assert secret not in "".join(path.read_text() for path in (served.data / "audit").glob("*/*.log"))


def test_every_operation_on_a_key(kms: Any, xks: XksProxy, store: str, key: str) -> None:
    for length in (1, 4096):
        xks.metadata, xks.iv_length = (b"", 12) if length == 1 else (b"v" * 20, 16)
        blob = kms.encrypt(KeyId=key, Plaintext=b"p" * length)["CiphertextBlob"]
        assert kms.decrypt(CiphertextBlob=blob, KeyId=key)["Plaintext"] == b"p" * length
    data_key = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT)
    assert xks.asked[-1].body["requestMetadata"]["kmsOperation"] == "GenerateDataKey"
    opened = kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == data_key["Plaintext"]
    without = kms.generate_data_key_without_plaintext(KeyId=key, NumberOfBytes=64)
    assert xks.asked[-1].body["requestMetadata"]["kmsOperation"] == "GenerateDataKeyWithoutPlaintext"
    assert len(kms.decrypt(CiphertextBlob=without["CiphertextBlob"])["Plaintext"]) == 64
    own = kms.create_key()["KeyMetadata"]["Arn"]
    there = kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=own)["CiphertextBlob"]
    back = kms.re_encrypt(CiphertextBlob=there, DestinationKeyId=key)["CiphertextBlob"]
    assert xks.asked[-1].body["requestMetadata"]["kmsOperation"] == "ReEncrypt"
    assert kms.decrypt(CiphertextBlob=back)["Plaintext"] == b"p" * 4096
    other = new_key(kms, store, "key.2_B")
    moved = kms.re_encrypt(CiphertextBlob=back, DestinationKeyId=other)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=moved)["KeyId"] == other
    asked = len(xks.asked)
    assert refusal(kms.encrypt, KeyId=key, Plaintext=b"x", DryRun=True)[0] == "DryRunOperationException"
    assert refusal(kms.generate_random, NumberOfBytes=1, CustomKeyStoreId=store)[0] == "UnsupportedOperationException"
    wrong_origin = f"{key} origin is EXTERNAL_KEY_STORE which is not valid for this operation."
    for method, parameters in (
        (kms.generate_data_key_pair, {"KeyPairSpec": "ECC_NIST_P256"}),
        (kms.enable_key_rotation, {}),
        (kms.get_key_rotation_status, {}),
        (kms.rotate_key_on_demand, {}),
    ):
        assert refusal(method, KeyId=key, **parameters) == ("UnsupportedOperationException", wrong_origin)
    assert len(xks.asked) <= asked + 1


def test_what_is_wrong_with_a_ciphertext(kms: Any, xks: XksProxy, store: str, key: str) -> None:
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"]
    for given, context in ((blob, {"purpose": "other"}), (blob[:-1] + bytes([blob[-1] ^ 1]), CONTEXT)):
        code, text = refusal(kms.decrypt, CiphertextBlob=given, EncryptionContext=context)
        assert code == "KMSInvalidStateException"
        assert text.endswith(CORRUPTED)
    assert refusal(kms.decrypt, CiphertextBlob=blob[:-20], EncryptionContext=CONTEXT)[0] == "InvalidCiphertextException"


def test_neither_layer_alone_decrypts_anything(kms: Any, xks: XksProxy, store: str, key: str) -> None:
    blob = parse(kms.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext=CONTEXT)["CiphertextBlob"])
    aad = xks.asked[-1].body["additionalAuthenticatedData"]
    external = xks.keys["key-1"].handle
    sealed = blob.ciphertext[33:]  # no metadata, and the hash
    inner = xks.token.decrypt(external, blob.nonce, sealed, base64.b64decode(aad), b"")
    assert b"secret" not in inner
    assert refusal(kms.decrypt, CiphertextBlob=inner, EncryptionContext=CONTEXT) == ("InvalidCiphertextException", "")
    assert refusal(kms.decrypt, CiphertextBlob=inner, KeyId=key, EncryptionContext=CONTEXT)[0] == (
        "InvalidCiphertextException"
    )


def test_an_external_key_that_is_disabled_refuses_at_once(kms: Any, xks: XksProxy, store: str, key: str) -> None:
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    xks.keys["key-1"].status = "DISABLED"
    for method, parameters in (
        (kms.encrypt, {"KeyId": key, "Plaintext": b"x"}),
        (kms.decrypt, {"CiphertextBlob": blob}),
        (kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
        (kms.generate_data_key_without_plaintext, {"KeyId": key, "KeySpec": "AES_256"}),
        (kms.re_encrypt, {"CiphertextBlob": blob, "DestinationKeyId": key}),
    ):
        code, text = refusal(method, **parameters)
        assert code == "KMSInvalidStateException"
        assert text.endswith("the external key is not enabled in the external key manager.")
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    xks.keys["key-1"].status = "ENABLED"
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret"


def test_a_proxy_that_is_slow(kms: Any, xks: XksProxy, store: str, key: str) -> None:
    xks.delay = 0.3
    assert refused_use(kms, key).startswith(TIMED_OUT)
    xks.delay = 0.0
    wait_until_used(kms, key)
    assert described(kms, store)["ConnectionState"] == "CONNECTED"


def test_a_proxy_that_is_stopped_and_started(kms: Any, xks: XksProxy, store: str, key: str) -> None:
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    xks.cut()
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret"
    xks.stop()
    try:
        for _ in range(15):
            assert refused_use(kms, key).startswith(UNREACHABLE)
        own = kms.create_key()["KeyMetadata"]["Arn"]
        kms.encrypt(KeyId=own, Plaintext=b"x")
    finally:
        xks.start()
    wait_until_used(kms, key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"secret"


@pytest.mark.parametrize(
    ("spoiled", "text"),
    [
        ({"body": b"<html>"}, NOT_UNDERSTOOD),
        ({"raw": b"SSH-2.0-x\r\n\r\n"}, NOT_UNDERSTOOD),
        ({"spoiled": {"ciphertextDataIntegrityValue": "A" * 43 + "="}}, NOT_UNDERSTOOD),
        ({"spoiled": {"ciphertextDataIntegrityValue": None}}, NOT_UNDERSTOOD),
        ({"spoiled": {"authenticationTag": "A" * 22 + "=="}}, NOT_UNDERSTOOD),
        ({"error": (403, "AccessDeniedException")}, "The external key store proxy denied access to the operation."),
        ({"error": (429, "ThrottlingException")}, "The external key store proxy rejected the request due to"),
        ({"error": (503, "DependencyTimeoutException")}, "The external key store proxy did not respond to the request"),
    ],
    ids=str,
)
def test_answers_that_are_refused(
    kms: Any, xks: XksProxy, store: str, key: str, spoiled: dict[str, Any], text: str
) -> None:
    for name, value in spoiled.items():
        setattr(xks, name, value)
    assert refused_use(kms, key).startswith(text)
    for name in spoiled:
        setattr(xks, name, {} if name == "spoiled" else None)
    assert kms.encrypt(KeyId=key, Plaintext=b"x")["KeyId"] == key


def test_external_keys_that_cannot_be_used(kms: Any, xks: XksProxy, store: str) -> None:
    external = xks.keys["key-1"]
    xks.keys["other"] = external

    def refused(name: str = "other") -> tuple[str, str]:
        return refusal(kms.create_key, Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store, XksKeyId=name)

    external.spec = "AES_128"
    assert refused() == (
        "XksKeyInvalidConfigurationException",
        "The key spec of the external key must be AES_256. The key spec of specified external key is AES_128.",
    )
    external.spec, external.status = "AES_256", "DISABLED"
    assert refused()[0] == "XksKeyInvalidConfigurationException"
    external.status, external.usage = "ENABLED", ["ENCRYPT", "SIGN"]
    assert refused()[0] == "XksKeyInvalidConfigurationException"
    assert refused("missing")[0] == "XksKeyNotFoundException"
    xks.error = (500, "InternalException")
    assert refused()[0] == "CustomKeyStoreInvalidStateException"


def test_two_kms_keys_on_one_external_key_cannot_read_each_other(kms: Any, xks: XksProxy, store: str, key: str) -> None:
    shared = "/shared-store"
    xks.prefixes[shared] = xks.prefixes[""]
    second = kms.create_custom_key_store(**of_proxy(xks, "shared", shared))["CustomKeyStoreId"]
    connect(kms, second)
    other = new_key(kms, second, "key-1")
    blob = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    assert refusal(kms.decrypt, CiphertextBlob=blob, KeyId=other)[0] == "IncorrectKeyException"
    material = parse(kms.encrypt(KeyId=other, Plaintext=b"x")["CiphertextBlob"]).header[3:35]
    forged = blob[:3] + material + blob[35:]
    code, text = refusal(kms.decrypt, CiphertextBlob=forged)
    assert code == "KMSInvalidStateException"
    assert text.endswith(CORRUPTED)


def test_a_credential_is_changed_while_it_is_used(kms: Any, xks: XksProxy, store: str, key: str) -> None:
    (first, _), (second, secret) = xks.credentials.items()
    credential = {"AccessKeyId": second, "RawSecretAccessKey": secret}
    wrong = credential | {"RawSecretAccessKey": "x" * 43}
    assert refusal(kms.update_custom_key_store, CustomKeyStoreId=store, XksProxyAuthenticationCredential=wrong)[0] == (
        "XksProxyIncorrectAuthenticationCredentialException"
    )
    kms.update_custom_key_store(CustomKeyStoreId=store, XksProxyAuthenticationCredential=credential)
    kept = xks.credentials.pop(first)
    assert kms.encrypt(KeyId=key, Plaintext=b"x")["KeyId"] == key
    assert described(kms, store)["XksProxyConfiguration"]["AccessKeyId"] == second
    xks.credentials[first] = kept
    restored = {"AccessKeyId": first, "RawSecretAccessKey": kept}
    kms.update_custom_key_store(CustomKeyStoreId=store, XksProxyAuthenticationCredential=restored)


@pytest.mark.parametrize(
    ("spoil", "error", "code"),
    [
        ({"error": (403, "AccessDeniedException")}, "XksProxyInvalidConfigurationException", "XKS_PROXY_ACCESS_DENIED"),
        ({"body": b"{}"}, "XksProxyInvalidResponseException", "XKS_PROXY_INVALID_RESPONSE"),
        ({"delay": 0.3}, "XksProxyUriUnreachableException", "XKS_PROXY_TIMED_OUT"),
        (
            {"fleet": [{"id": "1", "model": "m", "healthStatus": "UNAVAILABLE"}]},
            "XksProxyUriUnreachableException",
            "XKS_PROXY_NOT_REACHABLE",
        ),
    ],
    ids=str,
)
def test_stores_that_cannot_be_made_or_connected(
    kms: Any, xks: XksProxy, store: str, spoil: dict[str, Any], error: str, code: str
) -> None:
    xks.prefixes["/failing-store"] = xks.prefixes[""]
    parameters = of_proxy(xks, "failing", "/failing-store")
    made = kms.create_custom_key_store(**parameters)["CustomKeyStoreId"]
    before = {name: getattr(xks, name) for name in spoil}
    for name, value in spoil.items():
        setattr(xks, name, value)
    kms.connect_custom_key_store(CustomKeyStoreId=made)
    assert wait_for(kms, made, "FAILED")["ConnectionErrorCode"] == code
    other = parameters | {"CustomKeyStoreName": "another", "XksProxyUriPath": "/another-store" + BASE}
    xks.prefixes["/another-store"] = xks.prefixes[""]
    assert refusal(kms.create_custom_key_store, **other)[0] == error
    for name, value in before.items():
        setattr(xks, name, value)
    disconnect(kms, made)
    connect(kms, made)
    disconnect(kms, made)
    kms.delete_custom_key_store(CustomKeyStoreId=made)


def test_stores_that_are_refused(kms: Any, xks: XksProxy, store: str) -> None:
    def refused(**members: Any) -> str:
        return refusal(kms.create_custom_key_store, **of_proxy(xks, "refused", **members))[0]

    vpc = {"XksProxyConnectivity": "VPC_ENDPOINT_SERVICE", "XksProxyUriEndpoint": "https://private.example.test"}
    path = {"XksProxyUriPath": "/nowhere-here" + BASE}
    assert refused() == "XksProxyUriInUseException"
    assert refused(**path) == "XksProxyInvalidConfigurationException"
    assert refused(**path, XksProxyUriEndpoint="https://other.example.test") == "XksProxyUriUnreachableException"
    assert refused(**path, XksProxyUriEndpoint="https://loopback.example.test") == "XksProxyUriUnreachableException"
    assert refused(**path, CustomKeyStoreName="connected") == "CustomKeyStoreNameInUseException"
    assert refused(**vpc) == "ValidationException"
    assert refused(XksProxyVpcEndpointServiceName=VPC_SERVICE) == "ValidationException"
    assert refused(CloudHsmClusterId="cluster-aaaaaaaaaaa") == "ValidationException"
    other_service = VPC_SERVICE.replace("0123", "4567")
    assert refused(**vpc, XksProxyVpcEndpointServiceName=other_service) == "XksProxyVpcEndpointServiceNotFoundException"
    private = vpc | {"XksProxyUriEndpoint": xks.endpoint, "XksProxyUriPath": "/private-store" + BASE}
    assert refused(**private, XksProxyVpcEndpointServiceName=VPC_SERVICE) == "XksProxyUriEndpointInUseException"
    mine = of_proxy(xks, "vpc", **vpc, XksProxyVpcEndpointServiceName=VPC_SERVICE)
    made = kms.create_custom_key_store(**mine)["CustomKeyStoreId"]
    configuration = described(kms, made)["XksProxyConfiguration"]
    assert configuration["VpcEndpointServiceName"] == VPC_SERVICE
    assert configuration["VpcEndpointServiceOwner"] == kms.create_key()["KeyMetadata"]["AWSAccountId"]
    assert refused(**vpc, **path, XksProxyVpcEndpointServiceName=VPC_SERVICE) == "XksProxyUriEndpointInUseException"
    for change, error in (
        ({"XksProxyUriEndpoint": xks.endpoint}, "XksProxyUriInUseException"),
        ({"KeyStorePassword": "Kmsuser1"}, "ValidationException"),
        ({"XksProxyConnectivity": "PUBLIC_ENDPOINT"}, "ValidationException"),
    ):
        assert refusal(kms.update_custom_key_store, CustomKeyStoreId=made, **change)[0] == error
    refused_now = refusal(kms.update_custom_key_store, CustomKeyStoreId=store, XksProxyUriEndpoint=xks.endpoint)
    assert refused_now[0] == "CustomKeyStoreInvalidStateException"
    kms.delete_custom_key_store(CustomKeyStoreId=made)
