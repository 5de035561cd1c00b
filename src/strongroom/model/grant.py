"""Grants: a permission for one principal on one KMS key, made by API (AWS: "Grants in AWS KMS")."""

from functools import cached_property

from msgspec import Struct

from strongroom.model import arn


class GrantConstraints(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold of a request beside the grant. The pairs of an encryption context are as they were given."""

    encryption_context_subset: dict[str, str] | None = None
    encryption_context_equals: dict[str, str] | None = None
    source_arn: str | None = None


class Grant(Struct, frozen=True, dict=True):
    """A grant as stored. `grant_id` is 64 lower-case hex digits; `created` is in seconds since the epoch.

    Exactly one of `grantee_principal` and `grantee_service` is there, at most one of `retiring_principal` and
    `retiring_service`. Principals are ARNs, services are names like `rds.amazonaws.com`. `issuing_account` is the
    account whose principal made the grant, which may be another than the key's. `grantee_id` and `retiring_id` are
    the unique ids of principals that can be deleted: one that is created again has no part in the grant.
    """

    account: str
    region: str
    key_id: str
    grant_id: str
    created: float
    issuing_account: str
    operations: tuple[str, ...]
    name: str | None = None
    grantee_principal: str | None = None
    grantee_service: str | None = None
    retiring_principal: str | None = None
    retiring_service: str | None = None
    constraints: GrantConstraints = GrantConstraints()
    grantee_id: str | None = None
    retiring_id: str | None = None

    @cached_property
    def key_arn(self) -> str:
        """The ARN of the key it is for."""
        return arn.key_arn(self.region, self.account, self.key_id)
