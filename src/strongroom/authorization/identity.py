"""Who asks: a principal with the policies that come with it."""

from msgspec import Struct

from strongroom.authorization.policy import Policy
from strongroom.model.principal import Principal


class Identity(Struct, frozen=True):
    """An authenticated principal and what its own account says it may do.

    `policies` are the identity-based ones, of a user and its groups or of a role; `boundary` is the permissions
    boundary; `session_policies` come with a session, None if it has none. The root user has no policies and needs none.
    """

    principal: Principal
    policies: tuple[Policy, ...] = ()
    boundary: Policy | None = None
    session_policies: tuple[Policy, ...] | None = None

    def __repr__(self) -> str:
        return f"Identity({self.principal.arn})"
