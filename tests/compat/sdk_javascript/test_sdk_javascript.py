"""The AWS SDK for JavaScript makes, lists, uses and disables keys of every kind, and knows refusals by their class."""

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey, MLDSA65PublicKey, MLDSA87PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.compat.clients import Driver

CONTEXT = {"purpose": "test", "tenant": "ä"}
MESSAGE = b"a message"

RSASSA = [f"RSASSA_{scheme}_SHA_{bits}" for scheme in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512)]
SIGNING = {
    "RSA_2048": RSASSA,
    "RSA_3072": RSASSA,
    "RSA_4096": RSASSA,
    "ECC_NIST_P256": ["ECDSA_SHA_256"],
    "ECC_NIST_P384": ["ECDSA_SHA_384"],
    "ECC_NIST_P521": ["ECDSA_SHA_512"],
    "ECC_SECG_P256K1": ["ECDSA_SHA_256"],
    "ECC_NIST_EDWARDS25519": ["ED25519_SHA_512", "ED25519_PH_SHA_512"],
    "ML_DSA_44": ["ML_DSA_SHAKE_256"],
    "ML_DSA_65": ["ML_DSA_SHAKE_256"],
    "ML_DSA_87": ["ML_DSA_SHAKE_256"],
}
"""Key spec -> the algorithms of its keys that sign."""
SIGNATURES = {
    "RSA_2048": 256,
    "RSA_3072": 384,
    "RSA_4096": 512,
    "ECC_NIST_EDWARDS25519": 64,
    "ML_DSA_44": 2420,
    "ML_DSA_65": 3309,
    "ML_DSA_87": 4627,
}
"""Key spec -> the length of its signatures; those of ECDSA are of several lengths."""
MACS = {"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}
PLAINTEXTS = {"RSA_2048": (214, 190), "RSA_3072": (342, 318), "RSA_4096": (470, 446)}
"""Key spec -> the most bytes that its keys encrypt, by RSAES_OAEP_SHA_1 and by RSAES_OAEP_SHA_256."""
SECRETS = {"ECC_NIST_P256": 32, "ECC_NIST_P384": 48, "ECC_NIST_P521": 66}
ENCAPSULATED = {"ML_KEM_512": 768, "ML_KEM_768": 1088, "ML_KEM_1024": 1568}
PAIRS = ["RSA_2048", "ECC_NIST_P256", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "ML_KEM_512", "ML_KEM_768"]


def sent(value: bytes) -> dict[str, str]:
    return {"bytes": base64.b64encode(value).decode()}


def given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: sent(value) if isinstance(value, bytes) else value for name, value in members.items()}


def must(driver: Driver, operation: str, **members: Any) -> dict[str, Any]:
    """What an operation answers; bytes are bytes."""
    answer = driver.ask("send", command=f"{operation}Command", input=given(members))
    return {
        name: base64.b64decode(value["bytes"]) if isinstance(value, dict) and "bytes" in value else value
        for name, value in answer.items()
    }


def refusal(driver: Driver, operation: str, **members: Any) -> tuple[str, str]:
    """The name and the text of the error that an operation ends in, of the SDK's class of that name if there is one."""
    refused = driver.ask("refusal", command=f"{operation}Command", input=given(members))
    assert refused["ofItsClass"] is (refused["name"] != "ValidationException")
    return refused["name"], refused["text"]


