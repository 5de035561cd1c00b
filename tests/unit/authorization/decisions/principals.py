"""Whom a statement of a key policy means."""

from typing import Any

from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ACCOUNT_ARN,
    ALICE,
    ALLOW,
    ANOTHER_ROLE_ARN,
    BOB,
    DENY,
    FEDERATED,
    NO_RESOURCE,
    OTHER,
    OTHER_ACCOUNT_ARN,
    OTHER_ROLE_SESSION,
    OTHER_ROOT,
    OTHER_USER,
    RESOURCE_DENIES,
    ROLE_ARN,
    ROOT,
    SECOND_OTHER_USER,
    SECOND_SESSION,
    SESSION,
    Case,
    allow,
    deny,
    may,
)

_PAGE = "IAM User Guide, AWS JSON policy elements: Principal"
_SPECIFYING = f"{_PAGE}: Specifying a principal"
_ACCOUNTS = f"{_PAGE}: AWS account principals"
_USERS = f"{_PAGE}: IAM user principals"
_ROLES = f"{_PAGE}: IAM role principals"
_SESSIONS = f"{_PAGE}: Assumed-role session principals"
_FEDERATED = f"{_PAGE}: AWS STS federated user session principals"
_ALL = f"{_PAGE}: All principals"
_NOT = "IAM User Guide, AWS JSON policy elements: NotPrincipal: NotPrincipal with Deny"
_DEFAULT = "KMS Developer Guide, Default key policy: Allows access to the AWS account and enables IAM policies"

_ONLY_ALICE: dict[str, Any] = {"NotPrincipal": {"AWS": [ALICE.arn, ACCOUNT_ARN]}}
_ONLY_OLGA: dict[str, Any] = {"NotPrincipal": {"AWS": [OTHER_USER.arn, OTHER_ACCOUNT_ARN]}}
_ONLY_ONE: dict[str, Any] = {"NotPrincipal": {"AWS": [SESSION.arn, ROLE_ARN, ACCOUNT_ARN]}}
_ONLY_ROLE: dict[str, Any] = {"NotPrincipal": {"AWS": [ROLE_ARN, ACCOUNT_ARN]}}

