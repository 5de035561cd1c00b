"""The Principal and NotPrincipal elements of key policies (AWS: "AWS JSON policy elements: Principal").

Whether a principal exists is asked when a policy is written, not here.
"""

import re
from enum import IntEnum

from msgspec import Struct

from strongroom.errors import MalformedPolicyDocument
from strongroom.model.principal import Principal

_ACCOUNT = re.compile(r"([0-9]{12})|arn:aws:iam::([0-9]{12}):root")
_ARN = re.compile(r"arn:aws:(?:iam::[0-9]{12}:(?:user|role)|sts::[0-9]{12}:(?:assumed-role|federated-user))/[^*?]+")
_SERVICE = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_KINDS = frozenset({"AWS", "Service", "Federated"})


class Naming(IntEnum):
    """How an Allow names a caller, from not at all to most directly. The nearer, the less else must allow."""

    NOT = 0
    ACCOUNT = 1
    """Through its account, whose IAM policies then decide."""
    ISSUER = 2
    """Through the role of its session, or the user of its federated-user session."""
    DIRECTLY = 3
    """By its own ARN, as the service or the federated user that it is, or as anyone."""


class Principals(Struct, frozen=True):
    """A compiled list of principals: `*`, accounts (12 digits), ARNs, and identity providers.

    Services are among the `names`, where they cannot be taken for ARNs.
    """

    anyone: bool = False
    accounts: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()

    @property
    def arns(self) -> list[str]:
        """The users, roles and sessions."""
        return [name for name in self.names if name.startswith("arn:")]

    def naming(self, principal: Principal) -> Naming:
        """How these name a caller."""
        if self.anyone or principal.arn in self.names:
            return Naming.DIRECTLY
        if principal.issuer_arn is not None:  # a session
            if principal.federated_provider is not None and principal.federated_provider in self.providers:
                return Naming.DIRECTLY
            if principal.issuer_arn in self.names:
                return Naming.ISSUER
        return Naming.ACCOUNT if principal.account in self.accounts else Naming.NOT

    def spares(self, principal: Principal) -> bool:
        """Whether a Deny to all but these leaves the caller alone.

        That takes the caller and its account, or the role of the caller and its account (AWS: "NotPrincipal with
        Deny": the account is looked at first, then the role, then the session).
        """
        naming = self.naming(principal)
        if self.anyone or principal.kind == "AWSService" or principal.is_root_user:
            return naming is not Naming.NOT
        return naming > Naming.ACCOUNT and principal.account in self.accounts


ANYONE = Principals(anyone=True)
"""`*`, and whoever a policy is attached to."""


def compile_principals(element: object) -> Principals:
    """Read a Principal or NotPrincipal element. Raises MalformedPolicyDocument."""
    if element == "*":
        return ANYONE
    if not isinstance(element, dict) or not element or element.keys() - _KINDS:
        raise _invalid()
    accounts, arns = set(), set()
    aws = _names(element, "AWS")
    for name in aws - {"*"}:
        account = _ACCOUNT.fullmatch(name)
        if account is not None:
            accounts.add(account[1] or account[2])
        elif _ARN.fullmatch(name):
            arns.add(name)
        else:
            raise _invalid()
    services = _names(element, "Service")
    if not all(_SERVICE.fullmatch(name) for name in services):
        raise MalformedPolicyDocument("Policy contains a statement with one or more invalid service principals.")
    return Principals("*" in aws, frozenset(accounts), services | arns, _names(element, "Federated"))


def _names(element: dict[str, object], kind: str) -> frozenset[str]:
    names = element.get(kind, [])
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MalformedPolicyDocument("Syntax errors in policy.")
    if kind in element and not names:
        raise _invalid()
    return frozenset(names)


def _invalid() -> MalformedPolicyDocument:
    return MalformedPolicyDocument("Policy contains a statement with one or more invalid principals.")
