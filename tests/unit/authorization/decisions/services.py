"""AWS services and federated identities as principals."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ACCOUNT_ARN,
    ALICE,
    ALLOW,
    DELEGATE,
    DENY,
    SAML_PROVIDER_ARN,
    SAML_SESSION,
    SESSION,
    WEB_SESSION,
    Case,
    allow,
    deny,
    service,
)

_SERVICE = "IAM User Guide, AWS JSON policy elements: Principal: AWS service principals"
_WEB = "IAM User Guide, AWS JSON policy elements: Principal: Web identity session principals"
_SAML = "IAM User Guide, AWS JSON policy elements: Principal: SAML session principals"
_TRAIL = "CloudTrail User Guide, Configure AWS KMS key policies for CloudTrail: Granting encrypt permissions"
_DEPUTY = "IAM User Guide, The confused deputy problem: aws:SourceArn and aws:SourceAccount"
_BY_SERVICE = "IAM User Guide, AWS global condition context keys: aws:PrincipalIsAWSService"

_CLOUDTRAIL, _SNS = {"Service": "cloudtrail.amazonaws.com"}, {"Service": "sns.amazonaws.com"}
_TRAIL_ARN = f"arn:aws:cloudtrail:us-west-2:{ACCOUNT}:trail/Trail"
_OTHERS_TRAIL = "arn:aws:cloudtrail:us-west-2:999988887777:trail/Trail"
_ENCRYPTS = allow(_CLOUDTRAIL, "kms:GenerateDataKey*", {
    "StringEquals": {"aws:SourceArn": _TRAIL_ARN},
    "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": f"arn:aws:cloudtrail:*:{ACCOUNT}:trail/*"},
})  # fmt: skip
_FOR_ACCOUNT = allow(_SNS, "kms:Decrypt", {"StringEquals": {"aws:SourceAccount": ACCOUNT}})
_NOT_BY_SERVICES = deny("*", when={"Bool": {"aws:PrincipalIsAWSService": "true"}})


def _trail(name: str, expected: str, source: str, context: dict[str, str] | None, **more: Any) -> Case:
    return Case(
        name, _TRAIL, expected, [DELEGATE, _ENCRYPTS], more.pop("caller", service("cloudtrail.amazonaws.com")),
        action=more.pop("action", "kms:GenerateDataKey"), values={"aws:SourceArn": source}, context=context,
    )  # fmt: skip


_ITS = {"aws:cloudtrail:arn": _TRAIL_ARN}

CASES = (
    Case("a named service", _SERVICE, ALLOW, allow(_SNS), service("sns.amazonaws.com")),
    Case("one of two named services", _SERVICE, ALLOW, allow({"Service": ["sns.amazonaws.com", "sqs.amazonaws.com"]}),
         service("sqs.amazonaws.com")),
    Case("another service", _SERVICE, DENY, allow(_SNS), service("sqs.amazonaws.com")),
    Case("a service where only the account is named", _SERVICE, DENY, DELEGATE, service("sns.amazonaws.com")),
    Case("a user where a service is named", _SERVICE, DENY, allow(_SNS)),
    Case("a service against a deny", _SERVICE, DENY, [allow(_SNS), deny(_SNS)], service("sns.amazonaws.com")),
    Case("a service beside a deny for another", _SERVICE, ALLOW, [allow(_SNS), deny(_CLOUDTRAIL)],
         service("sns.amazonaws.com")),
    _trail("CloudTrail for the trail", ALLOW, _TRAIL_ARN, _ITS),
    _trail("CloudTrail for another account's trail", DENY, _OTHERS_TRAIL, {"aws:cloudtrail:arn": _OTHERS_TRAIL}),
    _trail("CloudTrail with another trail in its context", DENY, _TRAIL_ARN, {"aws:cloudtrail:arn": _OTHERS_TRAIL}),
    _trail("CloudTrail without a context", DENY, _TRAIL_ARN, {}),
    _trail("CloudTrail for another action", DENY, _TRAIL_ARN, _ITS, action="kms:Decrypt"),
    _trail("a user with CloudTrail's context", DENY, _TRAIL_ARN, _ITS, caller=ALICE),
    Case("a service for the account", _DEPUTY, ALLOW, _FOR_ACCOUNT, service("sns.amazonaws.com"),
         values={"aws:SourceAccount": ACCOUNT}),
    Case("a service for another account", _DEPUTY, DENY, _FOR_ACCOUNT, service("sns.amazonaws.com"),
         values={"aws:SourceAccount": "999988887777"}),
    Case("a service for nobody", _DEPUTY, DENY, _FOR_ACCOUNT, service("sns.amazonaws.com")),
    Case("no services: a service", _BY_SERVICE, DENY, [allow(_SNS), _NOT_BY_SERVICES], service("sns.amazonaws.com"),
         values={"aws:PrincipalIsAWSService": "true"}),
    Case("no services: a user", _BY_SERVICE, ALLOW, [allow(ALICE.arn), _NOT_BY_SERVICES],
         values={"aws:PrincipalIsAWSService": "false"}),
    # Federated identities
    Case("a session by the named web identity provider", _WEB, ALLOW,
         allow({"Federated": "cognito-identity.amazonaws.com"}), WEB_SESSION),
    Case("a session by another web identity provider", _WEB, DENY, allow({"Federated": "accounts.google.com"}),
         WEB_SESSION),
    Case("a session by no web identity provider", _WEB, DENY, allow({"Federated": "cognito-identity.amazonaws.com"}),
         SESSION),
    Case("a deny for a web identity provider", _WEB, DENY,
         [allow("*"), deny({"Federated": "cognito-identity.amazonaws.com"})], WEB_SESSION),
    Case("a deny for another web identity provider", _WEB, ALLOW,
         [allow("*"), deny({"Federated": "accounts.google.com"})], WEB_SESSION),
    Case("a session by the named SAML provider", _SAML, ALLOW, allow({"Federated": SAML_PROVIDER_ARN}), SAML_SESSION),
    Case("a session by another SAML provider", _SAML, DENY, allow({"Federated": SAML_PROVIDER_ARN + "2"}),
         SAML_SESSION),
    Case("a SAML session by its role", _SAML, ALLOW, allow(f"arn:aws:iam::{ACCOUNT}:role/SamlRole"), SAML_SESSION),
    Case("a SAML session where the account is named", _SAML, DENY, allow(ACCOUNT_ARN), SAML_SESSION),
)  # fmt: skip