CASES = (
    # Users
    Case("a user named by ARN", _USERS, ALLOW, allow(ALICE.arn)),
    Case("a user beside the named one", _USERS, DENY, allow(BOB.arn), because=NO_RESOURCE),
    Case("a user name in another case", _USERS, DENY, allow(ALICE.arn.replace("Alice", "alice"))),
    Case("a user of the same name in another account", _USERS, DENY, allow(ALICE.arn.replace(ACCOUNT, OTHER))),
    Case("a user with the named one's name under a path", _USERS, DENY, allow(ALICE.arn.replace("Alice", "a/Alice"))),
    Case("the first of a list of principals", _SPECIFYING, ALLOW, allow([ALICE.arn, BOB.arn])),
    Case("the last of a list of principals", _SPECIFYING, ALLOW, allow([BOB.arn, ALICE.arn])),
    Case("nobody of a list of principals", _SPECIFYING, DENY, allow([BOB.arn, ROLE_ARN]), because=NO_RESOURCE),
    Case("a user beside an account", _SPECIFYING, ALLOW, allow([OTHER, ALICE.arn])),
    Case("a user beside a service", _SPECIFYING, ALLOW, allow({"AWS": ALICE.arn, "Service": "sns.amazonaws.com"})),
    Case("a user where only a service is named", _SPECIFYING, DENY, allow({"Service": "sns.amazonaws.com"})),
    # Accounts
    Case("the root user by the account's ARN", _ACCOUNTS, ALLOW, allow(ACCOUNT_ARN), ROOT),
    Case("the root user by the account's number", _ACCOUNTS, ALLOW, allow(ACCOUNT), ROOT),
    Case("the root user where another account is named", _ACCOUNTS, DENY, allow(OTHER), ROOT, because=NO_RESOURCE),
    Case("an account's ARN delegates", _ACCOUNTS, ALLOW, allow(ACCOUNT_ARN), policies=[may("kms:Decrypt")]),
    Case("an account's number delegates", _ACCOUNTS, ALLOW, allow(ACCOUNT), policies=[may("kms:Decrypt")]),
    Case("an account's ARN alone gives its users nothing", _DEFAULT, DENY, allow(ACCOUNT_ARN)),
    Case("an account's number alone gives its users nothing", _DEFAULT, DENY, allow(ACCOUNT)),
    Case("an account's ARN alone gives its roles nothing", _DEFAULT, DENY, allow(ACCOUNT_ARN), SESSION),
    Case("one of several accounts", _SPECIFYING, ALLOW, allow([OTHER, ACCOUNT]), ROOT),
    Case("another account's ARN does not delegate to this one", _ACCOUNTS, DENY, allow(OTHER), policies=[may()]),
    # Roles and their sessions
    Case("a session of the named role", _ROLES, ALLOW, allow(ROLE_ARN), SESSION),
    Case("another session of the named role", _ROLES, ALLOW, allow(ROLE_ARN), SECOND_SESSION),
    Case("a session of another role", _ROLES, DENY, allow(ROLE_ARN), OTHER_ROLE_SESSION, because=NO_RESOURCE),
    Case("a user where a role is named", _ROLES, DENY, allow(ROLE_ARN), because=NO_RESOURCE),
    Case("the named session", _SESSIONS, ALLOW, allow(SESSION.arn), SESSION),
    Case("another session of the named session's role", _SESSIONS, DENY, allow(SESSION.arn), SECOND_SESSION),
    Case("a session of that name of another role", _SESSIONS, DENY, allow(SESSION.arn), OTHER_ROLE_SESSION),
    Case("one of two roles", _SPECIFYING, ALLOW, allow([ANOTHER_ROLE_ARN, ROLE_ARN]), SESSION),
    # Federated user sessions
    Case("the named federated user", _FEDERATED, ALLOW, allow(FEDERATED.arn), FEDERATED, session=may()),
    Case("a federated user where a user is named", _FEDERATED, DENY, allow(BOB.arn), FEDERATED, session=may()),
    Case("the user where a federated user is named", _FEDERATED, DENY, allow(FEDERATED.arn)),
    # Everybody
    Case("everybody: a user", _ALL, ALLOW, allow("*")),
    Case("everybody by AWS: a user", _ALL, ALLOW, allow({"AWS": "*"})),
    Case("everybody in a list: a user", _ALL, ALLOW, allow({"AWS": ["*"]})),
    Case("everybody: a session", _ALL, ALLOW, allow("*"), SESSION),
    Case("everybody: a federated user", _ALL, ALLOW, allow("*"), FEDERATED),
    Case("everybody: the root user", _ALL, ALLOW, allow("*"), ROOT),
    # Deny
    Case("a deny for a user", _USERS, DENY, [allow("*"), deny(ALICE.arn)], because=RESOURCE_DENIES),
    Case("a deny for another user", _USERS, ALLOW, [allow("*"), deny(BOB.arn)]),
    Case("a deny for a role reaches its session", _ROLES, DENY, [allow("*"), deny(ROLE_ARN)], SESSION),
    Case("a deny for a role spares other roles", _ROLES, ALLOW, [allow("*"), deny(ROLE_ARN)], OTHER_ROLE_SESSION),
    Case("a deny for a session", _SESSIONS, DENY, [allow("*"), deny(SESSION.arn)], SESSION, because=RESOURCE_DENIES),
    Case(
        "a deny for a session spares the role's others",
        _SESSIONS,
        ALLOW,
        [allow("*"), deny(SESSION.arn)],
        SECOND_SESSION,
    ),
    Case("a deny for everybody", _ALL, DENY, [allow(ALICE.arn), deny("*")], because=RESOURCE_DENIES),
    Case("a deny for everybody reaches the root user", _ALL, DENY, [allow(ACCOUNT), deny("*")], ROOT),
    Case("a deny for an account reaches its users", _NOT, DENY, [allow("*"), deny(ACCOUNT)], because=RESOURCE_DENIES),
    Case("a deny for an account reaches its sessions", _NOT, DENY, [allow("*"), deny(ACCOUNT_ARN)], SESSION),
    Case("a deny for another account", _NOT, ALLOW, [allow("*"), deny(OTHER)]),
    # NotPrincipal
    Case("a deny for all but a user", _NOT, ALLOW, [allow("*"), deny(None, **_ONLY_ALICE)]),
    Case(
        "a deny for all but another user",
        _NOT,
        DENY,
        [allow("*"), deny(None, **_ONLY_ALICE)],
        BOB,
        because=RESOURCE_DENIES,
    ),
    Case("a deny for all but a user reaches sessions", _NOT, DENY, [allow("*"), deny(None, **_ONLY_ALICE)], SESSION),
    Case(
        "a deny for all but a user reaches other accounts",
        _NOT,
        DENY,
        [allow("*"), deny(None, **_ONLY_ALICE)],
        OTHER_ROOT,
    ),
    Case("a deny for all but a foreign user", _NOT, ALLOW, [allow("*"), deny(None, **_ONLY_OLGA)], OTHER_USER, [may()]),
    Case(
        "a deny for all but another foreign user",
        _NOT,
        DENY,
        [allow("*"), deny(None, **_ONLY_OLGA)],
        SECOND_OTHER_USER,
        [may()],
    ),
    Case("a deny for all but a session", _NOT, ALLOW, [allow("*"), deny(None, **_ONLY_ONE)], SESSION),
    Case(
        "a deny for all but another role's session",
        _NOT,
        DENY,
        [allow("*"), deny(None, **_ONLY_ONE)],
        OTHER_ROLE_SESSION,
    ),
    Case(
        "a deny for all but a session: the role's others",
        _NOT,
        DENY,
        [allow("*"), deny(None, **_ONLY_ONE)],
        SECOND_SESSION,
        because=RESOURCE_DENIES,
    ),
    Case(
        "a deny for all but a session whose role is not named",
        _NOT,
        DENY,
        [allow("*"), deny(None, NotPrincipal={"AWS": [SESSION.arn, ACCOUNT_ARN]})],
        SESSION,
        because=RESOURCE_DENIES,
    ),
    Case("a deny for all but a role", _NOT, ALLOW, [allow("*"), deny(None, **_ONLY_ROLE)], SESSION),
    Case(
        "a deny for all but a role: its other session",
        _NOT,
        ALLOW,
        [allow("*"), deny(None, **_ONLY_ROLE)],
        SECOND_SESSION,
    ),
    Case(
        "a deny for all but a role: another role",
        _NOT,
        DENY,
        [allow("*"), deny(None, **_ONLY_ROLE)],
        OTHER_ROLE_SESSION,
    ),
    Case(
        "a deny for all but a role without its account",
        _NOT,
        DENY,
        [allow("*"), deny(None, NotPrincipal={"AWS": ROLE_ARN})],
        SESSION,
    ),
    Case("an exception from a deny allows nothing", _NOT, DENY, deny(None, **_ONLY_ALICE), because=NO_RESOURCE),
    # Partial wildcards and groups are in documents.py: such a policy cannot exist.
)
