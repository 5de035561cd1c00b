"""Managed policies and their versions."""

import os
from collections.abc import Sequence

from msgspec import structs

from strongroom.authorization.documents import compile_identity_policy
from strongroom.errors import AccessDenied, DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity
from strongroom.messages.iam import managed_policies as messages
from strongroom.model.aws_managed_policies import AWS_MANAGED_POLICIES
from strongroom.model.iam import ManagedPolicy, PolicyVersion
from strongroom.model.numbered import Numbered
from strongroom.operations.call import Call, Change
from strongroom.operations.iam.entities import changed, check_quota, policy_of_arn, under, with_tagging
from strongroom.operations.iam.inline_policies import size_of
from strongroom.operations.iam.pages import paged
from strongroom.operations.iam.tags import requested_tags
from strongroom.operations.iam.told import told_policy, told_version
from strongroom.operations.iam.unique_ids import POLICY, new_unique_id
from strongroom.operations.targets import IdentityTarget
from strongroom.storage.contract import Delete, Insert

_MAX_POLICIES = 1_500
_MAX_VERSIONS = 5
_NEWEST = 999_999_999
"""More versions than a policy will ever have had."""
_MAX_SIZE = 6_144
"""Characters of a managed policy, white space not counted."""


def create_policy_targets(request: messages.CreatePolicyRequest) -> list[IdentityTarget]:
    """The policy to make."""
    path, name = f"{request.path or '/'}{request.policy_name}", f"policy {request.policy_name}"
    made = IdentityTarget("iam:CreatePolicy", "policy", None, path, called=name)
    return with_tagging(made, request.tags)


def create_policy(call: Call, request: messages.CreatePolicyRequest, _nothing: Sequence[object]) -> Change:
    """AWS: CreatePolicy."""
    assert request.policy_name is not None, "the model requires it"
    document = _checked(request.policy_document)
    named = (policy.record for policy in call.directory.policies.values())
    if any(policy.name.lower() == request.policy_name.lower() for policy in named):
        raise EntityAlreadyExists(
            f"A policy called {request.policy_name} already exists. Duplicate names are not allowed."
        )
    check_quota(len(call.directory.policies), "PoliciesPerAccount", _MAX_POLICIES)
    created = float(int(call.now))
    policy = ManagedPolicy(
        account=call.account,
        policy_id=new_unique_id(POLICY, os.urandom),
        name=request.policy_name,
        path=request.path or "/",
        created=created,
        updated=created,
        description=request.description or "",
        versions=(PolicyVersion("v1", document, created),),
        default_version_id="v1",
        tags=requested_tags(request.tags, "Policy"),
    )
    return call.identity_change(messages.CreatePolicyResponse(policy=told_policy(call, policy)), Insert(policy))


def get_policy(
    call: Call, request: messages.GetPolicyRequest, _nothing: Sequence[object]
) -> messages.GetPolicyResponse:
    """AWS: GetPolicy."""
    return messages.GetPolicyResponse(policy=told_policy(call, policy_of_arn(call, request.policy_arn)))


def list_policies_targets(request: messages.ListPoliciesRequest) -> list[IdentityTarget]:
    """The policies of a path."""
    path = request.path_prefix or "/"
    return [IdentityTarget("iam:ListPolicies", "policy", None, path, called=f"policy path {path}")]


def list_policies(
    call: Call, request: messages.ListPoliciesRequest, _nothing: Sequence[object]
) -> messages.ListPoliciesResponse:
    """AWS: ListPolicies: the account's own and AWS's."""
    scope, usage = request.scope or "All", request.policy_usage_filter
    policies = [] if scope == "AWS" else [policy for policy, _ in call.directory.policies.values()]
    policies += [] if scope == "Local" else AWS_MANAGED_POLICIES.values()
    told = [told_policy(call, policy, whole=False) for policy in under(request.path_prefix, policies)]
    if request.only_attached or usage == "PermissionsPolicy":
        told = [policy for policy in told if policy.attachment_count]
    if usage == "PermissionsBoundary":
        told = [policy for policy in told if policy.permissions_boundary_usage_count]
    of = f"{scope} {usage} {request.only_attached} {request.path_prefix}"
    page = paged(request, told, lambda policy: f"{policy.policy_name} {policy.policy_id}", of=of)
    return messages.ListPoliciesResponse(policies=page.items, is_truncated=page.truncated, marker=page.next_marker)


