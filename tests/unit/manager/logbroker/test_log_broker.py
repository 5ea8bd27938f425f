"""A client reads every task's log from wherever it is, no faster than it reads, and never hangs on a dead node."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.aio.supervise import background
from cluster.api.assignment import Credit, LogChunk, LogOrder
from cluster.api.changes import Change, Put, Remove, TaskChange
from cluster.api.contracts import Caller, Taken
from cluster.api.errors import Forbidden, NoLeader, ShoalError, TooLarge
from cluster.api.objects import ContainerStatus, Node, NodeDescription, NodeStatus, Service, Task, TaskStatus
from cluster.api.specs import ServiceSpec
from cluster.api.states import Kind, NodeState, Role, TaskState
from manager.logbroker.broker import LogBroker
from manager.logbroker.selection import LogRequest, OfService, OfTask
from manager.logbroker.subscription import WINDOW
from manager.store.memory import MemoryProposer
from manager.store.store import Store


class Publisher:
    """A node's end of its log stream."""

    def __init__(self, broker: LogBroker, node_id: str) -> None:
        self._chunks: asyncio.Queue[LogChunk | None] = asyncio.Queue()
        self._answers = broker.publish(Caller(node_id=node_id, role=Role.WORKER), self._stream())
        self.credit = 0
        self.stopped = False
        self.over = False
        self.error: ShoalError | None = None

    async def _stream(self) -> AsyncIterator[LogChunk]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def run(self) -> None:
        try:
            async for credit in self._answers:
                self.credit += credit.bytes
                self.stopped = self.stopped or credit.stop
        except ShoalError as error:
            self.error = error
        self.over = True
        await asyncio.Event().wait()

    def say(self, task_id: str, *lines: bytes, stream: str = "x1", end: bool = False) -> None:
        for line in lines:
            self._chunks.put_nowait(LogChunk(stream=stream, task_id=task_id, content=line))
        if end:
            self._chunks.put_nowait(LogChunk(stream=stream, task_id=task_id, end=True))

    def greet(self, stream: str = "x1") -> None:
        self._chunks.put_nowait(LogChunk(stream=stream, task_id=""))

    def close(self) -> None:
        self._chunks.put_nowait(None)


class Client:
    def __init__(self, broker: LogBroker, request: LogRequest) -> None:
        self._chunks = broker.subscribe(request)
        self._may_read = asyncio.Semaphore(0)
        self.lines: list[tuple[str, bytes]] = []
        self.errors: list[str] = []
        self.over = False

    async def run(self) -> None:
        async for chunk in self._chunks:
            if chunk.error:
                self.errors.append(chunk.error)
            else:
                self.lines.append((chunk.task_id, chunk.content))
            await self._may_read.acquire()
        self.over = True
        await asyncio.Event().wait()

    def reads(self, count: int = 1000) -> None:
        for _ in range(count):
            self._may_read.release()

    async def leave(self) -> None:
        await self._chunks.aclose()


