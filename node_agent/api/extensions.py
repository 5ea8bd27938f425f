"""Shoal's own wishes for a service: from the header X-Shoal-Extensions (our CLI), or from labels `io.shoal.*` (any client). Pure."""

import base64
import json
import shlex
from collections.abc import Callable, Mapping

import msgspec

from cluster.api.errors import InvalidArgument
from cluster.api.specs import Dependency, Device, DeviceRequest, Extensions, Readiness, ServiceSpec

HEADER = "x-shoal-extensions"
PREFIX = "io.shoal."

_UNITS = {"ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}


def extensions_of(header: str | None, spec: ServiceSpec) -> Extensions | None:
    """None: neither was given, so the service keeps what it has. The header wins."""
    if header:
        try:
            return msgspec.json.decode(base64.b64decode(header, validate=True), type=Extensions)
        except (ValueError, msgspec.MsgspecError) as wrong:
            raise InvalidArgument(f"the header X-Shoal-Extensions cannot be read: {wrong}") from wrong
    labels = {name.removeprefix(PREFIX): value for name, value in spec.labels.items() if name.startswith(PREFIX)}
    return of_labels(labels) if labels else None


def of_labels(labels: Mapping[str, str]) -> Extensions:
    """Each label by its name without the prefix. Raises InvalidArgument for one that means nothing: it would be a wish unheard."""
    if unknown := sorted(labels.keys() - _MEMBERS.keys() - _READINESS):
        known = ", ".join(PREFIX + name for name in sorted(_MEMBERS.keys() | _READINESS))
        raise InvalidArgument(f"label {PREFIX}{unknown[0]} means nothing to this version of Shoal; it knows {known}")
    found: dict[str, object] = {}
    for name, (member, read) in _MEMBERS.items():
        if name in labels:
            found[member] = _read(name, read, labels[name])
    readiness = {name.removeprefix("readiness."): value for name, value in labels.items() if name.startswith("readiness.")}
    if readiness:
        found["readiness"] = _readiness(readiness)
    return Extensions(**found)  # type: ignore[arg-type] # _MEMBERS pairs each member with a reader of its type


def _read(name: str, read: Callable[[str], object], text: str) -> object:
    try:
        return read(text)
    except ValueError as wrong:
        raise InvalidArgument(f"label {PREFIX}{name}: {wrong}") from wrong


def _readiness(parts: Mapping[str, str]) -> Readiness:
    tests = [(kind, parts[name]) for name, kind in _TESTS.items() if name in parts]
    if len(tests) != 1:
        raise InvalidArgument(f"give one of the labels {PREFIX}readiness.cmd, .http and .tcp: it says whether a task is ready")
    return Readiness(
        test=tests[0],
        interval=int(str(_read("readiness.interval", _duration, parts.get("interval", "0s")))),
        timeout=int(str(_read("readiness.timeout", _duration, parts.get("timeout", "0s")))),
        retries=int(str(_read("readiness.retries", _count, parts.get("retries", "0")))),
    )


def _duration(text: str) -> int:
    for unit in ("ms", "s", "m", "h"):
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdigit():
            return int(float(number) * _UNITS[unit])
    raise ValueError(f"{text!r} is no duration: write it as 500ms, 5s or 1m")


def _backoff(text: str) -> int:
    return 0 if text in ("off", "none", "0") else _duration(text)


def _count(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{text!r} is no number")
    return int(text)


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _depends_on(text: str) -> tuple[Dependency, ...]:
    """`db,migrate:service_completed_successfully`, or JSON as a stack file has it."""
    if text.lstrip().startswith("{"):
        written = json.loads(text)
        return tuple(Dependency(service=name, condition=str((one or {}).get("condition", ""))) for name, one in written.items())
    pairs = (entry.strip().partition(":") for entry in text.split(",") if entry.strip())
    return tuple(Dependency(service=name, condition=condition) for name, _, condition in pairs)


def _devices(text: str) -> tuple[Device, ...]:
    """`/dev/kvm,/dev/sda:/dev/disk:r`, as `docker run --device` has them."""
    return tuple(_device(entry.strip()) for entry in text.split(",") if entry.strip())


def _device(text: str) -> Device:
    host, _, rest = text.partition(":")
    inside, _, permissions = rest.partition(":")
    if inside and not inside.startswith("/"):
        inside, permissions = "", inside
    return Device(path_on_host=host, path_in_container=inside or host, cgroup_permissions=permissions or "rwm")


def _gpus(text: str) -> tuple[DeviceRequest, ...]:
    """`all`, a number, or `device=UUID;UUID`."""
    if text.startswith("device="):
        ids = tuple(shlex.split(text.removeprefix("device=").replace(";", " ")))
        return (DeviceRequest(device_ids=ids, capabilities=(("gpu",),)),)
    return (DeviceRequest(count=-1 if text == "all" else _count(text), capabilities=(("gpu",),)),)


def _publish_on(text: str) -> dict[str, str]:
    """`8080/tcp=10.0.0.1,53/udp=10.0.0.1`; tcp may be left out."""
    pairs = (entry.strip().partition("=") for entry in text.split(",") if entry.strip())
    return {port if "/" in port else f"{port}/tcp": address for port, _, address in pairs}


_TESTS = {"cmd": "CMD-SHELL", "http": "HTTP", "tcp": "TCP"}
_READINESS = frozenset(f"readiness.{part}" for part in (*_TESTS, "interval", "timeout", "retries"))
_MEMBERS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "drain-timeout": ("drain_timeout", _duration),
    "restart-backoff": ("restart_backoff", _backoff),
    "depends-on": ("depends_on", _depends_on),
    "devices": ("devices", _devices),
    "gpus": ("device_requests", _gpus),
    "rebalance": ("rebalance", _count),
    "on-disconnect": ("on_disconnect", str),
    "endpoint-affinity": ("endpoint_affinity", str),
    "endpoint-prefer-local": ("endpoint_prefer_local", _switch),
    "publish-on": ("publish_on", _publish_on),
}
