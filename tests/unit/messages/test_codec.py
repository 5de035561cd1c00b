"""Bodies to requests, and responses to bodies."""

import base64
import json
from typing import Any

import pytest

from strongroom.errors import Serialization, Validation
from strongroom.messages.codec import decode, encode
from strongroom.messages.declaration import Structure
from strongroom.messages.kms import (
    OPERATIONS,
    aliases,
    custom_key_stores,
    deletion,
    grants,
    imported_material,
    keys,
    random_bytes,
)
from strongroom.messages.kms.encryption import DecryptRequest, DecryptResponse, EncryptRequest, ReEncryptRequest
from strongroom.messages.kms.shapes import KeyMetadata, Tag
from strongroom.messages.kms.tags import ListResourceTagsResponse, TagResourceRequest

KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"


def refused(request_type: type[Structure], body: bytes) -> str | None:
    with pytest.raises(Serialization) as caught:
        decode(request_type, body)
    return caught.value.message


def violated(request_type: type[Structure], members: dict[str, Any]) -> str | None:
    with pytest.raises(Validation) as caught:
        decode(request_type, json.dumps(members).encode())
    return caught.value.message


def test_a_request_is_decoded_into_its_type() -> None:
    body = {
        "KeyId": KEY_ID,
        "Plaintext": base64.b64encode(b"\x00\xff").decode(),
        "EncryptionContext": {"purpose": "tést"},
        "GrantTokens": ["a", "b"],
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "DryRun": False,
    }

    assert decode(EncryptRequest, json.dumps(body).encode()) == EncryptRequest(
        key_id=KEY_ID,
        plaintext=b"\x00\xff",
        encryption_context={"purpose": "tést"},
        grant_tokens=("a", "b"),
        encryption_algorithm="SYMMETRIC_DEFAULT",
        dry_run=False,
    )


NOT_JSON = {
    "no bytes": b"",
    "white space": b" \n",
    "null": b"null",
    "text": b'"KeyId"',
    "a number": b"1",
    "true": b"true",
    "not JSON": b"KeyId=alias",
    "a trailing comma": b'{"KeyId": "a",}',
    "two documents": b'{"KeyId": "a"}{"KeyId": "a"}',
    "a NUL at the end": b'{"KeyId": "a"}\x00',
    "cut short": b'{"KeyId": "a"',
    "single quotes": b"{'KeyId': 'a'}",
    "a comment": b'{"KeyId": "a"} // b',
    "a byte order mark": b'\xef\xbb\xbf{"KeyId": "a"}',
    "UTF-16": '{"KeyId": "a"}'.encode("utf-16"),
    "Latin-1 in a member": b'{"KeyId": "\xe9"}',
    "Latin-1 in a member that is ignored": b'{"KeyId": "a", "Ignored": "\xe9"}',
    "Latin-1 in a name": b'{"KeyId": "a", "\xe9": 1}',
    "an overlong encoding": b'{"KeyId": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"KeyId": "\xed\xa0\x80"}',
    "a surrogate in UTF-8 that is ignored": b'{"KeyId": "a", "Ignored": "\xed\xa0\x80"}',
    "an escaped high surrogate": b'{"KeyId": "\\ud800"}',
    "an escaped high surrogate before a letter": b'{"KeyId": "\\ud800a"}',
    "an escaped low surrogate": b'{"KeyId": "\\udc00 and more"}',
    "two escaped high surrogates": b'{"KeyId": "\\ud800\\ud800"}',
    "a lone surrogate that is ignored": b'{"KeyId": "a", "Ignored": "\\ud800"}',
    "a lone surrogate in a name": b'{"KeyId": "a", "\\ud800": 1}',
    "a control character": b'{"KeyId": "a\nb"}',
    "a control character that is ignored": b'{"KeyId": "a", "Ignored": "a\nb"}',
    "an unknown escape": b'{"KeyId": "\\x41"}',
    "a name without quotes": b'{KeyId: "a"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep lists that are ignored": b'{"KeyId": "a", "Ignored": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep lists in a member": b'{"KeyId": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_not_a_json_object_is_refused_without_a_text(body: bytes) -> None:
    assert refused(keys.DescribeKeyRequest, body) is None


@pytest.mark.parametrize("body", [b"[]", b'[{"KeyId": "a"}]', b" [1, null] "])
def test_a_list_as_body_is_refused_with_a_text(body: bytes) -> None:
    assert refused(keys.DescribeKeyRequest, body) == "Start of list found where not expected"


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"01", b"1.", b".5", b"+1", b"0x10"])
def test_what_is_no_finite_json_number_is_refused(literal: bytes) -> None:
    assert refused(random_bytes.GenerateRandomRequest, b'{"NumberOfBytes": ' + literal + b"}") is None
    assert refused(imported_material.ImportKeyMaterialRequest, b'{"ValidTo": ' + literal + b"}") is None


