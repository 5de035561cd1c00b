import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.sigv4.timestamps import basic_format_of_http_date, format_timestamp, parse_timestamp


def test_basic_format_is_read_and_written() -> None:
    assert parse_timestamp("20150830T123600Z") == 1440938160
    assert format_timestamp(1440938160) == "20150830T123600Z"


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_what_is_written_is_read_back(seconds: int) -> None:
    assert parse_timestamp(format_timestamp(seconds)) == seconds


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "201",
        "2015-08-30T12:36:00Z",
        "20150830T123600",
        "20150830T123600+0000",
        "20150830t123600z",
        "20150830T123600Z ",
        "20150830T123600Z\n",
        "20150230T123600Z",
        "20150830T250000Z",
        "20150830T123660Z",
        "00000830T123600Z",
        "2015083\u0660T123600Z",
        "20150830T123600Z,20150830T123600Z",
    ],
)
def test_everything_else_is_refused(timestamp: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - every reason is as good
        parse_timestamp(timestamp)


@pytest.mark.parametrize("zone", ["GMT", "UTC", "-0000", "+0000"])
def test_an_http_date_is_rewritten(zone: str) -> None:
    assert basic_format_of_http_date(f"Sun, 30 Aug 2015 12:36:00 {zone}") == "20150830T123600Z"


@pytest.mark.parametrize(
    "date",
    [
        "20150830T123600Z",
        "Sun, 30 Aug 2015 12:36:00 +0200",
        "Sun, 30 Xyz 2015 12:36:00 GMT",
        "Sunday, 30-Aug-15 12:36:00 GMT",
        "Sun, 30 Aug 2015 12:36:00 GMT ",
        "",
    ],
)
def test_what_is_no_http_date_in_utc_is_left_alone(date: str) -> None:
    assert basic_format_of_http_date(date) == date
