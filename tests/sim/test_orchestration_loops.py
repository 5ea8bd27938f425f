"""The three loops together, as a leader runs them, on a clock that the test turns and with workers that follow a script."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.aio.supervise import background
from cluster.api.changes import Put, Remove, TaskChange
from cluster.api.errors import StaleSnapshot
from cluster.api.objects import Cluster, Network, Node, NodeDescription, NodeStatus, Rebalance, Service, Task, TaskStatus
from cluster.api.specs import (
    IPAM,
    SECOND,
    ContainerSpec,
    Dependency,
    Extensions,
    IPAMConfig,
    NetworkAttachmentConfig,
    NetworkSpec,
    ReplicatedMode,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from cluster.api.states import Availability, Kind, NodeState, TaskState
from manager.allocator.loop import Allocator
from manager.orchestrator.loop import Orchestrator
from manager.scheduler.loop import Scheduler
from manager.store.memory import MemoryProposer
from manager.store.store import Store

ALIVE = range(TaskState.ASSIGNED, TaskState.RUNNING + 1)


class Nodes:
    """Workers that do what they are told; a task dies when the script says so."""

    def __init__(self, store: Store, proposer: MemoryProposer) -> None:
        self._store = store
        self._proposer = proposer
        self.dies: Callable[[Task], bool] = lambda task: False

    async def run(self) -> None:
        async for now in self._store.snapshots():
            changes = [change for task in now.tasks.values() if (change := self._step(task)) is not None]
            if changes:
                try:
                    await self._proposer.propose(sorted(changes, key=lambda change: change.id))
                except StaleSnapshot:
                    continue

    def _step(self, task: Task) -> TaskChange | None:
        node = self._store.snapshot.nodes.get(task.node_id)
        if node is None or node.status.state is not NodeState.READY or task.state not in ALIVE:
            return None
        if task.desired_state > TaskState.COMPLETE:
            state = TaskState.SHUTDOWN
        elif task.state is TaskState.RUNNING:
            if not self.dies(task):
                return None
            state = TaskState.FAILED
        else:
            state = TaskState.READY if task.desired_state is TaskState.READY else TaskState.RUNNING
        return None if state == task.state else TaskChange(id=task.id, status=TaskStatus(state=state))


class Cloud:
    """A leader's loops on their store, and the nodes."""

    def __init__(self, *, nodes: int) -> None:
        self.clock = ManualClock()
        self.store = Store()
        self.proposer = MemoryProposer(self.store, self.clock)
        self.nodes = Nodes(self.store, self.proposer)
        self._ids = count()
        self._size = nodes

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        """One term of a leader: loops that know nothing of those before."""
        stages = (
            Orchestrator(self.store, self.proposer, self.clock, lambda: f"t{next(self._ids):05}"),
            Allocator(self.store, self.proposer, self.clock),
            Scheduler(self.store, self.proposer, self.clock),
        )
        async with background(self.nodes.run, *(stage.run for stage in stages)):
            yield

    async def build(self) -> None:
        await self.proposer.propose([Put(object=Cluster(id="c"))])
        for number in range(1, self._size + 1):
            node = Node(id=f"n{number}", description=NodeDescription(hostname=f"n{number}"), status=NodeStatus(state=NodeState.READY))
            await self.proposer.propose([Put(object=node)])

    async def change_node(self, node_id: str, *, state: NodeState | None = None, availability: Availability | None = None) -> None:
        node = self.store.snapshot.nodes[node_id]
        if state is not None:
            node = replace(node, status=NodeStatus(state=state))
        if availability is not None:
            node = replace(node, spec=replace(node.spec, availability=availability))
        await self.proposer.propose([Put(object=node, base=node.version)])

    async def change_service(self, service_id: str, spec: ServiceSpec) -> None:
        service = self.store.snapshot.services[service_id]
        changed = replace(service, spec=spec, previous_spec=service.spec, update_status=None)
        await self.proposer.propose([Put(object=changed, base=service.version)])

    def running(self, service_id: str) -> list[Task]:
        tasks = self.store.snapshot.tasks_of(service_id).values()
        return [task for task in tasks if task.state is TaskState.RUNNING and task.desired_state is TaskState.RUNNING]


