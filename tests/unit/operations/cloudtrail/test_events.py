"""LookupEvents, through a pipeline over real parts."""

import asyncio
import base64
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.app.installing import audit_log
from strongroom.audit.indexing import Indexer
from strongroom.errors import RequestError, code_of
from strongroom.model.exchange import Answer, Incoming
from strongroom.sigv4.request import SignedRequest
from strongroom.sigv4.signing import Credential, sign
from strongroom.storage.audit_index import SqliteAuditIndex
from tests.composed import DAY, NOW, Composed, composed, root_credential
from tests.unit.operations.iam.account import Account, document

ACCOUNT = "111122223333"


class Trail:
    """The events of an installation, as somebody looks them up: at first the root user of its account.

    The clock goes on by a second with every call, so that none is one too many.
    """

    def __init__(self, runner: asyncio.Runner, parts: Composed) -> None:
        self.parts = parts
        self.runner = runner
        self.index = SqliteAuditIndex(parts.opened.config.audit_index)
        held = runner.run(_root(parts))
        self.root = Credential(held.identity.principal.access_key_id, held.secret)

    def look_up(
        self,
        *,
        by: Credential | None = None,
        region: str = "us-east-1",
        pause: float = 1.0,
        body: bytes = b"",
        **members: Any,
    ) -> Any:
        """The response of LookupEvents. Raises its RequestError."""
        self.parts.clock.now += pause
        answer = self.runner.run(self._answer(by or self.root, region, body or json.dumps(members).encode()))
        if answer.error is not None:
            raise answer.error
        return answer.response

    async def _answer(self, by: Credential, region: str, body: bytes) -> Answer:
        headers = [(b"host", b"localhost")]
        signed = SignedRequest("POST", b"/", b"", headers)
        headers += sign(signed, by, region=region, service="cloudtrail", now=self.parts.clock.now, body=body)
        incoming = Incoming("POST", b"/", b"", headers, body, "192.0.2.1")
        return await self.parts.pipeline.answer(incoming, "cloudtrail", "LookupEvents")

    def refusal(self, **members: Any) -> str:
        """The code that the call is refused with."""
        with pytest.raises(RequestError) as caught:
            self.look_up(**members)
        return code_of(caught.value, "cloudtrail")

    def names(self, **members: Any) -> list[str]:
        return [event.event_name for event in self.look_up(**members).events]

    def do(self, name: str, **members: Any) -> Any:
        return self.runner.run(self.parts.ask_kms(name, **members))

    def catch_up(self) -> None:
        """Index all that was recorded."""
        audit = self.parts.pipeline._audit
        self.runner.run(audit.tick())
        indexer = Indexer(self.index, audit_log(self.parts.opened), audit.chain_id)
        indexer.find_ended()
        while indexer.step(audit.registered, self.parts.clock.now):
            pass


async def _root(parts: Composed) -> Any:
    return root_credential(parts.state)


@contextmanager
def following(data: Path) -> Iterator[Trail]:
    with asyncio.Runner() as runner:
        context = composed(data)
        trail = Trail(runner, runner.run(context.__aenter__()))
        yield trail
        trail.index.close()
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def trail(install: Callable[[], Path]) -> Iterator[Trail]:
    with following(install()) as trail:
        yield trail


@pytest.fixture(scope="module")
def quiet(install: Callable[[], Path]) -> Iterator[Trail]:
    """One of which nothing is ever indexed."""
    with following(install()) as trail:
        yield trail


def attribute(key: str, value: str) -> dict[str, Any]:
    return {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}


def test_an_event_is_told_with_its_record(trail: Trail) -> None:
    key = trail.do("CreateKey").key_metadata
    trail.catch_up()
    (event,) = trail.look_up(**attribute("EventName", "CreateKey")).events
    record = json.loads(event.cloud_trail_event)

    assert json.loads(msgspec.json.encode(event)) == {
        "EventId": record["eventID"],
        "EventName": "CreateKey",
        "ReadOnly": "false",
        "AccessKeyId": trail.root.access_key_id,
        "EventTime": NOW,
        "EventSource": "kms.amazonaws.com",
        "Username": "root",
        "Resources": [{"ResourceType": "AWS::KMS::Key", "ResourceName": key.arn}],
        "CloudTrailEvent": event.cloud_trail_event,
    }
    (logged,) = [one for one in trail.parts.records() if one["eventName"] == "CreateKey"]
    assert record == logged


def test_look_ups_are_recorded_and_looked_up_themselves(trail: Trail) -> None:
    assert trail.names() == []
    trail.catch_up()
    (event,) = trail.look_up(**attribute("EventSource", "cloudtrail.amazonaws.com")).events
    record = json.loads(event.cloud_trail_event)

    assert (event.event_name, event.read_only, event.resources) == ("LookupEvents", "true", ())
    assert "resources" not in record
    assert record["requestParameters"] is None
    assert record["responseElements"] is None
    trail.catch_up()
    newest, _ = trail.look_up().events
    assert json.loads(newest.cloud_trail_event)["requestParameters"] == {
        "lookupAttributes": [{"attributeKey": "EventSource", "attributeValue": "cloudtrail.amazonaws.com"}]
    }


