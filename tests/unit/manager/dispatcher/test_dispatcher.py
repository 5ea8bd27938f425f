"""Sessions end to end on virtual time: greeted, told everything and then what changes, heard, missed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.aio.supervise import background
from cluster.api.assignment import (
    Assignments,
    Beat,
    Described,
    Endpoints,
    EndpointsApplied,
    EndpointsSettled,
    FromNode,
    Hello,
    LogOrder,
    ManagerAddr,
    ManagersChanged,
    ReportedStatus,
    Statuses,
    StatusesTaken,
    ToNode,
    Welcome,
)
from cluster.api.changes import Change, Put, Remove, TaskChange
from cluster.api.contracts import Caller
from cluster.api.errors import InvalidArgument, NoLeader, ShoalError, StaleSnapshot, Unauthorized, Unavailable
from cluster.api.features import LEVEL
from cluster.api.objects import Attachment, Cluster, Network, Node, NodeDescription, NodeStatus, Service, Task, TaskStatus
from cluster.api.specs import ClusterSpec, DispatcherConfig, NetworkSpec, NodeSpec, ServiceSpec
from cluster.api.states import Kind, NodeState, Role, TaskState
from manager.dispatcher.dispatcher import LONGEST_ABSENCE, Dispatcher
from manager.dispatcher.nodes import ORPHANED_AFTER
from manager.store.memory import MemoryProposer
from manager.store.store import Store

Message = TypeVar("Message")
MANAGERS = (ManagerAddr(node_id="m1", addr="10.0.0.1:2377", leader=True),)


class Line:
    """A node's end of its session."""

    def __init__(self, dispatcher: Dispatcher, node_id: str) -> None:
        self._requests: asyncio.Queue[FromNode | Exception | None] = asyncio.Queue()
        self._answers = dispatcher.session(Caller(node_id=node_id, role=Role.WORKER), self._stream())
        self.heard: list[ToNode] = []
        self.error: ShoalError | None = None
        self.ended = False

    async def _stream(self) -> AsyncIterator[FromNode]:
        while (message := await self._requests.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message

    async def run(self) -> None:
        try:
            async for message in self._answers:
                self.heard.append(message)
        except ShoalError as error:
            self.error = error
        self.ended = True
        await asyncio.Event().wait()

    def say(self, *messages: FromNode | Exception | None) -> None:
        for message in messages:
            self._requests.put_nowait(message)

    def take(self, kind: type[Message]) -> list[Message]:
        """The messages of a kind so far, all messages then forgotten."""
        found = [message for message in self.heard if isinstance(message, kind)]
        self.heard.clear()
        return found


class Swarm:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store()
        self.memory = MemoryProposer(self.store, self.clock)
        self.proposer: object = self.memory
        self.managers = MANAGERS
        self.sessions = 0

    async def put(self, *changes: Change) -> None:
        await self.memory.propose(changes)

    def draw_id(self) -> str:
        self.sessions += 1
        return f"session{self.sessions}"

    def build(self, *, orphaned_after: float = ORPHANED_AFTER) -> Dispatcher:
        return Dispatcher(
            store=self.store,
            proposer=self.proposer,
            clock=self.clock,
            managers=lambda: self.managers,
            draw_id=self.draw_id,
            orphaned_after=orphaned_after,
        )

    @asynccontextmanager
    async def dispatching(self, *nodes: str) -> AsyncIterator[list[Line]]:
        dispatcher = self.build()
        lines = [Line(dispatcher, node_id) for node_id in nodes]
        async with background(dispatcher.run, *(line.run for line in lines)):
            for line in lines:
                line.say(HELLO)
            await self.clock.advance(0.1)
            yield lines

    async def pass_time(self, seconds: float, *alive: Line) -> None:
        for _ in range(int(seconds * 2)):
            for line in alive:
                line.say(Beat())
            await self.clock.advance(0.5)

    def node_state(self, node_id: str) -> NodeState:
        return self.store.snapshot.nodes[node_id].status.state


HELLO = Hello(description=NodeDescription(hostname="host"), addr="10.0.0.9")


@pytest.fixture
async def swarm() -> Swarm:
    swarm = Swarm()
    await swarm.put(
        Put(object=Cluster(id="c1", feature_level=LEVEL)),
        Put(object=Node(id="n1")),
        Put(object=Node(id="n2")),
        Put(object=Network(id="net1", spec=NetworkSpec(name="front"), subnet="10.0.1.0/24", gateway="10.0.1.1", vni=4097)),
    )
    await swarm.put(Put(object=Service(id="s1", spec=ServiceSpec(name="web"))))
    return swarm


def task(task_id: str, node_id: str = "n1", *, address: str = "") -> Put:
    attachments = (Attachment(network_id="net1", address=address),) if address else ()
    status = TaskStatus(state=TaskState.ASSIGNED)
    return Put(
        object=Task(
            id=task_id, service_id="s1", template_version=2, slot=1, node_id=node_id, status=status, attachments=attachments
        )
    )  # fmt: skip


def running(task_id: str) -> ReportedStatus:
    return ReportedStatus(task_id=task_id, status=TaskStatus(state=TaskState.RUNNING, timestamp=5))


# -- opening ---------------------------------------------------------------------------------------------------------------------------
async def test_a_session_opens_with_welcome_and_complete_sets(swarm: Swarm) -> None:
    await swarm.put(task("t1"))
    async with swarm.dispatching("n1") as [line]:
        welcome, assignments, endpoints = line.heard
        assert welcome == Welcome(
            session="session1", heartbeat_ms=1000, managers=MANAGERS, role=Role.WORKER, cluster_id="c1", hostname="host", spread_ms=4
        )
        assert isinstance(assignments, Assignments)
        assert assignments.complete
        assert [one.id for one in assignments.tasks] == ["t1"]
        assert isinstance(endpoints, Endpoints)
        assert endpoints.update.complete
        assert swarm.node_state("n1") is NodeState.READY
        assert swarm.store.snapshot.nodes["n1"].description.hostname == "host"


async def test_what_changes_comes_as_a_step_from_what_was_sent(swarm: Swarm) -> None:
    async with swarm.dispatching("n1", "n2") as [line, other]:
        [first] = line.take(Assignments)
        other.heard.clear()
        await swarm.put(task("t1"))
        await swarm.clock.advance(0.05)
        [step] = line.take(Assignments)
        assert (step.complete, step.applies_to, [one.id for one in step.tasks]) == (False, first.version, ["t1"])
        await swarm.put(Remove(kind=Kind.TASK, id="t1"))
        await swarm.clock.advance(0.05)
        [gone] = line.take(Assignments)
        assert (gone.gone_tasks, gone.applies_to) == (("t1",), step.version)
        assert other.take(Assignments) == []


async def test_changes_close_together_travel_together(swarm: Swarm) -> None:
    async with swarm.dispatching("n1") as [line]:
        line.heard.clear()
        for number in range(10):
            await swarm.put(task(f"t{number}"))
            await asyncio.sleep(0)
        await swarm.clock.advance(0.05)
        assert len(line.take(Assignments)) <= 2


async def test_a_node_that_is_no_part_of_the_swarm_gets_no_session(swarm: Swarm) -> None:
    async with swarm.dispatching("stranger") as [line]:
        assert isinstance(line.error, Unauthorized)


async def test_a_session_opens_with_hello_or_not_at_all(swarm: Swarm) -> None:
    dispatcher = swarm.build()
    line = Line(dispatcher, "n1")
    line.say(Beat())
    async with background(dispatcher.run, line.run):
        await swarm.clock.advance(0.1)
        assert isinstance(line.error, InvalidArgument)


async def test_a_second_session_of_a_node_takes_over(swarm: Swarm) -> None:
    dispatcher = swarm.build()
    first, second = Line(dispatcher, "n1"), Line(dispatcher, "n1")
    async with background(dispatcher.run, first.run, second.run):
        first.say(HELLO)
        await swarm.clock.advance(0.1)
        second.say(HELLO)
        await swarm.clock.advance(0.1)
        assert isinstance(first.error, Unavailable)
        second.heard.clear()
        await swarm.put(task("t1"))
        await swarm.clock.advance(0.1)
        assert len(second.take(Assignments)) == 1
        await swarm.pass_time(5, second)
        assert swarm.node_state("n1") is NodeState.READY


@pytest.mark.parametrize("has_all", [True, False])
async def test_a_node_whose_session_broke_hears_what_it_has_not_and_everything_if_some_did_not_come(swarm: Swarm, *, has_all: bool) -> None:
    await swarm.put(task("t1"))
    dispatcher = swarm.build()
    first, second = Line(dispatcher, "n1"), Line(dispatcher, "n1")
    async with background(dispatcher.run, first.run, second.run):
        first.say(HELLO)
        await swarm.clock.advance(0.1)
        _, told, endpoints = first.heard
        assert isinstance(told, Assignments)
        assert isinstance(endpoints, Endpoints)
        first.say(EndpointsApplied(version=endpoints.update.version), None)
        await swarm.clock.advance(0.1)
        await swarm.put(task("t2"))
        await swarm.clock.advance(0.1)
        second.say(replace(HELLO, assignment_version=told.version, endpoint_version=endpoints.update.version if has_all else 1))
        await swarm.clock.advance(0.1)
        [news] = second.take(Assignments)
        assert news.complete is not has_all
        assert {one.id for one in news.tasks} == ({"t2"} if has_all else {"t1", "t2"})


async def test_a_node_that_was_taken_for_lost_hears_everything(swarm: Swarm) -> None:
    await swarm.put(task("t1"))
    dispatcher = swarm.build()
    first, second = Line(dispatcher, "n1"), Line(dispatcher, "n1")
    async with background(dispatcher.run, first.run, second.run):
        first.say(HELLO)
        await swarm.clock.advance(0.1)
        _, told, endpoints = first.heard
        assert isinstance(told, Assignments)
        assert isinstance(endpoints, Endpoints)
        first.say(None)
        await swarm.pass_time(5)
        assert swarm.node_state("n1") is NodeState.DOWN
        second.say(replace(HELLO, assignment_version=told.version, endpoint_version=endpoints.update.version))
        await swarm.clock.advance(0.1)
        [anew] = second.take(Assignments)
        assert (anew.complete, [one.id for one in anew.tasks]) == (True, ["t1"])


async def test_what_one_node_sends_ends_its_own_session_only(swarm: Swarm) -> None:
    async with swarm.dispatching("n1", "n2") as [line, other]:
        line.say(RuntimeError("not MessagePack at all"))
        await swarm.clock.advance(0.1)
        assert line.error is not None
        assert not other.ended
    async with swarm.dispatching("n1", "n2") as [line, other]:
        line.say(HELLO)
        other.say(None)
        await swarm.clock.advance(0.1)
        assert isinstance(line.error, InvalidArgument)
        assert (other.error, other.ended) == (None, True)


async def test_sessions_end_with_the_leadership(swarm: Swarm) -> None:
    dispatcher = swarm.build()
    line = Line(dispatcher, "n1")
    async with background(line.run):
        async with background(dispatcher.run):
            line.say(HELLO)
            await swarm.clock.advance(0.1)
        await swarm.clock.advance(0.1)
        assert isinstance(line.error, NoLeader)
        late = Line(dispatcher, "n1")
        late.say(HELLO)
        async with background(late.run):
            await swarm.clock.advance(0.1)
            assert isinstance(late.error, Unavailable)


async def test_a_session_that_comes_while_the_leadership_ends_is_refused(swarm: Swarm) -> None:
    """One that is slow to end holds the end up; nodes that were told come back meanwhile."""
    dispatcher, may_end = swarm.build(), asyncio.Event()

    async def stubborn() -> AsyncIterator[FromNode]:
        yield HELLO
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    answers = dispatcher.session(Caller(node_id="n1", role=Role.WORKER), stubborn())
    running = asyncio.ensure_future(dispatcher.run())
    assert isinstance(await anext(answers), Welcome)
    await swarm.clock.advance(0.1)
    running.cancel()
    await swarm.clock.advance(0.1)
    late = Line(dispatcher, "n2")
    late.say(HELLO)
    async with background(late.run):
        await swarm.clock.advance(0.1)
        assert isinstance(late.error, NoLeader)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_removed_node_is_sent_away(swarm: Swarm) -> None:
    async with swarm.dispatching("n1") as [line]:
        await swarm.put(Remove(kind=Kind.NODE, id="n1"))
        await swarm.clock.advance(0.1)
        assert isinstance(line.error, Unauthorized)


# -- statuses --------------------------------------------------------------------------------------------------------------------------
async def test_statuses_are_acknowledged_once_committed(swarm: Swarm) -> None:
    await swarm.put(task("t1"), task("t2", "n2"))
    async with swarm.dispatching("n1") as [line]:
        line.heard.clear()
        line.say(Statuses(sequence=1, statuses=(running("t1"), running("t2"), running("unknown"))))
        await swarm.clock.advance(0.1)
        assert line.take(StatusesTaken) == [StatusesTaken(sequence=1)]
        tasks = swarm.store.snapshot.tasks
        assert (tasks["t1"].state, tasks["t2"].state) == (TaskState.RUNNING, TaskState.ASSIGNED)
        version = swarm.store.snapshot.version
        line.say(Statuses(sequence=2, statuses=(running("t1"),)))
        await swarm.clock.advance(0.1)
        assert line.take(StatusesTaken) == [StatusesTaken(sequence=2)]
        assert swarm.store.snapshot.version == version


class Reluctant:
    """A proposer that refuses at first, in this way and that."""

    def __init__(self, swarm: Swarm, *refusals: Exception) -> None:
        self._swarm = swarm
        self._refusals = list(refusals)
        self.sets: list[Sequence[Change]] = []

    async def propose(self, changes: Sequence[Change]) -> int:
        self.sets.append(changes)
        if self._refusals:
            raise self._refusals.pop(0)
        return await self._swarm.memory.propose(changes)


async def test_statuses_of_all_nodes_go_into_one_proposal_and_none_is_lost_to_a_refusal(swarm: Swarm) -> None:
    await swarm.put(*(task(f"t{number}", "n1" if number % 2 else "n2") for number in range(20)))
    async with swarm.dispatching("n1", "n2"):
        pass
    swarm.proposer = reluctant = Reluctant(swarm, Unavailable("busy"), StaleSnapshot("somebody was first"))
    async with swarm.dispatching("n1", "n2") as [line, other]:
        for number in range(20):
            (line if number % 2 else other).say(Statuses(sequence=number, statuses=(running(f"t{number}"),)))
        await swarm.clock.advance(1.0)
        assert all(one.state is TaskState.RUNNING for one in swarm.store.snapshot.tasks.values())
        assert (line.take(StatusesTaken)[-1].sequence, other.take(StatusesTaken)[-1].sequence) == (19, 18)
        assert len(reluctant.sets) <= 5


# -- who is there ----------------------------------------------------------------------------------------------------------------------
async def test_a_silent_node_is_down_after_three_missed_beats(swarm: Swarm) -> None:
    async with swarm.dispatching("n1", "n2") as [_, other]:
        await swarm.pass_time(2.5, other)
        assert swarm.node_state("n1") is NodeState.READY
        await swarm.pass_time(1.0, other)
        assert (swarm.node_state("n1"), swarm.node_state("n2")) == (NodeState.DOWN, NodeState.READY)


async def test_heartbeats_are_not_written(swarm: Swarm) -> None:
    async with swarm.dispatching("n1", "n2") as lines:
        version = swarm.store.snapshot.version
        await swarm.pass_time(30, *lines)
        assert swarm.store.snapshot.version == version


async def test_a_node_that_was_silent_on_an_open_session_comes_back_by_a_new_one(swarm: Swarm) -> None:
    """A machine that stood still has missed nothing: its connection is as it was, but its tasks have been given to others."""
    dispatcher = swarm.build()
    line, again, other = Line(dispatcher, "n1"), Line(dispatcher, "n1"), Line(dispatcher, "n2")
    async with background(dispatcher.run, line.run, again.run, other.run):
        for one in (line, other):
            one.say(HELLO)
        await swarm.pass_time(4, other)
        assert swarm.node_state("n1") is NodeState.DOWN
        line.say(Beat())
        await swarm.pass_time(1, other)
        assert line.ended
        assert isinstance(line.error, Unavailable)
        again.say(HELLO)
        await swarm.pass_time(1, other)
        assert swarm.node_state("n1") is NodeState.READY


async def test_a_new_leader_counts_every_node_as_present_until_it_had_time_to_come(swarm: Swarm) -> None:
    async with swarm.dispatching("n1", "n2") as lines:
        await swarm.pass_time(1, *lines)
    await swarm.clock.advance(60)
    async with swarm.dispatching("n1") as [line]:
        await swarm.pass_time(4.0, line)
        assert swarm.node_state("n2") is NodeState.READY
        await swarm.pass_time(1.0, line)
        assert (swarm.node_state("n1"), swarm.node_state("n2")) == (NodeState.READY, NodeState.DOWN)


async def test_an_announced_restart_costs_nothing(swarm: Swarm) -> None:
    dispatcher = swarm.build()
    line, again, other = Line(dispatcher, "n1"), Line(dispatcher, "n1"), Line(dispatcher, "n2")
    async with background(dispatcher.run, line.run, again.run, other.run):
        for one in (line, other):
            one.say(HELLO)
        line.say(Beat(away_ms=30_000), None)
        await swarm.pass_time(25, other)
        assert swarm.node_state("n1") is NodeState.READY
        again.say(HELLO)
        await swarm.pass_time(2, other)
        assert swarm.node_state("n1") is NodeState.READY
        await swarm.pass_time(2, other)
        assert swarm.node_state("n1") is NodeState.DOWN


async def test_an_announced_restart_is_known_to_the_next_leader_when_the_session_has_ended(swarm: Swarm) -> None:
    async with swarm.dispatching("n1", "n2") as [line, _]:
        line.say(Beat(away_ms=30_000), None)
        await swarm.clock.advance(0)
        assert line.ended
    async with swarm.dispatching("n2") as [other]:
        await swarm.pass_time(29, other)
        assert swarm.node_state("n1") is NodeState.READY
        await swarm.pass_time(2, other)
        assert swarm.node_state("n1") is NodeState.DOWN


async def test_an_announced_restart_is_over_for_the_next_leader_too_once_the_node_is_back(swarm: Swarm) -> None:
    async with swarm.dispatching("n1") as [line]:
        line.say(Beat(away_ms=30_000), None)
        await swarm.clock.advance(0)
    async with swarm.dispatching("n1") as [back]:
        await swarm.pass_time(1, back)
    async with swarm.dispatching("n2") as [other]:
        await swarm.pass_time(5, other)
        assert swarm.node_state("n1") is NodeState.DOWN


async def test_nobody_is_waited_for_longer_than_a_restart_can_take(swarm: Swarm) -> None:
    async with swarm.dispatching("n1", "n2") as [line, other]:
        line.say(Beat(away_ms=1 << 60), None)
        await swarm.pass_time(LONGEST_ABSENCE + 1, other)
        assert swarm.node_state("n1") is NodeState.DOWN


async def test_a_changed_description_is_written_once(swarm: Swarm) -> None:
    async with swarm.dispatching("n1") as [line]:
        line.say(Described(description=NodeDescription(hostname="renamed")))
        await swarm.clock.advance(0.1)
        assert swarm.store.snapshot.nodes["n1"].description.hostname == "renamed"
        version = swarm.store.snapshot.version
        await swarm.pass_time(2, line)
        assert swarm.store.snapshot.version == version


async def test_tasks_of_a_node_that_stays_down_are_orphaned(swarm: Swarm) -> None:
    await swarm.put(task("t1"))
    down = replace(swarm.store.snapshot.nodes["n1"], status=NodeStatus(state=NodeState.DOWN))
    await swarm.put(Put(object=down, base=1))
    dispatcher = swarm.build(orphaned_after=30.0)
    async with background(dispatcher.run):
        await swarm.clock.advance(28.0)
        assert swarm.store.snapshot.tasks["t1"].state is TaskState.ASSIGNED
        await swarm.clock.advance(4.0)
        assert swarm.store.snapshot.tasks["t1"].state is TaskState.ORPHANED


async def test_another_heartbeat_period_is_learnt_by_a_new_session(swarm: Swarm) -> None:
    async with swarm.dispatching("n1") as [line]:
        cluster = swarm.store.snapshot.cluster
        assert cluster is not None
        spec = ClusterSpec(dispatcher=DispatcherConfig(heartbeat_period=5_000_000_000))
        await swarm.put(Put(object=replace(cluster, spec=spec), base=cluster.version))
        await swarm.pass_time(1.5, line)
        assert isinstance(line.error, Unavailable)
    async with swarm.dispatching("n1") as [line]:
        assert line.take(Welcome)[0].heartbeat_ms == 5000


# -- endpoints -------------------------------------------------------------------------------------------------------------------------
async def test_a_stop_is_settled_once_every_ready_node_has_the_endpoints_without_the_task(swarm: Swarm) -> None:
    await swarm.put(task("t1", "n1", address="10.0.1.2/24"), task("t2", "n2", address="10.0.1.3/24"))
    await swarm.put(*(TaskChange(id=one, status=TaskStatus(state=TaskState.RUNNING)) for one in ("t1", "t2")))
    async with swarm.dispatching("n1", "n2") as [line, other]:
        for one in (line, other):
            one.say(EndpointsApplied(version=one.take(Endpoints)[-1].update.version))
        await swarm.clock.advance(0.1)
        await swarm.put(TaskChange(id="t1", desired_state=TaskState.SHUTDOWN))
        await swarm.clock.advance(0.1)
        stop = next(one for one in line.heard if isinstance(one, Assignments)).tasks[0]
        assert stop.endpoint_version == swarm.store.snapshot.version
        assert not [one for one in line.heard if isinstance(one, EndpointsSettled)]
        versions = [one.take(Endpoints)[-1].update.version for one in (line, other)]
        line.say(EndpointsApplied(version=versions[0]))
        await swarm.clock.advance(0.1)
        assert line.take(EndpointsSettled) == []
        other.say(EndpointsApplied(version=versions[1]))
        await swarm.clock.advance(0.1)
        [settled] = line.take(EndpointsSettled)
        assert settled.version >= stop.endpoint_version
        assert other.take(EndpointsSettled) == []


async def test_a_node_that_was_told_nothing_new_has_it_already(swarm: Swarm) -> None:
    await swarm.put(task("t1", "n1", address="10.0.1.2/24"), TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING)))
    async with swarm.dispatching("n1", "n2") as [line, other]:
        for one in (line, other):
            one.say(EndpointsApplied(version=one.take(Endpoints)[-1].update.version))
        await swarm.clock.advance(0.1)
        await swarm.put(TaskChange(id="t1", desired_state=TaskState.SHUTDOWN))
        await swarm.clock.advance(0.1)
        assert other.take(Endpoints) == []
        line.say(EndpointsApplied(version=line.take(Endpoints)[-1].update.version))
        await swarm.clock.advance(0.1)
        assert len(line.take(EndpointsSettled)) == 1


