"""Steps 8 to 11 of the order of checks for each target of a call: find, authorize, key state, key usage."""

from msgspec import Struct, structs

from strongroom.authorization.decide import AuthorizedKey, authorize_account, authorize_key, authorize_retirement
from strongroom.authorization.ground import Decision
from strongroom.crypto.ciphertext_blob import parse
from strongroom.errors import IncorrectKey, InvalidKeyUsage
from strongroom.model.arn import alias_arn
from strongroom.model.key_states import refusal
from strongroom.operations.call import Call
from strongroom.operations.condition_keys import Asked
from strongroom.operations.targets import AccountTarget, AliasTarget, FoundGrant, FoundKey, GrantTarget, KeyTarget


def authorize_target(
    call: Call, message: Struct | None, target: KeyTarget, found: FoundKey, operation: str
) -> AuthorizedKey:
    """Steps 9 to 11 for a key. Raises AccessDenied, the key state's refusal, IncorrectKey or InvalidKeyUsage."""
    entry = found.entry
    key = entry.key
    asked = Asked(
        call.identity.principal,
        target.action,
        key.arn,
        call,
        message,
        target,
        entry,
        target.encryption_context,
        target.proposed,
        None if target.proposed is None else target.proposed[1],
    )
    authorized = authorize_key(asked, call.identity, key, entry.policy, entry.grants, found.blob)
    state_refusal = refusal(target.states or operation, key.state, key.arn)
    if state_refusal is not None:
        raise state_refusal
    if target.ciphertext is not None and found.blob is None:
        blob = parse(target.ciphertext)
        if blob.material_id not in entry.materials:
            raise IncorrectKey("The key ID in the request does not identify a CMK that can perform this operation.")
        authorized = structs.replace(authorized, ciphertext=blob)
    if target.usage is not None and key.key_usage != target.usage:
        raise InvalidKeyUsage(f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}.")
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
    state_refusal = refusal(operation, key.state, key.arn)
    if state_refusal is not None:
        raise state_refusal
    return authorized


def authorize_named_alias(call: Call, message: Struct | None, target: AliasTarget) -> tuple[str, Decision]:
    """Step 9 for an alias, whether or not it is there; return its ARN and the decision. Raises AccessDenied."""
    arn = alias_arn(call.region, call.account, target.name)
    asked = Asked(call.identity.principal, target.action, arn, call, message, target)
    return arn, authorize_account(asked, call.identity)


def authorize_without_key(call: Call, message: Struct | None, target: AccountTarget) -> Decision:
    """Step 9 for what concerns no key. Raises AccessDenied."""
    asked = Asked(call.identity.principal, target.action, "*", call, message)
    return authorize_account(asked, call.identity)
