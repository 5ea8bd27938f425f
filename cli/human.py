"""Times and sizes as people read them, in Docker's wording. Pure: now is passed in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def ago(stamp: str, *, now: datetime) -> str:
    """How long ago an API timestamp is: '3 minutes ago'."""
    return since(now - moment(stamp)) + " ago"


def since(past: timedelta) -> str:
    """A span in one unit, the way a person would say it."""
    seconds = int(past.total_seconds())
    minutes, hours = seconds // 60, int(past.total_seconds() / 3600 + 0.5)
    if seconds < 60:
        return "Less than a second" if seconds < 1 else _count(seconds, "second")
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    for limit, size, unit in ((48, 1, "hours"), (24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks"), (24 * 730, 24 * 30, "months")):
        if hours < limit:
            return f"{hours // size} {unit}"
    return f"{seconds // 3600 // 24 // 365} years"


def moment(stamp: str) -> datetime:
    """An RFC 3339 timestamp of the API; nanoseconds are cut to microseconds."""
    head, dot, tail = stamp.partition(".")
    if not dot:
        return datetime.fromisoformat(stamp)
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return datetime.fromisoformat(f"{head}.{tail[:digits][:6]:0<6}{tail[digits:]}")


def utc_now() -> datetime:
    return datetime.now(UTC)


def bytes_size(size: float) -> str:
    """Binary units: 512MiB."""
    return _scaled(size, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))


def decimal_size(size: float) -> str:
    """Decimal units: 12.3MB."""
    return _scaled(size, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB"))


def duration(nanoseconds: int) -> str:
    """Nanoseconds as Go prints a duration: 1m30s, 1.5s, 200ms."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-" if nanoseconds < 0 else ""), abs(nanoseconds)
    for size, unit in ((1_000, "ns"), (1_000_000, "µs"), (1_000_000_000, "ms")):
        if rest < size:
            return f"{sign}{_trimmed(rest, size // 1_000)}{unit}"
    minutes, rest = divmod(rest, 60 * 1_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = _trimmed(rest, 1_000_000_000)
    return sign + (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"


def _trimmed(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    if not fraction:
        return str(whole)
    return f"{whole}.{fraction:0{len(str(unit)) - 1}d}".rstrip("0")


def _scaled(size: float, base: float, units: tuple[str, ...]) -> str:
    at = 0
    while size >= base and at < len(units) - 1:
        size /= base
        at += 1
    return f"{size:.4g}{units[at]}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" + ("" if number == 1 else "s")