# -- managers, logs --------------------------------------------------------------------------------------------------------------------
async def test_nodes_hear_of_other_managers_and_of_their_own_role(swarm: Swarm) -> None:
    async with swarm.dispatching("n1") as [line]:
        line.heard.clear()
        swarm.managers = (*MANAGERS, ManagerAddr(node_id="m2", addr="10.0.0.2:2377"))
        await swarm.pass_time(1.5, line)
        assert line.take(ManagersChanged) == [ManagersChanged(managers=swarm.managers, role=Role.WORKER)]
        node = swarm.store.snapshot.nodes["n1"]
        await swarm.put(Put(object=replace(node, spec=NodeSpec(role=Role.MANAGER)), base=node.version))
        await swarm.clock.advance(0.1)
        assert line.take(ManagersChanged) == [ManagersChanged(managers=swarm.managers, role=Role.MANAGER)]


async def test_log_orders_go_to_the_nodes_of_their_tasks(swarm: Swarm) -> None:
    await swarm.put(task("t1"), task("t2", "n2"), task("t3", "n2"))
    dispatcher = swarm.build()
    line, other = Line(dispatcher, "n1"), Line(dispatcher, "n2")
    async with background(dispatcher.run, line.run, other.run):
        for one in (line, other):
            one.say(HELLO)
        await swarm.clock.advance(0.1)
        order = LogOrder(stream="x", addr="10.0.0.1:2377", tasks=("t1", "t2", "t3", "gone"), follow=True)
        await dispatcher.order(Caller(node_id="m1", role=Role.MANAGER), order)
        await swarm.clock.advance(0.1)
        assert line.take(LogOrder) == [replace(order, tasks=("t1",))]
        assert other.take(LogOrder) == [replace(order, tasks=("t2", "t3"))]
