"""GetAccountAuthorizationDetails: every identity and policy of an account, in one list."""

from collections.abc import Sequence

from strongroom.messages.iam.authorization_details import (
    GetAccountAuthorizationDetailsRequest,
    GetAccountAuthorizationDetailsResponse,
    GroupDetail,
    ManagedPolicyDetail,
    PolicyDetail,
    RoleDetail,
    UserDetail,
)
from strongroom.messages.iam.shapes import AttachedPolicy
from strongroom.model.aws_managed_policies import AWS_MANAGED_POLICIES
from strongroom.model.iam import Entity, Group, ManagedPolicy, Role, User
from strongroom.operations.call import Call
from strongroom.operations.iam.pages import paged
from strongroom.operations.iam.told import encoded, told_policy, told_role, told_user, told_version
from strongroom.operations.targets import AccountTarget


def get_account_authorization_details_targets(
    _request: GetAccountAuthorizationDetailsRequest,
) -> list[AccountTarget]:
    """The whole account."""
    return [AccountTarget("iam:GetAccountAuthorizationDetails")]


def get_account_authorization_details(
    call: Call, request: GetAccountAuthorizationDetailsRequest, _nothing: Sequence[object]
) -> GetAccountAuthorizationDetailsResponse:
    """AWS: GetAccountAuthorizationDetails. Of AWS's managed policies it tells those that somebody has."""
    own = [policy for policy, _ in call.directory.policies.values()]
    aws = [policy for policy in AWS_MANAGED_POLICIES.values() if _in_use(call, policy)]
    everything: list[Entity | ManagedPolicy] = [*call.directory.entities, *own, *aws]
    wanted = [one for one in everything if not request.filter or _kind(one) in request.filter]
    page = paged(request, wanted, lambda one: f"{_kind(one)} {one.name}", of=",".join(request.filter or ()))
    return GetAccountAuthorizationDetailsResponse(
        user_detail_list=tuple(_user(call, one) for one in page.items if isinstance(one, User)),
        group_detail_list=tuple(_group(call, one) for one in page.items if isinstance(one, Group)),
        role_detail_list=tuple(_role(call, one) for one in page.items if isinstance(one, Role)),
        policies=tuple(_policy(call, one) for one in page.items if isinstance(one, ManagedPolicy)),
        is_truncated=page.truncated,
        marker=page.next_marker,
    )


def _kind(one: Entity | ManagedPolicy) -> str:
    """As the request's Filter calls it."""
    if isinstance(one, ManagedPolicy):
        return "AWSManagedPolicy" if one.account == "aws" else "LocalManagedPolicy"
    return type(one).__name__


def _in_use(call: Call, policy: ManagedPolicy) -> bool:
    return policy.arn in call.directory.attachments or policy.arn in call.directory.boundaries


def _inline(entity: Entity) -> tuple[PolicyDetail, ...]:
    return tuple(PolicyDetail(policy_name=name, policy_document=encoded(text)) for name, text in entity.policies)


def _attached(call: Call, entity: Entity) -> tuple[AttachedPolicy, ...]:
    policies = (call.directory.managed_policy(arn) for arn in entity.attached)
    return tuple(AttachedPolicy(policy_name=one.name, policy_arn=one.arn) for one in policies if one is not None)


def _user(call: Call, user: User) -> UserDetail:
    told = told_user(user)
    return UserDetail(
        path=told.path,
        user_name=told.user_name,
        user_id=told.user_id,
        arn=told.arn,
        create_date=told.create_date,
        user_policy_list=_inline(user),
        group_list=tuple(group.name for group in call.directory.groups_of(user)),
        attached_managed_policies=_attached(call, user),
        permissions_boundary=told.permissions_boundary,
        tags=told.tags or (),
    )


def _group(call: Call, group: Group) -> GroupDetail:
    return GroupDetail(
        path=group.path,
        group_name=group.name,
        group_id=group.group_id,
        arn=group.arn,
        create_date=group.created,
        group_policy_list=_inline(group),
        attached_managed_policies=_attached(call, group),
    )


def _role(call: Call, role: Role) -> RoleDetail:
    told = told_role(call, role)
    return RoleDetail(
        path=told.path,
        role_name=told.role_name,
        role_id=told.role_id,
        arn=told.arn,
        create_date=told.create_date,
        assume_role_policy_document=told.assume_role_policy_document,
        instance_profile_list=(),
        role_policy_list=_inline(role),
        attached_managed_policies=_attached(call, role),
        permissions_boundary=told.permissions_boundary,
        tags=told.tags or (),
    )


def _policy(call: Call, policy: ManagedPolicy) -> ManagedPolicyDetail:
    told = told_policy(call, policy)
    return ManagedPolicyDetail(
        policy_name=told.policy_name,
        policy_id=told.policy_id,
        arn=told.arn,
        path=told.path,
        default_version_id=told.default_version_id,
        attachment_count=told.attachment_count,
        permissions_boundary_usage_count=told.permissions_boundary_usage_count,
        is_attachable=told.is_attachable,
        description=told.description,
        create_date=told.create_date,
        update_date=told.update_date,
        policy_version_list=tuple(told_version(policy, version) for version in reversed(policy.versions)),
    )
