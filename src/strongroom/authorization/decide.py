"""The decision whether a principal may use a key so (AWS: "Policy evaluation logic", "Determining access").

Steps, for a key:
1. An explicit deny in the key policy ends it.
2. The key policy allows the principal by name: allowed in the key's own account.
3. The key policy names the principal's account: that account's IAM policies decide. A root user needs none.
   Identities with IAM policies are not built yet, so everybody else is refused here.
4. A principal of another account needs both: 2 or 3 on the key's side, and its own account's leave.
   A root user has its account's leave.
5. Otherwise: refused. A foreign principal is not told whether the key exists.

For what has no key (CreateKey, ListKeys, GenerateRandom), and for aliases: IAM policies of the caller's account alone
decide. An alias has no policy of its own, and it is always the caller's account's.
"""

from msgspec import Struct

from strongroom.authorization.policy import KeyPolicy
from strongroom.crypto.ciphertext_blob import CiphertextBlob
from strongroom.errors import AccessDenied
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal

_DECIDED = object()
"""Known to this module only: what it made was decided here."""


class AuthorizedKey(Struct, frozen=True):
    """A KMS key that a principal may use for one action. Only `authorize_key` makes one.

    `ciphertext` is what the request asks to open, once it is known to have been made under this key.
    """

    decision: object
    key: KmsKey
    action: str
    principal: Principal
    ciphertext: CiphertextBlob | None = None

    def __post_init__(self) -> None:
        if self.decision is not _DECIDED:
            raise TypeError("an AuthorizedKey comes from authorize_key alone")

    @property
    def material_id(self) -> str:
        """The key material to use: the one that made the ciphertext, or the current one."""
        return self.key.current_material_id if self.ciphertext is None else self.ciphertext.material_id

    def __repr__(self) -> str:
        return f"AuthorizedKey({self.action} on {self.key.arn})"


def authorize_key(
    principal: Principal, action: str, key: KmsKey, policy: KeyPolicy, ciphertext: CiphertextBlob | None
) -> AuthorizedKey:
    """Decide, or raise AccessDenied with AWS's text."""
    arn = key.arn
    # 1
    by_ciphertext = ciphertext is not None
    for statement in policy.denies:
        if not statement.understood or (statement.covers(action, arn) and statement.denies_to(principal)):
            reason = "with an explicit deny in a resource-based policy"
            raise _denied(principal, action, key, reason, by_ciphertext=by_ciphertext)
    # 2, 3 and 4
    if principal.account == key.account or principal.is_root_user:
        for statement in policy.allows:
            if statement.understood and statement.covers(action, arn) and statement.allows_to(principal):
                return AuthorizedKey(_DECIDED, key, action, principal, ciphertext)
    # 5
    reason = f"because no resource-based policy allows the {action} action"
    raise _denied(principal, action, key, reason, by_ciphertext=by_ciphertext)


def authorize_account(principal: Principal, action: str) -> None:
    """Decide on an action that concerns no key, or raise AccessDenied."""
    _authorize_by_identity(principal, action, "*")


def authorize_alias(principal: Principal, action: str, alias_arn: str) -> None:
    """Decide on an action on an alias, or raise AccessDenied."""
    _authorize_by_identity(principal, action, alias_arn)


def _authorize_by_identity(principal: Principal, action: str, resource: str) -> None:
    if not principal.is_root_user:
        raise AccessDenied(
            f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} "
            f"because no identity-based policy allows the {action} action"
        )


def hidden(principal: Principal, action: str, *, by_ciphertext: bool = False) -> AccessDenied:
    """The refusal that does not tell whether a key exists."""
    what = "on the resource associated with this ciphertext" if by_ciphertext else "on this resource"
    return AccessDenied(
        f"User: {principal.arn} is not authorized to perform: {action} {what} because the resource does not exist "
        "in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
    )


def _denied(principal: Principal, action: str, key: KmsKey, reason: str, *, by_ciphertext: bool) -> AccessDenied:
    if principal.account != key.account:
        return hidden(principal, action, by_ciphertext=by_ciphertext)
    return AccessDenied(f"User: {principal.arn} is not authorized to perform: {action} on resource: {key.arn} {reason}")
