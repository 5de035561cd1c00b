"""The decision whether a principal may do something (AWS: "Policy evaluation logic", "Determining access").

Steps, for a key:
1. An explicit deny ends it, wherever it is: key policy, identity-based policies, boundary, session policies.
2. The key policy allows: it names the caller directly, or the role of its session, or its account.
3. A grant allows, in the same three ways.
4. What the caller's own account must allow besides. A root user has its account's leave. In the key's own account,
   whoever is named directly needs nothing more; named by its role, the permissions boundary and the session policies
   must allow; named by its account, the identity-based policies too.
5. A caller of another account always needs all that its own account can say: both sides must allow.
6. Otherwise: refused. A foreign principal is not told whether the key exists.

For a role to assume, the same with its trust policy in the place of the key policy and without grants.

For what has no key (CreateKey, ListKeys, GenerateRandom), and for aliases, 1 and 4 without a key policy: an alias has
no policy of its own, and it is always the caller's account's.
"""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from msgspec import Struct, structs

from strongroom.authorization.grants import KeyGrants, permits
from strongroom.authorization.ground import (
    GRANT,
    IDENTITY_POLICY,
    KEY_POLICY,
    PERMISSIONS_BOUNDARY,
    SESSION_POLICY,
    TRUST_POLICY,
    Decision,
    Ground,
)
from strongroom.authorization.identity import Identity
from strongroom.authorization.policy import MAX_UNMET, Policy, Statement
from strongroom.authorization.principals import Naming
from strongroom.authorization.request import Request
from strongroom.crypto.ciphertext_blob import CiphertextBlob
from strongroom.errors import AccessDenied
from strongroom.model.arn import root_arn
from strongroom.model.grant import Grant
from strongroom.model.iam import Role
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal

_DECIDED = object()
"""Known to this module only: what it made was decided here."""

_REASONS = {
    KEY_POLICY: "resource-based policy",
    IDENTITY_POLICY: "identity-based policy",
    PERMISSIONS_BOUNDARY: "permissions boundary",
    SESSION_POLICY: "session policy",
}
"""Policy type -> what AWS calls it in the text of a refusal."""


class AuthorizedKey(Struct, frozen=True):
    """A KMS key that a principal may use for one action. Only this module makes one.

    `ciphertext` is what the request asks to open, once it is known to have been made under this key. `grant` is what
    allowed it, if a grant did.
    """

    seal: object
    key: KmsKey
    principal: Principal
    decision: Decision
    ciphertext: CiphertextBlob | None = None
    grant: Grant | None = None

    def __post_init__(self) -> None:
        if self.seal is not _DECIDED:
            raise TypeError("an AuthorizedKey comes from the decision alone")

    @property
    def material_id(self) -> str:
        """The key material to use: the one that made the ciphertext, or the current one."""
        return self.key.current_material_id if self.ciphertext is None else self.ciphertext.material_id

    def __repr__(self) -> str:
        return f"AuthorizedKey({self.decision.action} on {self.key.arn})"


class AuthorizedRole(Struct, frozen=True):
    """A role that a principal may assume. Only this module makes one."""

    seal: object
    role: Role
    principal: Principal
    decision: Decision

    def __post_init__(self) -> None:
        if self.seal is not _DECIDED:
            raise TypeError("an AuthorizedRole comes from the decision alone")

    def __repr__(self) -> str:
        return f"AuthorizedRole({self.role.arn})"


class _Leave(NamedTuple):
    """What the caller's own account says: by which policies it allows, and which type `lacks` an allow."""

    grounds: tuple[Ground, ...] = ()
    lacks: str | None = None


def authorize_key(
    request: Request,
    identity: Identity,
    key: KmsKey,
    policy: Policy,
    grants: KeyGrants,
    ciphertext: CiphertextBlob | None = None,
) -> AuthorizedKey:
    """Decide on an action on a key, or raise AccessDenied with AWS's text."""
    principal = identity.principal
    denial = _explicit_denial(request, identity, policy)  # 1
    if denial is not None:
        raise _denied(request, key, denial, by_ciphertext=ciphertext is not None)
    lacks = None
    naming, statement = _named_by_policy(request, key.account, policy)  # 2
    if statement is not None:
        leave = _own_accounts_leave(request, identity, key.account, naming)
        if leave.lacks is None:
            ground = statement.ground if principal.account == key.account else statement.ground.untold
            decision = Decision(request.action, "Allow", (ground, *leave.grounds))
            return AuthorizedKey(_DECIDED, key, principal, decision, ciphertext)
        lacks = leave.lacks
    if grants:  # 3
        operation = request.action.removeprefix("kms:")
        for naming, grantee in _names(principal):
            for grant in grants.candidates(grantee, operation, request.encryption_context):
                if not permits(grant, request):
                    continue
                leave = _own_accounts_leave(request, identity, key.account, naming)
                if leave.lacks is None:
                    ground = Ground(GRANT, "Allow", grant_id=grant.grant_id)
                    decision = Decision(request.action, "Allow", (ground, *leave.grounds))
                    return AuthorizedKey(_DECIDED, key, principal, decision, ciphertext, grant)
                lacks = lacks or leave.lacks
    missing = _no_allow(request, identity, policy, lacks or KEY_POLICY)  # 6
    raise _denied(request, key, missing, by_ciphertext=ciphertext is not None)


