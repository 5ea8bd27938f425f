"""What a node's tasks hold of it: the index that filters and spread read, kept by `apply`."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from cluster.api.ids import Id
from cluster.api.objects import Task, Template
from cluster.api.states import TaskState
from manager.store.tables import Map

K = TypeVar("K")

HostPort = tuple[str, int, str]
"""protocol, published port, host address (empty: every one)."""


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Resources are held from assignment until the task has ended; `tasks` and `per_service` count those that are meant to run on."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    generic: Map[str, int] = Map()
    """Generic resources by kind, as they were asked for."""
    named_counts: Map[tuple[str, str], int] = Map()
    """Which of the named ones somebody has: a part of those counted in `generic`."""
    port_counts: Map[HostPort, int] = Map()
    tasks: int = 0
    per_service: Map[Id, int] = Map()

    @property
    def named(self) -> frozenset[tuple[str, str]]:
        """Named generic resources: (kind, value)."""
        return frozenset(self.named_counts)

    @property
    def host_ports(self) -> frozenset[HostPort]:
        return frozenset(self.port_counts)


IDLE = Usage()


GPU = "gpu"
"""The kind of generic resource that a device request with this capability takes."""


def gpus_of(template: Template) -> int:
    """How many GPUs a task of it asks the engine for. Whoever asks for all of a node's is counted as one: nobody knows how many."""
    requests = (one for one in template.device_requests if any(GPU in capabilities for capabilities in one.capabilities))
    return sum(len(one.device_ids) or max(1, one.count) for one in requests)


def holds(task: Task) -> bool:
    """The scheduler gave the task its place and it is not known to have left. A global task's node is named before that."""
    return bool(task.node_id) and TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING


def counts(task: Task) -> bool:
    """The task is one that is meant to go on: what spreading and max-replicas look at."""
    return task.desired_state <= TaskState.COMPLETE


class UsageDraft:
    """The usage of the nodes that a change set touches."""

    __slots__ = ("_base", "_open")

    def __init__(self, base: Map[Id, Usage]) -> None:
        self._base = base
        self._open: dict[Id, _NodeDraft] = {}

    def add(self, task: Task, template: Template) -> None:
        if holds(task):
            self._node(task.node_id).move(task, template, 1)

    def take(self, task: Task, template: Template) -> None:
        if holds(task):
            self._node(task.node_id).move(task, template, -1)

    def _node(self, node_id: Id) -> "_NodeDraft":
        draft = self._open.get(node_id)
        if draft is None:
            draft = self._open[node_id] = _NodeDraft(self._base.get(node_id, IDLE))
        return draft

    def finish(self) -> Map[Id, Usage]:
        if not self._open:
            return self._base
        nodes = self._base.mutate()
        for node_id, draft in self._open.items():
            usage = draft.finish()
            if draft.held:
                nodes[node_id] = usage
            else:
                nodes.pop(node_id, None)
        return nodes.finish()


class _NodeDraft:
    __slots__ = ("_before", "_cpus", "_generic", "_memory", "_named", "_per_service", "_ports", "_tasks", "held")

    def __init__(self, before: Usage) -> None:
        self._before = before
        self._cpus = before.nano_cpus
        self._memory = before.memory_bytes
        self._tasks = before.tasks
        self._per_service: dict[Id, int] = {}
        self._generic: dict[str, int] = {}
        self._named: dict[tuple[str, str], int] = {}
        self._ports: dict[HostPort, int] = {}
        self.held = False

    def move(self, task: Task, template: Template, sign: int) -> None:
        if counts(task):
            self._tasks += sign
            self._per_service[task.service_id] = self._per_service.get(task.service_id, 0) + sign
        for port in template.host_ports:
            if port.published_port:
                key = (port.protocol, port.published_port, port.host_ip)
                self._ports[key] = self._ports.get(key, 0) + sign
        if gpus := gpus_of(template):
            self._generic[GPU] = self._generic.get(GPU, 0) + sign * gpus
        for named in task.resources:
            self._named[(named.kind, named.value)] = self._named.get((named.kind, named.value), 0) + sign
        resources = template.spec.resources
        if resources is None or resources.reservations is None:
            return
        self._cpus += sign * resources.reservations.nano_cpus
        self._memory += sign * resources.reservations.memory_bytes
        for generic in resources.reservations.generic_resources:
            if generic.discrete_resource_spec is not None:
                kind = generic.discrete_resource_spec.kind
                self._generic[kind] = self._generic.get(kind, 0) + sign * generic.discrete_resource_spec.value
            if generic.named_resource_spec is not None:
                kind = generic.named_resource_spec.kind
                self._generic[kind] = self._generic.get(kind, 0) + sign

    def finish(self) -> Usage:
        before = self._before
        usage = Usage(
            nano_cpus=self._cpus,
            memory_bytes=self._memory,
            generic=_summed(before.generic, self._generic),
            named_counts=_summed(before.named_counts, self._named),
            port_counts=_summed(before.port_counts, self._ports),
            tasks=self._tasks,
            per_service=_summed(before.per_service, self._per_service),
        )
        self.held = usage != IDLE
        return usage


def _summed(base: Map[K, int], deltas: Mapping[K, int]) -> Map[K, int]:
    if not any(deltas.values()):
        return base
    draft = base.mutate()
    for key, delta in deltas.items():
        if total := base.get(key, 0) + delta:
            draft[key] = total
        else:
            draft.pop(key, None)
    return draft.finish()
