"""Steps 8 to 11: which key a target means, and in which order it is refused."""

import json
from typing import Any

import pytest

from strongroom.authorization.decide import AuthorizedKey, hidden
from strongroom.authorization.identity import Identity
from strongroom.crypto.ciphertext_blob import ALGORITHM_XAES_256_GCM, build_header
from strongroom.directory import Directory
from strongroom.errors import (
    AccessDenied,
    Disabled,
    IncorrectKey,
    InvalidArn,
    InvalidCiphertext,
    InvalidKeyUsage,
    NotFound,
    RequestError,
)
from strongroom.model.alias import Alias
from strongroom.model.exchange import Incoming
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.numbered import Numbered
from strongroom.model.principal import Account, Principal, root_user
from strongroom.operations.authorizing import authorize_named_alias, authorize_target
from strongroom.operations.call import Call
from strongroom.operations.targets import AliasTarget, KeyTarget, find, use_of_encryption_key
from strongroom.operations.uses import Uses
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Position

REGION, ACCOUNT, OTHER = "us-east-1", "111122223333", "444455556666"
OWNER, STRANGER = root_user(ACCOUNT, "AKIA1"), root_user(OTHER, "AKIA2")
USER = Principal("IAMUser", f"arn:aws:iam::{ACCOUNT}:user/u", ACCOUNT, "AIDA1", "AKIA3")
KEY_ID, DISABLED_ID, SHARED_ID = (f"{number}234abcd-12ab-34cd-56ef-1234567890ab" for number in (1, 2, 3))
MISSING_ID = "0234abcd-12ab-34cd-56ef-1234567890ab"
EVERYBODY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}],
    }
)
OWNERS_ONLY = EVERYBODY.replace('"*", "Action"', f'{{"AWS": "{ACCOUNT}"}}, "Action"')


def entry(key_id: str, material_id: str, *, state: str = "Enabled", policy: str = OWNERS_ONLY) -> KeyEntry:
    key = KmsKey(
        ACCOUNT, REGION, key_id, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", state, "", policy, (), 0.0,
        material_id,
    )  # fmt: skip
    material = KeyMaterial(ACCOUNT, REGION, key_id, material_id, 1, "software", 1, b"", 0.0)
    return KeyEntry(key, 1, {material_id: Numbered(material, 1)})


ENTRIES = {
    KEY_ID: entry(KEY_ID, "11" * 32),
    DISABLED_ID: entry(DISABLED_ID, "22" * 32, state="Disabled"),
    SHARED_ID: entry(SHARED_ID, "33" * 32, policy=EVERYBODY),
}
SNAPSHOT = Snapshot(
    Position(1, b""),
    keys={(REGION, ACCOUNT, key_id): entry for key_id, entry in ENTRIES.items()},
    aliases={
        (REGION, ACCOUNT, f"alias/{key_id}"): Numbered(Alias(ACCOUNT, REGION, f"alias/{key_id}", key_id, 0.0, 0.0), 1)
        for key_id in ENTRIES
    },
    materials={(REGION, entry.key.current_material_id): (REGION, ACCOUNT, key_id) for key_id, entry in ENTRIES.items()},
    directories={account: Directory(Numbered(Account(account, 0.0), 1)) for account in (ACCOUNT, OTHER)},
)


def call(principal: Principal, region: str = REGION) -> Call:
    """A call that reaches no storage and no key material."""
    incoming = Incoming("POST", b"/", b"", (), b"", "192.0.2.1")
    nothing: Any = None
    return Call(
        0.0,
        "",
        incoming,
        Identity(principal),
        region,
        SNAPSHOT,
        nothing,
        nothing,
        Uses(),
        nothing,
        (),
        nothing,
        "",
        nothing,
        nothing,
    )


def blob_of(material_id: str) -> bytes:
    return build_header(ALGORITHM_XAES_256_GCM, material_id, bytes(24), 16) + bytes(16)


def arn(name: str) -> str:
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}"


def reach(target: KeyTarget, principal: Principal = OWNER, *, region: str = REGION) -> AuthorizedKey:
    found = find(target, SNAPSHOT, principal, region)
    return authorize_target(call(principal, region), None, target, found, target.action.removeprefix("kms:"))


def use(key_id: str | None, ciphertext: bytes | None = None, *, usage: str = "ENCRYPT_DECRYPT") -> KeyTarget:
    return use_of_encryption_key("kms:Decrypt", key_id, {}, ciphertext=ciphertext)._replace(usage=usage)


def manage(key_id: str) -> KeyTarget:
    return KeyTarget("kms:DisableKey", key_id)


def refused(kind: type[RequestError], target: KeyTarget, principal: Principal = OWNER, *, region: str = REGION) -> str:
    with pytest.raises(RequestError) as caught:
        reach(target, principal, region=region)
    assert type(caught.value) is kind
    return caught.value.message or ""


@pytest.mark.parametrize("named", [KEY_ID, arn(f"key/{KEY_ID}"), f"alias/{KEY_ID}", arn(f"alias/{KEY_ID}")])
def test_a_key_to_use_is_named_in_four_ways(named: str) -> None:
    assert reach(use(named)).key.key_id == KEY_ID


