"""What a request acts on, declared by its operation, and found and authorized by the pipeline.

Steps 8 to 11 of the order of checks (docs/architecture.md): find the key, authorize, key state, key usage.
"""

from typing import NamedTuple

from msgspec import structs

from strongroom.authorization.decide import AuthorizedKey, authorize_alias, authorize_key, hidden
from strongroom.crypto.ciphertext_blob import CiphertextBlob, parse
from strongroom.errors import IncorrectKey, InvalidArn, InvalidKeyUsage, NotFound
from strongroom.model.arn import alias_arn, key_arn
from strongroom.model.key_reference import KeyReference, parse_key_reference
from strongroom.model.key_states import refusal
from strongroom.model.principal import Principal
from strongroom.snapshot import KeyEntry, Snapshot


class AccountTarget(NamedTuple):
    """An action that concerns no key, only the caller's account."""

    action: str


class AliasTarget(NamedTuple):
    """An action on an alias of the caller's account; whatever it does to a key is another target."""

    action: str
    name: str


class KeyTarget(NamedTuple):
    """An action on one KMS key.

    `key_id` is as the caller gave it; `by_alias` says whether it may name the key through an alias, `foreign` whether
    it may be another account's key. `ciphertext` is a blob to open: it names the key if `key_id` is None, and must have
    been made under that key otherwise. `usage` is the key usage that the action needs. `states` is the operation whose
    row of the key-state table holds for this key, if it is not the operation's own.
    """

    action: str
    key_id: str | None
    ciphertext: bytes | None = None
    usage: str | None = None
    by_alias: bool = False
    foreign: bool = False
    states: str | None = None


def use_of_key(action: str, key_id: str | None, *, usage: str | None, ciphertext: bytes | None = None) -> KeyTarget:
    """A key to use and not to manage: it may be named in all four ways, and be another account's."""
    return KeyTarget(action, key_id, ciphertext, usage, by_alias=True, foreign=True)


Target = AccountTarget | AliasTarget | KeyTarget


class FoundKey(NamedTuple):
    """A key that a target means, before anybody said that the caller may know of it."""

    entry: KeyEntry
    blob: CiphertextBlob | None


def find(target: KeyTarget, snapshot: Snapshot, principal: Principal, region: str) -> FoundKey:
    """Step 8.

    Raises NotFound, InvalidArn, InvalidCiphertext, or, for what is not the caller's to know of, AccessDenied.
    """
    if target.key_id is None:
        assert target.ciphertext is not None, "a target names a key or a ciphertext"
        blob = parse(target.ciphertext)
        entry = snapshot.find_key_of_material(region, blob.material_id)
        if entry is None:
            raise hidden(principal, target.action, by_ciphertext=True)
        return FoundKey(entry, blob)
    reference = parse_key_reference(target.key_id, region=region, account=principal.account)
    if not target.by_alias and reference.is_alias:
        raise _no_alias_here(target.key_id)
    if not target.foreign and reference.account != principal.account:
        raise hidden(principal, target.action)
    entry = snapshot.find_key(reference)
    if entry is None and target.ciphertext is not None:
        return _foreign_by_short_id(target, target.ciphertext, reference, snapshot, principal)
    if entry is None:
        raise _not_found(reference, principal, target.action)
    return FoundKey(entry, None)


def _foreign_by_short_id(
    target: KeyTarget, ciphertext: bytes, reference: KeyReference, snapshot: Snapshot, principal: Principal
) -> FoundKey:
    """Find the key of a ciphertext, of whatever account, by its key id alone (AWS: Decrypt, the KeyId parameter).

    Raises as `find` does.
    """
    blob = parse(ciphertext)
    entry = snapshot.find_key_of_material(reference.region, blob.material_id)
    if entry is None or entry.key.key_id != reference.name or reference.account != principal.account:
        raise _not_found(reference, principal, target.action)
    return FoundKey(entry, blob)


def authorize(target: KeyTarget, found: FoundKey, principal: Principal, operation: str) -> AuthorizedKey:
    """Steps 9 to 11. Raises AccessDenied, the key state's refusal, IncorrectKey or InvalidKeyUsage."""
    key = found.entry.key
    authorized = authorize_key(principal, target.action, key, found.entry.policy, found.blob)
    state_refusal = refusal(target.states or operation, key.state, key.arn)
    if state_refusal is not None:
        raise state_refusal
    if target.ciphertext is not None and found.blob is None:
        blob = parse(target.ciphertext)
        if blob.material_id not in found.entry.materials:
            raise IncorrectKey("The key ID in the request does not identify a CMK that can perform this operation.")
        authorized = structs.replace(authorized, ciphertext=blob)
    if target.usage is not None and key.key_usage != target.usage:
        raise InvalidKeyUsage(f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}.")
    return authorized


def authorize_named_alias(target: AliasTarget, principal: Principal, region: str) -> str:
    """Step 9 for an alias, whether or not it is there; return its ARN. Raises AccessDenied."""
    arn = alias_arn(region, principal.account, target.name)
    authorize_alias(principal, target.action, arn)
    return arn


def _no_alias_here(key_id: str) -> InvalidArn | NotFound:
    if key_id.startswith("arn:"):
        return InvalidArn("Key Aliases are not supported for this operation.")
    return NotFound(f"Invalid keyId '{key_id}'")


def _not_found(reference: KeyReference, principal: Principal, action: str) -> Exception:
    if reference.account != principal.account:
        return hidden(principal, action)
    if reference.is_alias:
        arn = alias_arn(reference.region, reference.account, reference.name)
        return NotFound(f"Alias {arn} is not found.")
    arn = key_arn(reference.region, reference.account, reference.name)
    return NotFound(f"Key '{arn}' does not exist")
