"""Why a request was allowed or refused, as the audit record tells it and `strongroom explain` reads it."""

from msgspec import Struct

KEY_POLICY = "KeyPolicy"
TRUST_POLICY = "TrustPolicy"
IDENTITY_POLICY = "IdentityPolicy"
PERMISSIONS_BOUNDARY = "PermissionsBoundary"
SESSION_POLICY = "SessionPolicy"
GRANT = "Grant"


class Unmet(Struct, frozen=True, omit_defaults=True):
    """A statement that did not apply for want of these conditions."""

    statement: int
    sid: str
    conditions: tuple[str, ...]


class Ground(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One thing that counted.

    `effect` is Allow, Deny, or NoAllow: then a policy of this type would have had to allow and did not. `nearest` are
    statements that would have, but for their conditions. `statement` counts from 1, `policy` is the policy's digest.
    """

    policy_type: str
    effect: str
    statement: int = 0
    sid: str = ""
    policy: str = ""
    grant_id: str = ""
    nearest: tuple[Unmet, ...] = ()

    @property
    def untold(self) -> "Ground":
        """The same without the contents of a policy, for a caller of another account."""
        return Ground(self.policy_type, self.effect, self.statement, grant_id=self.grant_id)


class Decision(Struct, frozen=True, rename="camel"):
    """What was decided on one action, and why. `effect` is Allow or Deny; a root user's leave has no grounds."""

    action: str
    effect: str
    grounds: tuple[Ground, ...]
