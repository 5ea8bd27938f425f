"""What Shoal adds to Docker's service, on its way to the daemon: beside the spec, in a header that other daemons do not read. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli.errors import CliError
from cli.flags import values
from cli.flags.grammar import Flags

HEADER = "X-Shoal-Extensions"
READINESS = {"interval": "Interval", "timeout": "Timeout", "retries": "Retries"}
TESTS = {"cmd": "CMD-SHELL", "http": "HTTP", "tcp": "TCP"}
LABELS = "io.shoal."
# what inspect shows beside the extensions, and what an update does not send back
OBSERVED = frozenset({"PendingReason", "Rebalancing"})


def of_flags(flags: Flags, current: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The header that the flags ask for, over what the service has already; none if they ask for nothing."""
    given = {member: flags.value(flag) for flag, member in MEMBERS.items() if flag in flags}
    for flag, (member, read) in LISTS.items():
        if flag in flags:
            given[member] = [_read(f"--{flag}", read, entry) for entry in flags.many(flag) if entry]
    if "gpus" in flags:
        given["DeviceRequests"] = _read("--gpus", gpus, flags.text("gpus"))
    kept = {key: value for key, value in (current or {}).items() if key not in OBSERVED}
    readiness = _readiness_of(flags, kept.get("Readiness"))
    if readiness is not None:
        given["Readiness"] = readiness
    if flags.on("no-readiness"):
        given["Readiness"] = None
    addresses = publish_on(kept.get("PublishOn") or {}, [*flags.many("publish"), *flags.many("publish-add")])
    if addresses != (kept.get("PublishOn") or {}):
        given["PublishOn"] = addresses
    return header({**kept, **given}) if given else {}