def test_an_error_carries_nothing_of_the_body() -> None:
    with pytest.raises(Serialization) as caught:
        decode(EncryptRequest, b'{"Plaintext": "c2VjcmV0", "KeyId": "\xff"}')

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_only_create_key_takes_an_empty_body() -> None:
    taking = set()
    for name, messages in OPERATIONS.items():
        try:
            decode(messages.request, b"")
            taking.add(name)
        except Serialization as error:
            assert error.message is None  # noqa: PT017 - both ends are asserted

    assert taking == {"CreateKey"}
    assert decode(keys.CreateKeyRequest, b"") == decode(keys.CreateKeyRequest, b"{}") == keys.CreateKeyRequest()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"NumberOfBytes": "32"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"NumberOfBytes": true}', "TRUE_VALUE can not be converted to an Integer"),
        (b'{"NumberOfBytes": [32]}', "Start of list found where not expected"),
        (b'{"NumberOfBytes": {}}', "Start of structure or map found where not expected."),
        (b'{"CustomKeyStoreId": 1}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"CustomKeyStoreId": false}', "FALSE_VALUE can not be converted to a String"),
        (b'{"Recipient": "a"}', "Expected null"),
        (b'{"Recipient": {"AttestationDocument": "!"}}', None),
        (b'{"NumberOfBytes": 0, "CustomKeyStoreId": []}', "Start of list found where not expected"),
    ],
)
def test_types_are_judged_before_constraints(body: bytes, text: str | None) -> None:
    assert refused(random_bytes.GenerateRandomRequest, body) == text


@pytest.mark.parametrize(
    "given_text", ["YQ", "YQ=", "Y-==", "Y_==", "YQ==\\n", " YQ==", "YQ==YQ==", "====", "é", "=YQ="]
)
def test_base64_is_strict_on_both_ways(given_text: str) -> None:
    assert refused(EncryptRequest, f'{{"KeyId": "a", "Plaintext": "{given_text}"}}'.encode()) is None
    assert refused(EncryptRequest, f'{{"DryRun": "x", "Plaintext": "{given_text}"}}'.encode()) is not None
    assert refused(EncryptRequest, f'{{"Plaintext": "{given_text}", "DryRun": "x"}}'.encode()) is None


@pytest.mark.parametrize(
    ("literal", "number"), [("32", 32), ("32.0", 32), ("32.9", 32), ("3.2e1", 32), ("1024.9", 1024)]
)
def test_a_decimal_for_an_integer_is_cut(literal: str, number: int) -> None:
    body = f'{{"NumberOfBytes": {literal}}}'.encode()

    assert decode(random_bytes.GenerateRandomRequest, body).number_of_bytes == number


@pytest.mark.parametrize(
    ("literal", "bound"),
    [
        ("0", "greater than or equal to 1"),
        ("0.9", "greater than or equal to 1"),
        ("-1", "greater than or equal to 1"),
        ("1025", "less than or equal to 1024"),
        ("2147483648", "less than or equal to 1024"),
        ("9223372036854775808", "less than or equal to 1024"),
        ("1e300", "less than or equal to 1024"),
        ("9" * 4300, "less than or equal to 1024"),
    ],
)
def test_an_integer_of_any_size_is_held_against_its_bounds(literal: str, bound: str) -> None:
    with pytest.raises(Validation) as caught:
        decode(random_bytes.GenerateRandomRequest, f'{{"NumberOfBytes": {literal}}}'.encode())

    shown = int(float(literal)) if "." in literal or "e" in literal else int(literal)
    assert caught.value.message == (
        f"1 validation error detected: Value '{shown}' at 'numberOfBytes' failed to satisfy constraint: "
        f"Member must have value {bound}"
    )


