"""What Shoal adds to Docker's service, on its way to the daemon: beside the spec, in a header that other daemons do not read. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cli.errors import CliError
from cli.flags import values
from cli.flags.grammar import Flags

HEADER = "X-Shoal-Extensions"
# flag and key of a stack file's x-shoal -> the member on the wire
DURATIONS = {"drain-timeout": "DrainTimeout"}
# Docker's own key, which its stacks ignore
IGNORED = frozenset({"depends_on"})


def of_flags(flags: Flags, current: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The header that the flags ask for, over what the service has already; none if they ask for nothing."""
    given = {member: flags.value(flag) for flag, member in DURATIONS.items() if flag in flags}
    return header({**(current or {}), **given}) if given else {}


def of_stack(written: Mapping[str, Any], service: str) -> dict[str, str]:
    """The header that a stack file's x-shoal asks for."""
    found: dict[str, Any] = {}
    for key, value in written.items():
        if key in IGNORED:
            continue
        member = DURATIONS.get(key.replace("_", "-"))
        if member is None:
            known = ", ".join(flag.replace("-", "_") for flag in DURATIONS)
            raise CliError(f"service {service}: x-shoal.{key} is not known; there is {known}")
        try:
            found[member] = values.positive_duration(str(value))
        except ValueError as wrong:
            raise CliError(f"service {service}: x-shoal.{key}: {wrong}") from wrong
    return header(found) if found else {}


def header(members: Mapping[str, Any]) -> dict[str, str]:
    return {HEADER: base64.b64encode(json.dumps(members, separators=(",", ":")).encode()).decode()}
