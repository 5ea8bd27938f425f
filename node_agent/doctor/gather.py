"""Gathers the facts of this host, with a daemon or without one: state folder, runtime folder, engine, managers, kernel. Thin."""

import http.client
import json
import os
import shutil
import socket
import ssl
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from cluster.api.errors import ShoalError
from cluster.api.states import Role
from cluster.rpc.identity import facts as certificate_facts
from node_agent.addresses import split_port
from node_agent.config import Config
from node_agent.doctor import gather_kernel
from node_agent.doctor.facts import DaemonFacts, Disk, EngineFacts, Facts, Member, Taken
from node_agent.doctor.firewall_checks import BOOTSTRAP
from node_agent.network import memory
from node_agent.network.balance.driver import SOCKET
from node_agent.network.data_plane import NAME_FILE
from node_agent.network.holding import listeners
from node_agent.network.naming import NETWORK_LABEL
from node_agent.network.plane import STATE_FILE
from node_agent.network.view import Known
from node_agent.state import NodeFacts
from worker.engine.find import USUAL_SOCKETS
from worker.engine.launcher import lives, pid_in
from worker.plan import CLUSTER_LABEL

_SECONDS = 3.0
_DAEMON = (b"shoald", b"node_agent.main")
"""What its command line has."""


def gather(config: Config) -> Facts:
    known = memory.Memory(config.runtime / "network" / STATE_FILE).load()
    member = _member(config.data)
    daemon = _daemon(config)
    kernel = gather_kernel.look(known.view.mark_base)
    return Facts(
        now=time.time(),
        is_root=os.geteuid() == 0,
        member=member,
        known=known,
        daemon=daemon,
        engine=_engine(config),
        lacking=gather_kernel.lacking(),
        skews=_skews(member),
        disks=tuple(_disks(config)),
        taken=tuple(_taken(known, (daemon.pid, *_balancers(config)))) if daemon.pid else (),
        leftovers=() if daemon.pid else tuple(_left_in(config.runtime)),
        **kernel._asdict(),
    )


# -- this daemon ---------------------------------------------------------------------------------------------------------------------------
def _member(data: Path) -> Member | None:
    """What the state folder says, without its lock."""
    folder = data / "swarm"
    try:
        node = msgspec.json.decode((folder / "node.json").read_bytes(), type=NodeFacts)
    except (OSError, msgspec.DecodeError):
        return None
    managers = tuple(manager.addr for manager in node.managers)
    member = Member(
        node_id=node.node_id,
        cluster_id=node.cluster_id,
        is_manager=False,
        listen_port=split_port(node.listen_addr)[1],
        managers=managers,
    )
    with suppress(OSError, ShoalError):
        said = certificate_facts((folder / "node.crt").read_bytes())
        role = said.role is Role.MANAGER
        return msgspec.structs.replace(member, is_manager=role, certificate_begins=said.not_before, certificate_ends=said.not_after)
    return member


