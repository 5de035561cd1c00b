"""Steps 8 to 11 of the order of checks for each target of a call: find, authorize, key state, key usage."""

from collections.abc import Iterator, Sequence

from msgspec import Struct, structs

from strongroom.authorization.decide import (
    AuthorizedKey,
    AuthorizedRole,
    authorize_account,
    authorize_key,
    authorize_retirement,
    authorize_role,
    role_refused,
)
from strongroom.authorization.external_keys import AuthorizedExternalKey, authorize_by_rules
from strongroom.authorization.ground import Decision
from strongroom.crypto.ciphertext_blob import CiphertextBlob, parse
from strongroom.directory import compiled_trust_policy
from strongroom.errors import (
    AccessDenied,
    Disabled,
    IncorrectKey,
    InvalidCiphertext,
    InvalidKeyUsage,
    UnrecognizedClient,
)
from strongroom.messages.kms.multi_region import ReplicateKeyRequest
from strongroom.messages.xks import XksRequest
from strongroom.model.arn import alias_arn
from strongroom.model.custom_key_store import CustomKeyStore
from strongroom.model.iam import Group, IdentityProvider, ManagedPolicy, Role, User
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import SYMMETRIC_DEFAULT
from strongroom.model.key_states import refusal
from strongroom.model.principal import Principal
from strongroom.operations.call import Call
from strongroom.operations.condition_keys import Asked
from strongroom.operations.related_keys import as_created, not_primary
from strongroom.operations.targets import (
    AccountTarget,
    AliasTarget,
    CustomKeyStoreTarget,
    ExternalKeyTarget,
    FoundGrant,
    FoundKey,
    GrantTarget,
    IdentityTarget,
    KeyTarget,
    ReplicaTarget,
    RoleTarget,
    Target,
    find_custom_key_store,
    find_external_key,
)
from strongroom.snapshot import KeyEntry


def authorize_target(
    call: Call, message: Struct | None, target: KeyTarget, found: FoundKey, operation: str
) -> AuthorizedKey:
    """Steps 9 to 11 for a key.

    Raises AccessDenied or what hides it, the key state's refusal, IncorrectKey or InvalidKeyUsage.
    """
    entry = found.entry
    key = entry.key
    asked = Asked(
        call.identity.principal,
        target.action,
        key.arn,
        call if target.region is None else structs.replace(call, region=target.region),
        message,
        target,
        entry,
        target.encryption_context,
        target.proposed,
        None if target.proposed is None else target.proposed[1],
    )
    try:
        authorized = authorize_key(asked, call.identity, key, entry.policy, entry.grants, found.blob)
    except AccessDenied:
        if found.unless_allowed is not None:
            raise found.unless_allowed from None
        raise
    state_refusal = refusal(target.states or operation, call.snapshot.key_state(key), key.arn)
    if state_refusal is not None:
        raise state_refusal
    if target.ciphertext is not None and found.blob is None:
        authorized = structs.replace(authorized, ciphertext=_blob_of(entry, target.ciphertext))
    if target.usage is not None and key.key_usage != target.usage:
        raise InvalidKeyUsage(f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}.")
    if target.primary and not key.is_primary:
        raise not_primary(key)
    return authorized


def authorize_replica(call: Call, message: Struct | None, target: ReplicaTarget, found: Sequence[KmsKey]) -> Decision:
    """Step 9 for a replica key to make: as if it were made in its Region by CreateKey. Raises AccessDenied.

    `found` is the primary key, the target before.
    """
    (primary,) = found
    assert isinstance(message, ReplicateKeyRequest), "nothing else makes replica keys"
    made = as_created(primary, message)
    there = structs.replace(call, region=target.region)
    asked = Asked(call.identity.principal, target.action, "*", there, made, target)
    return authorize_account(asked, call.identity)


def _blob_of(entry: KeyEntry, ciphertext: bytes) -> CiphertextBlob | None:
    """The blob of a key that the request named; None if it is none, and the key makes none: steps 11 and 12 refuse.

    Raises IncorrectKey, InvalidCiphertext.
    """
    try:
        blob = parse(ciphertext)
    except InvalidCiphertext:
        if entry.key.key_spec == SYMMETRIC_DEFAULT:
            raise
        return None
    if blob.material_id not in entry.materials:
        raise IncorrectKey("The key ID in the request does not identify a CMK that can perform this operation.")
    return blob


def authorize_external_key(call: Call, request: XksRequest, target: ExternalKeyTarget) -> AuthorizedExternalKey:
    """Steps 8 to 10 for an external key. Raises NotFound, AccessDenied or, if it is disabled, Disabled."""
    key = find_external_key(call.snapshot, request)
    rules = call.snapshot.xks_stores[key.prefix].record.rules
    authorized = authorize_by_rules(key, target.action, rules, request.body.request_metadata)
    if target.enabled and not key.enabled:
        raise Disabled("The external key is disabled.")
    return authorized


