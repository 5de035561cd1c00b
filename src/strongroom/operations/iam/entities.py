"""What a request of IAM is about: the user, group, role or policy that it names."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, structs

from strongroom.errors import LimitExceeded, NoSuchEntity, Validation
from strongroom.model.iam import Entity, Group, IdentityProvider, ManagedPolicy, Role, User
from strongroom.model.numbered import Numbered
from strongroom.operations.call import Call, Change
from strongroom.operations.targets import IdentityTarget
from strongroom.storage.contract import Replace

_NAMES = {"group_name": "group", "role_name": "role", "user_name": "user"}
"""Member of a request -> what it names. The first that a request has is what the request is about."""
_ARNS = {"open_id_connect_provider_arn": "oidc-provider", "policy_arn": "policy"}


def targets(request: Struct) -> list[IdentityTarget]:
    """What an operation acts on that names a user, group, role, policy or provider. Its action is its own name."""
    name = type(request).__name__.removesuffix("Request")
    action = f"iam:{name}"
    path = getattr(request, "path", None) or "/"
    boundary = getattr(request, "permissions_boundary", None)
    policy_arn = getattr(request, "policy_arn", None)
    for member, kind in _NAMES.items():
        if hasattr(request, member):
            named = IdentityTarget(
                action, kind, getattr(request, member), path, policy_arn=policy_arn, boundary=boundary
            )
            if name == f"Create{kind.title()}":
                return with_tagging(named, getattr(request, "tags", None))
            return [called_by_name(named)]
    for member, kind in _ARNS.items():
        if hasattr(request, member):
            target = IdentityTarget(action, kind, getattr(request, member))
            return [called_by_name(target) if kind == "policy" else target]
    raise TypeError(f"{action} names nothing")


def called_by_name(target: IdentityTarget) -> IdentityTarget:
    """The target, called `user ann` or `policy arn:…` if it is refused; the caller itself is called by its ARN."""
    return target if target.name is None else target._replace(called=f"{target.kind} {target.name}")


_TAGGING = {
    "oidc-provider": "iam:TagOpenIDConnectProvider",
    "policy": "iam:TagPolicy",
    "role": "iam:TagRole",
    "user": "iam:TagUser",
}


def with_tagging(made: IdentityTarget, tags: object) -> list[IdentityTarget]:
    """What is made, and that it is tagged, if it is: tagging needs a permission of its own."""
    return [made, made._replace(action=_TAGGING[made.kind])] if tags else [made]


def user_named(call: Call, name: str | None) -> Numbered[User]:
    """The user of this name; None is the caller. Raises NoSuchEntity, or Validation if the caller is no user."""
    if name is None:
        own = call.directory.users.get(call.principal.principal_id)
        if own is None:
            raise Validation("Must specify userName when calling with non-User credentials")
        return own
    found = call.directory.user(name)
    if found is None:
        raise NoSuchEntity(f"The user with name {name} cannot be found.")
    return found


def group_named(call: Call, name: str | None) -> Numbered[Group]:
    """The group of this name. Raises NoSuchEntity."""
    found = call.directory.group(name or "")
    if found is None:
        raise NoSuchEntity(f"The group with name {name} cannot be found.")
    return found


def role_named(call: Call, name: str | None) -> Numbered[Role]:
    """The role of this name. Raises NoSuchEntity."""
    found = call.directory.role(name or "")
    if found is None:
        raise NoSuchEntity(f"The role with name {name} cannot be found.")
    return found


def policy_of_arn(call: Call, arn: str | None) -> ManagedPolicy:
    """The managed policy of this ARN, the account's or AWS's. Raises NoSuchEntity."""
    found = call.directory.managed_policy(arn or "")
    if found is None:
        raise NoSuchEntity(f"Policy {arn} was not found.")
    return found


def boundary_of(call: Call, arn: str | None) -> str | None:
    """The ARN of a managed policy that is to be a permissions boundary, if one is. Raises NoSuchEntity."""
    if arn is not None and call.directory.managed_policy(arn) is None:
        raise NoSuchEntity(f"Scope ARN: {arn} does not exist or is not attachable.")
    return arn


def attachable_policy(call: Call, arn: str | None) -> ManagedPolicy:
    """The managed policy of this ARN, to attach it. Raises NoSuchEntity."""
    found = call.directory.managed_policy(arn or "")
    if found is None:
        raise NoSuchEntity(f"Policy {arn} does not exist or is not attachable.")
    return found


def provider_of_arn(call: Call, arn: str | None) -> Numbered[IdentityProvider]:
    """The identity provider of this ARN. Raises NoSuchEntity."""
    found = call.directory.provider(arn or "")
    if found is None:
        raise NoSuchEntity(f"OpenIDConnect Provider not found for arn {arn}")
    return found


def entity_of(call: Call, request: Struct) -> Numbered[User] | Numbered[Group] | Numbered[Role]:
    """The user, group or role that a request names. Raises NoSuchEntity."""
    if hasattr(request, "group_name"):
        return group_named(call, request.group_name)
    if hasattr(request, "role_name"):
        return role_named(call, request.role_name)
    return user_named(call, getattr(request, "user_name", None))


def kind_of(entity: Entity) -> str:
    """`User`, `Group` or `Role`."""
    return type(entity).__name__


def changed(call: Call, entity: Numbered[Any], response: Struct | None = None, /, **members: object) -> Change:
    """The change that gives what was found other members."""
    record, number = entity
    return call.identity_change(response, Replace(structs.replace(record, **members), number))


def check_quota(count: int, name: str, quota: int) -> None:
    """Raise LimitExceeded if there are as many as there can be already (AWS: "IAM and AWS STS quotas")."""
    if count >= quota:
        raise LimitExceeded(f"Cannot exceed quota for {name}: {quota}")


def under(path_prefix: str | None, entities: Iterable[Any]) -> list[Any]:
    """Those whose path begins so."""
    return [entity for entity in entities if entity.path.startswith(path_prefix or "/")]
