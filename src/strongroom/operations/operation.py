"""What a row of the registry says of an operation."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from strongroom.errors import XKS_PROXY
from strongroom.messages import cloudtrail, iam, kms, sts
from strongroom.messages.declaration import OperationMessages
from strongroom.operations.logged import Logged, members
from strongroom.operations.targets import Target

MESSAGES = {
    "cloudtrail": cloudtrail.OPERATIONS,
    "iam": iam.OPERATIONS,
    "kms": kms.OPERATIONS,
    "sts": sts.OPERATIONS,
}
"""Service -> operation name -> its generated messages."""


class Operation(Struct, frozen=True, kw_only=True):
    """One row.

    `targets` is a pure function of the request (and checks its parameters: step 7). Exactly one of `run` (returns the
    response) and `change` (returns a Change to commit) is there.
    `blocks`: it reads storage or computes for long; that and `change` keep it off the event loop. `looks_up`: it may
    take its time, on few threads of its own.
    `asks_key_store`: it uses key material, or random bytes of the key store. `generates`: it makes keys or
    takes them over, which may take seconds.
    `uses_material`: a success counts as a use of the key (AWS: GetKeyLastUsage), and the record names the material of a
    symmetric key. `names_grant`: the record names the grant of a GrantTarget.
    `configures_key_store`: it looks whether something can back a custom key store, which may take seconds.
    `hurries`: it asks for what the calendar does, which looks at once then.
    `by_web_identity`: nobody signs it, and a token of an identity provider says who calls.
    `rate` is how many calls a second are run of an account in a Region, by each server process; None: any number.
    `logged` says which members of the request the audit record shows, `logged_response` which of the response (it is
    given the keys too).
    """

    name: str
    service: str = "kms"
    read_only: bool = True
    targets: Callable[..., Sequence[Target]]
    run: Callable[..., Struct | None] | None = None
    change: Callable[..., object] | None = None
    blocks: bool = False
    looks_up: bool = False
    asks_key_store: bool = False
    generates: bool = False
    uses_material: bool = False
    by_web_identity: bool = False
    names_grant: bool = False
    configures_key_store: bool = False
    hurries: bool = False
    rate: int | None = None
    logged: Logged = members()
    logged_response: Callable[..., dict[str, object] | None] | None = None

    @property
    def messages(self) -> OperationMessages:
        """The request and response types."""
        return MESSAGES[self.service][self.name]

    @property
    def names_resources(self) -> bool:
        """Whether its records say which keys it is about: none of IAM or CloudTrail, none about custom key stores."""
        return self.service not in ("cloudtrail", "iam", XKS_PROXY) and not self.name.endswith(
            ("CustomKeyStore", "CustomKeyStores")
        )
