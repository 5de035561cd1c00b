"""PutKeyPolicy, GetKeyPolicy, ListKeyPolicies. A key has one policy, named `default`."""

from collections.abc import Sequence

from msgspec import structs

from strongroom.authorization.decide import AuthorizedKey, authorize_key
from strongroom.authorization.documents import check_policy_size, compile_key_policy
from strongroom.authorization.grants import NO_GRANTS
from strongroom.errors import AccessDenied, MalformedPolicyDocument, NotFound, Validation
from strongroom.messages.kms.policies import (
    GetKeyPolicyRequest,
    GetKeyPolicyResponse,
    ListKeyPoliciesRequest,
    ListKeyPoliciesResponse,
    PutKeyPolicyRequest,
)
from strongroom.model.key import KmsKey
from strongroom.operations.call import Call, Change
from strongroom.operations.condition_keys import Asked
from strongroom.operations.pages import Listing
from strongroom.operations.remembered import remembered_principals, shown_policy
from strongroom.operations.targets import KeyTarget
from strongroom.snapshot import KeyEntry

_DEFAULT = "default"
_SHARED = "AWS_RAM"
"""The policy that AWS RAM puts on a key it shares. No key has one."""

_POLICIES = Listing("ListKeyPolicies", default=100, maximum=1000)


def checked_policy(call: Call, key: KmsKey, *, bypass_lockout_check: bool | None) -> KmsKey:
    """A key with its policy checked, and whom it names remembered by unique ids, before it is stored.

    Raises LimitExceeded over 32 KB and MalformedPolicyDocument, also for a principal that does not exist and (the
    lockout check) for a policy under which the caller could not change the policy again.
    """
    check_policy_size(key.policy)
    principals, unknown = remembered_principals(call.snapshot, compile_key_policy(key.policy))
    if unknown:
        raise MalformedPolicyDocument("Policy contains a statement with one or more invalid principals.")
    key = structs.replace(key, policy_principals=principals or None)
    if bypass_lockout_check:
        return key
    policy = compile_key_policy(key.policy, principals)
    again = PutKeyPolicyRequest(key_id=key.key_id, policy=key.policy)
    there = call.snapshot.keys.get((key.region, key.account, key.key_id), KeyEntry(key, 0, {}))
    entry = structs.replace(there, key=key)
    asked = Asked(call.principal, "kms:PutKeyPolicy", key.arn, call, again, entry=entry)
    try:
        authorize_key(asked, call.identity, key, policy, NO_GRANTS)
    except AccessDenied as error:
        raise MalformedPolicyDocument(
            "The new key policy will not allow you to update the key policy in the future."
        ) from error
    return key


def put_key_policy_targets(request: PutKeyPolicyRequest) -> list[KeyTarget]:
    """The key whose policy is replaced."""
    if request.policy_name == _SHARED:
        raise Validation("The AWS_RAM policy can only be managed by the RAM service.")
    return [KeyTarget("kms:PutKeyPolicy", request.key_id)]


def put_key_policy(call: Call, request: PutKeyPolicyRequest, keys: Sequence[AuthorizedKey]) -> Change:
    """AWS: PutKeyPolicy. The policy is kept as it came."""
    (key,) = keys
    _check_name(request.policy_name)
    assert request.policy is not None, "the model requires it"
    changed = structs.replace(key.key, policy=request.policy)
    changed = checked_policy(call, changed, bypass_lockout_check=request.bypass_policy_lockout_safety_check)
    return Change(None, [call.replace(key, policy=changed.policy, policy_principals=changed.policy_principals)])


def get_key_policy_targets(request: GetKeyPolicyRequest) -> list[KeyTarget]:
    """The key whose policy is told."""
    return [KeyTarget("kms:GetKeyPolicy", request.key_id)]


def get_key_policy(call: Call, request: GetKeyPolicyRequest, keys: Sequence[AuthorizedKey]) -> GetKeyPolicyResponse:
    """AWS: GetKeyPolicy. The policy byte for byte as it was put, unless somebody it names is gone."""
    (key,) = keys
    _check_name(request.policy_name)
    stored = call.read(key)
    policy = shown_policy(call.snapshot, stored.policy, stored.policy_principals or ())
    return GetKeyPolicyResponse(policy=policy, policy_name=_DEFAULT)


def list_key_policies_targets(request: ListKeyPoliciesRequest) -> list[KeyTarget]:
    """The key whose policies are named."""
    return [KeyTarget("kms:ListKeyPolicies", request.key_id)]


def list_key_policies(
    _call: Call, request: ListKeyPoliciesRequest, keys: Sequence[AuthorizedKey]
) -> ListKeyPoliciesResponse:
    """AWS: ListKeyPolicies. Every key has the policy `default` and no other."""
    (key,) = keys
    page = _POLICIES.page(
        lambda last, _: [_DEFAULT] if last < _DEFAULT else [],
        str,
        limit=request.limit,
        marker=request.marker,
        of=key.key.arn,
    )
    return ListKeyPoliciesResponse(policy_names=page.items, truncated=page.truncated, next_marker=page.next_marker)


def _check_name(name: str | None) -> None:
    if name not in (None, _DEFAULT):
        raise NotFound("No such policy exists")
