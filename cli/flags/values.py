"""The scalar values that flags take, with the spellings and the refusals of Docker's CLI. Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
# patterns are kept as text: compiling them is for the commands that use them
_DURATION_PART = r"(\d+\.?\d*|\.\d+)([^\d.]*)"
_SIZE = r"(?i)(\d+(?:\.\d+)?) ?(?:([kmgtp])(?:i?b)?|b)?"
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


def boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def integer(text: str) -> int:
    """A whole number, decimal or with the prefix 0x, 0o, 0b or 0."""
    return _whole(text, "ParseInt", least=-(2**63), most=2**63 - 1)


def unsigned(text: str) -> int:
    return _whole(text, "ParseUint", least=0, most=2**64 - 1)


def _whole(text: str, parser: str, *, least: int, most: int) -> int:
    octal = re.fullmatch(r"([+-]?)0([0-7]+)", text)
    try:
        number = int(f"{octal[1]}0o{octal[2]}" if octal else text, 0)
    except ValueError:
        number = None
    if number is None or text != text.strip() or (least == 0 and text[:1] in {"+", "-"}):
        raise ValueError(f'strconv.{parser}: parsing "{text}": invalid syntax')
    if not least <= number <= most:
        raise ValueError(f'strconv.{parser}: parsing "{text}": value out of range')
    return number


def ratio(text: str) -> float:
    """A number that the API keeps in 32 bits: the shortest decimal that means the same there."""
    try:
        number = float(text)
        if "_" in text or text != text.strip():
            raise ValueError
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax') from None
    narrow = struct.pack("f", number)
    return next(short for digits in range(1, 18) if struct.pack("f", short := float(f"{number:.{digits}g}")) == narrow)


def duration(text: str) -> int:
    """A Go duration such as 1h30m or 1.5s, in nanoseconds."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total, at = 0, 0
    while at < len(rest):
        part = re.match(_DURATION_PART, rest[at:])
        if part is None:
            raise ValueError(f'time: invalid duration "{text}"')
        amount, unit = part.groups()
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in NANOSECONDS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        whole, _, fraction = amount.partition(".")
        total += int(whole or 0) * NANOSECONDS[unit]
        if fraction:
            total += int(fraction) * NANOSECONDS[unit] // 10 ** len(fraction)
        at += part.end()
    return sign * total


def positive_duration(text: str) -> int:
    value = duration(text)
    if value < 0:
        raise ValueError("duration cannot be negative")
    return value


def size(text: str) -> int:
    """A number of bytes such as 512m or 1.5GiB; k, m, g, t and p are powers of 1024."""
    found = re.fullmatch(_SIZE, text.strip())
    if found is None:
        raise ValueError(f"invalid size: '{text}'")
    power = " kmgtp".index((found[2] or " ").lower())
    return int(float(found[1]) * 1024**power)


def cpus(text: str) -> int:
    """A number of CPUs such as 0.5 or 1/2, in billionths."""
    from fractions import Fraction  # noqa: PLC0415 - only these flags pay for it

    try:
        nano = Fraction(text) * 1_000_000_000
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return int(nano)


def words(text: str) -> list[str]:
    """A command line split as a shell would split it."""
    import shlex  # noqa: PLC0415 - only these flags pay for it

    return shlex.split(text)


def fields(text: str) -> list[str]:
    """One line of comma-separated fields, with double quotes around those that hold a comma."""
    import csv  # noqa: PLC0415 - only these flags pay for it

    rows = list(csv.reader([text], strict=True)) if text else []
    return rows[0] if rows else []


def pairs(entries: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE entries as a map; a bare KEY has the empty value, a later entry wins."""
    return {key: value for key, _, value in (entry.partition("=") for entry in entries)}
