"""For how many days a key was not used."""

import math

import pytest

from strongroom.model.key import KmsKey
from strongroom.model.key_usage import KeyUsage, trailing_days

HOUR, DAY = 3_600.0, 86_400.0
CREATED = 20_000 * DAY
KEY = KmsKey(
    "111122223333", "us-east-1", "1234abcd-12ab-34cd-56ef-1234567890ab", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT",
    "AWS_KMS", "Enabled", "", "{}", (), CREATED, "ab" * 32,
)  # fmt: skip


def used(after: float) -> KeyUsage:
    """A use, in seconds after the creation of the key."""
    return KeyUsage(KEY.account, KEY.region, KEY.key_id, CREATED + after, "Encrypt", "request", "event")


def days(now: float, usage: KeyUsage | None, tracked_since: float = 0.0) -> int:
    return trailing_days(KEY, usage, tracked_since, CREATED + now)


def test_a_key_that_was_never_used_counts_from_its_creation() -> None:
    assert [days(now, None) for now in (0, DAY - 1, DAY, 10.5 * DAY)] == [0, 0, 1, 10]


def test_a_key_that_is_older_than_tracking_counts_from_its_beginning() -> None:
    assert [days(10.5 * DAY, None, CREATED + since) for since in (-DAY, DAY, 10 * DAY, 20 * DAY)] == [10, 9, 0, 0]
    assert days(10 * DAY, None, math.inf) == 0


@pytest.mark.parametrize("stored", [0.0, HOUR / 2, HOUR - 1], ids=["first", "middle", "last"])
def test_days_count_from_the_end_of_the_hour_of_the_last_use_whichever_of_the_hour_is_stored(stored: float) -> None:
    ends = [DAY + HOUR - 1, DAY + HOUR, 3 * DAY + HOUR - 1, 3 * DAY + HOUR]
    assert [days(now, used(stored)) for now in ends] == [0, 1, 2, 3]


def test_a_use_from_before_tracking_began_anew_is_not_the_last_that_may_have_been() -> None:
    assert days(10 * DAY, used(DAY), CREATED + 4 * DAY) == 6


def test_a_use_at_a_time_that_is_yet_to_come_counts_no_days() -> None:
    assert days(0, used(10 * DAY)) == 0
