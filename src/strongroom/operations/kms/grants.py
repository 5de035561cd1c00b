"""CreateGrant, ListGrants, ListRetirableGrants, RetireGrant, RevokeGrant.

Grants are in force as soon as they are made, and out of force as soon as they are retired or revoked.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, structs

from strongroom.authorization.decide import AuthorizedKey
from strongroom.authorization.grants import KeyGrants
from strongroom.errors import AccessDenied, InvalidArn, InvalidGrantId, LimitExceeded, Validation
from strongroom.messages.constraints import report, violation
from strongroom.messages.kms import grants as messages
from strongroom.messages.kms.grants import (
    CreateGrantRequest,
    CreateGrantResponse,
    GrantListEntry,
    ListGrantsRequest,
    ListGrantsResponse,
    ListRetirableGrantsRequest,
    RetireGrantRequest,
    RevokeGrantRequest,
)
from strongroom.model.arn import root_arn
from strongroom.model.grant import Grant, GrantConstraints
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import SYMMETRIC_DEFAULT, grant_operations
from strongroom.operations.call import Call, Change
from strongroom.operations.logged import lower_camel
from strongroom.operations.pages import Listing, Page
from strongroom.operations.targets import AccountTarget, GrantTarget, KeyTarget, grant_not_found
from strongroom.storage.contract import Delete, Insert, Keep, Write

MAX_GRANTS = 50_000
"""Grants that one KMS key can have."""
_MAX_PAIRS = 8
"""Pairs of an encryption context that a constraint can have."""
_MAX_VALUE = 384
"""Characters of a value in a constraint on the encryption context."""

_GRANT_ID = re.compile(r"[0-9a-f]{64}")
_PRINCIPAL = re.compile(r"arn:aws:(?:iam|sts)::([0-9]{12}):.+", re.DOTALL)
_GRANTS = Listing("ListGrants", default=50, maximum=100)
_RETIRABLE = Listing("ListRetirableGrants", default=50, maximum=100)


def create_grant_targets(request: CreateGrantRequest) -> list[KeyTarget]:
    """The key that the grant is for, which may be another account's."""
    _check_parties(request)
    operations = _operations(request)
    if not operations:
        raise Validation(report([violation("[]", "operations", "Member must have length greater than or equal to 1")]))
    if operations == ("CreateGrant",):
        raise Validation("Grants must not contain only the CreateGrant operation.")
    constraints = _constraints(request)
    if constraints.encryption_context_subset is not None and constraints.encryption_context_equals is not None:
        raise Validation("More than one constraint supplied")
    _check_pairs(constraints.encryption_context_subset or constraints.encryption_context_equals or {})
    return [KeyTarget("kms:CreateGrant", request.key_id, foreign=True, proposed=(frozenset(operations), constraints))]


