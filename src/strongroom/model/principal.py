"""Who calls."""

from msgspec import Struct

from strongroom.model import arn


class Account(Struct, frozen=True):
    """An AWS account: 12 digits. Times are in seconds since the epoch.

    Every change of the account's identities writes this row anew: of two at once, one is decided again.
    Sessions of the root user that were issued before `sessions_not_before` are refused.
    """

    account: str
    created: float
    sessions_not_before: float | None = None


class AccessKey(Struct, frozen=True):
    """An access key as stored: of the user of unique id `user_id`, of a `service`, or of the root user of `account`.

    `sealed_secret` is the secret access key, sealed under a domain key whose version it names. Times are in seconds
    since the epoch; `deactivated` is since when it is inactive. A service's has no account: it is empty.
    """

    access_key_id: str
    account: str
    created: float
    sealed_secret: bytes
    user_id: str | None = None
    service: str | None = None
    deactivated: float | None = None

    def __repr__(self) -> str:
        return f"AccessKey({self.access_key_id})"


class AccessKeyUsage(Struct, frozen=True):
    """When an access key was last used (seconds since the epoch), in which Region and for which service."""

    access_key_id: str
    used: float
    region: str
    service: str

    @property
    def hour(self) -> int:
        """The hour of the use, counted from the epoch."""
        return int(self.used // 3600)


class Service(Struct, frozen=True):
    """A service that may use keys for users, as the operator declared it.

    `name` is the first word of its names, such as `s3`. `accounts` are those whose users it may act for and whose keys
    it may use, `operations` those that it may call. `protects` is what each account's AWS managed key for it protects,
    in plain words; None if the operator gave it none.
    """

    name: str
    created: float
    accounts: tuple[str, ...]
    operations: tuple[str, ...]
    protects: str | None = None

    @property
    def principal(self) -> str:
        """What policies call it: `s3.amazonaws.com`."""
        return f"{self.name}.amazonaws.com"


class Principal(Struct, frozen=True):
    """An authenticated caller, by the names that policies and audit records use.

    `kind` is Root, IAMUser, AssumedRole, FederatedUser or AWSService. `arn` is the caller's own: a session's, for a
    role. `principal_id` is unique for ever: a principal deleted and created again under its name has another.
    `issuer_arn` and `issuer_id` are whom a session was made from: the role of an AssumedRole, the user of a
    FederatedUser. `federated_provider` is the identity provider of a web identity or SAML session, `issued` when a
    session was made, in seconds since the epoch. `tags` are those of a user, or of a session over those of its role;
    a session hands its `transitive_tags` down to sessions that are made from it.
    `claims` are what an identity provider said, by condition key in lower case. `service` is the name of the service
    that calls for this principal, as in `s3.amazonaws.com`.
    """

    kind: str
    arn: str
    account: str
    principal_id: str
    access_key_id: str
    issuer_arn: str | None = None
    federated_provider: str | None = None
    issued: float | None = None
    issuer_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tags: tuple[tuple[str, str], ...] = ()
    source_identity: str | None = None
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    service: str | None = None

    @property
    def is_root_user(self) -> bool:
        """Whether this is the root user of its account."""
        return self.kind == "Root"


def root_user(account: str, access_key_id: str) -> Principal:
    """The root user of `account`, as authenticated by one of its access keys."""
    return Principal("Root", arn.root_arn(account), account, account, access_key_id)
