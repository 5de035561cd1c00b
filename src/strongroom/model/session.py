"""Sessions: temporary credentials. They are stored nowhere: the session token carries them."""

from msgspec import Struct


class Session(Struct, frozen=True, omit_defaults=True):
    """Temporary credentials and what they were issued for (AWS: "Temporary security credentials").

    `principal_id` is the unique id of the role, of the user, or the number of the account (its root user); `name` the
    session's, if it is a role's. `secret` is the secret access key. Times are in seconds since the epoch.
    `policy` and `policy_arns` are its session policies. `tags` are its session tags, of which those in
    `transitive_tag_keys` go on to sessions that are made from it. `claims` are condition keys (in lower case) that its
    identity provider vouched for. `chained` says that it was made from another session.
    """

    access_key_id: str
    secret: str
    account: str
    principal_id: str
    issued: float
    expires: float
    name: str = ""
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str | None = None
    federated_provider: str | None = None
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    chained: bool = False

    def __repr__(self) -> str:
        return f"Session({self.access_key_id})"
