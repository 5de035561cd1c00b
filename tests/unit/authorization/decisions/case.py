"""What a case of the decision table is, and the parts that cases are made of.

A policy is one statement or a list of them. A case says what differs from the usual one: Alice asks to decrypt with a
key of her own account, whose policy lets the account decide.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from strongroom.model.grant import Grant, GrantConstraints
from strongroom.model.principal import Principal

ALLOW, DENY, MALFORMED = "allow", "deny", "malformed"

ACCOUNT, OTHER = "111122223333", "444455556666"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
KEY_ARN = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/{KEY_ID}"
ALIAS_ARN = f"arn:aws:kms:us-west-2:{ACCOUNT}:alias/ExampleAlias"
ACCOUNT_ARN, OTHER_ACCOUNT_ARN = f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{OTHER}:root"


def _user(account: str, name: str) -> Principal:
    return Principal("IAMUser", f"arn:aws:iam::{account}:user/{name}", account, f"AIDA{name.upper()}", "AKIAUSER")


def _session(account: str, role: str, name: str, provider: str | None = None) -> Principal:
    arn, issuer = f"arn:aws:sts::{account}:assumed-role/{role}/{name}", f"arn:aws:iam::{account}:role/{role}"
    return Principal("AssumedRole", arn, account, f"AROA{role.upper()}:{name}", "ASIASESSION", issuer, provider)


def _federated(account: str, name: str, user: Principal) -> Principal:
    arn = f"arn:aws:sts::{account}:federated-user/{name}"
    return Principal("FederatedUser", arn, account, f"{account}:{name}", "ASIAFEDERATED", user.arn)


def _root(account: str) -> Principal:
    return Principal("Root", f"arn:aws:iam::{account}:root", account, account, "AKIAROOT")


ALICE, BOB = _user(ACCOUNT, "Alice"), _user(ACCOUNT, "Bob")
ROOT, OTHER_ROOT = _root(ACCOUNT), _root(OTHER)
SESSION, SECOND_SESSION = _session(ACCOUNT, "ExampleRole", "One"), _session(ACCOUNT, "ExampleRole", "Two")
OTHER_ROLE_SESSION = _session(ACCOUNT, "AnotherRole", "One")
ROLE_ARN, ANOTHER_ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/ExampleRole", f"arn:aws:iam::{ACCOUNT}:role/AnotherRole"
FEDERATED = _federated(ACCOUNT, "Fay", ALICE)
OTHER_USER, SECOND_OTHER_USER = _user(OTHER, "Olga"), _user(OTHER, "Pavel")
OTHER_SESSION = _session(OTHER, "ExternalRole", "One")
OTHER_ROLE_ARN = f"arn:aws:iam::{OTHER}:role/ExternalRole"
WEB_SESSION = _session(ACCOUNT, "WebRole", "One", "cognito-identity.amazonaws.com")
SAML_PROVIDER_ARN = f"arn:aws:iam::{ACCOUNT}:saml-provider/ExampleProvider"
SAML_SESSION = _session(ACCOUNT, "SamlRole", "One", SAML_PROVIDER_ARN)


def service(name: str) -> Principal:
    """An AWS service that asks on its own account, such as `cloudtrail.amazonaws.com`."""
    return Principal("AWSService", name, "", name, "")


Statement = Mapping[str, Any]
Policy = Statement | Sequence[Statement] | str
"""One statement, several, or (for what is malformed) the text of a document."""


NO_RESOURCE = "because no resource-based policy allows the {action} action"
NO_IDENTITY = "because no identity-based policy allows the {action} action"
NO_BOUNDARY = "because no permissions boundary allows the {action} action"
NO_SESSION = "because no session policy allows the {action} action"
RESOURCE_DENIES = "with an explicit deny in a resource-based policy"
IDENTITY_DENIES = "with an explicit deny in an identity-based policy"
BOUNDARY_DENIES = "with an explicit deny in a permissions boundary"
SESSION_DENIES = "with an explicit deny in a session policy"
HIDDEN = (
    "on this resource because the resource does not exist in this Region, no resource-based policies allow access, "
    "or a resource-based policy explicitly denies access"
)

Names = str | Sequence[str]
Condition = Mapping[str, Mapping[str, Any]]


def allow(who: Any, action: Names = "kms:*", when: Condition | None = None, **changed: Any) -> Statement:
    """A statement of a key policy that allows; `who` is an ARN or several, `*`, or a whole Principal element."""
    return _statement("Allow", action, when, {"Principal": _principals(who), **changed})


def deny(who: Any, action: Names = "kms:*", when: Condition | None = None, **changed: Any) -> Statement:
    """A statement of a key policy that denies."""
    return _statement("Deny", action, when, {"Principal": _principals(who), **changed})


def may(action: Names = "kms:*", when: Condition | None = None, **changed: Any) -> Statement:
    """A statement of an identity-based policy, a boundary or a session policy that allows."""
    return _statement("Allow", action, when, changed)


def must_not(action: Names = "kms:*", when: Condition | None = None, **changed: Any) -> Statement:
    """A statement of an identity-based policy, a boundary or a session policy that denies."""
    return _statement("Deny", action, when, changed)


def _principals(who: Any) -> Any:
    return who if who == "*" or isinstance(who, dict) or who is None else {"AWS": who}


def _statement(effect: str, action: Names, when: Condition | None, changed: Mapping[str, Any]) -> Statement:
    whole = {"Effect": effect, "Action": action, "Resource": "*", "Condition": when, **changed}
    return {name: value for name, value in whole.items() if value is not None}


DELEGATE = allow(ACCOUNT_ARN)
"""The statement of the default key policy: the account's own policies decide."""


