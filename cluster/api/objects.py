"""What the store keeps: specs with identity, version and observed state.

`version` is the Raft index of the last entry that changed the object. Times are the leader's wall clock in ns since 1970;
they are shown, they never decide anything.
"""

from collections.abc import Mapping

from msgspec import field
from msgspec.structs import replace

from cluster.api.endpoint import DataKey, Guest
from cluster.api.ids import Id
from cluster.api.specs import (
    ClusterSpec,
    ConfigSpec,
    Device,
    DeviceRequest,
    EndpointSpec,
    Extensions,
    Labels,
    NamedResource,
    NetworkSpec,
    NodeSpec,
    Platform,
    PortConfig,
    Reservations,
    SecretSpec,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import Membership, NodeState, Role, TaskState, UpdateState
from cluster.api.values import Value


class InvalidTransition(Exception):
    """A task was told to go back: a bug of ours, never a user's fault."""


# -- nodes -----------------------------------------------------------------------------------------------------------------------------
class EngineDescription(Value, frozen=True, kw_only=True):
    engine_version: str = ""
    labels: Labels = {}
    plugins: tuple[Mapping[str, str], ...] = ()
    """Each `{"Type": ..., "Name": ...}`."""


class TLSInfo(Value, frozen=True, kw_only=True):
    trust_root: str = ""
    cert_issuer_subject: bytes = b""
    cert_issuer_public_key: bytes = b""


class NodeDescription(Value, frozen=True, kw_only=True):
    hostname: str = ""
    platform: Platform = Platform()
    resources: Reservations = Reservations()
    engine: EngineDescription = EngineDescription()
    tls_info: TLSInfo = field(default=TLSInfo(), name="TLSInfo")
    subnets: tuple[str, ...] = ()
    """Ours: CIDRs of the host's own addresses and routes; the allocator keeps overlays off them."""
    feature_level: int = 1
    trouble: tuple[str, ...] = ()
    """Ours: what is wrong on the host that users of the cluster should know; shown as the node's status message."""
    linked: bool = True
    """Ours: its kernel balances, so it is on the node link and has overlays; see `endpoint.Peer`. Not behind a feature level: every
    session tells it anew, and an older manager takes the node for one that refuses some tasks."""


class NodeStatus(Value, frozen=True, kw_only=True):
    state: NodeState = NodeState.UNKNOWN
    message: str = ""
    addr: str = ""
    away: int = 0
    """ns that it announced to be away for, a restart; 0 once it is back. Each leader counts them from when it began to wait."""


class RaftMember(Value, frozen=True, kw_only=True):
    """A manager's place among the managers; whether it leads or is reachable is soft state, not kept here."""

    addr: str = ""
    """host:port that the other managers dial."""


class Node(Value, frozen=True, kw_only=True, tag="node", tag_field="t"):
    id: Id
    version: int = 0
    created_at: int = 0
    updated_at: int = 0
    spec: NodeSpec = NodeSpec()
    spec_version: int = 0
    """The index of the last entry that changed `spec`: what a client's compare-and-swap is held against."""
    description: NodeDescription = NodeDescription()
    status: NodeStatus = NodeStatus()
    membership: Membership = Membership.ACCEPTED
    certified_role: Role = Role.WORKER
    """What its current certificate says; it follows `spec.role` by renewal."""
    number: int = 0
    """1..4095, given by the allocator, stable: the node's part of packet marks and of addresses on the node link. 0: not yet."""
    data_path_addr: str = ""
    """The address that overlay traffic goes to."""
    member: RaftMember | None = None


# -- services and tasks -------------------------------------------------------------------------------------------------------------------
class VirtualIP(Value, frozen=True, kw_only=True):
    network_id: str = ""
    addr: str = ""
    """With prefix length, `10.0.1.2/24`; empty for a dnsrr service's place on the network."""


class Endpoint(Value, frozen=True, kw_only=True):
    """What the allocator gave a service. `spec` is the endpoint spec it was given for: another one means allocate again."""

    spec: EndpointSpec = EndpointSpec()
    ports: tuple[PortConfig, ...] = ()
    virtual_ips: tuple[VirtualIP, ...] = field(default=(), name="VirtualIPs")


class UpdateStatus(Value, frozen=True, kw_only=True):
    state: UpdateState = UpdateState.UPDATING
    started_at: int = 0
    completed_at: int = 0
    message: str = ""


class JobStatus(Value, frozen=True, kw_only=True):
    job_iteration: int = 0
    last_execution: int = 0


class PastSpec(Value, frozen=True, kw_only=True):
    """What a service was before, to be looked at and to go back to."""

    version: int
    """The index that made it the service's spec: what `service rollback --to` names."""
    at: int = 0
    """When it was replaced."""
    spec: ServiceSpec = ServiceSpec()
    extensions: Extensions = Extensions()


class Rebalance(Value, frozen=True, kw_only=True):
    """A rebalancing under way."""

    at_once: int = 1
    """Tasks on the move at a time."""
    left: int = 0
    """Moves that it may still begin, so that it ends whatever nodes say."""


class Service(Value, frozen=True, kw_only=True, tag="service", tag_field="t"):
    id: Id
    version: int = 0
    created_at: int = 0
    updated_at: int = 0
    spec: ServiceSpec = ServiceSpec()
    spec_version: int = 0
    """The index of the last entry that changed `spec`: what a client's compare-and-swap is held against."""
    template_version: int = 0
    """The index that first held the present template; tasks made from an equal template carry the same."""
    previous_spec: ServiceSpec | None = None
    endpoint: Endpoint | None = None
    update_status: UpdateStatus | None = None
    job_status: JobStatus | None = None
    extensions: Extensions = Extensions()
    registry_auth: str = ""
    """X-Registry-Auth of the last create or update; goes to nodes that pull, never to clients."""
    pending_reason: str = ""
    """Why the allocator could not give the service what it asked for."""
    previous_extensions: Extensions | None = None
    """Those of `previous_spec`; None for the present ones."""
    history: tuple[PastSpec, ...] = ()
    """Newest first. Kept by apply alone: what a change says of it is not read, so that no change need carry it."""
    rebalance: Rebalance | None = None


class Template(Value, frozen=True, kw_only=True):
    """What tasks of one service are made from: shared by all of them, in memory and in the log, under (service, version)."""

    service_name: str = ""
    service_labels: Labels = {}
    spec: TaskSpec = TaskSpec()
    host_ports: tuple[PortConfig, ...] = ()
    """The ports published with mode=host: they are the task's own."""
    devices: tuple[Device, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()


class ContainerStatus(Value, frozen=True, kw_only=True):
    container_id: str = ""
    pid: int = 0
    exit_code: int = 0


class TaskStatus(Value, frozen=True, kw_only=True):
    state: TaskState = TaskState.NEW
    timestamp: int = 0
    message: str = ""
    err: str = ""
    container: ContainerStatus | None = None
    ports: tuple[PortConfig, ...] = ()
    """Host-mode ports as the engine published them."""
    ready: bool = True
    """Ours: fit for traffic while RUNNING."""


class Attachment(Value, frozen=True, kw_only=True):
    """A task's place on a network."""

    network_id: str = ""
    address: str = ""
    """With prefix length."""
    aliases: tuple[str, ...] = ()


class Task(Value, frozen=True, kw_only=True, tag="task", tag_field="t"):
    id: Id
    version: int = 0
    created_at: int = 0
    updated_at: int = 0
    service_id: Id = ""
    template_version: int = 0
    slot: int = 0
    """1.. in replicated services and jobs; 0 in global ones."""
    node_id: Id = ""
    desired_state: TaskState = TaskState.RUNNING
    status: TaskStatus = TaskStatus()
    attachments: tuple[Attachment, ...] = ()
    job_iteration: int = 0
    restarts: int = 0
    """How many tasks of this slot failed in a row before this one."""
    start_after: int = 0
    """Ours: ns that must pass, on the leader's monotonic clock, between creation and desired RUNNING; 0 for at once."""
    quick_failures: int = 0
    """How many tasks of this slot in a row ended soon after their start, before this one: what back-off grows with."""
    replaces: Id = ""
    """The task of the same slot that goes once this one serves: it moves to another node, and nothing is down meanwhile."""
    resources: tuple[NamedResource, ...] = ()
    """The named generic resources that the scheduler gave it."""

    @property
    def state(self) -> TaskState:
        return self.status.state

    def advance(self, status: TaskStatus) -> "Task":
        """This task with a later status. Raises InvalidTransition if the state would go back."""
        if status.state < self.status.state:
            raise InvalidTransition(f"task {self.id} is {self.status.state.wire} and cannot become {status.state.wire}")
        return replace(self, status=status)


# -- networks, secrets, configs -----------------------------------------------------------------------------------------------------------
class Network(Value, frozen=True, kw_only=True, tag="network", tag_field="t"):
    id: Id
    version: int = 0
    created_at: int = 0
    updated_at: int = 0
    spec: NetworkSpec = NetworkSpec()
    subnet: str = ""
    """Given by the allocator: CIDR; empty until then."""
    gateway: str = ""
    """The same first address on every node."""
    vni: int = 0
    """VXLAN network identifier, 4097.. ."""
    pending_reason: str = ""
    leaving: bool = False
    """Ours: removed, as far as users can see; it goes with the last task that still has an address there."""
    guests: tuple[Guest, ...] = ()
    """Ours: the containers that joined it by themselves, in order of their ids; they hold their addresses until they are gone."""


class Secret(Value, frozen=True, kw_only=True, tag="secret", tag_field="t"):
    id: Id
    version: int = 0
    created_at: int = 0
    updated_at: int = 0
    spec: SecretSpec = SecretSpec()


class Config(Value, frozen=True, kw_only=True, tag="config", tag_field="t"):
    id: Id
    version: int = 0
    created_at: int = 0
    updated_at: int = 0
    spec: ConfigSpec = ConfigSpec()


# -- the cluster --------------------------------------------------------------------------------------------------------------------
class JoinTokens(Value, frozen=True, kw_only=True):
    worker: str = ""
    manager: str = ""


class RootCA(Value, frozen=True, kw_only=True):
    cert: str = ""
    """PEM; during a rotation a bundle whose first certificate issues."""
    key: bytes = b""
    """PKCS#8 PEM of the issuing key. In the replicated store only, whose log is sealed; never shown."""


class RootRotation(Value, frozen=True, kw_only=True):
    """A change of the root under way: certificates are issued under the new one, all are trusted until every node has one of those."""

    cert: str = ""
    """The new root, PEM."""
    key: bytes = b""
    """As RootCA.key; empty if an external CA signs."""
    cross_signed: str = ""
    """The new root's name and key, signed by the present root: with it in the chain a node that trusts only that one can follow."""
    abandoned: tuple[str, ...] = ()
    """Roots of earlier rotations that this one took over from: some nodes may have certificates of theirs. PEM."""


class Cluster(Value, frozen=True, kw_only=True, tag="cluster", tag_field="t"):
    id: Id
    version: int = 0
    created_at: int = 0
    updated_at: int = 0
    spec: ClusterSpec = ClusterSpec()
    spec_version: int = 0
    root_ca: RootCA = RootCA()
    root_rotation_in_progress: bool = False
    join_tokens: JoinTokens = JoinTokens()
    default_addr_pool: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = 4789
    feature_level: int = 1
    mark_base: int = 20
    """First bit of the packet-mark field that carries node numbers."""
    root_rotation: RootRotation | None = None
    last_forced_rotation: int = 0
    """`CAConfig.ForceRotate` as it was when the root was last rotated."""
    unlock_key: str = ""
    """SWMKEY-1-...: what every manager seals its own keys with while autolock is on. As secret as the CA's key."""
    fenced: tuple[Id, ...] = ()
    """Managers that a forced new cluster went on without: what they say as managers counts again once they are members anew."""
    data_keys: tuple[DataKey, ...] = ()
    """What encrypted networks are sealed with: the former, the present and the next key, in order of their ids."""


Object = Cluster | Node | Service | Task | Network | Secret | Config
