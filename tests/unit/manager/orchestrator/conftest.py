"""A cluster without loops, sockets or time of its own: the three plans by turns, scripted workers, a clock that the test turns."""

from collections.abc import Callable, Iterable
from itertools import count

import pytest
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put, Remove, TaskChange, decode_entry, encode_entry
from cluster.api.objects import Cluster, Network, Node, NodeDescription, NodeStatus, Service, Task, TaskStatus
from cluster.api.specs import (
    SECOND,
    ClusterSpec,
    ContainerSpec,
    GenericResource,
    NamedResource,
    NetworkSpec,
    NodeSpec,
    OrchestrationConfig,
    Placement,
    ReplicatedMode,
    Reservations,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import Availability, Kind, NodeState, TaskState
from manager.allocator import plan as allocation
from manager.orchestrator.plan import Wanted, affected, plan
from manager.orchestrator.round import Key
from manager.orchestrator.soft import Moment, Soft
from manager.scheduler import plan as scheduling
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

Script = Callable[[Task], TaskState | None]
"""What a node makes of a task next: a later state, or None for nothing."""


def runs(task: Task) -> TaskState | None:
    """A task that starts when it may, runs, and stops when told."""
    if task.desired_state > TaskState.COMPLETE:
        return TaskState.SHUTDOWN
    goal = TaskState.READY if task.desired_state is TaskState.READY else TaskState.RUNNING
    return goal if task.state < goal else None


def web(image: str = "a", replicas: int = 1, **fields: object) -> ServiceSpec:
    """A replicated service; fields of the task template and the service alike."""
    template = {
        name: fields.pop(name) for name in ("restart_policy", "placement", "networks", "resources", "force_update") if name in fields
    }
    return ServiceSpec(
        **{
            "name": "web",
            "task_template": TaskSpec(container_spec=ContainerSpec(image=image), **template),
            "mode": ServiceMode(replicated=ReplicatedMode(replicas=replicas)),
            **fields,
        }
    )


class World:
    def __init__(self, nodes: int = 3, *, history: int = 5) -> None:
        self.now: Snapshot = EMPTY_SNAPSHOT
        self.time = 1000.0
        self.soft = Soft(since=self.time)
        self.script: Script = runs
        self._ids = count(1)
        self._seen = EMPTY_SNAPSHOT
        self._alarms: list[tuple[float, Key]] = []
        orchestration = OrchestrationConfig(task_history_retention_limit=history)
        self.do(Put(object=Cluster(id="c1", spec=ClusterSpec(orchestration=orchestration))))
        for number in range(1, nodes + 1):
            self.add_node(f"n{number}")

    # -- what users and nodes do -----------------------------------------------------------------------------------------------------
    def do(self, *changes: Change) -> None:
        entry = decode_entry(encode_entry(ChangeSet(at=int(self.time * SECOND), changes=changes)))
        self.now, refusal = apply(self.now, self.now.version + 1, entry)
        assert refusal is None, refusal

    def add_node(self, node_id: str, **labels: str) -> None:
        gpus = tuple(GenericResource(named_resource_spec=NamedResource(kind="gpu", value=name)) for name in ("u1", "u2"))
        resources = Reservations(nano_cpus=4 * SECOND, memory_bytes=1 << 33, generic_resources=gpus)
        description = NodeDescription(hostname=node_id, resources=resources)
        self.do(
            Put(object=Node(id=node_id, spec=NodeSpec(labels=labels), description=description, status=NodeStatus(state=NodeState.READY)))
        )

    def change_node(self, node_id: str, *, state: NodeState | None = None, availability: Availability | None = None, **labels: str) -> None:
        node = self.now.nodes[node_id]
        if state is not None:
            node = replace(node, status=replace(node.status, state=state))
        if availability is not None:
            node = replace(node, spec=replace(node.spec, availability=availability))
        if labels:
            node = replace(node, spec=replace(node.spec, labels={**node.spec.labels, **labels}))
        self.do(Put(object=node, base=node.version))

    def remove_node(self, node_id: str) -> None:
        self.do(Remove(kind=Kind.NODE, id=node_id))

    def create(self, spec: ServiceSpec, service_id: str = "s1", **fields: object) -> None:
        self.do(Put(object=Service(id=service_id, spec=spec, **fields)))

    def network(self, network_id: str = "net1", **fields: object) -> None:
        self.do(Put(object=Network(id=network_id, spec=NetworkSpec(name=network_id, **fields))))

    def update(self, spec: ServiceSpec, service_id: str = "s1", **fields: object) -> None:
        service = self.now.services[service_id]
        changed = {"previous_spec": service.spec, "update_status": None, **fields}
        self.do(Put(object=replace(service, spec=spec, **changed), base=service.version))

    def scale(self, replicas: int, service_id: str = "s1") -> None:
        spec = self.now.services[service_id].spec
        self.update(replace(spec, mode=ServiceMode(replicated=ReplicatedMode(replicas=replicas))), service_id)

    def remove(self, service_id: str = "s1") -> None:
        self.do(Remove(kind=Kind.SERVICE, id=service_id))

    def report(self, task_id: str, state: TaskState, **fields: object) -> None:
        self.do(TaskChange(id=task_id, status=TaskStatus(state=state, **fields)))

    # -- what the manager does -------------------------------------------------------------------------------------------------------
    @property
    def at(self) -> Moment:
        return Moment(monotonic=self.time, wall=int(self.time * SECOND))

    def want(self, keys: Iterable[Key] | None = None, limit: int = 500) -> Wanted:
        self.soft.observe(self.now, self.now.tasks, self.at)
        return plan(self.now, at=self.at, soft=self.soft, draw_id=lambda: f"t{next(self._ids):04}", keys=keys, limit=limit)

    def orchestrate(self, limit: int = 500) -> bool:
        """Look at what changed and at what is due, as the loop does, until there is nothing left to do."""
        changed = False
        due = [key for when, key in self._alarms if when <= self.time]
        self._alarms = [alarm for alarm in self._alarms if alarm[0] > self.time]
        keys: list[Key] = due
        for _ in range(1000):
            before, self._seen = self._seen, self.now
            keys = [*keys, *affected(self.now, before, self.now.changes_since(before))]
            if not keys:
                return changed
            wanted = self.want(keys, limit)
            self._alarms += wanted.alarms
            keys = wanted.again
            if wanted.changes:
                changed = True
                self.do(*wanted.changes)
                self.soft.looked_at(key for key in affected(self.now, before, None) if isinstance(key, str))
        raise AssertionError("the orchestrator never comes to rest")

    def equip(self) -> bool:
        equipped = allocation.plan(self.now)
        if equipped.changes:
            self.do(*equipped.changes)
        return bool(equipped.changes)

    def place(self) -> bool:
        placed = scheduling.plan(self.now)
        if placed.changes:
            self.do(*placed.changes)
        return bool(placed.changes)

    def work(self) -> bool:
        """Every node that is up goes one step with each of its tasks."""
        changes: list[Change] = []
        for task in sorted(self.now.tasks.values(), key=lambda one: one.id):
            node = self.now.nodes.get(task.node_id)
            if node is None or node.status.state is not NodeState.READY or task.state.ended or task.state < TaskState.ASSIGNED:
                continue
            state = self.script(task)
            if state is not None and state > task.state:
                changes.append(TaskChange(id=task.id, status=TaskStatus(state=state)))
        if changes:
            self.do(*changes)
        return bool(changes)

    def settle(self) -> None:
        """Let everybody do what there is to do now; time stands still."""
        for _ in range(200):
            if not any([self.orchestrate(), self.equip(), self.place(), self.work()]):
                return
        raise AssertionError("the cluster never comes to rest")

    def wait(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass."""
        until = self.time + seconds
        while self.time < until:
            self.time = min(until, self.time + step)
            self.settle()

    # -- what tests look at ----------------------------------------------------------------------------------------------------------
    def tasks(self, service_id: str = "s1") -> list[Task]:
        return sorted(self.now.tasks_of(service_id).values(), key=lambda task: (task.slot, task.node_id, task.id))

    def wanted(self, service_id: str = "s1") -> list[Task]:
        return [task for task in self.tasks(service_id) if task.desired_state <= TaskState.COMPLETE]

    def running(self, service_id: str = "s1") -> list[Task]:
        return [task for task in self.wanted(service_id) if task.state is TaskState.RUNNING]

    def image(self, task: Task) -> str:
        container = self.now.template_of(task).spec.container_spec
        return "" if container is None else container.image

    def images(self, service_id: str = "s1") -> list[str]:
        return sorted(self.image(task) for task in self.running(service_id))

    def status(self, service_id: str = "s1") -> tuple[str, str]:
        status = self.now.services[service_id].update_status
        return ("", "") if status is None else (status.state.value, status.message)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def make_world() -> type[World]:
    return World


@pytest.fixture
def make_web() -> Callable[..., ServiceSpec]:
    return web


@pytest.fixture
def at_once() -> RestartPolicy:
    return RestartPolicy(delay=0)


@pytest.fixture
def only() -> Callable[..., Placement]:
    return lambda *constraints: Placement(constraints=constraints)
