"""Times as Signature Version 4 writes them: ISO 8601 basic format, UTC, whole seconds, `20150830T123600Z`.

Source: "Elements of an AWS API request signature", Date, in the IAM User Guide.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache

_BASIC_FORMAT = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_HTTP_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r" (?:GMT|UTC|[+-]0000)"  # botocore writes -0000
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_timestamp(seconds: int) -> str:
    """Write seconds since the epoch in basic format."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%SZ}"


@lru_cache(maxsize=64)  # requests of one moment share their timestamp; parsing is half a microsecond
def parse_timestamp(timestamp: str) -> int:
    """Read a basic format timestamp as seconds since the epoch. Anything else is a ValueError."""
    if not _BASIC_FORMAT.fullmatch(timestamp):
        raise ValueError(timestamp)
    return int(datetime.fromisoformat(timestamp).timestamp())


def basic_format_of_http_date(date: str) -> str:
    """Rewrite the value of a `Date` header (RFC 9110, 5.6.7) in basic format; leave everything else as it is.

    The calendar is not checked here: the 31st of February is rewritten too, and `parse_timestamp` refuses it.
    """
    match = _HTTP_DATE.fullmatch(date)
    if match is None or match[2] not in _MONTHS:
        return date
    day, month, year, hour, minute, second = match.groups()
    return f"{year}{_MONTHS.index(month) + 1:02}{day}T{hour}{minute}{second}Z"
