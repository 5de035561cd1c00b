import json

import pytest
from msgspec import UNSET, Raw

from strongroom.audit.record import (
    MAX_ADDITIONAL_DATA,
    MAX_ELEMENTS,
    MAX_TEXT,
    CloudTrailRecord,
    Resource,
    encode,
    recorded_tls,
    service_event,
    unknown_identity,
    user_identity,
    utc_time,
)
from strongroom.model.exchange import TlsDetails
from strongroom.model.principal import root_user

ARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def encrypt_record(**members: object) -> CloudTrailRecord:
    settings: dict[str, object] = {
        "user_identity": user_identity(root_user("111122223333", "AKIAABCDEFGHIJKLMNOP")),
        "event_time": utc_time(1_790_000_000),
        "event_name": "Encrypt",
        "aws_region": "us-east-1",
        "source_ip_address": "192.0.2.1",
        "user_agent": "aws-cli/2.30",
        "request_parameters": {"keyId": ARN, "encryptionContext": {"tenant": "twelve"}},
        "additional_event_data": {"keyMaterialId": "ab" * 32},
        "request_id": "7c2e0c3a-1111-2222-3333-444455556666",
        "event_id": "0a0b0c0d-1111-2222-3333-444455556666",
        "read_only": True,
        "resources": (Resource("111122223333", "AWS::KMS::Key", ARN),),
        "recipient_account_id": "111122223333",
        "tls_details": recorded_tls(TlsDetails("TLSv1.3", "TLS_AES_128_GCM_SHA256"), "kms.example.com"),
    }
    return CloudTrailRecord(**(settings | members))  # type: ignore[arg-type]


def test_an_encrypt_record_has_cloudtrails_members_in_cloudtrails_order() -> None:
    decoded = json.loads(encode(encrypt_record()))
    assert list(decoded) == [
        "eventVersion",
        "userIdentity",
        "eventTime",
        "eventSource",
        "eventName",
        "awsRegion",
        "sourceIPAddress",
        "userAgent",
        "requestParameters",
        "responseElements",
        "additionalEventData",
        "requestID",
        "eventID",
        "readOnly",
        "resources",
        "eventType",
        "managementEvent",
        "recipientAccountId",
        "eventCategory",
        "tlsDetails",
    ]
    assert decoded == {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "Root",
            "principalId": "111122223333",
            "arn": "arn:aws:iam::111122223333:root",
            "accountId": "111122223333",
            "accessKeyId": "AKIAABCDEFGHIJKLMNOP",
        },
        "eventTime": "2026-09-21T14:13:20Z",
        "eventSource": "kms.amazonaws.com",
        "eventName": "Encrypt",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "192.0.2.1",
        "userAgent": "aws-cli/2.30",
        "requestParameters": {"keyId": ARN, "encryptionContext": {"tenant": "twelve"}},
        "responseElements": None,
        "additionalEventData": {"keyMaterialId": "ab" * 32},
        "requestID": "7c2e0c3a-1111-2222-3333-444455556666",
        "eventID": "0a0b0c0d-1111-2222-3333-444455556666",
        "readOnly": True,
        "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": ARN}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "111122223333",
        "eventCategory": "Management",
        "tlsDetails": {
            "tlsVersion": "TLSv1.3",
            "cipherSuite": "TLS_AES_128_GCM_SHA256",
            "clientProvidedHostHeader": "kms.example.com",
        },
    }


def test_a_refusal_shows_its_error_between_agent_and_parameters() -> None:
    decoded = json.loads(encode(encrypt_record(error_code="AccessDenied", error_message="no")))
    members = list(decoded)
    assert members[members.index("userAgent") :][:4] == ["userAgent", "errorCode", "errorMessage", "requestParameters"]


def test_a_record_is_one_line_whatever_is_in_it() -> None:
    line = encode(encrypt_record(user_agent="a\nb\r\u2028c", request_parameters={"description": "x\ny"}))
    assert b"\n" not in line
    assert json.loads(line)["userAgent"] == "a\nb\r\u2028c"


