"""Users, groups, roles, policies and identity providers of an account, as they are stored (AWS: IAM).

Names are unique in their account whatever their case. Unique ids (`AIDA…`, `AROA…`) are never given twice: who is
created again under an old name is somebody else. Times are in seconds since the epoch. `tags` are (key, value) in order
of arrival; `policies` are inline policies, (name, document) in order of name; `attached` are the ARNs of managed
policies in order of attachment.
"""

from msgspec import Struct

Pairs = tuple[tuple[str, str], ...]


class User(Struct, frozen=True):
    """An IAM user. `groups` are the unique ids of its groups, `boundary` the ARN of its permissions boundary.

    Sessions that were issued before `sessions_not_before` are refused.
    """

    account: str
    user_id: str
    name: str
    path: str
    created: float
    tags: Pairs = ()
    groups: tuple[str, ...] = ()
    policies: Pairs = ()
    attached: tuple[str, ...] = ()
    boundary: str | None = None
    sessions_not_before: float | None = None

    @property
    def arn(self) -> str:
        """`arn:aws:iam::111122223333:user/path/name`."""
        return f"arn:aws:iam::{self.account}:user{self.path}{self.name}"


class Group(Struct, frozen=True):
    """A group of users. Its users name it."""

    account: str
    group_id: str
    name: str
    path: str
    created: float
    policies: Pairs = ()
    attached: tuple[str, ...] = ()

    @property
    def arn(self) -> str:
        """`arn:aws:iam::111122223333:group/path/name`."""
        return f"arn:aws:iam::{self.account}:group{self.path}{self.name}"


class Role(Struct, frozen=True):
    """A role. `trust_policy` says who may assume it, for at most `max_session_duration` seconds.

    `trusted` are the principals that the trust policy names, as (ARN, unique id): they are remembered by unique id.
    Sessions that were issued before `sessions_not_before` are refused.
    """

    account: str
    role_id: str
    name: str
    path: str
    created: float
    trust_policy: str
    trusted: Pairs
    description: str
    max_session_duration: int
    tags: Pairs = ()
    policies: Pairs = ()
    attached: tuple[str, ...] = ()
    boundary: str | None = None
    sessions_not_before: float | None = None

    @property
    def arn(self) -> str:
        """`arn:aws:iam::111122223333:role/path/name`."""
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


class PolicyVersion(Struct, frozen=True):
    """A version of a managed policy: `v1`, `v2` and so on."""

    version_id: str
    document: str
    created: float


class ManagedPolicy(Struct, frozen=True):
    """A managed policy of an account (AWS: customer managed policy). It has five versions at most, oldest first.

    `newest_version` is the number of the newest version there ever was.
    """

    account: str
    policy_id: str
    name: str
    path: str
    created: float
    updated: float
    description: str
    versions: tuple[PolicyVersion, ...]
    default_version_id: str
    newest_version: int = 1
    tags: Pairs = ()

    @property
    def arn(self) -> str:
        """`arn:aws:iam::111122223333:policy/path/name`."""
        return f"arn:aws:iam::{self.account}:policy{self.path}{self.name}"

    @property
    def document(self) -> str:
        """The document that is in force."""
        return next(one.document for one in self.versions if one.version_id == self.default_version_id)


class IdentityProvider(Struct, frozen=True):
    """An OpenID Connect provider whose tokens the roles of an account may trust.

    `url` is the issuer without its scheme. `client_ids` are the audiences that tokens may have, `thumbprints` the
    SHA-1 hashes (40 hex digits) of certificates that the issuer's server may have if no certificate authority that is
    trusted vouches for it.
    """

    account: str
    url: str
    created: float
    client_ids: tuple[str, ...]
    thumbprints: tuple[str, ...]
    tags: Pairs = ()

    @property
    def arn(self) -> str:
        """`arn:aws:iam::111122223333:oidc-provider/host/path`."""
        return f"arn:aws:iam::{self.account}:oidc-provider/{self.url}"


Entity = User | Group | Role
"""What policies are attached to."""
