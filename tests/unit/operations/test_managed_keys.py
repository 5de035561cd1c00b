"""AWS managed keys: their aliases, who makes and uses them, what they are (AWS: "AWS managed keys")."""

import asyncio
import configparser
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from strongroom.app.installing import new_access_key
from strongroom.app.services import declare_service, remove_service
from strongroom.errors import (
    AccessDenied,
    ConfigurationError,
    DryRunOperation,
    LimitExceeded,
    NotFound,
    RequestError,
)
from strongroom.jobs.calendar import Look
from strongroom.jobs.rotation import RotationJob
from strongroom.model.principal import Account, Service
from strongroom.operations.kms import keys
from strongroom.sigv4.signing import Credential
from strongroom.storage.contract import Insert
from tests.composed import DAY, NOW, Composed, Run, Test, composed

ACCOUNT, OTHER = "111122223333", "222233334444"
ROOT, OTHER_ROOT = f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{OTHER}:root"
YEAR = 365 * DAY
S3 = "alias/aws/s3"
PREDEFINED = [
    f"alias/aws/{name}"
    for name in (
        "acm", "backup", "codecommit", "connect", "dms", "dynamodb", "ebs", "elasticfilesystem", "es", "fsx", "glue",
        "kinesis", "kinesisvideo", "lambda", "rds", "redshift", "s3", "secretsmanager", "sns", "sqs", "ssm",
        "workspaces", "xray",
    )
]  # fmt: skip
OPERATIONS = ("CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "GetPublicKey", "ReEncrypt")
AES_256 = {"KeySpec": "AES_256"}


@pytest.fixture
def run(install: Callable[[], Path]) -> Run:
    """Run a test against a copy of one installation: that is much faster than to make one."""

    def run(test: Test) -> None:
        async def main() -> None:
            async with composed(install()) as parts:
                await test(parts)
                assert parts.fatal == []

        asyncio.run(main())

    return run


def declare(parts: Composed, name: str = "s3", protects: str | None = None) -> Composed:
    """Declare a service for both accounts; return what it asks in its own name."""
    access_key, secret = new_access_key(parts.opened.domain_keys, "", NOW, service=name)
    service = Service(name, NOW, (ACCOUNT, OTHER), OPERATIONS, protects)
    parts.opened.storage.commit([Insert(service), Insert(access_key)], None)
    return parts._replace(by=Credential(access_key.access_key_id, secret))


def acting(service: Composed, named: str = ROOT) -> Composed:
    """What a service asks for somebody."""
    return service._replace(on_behalf_of=named)


def another_account(parts: Composed) -> Composed:
    """Make another account; return what its root user asks."""
    access_key, secret = new_access_key(parts.opened.domain_keys, OTHER, NOW)
    parts.opened.storage.commit([Insert(Account(OTHER, NOW)), Insert(access_key)], None)
    return parts._replace(by=Credential(access_key.access_key_id, secret))


async def make_user(parts: Composed, name: str, *statements: dict[str, Any]) -> tuple[str, Composed]:
    """Make a user with an inline policy, if it has statements; return its ARN and what it asks."""
    user = (await iam(parts, "CreateUser", UserName=name)).user
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        await iam(parts, "PutUserPolicy", UserName=name, PolicyName="inline", PolicyDocument=document)
    key = (await iam(parts, "CreateAccessKey", UserName=name)).access_key
    return user.arn, parts._replace(by=Credential(key.access_key_id, key.secret_access_key))


async def iam(parts: Composed, operation: str, **members: str) -> Any:
    answer = await parts.ask("iam", urlencode({"Action": operation, **members}))
    assert answer.error is None, answer.error
    return answer.response


def statement(action: str, effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": "*"}


async def refused(asker: Composed, error: type[RequestError], operation: str, **members: Any) -> str | None:
    """Have an operation refused; nothing is made or changed by it. Return the text."""
    before = everything(asker)
    with pytest.raises(error) as caught:
        await asker.ask_kms(operation, **members)
    assert type(caught.value) is error
    assert everything(asker) == before
    return caught.value.message


def everything(parts: Composed) -> object:
    contents = parts.opened.storage.load()
    return sorted(map(repr, contents.records)), [stored.number for stored in contents.records]


def not_found(alias: str = S3, account: str = ACCOUNT) -> str:
    return f"Alias {arn_of(alias, account)} is not found."


def arn_of(alias: str, account: str = ACCOUNT, region: str = "us-east-1") -> str:
    return f"arn:aws:kms:{region}:{account}:{alias}"


async def key_ids(parts: Composed) -> list[str]:
    return [entry.key_id for entry in (await parts.ask_kms("ListKeys")).keys]


async def described(parts: Composed, key_id: str = S3) -> Any:
    return (await parts.ask_kms("DescribeKey", KeyId=key_id)).key_metadata


async def aliases(parts: Composed, **members: Any) -> list[Any]:
    return [*(await parts.ask_kms("ListAliases", Limit=100, **members)).aliases]


async def alias_names(parts: Composed) -> list[str]:
    return [entry.alias_name for entry in await aliases(parts)]


def creations(parts: Composed) -> list[dict[str, Any]]:
    """The records of AWS managed keys that were made."""
    return [record for record in parts.records("AwsServiceEvent") if record["eventName"] == "CreateKey"]


def test_the_predefined_aliases_are_listed_from_the_start(run: Run) -> None:
    async def test(parts: Composed) -> None:
        listed = await aliases(parts)
        assert [entry.alias_name for entry in listed] == PREDEFINED
        assert [entry.alias_arn for entry in listed] == [arn_of(name) for name in PREDEFINED]
        assert {(entry.target_key_id, entry.creation_date, entry.last_updated_date) for entry in listed} == {
            (None, None, None)
        }
        assert await key_ids(parts) == []
        assert await alias_names(another_account(parts)) == PREDEFINED

    run(test)


def test_an_alias_that_stands_for_its_key_is_listed_with_it(run: Run) -> None:
    async def test(parts: Composed) -> None:
        made = await described(parts)
        listed = await aliases(parts)
        assert [entry.alias_name for entry in listed] == PREDEFINED
        (entry,) = [entry for entry in listed if entry.target_key_id is not None]
        assert (entry.alias_name, entry.alias_arn, entry.target_key_id) == (S3, arn_of(S3), made.key_id)
        assert (entry.creation_date, entry.last_updated_date) == (NOW, NOW)
        assert await aliases(parts, KeyId=made.key_id) == [entry]
        own = (await parts.ask_kms("CreateKey")).key_metadata.key_id
        assert await aliases(parts, KeyId=own) == []

    run(test)


@pytest.mark.parametrize("limit", [1, 3, 10, 100])
def test_every_alias_is_listed_once_though_keys_are_made_between_two_pages(run: Run, limit: int) -> None:
    own = [
        f"alias/{name}"
        for name in ("A", "a/b", "aw", "aws", "aws-mine", "aws0", "awsome", "aws_x", "b", "lambda", "z/aws/s3", "zz")
    ]
    before_and_behind = [PREDEFINED[(7 * n) % len(PREDEFINED)] for n in range(len(PREDEFINED))]

    async def test(parts: Composed) -> None:
        key_id = (await parts.ask_kms("CreateKey")).key_metadata.key_id
        for name in own:
            await parts.ask_kms("CreateAlias", AliasName=name, TargetKeyId=key_id)
        expected = sorted([*own, *PREDEFINED])
        for waiting in ([], before_and_behind):
            told: list[str] = []
            marker: dict[str, str] = {}
            while True:
                page = await parts.ask_kms("ListAliases", Limit=limit, **marker)
                told += [entry.alias_name for entry in page.aliases]
                if not page.truncated:
                    break
                assert len(page.aliases) == limit
                marker = {"Marker": page.next_marker}
                if waiting:
                    await described(parts, waiting.pop())
            assert told == expected

    run(test)


def test_an_alias_is_listed_once_whose_key_is_made_meanwhile(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(parts: Composed) -> None:
        storage, loop = parts.opened.storage, asyncio.get_running_loop()
        list_aliases = storage.list_aliases
        waiting = [PREDEFINED[0], S3]

        def meanwhile(*arguments: Any, **options: Any) -> Any:
            if waiting:
                asyncio.run_coroutine_threadsafe(described(parts, waiting.pop()), loop).result()
            return list_aliases(*arguments, **options)

        monkeypatch.setattr(storage, "list_aliases", meanwhile)
        first = await parts.ask_kms("ListAliases", Limit=20)
        assert [entry.alias_name for entry in first.aliases] == PREDEFINED[:20]
        assert [entry.alias_name for entry in first.aliases if entry.target_key_id is not None] == [S3]
        rest = await parts.ask_kms("ListAliases", Limit=20, Marker=first.next_marker)
        assert [entry.alias_name for entry in rest.aliases] == PREDEFINED[20:]
        assert waiting == []

    run(test)


@pytest.mark.parametrize(
    ("operation", "members"), [("GenerateDataKey", AES_256), ("Encrypt", {"Plaintext": b"x"}), ("DescribeKey", {})]
)
def test_the_first_use_by_its_service_makes_the_key_once(
    run: Run, operation: str, members: dict[str, str | bytes]
) -> None:
    async def test(parts: Composed) -> None:
        arn, _ = await make_user(parts, "ann")
        s3 = acting(declare(parts), arn)
        for _ in range(2):
            await s3.ask_kms(operation, KeyId=S3, **members)
        (key_id,) = await key_ids(parts)
        assert (await described(parts)).key_id == key_id
        assert len(creations(parts)) == 1
        by_service = [record for record in parts.records() if record["userIdentity"].get("invokedBy")]
        assert [(record["eventName"], record.get("errorCode")) for record in by_service] == [(operation, None)] * 2
        assert {record["resources"][0]["ARN"] for record in by_service} == {(await described(parts)).arn}

    run(test)


def test_the_alias_may_be_named_by_its_arn(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3 = acting(declare(parts))
        elsewhere = arn_of(S3, region="eu-west-1")
        assert await refused(s3, NotFound, "Encrypt", KeyId=elsewhere, Plaintext=b"x") == "Invalid arn eu-west-1"
        made = await s3.ask_kms("Encrypt", KeyId=arn_of(S3), Plaintext=b"x")
        assert (await described(parts)).arn == made.key_id

    run(test)


def test_of_many_who_need_it_at_once_one_makes_the_key(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3 = declare(parts)
        async with composed(parts.opened.config.data) as second:
            askers = [acting(parts._replace(by=s3.by)), acting(second._replace(by=s3.by))]
            made = await asyncio.gather(
                *(askers[n % 2].ask_kms("GenerateDataKey", KeyId=S3, **AES_256) for n in range(16))
            )
            assert len({one.key_id for one in made}) == 1
            for one, asker in zip(made, reversed(askers * 8), strict=True):
                opened = await asker.ask_kms("Decrypt", CiphertextBlob=one.ciphertext_blob)
                assert opened.plaintext == one.plaintext
        assert len(await key_ids(parts)) == 1
        (event,) = creations(parts)
        assert event["resources"][0]["ARN"] == made[0].key_id
        assert (
            len({record["requestID"] for record in parts.records() if record["eventName"] == "GenerateDataKey"}) == 16
        )

    run(test)


def test_what_the_key_is(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3 = acting(declare(parts))
        arn = (await s3.ask_kms("GenerateDataKey", KeyId=S3, **AES_256)).key_id
        told = await described(parts)
        assert (told.arn, told.key_manager, told.origin, told.key_state) == (arn, "AWS", "AWS_KMS", "Enabled")
        assert told.description == "Default key that protects my S3 objects when no other key is defined"
        assert (told.key_spec, told.key_usage) == ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
        assert (told.multi_region, told.multi_region_configuration) == (False, None)
        assert (told.creation_date, told.enabled, told.deletion_date) == (NOW, True, None)
        status = await parts.ask_kms("GetKeyRotationStatus", KeyId=told.key_id)
        assert (status.key_rotation_enabled, status.rotation_period_in_days) == (True, 365)
        assert (status.next_rotation_date, status.on_demand_rotation_start_date) == (NOW + YEAR, None)
        assert not (await parts.ask_kms("ListResourceTags", KeyId=told.key_id)).tags
        assert not (await parts.ask_kms("ListGrants", KeyId=told.key_id)).grants

    run(test)


@pytest.mark.parametrize(
    ("alias", "service", "grants"),
    [(S3, "s3", False), ("alias/aws/ebs", "ec2", True), ("alias/aws/lambda", "lambda", True)],
)
def test_its_policy_is_for_the_service_and_to_look_at(run: Run, alias: str, service: str, grants: bool) -> None:  # noqa: FBT001
    uses = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]

    async def test(parts: Composed) -> None:
        for region in ("us-east-1", "eu-west-1"):
            there = parts._replace(region=region)
            key_id = (await described(there, alias)).key_id
            document = json.loads((await there.ask_kms("GetKeyPolicy", KeyId=key_id)).policy)
            assert document["Id"].startswith(f"auto-{alias.removeprefix('alias/aws/')}-")
            through, direct = document["Statement"]
            assert (through["Effect"], through["Principal"], through["Resource"]) == ("Allow", {"AWS": "*"}, "*")
            assert through["Action"] == ([*uses, "kms:CreateGrant"] if grants else uses)
            via = {"kms:CallerAccount": ACCOUNT, "kms:ViaService": f"{service}.{region}.amazonaws.com"}
            assert through["Condition"] == {"StringEquals": via}
            looking = ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"]
            assert (direct["Principal"], direct["Action"]) == ({"AWS": ROOT}, looking)
            assert (direct["Effect"], "Condition" in direct) == ("Allow", False)

    run(test)


def test_its_creation_is_recorded_once(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3 = acting(declare(parts))
        for _ in range(2):
            await s3.ask_kms("Encrypt", KeyId=S3, Plaintext=b"x")
        await described(parts)
        arn = (await described(parts)).arn
        (event,) = creations(parts)
        first = next(record for record in parts.records() if record["eventName"] == "Encrypt")
        assert event["userIdentity"] == {"accountId": ACCOUNT, "invokedBy": "AWS Internal"}
        assert (event["sourceIPAddress"], event["userAgent"]) == ("AWS Internal", "AWS Internal")
        assert (event["awsRegion"], event["recipientAccountId"]) == ("us-east-1", ACCOUNT)
        assert (event["readOnly"], "requestID" in event, "errorCode" in event) == (False, False, False)
        assert event["resources"] == [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": arn}]
        told = {"keyId": arn, "aliasName": S3, "service": "s3.amazonaws.com", "requestId": first["requestID"]}
        assert event["serviceEventDetails"] == told
        assert parts.opened.storage.outbox()[-1].entry.event_id == event["eventID"]

    run(test)


def test_each_account_and_each_region_has_its_own(run: Run) -> None:
    async def test(parts: Composed) -> None:
        other = another_account(parts)
        s3 = declare(parts)
        made: dict[str, tuple[Composed, bytes]] = {}
        for region in ("us-east-1", "eu-west-1"):
            for named, owner in ((ROOT, parts), (OTHER_ROOT, other)):
                asker = acting(s3, named)._replace(region=region)
                encrypted = await asker.ask_kms("Encrypt", KeyId=S3, Plaintext=b"x")
                assert encrypted.key_id == (await described(owner._replace(region=region))).arn
                assert encrypted.key_id.split(":")[3:5] == [region, named.split(":")[4]]
                made[encrypted.key_id] = asker, encrypted.ciphertext_blob
        assert len({arn.rpartition("/")[2] for arn in made}) == 4
        assert sorted(event["resources"][0]["ARN"] for event in creations(parts)) == sorted(made)
        for asker, _ in made.values():
            opened = 0
            for arn, (owner, blob) in made.items():
                if owner is asker:
                    assert (await asker.ask_kms("Decrypt", CiphertextBlob=blob)).key_id == arn
                    opened += 1
                else:
                    await refused(asker, AccessDenied, "Decrypt", CiphertextBlob=blob)
            assert opened == 1

    run(test)


def test_another_service_neither_makes_nor_uses_the_key(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3, sqs = acting(declare(parts)), acting(declare(parts, "sqs"))
        for operation, members in (
            ("Encrypt", {"Plaintext": b"x"}),
            ("GenerateDataKey", AES_256),
            ("GetPublicKey", {}),
        ):
            assert await refused(sqs, NotFound, operation, KeyId=S3, **members) == not_found()
        arn, _ = await make_user(parts, "ann")
        assert await refused(acting(sqs, arn), NotFound, "DescribeKey", KeyId=S3) == not_found()
        blob = (await s3.ask_kms("Encrypt", KeyId=S3, Plaintext=b"x")).ciphertext_blob
        await refused(sqs, AccessDenied, "Encrypt", KeyId=S3, Plaintext=b"x")
        await refused(sqs, AccessDenied, "GenerateDataKey", KeyId=S3, **AES_256)
        await refused(sqs, AccessDenied, "Decrypt", CiphertextBlob=blob)

    run(test)


def test_the_key_of_ebs_is_used_by_ec2(run: Run) -> None:
    async def test(parts: Composed) -> None:
        ebs, ec2 = acting(declare(parts, "ebs")), acting(declare(parts, "ec2"))
        ebs_alias = "alias/aws/ebs"
        assert await refused(ebs, NotFound, "Encrypt", KeyId=ebs_alias, Plaintext=b"x") == not_found(ebs_alias)
        assert await refused(ec2, NotFound, "Encrypt", KeyId="alias/aws/ec2", Plaintext=b"x") == not_found(
            "alias/aws/ec2"
        )
        made = await ec2.ask_kms("Encrypt", KeyId=ebs_alias, Plaintext=b"x")
        assert (await described(parts, ebs_alias)).description == (
            "Default key that protects my EBS volumes when no other key is defined"
        )
        await ec2.ask_kms("CreateGrant", KeyId=made.key_id, GranteePrincipal=ROOT, Operations=["Decrypt"])
        assert (await parts.ask_kms("Decrypt", CiphertextBlob=made.ciphertext_blob)).plaintext == b"x"
        await refused(ebs, AccessDenied, "Encrypt", KeyId=ebs_alias, Plaintext=b"x")

    run(test)


def test_whoever_may_describe_the_key_has_it_made(run: Run) -> None:
    async def test(parts: Composed) -> None:
        _, nobody = await make_user(parts, "nobody")
        _, denied = await make_user(parts, "denied", statement("kms:*"), statement("kms:DescribeKey", "Deny"))
        _, reader = await make_user(parts, "reader", statement("kms:DescribeKey"))
        assert await refused(nobody, NotFound, "DescribeKey", KeyId=S3) == not_found()
        assert await refused(denied, NotFound, "DescribeKey", KeyId=S3) == not_found()
        made = await described(reader)
        assert (made.key_manager, (await described(parts)).key_id) == ("AWS", made.key_id)
        assert (await described(parts, "alias/aws/sqs")).key_id != made.key_id
        for asker in (nobody, denied):
            await refused(asker, AccessDenied, "DescribeKey", KeyId=S3)
        unknown = "alias/aws/unknown"
        assert await refused(parts, NotFound, "DescribeKey", KeyId=unknown) == not_found(unknown)

    run(test)


def test_nothing_is_made_for_a_user_who_is_denied_it_through_the_service(run: Run) -> None:
    async def test(parts: Composed) -> None:
        arn, _ = await make_user(parts, "denied", statement("kms:Encrypt", "Deny"))
        s3 = acting(declare(parts), arn)
        assert await refused(s3, NotFound, "Encrypt", KeyId=S3, Plaintext=b"x") == not_found()
        made = await s3.ask_kms("GenerateDataKey", KeyId=S3, **AES_256)
        assert (await described(parts)).arn == made.key_id
        await refused(s3, AccessDenied, "Encrypt", KeyId=S3, Plaintext=b"x")

    run(test)


def test_a_dry_run_makes_no_key(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3 = acting(declare(parts))
        with pytest.raises((DryRunOperation, NotFound)):
            await s3.ask_kms("Encrypt", KeyId=S3, Plaintext=b"x", DryRun=True)
        assert creations(parts) == []
        assert await key_ids(parts) == []

    run(test)


@pytest.mark.parametrize("by_name", [True, False])
def test_what_is_encrypted_under_another_key_is_encrypted_anew_under_one_that_is_made(run: Run, by_name: bool) -> None:  # noqa: FBT001
    async def test(parts: Composed) -> None:
        s3 = acting(declare(parts))
        key_id = (await parts.ask_kms("CreateKey")).key_metadata.key_id
        blob = (await parts.ask_kms("Encrypt", KeyId=key_id, Plaintext=b"x")).ciphertext_blob
        source = {"SourceKeyId": key_id} if by_name else {}
        made = await s3.ask_kms("ReEncrypt", CiphertextBlob=blob, DestinationKeyId=S3, **source)
        assert made.key_id == (await described(parts)).arn
        assert (await s3.ask_kms("Decrypt", CiphertextBlob=made.ciphertext_blob)).plaintext == b"x"

    run(test)


def test_nothing_is_made_for_a_request_whose_other_key_is_not_there(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3 = acting(declare(parts))
        key_id = (await parts.ask_kms("CreateKey")).key_metadata.key_id
        blob = (await parts.ask_kms("Encrypt", KeyId=key_id, Plaintext=b"x")).ciphertext_blob
        missing = "00000000-0000-4000-8000-000000000000"
        await refused(s3, NotFound, "ReEncrypt", CiphertextBlob=blob, SourceKeyId=missing, DestinationKeyId=S3)

    run(test)


def test_users_make_no_key_by_using_its_alias(run: Run) -> None:
    async def test(parts: Composed) -> None:
        _, admin = await make_user(parts, "admin", statement("kms:*"))
        key_id = (await parts.ask_kms("CreateKey")).key_metadata.key_id
        blob = (await parts.ask_kms("Encrypt", KeyId=key_id, Plaintext=b"x")).ciphertext_blob
        for asker in (admin, parts):
            for operation, members in (
                ("Encrypt", {"KeyId": S3, "Plaintext": b"x"}),
                ("GenerateDataKey", {"KeyId": S3, **AES_256}),
                ("Decrypt", {"KeyId": S3, "CiphertextBlob": blob}),
                ("ReEncrypt", {"CiphertextBlob": blob, "DestinationKeyId": S3}),
                ("GetPublicKey", {"KeyId": S3}),
            ):
                assert await refused(asker, NotFound, operation, **members) == not_found()
        assert creations(parts) == []

    run(test)


def test_the_alias_of_another_account_makes_nothing(run: Run) -> None:
    async def test(parts: Composed) -> None:
        other = another_account(parts)
        s3 = declare(parts)
        for asker in (other, acting(s3, OTHER_ROOT)):
            await refused(asker, AccessDenied, "DescribeKey", KeyId=arn_of(S3))
        await refused(acting(s3, OTHER_ROOT), AccessDenied, "Encrypt", KeyId=arn_of(S3), Plaintext=b"x")
        await refused(acting(s3), AccessDenied, "GenerateDataKey", KeyId=arn_of(S3, OTHER), **AES_256)
        await described(parts)
        await refused(other, AccessDenied, "DescribeKey", KeyId=arn_of(S3))
        await refused(acting(s3, OTHER_ROOT), AccessDenied, "Encrypt", KeyId=arn_of(S3), Plaintext=b"x")
        assert await key_ids(other) == []

    run(test)


def test_a_service_in_its_own_name_makes_nothing_and_uses_nothing(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3 = declare(parts)
        for operation, members in (("DescribeKey", {}), ("Encrypt", {"Plaintext": b"x"}), ("GenerateDataKey", AES_256)):
            await refused(s3, NotFound, operation, KeyId=S3, **members)
            await refused(s3, AccessDenied, operation, KeyId=arn_of(S3), **members)
        made = await acting(s3).ask_kms("Encrypt", KeyId=S3, Plaintext=b"x")
        await refused(s3, AccessDenied, "Encrypt", KeyId=made.key_id, Plaintext=b"x")
        await refused(s3, AccessDenied, "DescribeKey", KeyId=arn_of(S3))
        await refused(s3, AccessDenied, "Decrypt", CiphertextBlob=made.ciphertext_blob)

    run(test)


def test_a_service_that_protects_something_has_an_alias(run: Run) -> None:
    async def test(parts: Composed) -> None:
        config, vault = parts.opened.config, "alias/aws/vault"
        await asyncio.to_thread(declare_service, config, "vault", [ACCOUNT], OPERATIONS, "vault entries", NOW)
        assert await alias_names(parts) == sorted([*PREDEFINED, vault])
        credentials = configparser.ConfigParser()
        credentials.read(config.data / "credentials")
        profile = credentials["service-vault"]
        service = parts._replace(by=Credential(profile["aws_access_key_id"], profile["aws_secret_access_key"]))
        made = await acting(service).ask_kms("Encrypt", KeyId=vault, Plaintext=b"x")
        told = await described(parts, vault)
        assert (told.arn, told.key_manager) == (made.key_id, "AWS")
        assert told.description == "Default key that protects my vault entries when no other key is defined"
        policy = json.loads((await parts.ask_kms("GetKeyPolicy", KeyId=told.key_id)).policy)
        assert policy["Statement"][0]["Condition"]["StringEquals"] == {
            "kms:CallerAccount": ACCOUNT,
            "kms:ViaService": "vault.us-east-1.amazonaws.com",
        }
        await refused(acting(declare(parts)), AccessDenied, "Encrypt", KeyId=vault, Plaintext=b"x")
        await asyncio.to_thread(remove_service, config, "vault", NOW)
        assert (await described(parts, vault)).key_id == told.key_id
        assert await alias_names(parts) == sorted([*PREDEFINED, vault])

    run(test)


def test_a_service_that_protects_nothing_more_has_no_alias_that_stands_for_no_key(run: Run) -> None:
    async def test(parts: Composed) -> None:
        config = parts.opened.config
        declare(parts, "vault", protects="vault entries")
        assert await alias_names(parts) == sorted([*PREDEFINED, "alias/aws/vault"])
        await asyncio.to_thread(declare_service, config, "vault", [ACCOUNT], OPERATIONS, None, NOW)
        assert await alias_names(parts) == PREDEFINED
        vault = "alias/aws/vault"
        assert await refused(parts, NotFound, "DescribeKey", KeyId=vault) == not_found(vault)

    run(test)


def test_a_service_gets_no_second_key_under_a_name_that_there_is(run: Run) -> None:
    async def test(parts: Composed) -> None:
        config = parts.opened.config
        for name in ("s3", "ebs"):
            before = everything(parts)
            with pytest.raises(ConfigurationError, match=f"^there is an AWS managed key alias/aws/{name} already$"):
                await asyncio.to_thread(declare_service, config, name, [ACCOUNT], OPERATIONS, "things", NOW)
            assert everything(parts) == before
        await asyncio.to_thread(declare_service, config, "ec2", [ACCOUNT], OPERATIONS, "instances", NOW)
        assert await alias_names(parts) == sorted([*PREDEFINED, "alias/aws/ec2"])
        written = (config.data / "credentials").read_text()
        assert [name for name in ("s3", "ebs", "ec2") if f"[service-{name}]" in written] == ["ec2"]

    run(test)


def test_the_key_rotates_every_year(run: Run) -> None:
    async def test(parts: Composed) -> None:
        s3 = acting(declare(parts))
        job = RotationJob(parts.office, parts.key_store)
        made = [await s3.ask_kms("GenerateDataKey", KeyId=S3, **AES_256)]
        key_id = (await described(parts)).key_id

        async def look(now: float) -> list[tuple[float, str]]:
            """The rotations that there were once the job looked at the calendar."""
            parts.clock.now = now
            assert await job.run(Look(now, None)) is None
            rotations = (await parts.ask_kms("ListKeyRotations", KeyId=key_id)).rotations
            return [(rotation.rotation_date, rotation.rotation_type) for rotation in rotations]

        assert await look(NOW + YEAR - 1) == []
        for year in (1, 2):
            expected = [(NOW + n * YEAR, "AUTOMATIC") for n in range(1, year + 1)]
            assert await look(NOW + year * YEAR) == expected
            status = await parts.ask_kms("GetKeyRotationStatus", KeyId=key_id)
            assert (status.key_rotation_enabled, status.next_rotation_date) == (True, NOW + (year + 1) * YEAR)
            made.append(await s3.ask_kms("GenerateDataKey", KeyId=S3, **AES_256))
        assert len({one.key_material_id for one in made}) == 3
        for one in made:
            assert (await s3.ask_kms("Decrypt", CiphertextBlob=one.ciphertext_blob)).plaintext == one.plaintext
        events = [event for event in parts.records("AwsServiceEvent") if event["eventName"] == "RotateKey"]
        assert [event["serviceEventDetails"]["rotationType"] for event in events] == ["AUTOMATIC", "AUTOMATIC"]

    run(test)


def test_a_key_that_is_made_while_the_clock_is_in_doubt_is_dated_later(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(parts: Composed) -> None:
        monkeypatch.setattr("strongroom.clock.doubt", lambda *_: "it jumped")
        key_id = (await described(parts)).key_id
        status = await parts.ask_kms("GetKeyRotationStatus", KeyId=key_id)
        assert (status.key_rotation_enabled, status.next_rotation_date) == (True, None)
        await RotationJob(parts.office, parts.key_store).run(Look(NOW + 5, None))
        status = await parts.ask_kms("GetKeyRotationStatus", KeyId=key_id)
        assert (status.key_rotation_enabled, status.next_rotation_date) == (True, NOW + 5 + YEAR)

    run(test)


def test_aws_managed_keys_do_not_count_for_the_quota(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(parts: Composed) -> None:
        monkeypatch.setattr(keys, "MAX_KEYS", 1)
        for alias in PREDEFINED[:3]:
            await described(parts, alias)
        storage = parts.opened.storage
        assert storage.count_keys(ACCOUNT, "us-east-1") == 0
        await parts.ask_kms("CreateKey")
        assert storage.count_keys(ACCOUNT, "us-east-1") == 1
        await refused(parts, LimitExceeded, "CreateKey")
        await described(parts)
        assert storage.count_keys(ACCOUNT, "us-east-1") == 1
        assert len(await key_ids(parts)) == 5

    run(test)
