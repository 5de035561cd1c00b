"""The identities of one account, as requests see them: who there is, and what its own account lets each do.

Immutable: every change of an account's identities makes another. What is compiled from policies is made when it is
first asked for, and goes with the directory.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple, TypeVar

from msgspec import Raw, Struct

from strongroom.audit.record import user_identity
from strongroom.authorization.documents import compile_identity_policy, compile_trust_policy
from strongroom.authorization.identity import Identity
from strongroom.authorization.policy import Policy
from strongroom.errors import MalformedPolicyDocument
from strongroom.model.arn import session_arn
from strongroom.model.aws_managed_policies import AWS_MANAGED_POLICIES
from strongroom.model.iam import Entity, Group, IdentityProvider, ManagedPolicy, Pairs, Role, User
from strongroom.model.numbered import Numbered
from strongroom.model.principal import AccessKey, Account, Principal, root_user
from strongroom.model.session import Session

_MAX_SESSIONS = 4096
"""Sessions whose compiled policies are kept."""

E = TypeVar("E", User, Group, Role)


class Credential(Struct, frozen=True):
    """A credential that can sign: whose it is, its secret, and the userIdentity of its audit records."""

    identity: Identity
    user_identity: Raw
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.identity.principal.access_key_id})"


class HeldKey(NamedTuple):
    """An access key with its secret, opened."""

    record: AccessKey
    number: int
    secret: str

    def __repr__(self) -> str:
        return f"HeldKey({self.record.access_key_id})"


class Directory(Struct, frozen=True, dict=True):
    """The identities of one account.

    Users, groups, roles and managed policies by unique id, identity providers by URL, access keys of users and of the
    root user by id.
    """

    account: Numbered[Account]
    users: Mapping[str, Numbered[User]] = {}
    groups: Mapping[str, Numbered[Group]] = {}
    roles: Mapping[str, Numbered[Role]] = {}
    policies: Mapping[str, Numbered[ManagedPolicy]] = {}
    providers: Mapping[str, Numbered[IdentityProvider]] = {}
    access_keys: Mapping[str, HeldKey] = {}

    def __repr__(self) -> str:
        return f"Directory({self.account.record.account})"

    def user(self, name: str) -> Numbered[User] | None:
        """The user of this name, in whatever case, or None."""
        return self._named_users.get(name.lower())

    def group(self, name: str) -> Numbered[Group] | None:
        """The group of this name, in whatever case, or None."""
        return self._named_groups.get(name.lower())

    def role(self, name: str) -> Numbered[Role] | None:
        """The role of this name, in whatever case, or None."""
        return self._named_roles.get(name.lower())

    def own_policy(self, arn: str) -> Numbered[ManagedPolicy] | None:
        """The managed policy of this ARN if it is the account's, or None."""
        return self._policies_by_arn.get(arn)

    def provider(self, arn: str) -> Numbered[IdentityProvider] | None:
        """The identity provider of this ARN, or None."""
        found = self.providers.get(arn.partition(":oidc-provider/")[2])
        return found if found is not None and found.record.arn == arn else None

    def managed_policy(self, arn: str) -> ManagedPolicy | None:
        """The managed policy of this ARN, the account's or AWS's, or None."""
        found = self._policies_by_arn.get(arn)
        return AWS_MANAGED_POLICIES.get(arn) if found is None else found.record

    @cached_property
    def entities(self) -> Sequence[Entity]:
        """Every user, group and role."""
        return [
            *(user for user, _ in self.users.values()),
            *(group for group, _ in self.groups.values()),
            *(role for role, _ in self.roles.values()),
        ]

    @cached_property
    def attachments(self) -> Counter[str]:
        """How many users, groups and roles have a managed policy, by its ARN."""
        return Counter(arn for entity in self.entities for arn in entity.attached)

    @cached_property
    def boundaries(self) -> Counter[str]:
        """How many users and roles have a managed policy as their permissions boundary, by its ARN."""
        bounded = (entity.boundary for entity in self.entities if isinstance(entity, User | Role))
        return Counter(arn for arn in bounded if arn is not None)

    def members(self, group: Group) -> list[User]:
        """The users of a group, by name."""
        users = (user for user, _ in self.users.values())
        return sorted((user for user in users if group.group_id in user.groups), key=lambda user: user.name)

    def groups_of(self, user: User) -> list[Group]:
        """The groups of a user, by name."""
        found = (self.groups[group_id].record for group_id in user.groups if group_id in self.groups)
        return sorted(found, key=lambda group: group.name)

    def access_keys_of(self, user_id: str | None) -> list[AccessKey]:
        """The access keys of a user, or of the root user (None), oldest first."""
        found = (held.record for held in self.access_keys.values() if held.record.user_id == user_id)
        return sorted(found, key=lambda key: (key.created, key.access_key_id))

    def unique_id(self, arn: str) -> str | None:
        """The unique id of a user, a role, or a session of a role, by its ARN; None if there is none.

        That of a session is its role's and its name: `AROA…:session`.
        """
        _, _, resource = arn.partition(f":{self.account.record.account}:")
        kind, _, rest = resource.partition("/")
        name = rest.rpartition("/")[2]
        match kind:
            case "user":
                user = self.user(name)
                return user.record.user_id if user is not None and user.record.arn == arn else None
            case "role":
                role = self.role(name)
                return role.record.role_id if role is not None and role.record.arn == arn else None
            case "assumed-role":
                role = self.role(rest.partition("/")[0])
                if role is None or arn != session_arn(role.record.account, role.record.name, name):
                    return None
                return f"{role.record.role_id}:{name}"
            case _:
                return None

    def credential(self, access_key_id: str) -> Credential | None:
        """What an access key can sign as; None if there is none that is active."""
        known = self._credentials.get(access_key_id)
        if known is not None:
            return known
        held = self.access_keys.get(access_key_id)
        if held is None or held.record.deactivated is not None:
            return None
        identity = self._identity_of_key(held.record)
        if identity is None:
            return None
        made = Credential(identity, user_identity(identity.principal), held.secret)
        self._credentials[access_key_id] = made
        return made

    def session_credential(self, session: Session) -> Credential | None:
        """What a session can sign as; None if whom it was made for is gone, or its sessions were revoked."""
        known = self._sessions.get(session.access_key_id)
        if known is not None:
            return known
        identity = self._identity_of_session(session)
        if identity is None:
            return None
        made = Credential(identity, user_identity(identity.principal), session.secret)
        if len(self._sessions) >= _MAX_SESSIONS:
            self._sessions.clear()
        self._sessions[session.access_key_id] = made
        return made

    def policies_of(self, entity: Entity) -> tuple[Policy, ...]:
        """The compiled identity-based policies of a user with its groups, or of a group or a role."""
        documents = [document for _, document in entity.policies]
        documents += [self._document(arn) for arn in entity.attached]
        compiled = tuple(map(compiled_policy, documents))
        if isinstance(entity, User):
            for group in self.groups_of(entity):
                compiled += self.policies_of(group)
        return compiled

    def boundary_of(self, entity: User | Role) -> Policy | None:
        """The compiled permissions boundary, or None."""
        return None if entity.boundary is None else compiled_policy(self._document(entity.boundary))

    def identity_of_user(self, user: User, access_key_id: str, session: Session | None = None) -> Identity:
        """A user, as one of its access keys or its session signs."""
        issued = None if session is None else session.issued
        principal = Principal(
            "IAMUser", user.arn, user.account, user.user_id, access_key_id, issued=issued, tags=user.tags
        )
        return Identity(principal, self.policies_of(user), self.boundary_of(user))

    def _identity_of_key(self, key: AccessKey) -> Identity | None:
        if key.user_id is None:
            return Identity(root_user(key.account, key.access_key_id))
        user = self.users.get(key.user_id)
        return None if user is None else self.identity_of_user(user.record, key.access_key_id)

    def _identity_of_session(self, session: Session) -> Identity | None:
        """A session as of now: the policies of whom it was made for may have changed since."""
        owner: Account | User | Role
        if session.principal_id == session.account:
            owner = self.account.record
            identity = Identity(
                Principal(
                    "Root",
                    root_user(session.account, "").arn,
                    session.account,
                    session.account,
                    session.access_key_id,
                    issued=session.issued,
                )
            )
        elif session.principal_id in self.users:
            owner = self.users[session.principal_id].record
            identity = self.identity_of_user(owner, session.access_key_id, session)
        elif session.principal_id in self.roles:
            owner = self.roles[session.principal_id].record
            identity = self.identity_of_role(owner, session)
        else:
            return None
        revoked = owner.sessions_not_before
        return None if revoked is not None and session.issued < revoked else identity

    def identity_of_role(self, role: Role, session: Session) -> Identity:
        """A session of a role."""
        principal = Principal(
            "AssumedRole",
            session_arn(role.account, role.name, session.name),
            role.account,
            f"{role.role_id}:{session.name}",
            session.access_key_id,
            issuer_arn=role.arn,
            issuer_id=role.role_id,
            federated_provider=session.federated_provider,
            issued=session.issued,
            tags=_with_session_tags(role.tags, session.tags),
            transitive_tags=tuple(tag for tag in session.tags if tag[0] in session.transitive_tag_keys),
            source_identity=session.source_identity,
            claims=session.claims,
        )
        limits: Sequence[str] | None = None
        if session.policy is not None or session.policy_arns:
            limits = [] if session.policy is None else [session.policy]
            limits = [*limits, *(self._document(arn) for arn in session.policy_arns)]
        return Identity(
            principal,
            self.policies_of(role),
            self.boundary_of(role),
            None if limits is None else tuple(map(compiled_policy, limits)),
        )

    def _document(self, arn: str) -> str:
        """The document in force of a managed policy; one that is gone is one that cannot be read."""
        policy = self.managed_policy(arn)
        return "" if policy is None else policy.document

    @cached_property
    def _credentials(self) -> dict[str, Credential]:
        return {}

    @cached_property
    def _sessions(self) -> dict[str, Credential]:
        return {}

    @cached_property
    def _policies_by_arn(self) -> dict[str, Numbered[ManagedPolicy]]:
        return {policy.record.arn: policy for policy in self.policies.values()}

    @cached_property
    def _named_users(self) -> dict[str, Numbered[User]]:
        return _by_name(self.users.values())

    @cached_property
    def _named_groups(self) -> dict[str, Numbered[Group]]:
        return _by_name(self.groups.values())

    @cached_property
    def _named_roles(self) -> dict[str, Numbered[Role]]:
        return _by_name(self.roles.values())


def _with_session_tags(tags: Pairs, session_tags: Pairs) -> Pairs:
    """AWS: a session tag stands for the role's of the same key, whatever their case."""
    replaced = {key.lower() for key, _ in session_tags}
    return (*(tag for tag in tags if tag[0].lower() not in replaced), *session_tags)


def _by_name(entities: Iterable[Numbered[E]]) -> dict[str, Numbered[E]]:
    return {entity.record.name.lower(): entity for entity in entities}


_NOTHING = '{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}'


@lru_cache(maxsize=1024)
def compiled_trust_policy(document: str, trusted: Pairs) -> Policy:
    """The policy that says who may assume a role; one that cannot be read allows nobody. `trusted` is the role's."""
    try:
        return compile_trust_policy(document, trusted)
    except MalformedPolicyDocument:
        return Policy((), ())


@lru_cache(maxsize=1024)
def compiled_policy(document: str) -> Policy:
    """A policy that is attached to its principal. One that cannot be read denies everything: so it may have."""
    try:
        return compile_identity_policy(document)
    except MalformedPolicyDocument:
        return compile_identity_policy(_NOTHING)