def _daemon(config: Config) -> DaemonFacts:
    pid = daemon_pid(config)
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, ValueError):
        return DaemonFacts()
    limit = next((line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")), "0")
    plane = config.runtime / "network" / NAME_FILE
    return DaemonFacts(
        pid=pid,
        descriptors=descriptors,
        descriptor_limit=int(limit) if limit.isdigit() else 0,
        data_plane=plane.read_text().strip() if plane.exists() else "",
    )


def daemon_pid(config: Config) -> int:
    """Of the daemon that runs; 0 for none. A file that a killed one left may name anybody by now."""
    pid = pid_in(Path(config.pidfile))
    return pid if pid and any(lives(pid, word) for word in _DAEMON) else 0


def _balancers(config: Config) -> Iterator[int]:
    """The process that listens in the daemon's place where the kernel may not be programmed."""
    control = os.fsencode(config.runtime / "network" / SOCKET)
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if control in line.read_bytes().split(b"\0"):
                yield int(line.parent.name)


def _taken(known: Known, ours: Collection[int]) -> Iterator[Taken]:
    """Published ports that a program other than ours listens on."""
    named = tuple(f"(process {pid})" for pid in ours)
    for service in known.view.services.values():
        for port in service.ports:
            protocol = port.protocol or "tcp"
            if port.publish_mode == "host" or not port.published_port or protocol not in ("tcp", "udp"):
                continue
            others = [who for who in listeners(protocol, port.published_port, port.host_ip) if not who.endswith(named)]
            if others:
                yield Taken(protocol=protocol, port=port.published_port, service=service.name, by=", ".join(others))


def _disks(config: Config) -> Iterator[Disk]:
    seen = set()
    engine = Path(config.engine_root) if config.engine_root else config.data
    for path in (config.data, engine, Path("/var/lib/docker")):
        with suppress(OSError):
            there, device = os.statvfs(path), os.stat(path).st_dev
            if device in seen:
                continue
            seen.add(device)
            yield Disk(
                path=str(path),
                total=there.f_blocks * there.f_frsize,
                free=there.f_bavail * there.f_frsize,
                inodes=there.f_files,
                inodes_free=there.f_favail,
            )


def _left_in(runtime: Path) -> Iterator[str]:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    if str(runtime / "secrets") in mounts:
        yield f"secrets in memory: {runtime / 'secrets'}"
    for folder in sorted((runtime / "network" / "tasks").glob("*")):
        yield f"files of task {folder.name}"


# -- its engine ----------------------------------------------------------------------------------------------------------------------------
class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, *, seconds: float = _SECONDS) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _engine(config: Config) -> EngineFacts:
    chosen = Path(config.engine_root or config.data_root) / "engine.address"
    named = config.engine if config.engine.startswith("unix://") else chosen.read_text().strip() if chosen.exists() else ""
    own = str(config.runtime / "engine" / "docker.sock")
    candidates = [named.removeprefix("unix://")] if named else [own, *USUAL_SOCKETS]
    path = next((one for one in candidates if one and os.path.exists(one)), "")
    if not path:
        return (
            EngineFacts(address=named, problem="it is not there") if named else EngineFacts(startable=shutil.which("dockerd") is not None)
        )
    try:
        return _asked(path)
    except (OSError, ValueError, KeyError, http.client.HTTPException) as problem:
        return EngineFacts(address=path, problem=f"does not answer: {problem}")


def _asked(path: str) -> EngineFacts:
    version, told = _get(path, "/version"), _get(path, "/info")
    labelled = quote(json.dumps({"label": [NETWORK_LABEL]}))
    networks = {one["Name"]: one["Labels"][NETWORK_LABEL] for one in _get(path, f"/networks?filters={labelled}")}
    labelled = quote(json.dumps({"label": [CLUSTER_LABEL]}))
    containers = _get(path, f"/containers/json?all=1&filters={labelled}")
    return EngineFacts(
        address=path,
        version=version.get("Version", ""),
        api=version.get("ApiVersion", ""),
        cgroup_version=str(told.get("CgroupVersion", "")),
        in_swarm=(told.get("Swarm") or {}).get("LocalNodeState", "inactive") not in ("", "inactive"),
        live_restore=bool(told.get("LiveRestoreEnabled")),
        networks=networks,
        task_containers={one["Names"][0].lstrip("/"): one["Labels"][CLUSTER_LABEL] for one in containers},
    )


def _get(path: str, target: str) -> Any:
    connection = UnixConnection(path)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(body.decode(errors="replace").strip())
        return json.loads(body)
    finally:
        connection.close()


# -- its managers --------------------------------------------------------------------------------------------------------------------------
def _skews(member: Member | None) -> Mapping[str, float]:
    """How far each manager's clock is ahead, to a second: by the date of an answer where nodes join. A hint: no certificate is checked."""
    found = {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for manager in () if member is None else member.managers:
        host, port = split_port(manager)
        connection = http.client.HTTPSConnection(host, port + BOOTSTRAP, timeout=_SECONDS, context=context)
        with suppress(OSError, http.client.HTTPException, ValueError, TypeError):
            connection.request("GET", "/ca")
            theirs = parsedate_to_datetime(connection.getresponse().headers["Date"]).timestamp()
            ahead = theirs - time.time()
            found[manager] = ahead if abs(ahead) > 1.5 else 0.0
        connection.close()
    return found