def new_key(driver: Driver, spec: str, usage: str) -> str:
    """The ARN of a new key, whose metadata says what was asked for."""
    made = must(driver, "CreateKey", KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
    assert (made["KeySpec"], made["KeyUsage"], made["KeyState"]) == (spec, usage, "Enabled")
    arn: str = made["Arn"]
    return arn


def public_key(driver: Driver, arn: str, spec: str, usage: str, **algorithms: list[str]) -> bytes:
    """The public key of a key; it is told with what the key is, and nothing else."""
    told = must(driver, "GetPublicKey", KeyId=arn)
    found: bytes = told.pop("PublicKey")
    assert told == {
        "KeyId": arn,
        "KeySpec": spec,
        "CustomerMasterKeySpec": spec,
        "KeyUsage": usage,
        **algorithms,
    }
    return found


@pytest.fixture(scope="module")
def metadata(driver: Driver) -> dict[str, Any]:
    """The metadata of a key that the SDK made."""
    made: dict[str, Any] = driver.ask("send", command="CreateKeyCommand", input={"Description": "for tests"})[
        "KeyMetadata"
    ]
    return made


def test_a_key_is_made_described_and_listed(driver: Driver, metadata: dict[str, Any]) -> None:
    described = driver.ask("send", command="DescribeKeyCommand", input={"KeyId": metadata["KeyId"]})

    assert described["KeyMetadata"] == metadata
    assert metadata["Description"] == "for tests"
    assert metadata["KeyState"] == "Enabled"
    driver.ask("send", command="CreateKeyCommand", input={})
    pages = driver.ask("pages", paginator="paginateListKeys", member="Keys", pageSize=1)
    assert all(len(page) == 1 for page in pages)
    assert [{"KeyId": metadata["KeyId"], "KeyArn": metadata["Arn"]}] in pages


def test_encrypt_and_decrypt(driver: Driver, metadata: dict[str, Any]) -> None:
    plaintext = sent(bytes(range(256)) * 16)
    encrypted = driver.ask(
        "send",
        command="EncryptCommand",
        input={"KeyId": metadata["Arn"], "Plaintext": plaintext, "EncryptionContext": CONTEXT},
    )
    decrypted = driver.ask(
        "send",
        command="DecryptCommand",
        input={"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": CONTEXT},
    )

    assert decrypted["Plaintext"] == plaintext
    assert decrypted["KeyId"] == metadata["Arn"]


def test_data_keys(driver: Driver, metadata: dict[str, Any]) -> None:
    asked = {"KeyId": metadata["KeyId"], "KeySpec": "AES_256"}
    made = driver.ask("send", command="GenerateDataKeyCommand", input=asked)
    wrapped = driver.ask("send", command="GenerateDataKeyWithoutPlaintextCommand", input=asked)

    opened = driver.ask("send", command="DecryptCommand", input={"CiphertextBlob": made["CiphertextBlob"]})
    assert opened["Plaintext"] == made["Plaintext"]
    opened = driver.ask("send", command="DecryptCommand", input={"CiphertextBlob": wrapped["CiphertextBlob"]})
    assert len(base64.b64decode(opened["Plaintext"]["bytes"])) == 32


def test_random_bytes(driver: Driver) -> None:
    made = driver.ask("send", command="GenerateRandomCommand", input={"NumberOfBytes": 1024})

    assert len(base64.b64decode(made["Plaintext"]["bytes"])) == 1024


def test_a_key_is_used_by_an_alias_and_disabled(driver: Driver) -> None:
    made = driver.ask("send", command="CreateKeyCommand", input={})["KeyMetadata"]
    alias = {"AliasName": "alias/from-javascript"}
    driver.ask("send", command="CreateAliasCommand", input={**alias, "TargetKeyId": made["KeyId"]})
    asked = {"KeyId": alias["AliasName"], "Plaintext": sent(b"secret")}

    assert driver.ask("send", command="EncryptCommand", input=asked)["KeyId"] == made["Arn"]
    pages = driver.ask("pages", paginator="paginateListAliases", member="Aliases", pageSize=1)
    named = {entry["AliasName"]: entry.get("TargetKeyId") for page in pages for entry in page}
    assert named[alias["AliasName"]] == made["KeyId"]

    driver.ask("send", command="DisableKeyCommand", input={"KeyId": made["KeyId"]})
    refused = driver.ask("refusal", command="EncryptCommand", input=asked)
    assert (refused["name"], refused["ofItsClass"]) == ("DisabledException", True)
    driver.ask("send", command="DeleteAliasCommand", input=alias)
    refused = driver.ask("refusal", command="EncryptCommand", input=asked)
    assert (refused["name"], refused["ofItsClass"]) == ("NotFoundException", True)


def test_refusals_are_of_the_sdks_classes(driver: Driver, metadata: dict[str, Any]) -> None:
    missing = metadata["Arn"].rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"
    encrypted = driver.ask(
        "send", command="EncryptCommand", input={"KeyId": metadata["KeyId"], "Plaintext": sent(b"secret")}
    )

    assert driver.ask("refusal", command="DescribeKeyCommand", input={"KeyId": missing}) == {
        "name": "NotFoundException",
        "text": f"Key '{missing}' does not exist",
        "ofItsClass": True,
    }
    wrong = {"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": CONTEXT}
    refused = driver.ask("refusal", command="DecryptCommand", input=wrong)
    assert (refused["name"], refused["ofItsClass"]) == ("InvalidCiphertextException", True)
    refused = driver.ask("refusal", command="DecryptCommand", input={"CiphertextBlob": sent(b"garbage" * 20)})
    assert (refused["name"], refused["ofItsClass"]) == ("InvalidCiphertextException", True)
    refused = driver.ask(
        "refusal", command="EncryptCommand", input={"KeyId": metadata["KeyId"], "Plaintext": sent(b"x" * 4097)}
    )
    assert refused["name"] == "ValidationException"
    assert "failed to satisfy constraint: Member must have length less than or equal to 4096" in refused["text"]


@pytest.mark.parametrize("spec", SIGNING)
def test_sign_and_verify(driver: Driver, spec: str) -> None:
    arn = new_key(driver, spec, "SIGN_VERIFY")
    public_key(driver, arn, spec, "SIGN_VERIFY", SigningAlgorithms=SIGNING[spec])

    for algorithm in SIGNING[spec]:
        prehashed = algorithm == "ED25519_PH_SHA_512"
        message = hashlib.sha512(MESSAGE).digest() if prehashed else MESSAGE
        asked: dict[str, Any] = {"KeyId": arn, "SigningAlgorithm": algorithm}
        asked |= {"MessageType": "DIGEST"} if prehashed else {}
        signed = must(driver, "Sign", **asked, Message=message)
        signature: bytes = signed.pop("Signature")
        assert signed == {"KeyId": arn, "SigningAlgorithm": algorithm}
        assert len(signature) == SIGNATURES.get(spec, len(signature))
        assert must(driver, "Verify", **asked, Message=message, Signature=signature) == {
            "KeyId": arn,
            "SignatureValid": True,
            "SigningAlgorithm": algorithm,
        }
        altered = signature[:-1] + bytes([signature[-1] ^ 1])
        other = message[:-1] + b"?"
        for wrong in ({"Message": other, "Signature": signature}, {"Message": message, "Signature": altered}):
            assert refusal(driver, "Verify", **asked, **wrong)[0] == "KMSInvalidSignatureException"


@pytest.mark.parametrize("spec", ["ML_DSA_44", "ML_DSA_65", "ML_DSA_87"])
def test_a_signature_of_ml_dsa_is_valid_elsewhere_and_by_its_mu(driver: Driver, spec: str) -> None:
    arn = new_key(driver, spec, "SIGN_VERIFY")
    public = load_der_public_key(must(driver, "GetPublicKey", KeyId=arn)["PublicKey"])
    assert isinstance(public, MLDSA44PublicKey | MLDSA65PublicKey | MLDSA87PublicKey)
    digest = hashlib.shake_256(public.public_bytes_raw()).digest(64)
    mu = hashlib.shake_256(digest + bytes(2) + MESSAGE).digest(64)
    asked = {"KeyId": arn, "SigningAlgorithm": "ML_DSA_SHAKE_256"}

    raw: bytes = must(driver, "Sign", **asked, Message=MESSAGE)["Signature"]
    external: bytes = must(driver, "Sign", **asked, Message=mu, MessageType="EXTERNAL_MU")["Signature"]
    public.verify(raw, MESSAGE)
    public.verify(external, MESSAGE)
    assert must(driver, "Verify", **asked, Message=MESSAGE, Signature=external)["SignatureValid"] is True
    by_mu = must(driver, "Verify", **asked, Message=mu, MessageType="EXTERNAL_MU", Signature=raw)
    assert by_mu["SignatureValid"] is True


@pytest.mark.parametrize("spec", MACS)
def test_macs(driver: Driver, spec: str) -> None:
    arn = new_key(driver, spec, "GENERATE_VERIFY_MAC")
    algorithm = spec.replace("_", "_SHA_")
    asked = {"KeyId": arn, "MacAlgorithm": algorithm}
    made = must(driver, "GenerateMac", **asked, Message=MESSAGE)
    mac: bytes = made.pop("Mac")

    assert made == asked
    assert len(mac) == MACS[spec]
    assert must(driver, "VerifyMac", **asked, Message=MESSAGE, Mac=mac) == {**asked, "MacValid": True}
    for wrong in ({"Message": b"another", "Mac": mac}, {"Message": MESSAGE, "Mac": mac[:-1]}):
        assert refusal(driver, "VerifyMac", **asked, **wrong)[0] == "KMSInvalidMacException"
    assert refusal(driver, "GetPublicKey", KeyId=arn)[0] == "UnsupportedOperationException"


@pytest.mark.parametrize("spec", PLAINTEXTS)
def test_rsa_encryption(driver: Driver, spec: str) -> None:
    arn = new_key(driver, spec, "ENCRYPT_DECRYPT")
    algorithms = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
    public_key(driver, arn, spec, "ENCRYPT_DECRYPT", EncryptionAlgorithms=algorithms)

    for algorithm, longest in zip(algorithms, PLAINTEXTS[spec], strict=True):
        asked = {"KeyId": arn, "EncryptionAlgorithm": algorithm}
        plaintext = b"x" * longest
        encrypted = must(driver, "Encrypt", **asked, Plaintext=plaintext)
        blob: bytes = encrypted.pop("CiphertextBlob")
        assert encrypted == asked
        assert len(blob) == SIGNATURES[spec]
        assert must(driver, "Decrypt", **asked, CiphertextBlob=blob) == {**asked, "Plaintext": plaintext}
        altered = blob[:-1] + bytes([blob[-1] ^ 1])
        assert refusal(driver, "Decrypt", **asked, CiphertextBlob=altered)[0] == "InvalidCiphertextException"
        assert refusal(driver, "Encrypt", **asked, Plaintext=plaintext + b"x") == (
            "ValidationException",
            f"Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {longest} bytes.",
        )


def test_a_ciphertext_is_moved_from_an_rsa_key_and_back(driver: Driver, metadata: dict[str, Any]) -> None:
    rsa = {"KeyId": new_key(driver, "RSA_2048", "ENCRYPT_DECRYPT"), "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    as_source = {"SourceKeyId": rsa["KeyId"], "SourceEncryptionAlgorithm": rsa["EncryptionAlgorithm"]}
    as_destination = {"DestinationKeyId": rsa["KeyId"], "DestinationEncryptionAlgorithm": rsa["EncryptionAlgorithm"]}
    blob = must(driver, "Encrypt", **rsa, Plaintext=MESSAGE)["CiphertextBlob"]

    moved = must(driver, "ReEncrypt", **as_source, CiphertextBlob=blob, DestinationKeyId=metadata["KeyId"])
    back = must(driver, "ReEncrypt", CiphertextBlob=moved["CiphertextBlob"], **as_destination)
    assert must(driver, "Decrypt", CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == MESSAGE
    assert must(driver, "Decrypt", **rsa, CiphertextBlob=back["CiphertextBlob"])["Plaintext"] == MESSAGE
    other = rsa | {"KeyId": new_key(driver, "RSA_2048", "ENCRYPT_DECRYPT")}
    assert refusal(driver, "Decrypt", **other, CiphertextBlob=back["CiphertextBlob"])[0] == "InvalidCiphertextException"
    assert (moved["SourceKeyId"], moved["KeyId"]) == (rsa["KeyId"], metadata["Arn"])
    assert (back["SourceKeyId"], back["KeyId"]) == (metadata["Arn"], rsa["KeyId"])
    told = (moved["SourceEncryptionAlgorithm"], moved["DestinationEncryptionAlgorithm"])
    assert told == ("RSAES_OAEP_SHA_256", "SYMMETRIC_DEFAULT")
    assert moved.keys() >= {"DestinationKeyMaterialId"}
    assert "SourceKeyMaterialId" not in moved


@pytest.mark.parametrize("spec", SECRETS)
def test_two_keys_agree_on_a_secret(driver: Driver, spec: str) -> None:
    arns = [new_key(driver, spec, "KEY_AGREEMENT") for _ in range(3)]
    ours, theirs, others = (
        public_key(driver, arn, spec, "KEY_AGREEMENT", KeyAgreementAlgorithms=["ECDH"]) for arn in arns
    )
    asked = {"KeyId": arns[0], "KeyAgreementAlgorithm": "ECDH"}
    derived = must(driver, "DeriveSharedSecret", **asked, PublicKey=theirs)
    secret: bytes = derived.pop("SharedSecret")

    assert derived == {**asked, "KeyOrigin": "AWS_KMS"}
    assert len(secret) == SECRETS[spec]
    same = must(driver, "DeriveSharedSecret", **asked | {"KeyId": arns[1]}, PublicKey=ours)
    assert same["SharedSecret"] == secret
    assert must(driver, "DeriveSharedSecret", **asked, PublicKey=others)["SharedSecret"] != secret
    assert refusal(driver, "DeriveSharedSecret", **asked, PublicKey=b"garbage")[0] == "ValidationException"


@pytest.mark.parametrize("spec", ENCAPSULATED)
def test_encapsulate_and_decapsulate(driver: Driver, spec: str) -> None:
    arn, other = (new_key(driver, spec, "ENCAPSULATE_DECAPSULATE") for _ in range(2))
    public_key(driver, arn, spec, "ENCAPSULATE_DECAPSULATE", EncapsulationAlgorithms=["ML_KEM"])
    asked = {"KeyId": arn, "EncapsulationAlgorithm": "ML_KEM"}
    made = must(driver, "Encapsulate", **asked)
    secret: bytes = made.pop("SharedSecret")
    blob: bytes = made.pop("SharedSecretCiphertextBlob")

    assert made == asked
    assert (len(secret), len(blob)) == (32, ENCAPSULATED[spec])
    opened = must(driver, "Decapsulate", **asked, SharedSecretCiphertextBlob=blob)
    assert opened == {**asked, "SharedSecret": secret}
    wrong = must(driver, "Decapsulate", **asked | {"KeyId": other}, SharedSecretCiphertextBlob=blob)["SharedSecret"]
    assert len(wrong) == 32
    assert wrong != secret
    assert refusal(driver, "Decapsulate", **asked, SharedSecretCiphertextBlob=blob[:-1])[0] == (
        "InvalidCiphertextException"
    )


@pytest.mark.parametrize("spec", PAIRS)
def test_data_key_pairs(driver: Driver, metadata: dict[str, Any], spec: str) -> None:
    asked = {"KeyId": metadata["Arn"], "KeyPairSpec": spec}
    made = must(driver, "GenerateDataKeyPair", **asked)
    wrapped = must(driver, "GenerateDataKeyPairWithoutPlaintext", **asked)

    opened = must(driver, "Decrypt", CiphertextBlob=made["PrivateKeyCiphertextBlob"])
    assert opened["Plaintext"] == made["PrivateKeyPlaintext"]
    assert made.keys() - wrapped.keys() == {"PrivateKeyPlaintext"}
    assert asked.items() <= made.items()
    assert asked.items() <= wrapped.items()
    assert must(driver, "Decrypt", CiphertextBlob=wrapped["PrivateKeyCiphertextBlob"])["KeyId"] == metadata["Arn"]
    assert wrapped["PublicKey"] != made["PublicKey"]


def test_a_key_is_used_for_its_usage_with_its_algorithms_only(driver: Driver) -> None:
    arn = new_key(driver, "ECC_NIST_P256", "SIGN_VERIFY")
    mac = {"KeyId": arn, "MacAlgorithm": "HMAC_SHA_256", "Message": MESSAGE}
    asked = {"KeyId": arn, "SigningAlgorithm": "ECDSA_SHA_384", "Message": MESSAGE}

    assert refusal(driver, "GenerateMac", **mac) == (
        "InvalidKeyUsageException",
        f"{arn} key usage is SIGN_VERIFY which is not valid for GenerateMac.",
    )
    assert refusal(driver, "Sign", **asked) == (
        "InvalidKeyUsageException",
        "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.",
    )
