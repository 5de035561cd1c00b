"""IAM and STS, as boto3 calls them over HTTP."""

from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom.testing.server import Server

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def make(server: Server) -> Make:
    """Makes clients that do not retry and send whatever they are given."""

    def client(service: str, **changed: str) -> Any:
        credential = {
            "aws_access_key_id": server.access_key_id,
            "aws_secret_access_key": server.secret_access_key,
            "region_name": server.region,
        }
        config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
        return boto3.client(service, endpoint_url=server.endpoint, config=config, **(credential | changed))

    return client


def refused(call: Callable[[], Any]) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as raised:
        call()
    response = raised.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def gotten(url: str) -> tuple[int, bytes]:
    address = urlsplit(url)
    assert address.hostname is not None
    connection = HTTPConnection(address.hostname, address.port, timeout=30)
    connection.request("GET", f"{address.path}?{address.query}")
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def test_who_calls_with_a_key_and_with_a_session(make: Make) -> None:
    sts = make("sts")
    credentials = sts.get_session_token()["Credentials"]
    session = make(
        "sts",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )

    account = sts.get_caller_identity()["Account"]
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{account}:root"
    assert session.get_caller_identity()["Account"] == account
    for client in (sts, session):
        url = client.generate_presigned_url("get_caller_identity", HttpMethod="GET", ExpiresIn=60)
        status, body = gotten(url)
        assert (status, f"<Account>{account}</Account>".encode() in body) == (200, True)
        status, body = gotten(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"))
        assert (status, b"<Code>SignatureDoesNotMatch</Code>" in body) == (403, True)


def test_refusals_have_the_codes_and_statuses_of_query_services(make: Make) -> None:
    iam = make("iam")
    status, code, text = refused(lambda: iam.create_user(UserName="a/b", Tags=[{"Key": "a"}]))
    assert (status, code) == (400, "ValidationError")
    assert text.startswith("2 validation errors detected: Value 'a/b' at 'userName' failed to satisfy constraint: ")

    stranger = make("iam", aws_access_key_id="AKIAAAAAAAAAAAAAAAAA")
    assert refused(lambda: stranger.create_user(UserName="a")) == (
        403,
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
    )
    forger = make("iam", aws_secret_access_key="x" * 40)
    assert refused(lambda: forger.create_user(UserName="a"))[:2] == (403, "SignatureDoesNotMatch")
    assert refused(iam.get_account_summary) == (
        400,
        "InvalidAction",
        "Could not find operation GetAccountSummary for version 2010-05-08",
    )
