"""The accounts and people of the decision table on a server: users in groups, roles, sessions, services.

Each cast has accounts of its own, so that several can play at once. The table's texts tell of it once they are told
again with its account numbers and unique ids.
"""

import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from strongroom import app
from strongroom.config import read_config
from strongroom.model.principal import Principal
from strongroom.testing.server import Server
from tests.e2e.people import Credential, User, client, credentials_of, make_user, of_session
from tests.e2e.supposing import REGION
from tests.issuer import Issuer
from tests.unit.authorization.decisions.case import ACCOUNT, KEY_ID, OTHER, allow

THIRD = "999988887777"
OPEN = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}}
)
"""A key policy by which everybody may do everything."""
SHARED = json.dumps({"Version": "2012-10-17", "Statement": [allow(ACCOUNT), allow([OTHER, THIRD], "kms:CreateGrant")]})
"""The policy of a key until it gets the case's."""
USERS = {ACCOUNT: ("Alice", "Bob"), OTHER: ("Alice", "Olga", "Pavel")}
ROLES = {ACCOUNT: ("ExampleRole", "AnotherRole", "LimitedAdminRole", "Admin"), OTHER: ("ExternalRole",)}
WEB_ROLE = "WebRole"
SERVICES = ("cloudtrail", "ec2", "lambda", "rds", "sns", "sqs")
OPERATIONS = ("CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "PutKeyPolicy")
"""What the services may call."""


def prepare(data: Path, issuer: Issuer, casts: int) -> None:
    """Make an installation for so many casts."""
    app.initialize(data, region=REGION, port=0, account=THIRD, now=time.time())
    with (data / "strongroom.yaml").open("a") as file:
        file.write(f"web_identity: {{allow: ['{issuer.host}'], ca: {issuer.certificate}}}\n")
    config = read_config(data / "strongroom.yaml")
    accounts = [number for cast in range(casts) for number in _numbers(cast).values()]
    for account in accounts:
        app.create_account(config, account=account, now=time.time())
    for service in SERVICES:
        app.declare_service(config, service, accounts, OPERATIONS, None, time.time())


def _numbers(cast: int) -> dict[str, str]:
    """The table's account numbers and those of a cast."""
    return {account: f"{account[:-1]}{cast}" for account in (ACCOUNT, OTHER)}


class Cast:
    """One cast. `numbers` are its accounts; `iam` and `kms` ask as their root users."""

    def __init__(self, server: Server, issuer: Issuer, cast: int) -> None:
        self.server, self.issuer = server, issuer
        self.numbers = _numbers(cast)
        self.roots = {account: credentials_of(server, number) for account, number in self.numbers.items()}
        self.roots[THIRD] = credentials_of(server, "strongroom")
        self.iam = {account: client(server, "iam", self.roots[account]) for account in self.numbers}
        self.ids: dict[str, str] = {}
        """The table's unique ids, and the real ones."""
        self.users: dict[str, User] = {}
        """By the table's ARN; each is in a group of its name."""
        for account, names in USERS.items():
            for name in names:
                self._add_user(account, name)
        assumers = {account: make_user(self.iam[account], "Assumer") for account in ROLES}
        self.sts = {account: client(server, "sts", one.credential) for account, one in assumers.items()}
        for account, roles in ROLES.items():
            for role in roles:
                self._add_role(account, role, {"AWS": assumers[account].arn}, "sts:AssumeRole")
        made = self.iam[ACCOUNT].create_open_id_connect_provider(Url=issuer.url, ClientIDList=["app"])
        self.provider = made["OpenIDConnectProviderArn"]
        self._add_role(ACCOUNT, WEB_ROLE, {"Federated": self.provider}, "sts:AssumeRoleWithWebIdentity")
        self.clients: dict[tuple[str, str], Any] = {}
        self.open_key = self.owner().create_key(Policy=OPEN)["KeyMetadata"]["Arn"]
        self.open_blob = self.owner().encrypt(KeyId=self.open_key, Plaintext=b"x")["CiphertextBlob"]

    def _add_user(self, account: str, name: str) -> None:
        iam = self.iam[account]
        user = make_user(iam, name)
        iam.create_group(GroupName=name)
        iam.add_user_to_group(GroupName=name, UserName=name)
        self.users[f"arn:aws:iam::{account}:user/{name}"] = user
        self.ids.setdefault(f"AIDA{name.upper()}", user.user_id)

    def _add_role(self, account: str, role: str, trusted: Mapping[str, str], action: str) -> None:
        statement = {"Effect": "Allow", "Principal": trusted, "Action": action}
        trust = json.dumps({"Version": "2012-10-17", "Statement": statement})
        made = self.iam[account].create_role(RoleName=role, AssumeRolePolicyDocument=trust)
        self.ids[f"AROA{role.upper()}"] = made["Role"]["RoleId"]

    def told(self, text: str, key_id: str) -> str:
        """A text of the table with this cast's accounts, ids and provider, this key, and aliases of its own.

        A part of the table's key id becomes the like part, and another id of another last digit another such one.
        """
        for name, real in (self.numbers | self.ids).items():
            text = text.replace(name, real)
        text = text.replace('"cognito-identity.amazonaws.com"', f'"{self.provider}"')
        text = re.sub(r"alias/(\w+)", rf"alias/\1-{key_id[:8]}", text)

        def like(found: re.Match[str]) -> str:
            if len(found[0]) < len(KEY_ID) or found[0] == KEY_ID:
                return key_id[: len(found[0])]
            return key_id[:-1] + ("0" if key_id[-1] != "0" else "1")

        return re.sub(_PART, like, text)

    def kms(self, caller: Principal, region: str, service: str | None, session: str | None) -> Any:
        """A KMS client of a caller, or of a service in its name; it is kept unless it has a session policy."""
        if session is not None:
            return client(self.server, "kms", self._session(caller.arn, Policy=session), region)
        known = (f"{caller.arn} {service}", region)
        if known not in self.clients:
            made = client(self.server, "kms", self._credential(caller, service), region)
            if service is not None:
                made.meta.events.register("before-sign.kms", _naming(self.users[caller.arn].arn))
            self.clients[known] = made
        return self.clients[known]

    def owner(self, region: str = REGION, account: str = ACCOUNT) -> Any:
        """The KMS client of the root user of an account."""
        known = (account, region)
        if known not in self.clients:
            self.clients[known] = client(self.server, "kms", self.roots[account], region)
        return self.clients[known]

    def _credential(self, caller: Principal, service: str | None) -> Credential:
        if caller.kind == "AWSService":
            service = caller.arn.partition(".")[0]
        if service is not None:
            return credentials_of(self.server, f"service-{service}")
        if caller.kind == "Root":
            return self.roots[caller.account]
        return self.users[caller.arn].credential if caller.kind == "IAMUser" else self._session(caller.arn)

    def _session(self, arn: str, **limit: str) -> Credential:
        """The credential of the session of this ARN."""
        _, _, _, _, account, path = arn.split(":")
        _, role, name = path.split("/")
        asked = {"RoleArn": f"arn:aws:iam::{self.numbers[account]}:role/{role}", "RoleSessionName": name} | limit
        if role != WEB_ROLE:
            return of_session(self.sts[account].assume_role(**asked))
        config = Config(retries={"total_max_attempts": 1}, signature_version=UNSIGNED)
        sts = boto3.client("sts", endpoint_url=self.server.endpoint, region_name=REGION, config=config)
        return of_session(sts.assume_role_with_web_identity(**asked, WebIdentityToken=self.issuer.token()))


def _naming(arn: str) -> Any:
    """What has a service's requests name somebody, with a fresh nonce."""

    def name(request: Any, **_: object) -> None:
        request.headers["x-strongroom-on-behalf-of"] = arn
        request.headers["x-strongroom-nonce"] = secrets.token_hex(16)

    return name


def _beginning(characters: Sequence[str]) -> str:
    """A pattern of any beginning of these."""
    pattern = ""
    for character in reversed(characters):
        pattern = f"(?:{character}{pattern})?"
    return pattern


_PART = re.compile(KEY_ID[:8] + _beginning([*KEY_ID[8:-1], "[0-9a-f]"]))
"""The id of the table's key, its beginning, or the id that differs in its last digit."""
