"""CreateAlias, UpdateAlias, DeleteAlias, ListAliases.

Each that changes an alias needs two permissions or three: on the alias, and on every key that it stands for before or
after (AWS: "Controlling access to aliases").
"""

import re
from collections.abc import Sequence

from msgspec import structs

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import AlreadyExists, InvalidAliasName, LimitExceeded, NotAuthorized, NotFound, Validation
from strongroom.messages.kms.aliases import (
    AliasListEntry,
    CreateAliasRequest,
    DeleteAliasRequest,
    ListAliasesRequest,
    ListAliasesResponse,
    UpdateAliasRequest,
)
from strongroom.model.alias import Alias
from strongroom.model.arn import alias_arn
from strongroom.model.aws_managed_keys import PREFIX
from strongroom.operations.call import Call, Change
from strongroom.operations.managed_keys import predefined
from strongroom.operations.pages import Listing
from strongroom.operations.targets import AccountTarget, AliasTarget, KeyTarget, Target, find
from strongroom.storage.contract import Delete, Insert, Replace

MAX_ALIASES = 50
"""Aliases that one KMS key can have."""

_PREFIX = "alias/"
_NAME = re.compile(r"alias/[a-zA-Z0-9/_-]+")
_ALIASES = Listing("ListAliases", default=50, maximum=100)


def create_alias_targets(request: CreateAliasRequest) -> list[Target]:
    """The key that the alias will stand for, and the alias."""
    name = _own_name(request.alias_name)
    _check_target(request.target_key_id)
    return [KeyTarget("kms:CreateAlias", request.target_key_id), AliasTarget("kms:CreateAlias", name)]


def create_alias(call: Call, request: CreateAliasRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: CreateAlias."""
    (key,) = keys
    now = round(call.now, 3)
    alias = Alias(call.account, call.region, _own_name(request.alias_name), key.key.key_id, now, now)
    if (alias.region, alias.account, alias.name) in call.snapshot.aliases:
        raise AlreadyExists(f"An alias with the name {alias.arn} already exists")
    _check_quota(call, key)
    return Change(None, [Insert(alias), call.keep(key)])


def update_alias_targets(request: UpdateAliasRequest) -> list[Target]:
    """The key that the alias stands for, which loses it, the key that it will stand for, and the alias."""
    name = _own_name(request.alias_name)
    _check_target(request.target_key_id)
    return [
        KeyTarget("kms:UpdateAlias", name, by_alias=True, states="DeleteAlias"),
        KeyTarget("kms:UpdateAlias", request.target_key_id),
        AliasTarget("kms:UpdateAlias", name),
    ]


def update_alias(call: Call, request: UpdateAliasRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: UpdateAlias."""
    before, after = keys
    alias, number = _stored(call, request.alias_name)
    if before.key.key_id != after.key.key_id:
        _check_quota(call, after)
    changed = structs.replace(alias, target_key_id=after.key.key_id, last_updated=round(call.now, 3))
    return Change(None, [Replace(changed, number), call.keep(before), call.keep(after)])


def delete_alias_targets(request: DeleteAliasRequest) -> list[Target]:
    """The key that the alias stands for, and the alias."""
    name = _own_name(request.alias_name)
    return [KeyTarget("kms:DeleteAlias", name, by_alias=True), AliasTarget("kms:DeleteAlias", name)]


def delete_alias(call: Call, request: DeleteAliasRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: DeleteAlias. The key stays."""
    (key,) = keys
    alias, number = _stored(call, request.alias_name)
    return Change(None, [Delete(alias, number), call.keep(key)])


def list_aliases_targets(request: ListAliasesRequest) -> list[AccountTarget]:
    """No key, even where one is named: the caller's IAM permission alone."""
    _ALIASES.check(request.limit)
    return [AccountTarget("kms:ListAliases")]


def list_aliases(call: Call, request: ListAliasesRequest, _keys: Sequence[AuthorizedKey]) -> ListAliasesResponse:
    """AWS: ListAliases, of one key or of all, in order of name; AWS aliases that stand for no key yet among them."""
    key_id: str | None = None
    if request.key_id is not None:
        target = KeyTarget("kms:ListAliases", request.key_id)
        key_id = find(target, call.snapshot, call.principal, call.region).entry.key.key_id
    waiting = [] if key_id is not None else predefined(call.snapshot, call.account, call.region)

    def following(after: str, limit: int) -> list[AliasListEntry]:
        stored = call.storage.list_aliases(call.account, call.region, after=after, limit=limit, key_id=key_id)
        names = {alias.name for alias in stored}  # one may have come into being since
        free = [_predefined(call, name) for name in waiting if name > after and name not in names]
        return sorted([*map(_told, stored), *free], key=_name)[:limit]

    page = _ALIASES.page(following, _name, limit=request.limit, marker=request.marker, of=key_id or "")
    return ListAliasesResponse(aliases=page.items, truncated=page.truncated, next_marker=page.next_marker)


def _told(alias: Alias) -> AliasListEntry:
    return AliasListEntry(
        alias_name=alias.name,
        alias_arn=alias.arn,
        target_key_id=alias.target_key_id,
        creation_date=alias.created,
        last_updated_date=alias.last_updated,
    )


def _predefined(call: Call, name: str) -> AliasListEntry:
    """An AWS alias that stands for no key yet."""
    return AliasListEntry(alias_name=name, alias_arn=alias_arn(call.region, call.account, name))


def _name(alias: AliasListEntry) -> str:
    return alias.alias_name or ""


def _own_name(name: str | None) -> str:
    """The name of an alias that callers can make and change."""
    assert name is not None, "the model requires it"
    if not name.startswith(_PREFIX):
        raise Validation(
            'Alias must start with the prefix "alias/". '
            "Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
        )
    if name.startswith(PREFIX):
        raise NotAuthorized
    if not _NAME.fullmatch(name):
        raise InvalidAliasName(f"{name} contains invalid characters for an alias")
    return name


def _check_target(key_id: str | None) -> None:
    assert key_id is not None, "the model requires it"
    if key_id.startswith(_PREFIX) or ":alias/" in key_id:
        raise Validation("Aliases must refer to keys. Not aliases")


def _stored(call: Call, name: str | None) -> tuple[Alias, int]:
    """The alias that a target found a key through, with the number of the change that wrote it."""
    found = call.snapshot.aliases.get((call.region, call.account, _own_name(name)))
    if found is None:
        raise NotFound(f"Alias {name} is not found.")
    return found.record, found.number


def _check_quota(call: Call, key: AuthorizedKey) -> None:
    identity = (key.key.region, key.key.account, key.key.key_id)
    if len(call.snapshot.keys[identity].aliases) >= MAX_ALIASES:
        raise LimitExceeded(f"{key.key.arn} has {MAX_ALIASES} aliases, the most that a key can have.")