class Case(NamedTuple):
    """Who asks for what, under which policies and grants, and what AWS's documentation says comes of it.

    `rule` names the page of AWS's documentation and the section. `values` are the request's condition keys beside those
    of the caller and of the encryption `context`. `because` is how the refusal ends.
    """

    name: str
    rule: str
    expected: str
    key_policy: Policy = DELEGATE
    caller: Principal = ALICE
    policies: Sequence[Policy] = ()
    boundary: Policy | None = None
    session: Policy | None = None
    grants: Sequence[Grant] = ()
    action: str = "kms:Decrypt"
    resource: str = KEY_ARN
    values: Mapping[str, str | tuple[str, ...]] = {}
    context: Mapping[str, str] | None = None
    proposed: tuple[frozenset[str], GrantConstraints] | None = None
    because: str = ""
    version: str = "2012-10-17"


def grant(grantee: str, operations: Sequence[str] = ("Decrypt",), **changed: Any) -> Grant:
    """A grant on the key; `equals` and `subset` are its encryption context constraints, `source_arn` the third."""
    constraints = GrantConstraints(
        changed.pop("subset", None), changed.pop("equals", None), changed.pop("source_arn", None)
    )
    to_service = not grantee.startswith("arn:")
    return Grant(
        account=ACCOUNT,
        region="us-west-2",
        key_id=KEY_ID,
        grant_id=changed.pop("grant_id", "ab" * 32),
        created=0.0,
        issuing_account=changed.pop("issuing_account", ACCOUNT),
        operations=tuple(operations),
        grantee_principal=None if to_service else grantee,
        grantee_service=grantee if to_service else None,
        constraints=constraints,
        **changed,
    )


def conditional(name: str, rule: str, expected: str, when: Condition, **asked: Any) -> Case:
    """Alice is allowed by name where the condition holds."""
    return Case(name, rule, expected, allow(ALICE.arn, when=when), **asked)


def forbidden(name: str, rule: str, expected: str, when: Condition, **asked: Any) -> Case:
    """Alice is allowed by name, and denied where the condition holds."""
    return Case(name, rule, expected, [allow(ALICE.arn), deny(ALICE.arn, when=when)], **asked)