def authorize_retirement(
    request: Request, identity: Identity, key: KmsKey, policy: Policy, grant: Grant
) -> AuthorizedKey:
    """Decide whether a principal may retire a grant (AWS: RetireGrant), or raise AccessDenied with AWS's text.

    The retiring principal may; so may the grantee, if the grant is for RetireGrant too, and the account whose principal
    made the grant. Policies cannot allow it to anyone else, but they can deny it.
    """
    denial = _explicit_denial(request, identity, policy)
    if denial is not None:
        raise _denied(request, key, denial, by_ciphertext=False)
    named = {grant.retiring_id or grant.retiring_principal, grant.retiring_service, root_arn(grant.issuing_account)}
    if "RetireGrant" in grant.operations:
        named |= {grant.grantee_id or grant.grantee_principal, grant.grantee_service}
    lacks = None
    for naming, name in _names(identity.principal):
        if name in named:
            leave = _leave(request, identity, naming)
            if leave.lacks is None:
                ground = Ground(GRANT, "Allow", grant_id=grant.grant_id)
                decision = Decision(request.action, "Allow", (ground, *leave.grounds))
                return AuthorizedKey(_DECIDED, key, identity.principal, decision, None, grant)
            lacks = lacks or leave.lacks
    raise _denied(request, key, _no_allow(request, identity, None, lacks or KEY_POLICY), by_ciphertext=False)


def authorize_role(request: Request, identity: Identity, role: Role, policy: Policy) -> AuthorizedRole:
    """Decide whether a principal may assume a role whose trust policy is `policy`, or raise AccessDenied.

    The refusal has one text, which AWS gives also for a role that does not exist: `role_refused`.
    """
    decision = decide(request, identity, role.account, policy)
    at_home = request.principal.account == role.account
    if decision.effect == "Allow":
        if not at_home:
            decision = structs.replace(decision, grounds=(decision.grounds[0].untold, *decision.grounds[1:]))
        return AuthorizedRole(_DECIDED, role, request.principal, decision)
    told = at_home or decision.grounds[0].policy_type != TRUST_POLICY
    raise role_refused(request, decision if told else None)


def decide(request: Request, identity: Identity, account: str, policy: Policy | None) -> Decision:
    """Decide on an action on what `account` owns, which has the resource-based `policy`, or has none.

    A Decision to allow has as its first ground the statement of that policy, and one to refuse has one ground.
    """
    ground = _explicit_denial(request, identity, policy)
    naming, statement = Naming.ACCOUNT, None
    if ground is None and policy is not None:
        naming, statement = _named_by_policy(request, account, policy)
        if statement is None:
            ground = _no_allow(request, identity, policy, TRUST_POLICY)
    if ground is None:
        leave = _own_accounts_leave(request, identity, account, naming)
        if leave.lacks is None:
            first = () if statement is None else (statement.ground,)
            return Decision(request.action, "Allow", (*first, *leave.grounds))
        ground = _no_allow(request, identity, None, leave.lacks)
    return Decision(request.action, "Deny", (ground,))


def role_refused(request: Request, decision: Decision | None = None) -> AccessDenied:
    """The refusal that does not tell whether a role exists."""
    if request.principal.kind == "WebIdentityUser":
        return AccessDenied(f"Not authorized to perform {request.action}", decision)
    return AccessDenied(
        f"User: {request.principal.arn} is not authorized to perform: {request.action} on resource: {request.resource}",
        decision,
    )


def authorize_account(request: Request, identity: Identity, called: str | None = None) -> Decision:
    """Decide on an action that concerns no key, or one on what has no policy of its own, or raise AccessDenied.

    `called` is what the refusal calls the resource, if not by its ARN.
    """
    decision = decide(request, identity, identity.principal.account, None)
    if decision.effect == "Deny":
        raise _refusal(request, decision.grounds[0], called)
    return decision


def hidden(principal: Principal, action: str, *, by_ciphertext: bool = False) -> AccessDenied:
    """The refusal that does not tell whether a key exists."""
    what = "on the resource associated with this ciphertext" if by_ciphertext else "on this resource"
    return AccessDenied(
        f"User: {principal.arn} is not authorized to perform: {action} {what} because the resource does not exist "
        "in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
    )


def _explicit_denial(request: Request, identity: Identity, policy: Policy | None) -> Ground | None:
    """Step 1."""
    bounded = identity.boundary is not None
    if policy is not None and policy.denies:
        statement = policy.denying(request, bounded=bounded)
        if statement is not None:
            return statement.ground
    for policy_type, attached in _attached(identity):
        statement = attached.denying(request, bounded=bounded)
        if statement is not None:
            return structs.replace(statement.ground, policy_type=policy_type)
    return None


