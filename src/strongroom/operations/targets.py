"""What a request acts on, declared by its operation, and how the key it means is found: step 8 of the order of checks.

`authorizing` goes on from there.
"""

from collections.abc import Mapping
from typing import NamedTuple

from strongroom.authorization.decide import hidden
from strongroom.crypto.ciphertext_blob import CiphertextBlob, parse
from strongroom.errors import (
    AccessDenied,
    CustomKeyStoreInvalidState,
    CustomKeyStoreNotFound,
    InvalidArn,
    InvalidGrantToken,
    NotFound,
)
from strongroom.keystores.grant_tokens import GrantTokens
from strongroom.messages.xks import XksRequest
from strongroom.model.arn import alias_arn, key_arn
from strongroom.model.custom_key_store import CONNECTED, CustomKeyStore
from strongroom.model.grant import Grant, GrantConstraints
from strongroom.model.key_reference import KeyReference, parse_key_reference
from strongroom.model.key_specs import ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT
from strongroom.model.numbered import Numbered
from strongroom.model.principal import Principal
from strongroom.model.xks import ExternalKey
from strongroom.snapshot import KeyEntry, Snapshot


class AccountTarget(NamedTuple):
    """An action that concerns no key, only the caller's account."""

    action: str


class CustomKeyStoreTarget(NamedTuple):
    """An action on a custom key store of the caller's account and Region, which has no policy and no ARN.

    `connected` says that it is used, and must be connected.
    """

    action: str
    custom_key_store_id: str
    connected: bool = False


class ExternalKeyTarget(NamedTuple):
    """A call on an external key that the XKS proxy serves. `enabled` says that it is used, and must be enabled."""

    action: str
    enabled: bool = False


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
    `region` is where it is, if not in the request's Region: then the related key of a multi-Region key. `primary` says
    that it must be a primary key.
    A use of a symmetric key has an `encryption_context` (empty if the request has none) and an `algorithm`; `proposed`
    is the grant that CreateGrant asks for: its operations and constraints.
    """

    action: str
    key_id: str | None
    ciphertext: bytes | None = None
    usage: str | None = None
    by_alias: bool = False
    foreign: bool = False
    states: str | None = None
    encryption_context: Mapping[str, str] | None = None
    algorithm: str | None = None
    proposed: tuple[frozenset[str], GrantConstraints] | None = None
    region: str | None = None
    primary: bool = False


class ReplicaTarget(NamedTuple):
    """The action of making a replica key in another Region, of the primary key that is the target before."""

    action: str
    region: str


def use_of_key(action: str, key_id: str | None, usage: str | None = None) -> KeyTarget:
    """A key to use and not to manage: it may be named in all four ways, and be another account's."""
    return KeyTarget(action, key_id, usage=usage, by_alias=True, foreign=True)


def use_of_encryption_key(
    action: str,
    key_id: str | None,
    encryption_context: Mapping[str, str] | None,
    algorithm: str | None = None,
    *,
    ciphertext: bytes | None = None,
) -> KeyTarget:
    """A key to encrypt or decrypt with."""
    return use_of_key(action, key_id, ENCRYPT_DECRYPT)._replace(
        ciphertext=ciphertext,
        encryption_context=encryption_context or {},
        algorithm=algorithm or SYMMETRIC_DEFAULT,
    )


class GrantTarget(NamedTuple):
    """An action on one grant: by a grant token, or by its key's id and its own, as the caller gave them."""

    action: str
    grant_token: str | None
    key_id: str | None
    grant_id: str | None


class IdentityTarget(NamedTuple):
    """An action on a user, group, role, policy or identity provider of the caller's account.

    `kind` is as in its ARN: user, group, role, policy, oidc-provider; or access-key, for the user of one. `name` is
    its name, or, of a policy or a provider, its ARN, of an access key its id; None is the caller itself. `path` is that
    of one that is not there. A list is told by its path alone, with the name "". `policy_arn` is the policy that is
    attached or detached, `boundary` the permissions boundary that is set. `new_name` and `new_path` are what a user or
    a group is to be called: the action is on what it will be then. `called` is what a refusal calls it, as AWS does, if
    not by its ARN.
    """

    action: str
    kind: str
    name: str | None
    path: str = "/"
    policy_arn: str | None = None
    boundary: str | None = None
    new_name: str | None = None
    new_path: str | None = None
    called: str | None = None


class RoleTarget(NamedTuple):
    """A role to assume, by its ARN.

    `inherited` is for what a request need not say: the action is asked only if the caller's session hands it down.
    """

    action: str
    role_arn: str
    inherited: bool = False


