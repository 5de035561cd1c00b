"""Requests made from the service model and then bent: no 500, no hang, no record missing."""

import base64
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from strongroom.jobs.calendar import SECONDS
from strongroom.model.import_key import ImportKey
from strongroom.operations.registry import OPERATIONS
from strongroom.testing.server import Server, running_server
from strongroom.testing.signed_client import SignedClient
from tests.importing import wrapped
from tests.records import recorded
from tests.sizes import Size

pytestmark = pytest.mark.soak

MODEL = botocore.session.get_session().get_service_model("kms")
BUILT = sorted(name for service, name in OPERATIONS if service == "kms")
REQUIRED_TOO = ("CiphertextBlob", "GranteePrincipal", "GrantToken", "NumberOfBytes", "RetiringPrincipal")
"""Members that a request needs although the model does not say so."""
NEEDS_A_CLUSTER = {f"{verb}CustomKeyStore" for verb in ("Connect", "Create", "Delete", "Disconnect", "Update")}
"""They come to their work in tests/e2e/test_cluster_key_store.py and test_external_key_store.py."""
REACHED = ("success", "DryRunOperationException")
"""What shows that a request came to an operation's work."""
KNOWN_FOR = 100
"""Requests until known values are made anew: the fuzzing disables, deletes and locks what it knows."""
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**31, 2**63, 1e308, -1e308, "", " ", "\0", "a" * 300, "é" * 100, "💥", "alias/x",
    "alias/", "arn:aws:kms:us-east-1:111122223333:key/x", "arn:aws:kms:::key/", "%s{0}${x}", [], {}, [[]], [None],
    {"": ""}, {"a": None}, {"a": 1}, ["x"] * 60, "=", "====", "QUJD", "QUJ", "\ud800", [{}], [{"TagKey": "a"}],
]  # fmt: skip
ODD_BODIES = [
    b"", b"null", b"[]", b'"x"', b"{", b"{,}", b'{"KeyId":}', b"\xff\xfe", b'{"KeyId":"\xff"}', b"\xef\xbb\xbf{}",
    b"{" * 5000, b"[" * 100_000, b'{"a":' * 5000, b'{"KeyId":1e999}', b'{"KeyId":NaN}', b"0" * 1000, b"{} {}",
    b'{"KeyId":"\\ud800"}', b'{"KeyId":"a","KeyId":"b"}', b"{}" + b" " * 900_000,
]  # fmt: skip


