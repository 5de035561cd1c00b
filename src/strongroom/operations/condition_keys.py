"""Condition keys: one table that says which actions supply which key, and from what.

AWS: Service Authorization Reference, "Condition keys for AWS Key Management Service"; IAM, "AWS global condition
context keys". `docs/condition-keys.md` is generated from it. A key that is not here, or not for the action, is absent:
so are those of what does not exist yet (`aws:SourceArn`, attestation).
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct, field

from strongroom.audit.record import utc_time
from strongroom.authorization.conditions import MAX_VALUES
from strongroom.authorization.request import Undecidable, Values
from strongroom.errors import RequestError
from strongroom.model.grant import GrantConstraints
from strongroom.model.iam import Group, IdentityProvider, ManagedPolicy, Role, User
from strongroom.model.key_specs import ENCRYPT_DECRYPT, RAW, SYMMETRIC_DEFAULT
from strongroom.model.key_usage import trailing_days
from strongroom.model.principal import Principal
from strongroom.operations.call import Call
from strongroom.operations.related_keys import PRIMARY, REPLICA, kind_of
from strongroom.operations.targets import AliasTarget, IdentityTarget, KeyTarget, ReplicaTarget, RoleTarget, find
from strongroom.snapshot import KeyEntry

_UNKNOWN: Values = ("not asked for yet",)


class Asked(Struct, frozen=True):
    """One action that a call asks for: what policies and grants decide on (`authorization.request.Request`).

    `message` is the request as it came, `target` and `entry` the key it is for, if it is for one, `role` the role that
    is to be assumed, `identity` the user or so that an action of IAM is for. `constraints` are those of the grant to
    make or to retire. `known` keeps the values that were asked for.
    """

    principal: Principal
    action: str
    resource: str
    call: Call
    message: Any = None
    target: KeyTarget | AliasTarget | IdentityTarget | ReplicaTarget | RoleTarget | None = None
    entry: KeyEntry | None = None
    encryption_context: Mapping[str, str] | None = None
    proposed: tuple[frozenset[str], GrantConstraints] | None = None
    constraints: GrantConstraints | None = None
    role: Role | None = None
    identity: User | Group | Role | ManagedPolicy | IdentityProvider | None = None
    known: dict[str, Values | None] = field(default_factory=dict)

    def values(self, name: str) -> Values | None:
        """The values of a condition key by its lower-case name, or None. Raises Undecidable."""
        values = self.known.get(name, _UNKNOWN)
        if values is _UNKNOWN:
            self.known[name] = values = self._supplied(name)
        return values

    def _supplied(self, name: str) -> Values | None:
        row, rest = _find(name)
        if row is None and self.principal.claims:
            return dict(self.principal.claims).get(name)
        return None if row is None or not self._has(row) else row.supply(self, rest)

    def _has(self, row: "ConditionKey") -> bool:
        if row.everywhere or self.action in row.actions:
            return True
        return (row.on_keys and self.entry is not None) or (row.on_identities and self.identity is not None)


class ConditionKey(NamedTuple):
    """A row. `name` ends with `:` or `/` where a name follows that the policy chooses.

    It is there in requests for these `actions`, for any action on a KMS key (`on_keys`) or on an identity
    (`on_identities`), or `everywhere`.

    `supply` gives the values, or None where the request has none; it is given what follows the name, in lower case.
    """

    name: str
    kind: str
    supply: Callable[[Asked, str], Values | None]
    actions: frozenset[str] = frozenset()
    on_keys: bool = False
    on_identities: bool = False
    everywhere: bool = False
    multivalued: bool = False


_USES = frozenset(
    {
        "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair",
        "kms:GenerateDataKeyPairWithoutPlaintext", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
    }
)  # fmt: skip
"""Cryptographic operations that can have an encryption context."""

_SIGNATURES = frozenset({"kms:Sign", "kms:Verify"})
_MACS = frozenset({"kms:GenerateMac", "kms:VerifyMac"})
_DATA_KEY_PAIRS = frozenset({"kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext"})
_AGREEMENT = frozenset({"kms:DeriveSharedSecret"})
_ENCAPSULATION = frozenset({"kms:Decapsulate", "kms:Encapsulate"})
_BY_ALIAS = _USES | _SIGNATURES | _MACS | _AGREEMENT | _ENCAPSULATION | {"kms:DescribeKey", "kms:GetPublicKey"}
"""Operations whose key may be named by an alias."""

_WITH_CONSTRAINTS = frozenset({"kms:CreateGrant", "kms:RetireGrant"})
_CREATE_KEY = frozenset({"kms:CreateKey"})
_CREATE_GRANT = frozenset({"kms:CreateGrant"})
_IMPORT = frozenset({"kms:ImportKeyMaterial"})
_PARAMETERS_FOR_IMPORT = frozenset({"kms:GetParametersForImport"})
_ASSUME_ROLE = frozenset({"sts:AssumeRole"})
_SOURCE_IDENTITY = frozenset({"sts:SetSourceIdentity"})
_ASSUMING = frozenset({"sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:TagSession"})
_BOUNDED = frozenset(
    {
        "iam:AttachRolePolicy", "iam:AttachUserPolicy", "iam:CreateRole", "iam:CreateUser",
        "iam:DeleteRolePermissionsBoundary", "iam:DeleteRolePolicy", "iam:DeleteUserPermissionsBoundary",
        "iam:DeleteUserPolicy", "iam:DetachRolePolicy", "iam:DetachUserPolicy", "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy", "iam:PutUserPermissionsBoundary", "iam:PutUserPolicy",
    }
)  # fmt: skip
_ATTACHING = frozenset(
    {
        "iam:AttachGroupPolicy", "iam:AttachRolePolicy", "iam:AttachUserPolicy", "iam:DetachGroupPolicy",
        "iam:DetachRolePolicy", "iam:DetachUserPolicy",
    }
)  # fmt: skip
_TAGGING_IDENTITIES = frozenset(
    {
        "iam:CreateOpenIDConnectProvider", "iam:CreatePolicy", "iam:CreateRole", "iam:CreateUser",
        "iam:TagOpenIDConnectProvider", "iam:TagPolicy", "iam:TagRole", "iam:TagUser",
        "iam:UntagOpenIDConnectProvider", "iam:UntagPolicy", "iam:UntagRole", "iam:UntagUser",
    }
)  # fmt: skip
_TAGGING = _ASSUMING | _TAGGING_IDENTITIES | {"kms:CreateKey", "kms:TagResource", "kms:UntagResource"}

_PRINCIPAL_TYPES = {
    "Root": "Account",
    "IAMUser": "User",
    "AssumedRole": "AssumedRole",
    "FederatedUser": "FederatedUser",
}


def _one(value: str | None) -> Values | None:
    return None if value is None else (value,)


def _truth(*, value: bool) -> Values:
    return ("true",) if value else ("false",)


def _named(pairs: Iterable[tuple[str, str]], name: str) -> Values | None:
    """The value of the pair with this name in whatever case. Raises Undecidable if two pairs differ in case alone."""
    found = None
    for key, value in pairs:
        if key.lower() == name:
            if found is not None and found != value:
                raise Undecidable
            found = value
    return _one(found)


def _context(asked: Asked) -> Iterable[tuple[str, str]]:
    """The pairs of the encryption context, or of a grant's constraints on it. Raises Undecidable if they are many."""
    if asked.encryption_context is not None:
        if len(asked.encryption_context) > MAX_VALUES:
            raise Undecidable
        return asked.encryption_context.items()
    constraints = asked.constraints or GrantConstraints()
    required = (constraints.encryption_context_subset, constraints.encryption_context_equals)
    return [pair for pairs in required for pair in (pairs or {}).items()]