def spec_of(name: str, *, replicas: int, image: str = "a", networks: tuple[str, ...] = (), **fields: object) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        task_template=TaskSpec(
            container_spec=ContainerSpec(image=image),
            networks=tuple(NetworkAttachmentConfig(target=one) for one in networks),
            restart_policy=RestartPolicy(delay=1 * SECOND),
        ),
        mode=ServiceMode(replicated=ReplicatedMode(replicas=replicas)),
        **fields,
    )


async def test_a_service_comes_up_survives_a_node_and_goes() -> None:
    cloud = Cloud(nodes=3)
    await cloud.build()
    async with cloud.leading():
        await cloud.proposer.propose([Put(object=Network(id="net", spec=NetworkSpec(name="net")))])
        await cloud.proposer.propose([Put(object=Service(id="s", spec=spec_of("web", replicas=6, networks=("net",))))])
        await cloud.clock.advance(0.1)
        assert Counter(task.node_id for task in cloud.running("s")) == {"n1": 2, "n2": 2, "n3": 2}
        assert len({task.attachments[0].address for task in cloud.running("s")}) == 6
        await cloud.change_node("n2", state=NodeState.DOWN)
        await cloud.clock.advance(0.1)
        assert Counter(task.node_id for task in cloud.running("s")) == {"n1": 3, "n3": 3}
        await cloud.proposer.propose([Remove(kind=Kind.SERVICE, id="s")])
        await cloud.change_node("n2", state=NodeState.READY)
        await cloud.clock.advance(0.1)
        assert len(cloud.store.snapshot.tasks) == 0


async def test_a_failed_task_is_replaced_after_the_delay_also_when_the_leader_changed_meanwhile() -> None:
    cloud = Cloud(nodes=2)
    await cloud.build()
    async with cloud.leading():
        await cloud.proposer.propose([Put(object=Service(id="s", spec=spec_of("web", replicas=1)))])
        await cloud.clock.advance(0.1)
        (task,) = cloud.running("s")
        await cloud.proposer.propose([TaskChange(id=task.id, status=TaskStatus(state=TaskState.FAILED))])
        await cloud.clock.advance(0.5)
        assert cloud.running("s") == []
    async with cloud.leading():
        await cloud.clock.advance(0.6)
        assert cloud.running("s") == []
        await cloud.clock.advance(0.6)
        assert len(cloud.running("s")) == 1