class Bender:
    """Makes requests: mostly well formed, then bent in places. The same seed makes the same requests.

    `known` are values for members of a name in requests of every operation, `fitting` for those of one operation.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.known: dict[str, list[Any]] = {}
        self.fitting: dict[str, dict[str, list[Any]]] = {}
        self._fitting: dict[str, list[Any]] = {}

    def body(self, operation: str) -> bytes:
        if self.random.random() < 0.05:
            return self.random.choice(ODD_BODIES)
        self._fitting = self.fitting.get(operation, {}) if self.random.random() < 0.8 else {}
        members = self.structure(MODEL.operation_model(operation).input_shape)
        for _ in range(self.random.choice([0, 0, 0, 1, 1, 2])):
            self.bend(members)
        content = json.dumps(members).encode()
        if self.random.random() < 0.03:
            return content[: self.random.randrange(len(content) + 1)]
        return content

    def structure(self, shape: Any) -> dict[str, Any]:
        required = {*shape.required_members, *REQUIRED_TOO, *self._fitting}
        optional = self.random.choice([0, 0.3])
        return {
            name: self.value(name, member)
            for name, member in shape.members.items()
            if name in required or self.random.random() < optional
        }

    def value(self, name: str, shape: Any) -> Any:
        known = self._fitting.get(name) or self.known.get(name)
        if known and self.random.random() < 0.95:
            return self.random.choice(known)
        match shape.type_name:
            case "structure":
                return self.structure(shape)
            case "list":
                return [self.value("", shape.member) for _ in range(self.random.randrange(3))]
            case "map":
                return {self.text(): self.text() for _ in range(self.random.randrange(4))}
            case "blob":
                return base64.b64encode(self.random.randbytes(self.random.choice([0, 1, 16, 300, 4096, 4097]))).decode()
            case "string":
                return self.random.choice(shape.enum) if shape.enum else self.text()
            case "integer" | "long":
                return self.random.choice([0, 1, 32, 1000, 1024, 1025])
            case "boolean":
                return self.random.random() < 0.3
            case kind:
                return {"timestamp": 1e9}[kind]

    def text(self) -> str:
        return self.random.choice(["a", "alias/a", "AES_256", "x" * self.random.randrange(60), "ключ", "1"])

    def bend(self, members: dict[str, Any]) -> None:
        name = self.random.choice([*members, "Unknown"])
        members[name] = self.random.choice(ODD_VALUES)


@pytest.fixture
def fuzzed(tmp_path: Path) -> Any:
    with running_server(tmp_path / "data") as server:
        yield server


def test_bent_requests_are_answered_and_recorded(fuzzed: Server, size: Size) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    request_ids: list[str] = []
    kinds: list[tuple[str, str]] = []
    unreached = [operation for operation in BUILT if operation not in NEEDS_A_CLUSTER]
    with SignedClient(fuzzed, timeout=20) as client:
        bender = Bender(seed)
        replicated = replicated_key(client)
        for number in range(2 * size.fuzz_requests):
            if number >= size.fuzz_requests and not unreached:
                break
            if number % KNOWN_FOR == 0:
                bender.known = known_values(client)
                bender.fitting = fitting_values(client, replicated)
            operation = bender.random.choice(BUILT if number < size.fuzz_requests else unreached)
            body = bender.body(operation)
            reply = client.call(operation, body)
            kind = str(reply.json().get("__type", "")) if reply.status != 200 else "success"
            assert reply.status in (200, 400), (seed, operation, body, reply)
            kinds.append((operation, kind))
            if kind in REACHED and operation in unreached:
                unreached.remove(operation)
            request_ids.append(reply.request_id)
    counts = Counter(kinds)
    assert not unreached
    half = len(kinds) // 2
    early, late = (sum(kind == "success" for _, kind in part) for part in (kinds[:half], kinds[half:]))
    assert late > early / 2, "the requests reach less and less"

    recorded_ids = [record["requestID"] for record in recorded(fuzzed.data) if is_of_a_request(record)]
    assert len(set(request_ids)) == len(kinds) >= size.fuzz_requests
    assert sorted(set(request_ids) & set(recorded_ids)) == sorted(request_ids)
    assert len(recorded_ids) == len(set(recorded_ids))
    print(f"{len(kinds)} requests:", json.dumps({f"{op} {kind}": n for (op, kind), n in sorted(counts.items())}))


def test_bent_requests_without_a_valid_signature_are_refused(fuzzed: Server, size: Size) -> None:
    bender = Bender(1)
    with SignedClient(fuzzed, timeout=20) as client:
        for _ in range(size.fuzz_requests // 10):
            operation = bender.random.choice(BUILT)
            body = bender.body(operation)
            signed_at = bender.random.choice([0.0, 2e9, *[time.time()] * 8])
            headers = client.signed_headers(operation, body, now=signed_at)
            at = bender.random.randrange(1, len(headers))
            untouched = headers[at][1]
            headers[at] = (headers[at][0], bend_header(bender.random, untouched))
            reply = client.send(headers, body)
            assert reply.status in (400, 404) or headers[at][1] == untouched, (headers, reply)


def bend_header(source: random.Random, value: bytes) -> bytes:
    at = source.randrange(len(value) + 1)
    return source.choice([b"", value[:at], value[:at] + b"\xff" + value[at:], value * 3, b"AWS4-HMAC-SHA256 " * 3])


def known_values(client: SignedClient) -> dict[str, list[Any]]:
    """Values that lead further than the first check: keys, one of them pending deletion, and what belongs to them."""
    key, doomed = (done(client, "CreateKey", {})["KeyMetadata"] for _ in range(2))
    named = {"KeyId": key["KeyId"]}
    aliases = [f"alias/{key['KeyId']}/{number}" for number in range(8)]
    for alias in aliases[:4]:
        done(client, "CreateAlias", {"AliasName": alias, "TargetKeyId": key["KeyId"]})
    done(client, "TagResource", named | {"Tags": [{"TagKey": name, "TagValue": ""} for name in "ab"]})
    done(client, "ScheduleKeyDeletion", {"KeyId": doomed["KeyId"]})
    blob = done(client, "Encrypt", named | {"Plaintext": "QUJD"})["CiphertextBlob"]
    root = f"arn:aws:iam::{key['AWSAccountId']}:root"
    asked_for = named | {"GranteePrincipal": root, "RetiringPrincipal": root, "Operations": ["Encrypt"]}
    grants = [done(client, "CreateGrant", asked_for) for _ in range(8)]
    listed: list[tuple[str, dict[str, Any]]] = [
        ("ListKeys", {}),
        ("ListAliases", {}),
        ("ListAliases", named),
        ("ListResourceTags", named),
        ("ListGrants", named | {"GranteePrincipal": root}),
        ("ListRetirableGrants", {"RetiringPrincipal": root}),
    ]
    return {
        "KeyId": [*[key["KeyId"], key["Arn"]] * 4, aliases[0], doomed["KeyId"]],
        "TargetKeyId": [key["KeyId"], key["KeyId"], key["Arn"], doomed["KeyId"]],
        "SourceKeyId": [key["KeyId"], aliases[0]],
        "DestinationKeyId": [key["KeyId"], key["Arn"], aliases[0]],
        "AliasName": aliases,
        "GranteePrincipal": [root],
        "RetiringPrincipal": [root],
        "Operations": [["Encrypt"], ["Decrypt", "CreateGrant", "RetireGrant"]],
        "SourceArn": ["arn:aws:rds:us-east-1:111122223333:db:x"],
        "Name": ["n"],
        "GrantId": [grant["GrantId"] for grant in grants],
        "GrantToken": [grant["GrantToken"] for grant in grants],
        "GrantTokens": [[grant["GrantToken"]] for grant in grants],
        "Marker": [done(client, operation, members | {"Limit": 1})["NextMarker"] for operation, members in listed],
        "PendingWindowInDays": [7, 30],
        "PolicyName": ["default"],
        "CiphertextBlob": [blob],
        "Policy": policies(key["AWSAccountId"]),
        "Origin": ["AWS_KMS"],
        "KeyUsage": ["ENCRYPT_DECRYPT"],
        "CustomKeyStoreId": ["cks-0123456789abcdef0"],
        "KeyPairSpec": ["ECC_NIST_P256", "ECC_NIST_EDWARDS25519", "ML_KEM_512", "RSA_2048"],
    }


def is_of_a_request(record: dict[str, Any]) -> bool:
    """Not of what KMS did by itself, or in the course of a request in another Region."""
    return "requestID" in record and "invokedBy" not in record["userIdentity"]


def replicated_key(client: SignedClient) -> str:
    """A multi-Region key with a replica key in eu-west-1, as soon as that can become the primary key."""
    key_id: str = done(client, "CreateKey", {"MultiRegion": True})["KeyMetadata"]["KeyId"]
    done(client, "ReplicateKey", {"KeyId": key_id, "ReplicaRegion": "eu-west-1"})
    time.sleep(2 * SECONDS + 1)
    return key_id


def fitting_values(client: SignedClient, replicated: str) -> dict[str, dict[str, list[Any]]]:
    """Values with which operations on keys of other kinds come to their work: operation, member, values."""
    message = "QUJD"
    signing, mac, agreeing, encapsulating, encrypting = (
        done(client, "CreateKey", {"KeySpec": spec, "KeyUsage": usage})["KeyMetadata"]["KeyId"]
        for spec, usage in (
            ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
            ("HMAC_256", "GENERATE_VERIFY_MAC"),
            ("ECC_NIST_P256", "KEY_AGREEMENT"),
            ("ML_KEM_512", "ENCAPSULATE_DECAPSULATE"),
            ("RSA_2048", "ENCRYPT_DECRYPT"),
        )
    )
    sign = {"KeyId": signing, "Message": message, "SigningAlgorithm": "ED25519_SHA_512", "MessageType": "RAW"}
    generate_mac = {"KeyId": mac, "Message": message, "MacAlgorithm": "HMAC_SHA_256"}
    encapsulate = {"KeyId": encapsulating, "EncapsulationAlgorithm": "ML_KEM"}
    encrypt = {"KeyId": encrypting, "Plaintext": message, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    public_key = done(client, "GetPublicKey", {"KeyId": agreeing})["PublicKey"]
    ciphertext = done(client, "Encapsulate", encapsulate)["SharedSecretCiphertextBlob"]
    external = done(client, "CreateKey", {"Origin": "EXTERNAL"})["KeyMetadata"]["KeyId"]
    primary = done(client, "CreateKey", {"MultiRegion": True})["KeyMetadata"]["KeyId"]
    parameters = {"KeyId": external, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"}
    got = done(client, "GetParametersForImport", parameters)
    import_key = ImportKey("RSA_2048", "RSAES_OAEP_SHA_1", "", 0, b"", base64.b64decode(got["PublicKey"]))
    to_import = {
        "KeyId": external,
        "ImportToken": got["ImportToken"],
        "EncryptedKeyMaterial": base64.b64encode(wrapped(import_key, bytes(range(32)))).decode(),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
    fitting = {
        "GetParametersForImport": parameters,
        "ImportKeyMaterial": to_import,
        "DeleteImportedKeyMaterial": {"KeyId": external},
        "ReplicateKey": {"KeyId": primary, "ReplicaRegion": "eu-west-1"},
        "UpdatePrimaryRegion": {"KeyId": replicated, "PrimaryRegion": "eu-west-1"},
        "Sign": sign,
        "Verify": sign | {"Signature": done(client, "Sign", sign)["Signature"]},
        "GenerateMac": generate_mac,
        "VerifyMac": generate_mac | {"Mac": done(client, "GenerateMac", generate_mac)["Mac"]},
        "DeriveSharedSecret": {"KeyId": agreeing, "PublicKey": public_key, "KeyAgreementAlgorithm": "ECDH"},
        "Encapsulate": encapsulate,
        "Decapsulate": encapsulate | {"SharedSecretCiphertextBlob": ciphertext},
        "GetPublicKey": {"KeyId": encrypting},
    }
    return {
        **{operation: {name: [value] for name, value in members.items()} for operation, members in fitting.items()},
        "ReEncrypt": {
            "SourceKeyId": [encrypting],
            "SourceEncryptionAlgorithm": ["RSAES_OAEP_SHA_256"],
            "CiphertextBlob": [done(client, "Encrypt", encrypt)["CiphertextBlob"]],
        },
    }


def done(client: SignedClient, operation: str, members: dict[str, Any]) -> dict[str, Any]:
    """Call an operation that must succeed."""
    reply = client.call(operation, members)
    assert reply.status == 200, reply
    answer: dict[str, Any] = reply.json()
    return answer


def policies(account: str) -> list[str]:
    """Policies of every kind: understood (oftener than the others), not understood, malformed."""
    allow = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "kms:*", "Resource": "*"}
    statements: list[Any] = [allow, {**allow, "Condition": {}}, {**allow, "Effect": "Deny"}, {**allow, "Action": []}]
    made = [json.dumps({"Version": "2012-10-17", "Statement": [statement]}) for statement in statements]
    return [*made, *made[:1] * 5, "", "{", '{"Id":' + "[" * 900 + "]" * 900 + "}"]