class Scene:
    """Two nodes; service s with a task on each, t1 on n1 and t2 on n2."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store()
        self.proposer = MemoryProposer(self.store, self.clock)
        self.orders: list[LogOrder] = []
        self.refuse: ShoalError | None = None
        self._drawn = 0
        self.broker = LogBroker(
            store=self.store,
            order=self.order,
            clock=self.clock,
            draw_id=self.draw_id,
            me=Caller(node_id="m1", role=Role.MANAGER),
            addr=lambda: "10.0.0.1:2377",
        )

    def draw_id(self) -> str:
        self._drawn += 1
        return f"x{self._drawn}"

    async def order(self, caller: Caller, order: LogOrder) -> Taken:
        assert caller.node_id == "m1"
        self.orders.append(order)
        if self.refuse is not None:
            raise self.refuse
        return Taken()

    async def put(self, *changes: Change) -> None:
        await self.proposer.propose(changes)
        await self.clock.advance(0.01)

    @asynccontextmanager
    async def reading(self, request: LogRequest, *nodes: str) -> AsyncIterator[tuple[Client, list[Publisher]]]:
        client = Client(self.broker, request)
        publishers = [Publisher(self.broker, node_id) for node_id in nodes]
        async with background(*(one.run for one in publishers), client.run):
            client.reads()
            await self.clock.advance(0.1)
            yield client, publishers


def task(task_id: str, node_id: str, state: TaskState = TaskState.RUNNING, container: str = "") -> Put:
    status = TaskStatus(state=state, container=ContainerStatus(container_id=container) if container else None)
    return Put(object=Task(id=task_id, service_id="s", template_version=2, slot=1, node_id=node_id, status=status))


def node(node_id: str, state: NodeState = NodeState.READY) -> Put:
    return Put(object=Node(id=node_id, status=NodeStatus(state=state), description=NodeDescription(hostname=f"host-{node_id}")))


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.put(node("n1"), node("n2"), node("n3", NodeState.DOWN))
    await scene.put(Put(object=Service(id="s", spec=ServiceSpec(name="web"))))
    await scene.put(task("t1", "n1"), task("t2", "n2"))
    return scene


ALL = LogRequest(selection=OfService("s"))
FOLLOW = LogRequest(selection=OfService("s"), follow=True)

Read = Callable[..., Awaitable[None]]


# -- reading ---------------------------------------------------------------------------------------------------------------------------
async def test_a_services_logs_come_from_all_its_nodes_and_end(scene: Scene) -> None:
    request = replace(ALL, tail=5, since=7, until=9, stderr=False)
    async with scene.reading(request, "n1", "n2") as (client, [one, two]):
        expected = LogOrder(stream="x1", addr="10.0.0.1:2377", tasks=("t1", "t2"), tail=5, since=7, until=9, stderr=False)
        assert scene.orders == [expected]
        one.greet()
        one.say("t1", b"a\n", b"b\n", end=True)
        one.close()
        await scene.clock.advance(0.1)
        assert not client.over
        two.greet()
        two.say("t2", b"c\n", end=True)
        two.close()
        await scene.clock.advance(0.1)
        assert client.lines == [("t1", b"a\n"), ("t1", b"b\n"), ("t2", b"c\n")]
        assert (client.over, client.errors, one.over, two.over) == (True, [], True, True)


async def test_what_an_engine_could_not_read_is_said(scene: Scene) -> None:
    async with scene.reading(LogRequest(selection=OfTask("t1")), "n1") as (client, [one]):
        one._chunks.put_nowait(LogChunk(stream="x1", task_id="t1", end=True, error="no such container"))
        await scene.clock.advance(0.1)
        assert (client.errors, client.over) == (["no such container"], True)


async def test_tasks_without_a_container_are_not_asked_for(scene: Scene) -> None:
    await scene.put(
        task("t3", "n1", TaskState.REJECTED), task("t4", "n1", TaskState.FAILED, "c4"), task("t5", ""), task("t6", "n1", TaskState.ORPHANED)
    )
    async with scene.reading(ALL):
        assert scene.orders[0].tasks == ("t1", "t2", "t4")


async def test_a_service_without_tasks_has_an_empty_log(scene: Scene) -> None:
    async with scene.reading(LogRequest(selection=OfService("none"))) as (client, _):
        assert (client.over, client.lines, scene.orders) == (True, [], [])


# -- following -------------------------------------------------------------------------------------------------------------------------
async def test_a_follower_sees_new_tasks_and_ends_with_the_service(scene: Scene) -> None:
    async with scene.reading(FOLLOW, "n1", "n2") as (client, [one, two]):
        one.greet()
        two.greet()
        await scene.put(task("t3", "n2"))
        await scene.clock.advance(0.1)
        assert scene.orders[1].tasks == ("t3",)
        two.say("t3", b"new\n")
        await scene.clock.advance(0.1)
        assert client.lines == [("t3", b"new\n")]
        for publisher, tasks in ((one, ["t1"]), (two, ["t2", "t3"])):
            for task_id in tasks:
                publisher.say(task_id, end=True)
        await scene.clock.advance(0.1)
        assert not client.over
        await scene.put(Remove(kind=Kind.SERVICE, id="s"))
        assert client.over
        await scene.clock.advance(0.1)
        assert (one.stopped, two.stopped) == (True, True)


async def test_a_task_is_followed_from_before_it_is_placed(scene: Scene) -> None:
    await scene.put(task("t9", "", TaskState.PENDING))
    async with scene.reading(LogRequest(selection=OfTask("t9"), follow=True), "n1") as (client, [one]):
        assert (scene.orders, client.over) == ([], False)
        await scene.put(TaskChange(id="t9", node_id="n1", status=TaskStatus(state=TaskState.ASSIGNED)))
        assert scene.orders[0].tasks == ("t9",)
        one.say("t9", b"hello\n", end=True)
        await scene.clock.advance(0.1)
        assert (client.lines, client.over) == ([("t9", b"hello\n")], True)


async def test_silence_is_not_death(scene: Scene) -> None:
    async with scene.reading(FOLLOW, "n1", "n2") as (client, [one, two]):
        one.greet()
        two.greet()
        await scene.clock.advance(600)
        assert (client.errors, client.over) == ([], False)
        assert len(scene.orders) == 1


# -- flow ------------------------------------------------------------------------------------------------------------------------------
async def test_a_node_gets_credit_for_what_was_read(scene: Scene) -> None:
    client = Client(scene.broker, FOLLOW)
    one = Publisher(scene.broker, "n1")
    async with background(one.run, client.run):
        await scene.clock.advance(0.1)
        one.say("t1", *[b"x" * 1000] * 5)
        await scene.clock.advance(0.1)
        assert (len(client.lines), one.credit) == (1, 0)
        client.reads(2)
        await scene.clock.advance(0.1)
        assert (len(client.lines), one.credit) == (3, 2000)
        client.reads(3)
        await scene.clock.advance(0.1)
        assert one.credit == 5000


async def test_a_node_that_ignores_its_credit_is_cut_off(scene: Scene) -> None:
    client = Client(scene.broker, FOLLOW)
    one = Publisher(scene.broker, "n1")
    async with background(one.run, client.run):
        await scene.clock.advance(0.1)
        one.say("t1", *[b"x" * (64 * 1024)] * (2 * WINDOW // (64 * 1024) + 5))
        for _ in range(40):
            await scene.clock.advance(0.1)
        assert isinstance(one.error, TooLarge)


async def test_a_client_that_leaves_stops_the_nodes(scene: Scene) -> None:
    client, one, late = Client(scene.broker, FOLLOW), Publisher(scene.broker, "n1"), Publisher(scene.broker, "n2")
    async with background(one.run, late.run):
        async with background(client.run):
            await scene.clock.advance(0.1)
            one.greet()
            await scene.clock.advance(0.1)
        await client.leave()
        late.greet()
        await scene.clock.advance(0.1)
        assert (one.stopped, one.over, late.stopped, late.over) == (True, True, True, True)


# -- what goes wrong -------------------------------------------------------------------------------------------------------------------
async def test_a_dead_node_is_one_line_not_a_hang(scene: Scene) -> None:
    await scene.put(task("t3", "n3"), task("t4", "n3"))
    async with scene.reading(ALL, "n1", "n2") as (client, [one, two]):
        [error] = client.errors
        assert error == "incomplete log stream: node host-n3 (n3) is not available; what tasks t3, t4 said is missing"
        assert scene.orders[0].tasks == ("t1", "t2")
        one.say("t1", end=True)
        two.say("t2", end=True)
        await scene.clock.advance(0.1)
        assert client.over


async def test_a_node_that_dies_under_a_follower_is_one_line(scene: Scene) -> None:
    async with scene.reading(FOLLOW, "n1", "n2") as (client, [one, two]):
        one.greet()
        two.greet()
        await scene.clock.advance(0.1)
        lost = scene.store.snapshot.nodes["n2"]
        await scene.put(Put(object=replace(lost, status=NodeStatus(state=NodeState.DOWN)), base=lost.version))
        assert len(client.errors) == 1
        one.say("t1", b"still here\n")
        await scene.clock.advance(0.1)
        assert client.lines == [("t1", b"still here\n")]


async def test_a_node_that_does_not_answer_is_asked_again_and_then_given_up(scene: Scene) -> None:
    async with scene.reading(ALL, "n1") as (client, [one]):
        one.say("t1", end=True)
        await scene.clock.advance(3.0)
        assert client.errors == []
        assert [order.tasks for order in scene.orders[1:]] == [("t2",)] * (len(scene.orders) - 1)
        assert len(scene.orders) > 2
        await scene.clock.advance(3.0)
        assert client.errors == ["incomplete log stream: node host-n2 (n2) did not answer within 5 s; what task t2 said is missing"]
        assert client.over


async def test_a_stream_that_breaks_off_is_said(scene: Scene) -> None:
    async with scene.reading(LogRequest(selection=OfTask("t1")), "n1") as (client, [one]):
        one.say("t1", b"half\n")
        one.close()
        await scene.clock.advance(0.1)
        assert (client.lines, client.over) == ([("t1", b"half\n")], True)
        assert client.errors == ["incomplete log stream: node n1 broke off; what task t1 said is missing"]


async def test_a_moment_without_a_leader_is_waited_out(scene: Scene) -> None:
    scene.refuse = NoLeader()
    async with scene.reading(LogRequest(selection=OfTask("t1")), "n1") as (client, [one]):
        await scene.clock.advance(1.5)
        scene.refuse = None
        await scene.clock.advance(1.0)
        one.say("t1", b"here\n", end=True)
        await scene.clock.advance(0.1)
        assert (client.lines, client.errors, client.over) == ([("t1", b"here\n")], [], True)


async def test_a_node_speaks_for_its_own_tasks_only(scene: Scene) -> None:
    async with scene.reading(FOLLOW, "n1", "n3") as (client, [one, stranger]):
        one.say("t2", b"forged\n")
        stranger.greet()
        await scene.clock.advance(0.1)
        assert isinstance(one.error, Forbidden)
        assert isinstance(stranger.error, Forbidden)
        assert client.lines == []


async def test_orders_of_other_managers_are_passed_on(scene: Scene) -> None:
    order = LogOrder(stream="y", addr="a", tasks=("t1",))
    assert await scene.broker.order(Caller(node_id="m1", role=Role.MANAGER), order) == Taken()
    assert scene.orders == [order]


def test_the_credit_window_is_the_one_that_nodes_know() -> None:
    assert Credit() == Credit(bytes=0, stop=False)
    assert WINDOW == 1 << 20