def _context_keys(asked: Asked, _rest: str) -> Values | None:
    return tuple(dict.fromkeys(key for key, _ in _context(asked))) or None


def _request_tags(asked: Asked) -> list[tuple[str, str]]:
    """The tags in a request, which KMS spells otherwise than IAM and STS."""
    tags = getattr(asked.message, "tags", None) or ()
    if asked.action.startswith("kms:"):
        return [(tag.tag_key, tag.tag_value) for tag in tags]
    return [(tag.key, tag.value) for tag in tags]


def _tag_keys(asked: Asked, _rest: str) -> Values | None:
    keys = [key for key, _ in _request_tags(asked)] + list(getattr(asked.message, "tag_keys", None) or ())
    return tuple(keys) or None


def _key_spec(asked: Asked, _rest: str) -> Values:
    if asked.entry is not None:
        return (asked.entry.key.key_spec,)
    return (asked.message.key_spec or asked.message.customer_master_key_spec or SYMMETRIC_DEFAULT,)


def _key_usage(asked: Asked, _rest: str) -> Values:
    return (asked.entry.key.key_usage if asked.entry is not None else asked.message.key_usage or ENCRYPT_DECRYPT,)


def _key_origin(asked: Asked, _rest: str) -> Values:
    return (asked.entry.key.origin if asked.entry is not None else asked.message.origin or "AWS_KMS",)


