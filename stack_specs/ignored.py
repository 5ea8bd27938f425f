"""What a stack file may say although no cluster acts on it: docker's words about such keys."""

from collections.abc import Iterator

from stack_specs.model import Stack
from stack_specs.values import Value

_UNSUPPORTED = (
    "build",
    "cgroup_parent",
    "cgroupns_mode",
    "devices",
    "domainname",
    "external_links",
    "ipc",
    "links",
    "mac_address",
    "network_mode",
    "pid",
    "privileged",
    "restart",
    "security_opt",
    "shm_size",
    "userns_mode",
)
_DEPRECATED = {
    "container_name": "Setting the container name is not supported.",
    "expose": ("Exposing ports is unnecessary - services on the same network can access each other's containers on any port."),
}


_NOT_SENT = ("oom_score_adj",)
"""Docker 28 accepts these and does not send them. It says nothing; we do."""


def warnings(stack: Stack) -> tuple[str, ...]:
    """One warning for all keys without support, one for all that are deprecated; each ends in an empty line, as docker prints it."""
    used = set(_keys(stack))
    found = []
    if unsupported := [key for key in _UNSUPPORTED if key in used]:
        found.append(f"Ignoring unsupported options: {', '.join(unsupported)}\n")
    if deprecated := [f"{key}: {reason}" for key, reason in _DEPRECATED.items() if key in used]:
        found.append("Ignoring deprecated options:\n\n" + "\n\n".join(deprecated) + "\n")
    found += [f"{key} is ignored: docker accepts it in a stack and does not send it" for key in _NOT_SENT if key in used]
    return tuple(found)


def _keys(stack: Stack) -> Iterator[str]:
    for file in stack.documents:
        for service in _mapping(file.content.get("services")).values():
            yield from _mapping(service)


def _mapping(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}