def test_an_integer_of_too_many_digits_is_refused() -> None:
    assert refused(random_bytes.GenerateRandomRequest, b'{"NumberOfBytes": ' + b"9" * 5000 + b"}") is None


@pytest.mark.parametrize(
    ("literal", "seconds"), [("1773253425.56", 1773253425.56), ("1773253497", 1773253497.0), ("-1", -1.0)]
)
def test_timestamps_are_seconds_in_a_number(literal: str, seconds: float) -> None:
    body = f'{{"KeyId": "a", "ImportToken": "YQ==", "EncryptedKeyMaterial": "YQ==", "ValidTo": {literal}}}'

    assert decode(imported_material.ImportKeyMaterialRequest, body.encode()).valid_to == seconds


@pytest.mark.parametrize(
    "body",
    [
        b'{"KeyId": "a", "Unknown": {"deep": [null, {"KeyId": 1}]}}',
        b'{"KeyId": "a", "GrantTokens": null}',
        b'{"KeyId": "b", "KeyId": "a"}',
        b'{"KeyId": 1, "KeyId": "a"}',
        b'{"KeyId": "a", "keyId": "b", "key_id": "c"}',
        b'{"KeyId": "a", "": 1, "Unknown": 1e400}',
        b'{"KeyId": "\\u0061"}',
        b'\t{ "KeyId" :\r\n"a" } ',
    ],
)
def test_what_does_not_matter_is_ignored(body: bytes) -> None:
    assert decode(keys.DescribeKeyRequest, body) == keys.DescribeKeyRequest(key_id="a")


def test_a_surrogate_pair_is_one_character() -> None:
    assert decode(keys.DescribeKeyRequest, b'{"KeyId": "\\ud83d\\udd11"}').key_id == "\U0001f511"


MUST_NOT_BE_NULL = "failed to satisfy constraint: Member must not be null"


def test_each_violation_is_reported_in_the_order_of_the_model() -> None:
    assert violated(EncryptRequest, {"EncryptionAlgorithm": "ROT13", "Plaintext": ""}) == (
        f"3 validation errors detected: Value null at 'keyId' {MUST_NOT_BE_NULL}; "
        "Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1; "
        "Value 'ROT13' at 'encryptionAlgorithm' failed to satisfy constraint: "
        "Member must satisfy enum value set: [SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256]"
    )


def test_a_required_null_is_a_violation() -> None:
    expected = f"1 validation error detected: Value null at 'keyId' {MUST_NOT_BE_NULL}"

    assert violated(keys.DescribeKeyRequest, {"KeyId": None}) == expected
    assert violated(keys.DescribeKeyRequest, {}) == expected


def test_ciphertext_is_not_required_by_the_model() -> None:
    assert decode(DecryptRequest, b"{}") == DecryptRequest()
    assert decode(ReEncryptRequest, b'{"DestinationKeyId": "a"}') == ReEncryptRequest(destination_key_id="a")


