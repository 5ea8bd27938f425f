"""Everything the cluster knows at one Raft index: an immutable value that plans decide on. Pure; see docs/design/store.md.

Tables and indexes iterate in no particular order (it differs between processes): a plan that depends on order sorts.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct

from cluster.api.features import FIRST_LEVEL
from cluster.api.ids import Id
from cluster.api.objects import Cluster, Config, Network, Node, Object, Secret, Service, Task, Template
from cluster.api.states import Kind, TaskState
from manager.store.indexes import Indexes, PortKey, TemplateKey, fold
from manager.store.tables import EMPTY, FirstClaim, Map, Selection
from manager.store.usage import IDLE, Usage

REMEMBERED = 10_000
"""Requests whose retries are recognised."""

HISTORY_ENTRIES = 512
HISTORY_IDS = 20_000
"""How far back `changes_since` sees, in entries and in ids."""

NONE: frozenset[Id] = frozenset()
NOWHERE: Map[int, int] = Map()
NOBODY: Map[Id, int] = Map()


class Changes(Struct, frozen=True, kw_only=True, gc=False):
    """Which objects were put, changed or removed between two snapshots."""

    cluster: bool = False
    nodes: frozenset[Id] = NONE
    services: frozenset[Id] = NONE
    tasks: frozenset[Id] = NONE
    networks: frozenset[Id] = NONE
    secrets: frozenset[Id] = NONE
    configs: frozenset[Id] = NONE

    def __bool__(self) -> bool:
        return self != UNCHANGED


UNCHANGED = Changes()


class Step(Struct, frozen=True, gc=False):
    """What one entry changed, for `changes_since`."""

    index: int
    ids: Mapping[Kind, frozenset[Id]]
    size: int


class Snapshot(Struct, frozen=True, kw_only=True, gc=False):
    version: int = 0
    """Raft index of the last applied entry."""
    cluster: Cluster | None = None
    nodes: Map[Id, Node] = Map()
    services: Map[Id, Service] = Map()
    tasks: Map[Id, Task] = Map()
    networks: Map[Id, Network] = Map()
    secrets: Map[Id, Secret] = Map()
    configs: Map[Id, Config] = Map()
    templates: Map[TemplateKey, Template] = Map()
    template_versions: Map[Id, tuple[int, ...]] = Map()
    """Which versions of a service's template are kept."""
    requests: Map[Id, Id] = Map()
    request_order: Map[int, Id] = Map()
    requests_seen: int = 0
    indexes: Indexes = Indexes()
    history: tuple[Step, ...] = ()
    history_size: int = 0
    history_from: int = 0
    """The version after which `history` is complete."""

    @property
    def feature_level(self) -> int:
        """What every manager can apply (cluster.api.features)."""
        return self.cluster.feature_level if self.cluster is not None else FIRST_LEVEL

    # -- by identity ---------------------------------------------------------------------------------------------------------------
    def get(self, kind: Kind, object_id: Id) -> Object | None:
        """The object of that kind with that id; the cluster object answers to its own id only."""
        if kind is Kind.CLUSTER:
            return self.cluster if self.cluster is not None and self.cluster.id == object_id else None
        return self.table(kind).get(object_id)

    def table(self, kind: Kind) -> Mapping[Id, Object]:
        match kind:
            case Kind.NODE:
                return self.nodes
            case Kind.SERVICE:
                return self.services
            case Kind.TASK:
                return self.tasks
            case Kind.NETWORK:
                return self.networks
            case Kind.SECRET:
                return self.secrets
            case Kind.CONFIG:
                return self.configs
            case Kind.CLUSTER:
                raise KeyError(kind)

    def named(self, kind: Kind, name: str) -> Service | Network | Secret | Config | None:
        """The service, network, secret or config of that name, in whatever case."""
        object_id = self.indexes.names.get((kind, fold(name)))
        found = None if object_id is None else self.get(kind, object_id)
        return found if isinstance(found, Service | Network | Secret | Config) else None

    def request(self, request_id: Id) -> Id | None:
        """The object that a remembered request was about."""
        return self.requests.get(request_id)

    # -- tasks ---------------------------------------------------------------------------------------------------------------------
    def template_of(self, task: Task) -> Template:
        return self.templates[(task.service_id, task.template_version)]

    def tasks_of(self, service_id: Id) -> Mapping[Id, Task]:
        return Selection(self.indexes.by_service.get(service_id, EMPTY), self.tasks)

    def tasks_on(self, node_id: Id) -> Mapping[Id, Task]:
        return Selection(self.indexes.by_node.get(node_id, EMPTY), self.tasks)

    def tasks_of_slot(self, service_id: Id, slot: int, node_id: Id = "") -> tuple[Task, ...]:
        """In order of their ids. Services with one task a node have slot 0 and the node's id."""
        ids = self.indexes.by_slot.get((service_id, slot, "" if slot else node_id), ())
        return tuple(self.tasks[task_id] for task_id in ids)

    def tasks_by_state(self, state: TaskState) -> Mapping[Id, Task]:
        """By observed state; only for the states in which a task has not ended."""
        return Selection(self.indexes.by_state.get(state, EMPTY), self.tasks)

    # -- what is taken -------------------------------------------------------------------------------------------------------------
    def usage(self, node_id: Id) -> Usage:
        return self.indexes.usage.get(node_id, IDLE)

    def addresses(self, network_id: Id) -> Mapping[int, int]:
        """The offsets in the network's subnet that a gateway, virtual IP or task that has not ended holds."""
        return self.indexes.addresses.get(network_id, NOWHERE)

    @property
    def ports_taken(self) -> Mapping[PortKey, Id]:
        """(protocol, published port) -> the service that asks for it or was given it, in ingress mode."""
        return FirstClaim(self.indexes.ingress_ports)

    def port_owners(self, mode: str, key: PortKey) -> tuple[Id, ...]:
        """The services that publish this port in `ingress` or `host` mode."""
        return (self.indexes.ingress_ports if mode == "ingress" else self.indexes.host_ports).get(key, ())

    def users_of(self, kind: Kind, object_id: Id) -> Mapping[Id, Service]:
        """The services whose spec refers to this secret, config or network."""
        return Selection(self.indexes.users.get((kind, object_id), EMPTY), self.services)

    def dependents_of(self, name: str) -> tuple[Id, ...]:
        """The services whose tasks start only after those of the service of that name."""
        return self.indexes.dependents.get(fold(name), ())

    def services_on(self, network_id: Id) -> Collection[Id]:
        """The services, removed ones with tasks left among them, that have a virtual IP or a task on a network."""
        return self.indexes.on_network.get(network_id, NOBODY).keys()

    # -- what changed --------------------------------------------------------------------------------------------------------------
    def changes_since(self, other: "Snapshot") -> Changes | None:
        """What differs from an earlier snapshot of the same store; None says that it is too long ago: look at everything."""
        if other.version == self.version:
            return UNCHANGED
        if not self.history_from <= other.version < self.version:
            return None
        found: dict[Kind, set[Id]] = {kind: set() for kind in Kind}
        for step in reversed(self.history):
            if step.index <= other.version:
                break
            for kind, ids in step.ids.items():
                found[kind] |= ids
        return Changes(
            cluster=bool(found[Kind.CLUSTER]),
            nodes=frozenset(found[Kind.NODE]),
            services=frozenset(found[Kind.SERVICE]),
            tasks=frozenset(found[Kind.TASK]),
            networks=frozenset(found[Kind.NETWORK]),
            secrets=frozenset(found[Kind.SECRET]),
            configs=frozenset(found[Kind.CONFIG]),
        )


def remembered(step: Step, now: Snapshot) -> tuple[tuple[Step, ...], int, int]:
    """The history (with its size and beginning) after one more entry, within its bounds."""
    history, size, start = (*now.history, step), now.history_size + step.size, now.history_from
    while len(history) > HISTORY_ENTRIES or (size > HISTORY_IDS and len(history) > 1):
        start, size, history = history[0].index, size - history[0].size, history[1:]
    return history, size, start


EMPTY_SNAPSHOT = Snapshot()
