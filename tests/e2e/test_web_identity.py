"""Roles for whom an identity provider vouches, over a server of two processes and a real issuer."""

import base64
import json
import secrets
import time
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from strongroom.testing.server import Server
from tests.e2e.conftest import first_account
from tests.e2e.people import client, credentials_of
from tests.issuer import Issuer
from tests.records import record_of_request, recorded


class Trusting:
    """A role that trusts the issuer for one audience and one subject, and may encrypt; and who looks after it."""

    def __init__(self, server: Server, issuer: Issuer) -> None:
        self.server, self.issuer = server, issuer
        root = credentials_of(server, first_account(server))
        self.iam = client(server, "iam", root)
        self.kms = client(server, "kms", root)
        self.account = client(server, "sts", root).get_caller_identity()["Account"]
        config = Config(retries={"total_max_attempts": 1}, signature_version=UNSIGNED)
        self.sts = boto3.client("sts", endpoint_url=server.endpoint, region_name=server.region, config=config)
        self.url = issuer.url.removeprefix("https://")
        self.provider = self.iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["app", "second"])[
            "OpenIDConnectProviderArn"
        ]
        self.name = f"job-{secrets.token_hex(4)}"
        self.role = self.iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=self.trust())["Role"]["Arn"]
        allowed = {"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        self.iam.put_role_policy(RoleName=self.name, PolicyName="encrypt", PolicyDocument=document)
        self.key = self.kms.create_key()["KeyMetadata"]["KeyId"]

    def trust(self, **conditions: str) -> str:
        equal = {f"{self.url}:aud": "app", f"{self.url}:sub": "job-1"} | conditions
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": self.provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": equal},
        }
        return json.dumps({"Version": "2012-10-17", "Statement": statement})

    def assume(self, token: str, **parameters: Any) -> dict[str, Any]:
        asked = {"RoleArn": self.role, "RoleSessionName": "work", "WebIdentityToken": token} | parameters
        found: dict[str, Any] = self.sts.assume_role_with_web_identity(**asked)
        return found

    def refused(self, token: str, **parameters: Any) -> tuple[str, str]:
        with pytest.raises(ClientError) as caught:
            self.assume(token, **parameters)
        error = caught.value.response["Error"]
        return error["Code"], error["Message"]

    def session(self, assumed: dict[str, Any]) -> Any:
        found = assumed["Credentials"]
        return boto3.client(
            "kms",
            endpoint_url=self.server.endpoint,
            region_name=self.server.region,
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
            config=Config(retries={"total_max_attempts": 1}),
        )


@pytest.fixture(scope="module")
def trusting(pair: Server, issuer: Issuer) -> Trusting:
    return Trusting(pair, issuer)


NOT_AUTHORIZED = ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")


@pytest.mark.parametrize("key_id", ["rsa", "ec"])
def test_whom_the_provider_vouches_for_gets_a_session(trusting: Trusting, issuer: Issuer, key_id: str) -> None:
    assumed = trusting.assume(issuer.token(key_id))
    assert assumed["SubjectFromWebIdentityToken"] == "job-1"
    assert (assumed["Audience"], assumed["Provider"]) == ("app", trusting.provider)
    arn = f"arn:aws:sts::{trusting.account}:assumed-role/{trusting.name}/work"
    assert assumed["AssumedRoleUser"]["Arn"] == arn
    used = trusting.session(assumed).encrypt(KeyId=trusting.key, Plaintext=b"x")
    session = record_of_request(trusting.server.data, used)["userIdentity"]
    assert session["sessionContext"]["webIdFederationData"]["federatedProvider"] == trusting.provider
    identity = record_of_request(trusting.server.data, assumed)["userIdentity"]
    assert identity == {
        "type": "WebIdentityUser",
        "principalId": f"{trusting.provider}:app:job-1",
        "userName": "job-1",
        "identityProvider": trusting.provider,
    }


