"""The decision by itself, in process: an allowed Encrypt under the default policy, and under one that takes longer.

Ten statements, nine of which do not allow it, two conditions on some of them, and 50 grants of others on the key; or a
grant allows it, the last of 50 for the caller, each with another constraint.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from strongroom.authorization.documents import default_key_policy
from strongroom.authorization.grants import NO_GRANTS, KeyGrants
from strongroom.authorization.identity import Identity
from strongroom.model.exchange import Incoming
from strongroom.model.grant import Grant, GrantConstraints
from strongroom.model.key import KmsKey
from strongroom.model.principal import root_user
from strongroom.operations.authorizing import authorize_target
from strongroom.operations.call import Call
from strongroom.operations.targets import FoundKey, use_of_encryption_key
from strongroom.operations.uses import Uses
from strongroom.snapshot import KeyEntry

ACCOUNT, REGION, KEY_ID = "111122223333", "us-east-1", "1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = {"department": "finance", "application": "ledger"}
CALLS, ROUNDS = 2_000, 25
AIM = 15
"""Microseconds that ten statements with conditions and 50 grants may take more than the default policy."""


class Decision(NamedTuple):
    """What one takes, in microseconds: the best of the rounds."""

    name: str
    microseconds: float


def statement(effect: str, **condition: dict[str, Any]) -> dict[str, Any]:
    return {
        "Effect": effect,
        "Principal": {"AWS": ACCOUNT},
        "Action": "kms:Encrypt",
        "Resource": "*",
        "Condition": condition,
    }


DENIES = [
    statement("Deny", IpAddress={"aws:SourceIp": "192.0.2.0/24"}),
    statement("Deny", StringNotEquals={"kms:CallerAccount": ACCOUNT}),
]
NOT_ALLOWING = [
    statement("Allow", StringEquals={"kms:EncryptionContext:department": f"d{number}"}) for number in range(7)
]
ALLOWING = statement(
    "Allow",
    StringLike={"kms:EncryptionContext:department": "fin*"},
    StringEquals={"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"},
)


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def grants(grantee: str, **last: str) -> KeyGrants:
    """Fifty grants; the constraint of the last is the encryption context `last`, if it is given."""
    made = []
    for number in range(50):
        pairs = last if number == 49 and last else {"department": f"d{number}"}
        grant = Grant(
            ACCOUNT, REGION, KEY_ID, f"{number:064x}", 0.0, ACCOUNT, ("Encrypt", "Decrypt"),
            grantee_principal=grantee.format(number), constraints=GrantConstraints(encryption_context_subset=pairs),
        )  # fmt: skip
        made.append((grant, 1))
    return NO_GRANTS.with_changes(made, [])


def deciding(policy_text: str, key_grants: KeyGrants = NO_GRANTS) -> Callable[[], object]:
    """A decision to make again and again."""
    key = KmsKey(
        ACCOUNT, REGION, KEY_ID, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "Enabled", "", policy_text, (), 0.0,
        "",
    )  # fmt: skip
    found = FoundKey(KeyEntry(key, 1, {}, grants=key_grants), None)
    nothing: Any = None
    incoming = Incoming("POST", b"/", b"", (), b"", "127.0.0.1")
    identity = Identity(root_user(ACCOUNT, "AKIA"))
    call = Call(
        1.7e9,
        "",
        incoming,
        identity,
        REGION,
        nothing,
        nothing,
        nothing,
        Uses(),
        nothing,
        (),
        nothing,
        "Encrypt",
        nothing,
        nothing,
    )
    target = use_of_encryption_key("kms:Encrypt", KEY_ID, CONTEXT)
    return lambda: authorize_target(call, None, target, found, "Encrypt")


def measure_decisions() -> Iterator[Decision]:
    """Measure them side by side, in turn."""
    nobody = "arn:aws:iam::" + ACCOUNT + ":role/r{}"
    me = f"arn:aws:iam::{ACCOUNT}:root"
    decisions = {
        "default policy": deciding(default_key_policy(ACCOUNT)),
        "10 statements": deciding(policy(*DENIES, *NOT_ALLOWING, ALLOWING)),
        "10 statements, 50 grants": deciding(policy(*DENIES, *NOT_ALLOWING, ALLOWING), grants(nobody)),
        "9 statements, the last of 50 grants of one's own": deciding(
            policy(*DENIES, *NOT_ALLOWING), grants(me, department="finance")
        ),
    }
    best = dict.fromkeys(decisions, float("inf"))
    for _ in range(ROUNDS):
        for name, decide in decisions.items():
            began = time.perf_counter()
            for _ in range(CALLS):
                decide()
            best[name] = min(best[name], (time.perf_counter() - began) / CALLS * 1e6)
    yield from (Decision(name, microseconds) for name, microseconds in best.items())


def report_decisions(decisions: list[Decision]) -> Iterator[str]:
    """Write the table."""
    first = decisions[0].microseconds
    yield from (
        "",
        "| the decision on an allowed Encrypt | µs | more than under the default policy |",
        "|---" * 3 + "|",
    )
    for name, microseconds in decisions:
        yield f"| {name} | {microseconds:.1f} | {microseconds - first:.1f} |"
    yield from ("", f"Limit: {AIM} µs more for ten statements with conditions and 50 grants.")