def _multi_region(asked: Asked, _rest: str) -> Values:
    return _truth(value=bool(asked.message.multi_region if asked.entry is None else asked.entry.key.multi_region))


def _multi_region_key_type(asked: Asked, _rest: str) -> Values | None:
    if asked.entry is not None:
        return _one(kind_of(asked.entry.key))
    if isinstance(asked.target, ReplicaTarget):
        return (REPLICA,)
    return (PRIMARY,) if asked.message.multi_region else None


def _constraint_type(asked: Asked, _rest: str) -> Values | None:
    constraints = asked.constraints or GrantConstraints()
    types = []
    if constraints.encryption_context_equals is not None:
        types.append("EncryptionContextEquals")
    if constraints.encryption_context_subset is not None:
        types.append("EncryptionContextSubset")
    return tuple(types) or None


def _algorithm(asked: Asked, _rest: str) -> Values | None:
    return _one(asked.target.algorithm) if isinstance(asked.target, KeyTarget) else None


def _same_key(asked: Asked, _rest: str) -> Values:
    """Whether ReEncrypt's other key is this one too."""
    assert isinstance(asked.target, KeyTarget), "ReEncrypt acts on keys"
    assert asked.entry is not None, "ReEncrypt acts on keys"
    message, call = asked.message, asked.call
    if asked.action == "kms:ReEncryptFrom":
        other = KeyTarget("kms:ReEncryptTo", message.destination_key_id, by_alias=True, foreign=True)
    else:
        other = KeyTarget(
            "kms:ReEncryptFrom", message.source_key_id, message.ciphertext_blob, by_alias=True, foreign=True
        )
    try:
        found = find(other, call.snapshot, call.principal, call.region)
    except RequestError:  # the request ends with it
        return ("false",)
    return _truth(value=found.entry.key.arn == asked.entry.key.arn)


def _request_alias(asked: Asked, _rest: str) -> Values | None:
    key_id = asked.target.key_id if isinstance(asked.target, KeyTarget) else None
    if key_id is None:
        return None
    name = key_id.split(":", 5)[-1] if key_id.startswith("arn:") else key_id
    return (name,) if name.startswith("alias/") else None


def _source_ip(asked: Asked, _rest: str) -> Values | None:
    """The client's address (`Incoming`). An IPv4 address that came through an IPv6 socket is told as what it is."""
    address = asked.call.incoming.source_ip
    if address.startswith("::ffff:"):
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
        address = address if mapped is None else str(mapped)
    return _one(address or None)


def _principal_arn(asked: Asked, _rest: str) -> Values:
    """A session of a role has the role's."""
    principal = asked.principal
    return (principal.issuer_arn if principal.kind == "AssumedRole" and principal.issuer_arn else principal.arn,)


def _user_name(asked: Asked, _rest: str) -> Values | None:
    return (asked.principal.arn.rpartition("/")[2],) if asked.principal.kind == "IAMUser" else None


def _token_issue_time(asked: Asked, _rest: str) -> Values | None:
    issued = asked.principal.issued
    return None if issued is None else (utc_time(int(issued)),)


def _resource_tag(asked: Asked, rest: str) -> Values | None:
    if asked.entry is not None:
        return _named(asked.entry.key.tags, rest)
    tagged = asked.role or asked.identity
    return None if tagged is None or isinstance(tagged, Group) else _named(tagged.tags, rest)


def _policy_arn(asked: Asked, _rest: str) -> Values | None:
    return _one(asked.target.policy_arn) if isinstance(asked.target, IdentityTarget) else None


def _boundary(asked: Asked, _rest: str) -> Values | None:
    """The permissions boundary that is asked for, or else the one that is there."""
    if isinstance(asked.target, IdentityTarget) and asked.target.boundary is not None:
        return (asked.target.boundary,)
    return _one(asked.identity.boundary) if isinstance(asked.identity, User | Role) else None


