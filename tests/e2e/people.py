"""IAM users and sessions of roles, each with a KMS client of either server process."""

import configparser
import secrets
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom import app
from strongroom.config import read_config
from strongroom.testing.server import Server
from tests.e2e.conftest import START_SECONDS, chain_of

Credential = dict[str, str]
CONFIG = Config(retries={"total_max_attempts": 1}, parameter_validation=False)


def name(prefix: str) -> str:
    """A name that no test has used."""
    return f"{prefix}-{secrets.token_hex(4)}"


class Account(NamedTuple):
    """An account, by the clients of its root user: of IAM and STS, and of KMS one for each process."""

    account: str
    iam: Any
    sts: Any
    kms: list[Any]
    credential: Credential


def credentials_of(server: Server, profile: str) -> dict[str, str]:
    credentials = configparser.ConfigParser()
    credentials.read(server.data / "credentials")
    section = credentials[profile]
    return {name: section[name] for name in ("aws_access_key_id", "aws_secret_access_key")}


def client(server: Server, service: str, credential: dict[str, str], region: str | None = None) -> Any:
    return boto3.client(
        service, endpoint_url=server.endpoint, region_name=region or server.region, config=CONFIG, **credential
    )


def account_of(server: Server, profile: str) -> Account:
    root = credentials_of(server, profile)
    sts = client(server, "sts", root)
    account = sts.get_caller_identity()["Account"]
    return Account(account, client(server, "iam", root), sts, both_processes(server, root), root)


def both_processes(server: Server, credential: Credential, service: str = "kms") -> list[Any]:
    """A client of each server process, in the order of their audit chains; it keeps its connection."""
    ask = {"kms": "list_keys", "iam": "list_users", "sts": "get_caller_identity"}[service]
    found: dict[str, Any] = {}
    deadline = time.monotonic() + START_SECONDS
    while len(found) < 2:
        assert time.monotonic() < deadline, "both processes take connections"
        one = client(server, service, credential)
        try:
            response = getattr(one, ask)()
        except ClientError as error:  # that it is refused says whom it asked too
            response = error.response
        found.setdefault(chain_of(server, response), one)
    return [found[chain] for chain in sorted(found)]


class User(NamedTuple):
    """An IAM user with an access key."""

    name: str
    arn: str
    user_id: str
    credential: Credential


def make_user(iam: Any, user_name: str | None = None) -> User:
    made = iam.create_user(UserName=user_name or name("user"))["User"]
    return User(made["UserName"], made["Arn"], made["UserId"], new_key(iam, made["UserName"]))


def new_key(iam: Any, user_name: str) -> Credential:
    key = iam.create_access_key(UserName=user_name)["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def delete_user(iam: Any, user: User) -> None:
    """Delete a user with its access keys and policies."""
    for key in iam.list_access_keys(UserName=user.name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user.name, AccessKeyId=key["AccessKeyId"])
    for policy_name in iam.list_user_policies(UserName=user.name)["PolicyNames"]:
        iam.delete_user_policy(UserName=user.name, PolicyName=policy_name)
    for policy in iam.list_attached_user_policies(UserName=user.name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=user.name, PolicyArn=policy["PolicyArn"])
    for group in iam.list_groups_for_user(UserName=user.name)["Groups"]:
        iam.remove_user_from_group(UserName=user.name, GroupName=group["GroupName"])
    iam.delete_user(UserName=user.name)


def assume(server: Server, credential: Credential, role: str, session: str = "work", **parameters: Any) -> Credential:
    """The credential of a session of a role."""
    sts = boto3.client(
        "sts",
        endpoint_url=server.endpoint,
        region_name=server.region,
        config=Config(retries={"total_max_attempts": 1}),
        **credential,
    )
    return of_session(sts.assume_role(RoleArn=role, RoleSessionName=session, **parameters))


def of_session(response: dict[str, Any]) -> Credential:
    found = response["Credentials"]
    return {
        "aws_access_key_id": found["AccessKeyId"],
        "aws_secret_access_key": found["SecretAccessKey"],
        "aws_session_token": found["SessionToken"],
    }


def acting(server: Server, credential: dict[str, str], named: str, nonce: str | None = None) -> Any:
    """A KMS client that names somebody in each request, with a fresh nonce unless one is given."""
    kms = client(server, "kms", credential)

    def add(request: Any, **_: object) -> None:
        request.headers["x-strongroom-on-behalf-of"] = named
        request.headers["x-strongroom-nonce"] = nonce or secrets.token_hex(16)

    kms.meta.events.register("before-sign.kms", add)
    return kms


def declare(server: Server, service: str, accounts: Iterable[str], operations: str) -> Credential:
    """Declare a service as the command does (tests/e2e/test_services.py has it run), and quicker."""
    config = read_config(server.data / "strongroom.yaml")
    profile = app.declare_service(config, service, tuple(accounts), operations.split(","), None, time.time())
    return credentials_of(server, profile)


def remove_service(server: Server, service: str) -> None:
    app.remove_service(read_config(server.data / "strongroom.yaml"), service, time.time())
