"""Points in time as --since and --until take them: a timestamp, a date, seconds since 1970, or how long ago. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from cli.flags import values

_SECONDS = r"\d+(\.\d+)?"


def timestamp(text: str, *, now: datetime) -> str:
    """Seconds since 1970, as the API wants them. A time without a zone is in the zone of `now`."""
    if re.fullmatch(_SECONDS, text):
        return text
    try:
        ago = values.duration(text)
    except ValueError:
        pass
    else:
        return _seconds(int(now.timestamp() * 1_000_000_000) - ago)
    return _seconds(_parsed(text, now))


def _parsed(text: str, now: datetime) -> int:
    head, dot, tail = text.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    if dot and not digits:
        raise ValueError(f'failed to parse value as time or duration: value must be a timestamp or a duration: "{text}"')
    try:
        moment = datetime.fromisoformat(head + tail[digits:])
    except ValueError:
        raise ValueError(f'failed to parse value as time or duration: "{text}"') from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=now.tzinfo)
    return int(moment.timestamp()) * 1_000_000_000 + int(f"{tail[:digits][:9]:0<9}")


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds // 1_000_000_000}.{nanoseconds % 1_000_000_000:09d}"