def _valid_to(asked: Asked, _rest: str) -> Values | None:
    """Seconds since the epoch, which conditions of both types Date and Numeric can compare."""
    valid_to = asked.message.valid_to
    return None if valid_to is None else (f"{valid_to:.3f}",)


def _via_service(asked: Asked, _rest: str) -> Values | None:
    service = asked.principal.service
    return None if service is None else (f"{service}.{asked.call.region}.amazonaws.com",)


def _called_via(asked: Asked, _rest: str) -> Values | None:
    service = asked.principal.service
    return None if service is None else (f"{service}.amazonaws.com",)


def _service_name(asked: Asked, _rest: str) -> Values | None:
    return (asked.principal.arn,) if asked.principal.kind == "AWSService" else None


def _source_identity(asked: Asked, _rest: str) -> Values | None:
    """The source identity of the session to make. AWS: one that the caller's session hands down is there too."""
    return _one(asked.message.source_identity or asked.principal.source_identity)


def _with_mfa(asked: Asked, _rest: str) -> Values | None:
    """There is no multi-factor authentication. AWS: sessions say so, and requests with long-term keys say nothing."""
    return ("false",) if asked.principal.issued is not None else None


def _of_key(supply: Callable[[KeyEntry], Values | None]) -> Callable[[Asked, str], Values | None]:
    return lambda asked, _rest: None if asked.entry is None else supply(asked.entry)


def _of_message(name: str, default: str | None = None) -> Callable[[Asked, str], Values | None]:
    """A member of the request, as the text that a condition compares."""

    def supply(asked: Asked, _rest: str) -> Values | None:
        value = getattr(asked.message, name)
        if isinstance(value, bool):
            return _truth(value=value)
        return _one(default if value is None else str(value))

    return supply


def _trailing_days(asked: Asked, _rest: str) -> Values | None:
    if asked.entry is None:
        return None
    call = asked.call
    tracked_since = call.snapshot.usage_tracked_since
    return (str(trailing_days(asked.entry.key, call.uses.last(asked.entry), tracked_since, call.now)),)


