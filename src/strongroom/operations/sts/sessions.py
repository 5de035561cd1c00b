"""AssumeRole, AssumeRoleWithWebIdentity and GetSessionToken: temporary credentials."""

import base64
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import structs

from strongroom.authorization.decide import AuthorizedRole
from strongroom.authorization.documents import compile_identity_policy
from strongroom.errors import AccessDenied, PackedPolicyTooLarge, Validation
from strongroom.messages.sts.sessions import (
    AssumedRoleUser,
    AssumeRoleRequest,
    AssumeRoleResponse,
    AssumeRoleWithWebIdentityRequest,
    AssumeRoleWithWebIdentityResponse,
    Credentials,
    GetSessionTokenRequest,
    GetSessionTokenResponse,
    Tag,
)
from strongroom.model.arn import session_arn
from strongroom.model.iam import Pairs, Role
from strongroom.model.session import Session
from strongroom.operations.call import Call
from strongroom.operations.iam.unique_ids import SESSION, new_unique_id
from strongroom.operations.targets import AccountTarget, RoleTarget

_ROLE_SECONDS = 3_600
"""How long a session of a role lasts if nobody says, and at most if it is made from another session of a role."""
_SESSION_SECONDS = 43_200
_ROOT_SECONDS = 3_600
"""How long a session of a root user lasts at most."""
_MAX_POLICY = 2_048
"""Characters of an inline session policy."""
_MAX_POLICY_ARNS = 10
_MAX_TAGS = 50
_MAX_PACKED = _MAX_POLICY + _MAX_POLICY_ARNS * 200 + _MAX_TAGS * 384
"""Bytes of what a session token is made for: policies and tags."""


class _Asked(NamedTuple):
    """What AssumeRole and AssumeRoleWithWebIdentity have in common."""

    session_name: str
    policy: str | None
    policy_arns: tuple[str, ...]
    duration: int | None


def assume_role_targets(request: AssumeRoleRequest) -> list[RoleTarget]:
    """The role; to tag the session, and to set whose it was first, it must allow besides.

    AWS: that holds for tags and a source identity that come from the caller's session too.
    """
    assert request.role_arn is not None, "the model requires it"
    if request.serial_number is not None or request.token_code is not None:
        raise AccessDenied("MultiFactorAuthentication failed with invalid MFA one time pass code. ")
    if request.provided_contexts is not None:
        raise Validation("ProvidedContexts are not supported.")
    _check_tags(request.tags or (), request.transitive_tag_keys or ())
    return [
        RoleTarget("sts:AssumeRole", request.role_arn),
        RoleTarget("sts:TagSession", request.role_arn, inherited=not request.tags),
        RoleTarget("sts:SetSourceIdentity", request.role_arn, inherited=request.source_identity is None),
    ]


def assume_role(call: Call, request: AssumeRoleRequest, roles: Sequence[AuthorizedRole]) -> AssumeRoleResponse:
    """AWS: AssumeRole. What the caller's own session hands down goes along: transitive tags and source identity."""
    caller, role = call.principal, roles[0].role
    if caller.is_root_user:
        raise AccessDenied("Roles may not be assumed by root accounts.")
    asked = _asked(request)
    chained = caller.kind == "AssumedRole"
    if chained and (asked.duration or 0) > _ROLE_SECONDS:
        raise Validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        )
    tags = _pairs(request.tags or ())
    if {key.lower() for key, _ in caller.transitive_tags} & {key.lower() for key, _ in tags}:
        raise Validation("One of the specified tag keys conflicts with a transitive tag key of the calling session.")
    asked_for = {key.lower() for key in request.transitive_tag_keys or ()}
    transitive = (*caller.transitive_tags, *(tag for tag in tags if tag[0].lower() in asked_for))
    if caller.source_identity is not None and request.source_identity not in (None, caller.source_identity):
        raise AccessDenied("The source identity of a session cannot be changed.")
    session = structs.replace(
        _role_session(call, role, asked),
        tags=(*caller.transitive_tags, *tags),
        transitive_tag_keys=tuple(key for key, _ in transitive),
        source_identity=request.source_identity or caller.source_identity,
    )
    return AssumeRoleResponse(
        credentials=_credentials(call, session),
        assumed_role_user=_assumed(role, session),
        packed_policy_size=_packed_size(session),
        source_identity=session.source_identity,
    )


def assume_role_with_web_identity_targets(request: AssumeRoleWithWebIdentityRequest) -> list[RoleTarget]:
    """The role. Whose token it is was found out before."""
    assert request.role_arn is not None, "the model requires it"
    return [RoleTarget("sts:AssumeRoleWithWebIdentity", request.role_arn)]


