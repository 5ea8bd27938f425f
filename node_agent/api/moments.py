"""Docker's ways to write a moment, as `since` and `until` take them: 1700000000.000000001, 2024-01-02T03:04:05Z, 10m. Pure."""

import re
from datetime import UTC, datetime

from cluster.api.errors import InvalidArgument

SECOND = 1_000_000_000
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_UNIX = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(f"(?:{_DURATION_PART.pattern})+")
_CALENDAR = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d(?::\d\d){0,2})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?)?Z?")


def moment(text: str, *, now: int, name: str = "since") -> int:
    """The nanoseconds since 1970 that are meant; a duration counts back from `now`, a time without a zone is UTC."""
    if unix := _UNIX.fullmatch(text):
        return int(unix[1]) * SECOND + int((unix[2] or "0").ljust(9, "0"))
    if _DURATION.fullmatch(text):
        return now - sum(int(float(amount) * _UNITS[unit]) for amount, unit in _DURATION_PART.findall(text))
    if calendar := _CALENDAR.fullmatch(text):
        day, clock, fraction, zone = calendar.groups()
        clock = ":".join([*(clock or "00").split(":"), "00", "00"][:3])
        try:
            seconds = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in {None, 'Z'} else zone}")
        except ValueError:
            pass
        else:
            return int((seconds - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * SECOND + int((fraction or "0").ljust(9, "0"))
    raise InvalidArgument(f"invalid value {text!r} for {name}: expected a Unix timestamp, an RFC 3339 time or a duration such as 10m")


def unix(moment_ns: int) -> str:
    """A moment as the engine takes it."""
    return f"{moment_ns // SECOND}.{moment_ns % SECOND:09d}"
