"""What CreateGrant writes, and the refusals that no key brings about yet or that take 50,000 grants."""

import re
from typing import Any

import pytest
from msgspec import structs

from strongroom.authorization.decide import AuthorizedKey
from strongroom.authorization.documents import default_key_policy
from strongroom.authorization.grants import NO_GRANTS
from strongroom.authorization.identity import Identity
from strongroom.crypto.xaes import XaesKey
from strongroom.directory import Directory
from strongroom.errors import LimitExceeded, Validation
from strongroom.keystores.domain_keys import Seals
from strongroom.keystores.grant_tokens import GrantTokens
from strongroom.messages.kms.grants import CreateGrantRequest, CreateGrantResponse, GrantConstraints
from strongroom.model.arn import root_arn
from strongroom.model.exchange import Incoming
from strongroom.model.grant import Grant
from strongroom.model.key import KmsKey
from strongroom.model.numbered import Numbered
from strongroom.model.principal import Account, Principal, root_user
from strongroom.operations.authorizing import authorize_target
from strongroom.operations.call import Call, Change
from strongroom.operations.kms import grants
from strongroom.operations.targets import find
from strongroom.operations.uses import Uses
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Insert, Keep, Position, Replace

REGION, ACCOUNT, OTHER = "us-east-1", "111122223333", "444455556666"
OWNER, GRANTEE = root_user(ACCOUNT, "AKIA1"), root_user(OTHER, "AKIA2")
KEY = KmsKey(
    ACCOUNT, REGION, "1234abcd-12ab-34cd-56ef-1234567890ab", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS",
    "Enabled", "", default_key_policy(ACCOUNT), (), 0.0, "11" * 32,
)  # fmt: skip
KEY_NUMBER, GRANT_NUMBER = 3, 5
PARENT = Grant(
    ACCOUNT, REGION, KEY.key_id, "ab" * 32, 1.0, ACCOUNT, ("CreateGrant", "Encrypt"), "n",
    grantee_principal=root_arn(OTHER),
)  # fmt: skip
REQUEST = CreateGrantRequest(key_id=KEY.arn, grantee_principal=root_arn(OTHER), operations=("Encrypt",))


def call(principal: Principal, key: KmsKey = KEY) -> Call:
    """A call on a state with one key that has one grant."""
    held = NO_GRANTS.with_changes([(PARENT, GRANT_NUMBER)], [])
    snapshot = Snapshot(
        Position(9, b""),
        keys={(REGION, ACCOUNT, key.key_id): KeyEntry(key, KEY_NUMBER, {}, frozenset(), held)},
        directories={account: Directory(Numbered(Account(account, 0.0), 1)) for account in (ACCOUNT, OTHER)},
    )
    incoming = Incoming("POST", b"/", b"", (), b"", "192.0.2.1")
    key_store: Any = None
    nothing: Any = None
    tokens = GrantTokens({1: XaesKey(bytes(32))})
    return Call(
        12.3456,
        "",
        incoming,
        Identity(principal),
        REGION,
        snapshot,
        key_store,
        nothing,
        Uses(),
        Seals(tokens, nothing, nothing, nothing, nothing),
        (),
        nothing,
        "CreateGrant",
        nothing,
        nothing,
    )


def create(asking: Call, request: CreateGrantRequest = REQUEST) -> Change:
    (target,) = grants.create_grant_targets(request)
    found = find(target, asking.snapshot, asking.principal, REGION)
    authorized: AuthorizedKey = authorize_target(asking, request, target, found, "CreateGrant")
    return grants.create_grant(asking, request, [authorized])


def test_a_grant_is_made_of_what_was_asked_for() -> None:
    change = create(call(OWNER))
    assert isinstance(change.response, CreateGrantResponse)
    grant_id = change.response.grant_id
    assert grant_id is not None
    assert re.fullmatch("[0-9a-f]{64}", grant_id)
    made = Grant(
        ACCOUNT, REGION, KEY.key_id, grant_id, 12.346, ACCOUNT, ("Encrypt",), grantee_principal=root_arn(OTHER)
    )
    assert change.writes == [Insert(made), Keep(KEY, KEY_NUMBER)]


def test_whoever_gives_a_name_changes_the_keys_row() -> None:
    """So that of two who ask for the same at once the second is decided again, and finds what the first made."""
    (inserted, other) = create(call(OWNER), structs.replace(REQUEST, name="n")).writes
    assert isinstance(inserted, Insert)
    assert other == Replace(KEY, KEY_NUMBER)


def test_the_same_grant_by_its_name_is_kept() -> None:
    operations = (*reversed(PARENT.operations), "Encrypt")
    change = create(call(OWNER), structs.replace(REQUEST, name="n", operations=operations))
    assert change.writes == [Keep(PARENT, GRANT_NUMBER), Keep(KEY, KEY_NUMBER)]
    assert isinstance(change.response, CreateGrantResponse)
    assert change.response.grant_id == PARENT.grant_id


def test_the_grant_that_allowed_it_must_still_be_there() -> None:
    change = create(call(GRANTEE))
    assert change.writes[1:] == [Keep(KEY, KEY_NUMBER), Keep(PARENT, GRANT_NUMBER)]


def test_a_key_can_have_so_many_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grants.MAX_GRANTS == 50_000
    monkeypatch.setattr(grants, "MAX_GRANTS", 1)
    with pytest.raises(LimitExceeded) as refused:
        create(call(OWNER))
    assert refused.value.message == f"{KEY.arn} has 1 grants, the most that a key can have."
    again = create(call(OWNER), structs.replace(REQUEST, name="n", operations=PARENT.operations))
    assert isinstance(again.writes[0], Keep)


@pytest.mark.parametrize("constraint", ["encryption_context_subset", "encryption_context_equals"])
def test_constraints_on_the_encryption_context_are_for_symmetric_keys(constraint: str) -> None:
    signing = structs.replace(KEY, key_spec="ECC_NIST_P256", key_usage="SIGN_VERIFY")
    constrained = structs.replace(REQUEST, constraints=structs.replace(GrantConstraints(), **{constraint: {"a": "b"}}))
    with pytest.raises(Validation) as refused:
        create(call(OWNER, signing), constrained)
    assert refused.value.message == "Constraints on the encryption context are for symmetric encryption keys only."
