"""Rotation of key material, with a clock that moves (AWS: "Rotate AWS KMS keys")."""

from typing import Any

import pytest
from msgspec.structs import replace

from strongroom.errors import (
    Conflict,
    Disabled,
    InvalidMarker,
    KMSInternal,
    KMSInvalidState,
    LimitExceeded,
    RequestError,
    UnsupportedOperation,
    Validation,
)
from strongroom.jobs.calendar import Look
from strongroom.jobs.rotation import RotationJob
from strongroom.model.key import KmsKey
from strongroom.storage.contract import Insert, Replace
from tests.composed import DAY, NOW, Composed, Run

YEAR = 365 * DAY


class Rotating:
    """A key that rotates."""

    def __init__(self, parts: Composed, key_id: str, arn: str) -> None:
        self.parts, self.key_id, self.arn = parts, key_id, arn

    @classmethod
    async def new(cls, parts: Composed, **members: Any) -> "Rotating":
        made = (await parts.ask_kms("CreateKey", **members)).key_metadata
        return cls(parts, made.key_id, made.arn)

    async def ask(self, operation: str, **members: Any) -> Any:
        return await self.parts.ask_kms(operation, KeyId=self.key_id, **members)

    async def look(self, now: float, doubtful: str | None = None) -> str | None:
        """Have the job look at the calendar at some time."""
        self.parts.clock.now = now
        return await RotationJob(self.parts.office, self.parts.key_store).run(Look(now, doubtful))

    async def status(self) -> tuple[bool, int | None, float | None, float | None]:
        told = await self.ask("GetKeyRotationStatus")
        assert told.key_id == self.key_id
        return (
            told.key_rotation_enabled,
            told.rotation_period_in_days,
            told.next_rotation_date,
            told.on_demand_rotation_start_date,
        )

    async def rotations(self, **members: Any) -> list[tuple[str, float | None, str | None]]:
        listed = await self.ask("ListKeyRotations", **members)
        assert all(entry.key_id == self.key_id for entry in listed.rotations)
        return [(entry.key_material_id, entry.rotation_date, entry.rotation_type) for entry in listed.rotations]

    async def current(self) -> str:
        return str((await self.ask("DescribeKey")).key_metadata.current_key_material_id)

    async def encrypt(self) -> tuple[str, bytes]:
        """A ciphertext and the material that made it."""
        return await self.current(), (await self.ask("Encrypt", Plaintext=b"plaintext")).ciphertext_blob

    async def refused(self, error: type[RequestError], operation: str, **members: Any) -> str | None:
        with pytest.raises(error) as caught:
            await self.ask(operation, **members)
        return caught.value.message


