"""AssumeRoleWithWebIdentity, once the issuer's keys are known."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from strongroom.sigv4.signing import Credential
from strongroom.web_identity.issuers import Issuers
from strongroom.web_identity.tokens import Key
from tests.composed import NOW
from tests.unit.operations.iam.account import ACCOUNT, ARN, POWER_USER, Account, document

ISSUER = "https://issuer.example/a"
PROVIDER = f"{ARN}oidc-provider/issuer.example/a"
HOUR = 3_600
PRIVATE = ec.generate_private_key(ec.SECP256R1())


def token(**claims: Any) -> str:
    stated = {"iss": ISSUER, "sub": "job-1", "aud": "app", "iat": int(NOW), "exp": int(NOW) + 600} | claims
    return jwt.encode(stated, PRIVATE, "ES256", headers={"kid": "k"})


def trust(**equal: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"issuer.example/a:aud": "app"} | equal},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def trusting(account: Account) -> Iterator[Account]:
    """The account with a provider whose key is known, and the role `job` that trusts it and may list users."""
    account.call("CreateOpenIDConnectProvider", Url=ISSUER, ClientIDList=["app", "other"])
    account.call("CreateRole", RoleName="job", AssumeRolePolicyDocument=trust(), MaxSessionDuration=7_200)
    account.call("PutRolePolicy", RoleName="job", PolicyName="p", PolicyDocument=document(["iam:List*", "sts:*"]))

    async def keys(_self: Issuers, issuer: str, *_arguments: object, **_options: object) -> Sequence[Key]:
        assert issuer == ISSUER
        return [Key("k", "ES256", PRIVATE.public_key())]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Issuers, "keys", keys)
        yield account


def request(**members: Any) -> dict[str, Any]:
    asked = {"RoleArn": f"{ARN}role/job", "RoleSessionName": "work", "WebIdentityToken": token()}
    return {"service": "sts"} | asked | members


def assume(account: Account, **members: Any) -> Any:
    return account.call("AssumeRoleWithWebIdentity", **request(**members))


def refused(account: Account, **members: Any) -> tuple[str, str | None]:
    return account.refusal("AssumeRoleWithWebIdentity", **request(**members))


def session(account: Account, response: Any) -> Account:
    given = response.credentials
    return account.by(Credential(given.access_key_id, given.secret_access_key, given.session_token))


def test_a_session_is_made_for_whom_the_provider_vouches(trusting: Account) -> None:
    response = assume(trusting)
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/job/work"
    assert (response.subject_from_web_identity_token, response.audience, response.provider) == (
        "job-1",
        "app",
        PROVIDER,
    )
    assert (response.assumed_role_user.arn, response.credentials.expiration) == (arn, NOW + HOUR)
    assert response.packed_policy_size is response.source_identity is None
    by = session(trusting, response)
    assert by.call("GetCallerIdentity", service="sts").arn == arn
    by.call("ListUsers")
    assert by.refusal("CreateUser", UserName="x")[0] == "AccessDenied"


def test_neither_the_token_nor_what_it_gives_is_told_elsewhere(trusting: Account) -> None:
    stated = request()
    response = trusting.call("AssumeRoleWithWebIdentity", **stated)
    record = trusting.parts.records()[-1]
    given = response.credentials
    for secret in (stated["WebIdentityToken"], given.secret_access_key, given.session_token):
        assert secret not in json.dumps(trusting.parts.records())
        assert secret not in repr(response)
    assert record["requestParameters"] == {"roleArn": f"{ARN}role/job", "roleSessionName": "work"}
    assert record["responseElements"]["subjectFromWebIdentityToken"] == "job-1"
    assert record["userIdentity"]["type"] == "WebIdentityUser"


def test_a_session_lasts_as_long_as_its_role_allows(trusting: Account) -> None:
    for seconds in (900, 7_200):
        assert assume(trusting, DurationSeconds=seconds).credentials.expiration == NOW + seconds
    too_long = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    assert refused(trusting, DurationSeconds=7_201) == ("ValidationError", too_long)
    assert refused(trusting, DurationSeconds=899)[0] == "ValidationError"


def test_a_session_of_such_a_session_lasts_an_hour_at_most(trusting: Account) -> None:
    by = session(trusting, assume(trusting, DurationSeconds=7_200))
    own = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    trusted = json.dumps({"Version": "2012-10-17", "Statement": own})
    name = trusting.name("next")
    trusting.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=trusted, MaxSessionDuration=7_200)
    asked = {"service": "sts", "RoleArn": f"{ARN}role/{name}", "RoleSessionName": "work"}
    assert by.call("AssumeRole", **asked).credentials.expiration == NOW + HOUR
    assert by.refusal("AssumeRole", **asked, DurationSeconds=HOUR + 1)[0] == "ValidationError"
    assert by.refusal("GetSessionToken", service="sts")[0] == "AccessDenied"


def test_session_policies_limit_what_the_role_may(trusting: Account) -> None:
    by = session(trusting, assume(trusting, Policy=document("iam:ListRoles")))
    by.call("ListRoles")
    assert by.refusal("ListUsers")[0] == "AccessDenied"
    by = session(trusting, assume(trusting, PolicyArns=[{"arn": POWER_USER}]))
    by.call("ListUsers")
    assert by.refusal("ListPolicies")[0] == "AccessDenied"
    assert refused(trusting, Policy="{")[0] == "MalformedPolicyDocument"
    assert refused(trusting, PolicyArns=[{"arn": POWER_USER}] * 11)[0] == "ValidationError"


def test_the_trust_policy_decides_and_a_refusal_tells_nothing(trusting: Account) -> None:
    told = ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    assert refused(trusting, WebIdentityToken=token(aud="other")) == told
    assert refused(trusting, RoleArn=f"{ARN}role/none") == told
    name = trusting.name("only")
    trusting.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=trust(**{"issuer.example/a:sub": "job-2"}))
    assert refused(trusting, RoleArn=f"{ARN}role/{name}") == told
    assume(trusting, RoleArn=f"{ARN}role/{name}", WebIdentityToken=token(sub="job-2"))
    trusting.call("UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=trust(**{"sts:RoleSessionName": "nightly"}))
    assert refused(trusting, RoleArn=f"{ARN}role/{name}") == told
    assume(trusting, RoleArn=f"{ARN}role/{name}", RoleSessionName="nightly")


def test_a_token_does_not_do_for_assume_role(trusting: Account) -> None:
    """Who is vouched for assumes a role in this way alone: a policy that lets the provider AssumeRole lets nobody."""
    name = trusting.name("plain")
    text = trust().replace("sts:AssumeRoleWithWebIdentity", "sts:AssumeRole")
    trusting.call("CreateRole", RoleName=name, AssumeRolePolicyDocument=text)
    assert refused(trusting, RoleArn=f"{ARN}role/{name}")[0] == "AccessDenied"


def test_a_provider_that_is_gone_vouches_for_nobody(trusting: Account) -> None:
    url = f"{ISSUER}/gone"
    trusting.call("CreateOpenIDConnectProvider", Url=url, ClientIDList=["app"])
    trusting.call("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=f"{ARN}oidc-provider/issuer.example/a/gone")
    told = ("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {url}")
    assert refused(trusting, WebIdentityToken=token(iss=url)) == told