def assume_role_with_web_identity(
    call: Call, request: AssumeRoleWithWebIdentityRequest, roles: Sequence[AuthorizedRole]
) -> AssumeRoleWithWebIdentityResponse:
    """AWS: AssumeRoleWithWebIdentity. The caller is whom the identity provider vouched for."""
    caller, role = call.principal, roles[0].role
    assert caller.federated_provider is not None, "a web identity has a provider"
    session = structs.replace(
        _role_session(call, role, _asked(request)), federated_provider=caller.federated_provider, claims=caller.claims
    )
    claims = {name.rpartition(":")[2]: values[0] for name, values in caller.claims}
    return AssumeRoleWithWebIdentityResponse(
        credentials=_credentials(call, session),
        subject_from_web_identity_token=claims["sub"],
        assumed_role_user=_assumed(role, session),
        packed_policy_size=_packed_size(session),
        provider=caller.federated_provider,
        audience=claims["aud"],
    )


def get_session_token_targets(request: GetSessionTokenRequest) -> list[AccountTarget]:
    """Nothing: no permission is needed (AWS: "Permissions for GetSessionToken")."""
    if request.serial_number is not None or request.token_code is not None:
        raise AccessDenied("MultiFactorAuthentication failed with invalid MFA one time pass code. ")
    return []


def get_session_token(call: Call, request: GetSessionTokenRequest, _nothing: object) -> GetSessionTokenResponse:
    """AWS: GetSessionToken. For users and root users with their long-term keys."""
    caller = call.principal
    if caller.kind not in ("IAMUser", "Root") or caller.issued is not None or caller.service is not None:
        raise AccessDenied("Cannot call GetSessionToken with session credentials")
    duration = request.duration_seconds or _SESSION_SECONDS
    session = _new_session(call, caller.principal_id, min(duration, _ROOT_SECONDS) if caller.is_root_user else duration)
    return GetSessionTokenResponse(credentials=_credentials(call, session))


def _asked(request: AssumeRoleRequest | AssumeRoleWithWebIdentityRequest) -> _Asked:
    """Check the session policies. Raises Validation, MalformedPolicyDocument or PackedPolicyTooLarge."""
    assert request.role_session_name is not None, "the model requires it"
    arns = tuple(one.arn or "" for one in request.policy_arns or ())
    if len(arns) > _MAX_POLICY_ARNS:
        raise Validation(f"The number of policy ARNs must not exceed {_MAX_POLICY_ARNS}.")
    if request.policy is not None:
        if len(request.policy) > _MAX_POLICY:
            raise PackedPolicyTooLarge("The session policy exceeds 2048 characters.")
        compile_identity_policy(request.policy)
    return _Asked(request.role_session_name, request.policy, arns, request.duration_seconds)


def _role_session(call: Call, role: Role, asked: _Asked) -> Session:
    """A new session of a role. Raises Validation."""
    duration = asked.duration or _ROLE_SECONDS
    if duration > role.max_session_duration:
        raise Validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    directory = call.snapshot.directories[role.account]
    for arn in asked.policy_arns:
        if directory.managed_policy(arn) is None:
            raise Validation(f"Policy {arn} does not exist or is not attachable.")
    session = _new_session(call, role.role_id, duration)
    return structs.replace(
        session, account=role.account, name=asked.session_name, policy=asked.policy, policy_arns=asked.policy_arns
    )


def _new_session(call: Call, principal_id: str, duration: int) -> Session:
    issued = float(int(call.now))
    return Session(
        access_key_id=new_unique_id(SESSION, os.urandom),
        secret=base64.b64encode(os.urandom(30)).decode(),
        account=call.account,
        principal_id=principal_id,
        issued=issued,
        expires=issued + duration,
    )


def _credentials(call: Call, session: Session) -> Credentials:
    return Credentials(
        access_key_id=session.access_key_id,
        secret_access_key=session.secret,
        session_token=call.seals.session_tokens.seal(session),
        expiration=session.expires,
    )


def _assumed(role: Role, session: Session) -> AssumedRoleUser:
    return AssumedRoleUser(
        assumed_role_id=f"{role.role_id}:{session.name}", arn=session_arn(role.account, role.name, session.name)
    )


def _packed_size(session: Session) -> int | None:
    """How much of what fits is used, in percent (AWS: PackedPolicySize); None without session policies and tags.

    Raises PackedPolicyTooLarge.
    """
    texts = [session.policy or "", *session.policy_arns, *(text for tag in session.tags for text in tag)]
    used = sum(len(text.encode()) for text in texts)
    percent = max(-(-100 * used // _MAX_PACKED), 100 * len(session.tags) // _MAX_TAGS)
    if percent > 100:  # noqa: PLR2004 — that is all
        raise PackedPolicyTooLarge(f"Packed size of session tags consumes {percent}% of allotted space.")
    return percent or None


def _check_tags(tags: Iterable[Tag], transitive_keys: Iterable[str]) -> None:
    """Raise Validation for tags that no session can have; the model limits their number."""
    keys = [(tag.key or "").lower() for tag in tags]
    if len(set(keys)) != len(keys):
        raise Validation("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.startswith("aws:") for key in keys):
        raise Validation("Tag keys beginning with aws: are reserved for system use.")
    if not {key.lower() for key in transitive_keys} <= set(keys):
        raise Validation("The specified transitive tag key must be included in the requested tags.")


def _pairs(tags: Iterable[Tag]) -> Pairs:
    return tuple((tag.key or "", tag.value or "") for tag in tags)
