"""What the worker needs of others: an engine that runs containers, a sandbox that connects them.

`worker.engine` implements Engine (docker.py, memory.py); `node_agent.network` implements Sandbox. One contract suite runs against
the twin and the real thing of each.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from cluster.api.assignment import AssignedTask
from cluster.api.endpoint import OverlayNetwork
from cluster.api.errors import ShoalError
from cluster.api.ids import Id
from cluster.api.specs import ContainerSpec, Device, DeviceRequest, LogDriver, PortConfig, Resources
from cluster.api.values import Value


class EngineError(ShoalError):
    """The engine refused or failed; the text is the engine's own words."""


class NoSuchImage(EngineError):
    """The image is not here and could not be pulled: the task is Rejected, with the engine's words."""


class EngineGone(EngineError):
    """The engine does not answer. Not the task's fault: wait for it to come back."""


class EngineNetwork(Value, frozen=True, kw_only=True):
    """A network of the engine that a container joins; `name` may be `host`, `none` or a bridge that the sandbox made."""

    name: str
    address: str = ""
    """Without prefix length; empty lets the engine choose."""
    mac: str = ""
    aliases: tuple[str, ...] = ()


class SandboxPlan(Value, frozen=True, kw_only=True):
    """How a task's container is to be connected. The first network carries the default route."""

    networks: tuple[EngineNetwork, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    """(host path, path in the container), read-only: resolv.conf, secrets and configs come on top."""
    network_namespace: str = ""
    """Engines that can join a namespace by path are given it; dockerd is not."""


class ContainerPlan(Value, frozen=True, kw_only=True):
    """All that an engine needs to create one task's container."""

    name: str
    labels: Mapping[str, str]
    spec: ContainerSpec
    resources: Resources | None = None
    log_driver: LogDriver | None = None
    sandbox: SandboxPlan = SandboxPlan()
    host_ports: tuple[PortConfig, ...] = ()
    devices: tuple[Device, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    hostname: str = ""
    files: tuple[tuple[str, str, bool], ...] = ()
    """(host path, path in the container, read-only): secrets, configs, the rewritten docker.sock."""


class ContainerState(Value, frozen=True, kw_only=True):
    """What an engine says of a container."""

    id: str
    name: str = ""
    labels: Mapping[str, str] = {}
    running: bool = False
    created_only: bool = False
    """Created and never started."""
    pid: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    health: str = ""
    """`starting`, `healthy`, `unhealthy`; empty without a health check."""
    health_log: str = ""
    """The output of the last failed probe."""
    started_at: str = ""
    addresses: Mapping[str, str] = {}
    """engine network name -> address."""
    ports: tuple[PortConfig, ...] = ()
    """Host-mode ports as published."""


class EngineEvent(Value, frozen=True, kw_only=True):
    """Something happened to a container of ours: look at it. `kind` is the engine's word: start, die, oom, destroy, health_status."""

    container_id: str
    kind: str
    labels: Mapping[str, str] = {}
    exit_code: int | None = None


LISTENING = "listening"
"""The kind of the event that says: the subscription stands."""


class EngineInfo(Value, frozen=True, kw_only=True):
    """Inventory of the engine and what it can do."""

    name: str = "docker"
    version: str = ""
    api_version: str = ""
    architecture: str = ""
    os: str = "linux"
    cpus: int = 0
    memory_bytes: int = 0
    labels: Mapping[str, str] = {}
    plugins: tuple[Mapping[str, str], ...] = ()
    in_swarm_mode: bool = False
    id: str = ""


class ExecResult(Value, frozen=True, kw_only=True):
    """How a command that was run inside a container ended."""

    exit_code: int
    output: str = ""
    """Both streams, at most 4 KiB of them."""


class LogLine(Value, frozen=True, kw_only=True):
    source: int
    """1 stdout, 2 stderr."""
    timestamp: int
    """ns since 1970."""
    line: bytes
    """As written, its newline included; a line too long for the engine comes in pieces, only the last has one."""


class Engine(Protocol):
    """Every method raises EngineError (with the engine's words) or EngineGone."""

    async def info(self) -> EngineInfo: ...

    async def pull(self, image: str, *, registry_auth: str) -> None:
        """See that the image is here: once per image at a time, whoever asks. Returns at once for an image id that is here.

        A failed pull of an image that is here anyway is not an error. Raises NoSuchImage.
        """
        ...

    async def create(self, plan: ContainerPlan) -> str:
        """Create the container and connect it to its networks; returns its id. An equal name left over from us is replaced."""
        ...

    async def start(self, container_id: str) -> None: ...

    async def stop(self, container_id: str, *, grace: float, signal: str) -> None:
        """Signal, and kill after `grace` seconds; returns when it is down. One that is down or gone is fine."""
        ...

    async def remove(self, container_id: str) -> None:
        """With its anonymous volumes. One that is gone is fine."""
        ...

    async def inspect(self, container_id: str) -> ContainerState | None:
        """None: there is no such container."""
        ...

    async def list(self, labels: Mapping[str, str]) -> Sequence[ContainerState]:
        """Every container, running or not, with all of these labels."""
        ...

    async def exec(self, container_id: str, command: Sequence[str]) -> ExecResult:
        """Run a command beside the container's own process, and wait for its end; the caller bounds the time."""
        ...

    def events(self) -> AsyncGenerator[EngineEvent, None]:
        """From now on, without end; raises EngineGone when the connection breaks: subscribe anew.

        The first one is `LISTENING`: whoever lists after it misses nothing.
        """
        ...

    def logs(
        self, container_id: str, *, follow: bool, tail: int, since: int, until: int, stdout: bool, stderr: bool
    ) -> AsyncGenerator[LogLine, None]:
        """Lines with their times; `tail` -1 is all; since/until in ns, 0 for none. Ends when the container has ended and all is read."""
        ...


class Sandbox(Protocol):
    """The network side of one task on this node. Every call is idempotent: a restarted daemon calls them again for what runs."""

    async def serve(self, networks: Sequence[OverlayNetwork]) -> None:
        """These networks are (also) used here from now on: make what `prepare` will need."""
        ...

    async def prepare(self, task: AssignedTask) -> SandboxPlan:
        """Before create: the engine networks with their addresses, resolv.conf. Raises SandboxError with a reason for the user."""
        ...

    async def attach(self, task: AssignedTask, container: ContainerState) -> None:
        """After each start (a new pid): program VIPs in its namespace, let it take local traffic."""
        ...

    async def withdraw(self, task_id: Id) -> None:
        """It takes no more new traffic from here, at once, quorum or not."""
        ...

    async def admit(self, task_id: Id) -> None:
        """It may take traffic again, as far as this node is concerned."""
        ...

    async def ask(self, task: AssignedTask, container: ContainerState, port: int, request: bytes) -> bytes:
        """Connect to a TCP port of the task's where others reach it, and send the request; returns the first line of the answer.

        Without a request the connection is all that is asked. The caller bounds the time. Raises OSError.
        """
        ...

    async def open_connections(self, task_id: Id) -> int:
        """Established connections to it that came through services, counted in its namespace; 0 if it is gone."""
        ...

    async def listening(self, task_id: Id) -> frozenset[int] | None:
        """The TCP ports at which others reach it, by now; None when that cannot be told."""
        ...

    async def remove(self, task_id: Id) -> None:
        """After the container is down: give back what prepare took; the last user of a network takes its bridge away."""
        ...


class SandboxError(Exception):
    """The task cannot be connected; the text says why and what to do."""