def test_a_key_to_manage_is_not_named_by_an_alias() -> None:
    assert reach(manage(arn(f"key/{KEY_ID}"))).key.key_id == KEY_ID
    for name in (f"alias/{KEY_ID}", "alias/none"):
        assert refused(NotFound, manage(name)) == f"Invalid keyId '{name}'"
        assert refused(InvalidArn, manage(arn(name))) == "Key Aliases are not supported for this operation."


def test_a_ciphertext_names_its_key_and_comes_with_it() -> None:
    for target in (use(None, blob_of("11" * 32)), use(KEY_ID, blob_of("11" * 32))):
        authorized = reach(target)
        assert authorized.key.key_id == KEY_ID
        assert authorized.ciphertext is not None
        assert authorized.material_id == "11" * 32
    assert refused(InvalidCiphertext, use(None, b"garbage")) == ""
    assert refused(InvalidCiphertext, use(KEY_ID, b"garbage")) == ""


def test_a_ciphertext_of_no_key_is_hidden_as_a_foreign_one_is() -> None:
    expected = hidden(OWNER, "kms:Decrypt", by_ciphertext=True).message

    assert refused(AccessDenied, use(None, blob_of("44" * 32))) == expected
    assert refused(AccessDenied, use(None, blob_of("11" * 32)), region="eu-west-1") == expected
    foreign = hidden(STRANGER, "kms:Decrypt", by_ciphertext=True).message
    assert refused(AccessDenied, use(None, blob_of("44" * 32)), STRANGER) == foreign
    assert refused(AccessDenied, use(None, blob_of("11" * 32)), STRANGER) == foreign


def test_another_account_uses_a_key_that_is_shared_with_it_and_manages_none() -> None:
    for named in (arn(f"key/{SHARED_ID}"), arn(f"alias/{SHARED_ID}")):
        assert reach(use(named), STRANGER).key.key_id == SHARED_ID
    assert reach(use(None, blob_of("33" * 32)), STRANGER).key.key_id == SHARED_ID

    assert (
        refused(AccessDenied, manage(arn(f"key/{SHARED_ID}")), STRANGER) == hidden(STRANGER, "kms:DisableKey").message
    )


def test_another_account_cannot_tell_a_key_it_may_not_use_from_none() -> None:
    expected = hidden(STRANGER, "kms:Decrypt").message

    for name in (f"key/{KEY_ID}", f"key/{MISSING_ID}", f"alias/{KEY_ID}", "alias/none", f"key/{DISABLED_ID}"):
        assert refused(AccessDenied, use(arn(name)), STRANGER) == expected


def test_a_short_name_is_one_of_the_callers_own_account() -> None:
    own = f"arn:aws:kms:{REGION}:{OTHER}"

    assert refused(NotFound, use(SHARED_ID), STRANGER) == f"Key '{own}:key/{SHARED_ID}' does not exist"
    assert refused(NotFound, use(f"alias/{SHARED_ID}"), STRANGER) == f"Alias {own}:alias/{SHARED_ID} is not found."


def test_a_foreign_key_is_not_found_by_its_short_id_and_a_ciphertext_unless_it_may_be_used() -> None:
    missing = f"Key 'arn:aws:kms:{REGION}:{OTHER}:key/{KEY_ID}' does not exist"

    for material_id in ("11" * 32, "22" * 32, "44" * 32):  # made under it, under another, and under none
        assert refused(NotFound, use(KEY_ID, blob_of(material_id)), STRANGER) == missing
    assert reach(use(SHARED_ID, blob_of("33" * 32)), STRANGER).key.key_id == SHARED_ID


def test_authorization_comes_before_state_state_before_ciphertext_ciphertext_before_usage() -> None:
    other = blob_of("11" * 32)
    sign = "SIGN_VERIFY"

    assert "because no identity-based policy allows" in refused(AccessDenied, use(DISABLED_ID, other, usage=sign), USER)
    assert refused(Disabled, use(DISABLED_ID, other, usage=sign)) == f"{arn(f'key/{DISABLED_ID}')} is disabled."
    assert "does not identify a CMK" in refused(IncorrectKey, use(SHARED_ID, other, usage=sign))
    assert refused(InvalidKeyUsage, use(KEY_ID, other, usage=sign)) == (
        f"{arn(f'key/{KEY_ID}')} key usage is ENCRYPT_DECRYPT which is not valid for Decrypt."
    )


def test_a_target_can_ask_for_the_states_of_another_operation() -> None:
    target = use(DISABLED_ID)._replace(states="DescribeKey")

    assert reach(target).key.key_id == DISABLED_ID


def test_an_alias_is_a_resource_of_the_callers_account_whether_it_is_there_or_not() -> None:
    target = AliasTarget("kms:CreateAlias", "alias/none")

    assert authorize_named_alias(call(OWNER), None, target)[0] == arn("alias/none")
    assert authorize_named_alias(call(STRANGER), None, target)[0] == f"arn:aws:kms:{REGION}:{OTHER}:alias/none"
    with pytest.raises(AccessDenied) as denied:
        authorize_named_alias(call(USER), None, target)
    assert denied.value.message == (
        f"User: {USER.arn} is not authorized to perform: kms:CreateAlias on resource: {arn('alias/none')} "
        "because no identity-based policy allows the kms:CreateAlias action"
    )
