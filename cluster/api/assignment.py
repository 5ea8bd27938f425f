"""What a node is told to run, and what it says back: the messages of the session stream."""

from msgspec import Struct

from cluster.api.endpoint import EndpointUpdate, OverlayNetwork
from cluster.api.ids import Id
from cluster.api.objects import NodeDescription, TaskStatus
from cluster.api.specs import Device, DeviceRequest, Labels, NamedResource, PortConfig, Readiness, TaskSpec
from cluster.api.states import Role, TaskState
from cluster.api.values import Value


class AssignedAttachment(Value, frozen=True, kw_only=True):
    network_id: Id
    address: str
    """With prefix length."""
    aliases: tuple[str, ...] = ()


class AssignedTask(Value, frozen=True, kw_only=True):
    """Everything a node needs to run one task; secrets, configs and networks come beside it, once each."""

    id: Id
    service_id: Id
    service_name: str
    slot: int
    node_id: Id
    spec: TaskSpec
    desired_state: TaskState
    state: TaskState = TaskState.NEW
    """Observed, as the leader knows it when it first sends the task: a node that lost its journal must not run an ended one again."""
    attachments: tuple[AssignedAttachment, ...] = ()
    host_ports: tuple[PortConfig, ...] = ()
    publishes: bool = False
    """The service has ingress ports: the task needs an address that the node can forward to."""
    listens: tuple[int, ...] = ()
    """The TCP ports behind the service's ingress ports: the task is ready once it listens there."""
    service_labels: Labels = {}
    registry_auth: str = ""
    drain_timeout: int = 5_000_000_000
    endpoint_version: int = 0
    """For a task told to stop: the endpoint version without it. The stop waits until every ready node has that one."""
    readiness: Readiness | None = None
    devices: tuple[Device, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    resources: tuple[NamedResource, ...] = ()
    """The named generic resources that are this task's own."""
    on_disconnect: str = ""

    @property
    def name(self) -> str:
        """SERVICE.SLOT.TASKID; global services have the node's id for the slot."""
        return f"{self.service_name}.{self.slot or self.node_id}.{self.id}"


class AssignedSecret(Value, frozen=True, kw_only=True):
    id: Id
    version: int
    name: str
    data: bytes
    templated: bool = False


class AssignedConfig(Value, frozen=True, kw_only=True):
    id: Id
    version: int
    name: str
    data: bytes
    templated: bool = False


class ManagerAddr(Value, frozen=True, kw_only=True):
    node_id: Id
    addr: str
    leader: bool = False


# -- manager to node -------------------------------------------------------------------------------------------------------------------
class Welcome(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=1, tag_field="t"):
    """The first message of a session."""

    session: Id
    heartbeat_ms: int
    managers: tuple[ManagerAddr, ...]
    role: Role
    """The role that the node should have a certificate for: another than it has means renew."""
    cluster_id: Id = ""
    hostname: str = ""
    roots: str = ""
    """The CAs to trust, PEM; a certificate of another than the first is to be renewed."""
    spread_ms: int = 0
    """How long all nodes' greetings take. Whoever loses the session comes back after a part of it that is drawn by lot."""


class Assignments(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=2, tag_field="t"):
    """What to run. `complete`: all of it, what is not named shall go. Otherwise a step from version `applies_to`.

    A set too large for one message (4 MiB) comes as several, `more` set on all but the last; it counts once the last is there.
    """

    version: int
    applies_to: int = 0
    complete: bool = False
    more: bool = False
    tasks: tuple[AssignedTask, ...] = ()
    secrets: tuple[AssignedSecret, ...] = ()
    configs: tuple[AssignedConfig, ...] = ()
    networks: tuple[OverlayNetwork, ...] = ()
    """Networks of the tasks named here, so that a task never comes before its network."""
    gone_tasks: tuple[Id, ...] = ()
    gone_secrets: tuple[Id, ...] = ()
    gone_configs: tuple[Id, ...] = ()


class Endpoints(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=3, tag_field="t"):
    """The data plane's share; the node answers EndpointsApplied once its kernel holds it."""

    update: EndpointUpdate
    more: bool = False


class StatusesTaken(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=4, tag_field="t"):
    """The statuses up to this sequence number are committed; the node need not send them again."""

    sequence: int


class ManagersChanged(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=5, tag_field="t"):
    managers: tuple[ManagerAddr, ...]
    role: Role
    roots: str = ""


class EndpointsSettled(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=6, tag_field="t"):
    """Every ready node has acknowledged this endpoint version: tasks that wait to stop for it may stop."""

    version: int


class LogOrder(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=7, tag_field="t"):
    """Read the logs of these tasks to the manager at `addr`, which knows them as stream `stream`."""

    stream: Id
    addr: str
    tasks: tuple[Id, ...]
    follow: bool = False
    tail: int = -1
    """Lines from the end, per task; -1 for all."""
    since: int = 0
    until: int = 0
    stdout: bool = True
    stderr: bool = True
    stop: bool = False
    """The reader is gone: end the stream."""


class ReachOrder(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=8, tag_field="t"):
    """Let the manager at `addr` speak with this node's Engine API about one task's container: it knows the conversation as `stream`."""

    stream: Id
    addr: str
    task_id: Id


ToNode = Welcome | Assignments | Endpoints | StatusesTaken | ManagersChanged | EndpointsSettled | LogOrder | ReachOrder


# -- node to manager -------------------------------------------------------------------------------------------------------------------
class Hello(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=1, tag_field="t"):
    """Opens a session. The live tasks let a new leader answer with what differs, after one COMPLETE set. `assignment_version`: what
    it has, 0 for nothing."""

    description: NodeDescription
    assignment_version: int = 0
    live_tasks: tuple[Id, ...] = ()
    addr: str = ""
    data_path_addr: str = ""
    availability: str = ""
    """What the node asked for when it joined; only the first Hello of a node counts."""
    endpoint_version: int = 0
    """The last whole update that came, so that a leader that knows what the last session told goes on from there; 0 for none."""


class Beat(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=2, tag_field="t"):
    """Still here. `away_ms` other than 0 announces a restart: do not count the node as lost for that long."""

    away_ms: int = 0


class ReportedStatus(Value, frozen=True, kw_only=True):
    task_id: Id
    status: TaskStatus


class Statuses(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=3, tag_field="t"):
    sequence: int
    statuses: tuple[ReportedStatus, ...]


class EndpointsApplied(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=4, tag_field="t"):
    version: int


class Described(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, tag=5, tag_field="t"):
    """The node's description changed: its engine came back, an address was added."""

    description: NodeDescription


FromNode = Hello | Beat | Statuses | EndpointsApplied | Described


# -- logs ---------------------------------------------------------------------------------------------------------------------------------
class LogChunk(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, array_like=True):
    """Lines of one task's log, at most 64 KiB. An empty `content` with `end` says that this task's part is over.

    The first of a node's chunks names no task: it says whose stream this is, however long the tasks say nothing.
    """

    stream: Id
    task_id: Id
    source: int = 1
    """1 stdout, 2 stderr."""
    timestamp: int = 0
    """ns; of the line."""
    content: bytes = b""
    end: bool = False
    error: str = ""


class Credit(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, array_like=True):
    """How many more bytes the reader takes; `stop` ends the stream."""

    bytes: int = 0
    stop: bool = False


# -- conversations ------------------------------------------------------------------------------------------------------------------------
class Piece(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, array_like=True):
    """Of a conversation, either way: at most 64 KiB. A node's first one says which conversation this is, and nothing else."""

    stream: Id = ""
    content: bytes = b""
    end: bool = False
    """This direction is over."""
    credit: int = 0
    """How many more bytes may be sent the other way."""
    error: str = ""
    """Why there is no conversation, or none any more."""
