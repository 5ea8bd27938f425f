"""Durations, sizes and CPU shares as stack files write them: 1m30s, 512M, 0.25."""

import re
import struct
from math import gcd

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_SIZE = re.compile(r"(.*[0-9.]|.*(?= )) ?([^0-9. ]*)", re.DOTALL)
_NUMBER = re.compile(r"\+?(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:[eE][-+]?[0-9]+)?")
_SUFFIX = re.compile(r"([kmgtp]?)(?:i?b)?|b")
_RATIO = re.compile(r"([-+]?)([0-9]+)/([0-9]+)")
_DECIMAL = re.compile(r"([-+]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([-+]?[0-9]{1,4}))?")
_NANO = 10**9
_MOST = 2**63 - 1


class Duration(int):
    """A span of time in nanoseconds; its text is docker's: 1m30s."""

    def __str__(self) -> str:
        if not self:
            return "0s"
        sign, rest = ("-" if self < 0 else ""), abs(int(self))
        if rest < _NANO:
            unit, size = next((unit, _UNITS[unit]) for unit in ("ms", "µs", "ns") if rest >= _UNITS[unit])
            return f"{sign}{_decimal(rest, size)}{unit}"
        minutes, seconds = divmod(rest, 60 * _NANO)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
        return f"{sign}{clock}{_decimal(seconds, _NANO)}s"


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


class Bytes(int):
    """A size in bytes. Docker writes it back as text."""


def duration(text: str) -> Duration:
    """Read 1h2m3.5s, and 0; raise ValueError for anything else."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return Duration(0)
    total, end = 0, 0
    while end < len(rest):
        found = _PART.match(rest, end)
        if found is None or not (found[1] or found[2]):
            raise ValueError(f"{text!r} is not a duration such as 1m30s")
        if found[3] not in _UNITS:
            raise ValueError(f"{text!r} has an unknown or missing unit; durations are written like 1m30s or 500ms")
        unit = _UNITS[found[3]]
        total += int(found[1] or 0) * unit
        if found[2]:
            total += int(int(found[2]) * (unit / 10 ** len(found[2])))
        end = found.end()
    if not rest or total > _MOST:
        raise ValueError(f"{text!r} is not a duration such as 1m30s" if not rest else f"{text!r} is too long")
    return Duration(-total if text.startswith("-") else total)


def size(text: str) -> Bytes:
    """Read 512M, 1.5 GiB or 100; k, m, g, t and p are powers of 1024 in either case."""
    found = _SIZE.fullmatch(text)
    if found is None or not _NUMBER.fullmatch(found[1]):
        raise ValueError(f"{text!r} is not a size such as 512M")
    suffix = _SUFFIX.fullmatch(found[2].lower())
    if suffix is None:
        raise ValueError(f"{text!r} has an unknown unit; sizes are written like 512M or 1.5g")
    bytes_ = float(found[1]) * 1024 ** ("kmgtp".index(suffix[1]) + 1 if suffix[1] else 0)
    if bytes_ > _MOST:
        raise ValueError(f"{text!r} is too large")
    return Bytes(int(bytes_))


def nano_cpus(text: str) -> int:
    """Read 0.25, 1/4 or 2e-1 as billionths of a CPU; nothing finer can be said."""
    numerator, denominator = _fraction(text)
    nanos, rest = divmod(numerator * _NANO, denominator)
    if rest:
        raise ValueError(f"{text!r} is too precise; nine digits after the point are the most")
    if not -_MOST <= nanos <= _MOST:
        raise ValueError(f"{text!r} is too much")
    return nanos


def _fraction(text: str) -> tuple[int, int]:
    ratio = _RATIO.fullmatch(text)
    if ratio is not None and int(ratio[3]):
        shared = gcd(int(ratio[2]), int(ratio[3])) or 1
        return (-1 if ratio[1] == "-" else 1) * int(ratio[2]) // shared, int(ratio[3]) // shared
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None or not (decimal[2] or decimal[3]):
        raise ValueError(f"{text!r} is not a number of CPUs such as 0.5")
    fraction = decimal[3] or ""
    exponent = int(decimal[4] or 0) - len(fraction)
    digits = int((decimal[2] + fraction) or 0) * (-1 if decimal[1] == "-" else 1)
    return (digits * 10**exponent, 1) if exponent >= 0 else (digits, 10**-exponent)


def single_precision(number: float) -> float:
    """The number as the API holds it, in 32 bits, written with the fewest digits that say it."""
    held = struct.pack("<f", number)
    near = struct.unpack("<f", held)[0]
    return next(short for digits in range(1, 18) if struct.pack("<f", short := float(f"{near:.{digits}g}")) == held)