def test_the_trust_policy_decides_on_audience_and_subject(trusting: Trusting, issuer: Issuer) -> None:
    assert trusting.refused(issuer.token(aud="second")) == NOT_AUTHORIZED
    assert trusting.refused(issuer.token(sub="job-2")) == NOT_AUTHORIZED
    missing = trusting.refused(issuer.token(), RoleArn=f"arn:aws:iam::{trusting.account}:role/nobody")
    assert missing == NOT_AUTHORIZED


def test_a_role_that_trusts_anybody_trusts_no_provider(trusting: Trusting, issuer: Issuer) -> None:
    anybody = {"Effect": "Allow", "Principal": "*", "Action": "sts:*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": anybody})
    trusting.iam.update_assume_role_policy(RoleName=trusting.name, PolicyDocument=document)
    assert trusting.refused(issuer.token()) == NOT_AUTHORIZED
    trusting.iam.update_assume_role_policy(RoleName=trusting.name, PolicyDocument=trusting.trust())
    trusting.assume(issuer.token())


def test_a_token_that_is_no_good_is_a_strangers(trusting: Trusting, issuer: Issuer) -> None:
    now = int(time.time())
    codes = [
        trusting.refused(issuer.token(aud="other"))[0],
        trusting.refused(issuer.token(iat=now - 700, exp=now - 100))[0],
        trusting.refused(issuer.token(iss="https://unregistered.example"))[0],
        trusting.refused(issuer.token()[:-8] + "AAAAAAAA")[0],
        trusting.refused("not a token")[0],
    ]
    assert codes == ["InvalidIdentityToken", "ExpiredTokenException", *["InvalidIdentityToken"] * 3]
    told = [record.get("errorCode") for record in recorded(trusting.server.data)]
    assert not {"InvalidIdentityToken", "ExpiredTokenException"} & set(told)


def test_a_token_that_cannot_be_told_of_has_an_answer_too(trusting: Trusting, issuer: Issuer) -> None:
    """What the issuer's name cannot be in an answer, and what no honest library writes."""
    good: dict[str, Any] = {"iss": issuer.url, "sub": "job-1", "aud": "app", "iat": 1, "exp": 2**31}
    odd: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"alg": []}, good),
        ({"alg": "RS256", "kid": []}, good),
        ({"alg": "RS256"}, good | {"iss": "https://\ud800"}),
        ({"alg": "RS256"}, good | {"iss": "https://\x00"}),
    ]
    for header, claims in odd:
        parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims))
        assert trusting.refused(f"{'.'.join(parts)}.AAAA")[0] == "InvalidIdentityToken"


def test_a_provider_that_is_taken_away_vouches_for_nobody_at_once(trusting: Trusting, issuer: Issuer) -> None:
    assumed = trusting.assume(issuer.token())
    trusting.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=trusting.provider)
    for _ in range(4):
        code, text = trusting.refused(issuer.token())
        assert (code, text) == (
            "InvalidIdentityToken",
            f"No OpenIDConnect provider found in your account for {issuer.url}",
        )
    trusting.session(assumed).encrypt(KeyId=trusting.key, Plaintext=b"x")  # as at AWS: sessions go on
    trusting.iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["app", "second"])
    trusting.assume(issuer.token())


def test_keys_that_the_issuer_changes_are_taken_up(trusting: Trusting, issuer: Issuer) -> None:
    trusting.assume(issuer.token())
    token = issuer.token()
    issuer.keys["forged"] = issuer.keys["ec"]
    forged = issuer.token("forged")
    del issuer.keys["forged"]
    assert trusting.refused(forged)[0] == "InvalidIdentityToken"
    trusting.assume(token)


def test_a_session_policy_and_a_duration_limit_the_session(trusting: Trusting, issuer: Issuer) -> None:
    nothing = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
    limited = trusting.session(trusting.assume(issuer.token(), Policy=nothing))
    with pytest.raises(ClientError, match="no session policy allows"):
        limited.encrypt(KeyId=trusting.key, Plaintext=b"x")
    assert trusting.refused(issuer.token(), DurationSeconds=7200)[0] == "ValidationError"
    assumed = trusting.assume(issuer.token(), DurationSeconds=900)
    assert 880 < assumed["Credentials"]["Expiration"].timestamp() - time.time() <= 900
