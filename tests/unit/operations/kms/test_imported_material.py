"""The life of imported key material, with a clock that moves (AWS: "Importing key material")."""

import itertools
import secrets
from typing import Any

import pytest
from msgspec.structs import replace

from strongroom.errors import (
    ExpiredImportToken,
    IncorrectKeyMaterial,
    InvalidCiphertext,
    InvalidImportToken,
    KMSInvalidState,
    NotFound,
    UnsupportedOperation,
    Validation,
)
from strongroom.jobs.calendar import Look
from strongroom.jobs.deletion import DeletionJob
from strongroom.jobs.expiry import ExpiryJob
from strongroom.model.erasure import PendingErasure
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.numbered import Numbered
from strongroom.operations.key_material import removal
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Insert, Position, Replace
from tests.composed import DAY, NOW, Composed, Run
from tests.keys import kms_key
from tests.unit.operations.kms.importing import ALGORITHM, Importing

FIRST, SECOND, THIRD = (bytes([n]) * 32 for n in (1, 2, 3))


def test_a_key_waits_for_its_first_material(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        metadata = await key.described()
        assert (metadata.key_state, metadata.enabled, metadata.origin) == ("PendingImport", False, "EXTERNAL")
        told = (metadata.current_key_material_id, metadata.expiration_model, metadata.valid_to)
        assert told == (None, None, None)
        assert key.parameters.parameters_valid_to == NOW + DAY
        assert await key.materials() == []
        assert await key.refused(KMSInvalidState, "Encrypt", Plaintext=b"x") == f"{key.arn} is pending import."
        deleted = await key.ask("DeleteImportedKeyMaterial")
        assert (deleted.key_id, deleted.key_material_id) == (key.arn, None)

        material_id = await key.take(FIRST, ValidTo=NOW + 1)
        metadata = await key.described()
        assert (metadata.key_state, metadata.current_key_material_id) == ("Enabled", material_id)
        assert (metadata.expiration_model, metadata.valid_to) == ("KEY_MATERIAL_EXPIRES", NOW + 1)
        assert await key.materials() == [(material_id, "CURRENT", "IMPORTED", "KEY_MATERIAL_EXPIRES", NOW + 1)]
        decrypted = await key.ask("Decrypt", CiphertextBlob=(await key.ask("Encrypt", Plaintext=b"x")).ciphertext_blob)
        assert decrypted.key_material_id == material_id

    run(test)


def test_material_expires_and_the_same_comes_back(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        material_id = await key.take(FIRST, ValidTo=NOW + 100)
        blob = (await key.ask("Encrypt", Plaintext=b"plaintext")).ciphertext_blob

        parts.clock.now = NOW + 99.9
        await key.expire()
        assert await key.state() == "Enabled"
        parts.clock.now = NOW + 100
        job = ExpiryJob(parts.office)
        assert await job.run(Look(parts.clock.now, "the clock is ahead")) == (
            "expired key material waits to be deleted until `strongroom confirm-time`: the clock is ahead"
        )
        assert await key.state() == "Enabled"
        await key.expire()

        metadata = await key.described()
        assert (metadata.key_state, metadata.current_key_material_id) == ("PendingImport", material_id)
        assert (metadata.expiration_model, metadata.valid_to) == (None, None)
        assert await key.materials() == [(material_id, "CURRENT", "PENDING_IMPORT", None, None)]
        await key.refused(KMSInvalidState, "Decrypt", CiphertextBlob=blob)
        (event,) = [one for one in parts.records("AwsServiceEvent") if one["eventName"] == "DeleteExpiredKeyMaterial"]
        assert event["serviceEventDetails"] == {"keyId": key.key_id, "keyMaterialId": material_id}
        assert event["resources"] == [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": key.arn}]
        before = await key.everything()
        await key.expire()
        assert await key.everything() == before  # once is enough

        await key.refused(IncorrectKeyMaterial, "take", material=SECOND)
        assert await key.take(FIRST) == material_id
        metadata = await key.described()
        assert (metadata.key_state, metadata.expiration_model) == ("Enabled", "KEY_MATERIAL_DOES_NOT_EXPIRE")
        assert (await key.ask("Decrypt", CiphertextBlob=blob)).plaintext == b"plaintext"

    run(test)


def test_what_is_deleted_is_erased(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        await key.take(FIRST)
        await key.ask("Encrypt", Plaintext=b"x")
        opened = parts.key_store._symmetric._kept  # type: ignore[attr-defined]
        assert len(opened) == 1
        (stored,) = [one.record for one in parts.opened.storage.load().records if hasattr(one.record, "wrapped")
                     and getattr(one.record, "key_id", None) == key.key_id]  # fmt: skip
        in_use = stored.wrapped
        files = [path for path in parts.opened.config.data.rglob("*") if path.is_file()]
        assert any(in_use in path.read_bytes() for path in files)
        await key.ask("DeleteImportedKeyMaterial")
        job = DeletionJob(parts.office, parts.custom_key_stores)
        for _ in range(2):
            await job.run(Look(NOW, None))
        assert not any(in_use in path.read_bytes() for path in files if path.exists())
        assert parts.state.fresh().erasures == {}
        assert len(opened) == 0  # nor in memory

    run(test)


def test_new_material_waits_for_a_rotation(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        first = await key.take(FIRST, KeyMaterialDescription="the first")
        old = (await key.ask("Encrypt", Plaintext=b"old")).ciphertext_blob
        none = f"No available key material pending rotation for the key: {key.arn}."
        assert await key.refused(KMSInvalidState, "RotateKeyOnDemand") == none

        await key.refused(IncorrectKeyMaterial, "take", material=SECOND)  # of what exists, unless it is said
        await key.refused(IncorrectKeyMaterial, "take", material=FIRST, ImportType="NEW_KEY_MATERIAL")
        second = await key.take(SECOND, ImportType="NEW_KEY_MATERIAL", ValidTo=NOW + 50)
        assert await key.materials() == [
            (first, "CURRENT", "IMPORTED", "KEY_MATERIAL_DOES_NOT_EXPIRE", None),
            (second, "PENDING_ROTATION", "IMPORTED", "KEY_MATERIAL_EXPIRES", NOW + 50),
        ]
        metadata = await key.described()
        assert (metadata.expiration_model, metadata.valid_to) == ("KEY_MATERIAL_DOES_NOT_EXPIRE", None)
        text = await key.refused(KMSInvalidState, "take", material=THIRD, ImportType="NEW_KEY_MATERIAL")
        start = "New key material (id: "
        assert text is not None
        assert text.startswith(start)
        third = text.removeprefix(start)[:64]
        assert third not in (first, second)
        assert text == (
            f"New key material (id: {third}) cannot be imported into KMS key {key.arn}, because another key material "
            f"(id: {second}) is pending rotation."
        )
        assert (await key.ask("Decrypt", CiphertextBlob=old)).key_material_id == first

        assert await key.take(SECOND) == second  # known now: its date is another one
        await key.rotate()
        assert [state for _, state, *_ in await key.materials()] == ["NON_CURRENT", "CURRENT"]
        assert (await key.described()).current_key_material_id == second
        decrypted = await key.ask("Decrypt", CiphertextBlob=old)
        assert (decrypted.plaintext, decrypted.key_material_id) == (b"old", first)
        new = (await key.ask("Encrypt", Plaintext=b"new")).ciphertext_blob
        assert (await key.ask("Decrypt", CiphertextBlob=new)).key_material_id == second

        # Any material that the key needs, and is not there, makes it unusable.
        deleted = await key.ask("DeleteImportedKeyMaterial", KeyMaterialId=first)
        assert deleted.key_material_id == first
        assert await key.state() == "PendingImport"
        await key.refused(KMSInvalidState, "Decrypt", CiphertextBlob=new)
        await key.ask("DeleteImportedKeyMaterial")
        assert await key.take(SECOND) == second
        assert await key.state() == "PendingImport"
        assert await key.take(FIRST, KeyMaterialId=first) == first
        assert await key.state() == "Enabled"
        listed = (await key.ask("ListKeyRotations", IncludeKeyMaterial="ALL_KEY_MATERIAL")).rotations
        assert [(e.key_material_description, e.rotation_type) for e in listed] == [
            ("the first", None),
            (None, "ON_DEMAND"),
        ]

    run(test)


def test_material_that_waits_can_go_without_harm(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        first = await key.take(FIRST)
        second = await key.take(SECOND, ImportType="NEW_KEY_MATERIAL")
        await key.ask("RotateKeyOnDemand")
        await key.ask("DeleteImportedKeyMaterial", KeyMaterialId=second)
        assert (await key.ask("GetKeyRotationStatus")).on_demand_rotation_start_date is None
        assert await key.state() == "Enabled"
        assert [material_id for material_id, *_ in await key.materials()] == [first]

        await key.take(THIRD, ImportType="NEW_KEY_MATERIAL", ValidTo=NOW + 5)
        await key.ask("RotateKeyOnDemand")
        parts.clock.now = NOW + 5
        await key.expire()
        assert (await key.state(), [one[0] for one in await key.materials()]) == ("Enabled", [first])
        await key.take(SECOND, ImportType="NEW_KEY_MATERIAL")
        await key.rotate()
        assert (await key.described()).current_key_material_id == second

    run(test)


def test_a_description_stays_until_another_is_given(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)

        async def description() -> str | None:
            (entry,) = (await key.ask("ListKeyRotations", IncludeKeyMaterial="ALL_KEY_MATERIAL")).rotations
            told: str | None = entry.key_material_description
            return told

        await key.take(FIRST, KeyMaterialDescription="first of 2026")
        await key.take(FIRST)
        assert await description() == "first of 2026"
        await key.ask("DeleteImportedKeyMaterial")
        assert await description() == "first of 2026"
        await key.take(FIRST, KeyMaterialDescription="another")
        assert await description() == "another"

    run(test)


def test_asymmetric_and_hmac_keys_take_one_material_for_ever(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
        for member, value in (
            ("ImportType", "NEW_KEY_MATERIAL"),
            ("KeyMaterialDescription", "text"),
            ("KeyMaterialId", "ab" * 32),
        ):
            text = await key.refused(Validation, "take", material=FIRST, **{member: value})
            assert text == f"{member} can only be specified for symmetric encryption KMS keys."
        assert await key.take(FIRST) == "None"
        metadata = await key.described()
        assert (metadata.key_state, metadata.current_key_material_id) == ("Enabled", None)
        assert metadata.expiration_model == "KEY_MATERIAL_DOES_NOT_EXPIRE"
        mac = (await key.ask("GenerateMac", Message=b"m", MacAlgorithm="HMAC_SHA_256")).mac
        await key.refused(IncorrectKeyMaterial, "take", material=SECOND)
        assert (await key.ask("DeleteImportedKeyMaterial")).key_material_id is None
        await key.refused(IncorrectKeyMaterial, "take", material=SECOND)
        await key.take(FIRST, ValidTo=NOW + 1)
        assert (await key.ask("GenerateMac", Message=b"m", MacAlgorithm="HMAC_SHA_256")).mac == mac
        await key.refused(UnsupportedOperation, "RotateKeyOnDemand")

    run(test)


def test_tokens_are_for_one_key_and_a_day(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key, other = await Importing.new(parts), await Importing.new(parts)
        token = key.parameters.import_token
        forged = [b"x", bytes(300), secrets.token_bytes(len(token)), token[:-1], token + b"\0", b"\0\0\0\2" + token[4:]]
        forged += [token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :] for at in (0, 3, 4, 40, len(token) - 1)]
        for bad in (*forged, other.parameters.import_token):
            assert await key.refused(InvalidImportToken, "take", material=FIRST, ImportToken=bad) is None
        await key.refused(InvalidCiphertext, "take", material=FIRST, EncryptedKeyMaterial=bytes(256))
        await key.refused(IncorrectKeyMaterial, "take", material=FIRST[1:])
        material_id = await key.take(FIRST)  # what failed before did the token no harm
        parts.clock.now = NOW + DAY - 0.001
        assert await key.take(FIRST) == material_id
        parts.clock.now = NOW + DAY
        assert await key.refused(ExpiredImportToken, "take", material=FIRST) is None

    run(test)


def test_dates_that_material_cannot_expire_on(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        wrong = "The validTo date must be in the future, and not more than 365 days from now."
        for valid_to in (NOW, NOW - 1, 0, -5, NOW + 365 * DAY + 1, 1e15, 1e17, -1e18, 1e300):
            assert await key.refused(Validation, "take", material=FIRST, ValidTo=valid_to) == wrong
            assert parts.records()[-1]["errorMessage"] == wrong
            assert "validTo" in parts.records()[-1]["requestParameters"]
        without = await key.refused(Validation, "take", material=FIRST, ExpirationModel="KEY_MATERIAL_EXPIRES")
        assert without == "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
        model = "KEY_MATERIAL_DOES_NOT_EXPIRE"
        both = await key.refused(Validation, "take", material=FIRST, ExpirationModel=model, ValidTo=NOW + 5)
        assert both == f"A validTo date cannot be set if the ExpirationModel is {model}"
        await key.take(FIRST, ValidTo=NOW + 365 * DAY)

    run(test)


def test_what_is_said_of_material_must_be_true(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        existing: dict[str, Any] = {"material": FIRST, "ImportType": "EXISTING_KEY_MATERIAL"}
        await key.refused(IncorrectKeyMaterial, "take", **existing)
        await key.refused(IncorrectKeyMaterial, "take", material=FIRST, KeyMaterialId="ab" * 32)
        first = await key.take(FIRST)
        await key.refused(IncorrectKeyMaterial, "take", KeyMaterialId="ab" * 32, **existing)
        await key.refused(IncorrectKeyMaterial, "take", material=SECOND, KeyMaterialId=first)
        await key.refused(
            Validation, "take", material=SECOND, ImportType="NEW_KEY_MATERIAL", KeyMaterialId=first
        )  # fmt: skip
        assert await key.take(KeyMaterialId=first, **existing) == first
        text = await key.refused(NotFound, "DeleteImportedKeyMaterial", KeyMaterialId="ab" * 32)
        assert text == f"Key material '{'ab' * 32}' does not exist for key '{key.arn}'"

    run(test)


@pytest.mark.parametrize("operation", ["GetParametersForImport", "ImportKeyMaterial", "DeleteImportedKeyMaterial"])
def test_keys_made_here_import_nothing(run: Run, operation: str) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        made = (await parts.ask_kms("CreateKey")).key_metadata
        members: dict[str, Any] = {
            "GetParametersForImport": {"WrappingAlgorithm": ALGORITHM, "WrappingKeySpec": "RSA_2048"},
            "ImportKeyMaterial": {
                "ImportToken": key.parameters.import_token,
                "EncryptedKeyMaterial": b"x",
                "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
            },
        }.get(operation, {})
        with pytest.raises(UnsupportedOperation) as refused:
            await parts.ask_kms(operation, KeyId=made.key_id, **members)
        assert refused.value.message == f"{made.arn} origin is AWS_KMS which is not valid for this operation."

    run(test)


@pytest.mark.parametrize(
    ("key_spec", "algorithm", "wrapping_key_spec"),
    [
        ("RSA_2048", "RSAES_OAEP_SHA_256", "RSA_4096"),
        ("ECC_NIST_P521", "RSAES_OAEP_SHA_1", "RSA_2048"),
        ("SYMMETRIC_DEFAULT", "RSAES_PKCS1_V1_5", "RSA_2048"),
    ],
)
def test_wrappings_that_do_not_hold_the_material(
    run: Run, key_spec: str, algorithm: str, wrapping_key_spec: str
) -> None:
    async def test(parts: Composed) -> None:
        usage = "ENCRYPT_DECRYPT" if key_spec == "SYMMETRIC_DEFAULT" else "SIGN_VERIFY"
        made = await parts.ask_kms("CreateKey", Origin="EXTERNAL", KeySpec=key_spec, KeyUsage=usage)
        asked = {"WrappingAlgorithm": algorithm, "WrappingKeySpec": wrapping_key_spec}
        with pytest.raises(UnsupportedOperation):
            await parts.ask_kms("GetParametersForImport", KeyId=made.key_metadata.key_id, **asked)

    run(test)


def test_deletion_and_the_states_of_imported_keys(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        await key.ask("ScheduleKeyDeletion")
        await key.ask("CancelKeyDeletion")
        assert await key.state() == "PendingImport"
        await key.take(FIRST, ValidTo=NOW + 10)
        await key.ask("DisableKey")
        await key.take(FIRST, ValidTo=NOW + 10)
        assert await key.state() == "Disabled"
        await key.ask("ScheduleKeyDeletion")
        text = await key.refused(KMSInvalidState, "take", material=FIRST)
        assert text == f"{key.arn} is pending deletion."
        parts.clock.now = NOW + 10
        await key.expire()
        assert await key.state() == "PendingDeletion"
        await key.ask("CancelKeyDeletion")
        assert await key.state() == "PendingImport"
        await key.take(FIRST)
        assert await key.state() == "Enabled"
        await key.ask("ScheduleKeyDeletion")
        await key.ask("CancelKeyDeletion")
        assert await key.state() == "Disabled"

    run(test)


def test_no_public_key_before_the_first_import(run: Run) -> None:
    async def test(parts: Composed) -> None:
        made = await parts.ask_kms("CreateKey", Origin="EXTERNAL", KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
        with pytest.raises(KMSInvalidState) as refused:
            await parts.ask_kms("GetPublicKey", KeyId=made.key_metadata.key_id)
        assert refused.value.message == f"{made.key_metadata.arn} is pending import."

    run(test)


def test_what_the_audit_log_says_of_imports(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        material_id = await key.take(FIRST, ValidTo=NOW + 100, KeyMaterialDescription="text")
        await key.ask("DeleteImportedKeyMaterial")
        asked, imported, deleted = parts.records()[-3:]
        assert (asked["eventName"], asked["readOnly"]) == ("GetParametersForImport", True)
        assert asked["requestParameters"] == {
            "keyId": key.key_id, "wrappingAlgorithm": ALGORITHM, "wrappingKeySpec": "RSA_2048",
        }  # fmt: skip
        assert (imported["eventName"], imported["readOnly"]) == ("ImportKeyMaterial", False)
        assert imported["requestParameters"] == {
            "keyId": key.key_id, "expirationModel": "KEY_MATERIAL_EXPIRES", "validTo": "Sep 21, 2026, 2:15:00 PM",
            "keyMaterialDescription": "text",
        }  # fmt: skip
        assert imported["responseElements"] == {"keyId": key.arn, "keyMaterialId": material_id}
        assert deleted["responseElements"] == {"keyId": key.arn, "keyMaterialId": material_id}
        assert deleted["requestParameters"] == {"keyId": key.key_id}

    run(test)


def test_two_who_import_at_once_are_told_the_truth(run: Run) -> None:
    """A change between reading and writing is seen: the import is decided again."""

    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        await key.take(FIRST)
        store, storage = parts.key_store.import_material, parts.opened.storage
        interfered: list[int] = []

        def interfering(*arguments: Any, **members: Any) -> Any:
            if not interfered:
                interfered.append(1)
                stored = storage.find(KmsKey, ("111122223333", "us-east-1", key.key_id))
                assert stored is not None
                storage.commit([Replace(*stored)], None)
            return store(*arguments, **members)

        parts.key_store.import_material = interfering  # type: ignore[method-assign]
        second = await key.take(SECOND, ImportType="NEW_KEY_MATERIAL")
        assert [one[0] for one in await key.materials()][1:] == [second]

    run(test)


def test_what_a_deletion_leaves_of_material() -> None:
    """The wrapped bytes go, those for the recovery key's holder too; what is needed when it comes back stays."""
    material = KeyMaterial(
        "111122223333", "us-east-1", "key", "ab" * 32, 2, "hsm", 3, b"wrapped", 1.0, None, 7, b"recovery", "text",
        NOW + 5, NOW, "ON_DEMAND",
    )  # fmt: skip
    key = replace(kms_key(key_id="key"), current_material_id="ab" * 32, origin="EXTERNAL")
    entry = KeyEntry(key, 4, {"ab" * 32: Numbered(material, 4)})
    left, changed, noted = removal(Snapshot(Position(4, b"")), entry, "ab" * 32, NOW)
    assert left == Replace(replace(material, wrapped=b"", recovery=None, valid_to=None), 4)
    assert changed == Replace(replace(key, state="PendingImport"), 4)
    assert noted == Insert(PendingErasure("111122223333", "us-east-1", "key", NOW))


def test_material_that_comes_back_has_been_used_as_often_as_before(run: Run) -> None:
    """A token that encrypts with AES-GCM itself must not encrypt too often with one key."""

    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        material_id = await key.take(FIRST)
        name = ("111122223333", "us-east-1", key.key_id, material_id)
        for again in (False, True):
            stored = parts.opened.storage.find(KeyMaterial, name)
            assert stored is not None
            assert stored[0].uses == (7 if again else None)
            parts.opened.storage.commit([Replace(replace(stored[0], uses=7), stored[1])], None)
            await key.take(FIRST)
            await key.ask("DeleteImportedKeyMaterial")
            await key.take(FIRST)

    run(test)


def test_each_deletion_is_noted_anew(run: Run) -> None:
    """An erasure that began before must not drop the note of what was deleted since."""

    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        first = await key.take(FIRST)
        await key.take(SECOND, ImportType="NEW_KEY_MATERIAL")
        await key.rotate()
        await key.ask("DeleteImportedKeyMaterial", KeyMaterialId=first)
        ((_, before),) = parts.state.fresh().erasures.values()
        await key.ask("DeleteImportedKeyMaterial")
        ((_, after),) = parts.state.fresh().erasures.values()
        assert after > before

    run(test)


def test_erasing_for_imported_material_rests(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up all others, and whoever may delete material can ask for it as often as they like."""

    async def test(parts: Composed) -> None:
        erased: list[float] = []
        erase = parts.opened.storage.erase
        moment = [0.0]

        def noticed() -> None:
            erased.append(moment[0])
            erase()

        monkeypatch.setattr(parts.opened.storage, "erase", noticed)
        key, doomed = await Importing.new(parts), await Importing.new(parts)
        jobs = [DeletionJob(parts.office, parts.custom_key_stores, lambda: moment[0]) for _ in range(3)]

        async def look(at: float, now: float = NOW) -> None:
            moment[0] = at
            parts.clock.now = NOW + at - 1_000
            for job in jobs:
                await job.run(Look(now, None))

        for at in range(1_000, 2_400, 20):
            await key.take(FIRST)
            await key.ask("DeleteImportedKeyMaterial")
            await look(at)
            await look(at + 2)
        assert erased[0] == 1_002
        assert len(erased) in (2, 3)
        assert all(600 <= after - before <= 740 for before, after in itertools.pairwise(erased))
        assert len(parts.state.fresh().erasures) == 1

        await doomed.ask("ScheduleKeyDeletion", PendingWindowInDays=7)
        await look(2_410, NOW + 8 * DAY)  # a key that is gone waits for nothing
        assert erased[-1] == 2_410
        assert parts.state.fresh().erasures == {}

    run(test)


def test_a_token_of_another_key_store_is_none(run: Run) -> None:
    """After a move to another HSM its keys do not open: whoever has such a token needs another."""

    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        tokens = parts.opened.domain_keys.seals.import_tokens
        held = tokens.open(key.parameters.import_token)
        elsewhere = replace(held, import_key=replace(held.import_key, key_store="elsewhere"))
        await key.refused(InvalidImportToken, "take", material=FIRST, ImportToken=tokens.seal(elsewhere))

    run(test)


def test_without_its_current_material_a_key_tells_of_no_expiry(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Importing.new(parts)
        await key.take(FIRST, ValidTo=NOW + 90)
        await key.take(SECOND, ImportType="NEW_KEY_MATERIAL")
        await key.rotate()
        metadata = await key.described()
        assert (metadata.expiration_model, metadata.valid_to) == ("KEY_MATERIAL_EXPIRES", NOW + 90)
        await key.ask("DeleteImportedKeyMaterial")
        metadata = await key.described()
        assert (metadata.expiration_model, metadata.valid_to) == (None, None)

    run(test)


def test_no_key_waits_for_material_that_the_key_store_would_not_take(run: Run) -> None:
    async def test(parts: Composed) -> None:
        def refuse(key_spec: str, key_usage: str) -> None:
            raise UnsupportedOperation(f"{key_spec} {key_usage}")

        parts.key_store.check_kind = refuse  # type: ignore[method-assign]
        with pytest.raises(UnsupportedOperation) as refused:
            await parts.ask_kms("CreateKey", Origin="EXTERNAL", KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
        assert refused.value.message == "RSA_2048 SIGN_VERIFY"
        assert parts.state.fresh().keys == {}
        await parts.ask_kms("CreateKey")

    run(test)
