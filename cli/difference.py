"""What differs between two specs, member by member, and whether it restarts tasks. Pure.

Absent, empty and default are the same: clients leave out what the daemon fills in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

DEFAULTS: Mapping[str, Any] = {
    "Isolation": "default",
    "Runtime": "container",
    "UID": "0",
    "GID": "0",
    "Protocol": "tcp",
    "PublishMode": "ingress",
    "Scope": "swarm",
    "FailureAction": "pause",
    "Order": "stop-first",
}
# where the order says nothing: each entry is known by this member
KEYED = {"Networks": "Target", "Secrets": "SecretName", "Configs": "ConfigName", "Mounts": "Target", "Ports": "TargetPort"}
# found out by the daemon or by a registry, not asked for
FOUND_OUT = frozenset({"SecretID", "ConfigID", "Platforms", "ForceUpdate"})


class Change(NamedTuple):
    """One member that differs; "" stands for absent."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before or '(none)'} -> {self.after or '(none)'}"


def changes(before: Any, after: Any) -> list[Change]:
    """In order of their paths."""
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    return [
        Change(path, old.get(path, ""), new.get(path, "")) for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)
    ]


def restarts(found: list[Change]) -> bool:
    """Tasks are made anew: something of their template differs, or a port that is their own."""
    return any(
        change.path.startswith(("TaskTemplate.", "Shoal.Devices", "Shoal.DeviceRequests"))
        or ("Ports" in change.path and "host" in (change.before, change.after))
        for change in found
    )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if (
                name not in FOUND_OUT
                and member != DEFAULTS.get(name)
                and not (name == "Mode" and path == "EndpointSpec" and member == "vip")
            ):
                yield from _leaves(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        key = KEYED.get(path.rpartition(".")[2], "")
        for at, one in enumerate(value):
            yield from _leaves(one, f"{path}[{one.get(key, at) if isinstance(one, Mapping) and key else at}]")
    elif isinstance(value, list | tuple):
        if value:
            yield path, " ".join(map(str, value))
    elif value not in (None, "", 0, False):
        yield path, str(value)