def publish_on(current: Mapping[str, str], added: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """8080/tcp -> address. A port that is published anew without one is published on all of them."""
    found = dict(current)
    for port in added:
        key = f"{port.get('PublishedPort', 0)}/{port['Protocol']}"
        found.pop(key, None)
        if "HostIP" in port:
            found[key] = port["HostIP"]
    return found


def _readiness_of(flags: Flags, current: Mapping[str, Any] | None) -> dict[str, Any] | None:
    parts = {member: flags.value(f"readiness-{name}") for name, member in READINESS.items() if f"readiness-{name}" in flags}
    tests = [[kind, flags.text(f"readiness-{name}")] for name, kind in TESTS.items() if f"readiness-{name}" in flags]
    if len(tests) > 1:
        raise CliError("--readiness-cmd, --readiness-http and --readiness-tcp exclude one another")
    if tests:
        parts["Test"] = tests[0]
    if parts and "Test" not in parts and not current:
        raise CliError("--readiness-interval, -timeout and -retries need a --readiness-cmd, --readiness-http or --readiness-tcp to ask")
    return {**(current or {}), **parts} if parts else None


def members_of_stack(written: Mapping[str, Any], service: str) -> dict[str, Any]:
    """What a stack file's x-shoal asks for."""
    found: dict[str, Any] = {}
    for key, value in written.items():
        name = key.replace("_", "-")
        if name not in STACK:
            known = ", ".join(sorted(other.replace("-", "_") for other in STACK))
            raise CliError(f"service {service}: x-shoal.{key} is not known; there is {known}")
        member, read = STACK[name]
        try:
            found[member] = read(value)
        except (ValueError, TypeError, AttributeError) as wrong:
            raise CliError(f"service {service}: x-shoal.{key}: {wrong}") from wrong
    return {member: value for member, value in found.items() if value not in ([], None)}


def deployed(written: Mapping[str, Any], service: str, labels: Mapping[str, str], current: Mapping[str, Any] | None) -> dict[str, str]:
    """The header of a deploy: what the file no longer wishes is taken back. Wishes in the service's labels stand by themselves."""
    found = members_of_stack(written, service)
    if not found and any(label.startswith(LABELS) for label in labels):
        return {}
    return header(found) if found or (current or {}).keys() - OBSERVED else {}


def header(members: Mapping[str, Any]) -> dict[str, str]:
    return {HEADER: base64.b64encode(json.dumps(members, separators=(",", ":")).encode()).decode()}


# -- single values -----------------------------------------------------------------------------------------------------------------------
def _read(flag: str, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError as wrong:
        raise CliError(f'invalid argument "{text}" for {flag}: {wrong}') from wrong


def dependency(text: str) -> dict[str, str]:
    """SERVICE[:CONDITION]"""
    name, _, condition = text.partition(":")
    if not name:
        raise ValueError("it names no service")
    return {"Service": name, **({"Condition": condition} if condition else {})}


def device(text: str) -> dict[str, str]:
    """HOST[:CONTAINER][:PERMISSIONS], as `docker run --device` has it."""
    host, _, rest = text.partition(":")
    inside, _, permissions = rest.partition(":")
    if inside and not inside.startswith("/"):
        inside, permissions = "", inside
    if not host.startswith("/"):
        raise ValueError("the device's path on the host must be absolute")
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": permissions or "rwm"}


def gpus(text: str) -> list[dict[str, Any]]:
    """`all`, a number, or device=ID[,ID...]; nothing for none."""
    if not text:
        return []
    wish: dict[str, Any] = {"Capabilities": [["gpu"]]}
    if text.startswith("device="):
        return [{**wish, "DeviceIDs": [one for one in text.removeprefix("device=").split(",") if one]}]
    if text != "all" and not text.isdigit():
        raise ValueError("write all, a number, or device=ID")
    return [{**wish, "Count": -1 if text == "all" else int(text)}]


# -- a stack file's values ---------------------------------------------------------------------------------------------------------------
def _duration(value: Any) -> int:
    return 0 if value is False or value in ("off", "none") else values.positive_duration(str(value))


def _readiness(written: Any) -> dict[str, Any]:
    if not isinstance(written, Mapping):
        raise ValueError("write a mapping with test, http or tcp, and interval, timeout and retries")
    found: dict[str, Any] = {"Test": _test(written)}
    for name, member in READINESS.items():
        if name in written:
            found[member] = int(written[name]) if name == "retries" else values.positive_duration(str(written[name]))
    if unknown := sorted(set(written) - READINESS.keys() - TESTS.keys() - {"test"}):
        raise ValueError(f"{unknown[0]} is not known; there is test, http, tcp, interval, timeout and retries")
    return found


def _test(written: Mapping[str, Any]) -> list[str]:
    tests = [[kind, str(written[name])] for name, kind in TESTS.items() if written.get(name)]
    if test := written.get("test"):
        words = ["CMD-SHELL", test] if isinstance(test, str) else [str(word) for word in test]
        tests.append(words if words[0] in ("CMD", *TESTS.values()) else ["CMD", *words])
    if len(tests) != 1:
        raise ValueError("it needs one test: a command as test, 8080/path as http, or a port as tcp")
    return tests[0]


def _dependencies(written: Any) -> list[dict[str, str]]:
    if isinstance(written, Mapping):
        return [dependency(f"{name}:{(one or {}).get('condition', '')}") for name, one in written.items()]
    return [dependency(str(one)) for one in written]


def _addresses(written: Any) -> dict[str, str]:
    if not isinstance(written, Mapping):
        raise ValueError("write a mapping of ports to addresses, as in 8080/tcp: 10.0.0.1")
    return {port if "/" in port else f"{port}/tcp": str(address) for port, address in ((str(key), value) for key, value in written.items())}


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


MEMBERS = {
    "drain-timeout": "DrainTimeout",
    "restart-backoff": "RestartBackoff",
    "rebalance": "Rebalance",
    "on-disconnect": "OnDisconnect",
    "endpoint-affinity": "EndpointAffinity",
    "endpoint-prefer-local": "EndpointPreferLocal",
}
LISTS: Mapping[str, tuple[str, Callable[[str], Any]]] = {"depends-on": ("DependsOn", dependency), "device": ("Devices", device)}
STACK: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "drain-timeout": ("DrainTimeout", lambda value: values.positive_duration(str(value))),
    "restart-backoff": ("RestartBackoff", _duration),
    "readiness": ("Readiness", _readiness),
    "depends-on": ("DependsOn", _dependencies),
    "devices": ("Devices", lambda value: [device(str(one)) for one in value]),
    "gpus": ("DeviceRequests", lambda value: gpus(str(value))),
    "rebalance": ("Rebalance", int),
    "on-disconnect": ("OnDisconnect", str),
    "endpoint-affinity": ("EndpointAffinity", str),
    "endpoint-prefer-local": ("EndpointPreferLocal", _switch),
    "publish-on": ("PublishOn", _addresses),
}
