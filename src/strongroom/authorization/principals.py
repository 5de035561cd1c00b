"""The Principal and NotPrincipal elements of key policies (AWS: "AWS JSON policy elements: Principal").

Whether a principal exists is asked when a policy is written, not here.
"""

import re
from collections.abc import Mapping
from enum import IntEnum

from msgspec import Struct

from strongroom.errors import MalformedPolicyDocument
from strongroom.model.principal import Principal

_ACCOUNT = re.compile(r"([0-9]{12})|arn:aws:iam::([0-9]{12}):root")
_ARN = re.compile(r"arn:aws:(?:iam::[0-9]{12}:(?:user|role)|sts::[0-9]{12}:(?:assumed-role|federated-user))/[^*?]+")
_PROVIDER = re.compile(r"arn:aws:iam::[0-9]{12}:(?:oidc|saml)-provider/[^*?]+")
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

    Among the `names` are services, and unique ids in the place of the ARNs that were remembered so; neither can be
    taken for an ARN.
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
        if self.anyone or principal.arn in self.names or principal.principal_id in self.names:
            return Naming.DIRECTLY
        if principal.issuer_arn is not None:  # a session
            if principal.federated_provider is not None and principal.federated_provider in self.providers:
                return Naming.DIRECTLY
            if principal.issuer_arn in self.names or principal.issuer_id in self.names:
                return Naming.ISSUER
        return Naming.ACCOUNT if principal.account in self.accounts else Naming.NOT

    def spares(self, principal: Principal) -> bool:
        """Whether a Deny to all but these leaves the caller alone.

        That takes the caller and its account, and for a session its role (AWS: "NotPrincipal with Deny": the account
        is looked at first, then the role, then the session). The role stands for all its sessions, unless some are
        named too.
        """
        naming = self.naming(principal)
        if principal.kind == "AssumedRole" and principal.federated_provider not in self.providers:
            sessions = (f"{principal.arn.rpartition('/')[0]}/", f"{principal.issuer_id}:")
            some = any(name.startswith(sessions) for name in self.names)
            by_role = principal.issuer_arn in self.names or principal.issuer_id in self.names
            if not self.anyone and (not by_role or (some and naming is not Naming.DIRECTLY)):
                return False
        if self.anyone or principal.kind == "AWSService" or principal.is_root_user:
            return naming is not Naming.NOT
        return naming > Naming.ACCOUNT and principal.account in self.accounts


ANYONE = Principals(anyone=True)
"""`*`, and whoever a policy is attached to."""


def compile_principals(element: object, remembered: Mapping[str, str]) -> Principals:
    """Read a Principal or NotPrincipal element. Raises MalformedPolicyDocument.

    `remembered` are the unique ids of principals, by ARN: who has such an ARN now may be another.
    """
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
            arns.add(remembered.get(name, name))
        else:
            raise _invalid()
    services = _names(element, "Service")
    if not all(_SERVICE.fullmatch(name) for name in services):
        raise MalformedPolicyDocument("Policy contains a statement with one or more invalid service principals.")
    providers = _names(element, "Federated")
    if not all(_PROVIDER.fullmatch(name) or _SERVICE.fullmatch(name) for name in providers):
        raise MalformedPolicyDocument("Federated principals must be valid domain names or SAML metadata ARNs")
    return Principals("*" in aws, frozenset(accounts), services | arns, providers)


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
