"""The operations of IAM, one row each. What a row leaves out is what most of them have."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from strongroom.operations.iam import (
    access_keys,
    attached_policies,
    authorization_details,
    boundaries,
    entities,
    groups,
    inline_policies,
    managed_policies,
    openid_connect_providers,
    roles,
    simulation,
    tags,
    users,
)
from strongroom.operations.logged import every_member, every_member_of_response
from strongroom.operations.operation import Operation
from strongroom.operations.targets import Target

Targets = Callable[..., Sequence[Target]]


def _reads(name: str, run: Callable[..., Struct], targets: Targets = entities.targets) -> Operation:
    """An operation that changes nothing. It may tell of thousands, and so is kept off the event loop."""
    return Operation(name=name, service="iam", targets=targets, run=run, blocks=True, logged=every_member)


def _changes(name: str, change: Callable[..., object], targets: Targets = entities.targets) -> Operation:
    """An operation that changes identities; all that it says and answers is in its record, but for secrets."""
    return Operation(
        name=name,
        service="iam",
        read_only=False,
        targets=targets,
        change=change,
        logged=every_member,
        logged_response=every_member_of_response,
    )


BUILT = (
    _changes("AddClientIDToOpenIDConnectProvider", openid_connect_providers.add_client_id),
    _changes("AddUserToGroup", groups.add_user_to_group),
    _changes("AttachGroupPolicy", attached_policies.attach),
    _changes("AttachRolePolicy", attached_policies.attach),
    _changes("AttachUserPolicy", attached_policies.attach),
    _changes("CreateAccessKey", access_keys.create_access_key),
    _changes("CreateGroup", groups.create_group),
    _changes(
        "CreateOpenIDConnectProvider",
        openid_connect_providers.create_provider,
        openid_connect_providers.create_provider_targets,
    ),
    _changes("CreatePolicy", managed_policies.create_policy, managed_policies.create_policy_targets),
    _changes("CreatePolicyVersion", managed_policies.create_policy_version),
    _changes("CreateRole", roles.create_role),
    _changes("CreateUser", users.create_user),
    _changes("DeleteAccessKey", access_keys.delete_access_key),
    _changes("DeleteGroup", groups.delete_group),
    _changes("DeleteGroupPolicy", inline_policies.delete),
    _changes("DeleteOpenIDConnectProvider", openid_connect_providers.delete_provider),
    _changes("DeletePolicy", managed_policies.delete_policy),
    _changes("DeletePolicyVersion", managed_policies.delete_policy_version),
    _changes("DeleteRole", roles.delete_role),
    _changes("DeleteRolePermissionsBoundary", boundaries.delete),
    _changes("DeleteRolePolicy", inline_policies.delete),
    _changes("DeleteUser", users.delete_user),
    _changes("DeleteUserPermissionsBoundary", boundaries.delete),
    _changes("DeleteUserPolicy", inline_policies.delete),
    _changes("DetachGroupPolicy", attached_policies.detach),
    _changes("DetachRolePolicy", attached_policies.detach),
    _changes("DetachUserPolicy", attached_policies.detach),
    _reads("GetAccessKeyLastUsed", access_keys.get_access_key_last_used, access_keys.get_access_key_last_used_targets),
    _reads(
        "GetAccountAuthorizationDetails",
        authorization_details.get_account_authorization_details,
        authorization_details.get_account_authorization_details_targets,
    ),
    _reads("GetGroup", groups.get_group),
    _reads("GetGroupPolicy", inline_policies.get),
    _reads("GetOpenIDConnectProvider", openid_connect_providers.get_provider),
    _reads("GetPolicy", managed_policies.get_policy),
    _reads("GetPolicyVersion", managed_policies.get_policy_version),
    _reads("GetRole", roles.get_role),
    _reads("GetRolePolicy", inline_policies.get),
    _reads("GetUser", users.get_user),
    _reads("GetUserPolicy", inline_policies.get),
    _reads("ListAccessKeys", access_keys.list_access_keys),
    _reads("ListAttachedGroupPolicies", attached_policies.list_attached),
    _reads("ListAttachedRolePolicies", attached_policies.list_attached),
    _reads("ListAttachedUserPolicies", attached_policies.list_attached),
    _reads("ListEntitiesForPolicy", attached_policies.list_entities_for_policy),
    _reads("ListGroupPolicies", inline_policies.list_names),
    _reads("ListGroups", groups.list_groups, groups.list_groups_targets),
    _reads("ListGroupsForUser", groups.list_groups_for_user),
    _reads("ListInstanceProfilesForRole", roles.list_instance_profiles_for_role),
    _reads("ListOpenIDConnectProviderTags", tags.list_tags),
    _reads(
        "ListOpenIDConnectProviders",
        openid_connect_providers.list_providers,
        openid_connect_providers.list_providers_targets,
    ),
    _reads("ListPolicies", managed_policies.list_policies, managed_policies.list_policies_targets),
    _reads("ListPolicyTags", tags.list_tags),
    _reads("ListPolicyVersions", managed_policies.list_policy_versions),
    _reads("ListRolePolicies", inline_policies.list_names),
    _reads("ListRoleTags", tags.list_tags),
    _reads("ListRoles", roles.list_roles, roles.list_roles_targets),
    _reads("ListUserPolicies", inline_policies.list_names),
    _reads("ListUserTags", tags.list_tags),
    _reads("ListUsers", users.list_users, users.list_users_targets),
    _changes("PutGroupPolicy", inline_policies.put),
    _changes("PutRolePermissionsBoundary", boundaries.put),
    _changes("PutRolePolicy", inline_policies.put),
    _changes("PutUserPermissionsBoundary", boundaries.put),
    _changes("PutUserPolicy", inline_policies.put),
    _changes("RemoveClientIDFromOpenIDConnectProvider", openid_connect_providers.remove_client_id),
    _changes("RemoveUserFromGroup", groups.remove_user_from_group),
    _changes("SetDefaultPolicyVersion", managed_policies.set_default_policy_version),
    _reads("SimulateCustomPolicy", simulation.simulate_custom_policy, simulation.simulate_custom_policy_targets),
    _reads(
        "SimulatePrincipalPolicy", simulation.simulate_principal_policy, simulation.simulate_principal_policy_targets
    ),
    _changes("TagOpenIDConnectProvider", tags.tag),
    _changes("TagPolicy", tags.tag),
    _changes("TagRole", tags.tag),
    _changes("TagUser", tags.tag),
    _changes("UntagOpenIDConnectProvider", tags.untag),
    _changes("UntagPolicy", tags.untag),
    _changes("UntagRole", tags.untag),
    _changes("UntagUser", tags.untag),
    _changes("UpdateAccessKey", access_keys.update_access_key),
    _changes("UpdateAssumeRolePolicy", roles.update_assume_role_policy),
    _changes("UpdateGroup", groups.update_group, groups.update_group_targets),
    _changes("UpdateOpenIDConnectProviderThumbprint", openid_connect_providers.update_thumbprints),
    _changes("UpdateRole", roles.update_role),
    _changes("UpdateRoleDescription", roles.update_role_description),
    _changes("UpdateUser", users.update_user, users.update_user_targets),
)