def test_refusals_are_told_too(trail: Trail) -> None:
    assert trail.refusal(MaxResults=51) == "InvalidMaxResultsException"
    trail.catch_up()
    (event,) = trail.look_up().events
    assert json.loads(event.cloud_trail_event)["errorCode"] == "InvalidMaxResultsException"


def test_only_events_of_the_account_in_the_region_are_told(trail: Trail) -> None:
    trail.do("ListKeys")
    trail.parts = trail.parts._replace(region="eu-west-1")
    trail.do("ListAliases")
    trail.catch_up()

    assert trail.names() == ["ListKeys"]
    assert "ListAliases" in trail.names(region="eu-west-1")


def test_all_attributes_and_times(trail: Trail) -> None:
    arn = trail.do("CreateKey").key_metadata.arn
    trail.parts.clock.now += 10
    trail.do("Encrypt", KeyId=arn, Plaintext=b"a")
    trail.parts.clock.now += 10
    trail.do("ListKeys")
    trail.catch_up()
    (created,) = trail.look_up(**attribute("EventName", "CreateKey")).events

    told = {
        "EventId": (created.event_id, ["CreateKey"]),
        "ReadOnly": ("false", ["CreateKey"]),
        "ResourceName": (arn, ["Encrypt", "CreateKey"]),
        "ResourceType": ("AWS::KMS::Key", ["Encrypt", "CreateKey"]),
        "Username": ("root", ["ListKeys", "Encrypt", "CreateKey"]),
        "AccessKeyId": (trail.root.access_key_id, ["ListKeys", "Encrypt", "CreateKey"]),
        "EventSource": ("kms.amazonaws.com", ["ListKeys", "Encrypt", "CreateKey"]),
    }
    for key, (value, names) in told.items():
        assert trail.names(**attribute(key, value)) == names, key
        if key != "ReadOnly":
            assert trail.names(**attribute(key, value + "x")) == [], key
    assert trail.names(StartTime=NOW + 10) == ["ListKeys", "Encrypt"]
    assert trail.names(StartTime=NOW + 10.5) == ["ListKeys"]
    assert trail.names(StartTime=NOW, EndTime=NOW + 10.9) == ["Encrypt", "CreateKey"]
    assert trail.names(EndTime=NOW - 1) == []
    assert trail.names(EventCategory="insight") == []


def test_pages_follow_one_another_though_events_come(trail: Trail) -> None:
    for _ in range(5):
        trail.do("ListKeys")
        trail.parts.clock.now += 1
    trail.catch_up()
    pages = [trail.look_up(MaxResults=2)]
    while pages[-1].next_token is not None:
        trail.catch_up()
        pages.append(trail.look_up(MaxResults=2, NextToken=pages[-1].next_token))

    assert [[event.event_name for event in page.events] for page in pages] == [
        ["ListKeys"] * 2,
        ["ListKeys"] * 2,
        ["ListKeys"],
    ]
    ids = {event.event_id for page in pages for event in page.events}
    assert len(ids) == 5


def test_a_page_has_fifty_events_unless_it_is_told_otherwise(trail: Trail) -> None:
    for _ in range(51):
        trail.do("ListKeys")
    trail.catch_up()
    page = trail.look_up()

    assert len(page.events) == 50
    assert len(trail.look_up(NextToken=page.next_token).events) == 1


def test_a_token_is_of_one_query(trail: Trail) -> None:
    for _ in range(3):
        trail.do("ListKeys")
    trail.catch_up()
    token = trail.look_up(MaxResults=1, StartTime=NOW).next_token

    assert len(trail.look_up(StartTime=NOW, NextToken=token).events) == 2
    for others in ({}, {"StartTime": NOW - 1}, {"StartTime": NOW, **attribute("EventName", "ListKeys")}):
        assert trail.refusal(NextToken=token, **others) == "InvalidNextTokenException"
    assert trail.refusal(NextToken=token, StartTime=NOW, region="eu-west-1") == "InvalidNextTokenException"


