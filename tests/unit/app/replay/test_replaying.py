"""What the log tells of later changes holds again after a restore, exactly; what it does not tell is named."""

import asyncio
import json
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from msgspec import structs

from strongroom.app.accounts import create_account
from strongroom.app.auditing import accept_rollback, verify_audit
from strongroom.app.backup import back_up
from strongroom.app.installing import open_installation
from strongroom.app.restoring import ByRootKey, Restored, restore
from strongroom.app.xks_proxy_keys import delete_external_key
from strongroom.config import read_config
from strongroom.errors import IntegrityError
from strongroom.model.alias import Alias
from strongroom.model.grant import Grant
from strongroom.model.iam import Group, IdentityProvider, ManagedPolicy, Role, User
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.principal import AccessKey, Account
from strongroom.model.xks import AttachedObject, ExternalKey, XksStore
from strongroom.storage.contract import Insert, Record, Replace, Storage
from tests.composed import NOW, Composed, Run, composed
from tests.importing import wrapped

ACCOUNT, OTHER = "111122223333", "444455556666"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
LATER = NOW + 3_600
KINDS: tuple[type[Record], ...] = (
    Account, AccessKey, User, Group, Role, ManagedPolicy, IdentityProvider, KmsKey, KeyMaterial, Alias, Grant,
)  # fmt: skip
Work = Callable[[Composed], Coroutine[Any, Any, Any]]


class States(NamedTuple):
    """The records of a machine at its end, those of its restored copy, and what was told of the restore."""

    lost: set[str]
    restored: set[str]
    told: Restored

    @property
    def left(self) -> list[str]:
        return [one.change.event.event_name for one in self.told.left]


def records(data: Path) -> set[str]:
    opened = open_installation(read_config(data / "strongroom.yaml"))
    found = {repr(_comparable(record)) for record, _ in opened.storage.load().records if isinstance(record, KINDS)}
    opened.close()
    return found


