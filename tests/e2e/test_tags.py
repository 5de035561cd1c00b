"""Tags through boto3: TagResource, UntagResource, ListResourceTags."""

import base64
from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import Key, allow, denied, deny, make_key, policy, refusal, refused, violation
from tests.records import record_of_request

TOO_MANY = ("TagException", "Too many tags")
DUPLICATE = ("TagException", "Duplicate tag keys")
RESERVED = ("TagException", "Tags beginning with aws: are reserved")


@pytest.fixture
def key(kms: Any) -> Key:
    return make_key(kms)


def tag(tag_key: str, tag_value: str = "") -> dict[str, str]:
    return {"TagKey": tag_key, "TagValue": tag_value}


def tags_of(kms: Any, key: Key, size: int = 50) -> list[dict[str, str]]:
    pages = kms.get_paginator("list_resource_tags").paginate(KeyId=key.arn, PaginationConfig={"PageSize": size})
    return [tag for page in pages for tag in page["Tags"]]


def test_tags_come_back_as_they_came_in_order_of_arrival(kms: Any, key: Key) -> None:
    made = [tag("zebra", " spaces  inside \n and out "), tag("Ключ", "значение 💥"), tag("empty"), tag("Empty", "é")]
    longest = [tag("k" * 128, "v" * 256), tag("💥" * 128, "💥" * 256), tag(" ", "\t")]
    assert kms.list_resource_tags(KeyId=key.key_id)["Tags"] == []
    kms.tag_resource(KeyId=key.key_id, Tags=made)
    kms.tag_resource(KeyId=key.arn, Tags=longest)

    assert tags_of(kms, key) == made + longest


def test_a_tag_that_is_there_takes_the_new_value_and_keeps_its_place(kms: Any, key: Key) -> None:
    kms.tag_resource(KeyId=key.key_id, Tags=[tag("a", "1"), tag("b", "2"), tag("c", "3")])
    for _ in range(2):
        kms.tag_resource(KeyId=key.key_id, Tags=[tag("d", "4"), tag("a", "5"), tag("A", "6")])
        assert tags_of(kms, key) == [tag("a", "5"), tag("b", "2"), tag("c", "3"), tag("d", "4"), tag("A", "6")]
    kms.tag_resource(KeyId=key.key_id, Tags=[])
    assert len(tags_of(kms, key)) == 5


def test_tags_are_taken_off_whether_they_are_there_or_not(kms: Any, key: Key) -> None:
    kms.tag_resource(KeyId=key.key_id, Tags=[tag("a"), tag("b"), tag("c")])
    for _ in range(2):
        kms.untag_resource(KeyId=key.key_id, TagKeys=["b", "B", "none", "b"])
        assert tags_of(kms, key) == [tag("a"), tag("c")]
    kms.untag_resource(KeyId=key.key_id, TagKeys=["aws:none"])
    kms.tag_resource(KeyId=key.key_id, Tags=[tag("b")])
    assert tags_of(kms, key) == [tag("a"), tag("c"), tag("b")]


def test_a_key_is_made_with_its_tags(kms: Any) -> None:
    made = kms.create_key(Tags=[tag("b", "1"), tag("a", "2")])["KeyMetadata"]

    assert kms.list_resource_tags(KeyId=made["KeyId"])["Tags"] == [tag("b", "1"), tag("a", "2")]


def test_a_key_has_50_tags_at_most(kms: Any, key: Key) -> None:
    fifty = [tag(str(number)) for number in range(50)]
    assert refusal(kms.tag_resource, KeyId=key.key_id, Tags=[*fifty, tag("50")]) == TOO_MANY
    assert tags_of(kms, key) == []
    kms.tag_resource(KeyId=key.key_id, Tags=fifty)

    assert refusal(kms.tag_resource, KeyId=key.key_id, Tags=[tag("51")]) == TOO_MANY
    assert refusal(kms.tag_resource, KeyId=key.key_id, Tags=[tag("1", "new"), tag("51")]) == TOO_MANY
    assert tags_of(kms, key) == fifty
    kms.tag_resource(KeyId=key.key_id, Tags=[tag("1", "new")])
    kms.untag_resource(KeyId=key.key_id, TagKeys=["0"])
    kms.tag_resource(KeyId=key.key_id, Tags=[tag("51")])
    assert tags_of(kms, key) == [tag("1", "new"), *fifty[2:], tag("51")]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([tag("a", "1"), tag("b"), tag("a", "2")], DUPLICATE),
        ([tag("ok"), tag("aws:x")], RESERVED),
        ([tag("AwS:")], RESERVED),
        ([tag("")], violation("", "tags.1.member.tagKey", "have length greater than or equal to 1")),
        (
            [tag("a"), tag("k" * 129)],
            violation("k" * 129, "tags.2.member.tagKey", "have length less than or equal to 128"),
        ),
        (
            [tag("a", "v" * 257)],
            violation("v" * 257, "tags.1.member.tagValue", "have length less than or equal to 256"),
        ),
        ([{"TagKey": "a"}], violation(None, "tags.1.member.tagValue", "not be null")),
        ([{"TagValue": "a"}], violation(None, "tags.1.member.tagKey", "not be null")),
    ],
)
def test_tags_that_no_key_can_have(kms: Any, key: Key, tags: list[dict[str, str]], expected: tuple[str, str]) -> None:
    assert refusal(kms.tag_resource, KeyId=key.key_id, Tags=tags) == expected
    assert refusal(kms.tag_resource, KeyId="no key", Tags=tags) == expected
    assert tags_of(kms, key) == []