CONDITION_KEYS = (
    ConditionKey("aws:CalledVia", "String", _called_via, everywhere=True, multivalued=True),
    ConditionKey("aws:CalledViaFirst", "String", _called_via, everywhere=True),
    ConditionKey("aws:CalledViaLast", "String", _called_via, everywhere=True),
    ConditionKey("aws:CurrentTime", "Date", lambda a, _: (utc_time(int(a.call.now)),), everywhere=True),
    ConditionKey("aws:EpochTime", "Date", lambda a, _: (str(int(a.call.now)),), everywhere=True),
    ConditionKey("aws:FederatedProvider", "String", lambda a, _: _one(a.principal.federated_provider), everywhere=True),
    ConditionKey("aws:MultiFactorAuthPresent", "Bool", _with_mfa, everywhere=True),
    ConditionKey("aws:PrincipalAccount", "String", lambda a, _: _one(a.principal.account or None), everywhere=True),
    ConditionKey("aws:PrincipalArn", "ARN", _principal_arn, everywhere=True),
    ConditionKey(
        "aws:PrincipalIsAWSService",
        "Bool",
        lambda a, _: _truth(value=a.principal.kind == "AWSService"),
        everywhere=True,
    ),
    ConditionKey(
        "aws:PrincipalType", "String", lambda a, _: _one(_PRINCIPAL_TYPES.get(a.principal.kind)), everywhere=True
    ),
    ConditionKey("aws:PrincipalServiceName", "String", _service_name, everywhere=True),
    ConditionKey("aws:PrincipalServiceNamesList", "String", _service_name, everywhere=True, multivalued=True),
    ConditionKey("aws:PrincipalTag/", "String", lambda a, rest: _named(a.principal.tags, rest), everywhere=True),
    ConditionKey("aws:Referer", "String", lambda a, _: _one(a.call.incoming.header(b"referer")), everywhere=True),
    ConditionKey("aws:RequestTag/", "String", lambda a, rest: _named(_request_tags(a), rest), actions=_TAGGING),
    ConditionKey("aws:RequestedRegion", "String", lambda a, _: (a.call.region,), everywhere=True),
    ConditionKey("aws:ResourceAccount", "String", _of_key(lambda e: (e.key.account,)), on_keys=True),
    ConditionKey(
        "aws:ResourceTag/",
        "String",
        _resource_tag,
        on_keys=True,
        on_identities=True,
        actions=_ASSUMING | _SOURCE_IDENTITY,
    ),
    ConditionKey(
        "aws:SecureTransport", "Bool", lambda a, _: _truth(value=a.call.incoming.tls is not None), everywhere=True
    ),
    ConditionKey("aws:SourceIdentity", "String", lambda a, _: _one(a.principal.source_identity), everywhere=True),
    ConditionKey("aws:SourceIp", "IPAddress", _source_ip, everywhere=True),
    ConditionKey("aws:TagKeys", "String", _tag_keys, actions=_TAGGING, multivalued=True),
    ConditionKey("aws:TokenIssueTime", "Date", _token_issue_time, everywhere=True),
    ConditionKey("aws:UserAgent", "String", lambda a, _: _one(a.call.incoming.header(b"user-agent")), everywhere=True),
    ConditionKey(
        "aws:ViaAWSService", "Bool", lambda a, _: _truth(value=a.principal.service is not None), everywhere=True
    ),
    ConditionKey("aws:userid", "String", lambda a, _: (a.principal.principal_id,), everywhere=True),
    ConditionKey("aws:username", "String", _user_name, everywhere=True),
    ConditionKey("iam:PermissionsBoundary", "ARN", _boundary, actions=_BOUNDED),
    ConditionKey("iam:PolicyARN", "ARN", _policy_arn, actions=_ATTACHING),
    ConditionKey("iam:ResourceTag/", "String", _resource_tag, on_identities=True),
    ConditionKey(
        "kms:BypassPolicyLockoutSafetyCheck",
        "Bool",
        _of_message("bypass_policy_lockout_safety_check"),
        actions=frozenset({"kms:CreateKey", "kms:PutKeyPolicy"}),
    ),
    ConditionKey("kms:CallerAccount", "String", lambda a, _: _one(a.principal.account or None), on_keys=True),
    ConditionKey("kms:CustomerMasterKeySpec", "String", _key_spec, actions=_CREATE_KEY, on_keys=True),
    ConditionKey("kms:CustomerMasterKeyUsage", "String", _key_usage, actions=_CREATE_KEY, on_keys=True),
    ConditionKey("kms:DataKeyPairSpec", "String", _of_message("key_pair_spec"), actions=_DATA_KEY_PAIRS),
    ConditionKey("kms:EncryptionAlgorithm", "String", _algorithm, actions=_USES),
    ConditionKey(
        "kms:EncryptionContext:",
        "String",
        lambda a, rest: _named(_context(a), rest),
        actions=_USES | _WITH_CONSTRAINTS,
    ),
    ConditionKey(
        "kms:EncryptionContextKeys", "String", _context_keys, actions=_USES | _WITH_CONSTRAINTS, multivalued=True
    ),
    ConditionKey("kms:ExpirationModel", "String", _of_message("expiration_model"), actions=_IMPORT),
    ConditionKey(
        "kms:GrantConstraintSourceArn",
        "ARN",
        lambda a, _: _one(None if a.constraints is None else a.constraints.source_arn),
        actions=_CREATE_GRANT,
    ),
    ConditionKey("kms:GrantConstraintType", "String", _constraint_type, actions=_WITH_CONSTRAINTS),
    ConditionKey(
        "kms:GrantIsForAWSResource",
        "Bool",
        lambda a, _: _truth(value=a.principal.service is not None),
        actions=frozenset({"kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"}),
    ),
    ConditionKey(
        "kms:GrantOperations", "String", lambda a, _: a.message.operations, actions=_CREATE_GRANT, multivalued=True
    ),
    ConditionKey("kms:GranteePrincipal", "String", _of_message("grantee_principal"), actions=_CREATE_GRANT),
    ConditionKey(
        "kms:GranteeServicePrincipal", "String", _of_message("grantee_service_principal"), actions=_CREATE_GRANT
    ),
    ConditionKey("kms:KeyAgreementAlgorithm", "String", _of_message("key_agreement_algorithm"), actions=_AGREEMENT),
    ConditionKey("kms:KeyOrigin", "String", _key_origin, actions=_CREATE_KEY, on_keys=True),
    ConditionKey("kms:KeySpec", "String", _key_spec, actions=_CREATE_KEY, on_keys=True),
    ConditionKey("kms:KeyUsage", "String", _key_usage, actions=_CREATE_KEY, on_keys=True),
    ConditionKey("kms:MacAlgorithm", "String", _of_message("mac_algorithm"), actions=_MACS),
    ConditionKey("kms:MessageType", "String", _of_message("message_type", RAW), actions=_SIGNATURES),
    ConditionKey("kms:MultiRegion", "Bool", _multi_region, actions=_CREATE_KEY, on_keys=True),
    ConditionKey("kms:MultiRegionKeyType", "String", _multi_region_key_type, actions=_CREATE_KEY, on_keys=True),
    ConditionKey(
        "kms:PolicyName",
        "String",
        _of_message("policy_name", "default"),
        actions=frozenset({"kms:GetKeyPolicy", "kms:PutKeyPolicy"}),
    ),
    ConditionKey(
        "kms:PrimaryRegion", "String", _of_message("primary_region"), actions=frozenset({"kms:UpdatePrimaryRegion"})
    ),
    ConditionKey(
        "kms:ReEncryptOnSameKey", "Bool", _same_key, actions=frozenset({"kms:ReEncryptFrom", "kms:ReEncryptTo"})
    ),
    ConditionKey("kms:ReplicaRegion", "String", _of_message("replica_region"), actions=frozenset({"kms:ReplicateKey"})),
    ConditionKey("kms:RequestAlias", "String", _request_alias, actions=_BY_ALIAS),
    ConditionKey(
        "kms:ResourceAliases",
        "String",
        _of_key(lambda e: tuple(sorted(e.aliases)) or None),
        on_keys=True,
        multivalued=True,
    ),
    ConditionKey("kms:RetiringPrincipal", "String", _of_message("retiring_principal"), actions=_CREATE_GRANT),
    ConditionKey(
        "kms:RetiringServicePrincipal", "String", _of_message("retiring_service_principal"), actions=_CREATE_GRANT
    ),
    ConditionKey(
        "kms:RotationPeriodInDays",
        "Numeric",
        _of_message("rotation_period_in_days", "365"),
        actions=frozenset({"kms:EnableKeyRotation"}),
    ),
    ConditionKey(
        "kms:ScheduleKeyDeletionPendingWindowInDays",
        "Numeric",
        _of_message("pending_window_in_days", "30"),
        actions=frozenset({"kms:ScheduleKeyDeletion"}),
    ),
    ConditionKey("kms:SigningAlgorithm", "String", _of_message("signing_algorithm"), actions=_SIGNATURES),
    ConditionKey(
        "kms:TrailingDaysWithoutKeyUsage",
        "Numeric",
        _trailing_days,
        actions=frozenset({"kms:DisableKey", "kms:ScheduleKeyDeletion"}),
    ),
    ConditionKey("kms:ValidTo", "Date", _valid_to, actions=_IMPORT),
    ConditionKey("kms:ViaService", "String", _via_service, on_keys=True, actions=_CREATE_KEY),
    ConditionKey("kms:WrappingAlgorithm", "String", _of_message("wrapping_algorithm"), actions=_PARAMETERS_FOR_IMPORT),
    ConditionKey("kms:WrappingKeySpec", "String", _of_message("wrapping_key_spec"), actions=_PARAMETERS_FOR_IMPORT),
    ConditionKey("sts:ExternalId", "String", _of_message("external_id"), actions=_ASSUME_ROLE),
    ConditionKey("sts:RoleSessionName", "String", _of_message("role_session_name"), actions=_ASSUMING),
    ConditionKey("sts:SourceIdentity", "String", _source_identity, actions=_ASSUME_ROLE | _SOURCE_IDENTITY),
    ConditionKey(
        "sts:TransitiveTagKeys",
        "String",
        lambda a, _: getattr(a.message, "transitive_tag_keys", None) or None,
        actions=_ASSUMING,
        multivalued=True,
    ),
)
"""Every condition key that a request can have, by name."""

_BY_NAME = {row.name.lower(): row for row in CONDITION_KEYS if row.name[-1] not in ":/"}
_BY_PREFIX = {row.name.lower(): row for row in CONDITION_KEYS if row.name[-1] in ":/"}


@lru_cache(maxsize=4096)
def _find(name: str) -> tuple[ConditionKey | None, str]:
    """The row of a condition key, and what follows its name."""
    row = _BY_NAME.get(name)
    if row is not None:
        return row, ""
    for prefix, row in _BY_PREFIX.items():
        if name.startswith(prefix) and name != prefix:
            return row, name.removeprefix(prefix)
    return None, ""