def _comparable(record: Record) -> object:
    """Records tell whole seconds: a waiting period may end one later."""
    if isinstance(record, KmsKey) and record.deletion_date is not None:
        return structs.replace(record, deletion_date=record.deletion_date // 10)
    if isinstance(record, KeyMaterial | AccessKey):
        return structs.asdict(record)
    return record


def lose_and_restore(run: Run, data: Path, before: Work, after: Work) -> States:
    """Do something, back up, do something else, and restore elsewhere."""
    elsewhere = data.with_name("elsewhere")

    async def live(parts: Composed) -> None:
        await before(parts)
        await asyncio.to_thread(back_up, parts.opened.config, data.with_name("backup"), NOW)
        parts.clock.now = LATER
        await after(parts)

    run(live)
    told = restore(
        data.with_name("backup"),
        elsewhere,
        ByRootKey(data / "root.key", bytes),
        audit=[data / "audit"],
        now=LATER + 60,
    )
    report = verify_audit(read_config(elsewhere / "strongroom.yaml"))
    assert report.findings == []
    return States(records(data), records(elsewhere), told)


async def iam(parts: Composed, name: str, **members: str) -> Any:
    answer = await parts.ask("iam", urlencode({"Action": name, "Version": "2010-05-08", **members}))
    assert answer.error is None, answer.error
    return answer.response


def document(action: str, effect: str = "Allow") -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": {"Effect": effect, "Action": action, "Resource": "*"}})


def key_policy(*principals: str) -> str:
    return json.dumps(
        {"Statement": {"Effect": "Allow", "Principal": {"AWS": principals}, "Action": "kms:*", "Resource": "*"}}
    )


def test_changes_of_keys_hold_again(run: Run, data: Path) -> None:
    key_ids: list[str] = []

    async def before(parts: Composed) -> None:
        for _ in range(6):
            made = await parts.ask_kms("CreateKey", Tags=[{"TagKey": "a", "TagValue": "b"}])
            key_ids.append(made.key_metadata.key_id)
        for name in ("alias/stays", "alias/moves", "alias/goes"):
            await parts.ask_kms("CreateAlias", AliasName=name, TargetKeyId=key_ids[0])
        await parts.ask_kms("DisableKey", KeyId=key_ids[1])
        await parts.ask_kms("ScheduleKeyDeletion", KeyId=key_ids[2])
        for _ in range(2):
            made = await parts.ask_kms("CreateGrant", KeyId=key_ids[0], GranteePrincipal=ROOT, Operations=["Encrypt"])
            grants.append(made)

    grants: list[Any] = []

    async def after(parts: Composed) -> None:
        await parts.ask_kms("UpdateAlias", AliasName="alias/moves", TargetKeyId=key_ids[1])
        await parts.ask_kms("DeleteAlias", AliasName="alias/goes")
        await parts.ask_kms("CreateAlias", AliasName="alias/comes", TargetKeyId=key_ids[3])
        await parts.ask_kms("EnableKey", KeyId=key_ids[1])
        await parts.ask_kms("CancelKeyDeletion", KeyId=key_ids[2])
        await parts.ask_kms("DisableKey", KeyId=key_ids[3])
        await parts.ask_kms("ScheduleKeyDeletion", KeyId=key_ids[4], PendingWindowInDays=7)
        await parts.ask_kms("PutKeyPolicy", KeyId=key_ids[0], Policy=key_policy(ROOT))
        await parts.ask_kms("TagResource", KeyId=key_ids[0], Tags=[{"TagKey": "c", "TagValue": "d"}])
        await parts.ask_kms("UntagResource", KeyId=key_ids[0], TagKeys=["a"])
        await parts.ask_kms("UpdateKeyDescription", KeyId=key_ids[5], Description="after")
        await parts.ask_kms("RevokeGrant", KeyId=key_ids[0], GrantId=grants[0].grant_id)
        await parts.ask_kms("RetireGrant", GrantToken=grants[1].grant_token)

    states = lose_and_restore(run, data, before, after)
    assert states.restored == states.lost
    assert states.told.done_again >= 13
    assert (states.left, states.told.disabled, states.told.damage) == ([], [], [])


def test_changes_of_identities_hold_again_and_ids_stay(run: Run, data: Path) -> None:
    async def before(parts: Composed) -> None:
        await iam(parts, "CreateUser", UserName="ann")
        await iam(parts, "CreateUser", UserName="goes")
        await iam(parts, "CreateGroup", GroupName="group")
        await iam(parts, "PutUserPolicy", UserName="ann", PolicyName="old", PolicyDocument=document("kms:*"))
        keys.append((await iam(parts, "CreateAccessKey", UserName="ann")).access_key.access_key_id)
        keys.append((await iam(parts, "CreateAccessKey", UserName="ann")).access_key.access_key_id)
        made = await parts.ask_kms("CreateKey")
        keys.append(made.key_metadata.key_id)

    keys: list[str] = []

    async def after(parts: Composed) -> None:
        await iam(parts, "DeleteAccessKey", UserName="ann", AccessKeyId=keys[0])
        await iam(parts, "UpdateAccessKey", UserName="ann", AccessKeyId=keys[1], Status="Inactive")
        await iam(parts, "DeleteUserPolicy", UserName="ann", PolicyName="old")
        await iam(parts, "PutUserPolicy", UserName="ann", PolicyName="new", PolicyDocument=document("kms:*", "Deny"))
        await iam(parts, "AddUserToGroup", UserName="ann", GroupName="group")
        await iam(parts, "CreatePolicy", PolicyName="managed", PolicyDocument=document("kms:Encrypt"))
        arn = f"arn:aws:iam::{ACCOUNT}:policy/managed"
        await iam(parts, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document("kms:*"), SetAsDefault="true")
        await iam(parts, "AttachGroupPolicy", GroupName="group", PolicyArn=arn)
        await iam(parts, "PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=arn)
        await iam(parts, "DeleteUser", UserName="goes")
        tags = {"Tags.member.1.Key": "a", "Tags.member.1.Value": "b"}
        trust = json.dumps({"Statement": {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"}})
        await iam(parts, "CreateRole", RoleName="comes", AssumeRolePolicyDocument=trust, **tags)
        role = f"arn:aws:iam::{ACCOUNT}:role/comes"
        await parts.ask_kms("PutKeyPolicy", KeyId=keys[2], Policy=key_policy(ROOT, role))

    states = lose_and_restore(run, data, before, after)
    assert states.restored == states.lost
    assert (states.left, states.told.disabled) == ([], [])


def test_what_the_log_does_not_tell_is_left_and_named(run: Run, data: Path) -> None:
    key_ids: list[str] = []

    async def before(parts: Composed) -> None:
        key_ids.append((await parts.ask_kms("CreateKey")).key_metadata.key_id)
        await iam(parts, "CreateUser", UserName="ann")

    async def after(parts: Composed) -> None:
        await parts.ask_kms("CreateKey")
        await parts.ask_kms("CreateGrant", KeyId=key_ids[0], GranteePrincipal=ROOT, Operations=["Encrypt"])
        await parts.ask_kms("EnableKeyRotation", KeyId=key_ids[0])
        await iam(parts, "CreateAccessKey", UserName="ann")

    states = lose_and_restore(run, data, before, after)
    assert states.left == ["CreateKey", "CreateGrant", "EnableKeyRotation", "CreateAccessKey"]
    assert states.told.disabled == []
    assert [one.about for one in states.told.left][3] == "userName=ann"


def test_a_key_whose_change_cannot_be_done_again_is_disabled(run: Run, data: Path) -> None:
    arns: list[str] = []

    async def before(parts: Composed) -> None:
        arns.append((await parts.ask_kms("CreateKey")).key_metadata.arn)

    async def after(parts: Composed) -> None:
        await asyncio.to_thread(create_account, parts.opened.config, account=OTHER, now=LATER)
        await parts.ask_kms("PutKeyPolicy", KeyId=arns[0], Policy=key_policy(ROOT, f"arn:aws:iam::{OTHER}:root"))

    states = lose_and_restore(run, data, before, after)
    assert states.left == ["CreateAccount", "PutKeyPolicy"]
    assert f"arn:aws:iam::{OTHER}:root, who is not there" in states.told.left[1].reason
    assert states.told.disabled == arns
    (disabled,) = (state for state in states.restored if state.startswith("KmsKey") and arns[0][-36:] in state)
    assert "state='Disabled'" in disabled


def test_imported_material_that_was_deleted_stays_deleted_in_every_file(run: Run, data: Path) -> None:
    material = bytes(range(32))
    wrapped_before: list[bytes] = []

    async def before(parts: Composed) -> None:
        made = await parts.ask_kms("CreateKey", Origin="EXTERNAL")
        key_ids.append(made.key_metadata.key_id)
        parameters = await parts.ask_kms(
            "GetParametersForImport",
            KeyId=key_ids[0],
            WrappingAlgorithm="RSAES_OAEP_SHA_256",
            WrappingKeySpec="RSA_2048",
        )
        import_key = ImportKey("RSA_2048", "RSAES_OAEP_SHA_256", "", 0, b"", parameters.public_key)
        await parts.ask_kms(
            "ImportKeyMaterial",
            KeyId=key_ids[0],
            ImportToken=parameters.import_token,
            EncryptedKeyMaterial=wrapped(import_key, material),
            ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
        )
        wrapped_before.extend(stored.wrapped for stored, _ in parts.opened.storage.find_all(KeyMaterial))

    key_ids: list[str] = []

    async def after(parts: Composed) -> None:
        await parts.ask_kms("DeleteImportedKeyMaterial", KeyId=key_ids[0])

    states = lose_and_restore(run, data, before, after)
    assert states.restored == states.lost
    assert wrapped_before[0]
    for file in data.with_name("elsewhere").glob("strongroom.db*"):
        assert wrapped_before[0] not in file.read_bytes()


def test_a_key_that_cannot_be_disabled_is_named(run: Run, data: Path) -> None:
    arns: list[str] = []

    async def before(parts: Composed) -> None:
        arns.append((await parts.ask_kms("CreateKey", Origin="EXTERNAL")).key_metadata.arn)

    async def after(parts: Composed) -> None:
        parameters = await parts.ask_kms(
            "GetParametersForImport",
            KeyId=arns[0],
            WrappingAlgorithm="RSAES_OAEP_SHA_256",
            WrappingKeySpec="RSA_2048",
        )
        import_key = ImportKey("RSA_2048", "RSAES_OAEP_SHA_256", "", 0, b"", parameters.public_key)
        await parts.ask_kms(
            "ImportKeyMaterial",
            KeyId=arns[0],
            ImportToken=parameters.import_token,
            EncryptedKeyMaterial=wrapped(import_key, bytes(range(32))),
            ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
        )
        await parts.ask_kms("DisableKey", KeyId=arns[0])

    states = lose_and_restore(run, data, before, after)
    assert states.left[-2:] == ["ImportKeyMaterial", "DisableKey"]
    assert states.told.not_disabled == [(arns[0], "PendingImport")]


def test_counted_encryptions_go_along_and_are_told(run: Run, data: Path) -> None:
    """With the primary Region, and with an object of the token whose external key was deleted."""
    arns: list[str] = []
    others: list[str] = []

    async def before(parts: Composed) -> None:
        made = await parts.ask_kms("CreateKey", MultiRegion=True)
        arns.append(made.key_metadata.arn)
        await parts.ask_kms("ReplicateKey", KeyId=arns[0], ReplicaRegion="eu-west-1")
        storage = parts.opened.storage
        for key, number in storage.find_all(KmsKey):
            storage.commit([Replace(structs.replace(key, state="Enabled"), number)], None)
        for material, number in storage.find_all(KeyMaterial):
            uses = 2**20 if material.region == "us-east-1" else 0
            storage.commit([Replace(structs.replace(material, uses=uses), number)], None)
        keys = [
            ExternalKey("/p", name, NOW, False, "0" * 64, 2, "object", 0, b"label-" + name.encode(), uses=7)
            for name in ("goes", "stays")
        ]
        objects = [AttachedObject(key.wrapped.decode(), 0) for key in keys]
        made_there: list[Record] = [XksStore("/p", NOW, 1), *keys, *objects]
        storage.commit([Insert(one) for one in made_there], None)

    async def after(parts: Composed) -> None:
        await parts.ask_kms("UpdatePrimaryRegion", KeyId=arns[0], PrimaryRegion="eu-west-1")
        others.extend(material_uses(parts.opened.storage))
        await asyncio.to_thread(delete_external_key, parts.opened.config, "/p", "goes", LATER)

    states = lose_and_restore(run, data, before, after)
    assert (states.left, len(others)) == ([], 2)
    opened = open_installation(read_config(data.with_name("elsewhere") / "strongroom.yaml"))
    opened.storage.load()
    assert material_uses(opened.storage) == others == ["eu-west-1 1048576", "us-east-1 1048576"]
    assert sorted((one.label, one.uses) for one, _ in opened.storage.find_all(AttachedObject)) == [
        ("label-goes", 7),
        ("label-stays", 0),
    ]
    opened.close()
    replica = arns[0].replace("us-east-1", "eu-west-1")
    assert states.told.counted == [replica, arns[0], "external key stays of key store '/p'"]


def material_uses(storage: Storage) -> list[str]:
    return sorted(f"{one.region} {one.uses}" for one, _ in storage.find_all(KeyMaterial))


def test_changes_that_were_given_up_do_not_come_back(run: Run, data: Path, tmp_path: Path) -> None:
    """A key was disabled in changes that an operator gave up, by going on with an older database."""
    key_ids: list[str] = []

    async def before(parts: Composed) -> None:
        key_ids.append((await parts.ask_kms("CreateKey")).key_metadata.key_id)

    async def after(parts: Composed) -> None:
        shutil.copytree(data, tmp_path / "older")
        await parts.ask_kms("DisableKey", KeyId=key_ids[0])

    states = lose_and_restore(run, data, before, after)
    assert "state='Disabled'" in "".join(states.restored)
    for file in data.glob("strongroom.db*"):
        file.unlink()
    for file in (tmp_path / "older").glob("strongroom.db*"):
        shutil.copy(file, data)
    accept_rollback(read_config(data / "strongroom.yaml"), to=states.told.manifest.change, now=LATER)
    told = restore(
        data.with_name("backup"),
        tmp_path / "again",
        ByRootKey(data / "root.key", bytes),
        audit=[data / "audit"],
        now=LATER,
    )
    assert told.left == []
    assert records(tmp_path / "again") == records(data)
    assert "state='Enabled'" in "".join(records(tmp_path / "again"))


def test_a_log_that_was_altered_is_refused_unless_that_is_accepted(run: Run, data: Path, tmp_path: Path) -> None:
    key_ids: list[str] = []

    async def live(parts: Composed) -> None:
        key_ids.extend([(await parts.ask_kms("CreateKey")).key_metadata.key_id for _ in range(3)])
        await asyncio.to_thread(back_up, parts.opened.config, tmp_path / "backup", NOW)
        for key_id in key_ids:
            await parts.ask_kms("DisableKey", KeyId=key_id)

    run(live)
    (log,) = [log for log in (data / "audit").glob("*/*.log") if key_ids[0].encode() in log.read_bytes()]
    lines = log.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not (b"DisableKey" in line and key_ids[0].encode() in line)]
    assert len(kept) == len(lines) - 1
    log.write_bytes(b"".join(kept))
    opener, elsewhere = ByRootKey(data / "root.key", bytes), tmp_path / "elsewhere"
    with pytest.raises(
        IntegrityError, match=rf"the audit log was altered, .* chain {log.parent.name}: .*removed.*--dam"
    ):
        restore(tmp_path / "backup", elsewhere, opener, audit=[data / "audit"], now=LATER)
    assert not elsewhere.exists()
    told = restore(tmp_path / "backup", elsewhere, opener, audit=[data / "audit"], accept_damage=True, now=LATER)
    assert len(told.damage) == 1
    disabled = [state for state in records(elsewhere) if "state='Disabled'" in state]
    assert len(disabled) == 1  # the line behind the removed one cannot be checked
    assert key_ids[2] in disabled[0]
    assert any(b'"damage":["audit chain' in path.read_bytes() for path in elsewhere.glob("audit/*/*.log"))


def test_a_copy_of_the_log_from_before_the_backup_is_refused(run: Run, data: Path, tmp_path: Path) -> None:
    async def live(parts: Composed) -> None:
        shutil.copytree(data / "audit", tmp_path / "older")
        await parts.ask_kms("CreateKey")
        await asyncio.to_thread(back_up, parts.opened.config, tmp_path / "backup", NOW)

    run(live)
    opener = ByRootKey(data / "root.key", bytes)
    with pytest.raises(IntegrityError, match=r"the copy ends at record 0, but had come to \d+ when the backup"):
        restore(tmp_path / "backup", tmp_path / "elsewhere", opener, audit=[tmp_path / "older"], now=LATER)


def test_a_second_restore_keeps_what_the_first_disabled_and_names_it_again(
    run: Run, data: Path, tmp_path: Path
) -> None:
    """The log that it is given is that of the first restore; who enabled a key there has looked at it."""
    arns: list[str] = []

    async def before(parts: Composed) -> None:
        arns.extend([(await parts.ask_kms("CreateKey")).key_metadata.arn for _ in range(2)])

    async def after(parts: Composed) -> None:
        await asyncio.to_thread(create_account, parts.opened.config, account=OTHER, now=LATER)
        for arn in arns:
            await parts.ask_kms("PutKeyPolicy", KeyId=arn, Policy=key_policy(ROOT, f"arn:aws:iam::{OTHER}:root"))

    first = lose_and_restore(run, data, before, after)
    assert first.told.disabled == sorted(arns)

    elsewhere = data.with_name("elsewhere")

    async def enable() -> None:
        async with composed(elsewhere) as parts:
            await parts.ask_kms("EnableKey", KeyId=arns[0])

    asyncio.run(enable())
    told = restore(
        data.with_name("backup"),
        tmp_path / "again",
        ByRootKey(data / "root.key", bytes),
        audit=[elsewhere / "audit"],
        now=LATER + 120,
    )
    assert [one.change.event.event_name for one in told.left] == ["CreateAccount", "PutKeyPolicy", "PutKeyPolicy"]
    keys = {state for state in records(tmp_path / "again") if state.startswith("KmsKey")}
    assert keys == {state for state in records(elsewhere) if state.startswith("KmsKey")}
    assert sorted("state='Disabled'" in state for state in keys) == [False, True]
    assert told.unrecorded == []


def test_no_caller_can_make_a_restore_impossible(run: Run, data: Path) -> None:
    """The answer of a request is too long for a record, and with it the role's unique id; or the request itself is."""
    trust = json.dumps({"Statement": {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"}})

    async def before(_: Composed) -> None:
        pass

    async def after(parts: Composed) -> None:
        await iam(parts, "CreateRole", RoleName="padded", AssumeRolePolicyDocument=" " * 40_000 + trust)
        await iam(parts, "UpdateAssumeRolePolicy", RoleName="padded", PolicyDocument=" " * 110_000 + trust)
        await iam(parts, "CreateUser", UserName="ann")

    states = lose_and_restore(run, data, before, after)
    assert states.left == ["CreateRole", "UpdateAssumeRolePolicy"]
    assert states.told.left[1].about == f"asked by {ROOT} in a request too long for its record"
    assert "'ann'" in "".join(states.restored)
