"""Every operation, one row each: the table of contents.

A row says what it takes and gives, what it acts on, and what runs. `docs/compatibility.md` is generated from it, and a
test compares it with botocore's service model. An operation that is not built yet has a row all the same: it answers
UnsupportedOperationException.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from strongroom.errors import UnknownOperation
from strongroom.messages import kms
from strongroom.messages.declaration import OperationMessages
from strongroom.operations.kms import (
    aliases,
    data_keys,
    deletion,
    encryption,
    grants,
    keys,
    policies,
    random_bytes,
    tags,
)
from strongroom.operations.logged import Logged, key_arn, members
from strongroom.operations.targets import Target


class Operation(Struct, frozen=True, kw_only=True):
    """One row.

    `targets` is a pure function of the request (and checks its parameters: step 7). Exactly one of `run` (returns the
    response) and `change` (returns a Change to commit) is there, or neither if the operation is not built.
    `reads_storage` and `change` keep it off the event loop. `uses_material`: the record names the key material, and
    a success counts as a use of the key (AWS: GetKeyLastUsage); `names_grant`: it names the grant of a GrantTarget.
    `logged` says which members of the request the audit record shows, `logged_response` which of the response (it is
    given the keys too).
    """

    name: str
    service: str = "kms"
    read_only: bool = True
    targets: Callable[..., Sequence[Target]] | None = None
    run: Callable[..., Struct | None] | None = None
    change: Callable[..., object] | None = None
    reads_storage: bool = False
    uses_material: bool = False
    names_grant: bool = False
    logged: Logged = members()
    logged_response: Callable[..., dict[str, object]] | None = None

    @property
    def messages(self) -> OperationMessages:
        """The request and response types."""
        return MESSAGES[self.service][self.name]

    @property
    def built(self) -> bool:
        """Whether the operation does anything yet."""
        return self.targets is not None


MESSAGES = {"kms": kms.OPERATIONS}
"""Service -> operation name -> its generated messages."""

_BUILT = (
    Operation(
        name="CancelKeyDeletion",
        read_only=False,
        targets=deletion.cancel_key_deletion_targets,
        change=deletion.cancel_key_deletion,
        logged=members("key_id"),
        logged_response=key_arn,
    ),
    Operation(
        name="CreateAlias",
        read_only=False,
        targets=aliases.create_alias_targets,
        change=aliases.create_alias,
        logged=members("alias_name", "target_key_id"),
        logged_response=key_arn,
    ),
    Operation(
        name="CreateGrant",
        read_only=False,
        targets=grants.create_grant_targets,
        change=grants.create_grant,
        logged=grants.logged_create_grant,
        logged_response=grants.logged_created_grant,
    ),
    Operation(
        name="CreateKey",
        read_only=False,
        targets=keys.create_key_targets,
        change=keys.create_key,
        logged=keys.logged_create_key,
        logged_response=keys.logged_created_key,
    ),
    Operation(
        name="Decrypt",
        targets=encryption.decrypt_targets,
        run=encryption.decrypt,
        uses_material=True,
        logged=encryption.logged_decrypt,
    ),
    Operation(
        name="DeleteAlias",
        read_only=False,
        targets=aliases.delete_alias_targets,
        change=aliases.delete_alias,
        logged=members("alias_name"),
        logged_response=key_arn,
    ),
    Operation(
        name="DescribeKey",
        targets=keys.describe_key_targets,
        run=keys.describe_key,
        reads_storage=True,
        logged=members("key_id"),
    ),
    Operation(
        name="DisableKey",
        read_only=False,
        targets=keys.disable_key_targets,
        change=keys.disable_key,
        logged=members("key_id"),
        logged_response=key_arn,
    ),
    Operation(
        name="EnableKey",
        read_only=False,
        targets=keys.enable_key_targets,
        change=keys.enable_key,
        logged=members("key_id"),
        logged_response=key_arn,
    ),
    Operation(
        name="Encrypt",
        targets=encryption.encrypt_targets,
        run=encryption.encrypt,
        uses_material=True,
        logged=encryption.logged_encrypt,
    ),
    Operation(
        name="GenerateDataKey",
        targets=data_keys.generate_data_key_targets,
        run=data_keys.generate_data_key,
        uses_material=True,
        logged=members("key_id", "key_spec", "number_of_bytes", "encryption_context", "dry_run"),
    ),
    Operation(
        name="GenerateDataKeyWithoutPlaintext",
        targets=data_keys.generate_data_key_without_plaintext_targets,
        run=data_keys.generate_data_key_without_plaintext,
        uses_material=True,
        logged=members("key_id", "key_spec", "number_of_bytes", "encryption_context", "dry_run"),
    ),
    Operation(
        name="GenerateRandom",
        targets=random_bytes.generate_random_targets,
        run=random_bytes.generate_random,
        logged=members("number_of_bytes", "custom_key_store_id"),
    ),
    Operation(
        name="GetKeyPolicy",
        targets=policies.get_key_policy_targets,
        run=policies.get_key_policy,
        reads_storage=True,
        logged=members("key_id", "policy_name"),
    ),
    Operation(
        name="ListAliases",
        targets=aliases.list_aliases_targets,
        run=aliases.list_aliases,
        reads_storage=True,
        logged=members("key_id", "limit", "marker"),
    ),
    Operation(
        name="ListGrants",
        targets=grants.list_grants_targets,
        run=grants.list_grants,
        reads_storage=True,
        logged=members("key_id", "grant_id", "grantee_principal", "grantee_service_principal", "limit", "marker"),
    ),
    Operation(
        name="ListKeyPolicies",
        targets=policies.list_key_policies_targets,
        run=policies.list_key_policies,
        logged=members("key_id", "limit", "marker"),
    ),
    Operation(
        name="ListKeys",
        targets=keys.list_keys_targets,
        run=keys.list_keys,
        reads_storage=True,
        logged=members("limit", "marker", "resource_owners"),
    ),
    Operation(
        name="ListResourceTags",
        targets=tags.list_resource_tags_targets,
        run=tags.list_resource_tags,
        reads_storage=True,
        logged=members("key_id", "limit", "marker"),
    ),
    Operation(
        name="ListRetirableGrants",
        targets=grants.list_retirable_grants_targets,
        run=grants.list_retirable_grants,
        reads_storage=True,
        logged=members("retiring_principal", "retiring_service_principal", "limit", "marker"),
    ),
    Operation(
        name="PutKeyPolicy",
        read_only=False,
        targets=policies.put_key_policy_targets,
        change=policies.put_key_policy,
        logged=members("key_id", "policy_name", "policy", "bypass_policy_lockout_safety_check"),
        logged_response=key_arn,
    ),
    Operation(
        name="ReEncrypt",
        targets=encryption.re_encrypt_targets,
        run=encryption.re_encrypt,
        uses_material=True,
        logged=encryption.logged_re_encrypt,
    ),
    Operation(
        name="RetireGrant",
        read_only=False,
        targets=grants.retire_grant_targets,
        change=grants.retire_grant,
        names_grant=True,
        logged=members("key_id", "grant_id", "dry_run"),
        logged_response=key_arn,
    ),
    Operation(
        name="RevokeGrant",
        read_only=False,
        targets=grants.revoke_grant_targets,
        change=grants.revoke_grant,
        logged=members("key_id", "grant_id", "dry_run"),
        logged_response=key_arn,
    ),
    Operation(
        name="ScheduleKeyDeletion",
        read_only=False,
        targets=deletion.schedule_key_deletion_targets,
        change=deletion.schedule_key_deletion,
        logged=members("key_id", "pending_window_in_days"),
        logged_response=deletion.logged_scheduled_deletion,
    ),
    Operation(
        name="TagResource",
        read_only=False,
        targets=tags.tag_resource_targets,
        change=tags.tag_resource,
        logged=tags.logged_tag_resource,
        logged_response=key_arn,
    ),
    Operation(
        name="UntagResource",
        read_only=False,
        targets=tags.untag_resource_targets,
        change=tags.untag_resource,
        logged=members("key_id", "tag_keys"),
        logged_response=key_arn,
    ),
    Operation(
        name="UpdateAlias",
        read_only=False,
        targets=aliases.update_alias_targets,
        change=aliases.update_alias,
        logged=members("alias_name", "target_key_id"),
        logged_response=key_arn,
    ),
    Operation(
        name="UpdateKeyDescription",
        read_only=False,
        targets=keys.update_key_description_targets,
        change=keys.update_key_description,
        logged=members("key_id", "description"),
        logged_response=key_arn,
    ),
)

_READ_ONLY_NOT_BUILT = frozenset(
    {
        "Decapsulate", "DeriveSharedSecret", "DescribeCustomKeyStores", "Encapsulate", "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext", "GenerateMac", "GetKeyLastUsage", "GetKeyRotationStatus",
        "GetParametersForImport", "GetPublicKey", "ListKeyRotations", "Sign",
        "Verify", "VerifyMac",
    }
)  # fmt: skip

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("kms", name): Operation(name=name, read_only=name in _READ_ONLY_NOT_BUILT) for name in kms.OPERATIONS
} | {(operation.service, operation.name): operation for operation in _BUILT}
"""(service, operation name) -> row."""


def find_operation(service: str, name: str | None) -> Operation:
    """Step 2 of the order of checks. Raises UnknownOperation."""
    operation = OPERATIONS.get((service, name or ""))
    if operation is None:
        raise UnknownOperation
    return operation
