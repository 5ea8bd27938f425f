"""What Shoal adds to a service, checked by itself. Pure."""

from cluster.api.endpoint import CLIENT_IP
from cluster.api.errors import InvalidArgument
from cluster.api.probes import COMMANDS, HTTP, TCP, knock_of
from cluster.api.specs import Dependency, Device, Extensions, Readiness

MOST = 64
"""Entries of any of the lists."""
CONDITIONS = ("", "service_started", "service_healthy", "service_completed_successfully")


def check_extensions(extensions: Extensions) -> None:
    """Raises InvalidArgument for the first thing that is wrong."""
    if (extensions.drain_timeout or 0) < 0:
        raise InvalidArgument("drain-timeout cannot be negative")
    if (extensions.restart_backoff or 0) < 0:
        raise InvalidArgument("restart-backoff cannot be negative; 0 turns it off")
    if extensions.rebalance < 0:
        raise InvalidArgument("rebalance cannot be negative: it is how many tasks may move at a time, 0 for none")
    if extensions.on_disconnect not in ("", "keep", "stop"):
        raise InvalidArgument(f"unrecognized on-disconnect {extensions.on_disconnect!r}; use keep or stop")
    if extensions.endpoint_affinity not in ("", "none", CLIENT_IP):
        raise InvalidArgument(f"unrecognized endpoint-affinity {extensions.endpoint_affinity!r}; use none or {CLIENT_IP}")
    if max(map(len, (extensions.depends_on, extensions.devices, extensions.device_requests))) > MOST:
        raise InvalidArgument(f"a service can depend on at most {MOST} others, and have at most {MOST} devices")
    if extensions.readiness is not None:
        _check_readiness(extensions.readiness)
    for dependency in extensions.depends_on:
        _check_dependency(dependency)
    for device in extensions.devices:
        _check_device(device)


def _check_readiness(readiness: Readiness) -> None:
    kind, *words = readiness.test or ("",)
    if kind in (HTTP, TCP) and len(words) == 1:
        knock_of(readiness.test)
    elif kind not in COMMANDS or not words:
        raise InvalidArgument("readiness: the test is CMD and words, CMD-SHELL and one line, HTTP and 8080/path, or TCP and a port")
    if min(readiness.interval, readiness.timeout, readiness.retries) < 0:
        raise InvalidArgument("readiness: interval, timeout and retries cannot be negative")


def _check_dependency(dependency: Dependency) -> None:
    if not dependency.service:
        raise InvalidArgument("depends_on: an entry names no service")
    if dependency.condition not in CONDITIONS:
        known = ", ".join(CONDITIONS[1:])
        raise InvalidArgument(f"depends_on {dependency.service}: unrecognized condition {dependency.condition!r}; use {known}")


def _check_device(device: Device) -> None:
    if not device.path_on_host.startswith("/"):
        raise InvalidArgument(f"device {device.path_on_host!r} is no absolute path on the host")
    if set(device.cgroup_permissions) - set("rwm"):
        raise InvalidArgument(f"device {device.path_on_host}: permissions are made of r, w and m, not {device.cgroup_permissions!r}")
