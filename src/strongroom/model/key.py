"""The KMS key: the record, its key material as stored, and what a request may see of them."""

from functools import cached_property

from msgspec import Struct

from strongroom.model import arn, key_states

AWS = "AWS"
CUSTOMER = "CUSTOMER"
"""Who manages a key: `key_manager`."""


class KmsKey(Struct, frozen=True, dict=True):
    """A KMS key as stored. Times are seconds since the epoch; `tags` are (key, value) pairs in order of arrival.

    `policy` and `description` are kept exactly as they came. In state PendingDeletion either `deletion_date` is there,
    from which on the key may be deleted, or `pending_window_in_days`: the waiting period that has not begun yet, as in
    state PendingReplicaDeletion.
    `policy_principals` are the users, roles and sessions that the policy names, as (ARN, unique id): one that is
    deleted and created again is another. None if it names none.

    `current_material_id` is the material that encrypts; empty until any was imported. `pending_material_id` is one that
    was imported to become the current one with the next rotation on demand. `rotation_period_in_days` is there while
    automatic rotation is on, and `next_rotation` as soon as it is dated; `on_demand_rotation_start` while a rotation on
    demand is asked for and not done. Whatever changes a key's material writes the key anew too, so that either is as
    the other.

    The keys of a multi-Region key have the same account and key id, and each the `primary_region`; of a single-Region
    key it is None. Whatever they share (`operations/related_keys.py`) is changed in all of them at once; a Region more
    writes the primary key anew, so that whatever was decided without it is decided again.

    A key in a custom key store has its id, and in an external one also that of its external key. `state` says nothing
    of the store: such a key is Unavailable while that is not connected (`Snapshot.key_state`).
    """

    account: str
    region: str
    key_id: str
    key_spec: str
    key_usage: str
    origin: str
    state: str
    description: str
    policy: str
    tags: tuple[tuple[str, str], ...]
    created: float
    current_material_id: str
    key_manager: str = CUSTOMER
    multi_region: bool = False
    deletion_date: float | None = None
    pending_window_in_days: int | None = None
    policy_principals: tuple[tuple[str, str], ...] | None = None
    rotation_period_in_days: int | None = None
    next_rotation: float | None = None
    on_demand_rotation_start: float | None = None
    pending_material_id: str | None = None
    primary_region: str | None = None
    custom_key_store_id: str | None = None
    xks_key_id: str | None = None

    @cached_property
    def arn(self) -> str:
        """The key ARN."""
        return arn.key_arn(self.region, self.account, self.key_id)

    @property
    def enabled(self) -> bool:
        """Whether the key state is Enabled."""
        return self.state == key_states.ENABLED

    @property
    def is_primary(self) -> bool:
        """Whether it is the primary key of a multi-Region key."""
        return self.primary_region == self.region

    @property
    def is_replica(self) -> bool:
        """Whether it is a replica key of a multi-Region key."""
        return self.primary_region not in (None, self.region)


class KeyMaterial(Struct, frozen=True):
    """One key material of a KMS key, wrapped by its key store. A rotation adds another.

    `material_id` is 64 lower-case hex digits. `algorithm` is the ciphertext blob's algorithm byte, fixed at creation; 0
    for material that makes no blobs. `domain_key_version` names the version of the domain key that wraps it.
    `public_key` is the public half of a key pair, a DER SubjectPublicKeyInfo. `uses` is how many encryptions may have
    been done with it, if they are counted. `recovery` is the same material, wrapped for the holder of the recovery key.

    Imported material has an id that follows from it and from its key. When it is deleted or expires (`valid_to`, in
    seconds since the epoch; None: never), `wrapped` is empty and the rest stays: the same material can be imported
    again. `rotated` is when a rotation made it the current one, and `rotation_type` which; None for the first.
    """

    account: str
    region: str
    key_id: str
    material_id: str
    algorithm: int
    key_store: str
    domain_key_version: int
    wrapped: bytes
    created: float
    public_key: bytes | None = None
    uses: int | None = None
    recovery: bytes | None = None
    description: str | None = None
    valid_to: float | None = None
    rotated: float | None = None
    rotation_type: str | None = None

    @property
    def present(self) -> bool:
        """Whether it can be opened: imported material may have been deleted."""
        return bool(self.wrapped)

    def bound_region(self, key: KmsKey) -> str:
        """The Region that it is bound to as it is wrapped: none, if it is of a multi-Region key."""
        return "" if key.multi_region else self.region

    def __repr__(self) -> str:
        return f"KeyMaterial({self.material_id})"
