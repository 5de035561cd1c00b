"""LookupEvents with boto3 and the AWS CLI, over two server processes, and after they were killed."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom.testing.server import Server, running_server
from tests.e2e import aws_cli

SECONDS = 30
"""How long an event may take until it is found: the promise is about two seconds, on a machine that has time."""
PAUSE = 0.6
"""Between look-ups: two a second are taken."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("looked-up") / "data", workers=2) as server:
        yield server


def client(server: Server, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
    )


def look_up(server: Server, **asked: Any) -> list[Any]:
    events: list[Any] = client(server, "cloudtrail").lookup_events(**asked)["Events"]
    return events


def awaited(look_up: Callable[[], list[Any]], count: int) -> list[Any]:
    """What is found once there are so many."""
    deadline = time.monotonic() + SECONDS
    while len(found := look_up()) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} events were found"
        time.sleep(PAUSE)
    return found


def by(key: str, value: str) -> dict[str, Any]:
    return {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}


def use(server: Server, count: int) -> tuple[str, list[str]]:
    """Make a key and use it so often, on a connection of its own each time; its ARN, and the requests' ids."""
    arn = client(server, "kms").create_key()["KeyMetadata"]["Arn"]
    made = [client(server, "kms").encrypt(KeyId=arn, Plaintext=b"a") for _ in range(count)]
    return arn, [one["ResponseMetadata"]["RequestId"] for one in made]


def request_ids(events: list[Any]) -> list[str]:
    return [json.loads(event["CloudTrailEvent"])["requestID"] for event in events]


def test_boto3_finds_what_both_processes_recorded_page_by_page(served: Server) -> None:
    arn, requested = use(served, 6)
    awaited(lambda: look_up(served, **by("ResourceName", arn)), 7)
    trail = client(served, "cloudtrail")
    pages = list(
        trail.get_paginator("lookup_events").paginate(**by("ResourceName", arn), PaginationConfig={"PageSize": 3})
    )
    events = [event for page in pages for event in page["Events"]]

    assert [len(page["Events"]) for page in pages] == [3, 3, 1]
    assert set(requested) < set(request_ids(events))
    assert [event["EventTime"] for event in events] == sorted((e["EventTime"] for e in events), reverse=True)
    assert {event["EventName"] for event in events} == {"Encrypt", "CreateKey"}
    created = next(event for event in events if event["EventName"] == "CreateKey")
    assert (created["ReadOnly"], created["Username"], created["EventSource"]) == ("false", "root", "kms.amazonaws.com")
    assert created["Resources"] == [{"ResourceType": "AWS::KMS::Key", "ResourceName": arn}]


def test_the_cli_finds_an_event(served: Server) -> None:
    arn, (requested,) = use(served, 1)
    command = f"aws cloudtrail lookup-events --lookup-attributes AttributeKey=ResourceName,AttributeValue={arn}"
    found = awaited(lambda: aws_cli.answer(served, command)["Events"], 2)

    assert requested in request_ids(found)
    time.sleep(1)
    first = aws_cli.answer(served, f"{command} --max-items 1")
    time.sleep(1)
    rest = aws_cli.answer(served, f"{command} --starting-token {first['NextToken']}")
    assert request_ids(first["Events"] + rest["Events"]) == request_ids(found)


def test_the_cli_is_told_what_is_wrong(served: Server) -> None:
    time.sleep(1)
    command = "aws cloudtrail lookup-events --max-results 51"
    assert aws_cli.refusal(served, command).startswith("(InvalidMaxResultsException) when calling the LookupEvents")
    others = aws_cli.refusal(served, "aws cloudtrail describe-trails")
    assert others.startswith("(UnknownOperationException) when calling the DescribeTrails operation")


def test_nothing_is_missing_after_the_server_was_killed_and_the_index_lost(data: Path) -> None:
    with running_server(data, workers=2) as server:
        arn, requested = use(server, 8)
        server.kill()
    with running_server(data, workers=2) as server:
        found = awaited(lambda: look_up(server, **by("ResourceName", arn)), 9)
        server.kill()
    assert set(requested) < set(request_ids(found))

    for name in ("audit-index.db", "audit-index.db-wal", "audit-index.db-shm"):
        (data / name).unlink()
    with running_server(data) as server:
        again = awaited(lambda: look_up(server, **by("ResourceName", arn)), 9)
    assert request_ids(again) == request_ids(found)


def test_an_account_does_not_see_anothers_events(pair: Server, owners: list[Any], others: list[Any]) -> None:
    key = owners[0].create_key()["KeyMetadata"]["Arn"]
    others[0].list_aliases()
    for own, name in ((owners[0], "CreateKey"), (others[0], "ListAliases")):
        credentials = own._request_signer._credentials
        trail = boto3.client(
            "cloudtrail",
            endpoint_url=pair.endpoint,
            region_name=pair.region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
        )
        attribute = by("ResourceName", key) if name == "CreateKey" else by("EventName", name)
        awaited(lambda trail=trail, attribute=attribute: trail.lookup_events(**attribute)["Events"], 1)  # type: ignore[misc]
        time.sleep(PAUSE)
        told = trail.lookup_events(**by("ResourceName", key))["Events"]
        assert bool(told) == (name == "CreateKey")
        assert {json.loads(event["CloudTrailEvent"])["recipientAccountId"] for event in told} <= {key.split(":")[4]}


def test_a_user_needs_the_permission(served: Server) -> None:
    iam = client(served, "iam")
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    trail = boto3.client(
        "cloudtrail",
        endpoint_url=served.endpoint,
        region_name=served.region,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    time.sleep(PAUSE)
    with pytest.raises(ClientError, match=r"AccessDeniedException.*cloudtrail:LookupEvents"):
        trail.lookup_events()
