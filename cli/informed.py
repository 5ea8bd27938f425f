"""The pages of `info` and `system df -v`: what the daemon says of itself, in Docker's order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from cli import human
from cli.client import Json
from cli.render import short_id, table, truncated
from cli.versions import VERSION


def page(info: Json) -> str:
    """What `info` prints."""
    lines = ["Client:", f" Version:    {VERSION}", "", "Server:"]
    lines += [f" Containers: {info.get('Containers', 0)}"]
    lines += [f"  {title}: {info.get(f'Containers{title}', 0)}" for title in ("Running", "Paused", "Stopped")]
    lines += _given(info, (("Images", "Images"), ("Server Version", "ServerVersion"), ("Storage Driver", "Driver")))
    lines += [f"  {name}: {value}" for name, value in info.get("DriverStatus") or ()]
    lines += _given(info, (("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"), ("Cgroup Version", "CgroupVersion")))
    plugins = info.get("Plugins") or {}
    lines += [" Plugins:"] + [f"  {kind}: {' '.join(plugins[kind])}" for kind in ("Volume", "Network", "Log") if plugins.get(kind)]
    lines += _swarm(info.get("Swarm") or {})
    if runtimes := info.get("Runtimes"):
        lines.append(f" Runtimes: {' '.join(sorted(runtimes))}")
    lines += _given(info, (("Default Runtime", "DefaultRuntime"), ("Init Binary", "InitBinary")))
    for title, member in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")):
        if commit := (info.get(member) or {}).get("ID"):
            lines.append(f" {title} version: {commit}")
    lines += _security(info.get("SecurityOptions") or ())
    lines += _given(
        info,
        (
            ("Kernel Version", "KernelVersion"),
            ("Operating System", "OperatingSystem"),
            ("OSType", "OSType"),
            ("Architecture", "Architecture"),
            ("CPUs", "NCPU"),
        ),
    )
    lines.append(f" Total Memory: {human.bytes_size(info.get('MemTotal') or 0)}")
    lines += _given(info, (("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir")))
    lines += [
        f" {title}: {str(bool(info.get(member))).lower()}"
        for title, member in (("Debug Mode", "Debug"), ("Experimental", "ExperimentalBuild"))
    ]
    if labels := info.get("Labels"):
        lines += [" Labels:", *(f"  {label}" for label in labels)]
    if insecure := (info.get("RegistryConfig") or {}).get("InsecureRegistryCIDRs"):
        lines += [" Insecure Registries:", *(f"  {cidr}" for cidr in insecure)]
    lines.append(f" Live Restore Enabled: {str(bool(info.get('LiveRestoreEnabled'))).lower()}")
    return "\n".join([*lines, ""])


def _given(info: Json, rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f" {title}: {info[member]}" for title, member in rows if info.get(member) not in (None, "")]


def _swarm(swarm: Json) -> list[str]:
    lines = [f" Swarm: {swarm.get('LocalNodeState') or 'inactive'}"]
    if swarm.get("LocalNodeState") in {None, "", "inactive", "locked"}:
        return lines
    lines.append(f"  NodeID: {swarm.get('NodeID', '')}")
    if swarm.get("Error"):
        lines.append(f"  Error: {swarm['Error']}")
    lines.append(f"  Is Manager: {str(bool(swarm.get('ControlAvailable'))).lower()}")
    cluster = swarm.get("Cluster") or {}
    if swarm.get("ControlAvailable") and cluster:
        lines += [f"  ClusterID: {cluster.get('ID', '')}", f"  Managers: {swarm.get('Managers', 0)}", f"  Nodes: {swarm.get('Nodes', 0)}"]
        lines += _cluster(cluster)
    lines.append(f"  Node Address: {swarm.get('NodeAddr', '')}")
    managers = sorted(str(one.get("Addr", "")) for one in swarm.get("RemoteManagers") or ())
    return [*lines, "  Manager Addresses:", *(f"   {address}" for address in managers)] if managers else lines


def _cluster(cluster: Json) -> list[str]:
    spec = cluster.get("Spec") or {}
    raft, ca = spec.get("Raft") or {}, spec.get("CAConfig") or {}
    lines = []
    if pools := cluster.get("DefaultAddrPool"):
        lines += [f"  Default Address Pool: {' '.join(pools)}", f"  SubnetSize: {cluster.get('SubnetSize', 24)}"]
    lines += [
        f"  Data Path Port: {cluster.get('DataPathPort') or 4789}",
        "  Orchestration:",
        f"   Task History Retention Limit: {(spec.get('Orchestration') or {}).get('TaskHistoryRetentionLimit', 5)}",
        "  Raft:",
        f"   Snapshot Interval: {raft.get('SnapshotInterval', 0)}",
        f"   Number of Old Snapshots to Retain: {raft.get('KeepOldSnapshots') or 0}",
        f"   Heartbeat Tick: {raft.get('HeartbeatTick', 0)}",
        f"   Election Tick: {raft.get('ElectionTick', 0)}",
        "  Dispatcher:",
        f"   Heartbeat Period: {_span((spec.get('Dispatcher') or {}).get('HeartbeatPeriod') or 0)}",
        "  CA Configuration:",
        f"   Expiry Duration: {_span(ca.get('NodeCertExpiry') or 0)}",
        f"   Force Rotate: {ca.get('ForceRotate') or 0}",
    ]
    if external := ca.get("ExternalCAs"):
        lines += ["   External CAs:", *(f"     {one.get('Protocol', '')}: {one.get('URL', '')}" for one in external)]
    lines.append(f"  Autolock Managers: {str(bool((spec.get('EncryptionConfig') or {}).get('AutoLockManagers'))).lower()}")
    return [*lines, f"  Root Rotation In Progress: {str(bool(cluster.get('RootRotationInProgress'))).lower()}"]


def _span(nanoseconds: int) -> str:
    from datetime import timedelta  # noqa: PLC0415 - with the type above it would only be for the two lines that use it

    return human.since(timedelta(microseconds=nanoseconds // 1000))


def _security(options: Sequence[str]) -> list[str]:
    lines = []
    for option in options:
        facts = dict(pair.partition("=")[::2] for pair in option.split(","))
        lines.append(f"  {facts.pop('name', option)}")
        lines += [f"   {key.capitalize()}: {value}" for key, value in facts.items()]
    return [" Security Options:", *lines] if lines else []


def usage_page(usage: Json, *, now: datetime) -> str:
    """What `system df -v` prints."""
    images = [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]]
    images += [row for one in usage.get("Images") or () for row in _image_rows(one, now)]
    containers = [["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"]]
    containers += [_container_row(one, now) for one in usage.get("Containers") or ()]
    volumes = [["VOLUME NAME", "LINKS", "SIZE"]]
    volumes += [
        [one["Name"], str(data.get("RefCount", 0)), human.decimal_size(max(data.get("Size", 0), 0))]
        for one in usage.get("Volumes") or ()
        for data in (one.get("UsageData") or {},)
    ]
    cache = human.decimal_size(sum(one.get("Size", 0) for one in usage.get("BuildCache") or ()))
    return (
        f"Images space usage:\n\n{table(images)}\nContainers space usage:\n\n{table(containers)}\n"
        f"Local Volumes space usage:\n\n{table(volumes)}\nBuild cache usage: {cache}\n"
    )


def _image_rows(image: Json, now: datetime) -> list[list[str]]:
    shared = max(image.get("SharedSize", 0), 0)
    created = human.since(now - datetime.fromtimestamp(image.get("Created", 0), now.tzinfo)) + " ago"
    sizes = [human.decimal_size(size) for size in (image.get("Size", 0), shared, image.get("Size", 0) - shared)]
    rows = []
    for name in image.get("RepoTags") or ["<none>:<none>"]:
        repository, _, tag = name.rpartition(":")
        rows.append([repository, tag, short_id(image["Id"]), created, *sizes, str(max(image.get("Containers", 0), 0))])
    return rows


def _container_row(container: Json, now: datetime) -> list[str]:
    volumes = sum(1 for mount in container.get("Mounts") or () if mount.get("Driver") == "local")
    created = human.since(now - datetime.fromtimestamp(container.get("Created", 0), now.tzinfo)) + " ago"
    values: list[Any] = [short_id(container["Id"]), container.get("Image", ""), f'"{truncated(container.get("Command", ""), 20)}"', volumes]
    names = ",".join(name.lstrip("/") for name in container.get("Names") or ())
    values += [human.decimal_size(container.get("SizeRw") or 0), created, container.get("Status", ""), names]
    return [str(value) for value in values]