def _token(*members: Any) -> str:
    return base64.b64encode(json.dumps(members).encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        "", "x", "e30=", "\ud83d", "AAAA====", _token(), _token("", 1, "a", 1), _token("", 2**63, "a", 1),
        _token("", 1, "\0", 1), _token("", -1, "a", 1), _token("", 1, "a", 1, 1), "A" * 10_000,
    ],
)  # fmt: skip
def test_a_token_that_is_none_is_refused(quiet: Trail, token: str) -> None:
    assert quiet.refusal(NextToken=token) in ("InvalidNextTokenException", "SerializationException")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"MaxResults": 0}, "InvalidMaxResultsException"),
        ({"MaxResults": 51}, "InvalidMaxResultsException"),
        ({"MaxResults": "1"}, "SerializationException"),
        ({"EventCategory": "data"}, "InvalidEventCategoryException"),
        ({"StartTime": 2, "EndTime": 1}, "InvalidTimeRangeException"),
        ({"StartTime": -1}, "InvalidTimeRangeException"),
        ({"EndTime": 1e300}, "InvalidTimeRangeException"),
        (attribute("EventTime", "a"), "InvalidLookupAttributesException"),
        (attribute("ReadOnly", "yes"), "InvalidLookupAttributesException"),
        (attribute("Username", ""), "InvalidLookupAttributesException"),
        (attribute("Username", "a" * 2001), "InvalidLookupAttributesException"),
        (attribute("Username", "_" * 1001), "InvalidLookupAttributesException"),
        (attribute("Username", "a\0"), "InvalidLookupAttributesException"),
        ({"LookupAttributes": 2 * attribute("Username", "a")["LookupAttributes"]}, "InvalidLookupAttributesException"),
        ({"LookupAttributes": [{"AttributeKey": "Username"}]}, "ValidationException"),
        ({"LookupAttributes": [None]}, "ValidationException"),
    ],
)
def test_what_cannot_be_looked_up_is_refused(quiet: Trail, members: dict[str, Any], code: str) -> None:
    assert quiet.refusal(**members) == code


@pytest.mark.parametrize(
    "members",
    [
        {"MaxResults": 1},
        {"MaxResults": 50},
        attribute("Username", "a" * 2000),
        attribute("Username", "_" * 1000),
        {"LookupAttributes": []},
    ],
)
def test_what_can_be_is_not(quiet: Trail, members: dict[str, Any]) -> None:
    assert quiet.names(**members) == []


def test_no_more_than_two_a_second_are_taken_of_an_account_in_a_region(trail: Trail) -> None:
    trail.look_up()
    trail.look_up(pause=0)
    assert trail.refusal(pause=0) == "ThrottlingException"
    assert trail.names(pause=0, region="eu-west-1") == []
    assert trail.names(pause=0.5) == []
    assert trail.refusal(pause=0) == "ThrottlingException"


def test_who_may_look_up_is_said_by_policies(trail: Trail) -> None:
    account = Account.__new__(Account)
    account.parts, account._runner, account._caller = trail.parts, trail.runner, trail.root
    nobody, reader = account.user("nobody"), account.user("reader", document("cloudtrail:LookupEvents"))

    refusals = [trail.refusal(by=nobody, pause=0) for _ in range(3)]
    assert refusals == ["AccessDeniedException"] * 3  # they take nothing from the rate of the account
    assert trail.names(by=reader, pause=0) == []
    trail.catch_up()
    (allowed, *_, refused) = trail.look_up(by=reader, **attribute("EventName", "LookupEvents")).events
    assert (allowed.username, refused.username) == ("reader", "nobody")
    assert json.loads(refused.cloud_trail_event)["errorCode"] == "AccessDenied"


def test_events_of_more_than_ninety_days_ago_are_not_told(trail: Trail) -> None:
    trail.do("ListKeys")
    trail.catch_up()
    assert trail.names() == ["ListKeys"]
    trail.parts.clock.now += 90 * DAY
    assert trail.names(StartTime=1) == []


def test_an_index_that_somebody_wrote_to_crashes_nothing(trail: Trail) -> None:
    trail.do("ListKeys")
    trail.catch_up()
    with trail.index._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit_events SET record = x'ff'")
    assert trail.look_up().events == ()


def test_an_index_that_cannot_be_used_fails_look_ups_alone(trail: Trail, capfd: pytest.CaptureFixture[str]) -> None:
    path = trail.parts.opened.config.audit_index
    path.mkdir()
    assert trail.refusal() == "InternalFailure"
    assert "audit-index.db" in capfd.readouterr().err
    trail.do("ListKeys")
    path.rmdir()
    trail.catch_up()
    assert trail.names() == ["ListKeys", "LookupEvents"]


ODD: list[Any] = [None, True, 0, -1, 1.5, 2**63, 1e308, "", "\0", "é" * 1000, [], {}, [[]], [None], {"": ""}, "\ud800"]


def test_bent_requests_are_answered(trail: Trail) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    trail.do("ListKeys")
    trail.catch_up()
    codes = set()
    for _ in range(300):
        members = {"MaxResults": 5, "StartTime": NOW - 5, "EndTime": NOW + 5, "NextToken": _token("", 1, "a", 1)}
        members |= attribute(
            chance.choice(["EventName", "ResourceName", "ReadOnly", "x"]), chance.choice(["ListKeys", "true"])
        )
        for name in chance.sample([*members, "EventCategory"], chance.randrange(5)):
            members[name] = chance.choice(ODD)
        for name in chance.sample([*members], chance.randrange(4)):
            del members[name]
        body = json.dumps(members).encode()
        try:
            trail.look_up(body=body[: chance.randrange(len(body))] if chance.random() < 0.05 else body)
        except RequestError as error:
            codes.add(code_of(error, "cloudtrail"))
    assert "InternalFailure" not in codes
    assert {"InvalidNextTokenException", "SerializationException", "InvalidLookupAttributesException"} <= codes