def authorize_grant(
    call: Call, message: Struct | None, target: GrantTarget, found: FoundGrant, operation: str
) -> AuthorizedKey:
    """Steps 9 and 10 for a grant to retire. Raises AccessDenied or the key state's refusal."""
    entry, grant = found
    key = entry.key
    principal = call.identity.principal
    asked = Asked(principal, target.action, key.arn, call, message, entry=entry, constraints=grant.constraints)
    authorized = authorize_retirement(asked, call.identity, key, entry.policy, grant)
    state_refusal = refusal(operation, call.snapshot.key_state(key), key.arn)
    if state_refusal is not None:
        raise state_refusal
    return authorized


def authorize_named_alias(call: Call, message: Struct | None, target: AliasTarget) -> tuple[str, Decision]:
    """Step 9 for an alias, whether or not it is there; return its ARN and the decision. Raises AccessDenied."""
    arn = alias_arn(call.region, call.account, target.name)
    asked = Asked(call.identity.principal, target.action, arn, call, message, target)
    return arn, authorize_account(asked, call.identity)


def authorize_identity(call: Call, message: Struct | None, target: IdentityTarget) -> Decision:
    """Step 9 for a user, group, role, policy or identity provider, whether or not it is there. Raises AccessDenied.

    AWS: a session of GetSessionToken without multi-factor authentication cannot call IAM; that is UnrecognizedClient.
    """
    principal = call.identity.principal
    if principal.kind in ("Root", "IAMUser") and principal.issued is not None:
        raise UnrecognizedClient("The security token included in the request is invalid.")
    identity = _identity(call, target)
    arn = _arn_of_none(call, target) if identity is None else _arn(identity, target)
    asked = Asked(principal, target.action, arn, call, message, target, identity=identity)
    return authorize_account(asked, call.identity, target.called)


Identified = User | Group | Role | ManagedPolicy | IdentityProvider


def _identity(call: Call, target: IdentityTarget) -> Identified | None:
    """What a target means, if it is there; without a name the caller's own user."""
    directory, name = call.directory, target.name
    match target.kind:
        case "user":
            found_user = directory.users.get(call.principal.principal_id) if name is None else directory.user(name)
            return None if found_user is None else found_user.record
        case "group":
            group = directory.group(name or "")
            return None if group is None else group.record
        case "role":
            role = directory.role(name or "")
            return None if role is None else role.record
        case "policy":
            return directory.managed_policy(name or "")
        case "access-key":
            key = directory.access_keys.get(name or "")
            owner = None if key is None else directory.users.get(key.record.user_id or "")
            return None if owner is None else owner.record
        case _:
            provider = directory.provider(name or "")
            return None if provider is None else provider.record


def _arn(identity: Identified, target: IdentityTarget) -> str:
    """The ARN of what a target means, as it is or as it is to be called."""
    if isinstance(identity, User | Group):
        name, path = target.new_name or identity.name, target.new_path or identity.path
        return structs.replace(identity, name=name, path=path).arn
    return identity.arn


def _arn_of_none(call: Call, target: IdentityTarget) -> str:
    """The ARN that a target would have that is not there; for one without a name the caller's."""
    if target.kind in ("policy", "oidc-provider"):
        return target.name or f"arn:aws:iam::{call.account}:{target.kind}{target.path}"
    if target.kind == "access-key":  # a root user's or nobody's; AWS says it in these words
        return f"access key {target.name}"
    if target.name is None:
        return call.principal.arn
    return f"arn:aws:iam::{call.account}:{target.kind}{target.path}{target.name}"


def applying(declared: Sequence[Target], principal: Principal) -> Iterator[Target]:
    """The targets that a call has: of what sessions hand down, what the caller's does."""
    for target in declared:
        if not isinstance(target, RoleTarget) or not target.inherited or _hands_down(principal, target.action):
            yield target


def _hands_down(principal: Principal, action: str) -> bool:
    """Whether a caller's session gives to the session of a role what this action would set."""
    return (
        principal.source_identity is not None if action == "sts:SetSourceIdentity" else bool(principal.transitive_tags)
    )


def authorize_role_target(call: Call, message: Struct | None, target: RoleTarget) -> AuthorizedRole:
    """Steps 8 and 9 for a role to assume. Raises AccessDenied, also if there is no such role."""
    asked = Asked(call.identity.principal, target.action, target.role_arn, call, message, target)
    role = call.snapshot.find_role(target.role_arn)
    if role is None:
        raise role_refused(asked)
    asked = structs.replace(asked, role=role)
    return authorize_role(asked, call.identity, role, compiled_trust_policy(role.trust_policy, role.trusted))


def authorize_custom_key_store(
    call: Call, message: Struct | None, target: CustomKeyStoreTarget
) -> tuple[CustomKeyStore, Decision]:
    """Steps 8 to 10 for a custom key store, the leave first: nobody learns of it who may not ask.

    Raises AccessDenied, CustomKeyStoreNotFound, CustomKeyStoreInvalidState.
    """
    decision = authorize_without_key(call, message, target)
    return find_custom_key_store(target, call.snapshot, call.principal, call.region).record, decision


def authorize_without_key(call: Call, message: Struct | None, target: AccountTarget | CustomKeyStoreTarget) -> Decision:
    """Step 9 for what concerns no key. Raises AccessDenied."""
    asked = Asked(call.identity.principal, target.action, "*", call, message)
    return authorize_account(asked, call.identity)
