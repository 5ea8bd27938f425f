"""The functions of a --format template: Go's own and those that Docker's CLI adds. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from cli.template import govalue

_VERB = re.compile(r"%([-+# 0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, "")
        elif value is None:
            raise ValueError("index of untyped nil")
        elif not 0 <= key < len(value):
            raise ValueError(f"reflect: slice index out of range: {key}")
        else:
            value = value[key]
    return value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    end = len(value) if end is None else end
    if not 0 <= start <= end <= len(value):
        raise ValueError(f"index out of range: {end}")
    return value[start:end]


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _printf(form: str, *values: Any) -> str:
    rest = list(values)

    def put(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        return _padded(_verb(verb, rest.pop(0), precision), flags, width)

    return _VERB.sub(put, form)


def _verb(verb: str, value: Any, precision: str | None) -> str:
    if verb == "q":
        return govalue.as_json(str(value))
    if verb in "dxXob" and isinstance(value, int):
        return f"{value:{verb}}"
    if verb in "fFeEgG" and isinstance(value, int | float):
        return f"{value:.{precision or 6}{verb}}"
    if verb == "T":
        return type(value).__name__
    text = govalue.text(value)
    return text[: int(precision)] if precision and verb == "s" else text


def _padded(text: str, flags: str, width: str | None) -> str:
    if not width:
        return text
    if "-" in flags:
        return text.ljust(int(width))
    return text.rjust(int(width), "0" if "0" in flags else " ")


def _print(*values: Any) -> str:
    return "".join(govalue.text(value) for value in values)


def _println(*values: Any) -> str:
    return " ".join(govalue.text(value) for value in values) + "\n"


def _truncate(text: str, most: int) -> str:
    return text[:most]


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _title(text: str) -> str:
    return re.sub(r"\b\w", lambda first: first[0].upper(), text)


def _html(*values: Any) -> str:
    import html  # noqa: PLC0415 - rarely asked for

    return html.escape(_print(*values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not value,
    "len": len,
    "index": _index,
    "slice": _slice,
    "eq": _equal,
    "ne": lambda first, second: first != second,
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "html": _html,
    "urlquery": lambda *values: quote_plus(_print(*values)),
    "json": govalue.as_json,
    "split": lambda text, separator: text.split(separator),
    "join": lambda parts, separator: separator.join(govalue.text(part) for part in parts or ()),
    "title": _title,
    "lower": str.lower,
    "upper": str.upper,
    "pad": _pad,
    "truncate": _truncate,
}
