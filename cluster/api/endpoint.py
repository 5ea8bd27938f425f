"""What the data plane of a node is told: who the peers are, which networks it serves, where each service's tasks are.

Endpoints come from the replicated store, versioned by Raft index, over the session stream. There is no gossip.
"""

from cluster.api.ids import Id
from cluster.api.specs import Labels, PortConfig
from cluster.api.values import Value

CLIENT_IP = "client-ip"


class Peer(Value, frozen=True, kw_only=True):
    """A node of the cluster as others reach it; `number` (1..4095) is its place on the node link and in packet marks."""

    node_id: Id
    number: int
    addr: str
    """The data path address: where VXLAN packets go."""
    hostname: str = ""
    linked: bool = True
    """False: its daemon may not program its kernel, so it is not on the node link; its published ports are reached at its address."""


class Guest(Value, frozen=True, kw_only=True):
    """A container that is no task and joined an attachable network by itself (`docker run --network`)."""

    id: Id
    node_id: Id
    address: str
    """Without prefix length."""
    name: str = ""
    """The container's; tasks on the network resolve it."""
    aliases: tuple[str, ...] = ()


def is_encrypted(options: Labels) -> bool:
    """Whether a network's options ask for it: `--opt encrypted`, which has no value, or any but a false one."""
    return options.get("encrypted", "false").lower() not in ("false", "0", "f")


class OverlayNetwork(Value, frozen=True, kw_only=True):
    network_id: Id
    name: str
    subnet: str
    gateway: str
    vni: int
    internal: bool = False
    attachable: bool = False
    mtu: int = 0
    """0: derived from the underlay."""
    options: Labels = {}
    guests: tuple[Guest, ...] = ()

    @property
    def encrypted(self) -> bool:
        return is_encrypted(self.options)


class DataKey(Value, frozen=True, kw_only=True):
    """A key of the cluster that packets of encrypted networks are sealed with. In memory and in the sealed log only; never shown."""

    id: int
    """1.. in the order in which they were drawn."""
    key: bytes
    """32 bytes."""
    made_at: int = 0
    """ns, the leader's wall clock."""

    def __repr__(self) -> str:
        return f"DataKey(id={self.id})"


class Backend(Value, frozen=True, kw_only=True):
    """One task of a service, from when it has addresses until it is gone. Only `ready` ones take traffic; all get forwarding entries."""

    task_id: Id
    node_id: Id
    slot: int = 0
    ready: bool = False
    addresses: Labels = {}
    """network id -> address without prefix length."""
    container_name: str = ""
    """SERVICE.SLOT.TASKID"""


class ServiceNetwork(Value, frozen=True, kw_only=True):
    network_id: Id
    vip: str = ""
    """Without prefix length; empty in dnsrr mode."""
    aliases: tuple[str, ...] = ()


class ServiceEndpoint(Value, frozen=True, kw_only=True):
    service_id: Id
    name: str
    version: int = 0
    """The Raft index of the last change that this view of the service shows."""
    dnsrr: bool = False
    affinity: str = ""
    """Which connections stay together: `client-ip`, those of one client address; empty: none."""
    prefer_local: bool = False
    """Tasks on the node that a connection starts or comes in at go before the others."""
    networks: tuple[ServiceNetwork, ...] = ()
    ports: tuple[PortConfig, ...] = ()
    """The ingress ports, resolved; host-mode ones are the tasks' own."""
    backends: tuple[Backend, ...] = ()


class EndpointUpdate(Value, frozen=True, kw_only=True):
    """A step of the data plane's desired state. `complete` replaces everything; otherwise only what is listed changed."""

    version: int
    complete: bool = False
    peers: tuple[Peer, ...] | None = None
    """All of them, when any changed."""
    networks: tuple[OverlayNetwork, ...] | None = None
    """All that this node serves, when any changed."""
    services: tuple[ServiceEndpoint, ...] = ()
    gone_services: tuple[Id, ...] = ()
    vxlan_port: int = 4789
    mark_base: int = 20
    ingress_subnet: str = ""
    """The node link's subnet, a /20 at least: a node's address on it is the subnet's base + its number."""
    data_keys: tuple[DataKey, ...] | None = None
    """All that are valid, when any changed; of a node on no encrypted network there are none."""
