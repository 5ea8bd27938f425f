"""How Go prints the values that a template puts out: maps, lists, times, durations. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_TIME = r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d+)?)(Z|[+-]\d\d:\d\d)"


def text(value: Any) -> str:
    """What {{.Value}} prints."""
    if value is None:
        return "<no value>"
    return _inner(value)


def _inner(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _time(value) or value
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_inner(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, Sequence):
        return "[" + " ".join(_inner(item) for item in value) + "]"
    return str(value)


def as_json(value: Any) -> str:
    """What {{json .Value}} prints: no spaces, and <, > and & escaped as Go's encoder does."""
    return escaped(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def escaped(encoded: str) -> str:
    return encoded.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _time(value: str) -> str | None:
    """A timestamp of the API as Go prints a time.Time."""
    found = re.fullmatch(_TIME, value)
    if found is None:
        return None
    day, clock, zone = found.groups()
    clock = clock.rstrip("0").rstrip(".") if "." in clock else clock
    return f"{day} {clock} " + ("+0000 UTC" if zone == "Z" else f"{zone.replace(':', '')} {zone.replace(':', '')}")