def test_a_key_is_rotated_when_its_period_is_over(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        assert await key.status() == (False, None, None, None)
        made = [await key.encrypt()]
        await key.ask("EnableKeyRotation")
        assert await key.status() == (True, 365, NOW + YEAR, None)
        await key.look(NOW + YEAR - 1)
        assert await key.rotations() == []
        now = NOW + YEAR
        for number in range(3):
            assert await key.look(now) is None
            made.append(await key.encrypt())
            assert await key.status() == (True, 365, now + YEAR, None)
            assert await key.look(now + YEAR - 1) is None
            assert len(await key.rotations()) == number + 1
            now += YEAR
        rotated = [(made[n][0], NOW + n * YEAR, "AUTOMATIC") for n in (1, 2, 3)]
        assert await key.rotations() == rotated
        assert await key.rotations(IncludeKeyMaterial="ALL_KEY_MATERIAL") == [(made[0][0], None, None), *rotated]
        for material_id, blob in made:
            decrypted = await key.ask("Decrypt", CiphertextBlob=blob)
            assert (decrypted.plaintext, decrypted.key_material_id) == (b"plaintext", material_id)
        assert parts.office.events == {"RotateKey": 3}
        events = [event for event in parts.records("AwsServiceEvent") if event["eventName"] == "RotateKey"]
        assert [event["serviceEventDetails"] for event in events] == [
            {
                "keyId": key.key_id,
                "rotationType": "AUTOMATIC",
                "keyOrigin": "AWS_KMS",
                "previousKeyMaterialId": made[n][0],
                "currentKeyMaterialId": made[n + 1][0],
            }
            for n in range(3)
        ]

    run(test)


def test_what_became_due_while_nobody_looked_is_done_once(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        await key.ask("EnableKeyRotation", RotationPeriodInDays=90)
        later = NOW + 5 * 90 * DAY + 7
        await key.look(later)
        await key.look(later)
        assert [date for _, date, _ in await key.rotations()] == [later]
        assert await key.status() == (True, 90, later + 90 * DAY, None)

    run(test)


def test_a_clock_in_doubt_rotates_nothing_by_date(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key, other = await Rotating.new(parts), await Rotating.new(parts)
        await key.ask("EnableKeyRotation")
        text = "KMS keys wait to be rotated until `strongroom confirm-time`: it jumped"
        assert await key.look(NOW + 2 * YEAR, "it jumped") == text
        assert await key.rotations() == []
        await other.ask("RotateKeyOnDemand")
        assert await key.look(NOW + 2 * YEAR, "it jumped") == text
        assert len(await other.rotations()) == 1  # that somebody demands it needs no clock
        assert await key.look(NOW + YEAR) is None
        assert len(await key.rotations()) == 1

    run(test)


def test_enabling_anew_begins_anew(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        await key.ask("EnableKeyRotation", RotationPeriodInDays=2560)
        assert await key.status() == (True, 2560, NOW + 2560 * DAY, None)
        parts.clock.now = NOW + DAY
        await key.ask("EnableKeyRotation", RotationPeriodInDays=90)
        assert await key.status() == (True, 90, NOW + 91 * DAY, None)
        await key.ask("DisableKeyRotation")
        await key.ask("DisableKeyRotation")
        assert await key.status() == (False, None, None, None)
        await key.look(NOW + YEAR)
        assert await key.rotations() == []
        for days in (89, 2561, 0, -1):
            await key.refused(Validation, "EnableKeyRotation", RotationPeriodInDays=days)

    run(test)


def test_a_disabled_key_is_rotated_when_it_is_enabled(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        await key.ask("EnableKeyRotation")
        await key.ask("DisableKey")
        text = f"{key.arn} is disabled."
        for operation in ("EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"):
            assert await key.refused(Disabled, operation) == text
        await key.look(NOW + 3 * YEAR)
        assert await key.rotations() == []
        assert await key.status() == (True, 365, NOW + YEAR, None)
        await key.ask("EnableKey")
        await key.look(NOW + 3 * YEAR)
        assert [date for _, date, _ in await key.rotations()] == [NOW + 3 * YEAR]

    run(test)


def test_a_key_that_is_to_be_deleted_rotates_no_more_until_it_is_saved(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        await key.ask("EnableKeyRotation", RotationPeriodInDays=100)
        await key.ask("ScheduleKeyDeletion")
        assert await key.status() == (False, None, None, None)
        await key.look(NOW + YEAR)
        assert await key.rotations() == []
        await key.ask("CancelKeyDeletion")
        assert await key.status() == (True, 100, NOW + 100 * DAY, None)

    run(test)


def test_a_rotation_on_demand_leaves_the_schedule(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        await key.ask("EnableKeyRotation")
        first = await key.encrypt()
        parts.clock.now = NOW + 100
        assert (await key.ask("RotateKeyOnDemand")).key_id == key.arn
        assert await key.status() == (True, 365, NOW + YEAR, NOW + 100)
        assert await key.current() == first[0]  # it is only asked for
        assert await key.refused(Conflict, "RotateKeyOnDemand") == f"A rotation of {key.arn} is in progress."
        await key.look(NOW + 103)
        second = await key.encrypt()
        assert await key.status() == (True, 365, NOW + YEAR, None)
        assert await key.rotations() == [(second[0], NOW + 103, "ON_DEMAND")]
        assert second[0] != first[0]
        await key.look(NOW + YEAR)
        assert [kind for *_, kind in await key.rotations()] == ["ON_DEMAND", "AUTOMATIC"]
        for material_id, blob in (first, second):
            assert (await key.ask("Decrypt", CiphertextBlob=blob)).key_material_id == material_id

    run(test)


def test_disabling_rotation_stops_none_that_is_in_progress(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        await key.ask("RotateKeyOnDemand")
        await key.ask("DisableKeyRotation")
        assert await key.status() == (False, None, None, NOW)
        await key.ask("DisableKey")
        await key.look(NOW + 1)
        assert await key.rotations() == []
        await key.ask("EnableKey")
        await key.look(NOW + 2)
        assert [date for _, date, _ in await key.rotations()] == [NOW + 2]

    run(test)


def test_none_can_be_demanded_shortly_before_an_automatic_one(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        await key.ask("EnableKeyRotation")
        parts.clock.now = NOW + YEAR - 1200
        text = f"An automatic rotation of {key.arn} is in progress or begins within the next 20 minutes."
        assert await key.refused(Conflict, "RotateKeyOnDemand") == text
        parts.clock.now = NOW + YEAR - 1201
        await key.ask("RotateKeyOnDemand")

    run(test)


def test_a_key_has_25_rotations_on_demand(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        made = [await key.encrypt()]
        for number in range(25):
            await key.ask("RotateKeyOnDemand")
            await key.look(NOW + number)
            made.append(await key.encrypt())
        assert await key.refused(LimitExceeded, "RotateKeyOnDemand") == (
            "The on-demand rotations limit has been reached for the given keyId. "
            f"No more on-demand rotations can be performed for this key: {key.arn}"
        )
        await key.ask("EnableKeyRotation")
        await key.look(NOW + 2 * YEAR)
        made.append(await key.encrypt())
        assert len({material_id for material_id, _ in made}) == 27
        for material_id, blob in made:
            assert (await key.ask("Decrypt", CiphertextBlob=blob)).key_material_id == material_id

        told = await pages(key, Limit=4)
        assert told == [material_id for material_id, _ in made[1:]]
        assert await pages(key, Limit=10, IncludeKeyMaterial="ALL_KEY_MATERIAL") == [one for one, _ in made]

    run(test)


async def pages(key: Rotating, **members: Any) -> list[str]:
    """The ids of a list that is told page by page."""
    told: list[str] = []
    marker = None
    while True:
        page = await key.ask("ListKeyRotations", **members, **({} if marker is None else {"Marker": marker}))
        assert len(page.rotations) <= members["Limit"]
        told += [entry.key_material_id for entry in page.rotations]
        assert page.truncated is (page.next_marker is not None)
        if not page.truncated:
            return told
        marker = page.next_marker


def test_markers_are_for_one_list(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key, other = await Rotating.new(parts), await Rotating.new(parts)
        for number in range(2):
            for one in (key, other):
                await one.ask("RotateKeyOnDemand")
            await key.look(NOW + number)
        marker = (await key.ask("ListKeyRotations", Limit=1)).next_marker
        assert len((await key.ask("ListKeyRotations", Limit=1, Marker=marker)).rotations) == 1
        await other.refused(InvalidMarker, "ListKeyRotations", Marker=marker)
        await key.refused(InvalidMarker, "ListKeyRotations", Marker=marker, IncludeKeyMaterial="ALL_KEY_MATERIAL")
        await key.refused(InvalidMarker, "ListKeyRotations", Marker="bm9uc2Vuc2U=")
        await key.refused(Validation, "ListKeyRotations", Limit=1001)

    run(test)


@pytest.mark.parametrize(
    ("key_spec", "key_usage"), [("HMAC_256", "GENERATE_VERIFY_MAC"), ("ECC_NIST_P256", "SIGN_VERIFY")]
)
def test_asymmetric_and_hmac_keys_do_not_rotate(run: Run, key_spec: str, key_usage: str) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts, KeySpec=key_spec, KeyUsage=key_usage)
        for operation in ("EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"):
            assert await key.refused(UnsupportedOperation, operation) is None
        await key.refused(UnsupportedOperation, "ListKeyRotations", IncludeKeyMaterial="ALL_KEY_MATERIAL")
        assert await key.rotations() == []
        assert await key.status() == (False, None, None, None)

    run(test)


def test_imported_keys_do_not_rotate_by_themselves(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts, Origin="EXTERNAL")
        text = f"{key.arn} origin is EXTERNAL which is not valid for this operation."
        for operation in ("EnableKeyRotation", "DisableKeyRotation", "GetKeyRotationStatus"):
            assert await key.refused(UnsupportedOperation, operation) == text
        assert await key.refused(KMSInvalidState, "RotateKeyOnDemand") == f"{key.arn} is pending import."
        rsa = await Rotating.new(parts, Origin="EXTERNAL", KeySpec="RSA_4096", KeyUsage="SIGN_VERIFY")
        assert await rsa.refused(KMSInvalidState, "RotateKeyOnDemand") == f"{rsa.arn} is pending import."

    run(test)


def test_of_two_who_rotate_at_once_one_finds_it_done(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        await key.ask("EnableKeyRotation")
        jobs = [RotationJob(parts.office, parts.key_store) for _ in range(2)]
        generate = parts.key_store.generate
        rivals: list[int] = []

        def meanwhile(*arguments: Any, **members: Any) -> Any:
            """The other process rotates while this one makes its material."""
            made = generate(*arguments, **members)
            if not rivals:
                rivals.append(1)
                storage = parts.opened.storage
                stored = storage.find(KmsKey, ("111122223333", "us-east-1", key.key_id))
                assert stored is not None
                rival = replace(made, material_id="ab" * 32, rotated=NOW + YEAR, rotation_type="AUTOMATIC")
                rotated = replace(stored[0], current_material_id="ab" * 32, next_rotation=NOW + 2 * YEAR)
                storage.commit([Insert(rival), Replace(rotated, stored[1])], None)
            return made

        parts.key_store.generate = meanwhile  # type: ignore[method-assign]
        for job in jobs:
            assert await job.run(Look(NOW + YEAR, None)) is None
        assert await key.rotations() == [("ab" * 32, NOW + YEAR, "AUTOMATIC")]
        told = [event["eventName"] for event in parts.records("AwsServiceEvent")]
        assert "RotateKey" not in told  # the other's record is the other's

    run(test)


def test_a_key_that_cannot_be_rotated_holds_up_no_other(run: Run) -> None:
    async def test(parts: Composed) -> None:
        keys = sorted([await Rotating.new(parts) for _ in range(3)], key=lambda key: key.key_id)
        for key in keys:
            await key.ask("RotateKeyOnDemand")
        generate = parts.key_store.generate

        def refusing(key: Any, **members: Any) -> Any:
            if key.key_id == keys[1].key_id:
                raise UnsupportedOperation("not in this HSM")
            return generate(key, **members)

        parts.key_store.generate = refusing  # type: ignore[method-assign]
        waits = await keys[0].look(NOW)
        assert waits == f"{keys[1].arn} waits to be rotated: not in this HSM"
        assert [len(await key.rotations()) for key in keys] == [1, 0, 1]
        assert (await keys[1].status())[3] == NOW

    run(test)


def test_a_clock_that_was_set_back_mixes_up_no_rotations(run: Run) -> None:
    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        for now in (NOW + 100, NOW + 50, NOW):
            await key.ask("RotateKeyOnDemand")
            await key.look(now)
        listed = (await key.ask("ListKeyRotations", IncludeKeyMaterial="ALL_KEY_MATERIAL")).rotations
        assert [entry.key_material_state for entry in listed] == ["NON_CURRENT"] * 3 + ["CURRENT"]
        dates = [entry.rotation_date for entry in listed[1:]]
        assert dates == [NOW + 100, NOW + 100.001, NOW + 100.002]

    run(test)


def test_a_rotation_is_not_before_it_was_asked_for(run: Run) -> None:
    """A look can take long: it may have begun before the request."""

    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        parts.clock.now = NOW + 20
        await key.ask("RotateKeyOnDemand")
        await RotationJob(parts.office, parts.key_store).run(Look(NOW, None))
        assert [date for _, date, _ in await key.rotations()] == [NOW + 20]

    run(test)


def test_a_clock_in_doubt_dates_no_rotation(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A date told by a clock that is years ahead would be years off: the period begins when the clock is right."""

    async def test(parts: Composed) -> None:
        key = await Rotating.new(parts)
        monkeypatch.setattr("strongroom.clock.doubt", lambda *_: "it jumped")
        await key.ask("EnableKeyRotation", RotationPeriodInDays=100)
        assert await key.status() == (True, 100, None, None)
        await key.look(NOW + YEAR, "it jumped")
        assert await key.status() == (True, 100, None, None)
        await key.look(NOW + 5)
        assert await key.status() == (True, 100, NOW + 5 + 100 * DAY, None)
        assert await key.rotations() == []

    run(test)


def test_a_token_that_is_away_is_asked_once(run: Run) -> None:
    async def test(parts: Composed) -> None:
        for _ in range(3):
            await (await Rotating.new(parts)).ask("RotateKeyOnDemand")
        asked: list[int] = []

        def away(*_: Any, **__: Any) -> Any:
            asked.append(1)
            raise KMSInternal("the token is away")

        parts.key_store.generate = away  # type: ignore[method-assign]
        with pytest.raises(KMSInternal):
            await RotationJob(parts.office, parts.key_store).run(Look(NOW, None))
        assert asked == [1]

    run(test)
