"""PutKeyPolicy, GetKeyPolicy, ListKeyPolicies. A key has one policy, named `default`."""

from collections.abc import Sequence

from msgspec import structs

from strongroom.authorization.decide import AuthorizedKey, authorize_key
from strongroom.authorization.policy import check_policy_size, compile_policy
from strongroom.errors import AccessDenied, MalformedPolicyDocument, NotFound, Validation
from strongroom.messages.kms.policies import (
    GetKeyPolicyRequest,
    GetKeyPolicyResponse,
    ListKeyPoliciesRequest,
    ListKeyPoliciesResponse,
    PutKeyPolicyRequest,
)
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal
from strongroom.operations.call import Call, Change
from strongroom.operations.kms.pages import Listing
from strongroom.operations.targets import KeyTarget

_DEFAULT = "default"
_SHARED = "AWS_RAM"
"""The policy that AWS RAM puts on a key it shares. No key has one."""

_POLICIES = Listing("ListKeyPolicies", default=100, maximum=1000)


def check_policy(principal: Principal, key: KmsKey, *, bypass_lockout_check: bool | None) -> None:
    """Check the policy of a key before it is stored.

    Raises LimitExceeded over 32 KB and MalformedPolicyDocument, also (the lockout check) for a policy under which
    `principal` could not change the policy again.
    """
    check_policy_size(key.policy)
    policy = compile_policy(key.policy)
    if bypass_lockout_check:
        return
    try:
        authorize_key(principal, "kms:PutKeyPolicy", key, policy, None)
    except AccessDenied as error:
        raise MalformedPolicyDocument(
            "The new key policy will not allow you to update the key policy in the future."
        ) from error


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
    check_policy(call.principal, changed, bypass_lockout_check=request.bypass_policy_lockout_safety_check)
    return Change(None, [call.replace(key, policy=request.policy)])


def get_key_policy_targets(request: GetKeyPolicyRequest) -> list[KeyTarget]:
    """The key whose policy is told."""
    return [KeyTarget("kms:GetKeyPolicy", request.key_id)]


def get_key_policy(call: Call, request: GetKeyPolicyRequest, keys: Sequence[AuthorizedKey]) -> GetKeyPolicyResponse:
    """AWS: GetKeyPolicy. The policy byte for byte as it was put."""
    (key,) = keys
    _check_name(request.policy_name)
    return GetKeyPolicyResponse(policy=call.read(key).policy, policy_name=_DEFAULT)


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