@pytest.mark.parametrize(
    ("request_type", "members", "text"),
    [
        (
            EncryptRequest,
            {"KeyId": "a", "Plaintext": base64.b64encode(bytes(4097)).decode()},
            "Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096",
        ),
        (
            keys.DescribeKeyRequest,
            {"KeyId": ""},
            "Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            deletion.ScheduleKeyDeletionRequest,
            {"KeyId": "a", "PendingWindowInDays": 366},
            (
                "Value '366' at 'pendingWindowInDays' failed to satisfy constraint: "
                "Member must have value less than or equal to 365"
            ),
        ),
        (
            aliases.CreateAliasRequest,
            {"AliasName": "alias/a b", "TargetKeyId": "a"},
            (
                "Value 'alias/a b' at 'aliasName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"
            ),
        ),
        (
            TagResourceRequest,
            {"KeyId": "a", "Tags": [{"TagKey": "k", "TagValue": ""}, {"TagKey": "k" * 129, "TagValue": "v"}]},
            (
                f"Value '{'k' * 129}' at 'tags.2.member.tagKey' failed to satisfy constraint: "
                "Member must have length less than or equal to 128"
            ),
        ),
        (
            TagResourceRequest,
            {"KeyId": "a", "Tags": [{"TagKey": "k"}]},
            f"Value null at 'tags.1.member.tagValue' {MUST_NOT_BE_NULL}",
        ),
        (
            keys.DescribeKeyRequest,
            {"KeyId": "a", "GrantTokens": ["t"] * 11},
            (
                "Value '[t, t, t, t, t, t, t, t, t, t, t]' at 'grantTokens' failed to satisfy constraint: "
                "Member must have length less than or equal to 10"
            ),
        ),
        (
            keys.DescribeKeyRequest,
            {"KeyId": "a", "GrantTokens": ["t", ""]},
            (
                "Value '[t, ]' at 'grantTokens' failed to satisfy constraint: Member must satisfy constraint: "
                "[Member must have length less than or equal to 8192, "
                "Member must have length greater than or equal to 1]"
            ),
        ),
        (
            keys.DescribeKeyRequest,
            {"KeyId": "a", "GrantTokens": ["t", None]},
            f"Value null at 'grantTokens.2.member' {MUST_NOT_BE_NULL}",
        ),
        (
            EncryptRequest,
            {"KeyId": "a", "Plaintext": "YQ==", "EncryptionContext": {"a": "b", "c": None}},
            f"Value null at 'encryptionContext.c.member' {MUST_NOT_BE_NULL}",
        ),
        (
            grants.CreateGrantRequest,
            {"KeyId": "a", "Operations": [], "Constraints": {"SourceArn": "arn:aws:s3:::bucket-with-no-account"}},
            (
                "Value 'arn:aws:s3:::bucket-with-no-account' at 'constraints.sourceArn' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: ^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$"
            ),
        ),
        (
            custom_key_stores.CreateCustomKeyStoreRequest,
            {"CustomKeyStoreName": "a", "KeyStorePassword": "secret"},
            (
                "Value at 'keyStorePassword' failed to satisfy constraint: "
                "Member must have length greater than or equal to 7"
            ),
        ),
    ],
)
def test_constraints_are_reported_in_the_grammar_of_aws(
    request_type: type[Structure], members: dict[str, Any], text: str
) -> None:
    assert violated(request_type, members) == f"1 validation error detected: {text}"


def test_pattern_comes_before_length() -> None:
    assert violated(aliases.DeleteAliasRequest, {"AliasName": ""}) == (
        "2 validation errors detected: Value '' at 'aliasName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$; "
        "Value '' at 'aliasName' failed to satisfy constraint: Member must have length greater than or equal to 1"
    )


def test_a_large_body_gets_a_small_answer() -> None:
    text = violated(TagResourceRequest, {"KeyId": "a", "Tags": [{}] * 100_000})

    assert text is not None
    assert text.startswith("10 validation errors detected: ")
    assert text.count("Member must not be null") == 10


def test_no_response_is_no_bytes() -> None:
    assert encode(None) == b""


def test_members_that_are_not_set_are_left_out_and_no_others() -> None:
    metadata = KeyMetadata(
        aws_account_id="111122223333", key_id=KEY_ID, enabled=False, description="", creation_date=1.0
    )

    assert encode(keys.DescribeKeyResponse(key_metadata=metadata)) == (
        b'{"KeyMetadata":{"AWSAccountId":"111122223333","KeyId":"%s","CreationDate":1.0,"Enabled":false,"Description":""}}'
        % KEY_ID.encode()
    )
    assert encode(ListResourceTagsResponse(tags=(), truncated=False)) == b'{"Tags":[],"Truncated":false}'
    assert (
        encode(ListResourceTagsResponse(tags=(Tag(tag_key="a", tag_value=""),)))
        == b'{"Tags":[{"TagKey":"a","TagValue":""}]}'
    )
    assert encode(keys.GetKeyLastUsageResponse(key_last_usage=keys.KeyLastUsageData())) == b'{"KeyLastUsage":{}}'
    assert encode(custom_key_stores.ConnectCustomKeyStoreResponse()) == b"{}"


def test_blobs_are_base64_and_timestamps_decimals() -> None:
    assert encode(DecryptResponse(plaintext=b"\xfb\xff\x00\x01")) == b'{"Plaintext":"+/8AAQ=="}'
    assert encode(DecryptResponse(plaintext=b"")) == b'{"Plaintext":""}'
    assert encode(deletion.ScheduleKeyDeletionResponse(deletion_date=1773253497.0)) == b'{"DeletionDate":1773253497.0}'
