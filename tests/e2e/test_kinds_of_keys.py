"""CreateKey, DescribeKey and GetPublicKey of every kind of key: which there are, and what they tell of themselves."""

from typing import Any

import pytest

from strongroom.crypto.key_pairs import ASYMMETRIC
from strongroom.model.key_specs import KEY_SPECS
from strongroom.testing.server import Server
from tests.e2e.calls import refusal
from tests.records import record_of_request

USAGES = ("ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT", "ENCAPSULATE_DECAPSULATE")
MEMBERS = {
    "ENCRYPT_DECRYPT": "EncryptionAlgorithms",
    "SIGN_VERIFY": "SigningAlgorithms",
    "GENERATE_VERIFY_MAC": "MacAlgorithms",
    "KEY_AGREEMENT": "KeyAgreementAlgorithms",
    "ENCAPSULATE_DECAPSULATE": "EncapsulationAlgorithms",
}
KINDS = [
    (spec, usage)
    for spec, row in KEY_SPECS.items()
    for usage in row.algorithms
    if spec not in ("SYMMETRIC_DEFAULT", "RSA_3072", "RSA_4096")  # the same as RSA_2048, and slow
]


@pytest.mark.parametrize(("spec", "usage"), KINDS)
def test_what_a_key_tells_of_itself(server: Server, kms: Any, spec: str, usage: str) -> None:
    created = kms.create_key(KeySpec=spec, KeyUsage=usage)
    metadata = created["KeyMetadata"]

    assert (metadata["KeySpec"], metadata["CustomerMasterKeySpec"], metadata["KeyUsage"]) == (spec, spec, usage)
    assert (metadata["Origin"], metadata["KeyState"], metadata["MultiRegion"]) == ("AWS_KMS", "Enabled", False)
    algorithms = list(KEY_SPECS[spec].algorithms[usage])
    assert {name: metadata[name] for name in metadata if name in MEMBERS.values()} == {MEMBERS[usage]: algorithms}
    assert "CurrentKeyMaterialId" not in metadata
    assert kms.describe_key(KeyId=metadata["KeyId"])["KeyMetadata"] == metadata
    record = record_of_request(server.data, created)
    assert record["requestParameters"]["keySpec"] == record["requestParameters"]["customerMasterKeySpec"] == spec
    assert record["responseElements"]["keyMetadata"][MEMBERS[usage][0].lower() + MEMBERS[usage][1:]] == algorithms

    if spec not in ASYMMETRIC:
        assert refusal(kms.get_public_key, KeyId=metadata["KeyId"]) == ("UnsupportedOperationException", "")
        return
    told = kms.get_public_key(KeyId=metadata["KeyId"])
    assert (told["KeyId"], told["KeySpec"], told["CustomerMasterKeySpec"]) == (metadata["Arn"], spec, spec)
    assert told["KeyUsage"] == usage
    assert {name: told[name] for name in told if name in MEMBERS.values()} == {MEMBERS[usage]: algorithms}
    assert kms.get_public_key(KeyId=metadata["Arn"])["PublicKey"] == told["PublicKey"]


@pytest.mark.parametrize("spec", KEY_SPECS)
def test_usages_that_a_spec_does_not_have(kms: Any, spec: str) -> None:
    for usage in USAGES:
        if usage not in KEY_SPECS[spec].algorithms:
            assert refusal(kms.create_key, KeySpec=spec, KeyUsage=usage) == (
                "ValidationException",
                f"KeyUsage {usage} is not compatible with KeySpec {spec}",
            )
    if spec != "SYMMETRIC_DEFAULT":
        assert refusal(kms.create_key, KeySpec=spec) == (
            "ValidationException",
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
        )


def test_the_old_name_of_a_spec(kms: Any) -> None:
    metadata = kms.create_key(CustomerMasterKeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]

    assert (metadata["KeySpec"], metadata["CustomerMasterKeySpec"]) == ("HMAC_256", "HMAC_256")


@pytest.mark.parametrize("parameter", ["KeySpec", "CustomerMasterKeySpec"])
def test_the_spec_of_the_regions_of_china_is_no_value(kms: Any, parameter: str) -> None:
    code, text = refusal(kms.create_key, **{parameter: "SM2"}, KeyUsage="SIGN_VERIFY")

    assert code == "ValidationException"
    path = parameter[0].lower() + parameter[1:]
    assert f"Value 'SM2' at '{path}' failed to satisfy constraint: Member must satisfy enum value set: [" in text
    assert "SM2" not in text.partition("enum value set")[2]


@pytest.mark.parametrize(
    ("spec", "usage", "origin"),
    [
        ("ML_DSA_44", "SIGN_VERIFY", "EXTERNAL"),
        ("ML_KEM_768", "ENCAPSULATE_DECAPSULATE", "EXTERNAL"),
        ("HMAC_256", "GENERATE_VERIFY_MAC", "AWS_CLOUDHSM"),
        ("RSA_2048", "SIGN_VERIFY", "EXTERNAL_KEY_STORE"),
    ],
)
def test_origins_that_a_key_spec_has_not(kms: Any, spec: str, usage: str, origin: str) -> None:
    refused, said = refusal(kms.create_key, KeySpec=spec, KeyUsage=usage, Origin=origin)

    assert (refused, said) == ("ValidationException", f"KeySpec {spec} is not supported for Origin {origin}")


def test_what_belongs_to_custom_key_stores_comes_together(kms: Any) -> None:
    store = "cks-0123456789abcdef0"
    for parameters, text in (
        ({"Origin": "AWS_CLOUDHSM"}, "CustomKeyStoreId is required for Origin AWS_CLOUDHSM."),
        ({"Origin": "EXTERNAL_KEY_STORE"}, "CustomKeyStoreId is required for Origin EXTERNAL_KEY_STORE."),
        ({"CustomKeyStoreId": store}, "CustomKeyStoreId is not valid for Origin AWS_KMS."),
        ({"CustomKeyStoreId": store, "Origin": "EXTERNAL"}, "CustomKeyStoreId is not valid for Origin EXTERNAL."),
        ({"XksKeyId": "key"}, "XksKeyId is not valid for Origin AWS_KMS."),
        (
            {"CustomKeyStoreId": store, "Origin": "EXTERNAL_KEY_STORE"},
            "XksKeyId is required for Origin EXTERNAL_KEY_STORE.",
        ),
        (
            {"CustomKeyStoreId": store, "Origin": "AWS_CLOUDHSM", "XksKeyId": "key"},
            "XksKeyId is not valid for Origin AWS_CLOUDHSM.",
        ),
    ):
        assert refusal(kms.create_key, **parameters) == ("ValidationException", text)
    assert refusal(kms.create_key, CustomKeyStoreId=store, Origin="AWS_CLOUDHSM", MultiRegion=True) == (
        "UnsupportedOperationException",
        "Multi-Region keys are not supported in custom key stores.",
    )
    assert refusal(kms.create_key, CustomKeyStoreId=store, Origin="AWS_CLOUDHSM") == (
        "CustomKeyStoreNotFoundException",
        f"Custom key store {store} was not found.",
    )
