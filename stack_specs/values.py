"""What a scalar in a stack file means: the values that docker's YAML decoder (go-yaml 3) makes of it, and their text.

It is neither YAML 1.1 nor 1.2. `yes`, `no`, `on` and `off` are words; 0440 and 0o440 are octal; 1_000 is a number and 22:22 is not;
2001-12-14 is a moment in time, which docker refuses wherever it wants a string.
"""

import re
from calendar import monthrange
from typing import TypeAlias

import msgspec


class Timestamp(msgspec.Struct, frozen=True, kw_only=True):
    """A moment in time. No key of a stack file wants one, but labels and variables show its text."""

    shown: str
    """As docker prints it where a text is wanted: 2001-12-14 00:00:00 +0000 UTC"""
    rfc3339: str


Scalar: TypeAlias = bool | int | float | str | Timestamp | None
Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]([0-7]+)|0[bB]([01]+)|0([0-7]*)|([1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_POINT_FIRST = re.compile(r"\.[0-9](?:_?[0-9])*(?:[eE][-+]?[0-9]+)?")
_CLOCK = r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})([.,][0-9]+)?"
_MOMENT = re.compile(rf"([0-9]{{4}})-([0-9]{{1,2}})-([0-9]{{1,2}})(?:[Tt]{_CLOCK}(Z|[-+][0-9]{{2}}:[0-9]{{2}})| {_CLOCK})?")
_DIGITS = frozenset("+-0123456789")


def resolve(text: str, *, moments: bool = True) -> Scalar:
    """The value of a plain scalar (one without quotes); `moments` False where a tag rules a timestamp out."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        number = float(text) if _POINT_FIRST.fullmatch(text) else float("inf")
        return text if number == float("inf") else number
    if text[0] not in _DIGITS:
        return text
    moment = _moment(text) if moments else None
    if moment is not None:
        return moment
    plain = text.replace("_", "")
    whole = _integer(plain)
    if whole is not None:
        return whole
    if _FLOAT.fullmatch(plain):
        number = float(plain)
        if abs(number) != float("inf"):
            return number
    return text


def _integer(text: str) -> int | None:
    found = _INTEGER.fullmatch(text)
    if found is None:
        return None
    sign, *digits = found.groups()
    base, written = next((base, part) for base, part in zip((16, 8, 2, 8, 10), digits, strict=True) if part is not None)
    number = int(written or "0", base)
    number = -number if sign == "-" else number
    if -(2**63) <= number < 2**63 or (not sign and number < 2**64):
        return number
    return None


def _moment(text: str) -> Timestamp | None:
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.group(1, 2, 3))
    hour, minute, second = (int(part or 0) for part in (found.group(4, 5, 6) if found[4] else found.group(9, 10, 11)))
    if not (1 <= month <= 12 and 1 <= day <= monthrange(year or 4, month)[1] and hour < 24 and minute < 60 and second < 60):
        return None
    fraction = (found[7] or found[12] or "")[1:10].rstrip("0")
    clock = f"{hour:02}:{minute:02}:{second:02}" + (f".{fraction}" if fraction else "")
    zone = found[8] or "Z"
    utc = zone in ("Z", "+00:00", "-00:00")
    offset = "+0000 UTC" if utc else f"{zone.replace(':', '')} {zone.replace(':', '')}"
    date = f"{year:04}-{month:02}-{day:02}"
    return Timestamp(shown=f"{date} {clock} {offset}", rfc3339=f"{date}T{clock}{'Z' if utc else zone}")


def show(value: Value) -> str:
    """The text of a value where a stack file may hold a number and the API wants a string: 1.50 -> 1.5, 0x1F -> 31."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return _show_float(value)
        case Timestamp():
            return value.shown
        case _:
            return str(value)


def _show_float(number: float) -> str:
    """The shortest digits that give the number back, with an exponent from a million on and below a ten-thousandth."""
    mantissa, _, exponent = f"{number!r}".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits.strip("0"):
        return sign + "0"
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits)) - 1
    digits = digits.rstrip("0")
    if point < -4 or point >= 6:
        return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{point:+03}"
    if point < 0:
        return f"{sign}0.{'0' * (-point - 1)}{digits}"
    if len(digits) <= point + 1:
        return sign + digits.ljust(point + 1, "0")
    return f"{sign}{digits[: point + 1]}.{digits[point + 1 :]}"
