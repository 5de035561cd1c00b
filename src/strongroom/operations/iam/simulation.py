"""SimulatePrincipalPolicy and SimulateCustomPolicy: what our own decision would be."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field

from strongroom.audit.record import utc_time
from strongroom.authorization.decide import decide
from strongroom.authorization.documents import compile_identity_policy, compile_key_policy, policy_digest
from strongroom.authorization.ground import PERMISSIONS_BOUNDARY, Decision
from strongroom.authorization.identity import Identity
from strongroom.authorization.policy import Policy
from strongroom.authorization.request import Values
from strongroom.errors import InvalidInput, MalformedPolicyDocument, NoSuchEntity, Validation
from strongroom.messages.iam.simulation import (
    ContextEntry,
    EvaluationResult,
    PermissionsBoundaryDecisionDetail,
    SimulateCustomPolicyRequest,
    SimulatePolicyResponse,
    SimulatePrincipalPolicyRequest,
    Statement,
)
from strongroom.model.arn import session_arn
from strongroom.model.grant import GrantConstraints
from strongroom.model.iam import Entity, Group, Pairs, User
from strongroom.model.principal import Principal
from strongroom.operations.call import Call
from strongroom.operations.iam.pages import paged
from strongroom.operations.targets import AccountTarget, IdentityTarget

_MAX_DECISIONS = 10_000
_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9]+")
_SOURCE = re.compile(r"arn:aws:iam::[0-9]{12}:(user|group|role)(/(?:[^/]+/)*)([^/]+)")


class _Simulated(Struct):
    """A request that nobody made (`authorization.request.Request`). `missing` are condition keys it has no value of."""

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, Values]
    encryption_context: Mapping[str, str] | None = None
    proposed: tuple[frozenset[str], GrantConstraints] | None = None
    missing: dict[str, None] = field(default_factory=dict)

    def values(self, name: str) -> Values | None:
        """The values that were given for a condition key, or None."""
        found = self.context.get(name)
        if found is None:
            self.missing[name] = None
        return found


class _Source(NamedTuple):
    """Where a policy comes from, as a result names it."""

    policy_id: str
    policy_type: str


class _Simulation(NamedTuple):
    """Whose policies are asked, and where each comes from, by its digest."""

    identity: Identity
    resource_policy: Policy | None
    owner: str
    sources: Mapping[str, _Source]


def simulate_custom_policy_targets(request: SimulateCustomPolicyRequest) -> list[AccountTarget]:
    """No identity: the policies are in the request."""
    _check(request)
    return [AccountTarget("iam:SimulateCustomPolicy")]


def simulate_custom_policy(
    call: Call, request: SimulateCustomPolicyRequest, _nothing: Sequence[object]
) -> SimulatePolicyResponse:
    """AWS: SimulateCustomPolicy."""
    arn = request.caller_arn or f"arn:aws:iam::{call.account}:user/simulated"
    identity = Identity(_caller(arn), tuple(_compiled(text) for text in request.policy_input_list or ()))
    return _results(call, request, identity, {})


def simulate_principal_policy_targets(request: SimulatePrincipalPolicyRequest) -> list[IdentityTarget]:
    """The user, group or role whose policies are asked."""
    _check(request)
    source = _SOURCE.fullmatch(request.policy_source_arn or "")
    if source is None:
        raise InvalidInput(
            f"Invalid Entity Arn: {request.policy_source_arn} does not clearly define entity type and name."
        )
    return [IdentityTarget("iam:SimulatePrincipalPolicy", source[1], source[3], source[2])]


def simulate_principal_policy(
    call: Call, request: SimulatePrincipalPolicyRequest, _nothing: Sequence[object]
) -> SimulatePolicyResponse:
    """AWS: SimulatePrincipalPolicy: the policies of a user with its groups, a group or a role, and more if given."""
    entity = _entity(call, request.policy_source_arn or "")
    directory = call.directory
    arn = request.caller_arn or entity.arn
    tags = () if isinstance(entity, Group) else entity.tags
    principal = _caller(arn, "" if request.caller_arn else _unique_id(entity), tags)
    more = tuple(_compiled(text) for text in request.policy_input_list or ())
    boundary = None if isinstance(entity, Group) else directory.boundary_of(entity)
    identity = Identity(principal, (*directory.policies_of(entity), *more), boundary)
    return _results(call, request, identity, _sources_of(call, entity))


def _results(
    call: Call,
    request: SimulateCustomPolicyRequest | SimulatePrincipalPolicyRequest,
    identity: Identity,
    sources: dict[str, _Source],
) -> SimulatePolicyResponse:
    """Decide on each action and resource."""
    boundaries = request.permissions_boundary_policy_input_list
    if boundaries:
        (document,) = boundaries
        identity = Identity(identity.principal, identity.policies, _compiled(document))
    numbered = enumerate(request.policy_input_list or (), 1)
    sources |= {policy_digest(text): _Source(f"PolicyInputList.{number}", "none") for number, text in numbered}
    resource_policy = (
        None if request.resource_policy is None else _compiled(request.resource_policy, compile_key_policy)
    )
    if request.resource_policy is not None:
        sources[policy_digest(request.resource_policy)] = _Source("ResourcePolicy", "resource")
    owner = _account_of(request.resource_owner or "") or identity.principal.account
    simulation = _Simulation(identity, resource_policy, owner, sources)
    context = _context(call, identity.principal, request.context_entries or ())
    asked = [
        (action, resource) for action in request.action_names or () for resource in request.resource_arns or ("*",)
    ]
    page = paged(request, list(enumerate(asked)), lambda one: f"{one[0]:06}")
    return SimulatePolicyResponse(
        evaluation_results=tuple(_result(simulation, context, *pair) for _, pair in page.items),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )


def _result(simulation: _Simulation, context: Mapping[str, Values], action: str, resource: str) -> EvaluationResult:
    identity = simulation.identity
    request = _Simulated(identity.principal, action, resource, context)
    decision = decide(request, identity, simulation.owner, simulation.resource_policy)
    bounded = None
    if identity.boundary is not None:
        denies = identity.boundary.denying(request, bounded=True) is not None
        allows = not denies and identity.boundary.allowing(request) is not None
        bounded = PermissionsBoundaryDecisionDetail(allowed_by_permissions_boundary=allows)
    return EvaluationResult(
        eval_action_name=action,
        eval_resource_name=resource,
        eval_decision=_told(decision),
        matched_statements=_matched(decision, simulation.sources),
        missing_context_values=tuple(request.missing),
        permissions_boundary_decision_detail=bounded,
    )


def _told(decision: Decision) -> str:
    if decision.effect == "Allow":
        return "allowed"
    return "explicitDeny" if decision.grounds[0].effect == "Deny" else "implicitDeny"


def _matched(decision: Decision, sources: Mapping[str, _Source]) -> tuple[Statement, ...]:
    """The statements that decided, of the boundary none (AWS: MatchedStatements)."""
    told = [ground for ground in decision.grounds if ground.policy_type != PERMISSIONS_BOUNDARY]
    found = [sources.get(ground.policy) for ground in told if ground.effect != "NoAllow"]
    return tuple(
        Statement(source_policy_id=source.policy_id, source_policy_type=source.policy_type)
        for source in found
        if source is not None
    )


def _check(request: SimulateCustomPolicyRequest | SimulatePrincipalPolicyRequest) -> None:
    """Refuse what is not simulated, and what is no action. Raises InvalidInput or Validation."""
    if getattr(request, "ordered_organization_policy_input_list", None) or getattr(
        request, "policy_exclusion_list", None
    ):
        raise Validation("Policies of organizations, and exclusions of policies, are not simulated.")
    if len(request.permissions_boundary_policy_input_list or ()) > 1:
        raise InvalidInput("There can be one permissions boundary.")
    decisions = len(request.action_names or ()) * len(request.resource_arns or ("*",))
    if decisions > _MAX_DECISIONS:
        raise InvalidInput(f"At most {_MAX_DECISIONS} decisions are simulated at once: actions times resources.")
    if request.caller_arn is not None and not _SOURCE.fullmatch(request.caller_arn):
        raise InvalidInput(f"Invalid Caller Arn: {request.caller_arn} is not the ARN of a user, group or role.")
    if request.resource_policy is not None and request.caller_arn is None and not hasattr(request, "policy_source_arn"):
        raise InvalidInput("There must be a CallerArn if there is a ResourcePolicy.")
    for action in request.action_names or ():
        if not _ACTION.fullmatch(action):
            raise InvalidInput(f"Invalid Action Name: {action}")


def _compiled(text: str, compile_policy: Callable[[str], Policy] = compile_identity_policy) -> Policy:
    """A policy of the request, compiled. Raises InvalidInput: the operations know no other code for a wrong policy."""
    try:
        return compile_policy(text)
    except MalformedPolicyDocument as error:
        raise InvalidInput(error.message) from error


def _context(call: Call, principal: Principal, entries: Iterable[ContextEntry]) -> dict[str, Values]:
    """The condition keys of a simulated request: those that every request has, and those given."""
    context: dict[str, Values] = {
        "aws:currenttime": (utc_time(int(call.now)),),
        "aws:epochtime": (str(int(call.now)),),
        "aws:principalaccount": (principal.account,),
        "aws:principalarn": (principal.issuer_arn or principal.arn,),
    }
    if _kind_of(principal.arn) == "user":
        context["aws:username"] = (principal.arn.rpartition("/")[2],)
    context |= {f"aws:principaltag/{key.lower()}": (value,) for key, value in principal.tags}
    for entry in entries:
        if entry.context_key_name is not None and entry.context_key_values:
            context[entry.context_key_name.lower()] = tuple(entry.context_key_values)
    return context


def _caller(arn: str, unique_id: str = "", tags: Pairs = ()) -> Principal:
    """Who calls: a user (or a group as if it were one), or a session of a role."""
    account = _account_of(arn)
    if _kind_of(arn) != "role":
        return Principal("IAMUser", arn, account, unique_id, "", tags=tags)
    session = session_arn(account, arn.rpartition("/")[2], "simulated")
    session_id = f"{unique_id}:simulated"
    return Principal("AssumedRole", session, account, session_id, "", issuer_arn=arn, issuer_id=unique_id, tags=tags)


def _entity(call: Call, arn: str) -> Entity:
    """The user, group or role of this ARN. Raises NoSuchEntity."""
    directory, name = call.directory, arn.rpartition("/")[2]
    for found in (directory.user(name), directory.group(name), directory.role(name)):
        if found is not None and found.record.arn == arn:
            return found.record
    raise NoSuchEntity(f"The entity with ARN {arn} cannot be found.")


def _unique_id(entity: Entity) -> str:
    if isinstance(entity, Group):
        return entity.group_id
    return entity.user_id if isinstance(entity, User) else entity.role_id


def _sources_of(call: Call, entity: Entity) -> dict[str, _Source]:
    """Where the policies of an identity come from, by their digests."""
    kind = type(entity).__name__.lower()
    sources = {policy_digest(text): _Source(f"{kind}_{entity.name}_{name}", kind) for name, text in entity.policies}
    for arn in entity.attached:
        policy = call.directory.managed_policy(arn)
        if policy is not None:
            managed_by = "aws-managed" if policy.account == "aws" else "user-managed"
            sources[policy_digest(policy.document)] = _Source(policy.name, managed_by)
    if isinstance(entity, User):
        for group in call.directory.groups_of(entity):
            sources = _sources_of(call, group) | sources
    return sources


def _kind_of(arn: str) -> str:
    """`user`, `group`, `role` or `assumed-role`."""
    return arn.split(":", 5)[5].partition("/")[0]


def _account_of(arn: str) -> str:
    """The account in an ARN, or of an account's number; empty if there is none."""
    if arn.isdecimal():
        return arn
    parts = arn.split(":")
    return parts[4] if len(parts) > 5 else ""  # noqa: PLR2004 — an ARN has six parts