async def test_a_new_leader_finds_everything_in_order_and_writes_nothing() -> None:
    cloud = Cloud(nodes=3)
    await cloud.build()
    async with cloud.leading():
        await cloud.proposer.propose([Put(object=Network(id="net", spec=NetworkSpec(name="net")))])
        for number in range(3):
            spec = spec_of(f"web{number}", replicas=4, networks=("net",))
            await cloud.proposer.propose([Put(object=Service(id=f"s{number}", spec=spec))])
        await cloud.clock.advance(1)
    before = cloud.store.snapshot
    async with cloud.leading():
        await cloud.clock.advance(100)
    assert cloud.store.snapshot is before


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_fails_desired_equals_observed_once_failures_stop(seed: int) -> None:
    rng = random.Random(seed)
    cloud = Cloud(nodes=5)
    await cloud.build()
    update = UpdateConfig(parallelism=2, delay=SECOND // 2, monitor=SECOND, failure_action="continue")
    replicas = {"s0": 4, "s1": 7, "s2": 1}
    async with cloud.leading():
        for service_id, wanted in replicas.items():
            await cloud.proposer.propose(
                [Put(object=Service(id=service_id, spec=spec_of(service_id, replicas=wanted, update_config=update)))]
            )
    for term in range(3):
        async with cloud.leading():
            for step in range(6):
                await _mishap(cloud, rng, replicas, update, f"{term}.{step}")
                await cloud.clock.advance(rng.random() * 2)
    cloud.nodes.dies = lambda task: False
    async with cloud.leading():
        for node_id in sorted(cloud.store.snapshot.nodes):
            await cloud.change_node(node_id, state=NodeState.READY, availability=Availability.ACTIVE)
        await cloud.clock.advance(60)
    now = cloud.store.snapshot
    for service_id, wanted in replicas.items():
        running = cloud.running(service_id)
        assert len(running) == wanted
        assert {task.template_version for task in running} <= {now.services[service_id].template_version}
        assert len({task.slot for task in running}) == wanted
    assert not [task for task in now.tasks.values() if task.desired_state > TaskState.COMPLETE and not task.state.ended]


async def _mishap(cloud: Cloud, rng: random.Random, replicas: dict[str, int], update: UpdateConfig, image: str) -> None:
    node_id = f"n{rng.randint(1, 5)}"
    service_id = f"s{rng.randint(0, 2)}"
    match rng.randrange(6):
        case 0:
            await cloud.change_node(node_id, state=NodeState.DOWN)
        case 1:
            await cloud.change_node(node_id, state=NodeState.READY)
        case 2:
            await cloud.change_node(node_id, availability=rng.choice(list(Availability)))
        case 3:
            replicas[service_id] = rng.randint(0, 8)
            spec = cloud.store.snapshot.services[service_id].spec
            mode = ServiceMode(replicated=ReplicatedMode(replicas=replicas[service_id]))
            await cloud.change_service(service_id, replace(spec, mode=mode))
        case 4:
            spec = spec_of(service_id, replicas=replicas[service_id], image=image, update_config=update)
            await cloud.change_service(service_id, spec)
        case _:
            doomed = rng.random() / 2
            cloud.nodes.dies = lambda task: random.Random(task.id).random() < doomed


async def test_a_node_that_joins_takes_its_part_of_services_that_want_it_to() -> None:
    cloud = Cloud(nodes=2)
    await cloud.build()
    async with cloud.leading():
        await cloud.change_node("n2", availability=Availability.DRAIN)
        service = Service(id="s", spec=spec_of("web", replicas=6), extensions=Extensions(rebalance=2))
        await cloud.proposer.propose([Put(object=service)])
        await cloud.clock.advance(1)
        assert Counter(task.node_id for task in cloud.running("s")) == {"n1": 6}
        await cloud.change_node("n2", availability=Availability.ACTIVE)
        await cloud.clock.advance(2)
        assert Counter(task.node_id for task in cloud.running("s")) == {"n1": 3, "n2": 3}
        assert cloud.store.snapshot.services["s"].rebalance is None


@pytest.mark.parametrize("seed", range(6))
async def test_start_order_moves_and_back_off_survive_whatever_fails(seed: int) -> None:
    """Dependencies, rebalancing and drains that start first, under failures of nodes, tasks and leaders."""
    rng = random.Random(seed)
    cloud = Cloud(nodes=4)
    await cloud.build()
    wishes = {
        "db": Extensions(restart_backoff=5 * SECOND),
        "app": Extensions(depends_on=(Dependency(service="db", condition="service_healthy"),), rebalance=1),
        "web": Extensions(depends_on=(Dependency(service="app"), Dependency(service="db")), rebalance=3),
    }
    replicas = {"db": 1, "app": 4, "web": 5}
    async with cloud.leading():
        for name in rng.sample(sorted(wishes), 3):
            await cloud.proposer.propose(
                [Put(object=Service(id=name, spec=spec_of(name, replicas=replicas[name]), extensions=wishes[name]))]
            )
            await cloud.clock.advance(rng.random())
    for _ in range(3):
        async with cloud.leading():
            for _ in range(8):
                await _upset(cloud, rng)
                await cloud.clock.advance(rng.random() * 2)
                _check_slots(cloud, replicas)
    cloud.nodes.dies = lambda task: False
    async with cloud.leading():
        for node_id in sorted(cloud.store.snapshot.nodes):
            await cloud.change_node(node_id, state=NodeState.READY, availability=Availability.ACTIVE)
        await cloud.clock.advance(90)
    for name, wanted in replicas.items():
        assert len(cloud.running(name)) == wanted
        assert cloud.store.snapshot.services[name].rebalance is None
    assert not [task for task in cloud.store.snapshot.tasks.values() if task.desired_state > TaskState.COMPLETE and not task.state.ended]


def _check_slots(cloud: Cloud, replicas: dict[str, int]) -> None:
    """Of one slot at most two tasks are wanted, and two only while one takes the place of the other."""
    for name, wanted in replicas.items():
        by_slot: dict[int, list[Task]] = {}
        for task in cloud.store.snapshot.tasks_of(name).values():
            if task.desired_state <= TaskState.COMPLETE and not task.state.ended:
                by_slot.setdefault(task.slot, []).append(task)
        assert len(by_slot) <= wanted
        for tasks in by_slot.values():
            assert len(tasks) == 1 or (len(tasks) == 2 and {task.replaces for task in tasks} & {task.id for task in tasks})


async def _upset(cloud: Cloud, rng: random.Random) -> None:
    node_id = f"n{rng.randint(1, 4)}"
    match rng.randrange(7):
        case 0:
            await cloud.change_node(node_id, state=NodeState.DOWN)
        case 1:
            await cloud.change_node(node_id, state=NodeState.READY)
        case 2:
            await cloud.change_node(node_id, availability=rng.choice(list(Availability)))
        case 5:
            name = rng.choice(["app", "web"])
            update = UpdateConfig(parallelism=rng.randint(1, 3), monitor=SECOND, failure_action="continue")
            spec = cloud.store.snapshot.services[name].spec
            task = replace(spec.task_template, container_spec=ContainerSpec(image=f"i{rng.random()}"))
            await cloud.change_service(name, replace(spec, task_template=task, update_config=update))
        case 3:
            node = cloud.store.snapshot.nodes[node_id]
            spec = replace(node.spec, labels={"io.shoal.drain-order": "start-first"}, availability=Availability.DRAIN)
            await cloud.proposer.propose([Put(object=replace(node, spec=spec), base=node.version)])
        case 4:
            service = cloud.store.snapshot.services[rng.choice(["app", "web"])]
            wish = Rebalance(at_once=rng.randint(1, 3), left=5)
            await cloud.proposer.propose([Put(object=replace(service, rebalance=wish), base=service.version)])
        case _:
            doomed = rng.random() / 2
            cloud.nodes.dies = lambda task: random.Random(task.id).random() < doomed


@pytest.mark.parametrize("rounds", [20, pytest.param(400, marks=pytest.mark.soak)], ids=["500", "10000"])
async def test_so_many_tasks_come_and_go_and_every_address_is_free_again(rounds: int) -> None:
    """A /27 has room for 29: a few addresses that were not given back would show before long."""
    cloud = Cloud(nodes=3)
    await cloud.build()
    async with cloud.leading():
        subnet = IPAM(config=(IPAMConfig(subnet="10.7.0.0/27"),))
        await cloud.proposer.propose([Put(object=Network(id="net", spec=NetworkSpec(name="net", ipam=subnet)))])
        spec = spec_of("web", replicas=25, networks=("net",))
        task = replace(spec.task_template, restart_policy=RestartPolicy(delay=0))
        service = Service(id="s", spec=replace(spec, task_template=task), extensions=Extensions(restart_backoff=0))
        await cloud.proposer.propose([Put(object=service)])
        await cloud.clock.advance(0.1)
        given: set[str] = set()
        for _ in range(rounds):
            running = cloud.running("s")
            assert len(running) == 25
            addresses = {task.attachments[0].address for task in running}
            assert len(addresses) == 25
            given |= addresses
            ends = [TaskChange(id=task.id, status=TaskStatus(state=TaskState.FAILED)) for task in running]
            await cloud.proposer.propose(sorted(ends, key=lambda change: change.id))
            await cloud.clock.advance(0.1)
        assert len(given) == 28, "29 but for the service's own"
        await cloud.proposer.propose([Remove(kind=Kind.SERVICE, id="s")])
        await cloud.clock.advance(1)
        now = cloud.store.snapshot
        assert list(now.tasks) == []
        assert dict(now.addresses("net")) == {1: 1}, "the gateway's is left"