def _attached(identity: Identity) -> list[tuple[str, Policy]]:
    boundary = () if identity.boundary is None else (identity.boundary,)
    return [
        *((IDENTITY_POLICY, policy) for policy in identity.policies),
        *((PERMISSIONS_BOUNDARY, policy) for policy in boundary),
        *((SESSION_POLICY, policy) for policy in identity.session_policies or ()),
    ]


def _named_by_policy(request: Request, account: str, policy: Policy) -> tuple[Naming, Statement | None]:
    """Step 2: the statement that names the caller most directly, and how. `account` owns what the policy is on."""
    principal = request.principal
    enough = Naming.DIRECTLY if principal.account == account and not principal.is_root_user else Naming.ACCOUNT
    best, by = Naming.NOT, None
    for statement in policy.allows:
        if principal.kind == "WebIdentityUser" and principal.federated_provider not in statement.principals.providers:
            continue  # `*` is whoever signs; AWS's documents do not say that it is a provider's users too
        naming = statement.principals.naming(principal)
        if naming > best and statement.applies(request):
            best, by = naming, statement
            if best >= enough:
                break
    return best, by


def _names(principal: Principal) -> list[tuple[Naming, str]]:
    """What a grant may call the caller, the most direct name first: by unique id whoever can be deleted."""
    names = [(Naming.DIRECTLY, principal.principal_id), (Naming.DIRECTLY, principal.arn)]
    if principal.issuer_arn is not None:
        names += [(Naming.ISSUER, name) for name in (principal.issuer_id, principal.issuer_arn) if name is not None]
    if not principal.is_root_user:
        names.append((Naming.ACCOUNT, root_arn(principal.account)))
    return names


def _own_accounts_leave(request: Request, identity: Identity, account: str, naming: Naming) -> _Leave:
    """Steps 4 and 5. A service has no account."""
    principal = identity.principal
    at_home = principal.account == account or principal.kind == "AWSService"
    return _leave(request, identity, naming if at_home else Naming.ACCOUNT)


def _leave(request: Request, identity: Identity, naming: Naming) -> _Leave:
    """Step 4: what must allow besides for a caller who is named so."""
    if identity.principal.is_root_user or naming is Naming.DIRECTLY:
        return _Leave()
    grounds: list[Ground] = []
    for policy_type, policies in _limits(identity, naming):
        ground = _allowing(policy_type, policies, request)
        if ground is None:
            return _Leave(lacks=policy_type)
        grounds.append(ground)
    return _Leave(tuple(grounds))


def _limits(identity: Identity, naming: Naming) -> list[tuple[str, Sequence[Policy]]]:
    """The policies of each type of which one must allow."""
    limits: list[tuple[str, Sequence[Policy]]] = []
    if naming is Naming.ACCOUNT:
        limits.append((IDENTITY_POLICY, identity.policies))
    if identity.boundary is not None:
        limits.append((PERMISSIONS_BOUNDARY, (identity.boundary,)))
    if identity.session_policies is not None:
        limits.append((SESSION_POLICY, identity.session_policies))
    return limits


def _allowing(policy_type: str, policies: Sequence[Policy], request: Request) -> Ground | None:
    for policy in policies:
        statement = policy.allowing(request)
        if statement is not None:
            return structs.replace(statement.ground, policy_type=policy_type)
    return None


def _no_allow(request: Request, identity: Identity, policy: Policy | None, lacks: str) -> Ground:
    """The ground of a refusal for want of an allow, with the conditions of statements that would otherwise allow."""
    candidates: Sequence[Policy] = () if policy is None else (policy,)
    if lacks not in (KEY_POLICY, TRUST_POLICY):
        candidates = dict(_limits(identity, Naming.ACCOUNT))[lacks]
    nearest = (
        unmet
        for candidate in candidates
        for statement in candidate.allows
        if statement.principals.naming(request.principal) is not Naming.NOT
        and (unmet := statement.unmet(request)) is not None
    )
    return Ground(lacks, "NoAllow", nearest=tuple(islice(nearest, MAX_UNMET)))


def _denied(request: Request, key: KmsKey, ground: Ground, *, by_ciphertext: bool) -> AccessDenied:
    if request.principal.account != key.account:
        return hidden(request.principal, request.action, by_ciphertext=by_ciphertext)
    return _refusal(request, ground)


def _refusal(request: Request, ground: Ground, called: str | None = None) -> AccessDenied:
    what = _REASONS[ground.policy_type]
    article = "an" if what[0] in "aeiou" else "a"
    reason = (
        f"with an explicit deny in {article} {what}"
        if ground.effect == "Deny"
        else f"because no {what} allows the {request.action} action"
    )
    return AccessDenied(
        f"User: {request.principal.arn} is not authorized to perform: {request.action} "
        f"on resource: {called or request.resource} {reason}",
        Decision(request.action, "Deny", (ground,)),
    )