@pytest.mark.parametrize("text", ["a" * (MAX_TEXT + 1), "é" * MAX_TEXT, "🔑" * 300, "ab" + "🔑" * 300])
def test_long_texts_are_cut_at_a_whole_character(text: str) -> None:
    decoded = json.loads(encode(encrypt_record(user_agent=text, error_code="Validation", error_message=text)))
    for member in ("userAgent", "errorMessage"):
        kept = decoded[member]
        assert text.startswith(kept)
        assert MAX_TEXT - 3 <= len(kept.encode()) <= MAX_TEXT


@pytest.mark.parametrize("text", ["", "a" * MAX_TEXT, "é" * (MAX_TEXT // 2), "🔑" * (MAX_TEXT // 4)])
def test_texts_within_the_limit_stay_whole(text: str) -> None:
    decoded = json.loads(encode(encrypt_record(user_agent=text, error_message=text)))
    assert (decoded["userAgent"], decoded["errorMessage"]) == (text, text)


@pytest.mark.parametrize(
    ("member", "name", "limit"),
    [
        ("request_parameters", "requestParameters", MAX_ELEMENTS),
        ("response_elements", "responseElements", MAX_ELEMENTS),
        ("additional_event_data", "additionalEventData", MAX_ADDITIONAL_DATA),
    ],
)
def test_objects_over_their_limit_are_replaced_by_the_omission_marker(member: str, name: str, limit: int) -> None:
    overhead = len('{"a":""}')
    fits = {"a": "x" * (limit - overhead)}
    too_large = {"a": "x" * (limit - overhead + 1)}
    assert json.loads(encode(encrypt_record(**{member: fits})))[name] == fits
    assert json.loads(encode(encrypt_record(**{member: too_large})))[name] == {"omitted": True}
    assert json.loads(encode(encrypt_record(**{member: Raw(json.dumps(too_large).encode())})))[name] == {
        "omitted": True
    }


def test_a_large_record_without_additional_data_still_has_none() -> None:
    record = encrypt_record(request_parameters={"a": "x" * MAX_ELEMENTS}, additional_event_data=UNSET)
    assert "additionalEventData" not in json.loads(encode(record))


def test_a_service_event_names_the_service_as_caller() -> None:
    event = service_event(name="RotateKey", event_id="e", now=1_790_000_000.9, details={"keyId": ARN})
    decoded = json.loads(encode(event))
    assert decoded["userIdentity"] == {"invokedBy": "AWS Internal"}
    assert (decoded["sourceIPAddress"], decoded["userAgent"]) == ("AWS Internal", "AWS Internal")
    assert decoded["eventType"] == "AwsServiceEvent"
    assert decoded["serviceEventDetails"] == {"keyId": ARN}
    assert decoded["eventTime"] == "2026-09-21T14:13:20Z"
    assert decoded["readOnly"] is False
    assert "requestID" not in decoded


def test_a_stranger_is_known_only_by_the_access_key_they_claim() -> None:
    assert json.loads(bytes(unknown_identity(None))) == {"type": "Unknown"}
    assert json.loads(bytes(unknown_identity("AKIA"))) == {"type": "Unknown", "accessKeyId": "AKIA"}


def test_plain_http_has_no_tls_details() -> None:
    assert recorded_tls(None, "localhost") is UNSET
    assert "tlsDetails" not in json.loads(encode(encrypt_record(tls_details=recorded_tls(None, None))))


def test_a_long_host_header_is_cut() -> None:
    tls = recorded_tls(TlsDetails("TLSv1.3", "TLS_AES_128_GCM_SHA256"), "h" * 256)
    assert json.loads(encode(encrypt_record(tls_details=tls)))["tlsDetails"]["clientProvidedHostHeader"] == "h" * 255
