"""The scheduler's loop: it hears of what waits, tries again when there is room, and goes round after a conflict."""

from collections.abc import Sequence

import pytest

from cluster.aio.clock import ManualClock
from cluster.aio.supervise import background
from cluster.api.changes import Change, Put, Remove, TaskChange
from cluster.api.errors import ShoalError, StaleSnapshot, Unavailable
from cluster.api.objects import Node, NodeStatus, Service, Task, TaskStatus
from cluster.api.specs import Placement, ServiceSpec, TaskSpec
from cluster.api.states import Kind, NodeState, TaskState
from manager.scheduler.faults import WINDOW_SECONDS, FaultLog
from manager.scheduler.loop import Scheduler
from manager.store.memory import MemoryProposer
from manager.store.store import Store

READY = NodeStatus(state=NodeState.READY)


class Refusing:
    """A proposer that refuses the first few sets, as if something had changed."""

    def __init__(self, behind: MemoryProposer, times: int, refusal: type[ShoalError]) -> None:
        self._behind = behind
        self.left = times
        self._refusal = refusal

    async def propose(self, changes: Sequence[Change]) -> int:
        if self.left:
            self.left -= 1
            raise self._refusal("not now")
        return await self._behind.propose(changes)


class Stage:
    def __init__(self, *, refusals: int = 0, refusal: type[ShoalError] = StaleSnapshot) -> None:
        self.clock = ManualClock()
        self.store = Store()
        self.proposer = MemoryProposer(self.store, self.clock)
        self.scheduler = Scheduler(self.store, Refusing(self.proposer, refusals, refusal), self.clock)

    async def waiting(self, task_id: str, service_id: str = "s") -> None:
        version = self.store.snapshot.services[service_id].template_version
        status = TaskStatus(state=TaskState.PENDING)
        task = Task(id=task_id, service_id=service_id, template_version=version, slot=1, status=status)
        await self.proposer.propose([Put(object=task)])

    async def service(self, *constraints: str) -> None:
        template = TaskSpec(placement=Placement(constraints=constraints))
        await self.proposer.propose([Put(object=Service(id="s", spec=ServiceSpec(name="s", task_template=template)))])

    def node_of(self, task_id: str) -> str:
        return self.store.snapshot.tasks[task_id].node_id


async def test_a_task_that_comes_to_wait_is_placed() -> None:
    stage = Stage()
    async with background(stage.scheduler.run):
        await stage.proposer.propose([Put(object=Node(id="n", status=READY))])
        await stage.service()
        await stage.clock.advance(0.1)
        await stage.waiting("t1")
        await stage.clock.advance(0.1)
        assert stage.node_of("t1") == "n"


async def test_a_task_that_found_no_node_is_placed_when_one_comes() -> None:
    stage = Stage()
    await stage.service("node.id==b")
    await stage.waiting("t1")
    async with background(stage.scheduler.run):
        await stage.proposer.propose([Put(object=Node(id="a", status=READY))])
        await stage.clock.advance(0.1)
        assert stage.store.snapshot.tasks["t1"].status.err == "no suitable node (scheduling constraints not satisfied on 1 node)"
        await stage.proposer.propose([Put(object=Node(id="b", status=READY))])
        await stage.clock.advance(0.1)
        assert stage.node_of("t1") == "b"


@pytest.mark.parametrize("refusal", [StaleSnapshot, Unavailable])
async def test_a_conflict_or_a_busy_log_goes_round_again(refusal: type[ShoalError]) -> None:
    stage = Stage(refusals=8, refusal=refusal)
    await stage.proposer.propose([Put(object=Node(id="n", status=READY))])
    await stage.service()
    await stage.waiting("t1")
    async with background(stage.scheduler.run):
        await stage.clock.advance(5)
        assert stage.node_of("t1") == "n"


async def test_a_task_that_was_removed_meanwhile_is_no_conflict() -> None:
    stage = Stage()
    await stage.service()
    await stage.waiting("t1")
    async with background(stage.scheduler.run):
        await stage.clock.advance(0.1)
        await stage.proposer.propose([Remove(kind=Kind.TASK, id="t1")])
        await stage.proposer.propose([Put(object=Node(id="n", status=READY))])
        await stage.clock.advance(60)
        assert len(stage.store.snapshot.tasks) == 0


async def test_failures_are_remembered_for_five_minutes() -> None:
    stage = Stage()
    await stage.service()
    faults = FaultLog()
    for number in range(3):
        task_id = f"t{number}"
        await stage.waiting(task_id)
        failed = TaskStatus(state=TaskState.FAILED)
        await stage.proposer.propose([TaskChange(id=task_id, node_id="n", status=failed)])
        faults.observe(stage.store.snapshot, [task_id, task_id, "unknown"], 100.0 * number)
    template = stage.store.snapshot.services["s"].template_version
    assert faults.recent(250.0) == {("s", template): {"n": 3}}
    assert faults.recent(WINDOW_SECONDS + 1) == {("s", template): {"n": 2}}
    assert faults.recent(1000.0) == {}
