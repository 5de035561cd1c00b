"""The kinds of policy together, in the key's own account."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALICE,
    ALLOW,
    BOB,
    DELEGATE,
    DENY,
    FEDERATED,
    KEY_ARN,
    NO_BOUNDARY,
    NO_IDENTITY,
    NO_RESOURCE,
    NO_SESSION,
    ROLE_ARN,
    ROOT,
    SESSION,
    Case,
    allow,
    may,
)

_LOGIC = "IAM User Guide, How AWS enforcement code logic evaluates requests: Resource-based policies"
_USER, _ROLE = f"{_LOGIC}: IAM user", f"{_LOGIC}: IAM role"
_SESSION, _FEDERATED = f"{_LOGIC}: IAM role session", f"{_LOGIC}: AWS STS federated user principals"
_KMS = "KMS Developer Guide, Key policies: IAM policies need the key policy's permission to be effective"
_DEFAULT = "KMS Developer Guide, Default key policy: Allows access to the AWS account and enables IAM policies"
_BOUNDARIES = (
    "IAM User Guide, Permissions boundaries for IAM entities: Evaluating effective permissions with boundaries"
)
_POLICIES = "IAM User Guide, Policies and permissions in IAM: Session policies"
_ANYBODY = "IAM User Guide, AWS JSON policy elements: Principal: IAM role principals: aws:PrincipalArn with a wildcard"
_TOKEN = "AWS STS API Reference, GetFederationToken: Permissions"
_UNION = (
    "IAM User Guide, Policy evaluation for requests within a single account: Identity-based policies "
    "with resource-based policies"
)

_THIS, _OTHER = may("kms:Decrypt"), may("kms:Encrypt")
_WHEN_ALICE = {"ArnEquals": {"aws:PrincipalArn": ALICE.arn}}
_WHEN_ROLE = {"ArnEquals": {"aws:PrincipalArn": ROLE_ARN}}
_EVERYBODY_WHEN_ROLE = allow("*", when=_WHEN_ROLE)


def _delegated(name: str, rule: str, expected: str, because: str = "", **policies: Any) -> Case:
    return Case(f"the account decides: {name}", rule, expected, DELEGATE, because=because, **policies)


CASES = (
    # Where the key policy lets the account decide, every kind of policy there is must allow.
    _delegated("a user's policy allows", _DEFAULT, ALLOW, policies=[_THIS]),
    _delegated("a user's policy allows another action", _DEFAULT, DENY, NO_IDENTITY, policies=[_OTHER]),
    _delegated("a user's second policy allows", _DEFAULT, ALLOW, policies=[_OTHER, _THIS]),
    _delegated("a session's policy allows", _DEFAULT, ALLOW, caller=SESSION, policies=[_THIS]),
    _delegated("a session's policy allows another action", _DEFAULT, DENY, NO_IDENTITY, caller=SESSION,
               policies=[_OTHER]),
    _delegated("boundary and policy allow", _BOUNDARIES, ALLOW, policies=[may()], boundary=_THIS),
    _delegated("only the policy allows", _BOUNDARIES, DENY, NO_BOUNDARY, policies=[may()], boundary=_OTHER),
    _delegated("only the boundary allows", _BOUNDARIES, DENY, NO_IDENTITY, policies=[_OTHER], boundary=may()),
    _delegated("a boundary alone gives nothing", _BOUNDARIES, DENY, NO_IDENTITY, boundary=may()),
    _delegated("a boundary for another service", _BOUNDARIES, DENY, NO_BOUNDARY, policies=[may()],
               boundary=may(["s3:*", "ec2:*"])),
    _delegated("session policy and policy allow", _POLICIES, ALLOW, caller=SESSION, policies=[may()], session=_THIS),
    _delegated("only the role's policy allows", _POLICIES, DENY, NO_SESSION, caller=SESSION, policies=[may()],
               session=_OTHER),
    _delegated("only the session policy allows", _POLICIES, DENY, NO_IDENTITY, caller=SESSION, policies=[_OTHER],
               session=may()),
    _delegated("a session policy alone gives nothing", _POLICIES, DENY, NO_IDENTITY, caller=SESSION, session=may()),
    _delegated("all three allow", _BOUNDARIES, ALLOW, caller=SESSION, policies=[_THIS], boundary=_THIS, session=_THIS),
    _delegated("all but the boundary allow", _BOUNDARIES, DENY, NO_BOUNDARY, caller=SESSION, policies=[_THIS],
               boundary=_OTHER, session=_THIS),
    _delegated("all but the session policy allow", _BOUNDARIES, DENY, NO_SESSION, caller=SESSION, policies=[_THIS],
               boundary=_THIS, session=_OTHER),
    _delegated("all but the role's policy allow", _BOUNDARIES, DENY, NO_IDENTITY, caller=SESSION, policies=[_OTHER],
               boundary=_THIS, session=_THIS),
    _delegated("a federated user within the user's policy", _POLICIES, ALLOW, caller=FEDERATED, policies=[may()],
               session=_THIS),
    _delegated("a federated user beyond the session policy", _POLICIES, DENY, NO_SESSION, caller=FEDERATED,
               policies=[may()], session=_OTHER),
    _delegated("a federated user beyond the user's policy", _POLICIES, DENY, NO_IDENTITY, caller=FEDERATED,
               policies=[_OTHER], session=may()),
    _delegated("a federated user with no session policy", _TOKEN, DENY, caller=FEDERATED, policies=[may()]),
    _delegated("a policy for this key", _DEFAULT, ALLOW, policies=[may(Resource=KEY_ARN)]),
    _delegated("the root user needs no policies", _DEFAULT, ALLOW, caller=ROOT),
    Case("the account decides: only what it is given", _DEFAULT, DENY, allow(ACCOUNT, "kms:Encrypt"), policies=[may()],
         because=NO_RESOURCE),
    Case("the account decides: where a condition holds", _DEFAULT, ALLOW, allow(ACCOUNT, when=_WHEN_ALICE),
         policies=[may()]),
    Case("the account decides: where a condition does not hold", _DEFAULT, DENY, allow(ACCOUNT, when=_WHEN_ALICE), BOB,
         [may()],
         because=NO_RESOURCE),
    Case("the account does not decide", _KMS, DENY, allow(BOB.arn), policies=[may()], because=NO_RESOURCE),
    Case("the account does not decide on this action", _KMS, DENY, [allow(BOB.arn), allow(ACCOUNT, "kms:Describe*")],
         policies=[may()]),
    # Where the key policy names the caller, what the others leave out does not matter.
    Case("a named user without policies", _USER, ALLOW, allow(ALICE.arn)),
    Case("a named user whose policy leaves it out", _USER, ALLOW, allow(ALICE.arn), policies=[_OTHER]),
    Case("a named user whose boundary leaves it out", _USER, ALLOW, allow(ALICE.arn), boundary=_OTHER),
    Case("a named user whose policy and boundary leave it out", _USER, ALLOW, allow(ALICE.arn), policies=[_OTHER],
         boundary=_OTHER),
    Case("a named session without policies", _SESSION, ALLOW, allow(SESSION.arn), SESSION),
    Case("a named session whose boundary leaves it out", _SESSION, ALLOW, allow(SESSION.arn), SESSION, boundary=_OTHER),
    Case("a named session whose session policy leaves it out", _SESSION, ALLOW, allow(SESSION.arn), SESSION,
         session=_OTHER),
    Case("a named session which all leave out", _SESSION, ALLOW, allow(SESSION.arn), SESSION, [_OTHER], _OTHER, _OTHER),
    Case("a named federated user whose session policy leaves it out", _FEDERATED, ALLOW, allow(FEDERATED.arn),
         FEDERATED, session=_OTHER),
    Case("a named federated user whose boundary leaves it out", _FEDERATED, ALLOW, allow(FEDERATED.arn), FEDERATED,
         boundary=_OTHER, session=_OTHER),
    Case("a named federated user without session policy", _TOKEN, ALLOW, allow(FEDERATED.arn), FEDERATED),
    # Where it names the role of a session or the user of a federated one, boundary and session policy limit.
    Case("a named role without policies", _ROLE, ALLOW, allow(ROLE_ARN), SESSION),
    Case("a named role whose policy leaves it out", _ROLE, ALLOW, allow(ROLE_ARN), SESSION, [_OTHER]),
    Case("a named role whose boundary allows", _ROLE, ALLOW, allow(ROLE_ARN), SESSION, boundary=_THIS),
    Case("a named role whose boundary leaves it out", _ROLE, DENY, allow(ROLE_ARN), SESSION, boundary=_OTHER,
         because=NO_BOUNDARY),
    Case("a named role whose session policy allows", _ROLE, ALLOW, allow(ROLE_ARN), SESSION, session=_THIS),
    Case("a named role whose session policy leaves it out", _ROLE, DENY, allow(ROLE_ARN), SESSION, session=_OTHER,
         because=NO_SESSION),
    Case("a named role whose boundary and session policy allow", _ROLE, ALLOW, allow(ROLE_ARN), SESSION, [], _THIS,
         _THIS),
    Case("a named role whose boundary alone allows", _ROLE, DENY, allow(ROLE_ARN), SESSION, [], _THIS, _OTHER,
         because=NO_SESSION),
    Case("a named role whose session policy alone allows", _ROLE, DENY, allow(ROLE_ARN), SESSION, [], _OTHER, _THIS,
         because=NO_BOUNDARY),
    Case("a named user's federated session within its policy", _FEDERATED, ALLOW, allow(ALICE.arn), FEDERATED,
         session=_THIS),
    Case("a named user's federated session beyond its policy", _FEDERATED, DENY, allow(ALICE.arn), FEDERATED,
         session=_OTHER, because=NO_SESSION),
    Case("a named user's federated session beyond the boundary", _FEDERATED, DENY, allow(ALICE.arn), FEDERATED,
         boundary=_OTHER, session=_THIS,
         because=NO_BOUNDARY),
    Case("a named user's federated session without policy", _TOKEN, DENY, allow(ALICE.arn), FEDERATED),
    # Everybody
    Case("everybody, whose boundary leaves it out", _ANYBODY, ALLOW, allow("*"), boundary=_OTHER),
    Case("everybody, whose session policy leaves it out", _ANYBODY, ALLOW, allow("*"), SESSION, session=_OTHER),
    Case("everybody where it is the role", _ANYBODY, ALLOW, _EVERYBODY_WHEN_ROLE, SESSION),
    Case("everybody where it is the role, which all leave out", _ANYBODY, ALLOW, _EVERYBODY_WHEN_ROLE, SESSION,
         [_OTHER], _OTHER, _OTHER),
    Case("everybody where it is the role, for a user", _ANYBODY, DENY, _EVERYBODY_WHEN_ROLE, because=NO_RESOURCE),
    # Either is enough
    Case("key policy and identity policy both allow", _UNION, ALLOW, [DELEGATE, allow(ALICE.arn)], policies=[may()]),
    Case("only the key policy allows by name", _UNION, ALLOW, [DELEGATE, allow(ALICE.arn)]),
    Case("only the identity policy allows", _UNION, ALLOW, [DELEGATE, allow(BOB.arn)], policies=[may()]),
    Case("neither allows", _UNION, DENY, [DELEGATE, allow(BOB.arn)], because=NO_IDENTITY),
    Case("the role, then the account, is named", _UNION, ALLOW, [allow(ROLE_ARN), DELEGATE], SESSION),
    Case("the account, then the role, is named", _UNION, ALLOW, [DELEGATE, allow(ROLE_ARN)], SESSION),
    Case("by name although the boundary stops the account's way", _UNION, ALLOW, [DELEGATE, allow(ALICE.arn)],
         policies=[may()], boundary=_OTHER),
)  # fmt: skip
