"""The calendar: what waits is told once, what is fatal ends it, one job that waits holds up no other."""

import asyncio
import itertools

import pytest

from strongroom.clock import Clocks
from strongroom.errors import IntegrityError, KMSInternal, StorageError
from strongroom.jobs import calendar
from strongroom.jobs.calendar import Job, Look, Office, keep_calendar
from strongroom.model.key_reference import KeyReference
from tests.composed import Composed, Run

LOOKS = 5


class Scripted:
    """A job that does at each look what it is told; after the last it has no more to say."""

    def __init__(self, name: str, *script: str | Exception | None) -> None:
        self.name = name
        self.looks: list[Look] = []
        self.enough = asyncio.Event()
        self._script = itertools.chain(script, itertools.repeat(None))

    async def run(self, look: Look) -> str | None:
        self.looks.append(look)
        if len(self.looks) == LOOKS:
            self.enough.set()
        said = next(self._script)
        if isinstance(said, Exception):
            raise said
        return said


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "SECONDS", 0.0)


def kept(run: Run, jobs: list[Scripted]) -> list[str]:
    """Keep the calendar until the first job has looked often enough, or it ends by itself; return what was fatal."""
    fatal: list[str] = []
    sequence: list[Job] = [*jobs]

    async def test(parts: Composed) -> None:
        keeping = asyncio.create_task(keep_calendar(parts.office, sequence, on_fatal=fatal.append))
        enough = asyncio.create_task(jobs[0].enough.wait())
        await asyncio.wait({keeping, enough}, return_when=asyncio.FIRST_COMPLETED)
        keeping.cancel()

    run(test)
    return fatal


def test_what_waits_is_told_once_and_holds_up_nobody(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = Scripted("first", "it waits", "it waits", None, "it waits", KMSInternal("the token is away"))
    other = Scripted("other", StorageError("the disk is full"), OSError("no room"))
    assert kept(run, [waiting, other]) == []
    assert len(other.looks) >= LOOKS - 1
    assert capsys.readouterr().err.splitlines() == [
        "strongroom: it waits",
        "strongroom: other waits: the disk is full",
        "strongroom: other waits: no room",
        "strongroom: it waits",
        "strongroom: first waits: the token is away",
    ]


def test_who_waits_is_known_as_long_as_it_waits(run: Run) -> None:
    seen: list[set[str]] = []

    class Watching(Scripted):
        def __init__(self, office: Office) -> None:
            super().__init__("watching")
            self._office = office

        async def run(self, look: Look) -> str | None:
            seen.append(set(self._office.waiting))
            return await super().run(look)

    async def test(parts: Composed) -> None:
        watching = Watching(parts.office)
        jobs: list[Job] = [Scripted("first", "it waits", None, OSError("no room")), watching]
        keeping = asyncio.create_task(keep_calendar(parts.office, jobs, on_fatal=pytest.fail))
        await watching.enough.wait()
        keeping.cancel()

    run(test)
    assert seen[:4] == [{"first"}, set(), {"first"}, set()]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (IntegrityError("a row was altered"), "a row was altered"),
        (ZeroDivisionError("secret"), "the calendar failed: ZeroDivisionError"),
    ],
)
def test_what_must_not_go_on_unseen_is_fatal(run: Run, error: Exception, told: str) -> None:
    job = Scripted("job", None, error)
    assert kept(run, [job]) == [told]
    assert len(job.looks) == 2


def test_all_keys_are_gone_through_once_for_each_state(run: Run) -> None:
    async def test(parts: Composed) -> None:
        made = (await parts.ask_kms("CreateKey")).key_metadata
        first = await parts.office.agenda()
        assert await parts.office.agenda() is first
        assert (first.deletions, first.expiring, first.rotating) == ([], [], [])
        await parts.ask_kms("EnableKeyRotation", KeyId=made.key_id)
        await parts.ask_kms("ScheduleKeyDeletion", KeyId=made.key_id)
        second = await parts.office.agenda()
        entry = parts.state.current().find_key(KeyReference("us-east-1", "111122223333", made.key_id))
        assert ([second.deletions, second.rotating], second.expiring) == ([[entry], [entry]], [])
        assert await parts.office.agenda() is second

    run(test)


def test_a_time_that_can_be_trusted_is_noted(run: Run) -> None:
    async def test(parts: Composed) -> None:
        (reading,) = parts.state.current().clock_readings.values()
        now = Clocks(reading.record.boot_id, reading.record.wall + 700, reading.record.boot + 700)
        assert await parts.office.look(now) == Look(now.wall, None)
        assert parts.state.fresh().clock_readings[now.boot_id].record.latest == now.wall
        ahead = now._replace(wall=now.wall + 7_200)
        doubtful = (await parts.office.look(ahead)).doubtful
        assert doubtful == "the clock is 2 hours ahead of what the boot clock says"
        assert parts.state.fresh().clock_readings[now.boot_id].record.latest == now.wall

    run(test)