def test_what_must_be_there(kms: Any, key: Key) -> None:
    assert refusal(kms.tag_resource, KeyId=key.key_id) == violation(None, "tags", "not be null")
    assert refusal(kms.untag_resource, KeyId=key.key_id) == violation(None, "tagKeys", "not be null")
    code, text = refusal(kms.untag_resource, KeyId=key.key_id, TagKeys=["a", ""])
    assert code == "ValidationException"
    assert "at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [" in text


@pytest.mark.parametrize("operation", ["TagResource", "UntagResource", "ListResourceTags"])
def test_the_policy_of_the_key_decides(kms: Any, key: Key, operation: str) -> None:
    kms.put_key_policy(KeyId=key.key_id, Policy=policy(allow(key.account), deny(key.account, f"kms:{operation}")))
    expected = denied(key, f"kms:{operation}")

    match operation:
        case "TagResource":
            assert refusal(kms.tag_resource, KeyId=key.key_id, Tags=[tag("a")]) == expected
        case "UntagResource":
            assert refusal(kms.untag_resource, KeyId=key.key_id, TagKeys=["a"]) == expected
        case _:
            assert refusal(kms.list_resource_tags, KeyId=key.key_id) == expected


def test_tags_are_listed_page_by_page(kms: Any, key: Key) -> None:
    made = [tag(str(number)) for number in range(50, 0, -1)]
    kms.tag_resource(KeyId=key.key_id, Tags=made)

    for size in (1, 7, 49, 50):
        assert tags_of(kms, key, size) == made
    default, page = kms.list_resource_tags(KeyId=key.key_id), kms.list_resource_tags(KeyId=key.key_id, Limit=49)
    assert (len(default["Tags"]), default["Truncated"]) == (50, False)
    assert "NextMarker" not in default
    assert (len(page["Tags"]), page["Truncated"]) == (49, True)


def test_tags_that_are_taken_off_page_by_page(kms: Any, key: Key) -> None:
    kms.tag_resource(KeyId=key.key_id, Tags=[tag(str(number)) for number in range(9)])
    told: list[str] = []
    marker: dict[str, str] = {}
    for _ in range(3):
        page = kms.list_resource_tags(KeyId=key.key_id, Limit=3, **marker)
        names = [tag["TagKey"] for tag in page["Tags"]]
        told += names
        kms.untag_resource(KeyId=key.key_id, TagKeys=names)
        marker = {"Marker": page["NextMarker"]} if page["Truncated"] else {}

    assert told == [str(number) for number in range(9)]
    assert marker == {}


def test_markers_and_limits_that_are_refused(kms: Any, key: Key) -> None:
    other = make_key(kms)
    for tagged in (key, other):
        kms.tag_resource(KeyId=tagged.key_id, Tags=[tag("a"), tag("b")])
    of_other = kms.list_resource_tags(KeyId=other.key_id, Limit=1)["NextMarker"]
    garbage = ["x", "====", "QUJD", base64.b64encode(b'["ListResourceTags"]').decode(), "é"]

    for marker in (of_other, kms.list_keys(Limit=1)["NextMarker"], *garbage):
        assert refusal(kms.list_resource_tags, KeyId=key.key_id, Marker=marker) == ("InvalidMarkerException", "")
    assert kms.list_resource_tags(KeyId=other.arn, Marker=of_other)["Tags"] == [tag("b")]
    for limit, rule in (
        (0, "greater than or equal to 1"),
        (51, "less than or equal to 50"),
        (1001, "less than or equal to 1000"),
    ):
        expected = violation(str(limit), "limit", f"have value {rule}")
        assert refusal(kms.list_resource_tags, KeyId=key.key_id, Limit=limit) == expected


def test_what_is_recorded(kms: Any, server: Server, key: Key) -> None:
    resources = [{"accountId": key.account, "type": "AWS::KMS::Key", "ARN": key.arn}]
    tagged = record_of_request(server.data, kms.tag_resource(KeyId=key.key_id, Tags=[tag("a", "ключ"), tag("b")]))
    untagged = record_of_request(server.data, kms.untag_resource(KeyId=key.key_id, TagKeys=["a", "none"]))
    for record in (tagged, untagged):
        assert record["responseElements"] == {"keyId": key.arn}
        assert (record["resources"], record["readOnly"]) == (resources, False)
    assert tagged["requestParameters"] == {
        "keyId": key.key_id,
        "tags": [{"tagKey": "a", "tagValue": "ключ"}, {"tagKey": "b", "tagValue": ""}],
    }
    assert untagged["requestParameters"] == {"keyId": key.key_id, "tagKeys": ["a", "none"]}

    listed = record_of_request(server.data, kms.list_resource_tags(KeyId=key.key_id))
    assert listed["requestParameters"] == {"keyId": key.key_id}
    assert (listed["responseElements"], listed["resources"], listed["readOnly"]) == (None, resources, True)
    refusing = record_of_request(server.data, refused(kms.tag_resource, KeyId=key.key_id, Tags=[tag("aws:x")]))
    assert (refusing["errorCode"], refusing["errorMessage"]) == RESERVED
    assert refusing["requestParameters"]["tags"] == [{"tagKey": "aws:x", "tagValue": ""}]
    assert refusing["responseElements"] is None
