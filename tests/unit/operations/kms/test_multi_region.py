"""Multi-Region keys in three Regions, with a clock that moves (AWS: "Multi-Region keys in AWS KMS")."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from strongroom.app.counted_uses import AT_ONCE, CountedUses
from strongroom.errors import (
    AccessDenied,
    AlreadyExists,
    Disabled,
    IncorrectKey,
    IncorrectKeyMaterial,
    InvalidCiphertext,
    KMSInvalidState,
    LimitExceeded,
    MalformedPolicyDocument,
    NotFound,
    RequestError,
    UnsupportedOperation,
    Validation,
)
from strongroom.jobs.calendar import Job, Look
from strongroom.jobs.deletion import DeletionJob
from strongroom.jobs.expiry import ExpiryJob
from strongroom.jobs.key_usage import UsageJob
from strongroom.jobs.multi_region import MultiRegionJob
from strongroom.jobs.rotation import RotationJob
from strongroom.model.import_key import ImportKey
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.operations.kms import keys
from strongroom.snapshot import LiveSnapshot
from tests.composed import DAY, NOW, Composed, Run
from tests.importing import wrapped

HOME, EUROPE, ASIA = "us-east-1", "eu-west-1", "ap-south-1"
ACCOUNT = "111122223333"


class Multi:
    """A multi-Region key, and what is asked of it in each Region."""

    def __init__(self, parts: Composed, key_id: str) -> None:
        self.parts, self.key_id = parts, key_id

    @classmethod
    async def new(cls, parts: Composed, *replicas: str, **members: Any) -> "Multi":
        made = (await parts.ask_kms("CreateKey", MultiRegion=True, **members)).key_metadata
        key = cls(parts, made.key_id)
        for region in replicas:
            await key.ask(HOME, "ReplicateKey", ReplicaRegion=region)
        await key.settle()
        return key

    def arn(self, region: str) -> str:
        return f"arn:aws:kms:{region}:{ACCOUNT}:key/{self.key_id}"

    async def ask(self, region: str, operation: str, **members: Any) -> Any:
        return await self.parts._replace(region=region).ask_kms(operation, KeyId=self.key_id, **members)

    async def refused(self, error: type[RequestError], region: str, operation: str, **members: Any) -> str | None:
        """Have an operation refused; nothing is changed by it. Return the text."""
        before = self.everything()
        with pytest.raises(error) as caught:
            await self.ask(region, operation, **members)
        assert type(caught.value) is error
        assert self.everything() == before
        return caught.value.message

    def everything(self) -> object:
        contents = self.parts.opened.storage.load()
        return sorted(map(repr, contents.records)), [stored.number for stored in contents.records]

    async def described(self, region: str) -> Any:
        return (await self.ask(region, "DescribeKey")).key_metadata

    async def state(self, *regions: str) -> list[str]:
        return [(await self.described(region)).key_state for region in regions]

    async def regions(self, asked: str = HOME) -> tuple[str, str, list[str]]:
        """What a key says that it is, where the primary key is, and the replica keys."""
        told = (await self.described(asked)).multi_region_configuration
        assert all(one.arn == self.arn(one.region) for one in (told.primary_key, *told.replica_keys))
        return told.multi_region_key_type, told.primary_key.region, [one.region for one in told.replica_keys]

    async def settle(self) -> None:
        await self.work(MultiRegionJob(self.parts.office))

    async def rotate(self) -> str | None:
        return await self.work(RotationJob(self.parts.office, self.parts.key_store))

    async def work(self, job: Job) -> str | None:
        return await job.run(Look(self.parts.clock.now, None))

    async def take(self, region: str, material: bytes, **members: Any) -> str:
        """Import material in a Region; return its id."""
        parameters = await self.ask(
            region, "GetParametersForImport", WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
        )
        import_key = ImportKey("RSA_2048", "RSAES_OAEP_SHA_256", "", 0, b"", parameters.public_key)
        sent = {
            "ImportToken": parameters.import_token,
            "EncryptedKeyMaterial": wrapped(import_key, material),
            **({} if "ValidTo" in members else {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}),
            **members,
        }
        return str((await self.ask(region, "ImportKeyMaterial", **sent)).key_material_id)

    async def not_taken(self, error: type[RequestError], region: str, material: bytes, **members: Any) -> str | None:
        before = self.everything()
        with pytest.raises(error) as caught:
            await self.take(region, material, **members)
        assert self.everything() == before
        return caught.value.message

    async def materials(self, region: str) -> list[tuple[str, str, str | None]]:
        listed = await self.ask(region, "ListKeyRotations", IncludeKeyMaterial="ALL_KEY_MATERIAL")
        return [(one.key_material_id, one.key_material_state, one.import_state) for one in listed.rotations]

    async def exchange(self, *regions: str) -> None:
        """What is encrypted in each Region decrypts in all, and names the same material."""
        for here in regions:
            blob = (await self.ask(here, "Encrypt", Plaintext=b"here", EncryptionContext={"a": "b"})).ciphertext_blob
            told = set()
            for there in regions:
                asked = self.parts._replace(region=there)
                opened = await asked.ask_kms("Decrypt", CiphertextBlob=blob, EncryptionContext={"a": "b"})
                assert (opened.plaintext, opened.key_id) == (b"here", self.arn(there))
                told.add(opened.key_material_id)
            assert len(told) == 1


def events(parts: Composed, name: str) -> list[tuple[str, str | None]]:
    """The Region of each record of an operation, and its key."""
    return [
        (record["awsRegion"], record["resources"][0]["ARN"] if "resources" in record else None)
        for kind in ("AwsApiCall", "AwsServiceEvent")
        for record in parts.records(kind)
        if record["eventName"] == name
    ]


def test_a_replica_key_is_created_and_shares_what_related_keys_share(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, Description="home", Tags=[{"TagKey": "a", "TagValue": "b"}])
        assert key.key_id.startswith("mrk-")
        assert len(key.key_id) == 36
        assert await key.regions() == ("PRIMARY", HOME, [])
        await key.ask(HOME, "EnableKeyRotation", RotationPeriodInDays=100)
        made = await key.ask(HOME, "ReplicateKey", ReplicaRegion=EUROPE)
        told = made.replica_key_metadata
        assert (told.key_state, told.enabled, told.description) == ("Creating", False, "")
        assert (told.arn, told.current_key_material_id) == (key.arn(EUROPE), None)
        assert (told.multi_region_configuration.multi_region_key_type, made.replica_tags) == ("REPLICA", None)
        assert made.replica_policy == (await key.ask(HOME, "GetKeyPolicy")).policy
        assert (
            await key.refused(KMSInvalidState, EUROPE, "Encrypt", Plaintext=b"x") == f"{key.arn(EUROPE)} is creating."
        )
        await key.ask(EUROPE, "TagResource", Tags=[{"TagKey": "c", "TagValue": "d"}])
        assert (await key.described(EUROPE)).current_key_material_id is None

        await key.settle()

        here, there = await key.described(HOME), await key.described(EUROPE)
        assert there.key_state == "Enabled"
        for shared in ("key_id", "key_spec", "key_usage", "origin", "current_key_material_id", "multi_region"):
            assert getattr(here, shared) == getattr(there, shared), shared
        assert (here.description, there.description) == ("home", "")
        status = await key.ask(EUROPE, "GetKeyRotationStatus")
        assert status.rotation_period_in_days == 100
        assert status == await key.ask(HOME, "GetKeyRotationStatus")
        assert await key.regions() == ("PRIMARY", HOME, [EUROPE])
        assert await key.regions(EUROPE) == ("REPLICA", HOME, [EUROPE])
        await key.exchange(HOME, EUROPE)
        assert events(parts, "ReplicateKey") == [(HOME, key.arn(HOME))]
        assert events(parts, "CreateKey") == [(HOME, key.arn(HOME)), (EUROPE, key.arn(EUROPE))]
        assert events(parts, "SynchronizeMultiRegionKey") == [(HOME, key.arn(HOME))]
        (replicated,) = (record for record in parts.records() if record["eventName"] == "ReplicateKey")
        _, created = (record for record in parts.records() if record["eventName"] == "CreateKey")
        assert replicated["requestID"] == created["requestID"]
        assert created["userIdentity"]["invokedBy"] == "kms.amazonaws.com"
        assert created["responseElements"]["keyMetadata"]["multiRegionConfiguration"]["multiRegionKeyType"] == "REPLICA"

    run(test)


def test_what_is_a_key_s_own_stays_its_own(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, EUROPE)
        europe = parts._replace(region=EUROPE)
        await europe.ask_kms("CreateAlias", AliasName="alias/there", TargetKeyId=key.key_id)
        await key.ask(EUROPE, "UpdateKeyDescription", Description="there")
        await key.ask(EUROPE, "TagResource", Tags=[{"TagKey": "c", "TagValue": "d"}])
        grantee = f"arn:aws:iam::{ACCOUNT}:root"
        await key.ask(EUROPE, "CreateGrant", GranteePrincipal=grantee, Operations=["Decrypt"])
        await key.ask(EUROPE, "DisableKey")
        assert (await key.described(HOME)).description == ""
        assert await key.state(HOME, EUROPE) == ["Enabled", "Disabled"]
        assert (await key.ask(HOME, "ListResourceTags")).tags == ()
        assert (await key.ask(HOME, "ListGrants")).grants == ()
        with pytest.raises(NotFound):
            await parts.ask_kms("Encrypt", KeyId="alias/there", Plaintext=b"x")
        used = await key.ask(HOME, "GetKeyLastUsage")
        assert used.key_last_usage.operation is None
        await key.ask(HOME, "Encrypt", Plaintext=b"x")
        assert (await key.ask(HOME, "GetKeyLastUsage")).key_last_usage.operation == "Encrypt"
        assert (await key.ask(EUROPE, "GetKeyLastUsage")).key_last_usage.operation is None
        other = await Multi.new(parts, EUROPE)
        blob = (await other.ask(HOME, "Encrypt", Plaintext=b"x")).ciphertext_blob
        await key.refused(IncorrectKey, HOME, "Decrypt", CiphertextBlob=blob)
        altered = blob[:-1] + bytes([blob[-1] ^ 1])
        with pytest.raises(InvalidCiphertext):
            await other.ask(EUROPE, "Decrypt", CiphertextBlob=altered)

    run(test)


def test_refusals_to_replicate(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, EUROPE)
        exists = await key.refused(AlreadyExists, HOME, "ReplicateKey", ReplicaRegion=EUROPE)
        assert exists == f"Key '{key.arn(EUROPE)}' already exists"
        await key.refused(AlreadyExists, HOME, "ReplicateKey", ReplicaRegion=HOME)
        replica = await key.refused(UnsupportedOperation, EUROPE, "ReplicateKey", ReplicaRegion=ASIA)
        assert replica == f"{key.arn(EUROPE)} is not a multi-region primary key."
        await key.refused(UnsupportedOperation, HOME, "ReplicateKey", ReplicaRegion="us-moon-1")
        await key.refused(Validation, HOME, "ReplicateKey", ReplicaRegion="nowhere")
        assert await key.refused(NotFound, ASIA, "DescribeKey") == f"Key '{key.arn(ASIA)}' does not exist"
        single = Multi(parts, (await parts.ask_kms("CreateKey")).key_metadata.key_id)
        refused = await single.refused(UnsupportedOperation, HOME, "ReplicateKey", ReplicaRegion=ASIA)
        assert refused == f"{single.arn(HOME)} is not a multi-region primary key."
        refused = await single.refused(UnsupportedOperation, HOME, "UpdatePrimaryRegion", PrimaryRegion=ASIA)
        assert refused == f"{single.arn(HOME)} is not a multi-region primary key."
        for operation, members in (
            ("EnableKeyRotation", {}),
            ("DisableKeyRotation", {}),
            ("RotateKeyOnDemand", {}),
            ("UpdatePrimaryRegion", {"PrimaryRegion": HOME}),
        ):
            refused = await key.refused(UnsupportedOperation, EUROPE, operation, **members)
            assert refused == f"{key.arn(EUROPE)} is not a multi-region primary key."
        policy = json.dumps(
            {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"}}
        )
        locked_out = await key.refused(MalformedPolicyDocument, HOME, "ReplicateKey", ReplicaRegion=ASIA, Policy=policy)
        assert locked_out == "The new key policy will not allow you to update the key policy in the future."
        made = await key.ask(
            HOME, "ReplicateKey", ReplicaRegion=ASIA, Policy=policy, BypassPolicyLockoutSafetyCheck=True
        )
        assert made.replica_policy == policy
        await key.ask(HOME, "DisableKey")
        disabled = await key.refused(Disabled, HOME, "ReplicateKey", ReplicaRegion="us-west-2")
        assert disabled == f"{key.arn(HOME)} is disabled."

    run(test)


@pytest.mark.parametrize("key_spec", ["HMAC_256", "ECC_NIST_P256", "ML_DSA_44"])
def test_other_kinds_of_keys(run: Run, key_spec: str) -> None:
    usage = "GENERATE_VERIFY_MAC" if key_spec == "HMAC_256" else "SIGN_VERIFY"

    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, EUROPE, KeySpec=key_spec, KeyUsage=usage)
        if key_spec == "HMAC_256":
            named = {"Message": b"m", "MacAlgorithm": "HMAC_SHA_256"}
            mac = (await key.ask(HOME, "GenerateMac", **named)).mac
            assert (await key.ask(EUROPE, "VerifyMac", Mac=mac, **named)).mac_valid
            return
        algorithm = "ECDSA_SHA_256" if key_spec == "ECC_NIST_P256" else "ML_DSA_SHAKE_256"
        named = {"Message": b"m", "SigningAlgorithm": algorithm}
        signature = (await key.ask(EUROPE, "Sign", **named)).signature
        assert (await key.ask(HOME, "Verify", Signature=signature, **named)).signature_valid
        assert (await key.ask(HOME, "GetPublicKey")).public_key == (await key.ask(EUROPE, "GetPublicKey")).public_key

    run(test)


def test_the_primary_key_moves(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, EUROPE, ASIA)
        missing = await key.refused(NotFound, HOME, "UpdatePrimaryRegion", PrimaryRegion="us-west-2")
        assert missing == f"Key '{key.arn('us-west-2')}' does not exist"
        await key.refused(UnsupportedOperation, HOME, "UpdatePrimaryRegion", PrimaryRegion=HOME)
        await key.ask(HOME, "UpdatePrimaryRegion", PrimaryRegion=EUROPE)
        assert await key.state(HOME, EUROPE, ASIA) == ["Updating", "Updating", "Enabled"]
        for region in (HOME, EUROPE):
            assert await key.refused(KMSInvalidState, region, "DisableKey") == f"{key.arn(region)} is updating."
        assert (
            await key.refused(KMSInvalidState, EUROPE, "ReplicateKey", ReplicaRegion="us-west-2")
            == f"{key.arn(EUROPE)} is updating."
        )
        await key.exchange(HOME, EUROPE, ASIA)
        await key.settle()
        assert await key.state(HOME, EUROPE, ASIA) == ["Enabled"] * 3
        for region, kind in ((HOME, "REPLICA"), (EUROPE, "PRIMARY"), (ASIA, "REPLICA")):
            assert await key.regions(region) == (kind, EUROPE, [ASIA, HOME])
        await key.ask(EUROPE, "ReplicateKey", ReplicaRegion="us-west-2")
        await key.refused(UnsupportedOperation, HOME, "UpdatePrimaryRegion", PrimaryRegion=ASIA)
        await key.ask(ASIA, "DisableKey")
        disabled = await key.refused(Disabled, EUROPE, "UpdatePrimaryRegion", PrimaryRegion=ASIA)
        assert disabled == f"{key.arn(ASIA)} is disabled."
        updates = [record for record in parts.records() if record["eventName"] == "UpdatePrimaryRegion"]
        made = [record for record in updates if "errorCode" not in record]
        assert [record["awsRegion"] for record in made] == [HOME, EUROPE]
        assert len({record["requestID"] for record in made}) == 1
        assert [record["responseElements"]["keyId"] for record in made] == [key.arn(HOME), key.arn(EUROPE)]
        assert [len(record.get("resources", ())) for record in made] == [1, 0]
        assert [record["requestParameters"]["keyId"] for record in made] == [key.key_id, key.arn(EUROPE)]

    run(test)


def test_a_rotation_is_for_all_regions(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, EUROPE, ASIA)
        before = (await key.ask(EUROPE, "Encrypt", Plaintext=b"old")).ciphertext_blob
        await key.ask(HOME, "EnableKeyRotation", RotationPeriodInDays=90)
        await key.ask(ASIA, "DisableKey")
        parts.clock.now = NOW + 90 * DAY
        assert await key.rotate() is None
        await key.ask(HOME, "RotateKeyOnDemand")
        assert (await key.ask(EUROPE, "GetKeyRotationStatus")).on_demand_rotation_start_date == parts.clock.now
        assert await key.rotate() is None
        await key.ask(ASIA, "EnableKey")
        listed = [await key.materials(region) for region in (HOME, EUROPE, ASIA)]
        assert listed[0] == listed[1] == listed[2]
        assert [state for _, state, _ in listed[0]] == ["NON_CURRENT", "NON_CURRENT", "CURRENT"]
        await key.exchange(HOME, EUROPE, ASIA)
        for region in (HOME, EUROPE, ASIA):
            assert (await key.ask(region, "Decrypt", CiphertextBlob=before)).plaintext == b"old"
        assert events(parts, "RotateKey") == [(HOME, key.arn(HOME))] * 2
        await key.ask(HOME, "ReplicateKey", ReplicaRegion="us-west-2")
        await key.settle()
        assert (await key.ask("us-west-2", "Decrypt", CiphertextBlob=before)).plaintext == b"old"
        assert await key.materials("us-west-2") == listed[0]
        await key.ask(HOME, "UpdatePrimaryRegion", PrimaryRegion=EUROPE)
        await key.settle()
        parts.clock.now = NOW + 180 * DAY
        assert await key.rotate() is None
        assert events(parts, "RotateKey")[2:] == [(EUROPE, key.arn(EUROPE))]
        await key.exchange(HOME, EUROPE, ASIA, "us-west-2")

    run(test)


def test_imported_material_is_imported_in_each_region(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, Origin="EXTERNAL")
        assert (
            await key.refused(KMSInvalidState, HOME, "ReplicateKey", ReplicaRegion=EUROPE)
            == f"{key.arn(HOME)} is pending import."
        )
        first, second = os.urandom(32), os.urandom(32)
        first_id = await key.take(HOME, first, KeyMaterialDescription="one")
        for region in (EUROPE, ASIA):
            await key.ask(HOME, "ReplicateKey", ReplicaRegion=region)
        await key.settle()
        assert await key.state(HOME, EUROPE, ASIA) == ["Enabled", "PendingImport", "PendingImport"]
        assert (await key.described(EUROPE)).current_key_material_id == first_id
        assert (await key.described(EUROPE)).expiration_model is None
        await key.not_taken(IncorrectKeyMaterial, EUROPE, second)
        refused = await key.not_taken(UnsupportedOperation, EUROPE, second, ImportType="NEW_KEY_MATERIAL")
        assert refused == f"{key.arn(EUROPE)} is not a multi-region primary key."
        await key.not_taken(UnsupportedOperation, EUROPE, first, KeyMaterialDescription="there")
        for region in (EUROPE, ASIA):
            assert await key.take(region, first) == first_id
        await key.exchange(HOME, EUROPE, ASIA)

        second_id = await key.take(HOME, second, ImportType="NEW_KEY_MATERIAL")
        waiting = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
        assert await key.materials(HOME) == [(first_id, "CURRENT", "IMPORTED"), (second_id, waiting, "IMPORTED")]
        assert await key.materials(ASIA) == [(first_id, "CURRENT", "IMPORTED"), (second_id, waiting, "PENDING_IMPORT")]
        missing = f"No available key material pending rotation for the key: {key.arn(HOME)}."
        assert await key.refused(KMSInvalidState, HOME, "RotateKeyOnDemand") == missing
        assert await key.take(EUROPE, second) == second_id
        assert await key.refused(KMSInvalidState, HOME, "RotateKeyOnDemand") == missing
        assert await key.take(ASIA, second, ImportType="EXISTING_KEY_MATERIAL", KeyMaterialId=second_id) == second_id
        assert {state for region in (HOME, EUROPE, ASIA) for _, state, _ in await key.materials(region)} == {
            "CURRENT",
            "PENDING_ROTATION",
        }
        await key.ask(HOME, "RotateKeyOnDemand")
        await key.ask(ASIA, "DeleteImportedKeyMaterial", KeyMaterialId=second_id)
        assert await key.state(ASIA) == ["Enabled"]
        assert await key.rotate() is None
        assert (await key.described(HOME)).current_key_material_id == first_id
        await key.take(ASIA, second)
        assert await key.rotate() is None
        assert (await key.described(ASIA)).current_key_material_id == second_id
        await key.exchange(HOME, EUROPE, ASIA)

    run(test)


def test_imported_material_is_deleted_and_expires_in_each_region(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, Origin="EXTERNAL")
        first, second = os.urandom(32), os.urandom(32)
        first_id = await key.take(HOME, first)
        await key.ask(HOME, "ReplicateKey", ReplicaRegion=EUROPE)
        await key.settle()
        await key.take(EUROPE, first, ValidTo=NOW + DAY)
        await key.take(HOME, first, KeyMaterialDescription="described")
        listed = await key.ask(EUROPE, "ListKeyRotations", IncludeKeyMaterial="ALL_KEY_MATERIAL")
        assert listed.rotations[0].key_material_description == "described"
        second_id = await key.take(HOME, second, ImportType="NEW_KEY_MATERIAL")
        await key.take(EUROPE, second)
        parts.clock.now = NOW + DAY
        await key.work(ExpiryJob(parts.office))
        assert await key.state(HOME, EUROPE) == ["Enabled", "PendingImport"]
        assert [one[2] for one in await key.materials(EUROPE)] == ["PENDING_IMPORT", "IMPORTED"]
        await key.ask(HOME, "DeleteImportedKeyMaterial", KeyMaterialId=second_id)
        for region in (HOME, EUROPE):
            assert [one[0] for one in await key.materials(region)] == [first_id]
        await key.ask(HOME, "DeleteImportedKeyMaterial")
        assert await key.state(HOME, EUROPE) == ["PendingImport", "PendingImport"]
        await key.take(EUROPE, first)
        assert await key.state(HOME, EUROPE) == ["PendingImport", "Enabled"]
        await key.take(HOME, first)
        await key.exchange(HOME, EUROPE)

    run(test)


def test_material_that_goes_while_its_key_is_updated_is_missed_when_that_ends(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, Origin="EXTERNAL")
        material = os.urandom(32)
        await key.take(HOME, material, ValidTo=NOW + DAY)
        await key.ask(HOME, "ReplicateKey", ReplicaRegion=EUROPE)
        await key.settle()
        await key.take(EUROPE, material)
        await key.ask(HOME, "UpdatePrimaryRegion", PrimaryRegion=EUROPE)
        parts.clock.now = NOW + DAY
        await key.work(ExpiryJob(parts.office))
        assert await key.state(HOME, EUROPE) == ["Updating", "Updating"]
        await key.settle()
        assert await key.state(HOME, EUROPE) == ["PendingImport", "Enabled"]

    run(test)


def test_a_primary_key_goes_after_its_replica_keys(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, EUROPE, ASIA)
        blob = (await key.ask(HOME, "Encrypt", Plaintext=b"x")).ciphertext_blob
        job = DeletionJob(parts.office, parts.custom_key_stores)
        told = await key.ask(HOME, "ScheduleKeyDeletion", PendingWindowInDays=8)
        assert (told.key_state, told.deletion_date, told.pending_window_in_days) == ("PendingReplicaDeletion", None, 8)
        described = await key.described(HOME)
        assert (described.deletion_date, described.pending_deletion_window_in_days) == (None, 8)
        waiting = f"{key.arn(HOME)} is pending replica deletion."
        assert await key.refused(KMSInvalidState, HOME, "Encrypt", Plaintext=b"x") == waiting
        assert await key.refused(KMSInvalidState, HOME, "ReplicateKey", ReplicaRegion="us-west-2") == waiting
        assert await key.refused(KMSInvalidState, HOME, "ScheduleKeyDeletion") == waiting
        assert (await key.ask(EUROPE, "Decrypt", CiphertextBlob=blob)).plaintext == b"x"
        await key.ask(HOME, "CancelKeyDeletion")
        assert await key.state(HOME) == ["Disabled"]
        await key.ask(HOME, "ScheduleKeyDeletion", PendingWindowInDays=8)
        for region in (EUROPE, ASIA):
            await key.ask(region, "ScheduleKeyDeletion", PendingWindowInDays=7)
        await key.refused(KMSInvalidState, EUROPE, "Decrypt", CiphertextBlob=blob)
        parts.clock.now = NOW + 7 * DAY - 1
        await key.work(job)
        assert await key.state(HOME, EUROPE) == ["PendingReplicaDeletion", "PendingDeletion"]
        parts.clock.now = NOW + 7 * DAY
        await key.work(job)
        for region in (EUROPE, ASIA):
            await key.refused(NotFound, region, "DescribeKey")
        await key.work(job)
        described = await key.described(HOME)
        assert (described.key_state, described.deletion_date) == ("PendingDeletion", NOW + 15 * DAY)
        assert described.pending_deletion_window_in_days is None
        await key.ask(HOME, "CancelKeyDeletion")
        await key.ask(HOME, "EnableKey")
        await key.ask(HOME, "ReplicateKey", ReplicaRegion=EUROPE)
        await key.settle()
        assert (await key.ask(EUROPE, "Decrypt", CiphertextBlob=blob)).plaintext == b"x"
        await key.ask(EUROPE, "ScheduleKeyDeletion", PendingWindowInDays=7)
        parts.clock.now += 7 * DAY
        await key.work(job)
        await key.ask(HOME, "ScheduleKeyDeletion", PendingWindowInDays=7)
        parts.clock.now += 7 * DAY
        await key.work(job)
        await key.refused(NotFound, HOME, "DescribeKey")
        with pytest.raises(AccessDenied):
            await parts.ask_kms("Decrypt", CiphertextBlob=blob)

    run(test)


DELETED, UNUSED = "us-west-2", "eu-north-1"
Changed = Callable[[Multi], Coroutine[Any, Any, Any]]
CHANGES: dict[str, Changed] = {
    "rotation": Multi.rotate,
    "replication": lambda key: key.ask(HOME, "ReplicateKey", ReplicaRegion=ASIA),
    "another replication": lambda key: key.ask(HOME, "ReplicateKey", ReplicaRegion=UNUSED),
    "move of the primary key": lambda key: key.ask(HOME, "UpdatePrimaryRegion", PrimaryRegion=EUROPE),
    "rotation settings": lambda key: key.ask(HOME, "EnableKeyRotation", RotationPeriodInDays=200),
    "deletion of a replica key": lambda key: key.work(DeletionJob(key.parts.office, key.parts.custom_key_stores)),
    "deletion of the primary key": lambda key: key.ask(HOME, "ScheduleKeyDeletion"),
}
"""What is done to a key whose rotation is demanded, and of which the replica key in DELETED is due to be deleted."""


@pytest.mark.parametrize("first", CHANGES)
def test_whatever_comes_between_a_decision_and_its_change_all_regions_agree(
    run: Run, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    async def test(parts: Composed) -> None:
        for second in CHANGES.keys() - {first}:
            key = await ready_for_changes(parts)
            with monkeypatch.context() as patch:
                done = interfere(patch, parts, partial(CHANGES[second], key))
                with suppress(RequestError):  # it may be too late for it now
                    await CHANGES[first](key)
            assert done, (first, second)
            agree(key, f"{first}, then {second}")

    run(test)


async def ready_for_changes(parts: Composed) -> Multi:
    parts.clock.now = NOW
    key = await Multi.new(parts, EUROPE, DELETED)
    await key.ask(HOME, "RotateKeyOnDemand")
    await key.ask(DELETED, "ScheduleKeyDeletion", PendingWindowInDays=7)
    parts.clock.now = NOW + 7 * DAY
    return key


def interfere(patch: pytest.MonkeyPatch, parts: Composed, change: Callable[[], Coroutine[Any, Any, Any]]) -> list[None]:
    """Have something done right before the next commit; return whether it was."""
    storage, loop = parts.opened.storage, asyncio.get_running_loop()
    commit, done = storage.commit, list[None]()

    def after(*arguments: Any) -> Any:  # on a thread of the pool
        if not done:
            done.append(None)
            asyncio.run_coroutine_threadsafe(change(), loop).result()
        return commit(*arguments)

    patch.setattr(storage, "commit", after)
    return done


def agree(key: Multi, told: str) -> None:
    """There is one primary key, every key has the same materials, and a primary key that waits has what to wait for."""
    keys = {one.region: one for one, _ in key.parts.opened.storage.find_all(KmsKey) if one.key_id == key.key_id}
    shared = {
        (one.primary_region, one.current_material_id, one.rotation_period_in_days, one.next_rotation,
         one.on_demand_rotation_start, one.pending_material_id)
        for one in keys.values()
    }  # fmt: skip
    assert len(shared) == 1, told
    (primary, current, *_) = next(iter(shared))
    assert primary in keys, told
    materials: dict[str, list[tuple[Any, ...]]] = {region: [] for region in keys}
    for material, _ in key.parts.opened.storage.find_all(KeyMaterial):
        if material.key_id == key.key_id:
            materials[material.region].append((material.material_id, material.wrapped, material.rotated))
    assert len({tuple(sorted(of_region)) for of_region in materials.values()}) == 1, told
    assert current in [material_id for material_id, *_ in materials[primary]], told
    state = keys[primary].state
    assert state != ("PendingDeletion" if len(keys) > 1 else "PendingReplicaDeletion"), told


def test_a_replica_key_that_is_made_again_was_never_used(run: Run) -> None:
    """A process that looks again only when all is done knows it as it is."""

    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, EUROPE)
        await key.ask(EUROPE, "Encrypt", Plaintext=b"x")
        with ThreadPoolExecutor(2) as pool:
            await UsageJob(parts.state, parts.opened.storage, parts.uses, pool).run(ending=True)
        other = LiveSnapshot(parts.opened.storage, lambda _: "", lambda *_: None)
        identity = (EUROPE, ACCOUNT, key.key_id)
        assert other.fresh().keys[identity].usage is not None
        await key.ask(EUROPE, "ScheduleKeyDeletion", PendingWindowInDays=7)
        parts.clock.now += 7 * DAY
        await key.work(DeletionJob(parts.office, parts.custom_key_stores))
        await key.ask(HOME, "ReplicateKey", ReplicaRegion=EUROPE)
        assert (await key.ask(EUROPE, "GetKeyLastUsage")).key_last_usage.operation is None
        assert other.fresh().keys[identity].usage is None
        assert other.fresh().keys[identity] == parts.state.fresh().keys[identity]

    run(test)


def test_material_that_waits_can_be_taken_back_wherever_the_primary_key_is(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, Origin="EXTERNAL")
        first, second = os.urandom(32), os.urandom(32)
        first_id = await key.take(HOME, first)
        await key.ask(HOME, "ReplicateKey", ReplicaRegion=EUROPE)
        await key.settle()
        await key.take(EUROPE, first)
        second_id = await key.take(HOME, second, ImportType="NEW_KEY_MATERIAL")
        await key.ask(HOME, "UpdatePrimaryRegion", PrimaryRegion=EUROPE)
        await key.settle()
        await key.ask(EUROPE, "DeleteImportedKeyMaterial", KeyMaterialId=second_id)
        for region in (HOME, EUROPE):
            assert [one[0] for one in await key.materials(region)] == [first_id]
        assert await key.take(EUROPE, second, ImportType="NEW_KEY_MATERIAL") == second_id

    run(test)


def test_the_other_region_has_its_own_quota_and_conditions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(parts: Composed) -> None:
        named = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Effect": "Allow", "Resource": "*"}
        only_there = {"StringEquals": {"aws:RequestedRegion": EUROPE}}
        statements = [{**named, "Action": "kms:*", "Condition": only_there}]
        key = await Multi.new(parts)
        await key.ask(HOME, "ReplicateKey", ReplicaRegion=EUROPE, Policy=json.dumps({"Statement": statements}))
        await key.settle()
        await key.refused(MalformedPolicyDocument, HOME, "PutKeyPolicy", Policy=json.dumps({"Statement": statements}))
        other = await Multi.new(parts, ASIA)
        monkeypatch.setattr(keys, "MAX_KEYS", 1)
        limited = await key.refused(LimitExceeded, HOME, "ReplicateKey", ReplicaRegion=ASIA)
        assert limited == f"The account has 1 KMS keys in {ASIA}, the most that it can have."
        await other.ask(HOME, "ReplicateKey", ReplicaRegion=UNUSED)

    run(test)


def test_uses_are_counted_on_when_the_primary_key_moves(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Multi.new(parts, EUROPE)
        storage = parts.opened.storage

        def uses() -> dict[str, int | None]:
            found = storage.find_all(KeyMaterial)
            return {one.region: one.uses for one, _ in found if one.key_id == key.key_id}

        def count(region: str) -> None:
            (material,) = [m for m, _ in storage.find_all(KeyMaterial) if (m.key_id, m.region) == (key.key_id, region)]
            CountedUses(storage).count(material)

        count(EUROPE)
        assert uses() == {HOME: AT_ONCE, EUROPE: None}
        await key.ask(HOME, "UpdatePrimaryRegion", PrimaryRegion=EUROPE)
        await key.settle()
        count(HOME)
        assert uses() == {HOME: AT_ONCE, EUROPE: 2 * AT_ONCE}
        await key.ask(EUROPE, "UpdatePrimaryRegion", PrimaryRegion=HOME)
        assert uses() == {HOME: 2 * AT_ONCE, EUROPE: 2 * AT_ONCE}

    run(test)
