"""Who calls."""

from msgspec import Struct

from strongroom.model import arn


class Account(Struct, frozen=True):
    """An AWS account: 12 digits. `created` is in seconds since the epoch."""

    account: str
    created: float


class AccessKey(Struct, frozen=True):
    """An access key of the root user of `account`, as stored.

    `sealed_secret` is the secret access key, sealed under a domain key whose version it names.
    """

    access_key_id: str
    account: str
    created: float
    sealed_secret: bytes

    def __repr__(self) -> str:
        return f"AccessKey({self.access_key_id})"


class Principal(Struct, frozen=True):
    """An authenticated caller, by the names that policies and audit records use.

    `kind` is Root, IAMUser, AssumedRole, FederatedUser or AWSService. `arn` is the caller's own: a session's, for a
    role. `principal_id` is unique for ever: a principal deleted and created again under its name has another.
    `issuer_arn` is whom a session was made from: the role of an AssumedRole, the user of a FederatedUser.
    `federated_provider` is the identity provider of a web identity or SAML session, `issued` when a session was made,
    in seconds since the epoch.
    """

    kind: str
    arn: str
    account: str
    principal_id: str
    access_key_id: str
    issuer_arn: str | None = None
    federated_provider: str | None = None
    issued: float | None = None

    @property
    def is_root_user(self) -> bool:
        """Whether this is the root user of its account."""
        return self.kind == "Root"


def root_user(account: str, access_key_id: str) -> Principal:
    """The root user of `account`, as authenticated by one of its access keys."""
    return Principal("Root", arn.root_arn(account), account, account, access_key_id)