def create_grant(call: Call, request: CreateGrantRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: CreateGrant. One with a name that is there already, with all that was asked for, is given a new token."""
    (key,) = keys
    asked_for = Grant(
        account=key.key.account,
        region=key.key.region,
        key_id=key.key.key_id,
        grant_id=os.urandom(32).hex(),
        created=round(call.now, 3),
        issuing_account=call.account,
        operations=_operations(request),
        name=request.name,
        grantee_principal=request.grantee_principal,
        grantee_service=request.grantee_service_principal,
        retiring_principal=request.retiring_principal,
        retiring_service=request.retiring_service_principal,
        constraints=_constraints(request),
    )
    _check_fit(key.key, asked_for)
    asked_for = structs.replace(
        asked_for,
        grantee_id=_unique_id(call, asked_for.grantee_principal),
        retiring_id=_unique_id(call, asked_for.retiring_principal),
    )
    there = _same(call, key.key, asked_for)
    grant = asked_for if there is None else there[0]
    response = CreateGrantResponse(grant_token=call.seals.grant_tokens.seal(grant), grant_id=grant.grant_id)
    return Change(response, [*_writes(call, key, asked_for, there), *_kept(call, key)])


def _unique_id(call: Call, principal: str | None) -> str | None:
    """The unique id to remember a principal by, None for an account, which cannot be deleted. Raises InvalidArn."""
    if principal is None:
        return None
    unique_id = call.snapshot.unique_id(principal)
    if unique_id is None:
        raise InvalidArn(f"ARN does not refer to a valid principal: {principal}")
    return None if principal == root_arn(unique_id) else unique_id


def _writes(call: Call, key: AuthorizedKey, grant: Grant, there: tuple[Grant, int] | None) -> list[Write]:
    """What makes the grant, or keeps the one that is there.

    Who gives a name changes the key's row, so that of two who ask for the same at once one is decided again.
    """
    if there is not None:
        return [Keep(*there), call.keep(key)]
    if len(_grants_of(call, key.key).by_id) >= MAX_GRANTS:
        raise LimitExceeded(f"{key.key.arn} has {MAX_GRANTS} grants, the most that a key can have.")
    return [Insert(grant), call.keep(key) if grant.name is None else call.replace(key)]


def list_grants_targets(request: ListGrantsRequest) -> list[KeyTarget]:
    """The key whose grants are told, which may be another account's."""
    _GRANTS.check(request.limit)
    _check_grant_id(request.grant_id)
    if request.grantee_service_principal is not None:
        raise _for_services("GranteeServicePrincipal")
    return [KeyTarget("kms:ListGrants", request.key_id, foreign=True)]


def list_grants(call: Call, request: ListGrantsRequest, keys: Sequence[AuthorizedKey]) -> ListGrantsResponse:
    """AWS: ListGrants, in order of grant id."""
    key = keys[0].key
    page = _GRANTS.page(
        lambda after, limit: call.storage.list_grants(
            (key.account, key.region, key.key_id),
            after=after,
            limit=limit,
            grant_id=request.grant_id,
            grantee_principal=request.grantee_principal,
        ),
        lambda grant: grant.grant_id,
        limit=request.limit,
        marker=request.marker,
        of=_digest(key.arn, request.grant_id, request.grantee_principal),
    )
    return _told(call, page)


def list_retirable_grants_targets(request: ListRetirableGrantsRequest) -> list[AccountTarget]:
    """No key: the caller's IAM permission alone."""
    _RETIRABLE.check(request.limit)
    if request.retiring_service_principal is not None:
        raise _for_services("RetiringServicePrincipal")
    if request.retiring_principal is None:
        raise Validation("Please specify a retiring principal.")
    return [AccountTarget("kms:ListRetirableGrants")]


def list_retirable_grants(
    call: Call, request: ListRetirableGrantsRequest, _keys: Sequence[AuthorizedKey]
) -> ListGrantsResponse:
    """AWS: ListRetirableGrants: on any account's keys, for a principal of the caller's own account."""
    principal = request.retiring_principal
    assert principal is not None, "list_retirable_grants_targets saw it"
    named = _PRINCIPAL.fullmatch(principal)
    if named is None:
        raise InvalidArn(f"ARN does not refer to a valid principal: {principal}")
    if named[1] != call.account:
        raise AccessDenied(
            f"User: {call.principal.arn} is not authorized to perform: kms:ListRetirableGrants on resource: "
            f"{principal} because no identity-based policy allows the kms:ListRetirableGrants action"
        )
    there = call.snapshot.unique_id(principal)
    retiring = (principal, None if there == call.account else there or "")  # nobody's id is empty
    page = _RETIRABLE.page(
        lambda after, limit: call.storage.list_retirable_grants(
            call.region, retiring, after=_place(after), limit=limit
        ),
        lambda grant: f"{grant.account} {grant.key_id} {grant.grant_id}",
        limit=request.limit,
        marker=request.marker,
        of=_digest(call.region, principal),
    )
    return _told(call, page)


def retire_grant_targets(request: RetireGrantRequest) -> list[GrantTarget]:
    """The grant that is given up."""
    named = (request.grant_token is not None, request.key_id is not None, request.grant_id is not None)
    if named not in ((True, False, False), (False, True, True)):
        raise Validation("Grant token OR (grant ID, key ID) must be specified")
    _check_grant_id(request.grant_id)
    return [GrantTarget("kms:RetireGrant", request.grant_token, request.key_id, request.grant_id)]


def retire_grant(call: Call, _request: RetireGrantRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: RetireGrant."""
    (key,) = keys
    assert key.grant is not None, "a GrantTarget has one"
    return _removal(call, key, key.grant.grant_id)


def revoke_grant_targets(request: RevokeGrantRequest) -> list[KeyTarget]:
    """The key that the grant is for, which may be another account's."""
    _check_grant_id(request.grant_id)
    return [KeyTarget("kms:RevokeGrant", request.key_id, foreign=True)]


def revoke_grant(call: Call, request: RevokeGrantRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: RevokeGrant."""
    (key,) = keys
    assert request.grant_id is not None, "the model requires it"
    return _removal(call, key, request.grant_id)


def logged_create_grant(request: Struct, _keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows all but the grant tokens."""
    assert isinstance(request, CreateGrantRequest)
    shown = _shown(request)
    shown.pop(lower_camel("grant_tokens"), None)
    if request.constraints is not None:
        shown["constraints"] = _shown(request.constraints)
    return shown


def logged_created_grant(response: Struct, keys: Sequence[AuthorizedKey]) -> dict[str, object]:
    """CloudTrail shows the id of the grant, and never its token."""
    assert isinstance(response, CreateGrantResponse)
    return {"grantId": response.grant_id, "keyId": keys[-1].key.arn}


def _shown(structure: Struct) -> dict[str, object]:
    members = structs.asdict(structure)
    return {lower_camel(name): value for name, value in members.items() if value is not None}


def _check_parties(request: CreateGrantRequest) -> None:
    """Check who is to have the grant and who may retire it, as far as the request alone tells."""
    if (request.grantee_principal is None) == (request.grantee_service_principal is None):
        raise Validation("Please specify either a grantee principal or a grantee service principal.")
    if request.retiring_principal is not None and request.retiring_service_principal is not None:
        raise Validation("Please specify either a retiring principal or a retiring service principal.")
    if request.grantee_service_principal is None:
        return
    if request.constraints is None or request.constraints.source_arn is None:
        raise Validation("A grant to a service principal must have a SourceArn constraint.")
    if request.retiring_principal is None and request.retiring_service_principal is None:
        raise Validation("A grant to a service principal must have a retiring principal.")


def _operations(request: CreateGrantRequest) -> tuple[str, ...]:
    return tuple(dict.fromkeys(request.operations or ()))


def _constraints(request: CreateGrantRequest) -> GrantConstraints:
    """The constraints that say something: a subset without pairs is in every encryption context."""
    asked_for = request.constraints or messages.GrantConstraints()
    return GrantConstraints(
        asked_for.encryption_context_subset or None, asked_for.encryption_context_equals, asked_for.source_arn
    )


def _check_pairs(pairs: Mapping[str, str]) -> None:
    if len(pairs) > _MAX_PAIRS:
        raise Validation(f"A constraint on the encryption context can have {_MAX_PAIRS} pairs at most.")
    if any(len(value) > _MAX_VALUE for value in pairs.values()):
        raise Validation(f"A value in a constraint on the encryption context can have {_MAX_VALUE} characters at most.")


def _check_fit(key: KmsKey, grant: Grant) -> None:
    """Check that the grant is one for keys of this kind."""
    constraints = grant.constraints
    on_context = (constraints.encryption_context_subset, constraints.encryption_context_equals)
    if key.key_spec != SYMMETRIC_DEFAULT and any(pairs is not None for pairs in on_context):
        raise Validation("Constraints on the encryption context are for symmetric encryption keys only.")
    unfit = [name for name in grant.operations if name not in grant_operations(key.key_spec, key.key_usage)]
    if unfit:
        raise Validation(f"{key.arn} key usage is {key.key_usage} which is not valid for {', '.join(unfit)}.")


def _grants_of(call: Call, key: KmsKey) -> KeyGrants:
    return call.snapshot.keys[key.region, key.account, key.key_id].grants


def _same(call: Call, key: KmsKey, asked_for: Grant) -> tuple[Grant, int] | None:
    """The grant of this name that is in all else what is asked for, with the number of its change."""
    if asked_for.name is None:
        return None
    for grant, number in _grants_of(call, key).by_id.values():
        if grant.name == asked_for.name and _terms(grant) == _terms(asked_for):
            return grant, number
    return None


def _terms(grant: Grant) -> Grant:
    """What of a grant was asked for."""
    return structs.replace(grant, grant_id="", created=0.0, operations=tuple(sorted(grant.operations)))


def _kept(call: Call, key: AuthorizedKey) -> list[Write]:
    """The grant that allowed this, if one did, must still be there."""
    if key.grant is None:
        return []
    return [Keep(*_grants_of(call, key.key).by_id[key.grant.grant_id])]


def _removal(call: Call, key: AuthorizedKey, grant_id: str) -> Change:
    found = _grants_of(call, key.key).by_id.get(grant_id)
    if found is None:
        raise grant_not_found(grant_id)
    return Change(None, [Delete(*found), call.keep(key)])


def _check_grant_id(grant_id: str | None) -> None:
    if grant_id is not None and not _GRANT_ID.fullmatch(grant_id):
        raise InvalidGrantId


def _for_services(parameter: str) -> Validation:
    """No service calls yet (AWS: only AWS services can use these parameters)."""
    return Validation(f"{parameter} can be used by AWS services only.")


def _digest(*listed: str | None) -> str:
    """What stands in a marker for what is listed, which may be longer than a marker can be."""
    return hashlib.sha256(msgspec.json.encode(listed)).hexdigest()


def _place(last: str) -> tuple[str, str, str]:
    """Account, key id and grant id of the last grant told; three times empty before the first."""
    account, _, rest = last.partition(" ")
    key_id, _, grant_id = rest.partition(" ")
    return account, key_id, grant_id


def _told(call: Call, page: Page[Grant]) -> ListGrantsResponse:
    return ListGrantsResponse(
        grants=tuple(_entry(call, grant) for grant in page.items),
        truncated=page.truncated,
        next_marker=page.next_marker,
    )


def _shown_principal(call: Call, arn: str | None, unique_id: str | None) -> str | None:
    """A principal's ARN as it is now, or the unique id of one that is gone: who has its ARN may be another."""
    return arn if unique_id is None else call.snapshot.arn_of(unique_id) or unique_id


def _entry(call: Call, grant: Grant) -> GrantListEntry:
    constraints = messages.GrantConstraints(**structs.asdict(grant.constraints))
    return GrantListEntry(
        key_id=grant.key_arn,
        grant_id=grant.grant_id,
        name=grant.name or "",
        creation_date=grant.created,
        grantee_principal=_shown_principal(call, grant.grantee_principal, grant.grantee_id),
        retiring_principal=_shown_principal(call, grant.retiring_principal, grant.retiring_id),
        issuing_account=root_arn(grant.issuing_account),
        operations=grant.operations,
        constraints=None if constraints == messages.GrantConstraints() else constraints,
        grantee_service_principal=grant.grantee_service,
        retiring_service_principal=grant.retiring_service,
    )
