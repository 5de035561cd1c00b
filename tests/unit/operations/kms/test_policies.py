"""The lockout check, as far as it depends on what else the key has. `tests/e2e/test_key_policies.py` has the rest."""

import json

import pytest
from msgspec import structs

from strongroom.authorization.documents import compile_identity_policy, default_key_policy
from strongroom.authorization.identity import Identity
from strongroom.errors import MalformedPolicyDocument
from strongroom.model.principal import Principal
from strongroom.operations.kms.policies import checked_policy
from tests.unit.operations.test_targets import ACCOUNT, ENTRIES, KEY_ID, OWNER, REGION, SNAPSHOT, call

USER = Principal("IAMUser", f"arn:aws:iam::{ACCOUNT}:user/u", ACCOUNT, "AIDA1", "AKIA3")


@pytest.mark.parametrize(
    ("effect", "alias", "locks_out"),
    [("Allow", "alias/mine", False), ("Allow", "alias/other", True), ("Deny", "alias/mine", True)],
)
def test_the_lockout_check_knows_the_aliases_of_the_key(effect: str, alias: str, locks_out: bool) -> None:  # noqa: FBT001
    by_alias = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
    statements = [{"Effect": effect, "Action": "kms:*", "Resource": "*", "Condition": by_alias}]
    if effect == "Deny":
        statements.append({"Effect": "Allow", "Action": "kms:*", "Resource": "*"})
    attached = compile_identity_policy(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    entry = structs.replace(ENTRIES[KEY_ID], aliases=frozenset({"alias/mine"}))
    snapshot = structs.replace(SNAPSHOT, keys={**SNAPSHOT.keys, (REGION, ACCOUNT, KEY_ID): entry})
    asking = structs.replace(call(OWNER), identity=Identity(USER, (attached,)), snapshot=snapshot)
    key = structs.replace(entry.key, policy=default_key_policy(ACCOUNT))

    if locks_out:
        with pytest.raises(MalformedPolicyDocument, match="will not allow you to update"):
            checked_policy(asking, key, bypass_lockout_check=False)
    else:
        assert checked_policy(asking, key, bypass_lockout_check=False) == key
