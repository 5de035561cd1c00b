import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from strongroom.audit import strangers
from strongroom.audit.record import CloudTrailRecord, unknown_identity, utc_time
from strongroom.audit.strangers import MAX_FILE, MAX_PER_SECOND, MAX_SOURCES, StrangersLog

NOW = 1_790_000_000.25


def refused(source: str = "192.0.2.1", *, agent: str = "curl/8", number: int = 0) -> CloudTrailRecord:
    return CloudTrailRecord(
        user_identity=unknown_identity(None),
        event_time=utc_time(int(NOW)),
        event_name="Unknown",
        source_ip_address=source,
        user_agent=agent,
        error_code="MissingAuthenticationTokenException",
        event_id=str(number),
        read_only=True,
    )


def written(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "strangers.log").read_bytes().splitlines()]


def test_a_tick_writes_what_came(tmp_path: Path) -> None:
    log = StrangersLog(tmp_path / "strangers")
    log.write(refused(number=1), NOW)
    log.write(refused("198.51.100.7", number=2), NOW)
    log.tick(NOW)
    assert [(record["eventID"], record["sourceIPAddress"]) for record in written(tmp_path / "strangers")] == [
        ("1", "192.0.2.1"),
        ("2", "198.51.100.7"),
    ]
    log.close()
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "strangers", tmp_path / "strangers/strangers.log")] == [
        0,
        0,
    ]


def test_past_the_rate_of_a_source_one_record_a_second_counts_the_rest(tmp_path: Path) -> None:
    log = StrangersLog(tmp_path)
    for number in range(1000):
        log.write(refused(number=number), NOW)
    log.write(refused("198.51.100.7", number=5000), NOW)
    log.tick(NOW + 1)
    assert (log.refused, log.lost) == (1001, 0)
    first, second, *others = [
        [record for record in written(tmp_path) if record["sourceIPAddress"] == source]
        for source in ("192.0.2.1", "198.51.100.7")
    ]
    assert others == []
    assert [record["eventID"] for record in first] == [*map(str, range(MAX_PER_SECOND)), "999"]
    assert first[-1]["additionalEventData"] == {"suppressedRequests": 980, "severalSources": False}
    assert len(second) == 1
    assert "additionalEventData" not in second[0]
    log.close()


def test_each_second_begins_anew(tmp_path: Path) -> None:
    log = StrangersLog(tmp_path)
    for second in range(3):
        for _ in range(MAX_PER_SECOND + 5):
            log.write(refused(), NOW + second)
    log.close()
    summaries = [record["additionalEventData"] for record in written(tmp_path) if "additionalEventData" in record]
    assert summaries == [{"suppressedRequests": 5, "severalSources": False}] * 3
    assert len(written(tmp_path)) == 3 * (MAX_PER_SECOND + 1)


def test_a_swarm_of_sources_shares_one_count(tmp_path: Path) -> None:
    log = StrangersLog(tmp_path)
    for number in range(10_000):
        log.write(refused(f"2001:db8::{number:x}"), NOW)
    log.close()
    records = written(tmp_path)
    assert len(records) == MAX_SOURCES + MAX_PER_SECOND + 1
    assert records[-1]["additionalEventData"] == {
        "suppressedRequests": 10_000 - MAX_SOURCES - MAX_PER_SECOND,
        "severalSources": True,
    }


def test_two_files_bound_what_strangers_can_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MAX_FILE", 200_000)
    log = StrangersLog(tmp_path)
    for number in range(2000):
        log.write(refused(agent="x" * 1000, number=number), NOW + number)
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"strangers.log", "strangers.log.1"}
    assert all(100_000 < size <= 200_000 or name == "strangers.log" for name, size in sizes.items())
    assert max(sizes.values()) <= 200_000
    assert written(tmp_path)[-1]["eventID"] == "1999"
    assert log.lost == 0
    assert MAX_FILE == 16 * 1024 * 1024


def test_a_full_disk_costs_records_and_fails_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = StrangersLog(tmp_path)
    log.write(refused(number=1), NOW)
    log.tick(NOW)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.write(refused(number=2), NOW)
        log.tick(NOW)
    assert log.lost == 1
    log.write(refused(number=3), NOW)
    log.close()
    assert [record["eventID"] for record in written(tmp_path)] == ["1", "3"]


def test_a_short_write_leaves_no_part_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = StrangersLog(tmp_path)
    log.write(refused(number=1), NOW)
    log.tick(NOW)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: real(file, data[:20]))
        log.write(refused(number=2), NOW)
        log.tick(NOW)
    log.close()
    assert [record["eventID"] for record in written(tmp_path)] == ["1"]


def test_a_directory_that_vanished_fails_nobody(tmp_path: Path) -> None:
    log = StrangersLog(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    log.write(refused(), NOW)
    log.close()
    assert log.lost == 1


def test_the_buffer_waits_while_another_process_writes_and_is_bounded(tmp_path: Path) -> None:
    log = StrangersLog(tmp_path)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    for number in range(3000):
        log.write(refused(agent="x" * 1000, number=number), NOW + number)
    assert not (tmp_path / "strangers.log").exists()
    assert log.lost > 0
    os.close(other)
    log.tick(NOW + 3000)
    assert len(written(tmp_path)) + log.lost == 3000
    assert 500_000 < (tmp_path / "strangers.log").stat().st_size <= 1024 * 1024
    log.close()