def delete_policy(call: Call, request: messages.DeletePolicyRequest, _nothing: Sequence[object]) -> Change:
    """AWS: DeletePolicy. Nobody may have it, as a policy or as a boundary, and only its default version may be left."""
    policy = _own(call, request.policy_arn)
    told = told_policy(call, policy.record)
    if told.attachment_count or told.permissions_boundary_usage_count:
        raise DeleteConflict("Cannot delete a policy attached to entities.")
    if len(policy.record.versions) > 1:
        raise DeleteConflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy."
        )
    return call.identity_change(None, Delete(*policy))


def create_policy_version(
    call: Call, request: messages.CreatePolicyVersionRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: CreatePolicyVersion. The default version is in force for all who have the policy, at once."""
    policy = _own(call, request.policy_arn)
    record = policy.record
    document = _checked(request.policy_document)
    if len(record.versions) >= _MAX_VERSIONS:
        raise LimitExceeded(
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing "
            "version."
        )
    newest = record.newest_version + 1
    version = PolicyVersion(f"v{newest}", document, float(int(call.now)))
    after = structs.replace(
        record,
        versions=(*record.versions, version),
        newest_version=newest,
        updated=version.created,
        default_version_id=version.version_id if request.set_as_default else record.default_version_id,
    )
    response = messages.CreatePolicyVersionResponse(policy_version=told_version(after, version, document=False))
    return changed(call, policy, response, **structs.asdict(after))


def get_policy_version(
    call: Call, request: messages.GetPolicyVersionRequest, _nothing: Sequence[object]
) -> messages.GetPolicyVersionResponse:
    """AWS: GetPolicyVersion."""
    policy = policy_of_arn(call, request.policy_arn)
    version = _version(policy, request.version_id)
    return messages.GetPolicyVersionResponse(policy_version=told_version(policy, version))


def list_policy_versions(
    call: Call, request: messages.ListPolicyVersionsRequest, _nothing: Sequence[object]
) -> messages.ListPolicyVersionsResponse:
    """AWS: ListPolicyVersions. The newest comes first."""
    policy = policy_of_arn(call, request.policy_arn)
    versions = reversed(policy.versions)
    page = paged(request, versions, lambda version: f"{_NEWEST - int(version.version_id[1:]):09}", of=policy.policy_id)
    return messages.ListPolicyVersionsResponse(
        versions=tuple(told_version(policy, version, document=False) for version in page.items),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )


def set_default_policy_version(
    call: Call, request: messages.SetDefaultPolicyVersionRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: SetDefaultPolicyVersion. The policy counts as updated when it got its newest version, not now."""
    policy = _own(call, request.policy_arn)
    version = _version(policy.record, request.version_id)
    return changed(call, policy, default_version_id=version.version_id)


def delete_policy_version(
    call: Call, request: messages.DeletePolicyVersionRequest, _nothing: Sequence[object]
) -> Change:
    """AWS: DeletePolicyVersion."""
    policy = _own(call, request.policy_arn)
    version = _version(policy.record, request.version_id)
    if version.version_id == policy.record.default_version_id:
        raise DeleteConflict("Cannot delete the default version of a policy.")
    return changed(call, policy, versions=tuple(one for one in policy.record.versions if one != version))


def _own(call: Call, arn: str | None) -> Numbered[ManagedPolicy]:
    """A policy to change. Raises NoSuchEntity, or AccessDenied for AWS's own."""
    own = call.directory.own_policy(arn or "")
    if own is not None:
        return own
    policy_of_arn(call, arn)
    raise AccessDenied(f"{call.principal.arn} may not change {arn}: it is AWS's.")


def _version(policy: ManagedPolicy, version_id: str | None) -> PolicyVersion:
    for version in policy.versions:
        if version.version_id == version_id:
            return version
    raise NoSuchEntity(f"Policy {policy.arn} version {version_id} does not exist or is not attachable.")


def _checked(document: str | None) -> str:
    """Check a policy document. Raises LimitExceeded or MalformedPolicyDocument."""
    assert document is not None, "the model requires it"
    check_quota(size_of(document) - 1, "PolicySize", _MAX_SIZE)
    compile_identity_policy(document)
    return document