Target = (
    AccountTarget
    | AliasTarget
    | CustomKeyStoreTarget
    | ExternalKeyTarget
    | GrantTarget
    | IdentityTarget
    | KeyTarget
    | ReplicaTarget
    | RoleTarget
)


class FoundKey(NamedTuple):
    """A key that a target means, before anybody said that the caller may know of it.

    `unless_allowed` is what a caller is told who may not use it, where that is not that they may not.
    """

    entry: KeyEntry
    blob: CiphertextBlob | None
    unless_allowed: NotFound | None = None


class FoundGrant(NamedTuple):
    """A grant that a target means, with its key, before anybody said that the caller may know of it."""

    entry: KeyEntry
    grant: Grant


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
    if target.region is not None:
        reference = reference._replace(region=target.region)
    entry = snapshot.find_key(reference)
    if entry is None and target.ciphertext is not None:
        return _foreign_by_short_id(target, target.ciphertext, reference, snapshot, principal)
    if entry is None:
        raise _not_found(reference, principal, target.action)
    return FoundKey(entry, None)


def find_grant(
    target: GrantTarget, snapshot: Snapshot, principal: Principal, region: str, tokens: GrantTokens
) -> FoundGrant:
    """Step 8 for a grant.

    Raises InvalidGrantToken, NotFound, InvalidArn, or, for what is not the caller's to know of, AccessDenied.
    """
    if target.grant_token is not None:
        name = tokens.open(target.grant_token)
        if name.region != region:
            raise InvalidGrantToken
        entry = snapshot.find_key(KeyReference(name.region, name.account, name.key_id))
        owner, grant_id = name.account, name.grant_id
    else:
        assert target.grant_id is not None, "a target names a grant"
        entry = find(KeyTarget(target.action, target.key_id, foreign=True), snapshot, principal, region).entry
        owner, grant_id = entry.key.account, target.grant_id
    grant = None if entry is None else entry.grants.get(grant_id)
    if entry is None or grant is None:
        raise grant_not_found(grant_id) if owner == principal.account else hidden(principal, target.action)
    return FoundGrant(entry, grant)


def find_custom_key_store(
    target: CustomKeyStoreTarget, snapshot: Snapshot, principal: Principal, region: str
) -> Numbered[CustomKeyStore]:
    """Steps 8 and 10 for a custom key store. Raises CustomKeyStoreNotFound, CustomKeyStoreInvalidState."""
    found = snapshot.custom_key_stores.get((region, principal.account, target.custom_key_store_id))
    if found is None:
        raise CustomKeyStoreNotFound(f"Custom key store {target.custom_key_store_id} was not found.")
    if target.connected and found.record.state != CONNECTED:
        raise CustomKeyStoreInvalidState(f"Custom key store {target.custom_key_store_id} is not connected.")
    return found


def find_external_key(snapshot: Snapshot, request: XksRequest) -> ExternalKey:
    """Step 8 for an external key of the XKS proxy. Raises NotFound: another key store's is none of the caller's."""
    found = snapshot.external_keys.get((request.prefix, request.external_key_id))
    if found is None:
        raise NotFound("There is no such external key.")
    return found.record


def grant_not_found(grant_id: str) -> NotFound:
    """The refusal where a key has no grant of this id."""
    return NotFound(f"Grant ID {grant_id} not found")


def _foreign_by_short_id(
    target: KeyTarget, ciphertext: bytes, reference: KeyReference, snapshot: Snapshot, principal: Principal
) -> FoundKey:
    """Find the key of a ciphertext, of whatever account, by its key id alone (AWS: Decrypt, the KeyId parameter).

    Raises as `find` does.
    """
    missing = _not_found(reference, principal, target.action)
    blob = parse(ciphertext)
    entry = snapshot.find_key_of_material(reference.region, blob.material_id)
    if entry is None or entry.key.key_id != reference.name or not isinstance(missing, NotFound):
        raise missing
    return FoundKey(entry, blob, unless_allowed=missing)


def _no_alias_here(key_id: str) -> InvalidArn | NotFound:
    if key_id.startswith("arn:"):
        return InvalidArn("Key Aliases are not supported for this operation.")
    return NotFound(f"Invalid keyId '{key_id}'")


def _not_found(reference: KeyReference, principal: Principal, action: str) -> AccessDenied | NotFound:
    if reference.account != principal.account:
        return hidden(principal, action)
    if reference.is_alias:
        arn = alias_arn(reference.region, reference.account, reference.name)
        return NotFound(f"Alias {arn} is not found.")
    arn = key_arn(reference.region, reference.account, reference.name)
    return NotFound(f"Key '{arn}' does not exist")
