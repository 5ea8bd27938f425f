"""Logs flow to whoever ordered them, no faster than they are read, and end when they should."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cluster.aio.conversation import CHUNK, WINDOW
from cluster.aio.supervise import background
from cluster.api.assignment import AssignedSecret, Credit, LogChunk, LogOrder
from cluster.api.errors import Unavailable
from cluster.api.specs import ContainerSpec, FileTarget, SecretReference
from cluster.api.states import TaskState
from tests.unit.worker.worker_stage import Daemon, Stage
from tests.unit.worker.worker_values import assigned
from worker.engine.memory import Behaviour
from worker.logs import LogReader


class Client:
    """The manager that the reader of the logs is on."""

    def __init__(self) -> None:
        self.chunks: list[LogChunk] = []
        self.finished = False
        self.gone = False
        self._credits: asyncio.Queue[Credit | None] = asyncio.Queue()

    async def send(self, chunk: LogChunk) -> None:
        self.chunks.append(chunk)

    async def finish(self) -> None:
        self.finished = True
        self._credits.put_nowait(None)

    def grants(self, credit: Credit | None) -> None:
        self._credits.put_nowait(credit)

    async def received(self) -> AsyncIterator[Credit]:
        while (credit := await self._credits.get()) is not None:
            yield credit

    @property
    def lines(self) -> list[tuple[str, bytes]]:
        return [(chunk.task_id, chunk.content) for chunk in self.chunks if chunk.task_id and not chunk.end]

    @property
    def ended(self) -> list[tuple[str, str]]:
        return [(chunk.task_id, chunk.error) for chunk in self.chunks if chunk.end]


class Scene:
    def __init__(self, stage: Stage, daemon: Daemon) -> None:
        self.stage = stage
        self.daemon = daemon
        self.client = Client()
        self.reachable = True
        self.reader = LogReader(
            stage.engine,
            container_of=daemon.worker.container_of,
            ended=daemon.worker.ended,
            publish=self.publish,
            clock=stage.clock,
        )

    @asynccontextmanager
    async def publish(self, address: str) -> AsyncIterator[Client]:
        if not self.reachable:
            raise Unavailable(f"manager {address} cannot be reached")
        try:
            yield self.client
        finally:
            self.client.gone = True

    async def order(self, *tasks: str, follow: bool = False, tail: int = -1, stop: bool = False) -> None:
        self.reader.order(LogOrder(stream="s", addr="a", tasks=tasks, follow=follow, tail=tail, stop=stop))
        await self.stage.clock.advance(0.5)

    async def say(self, task_id: str, line: bytes) -> None:
        found = self.stage.engine.container_of(task_id)
        assert found is not None
        self.stage.engine.say(found.id, line)
        await self.stage.clock.advance(0.1)


@asynccontextmanager
async def scene(folder: Path, *says: bytes) -> AsyncIterator[Scene]:
    """Two tasks that run and have said this."""
    stage = Stage(folder, behave=lambda _: Behaviour(says=says))
    async with stage.daemon() as daemon:
        await daemon.complete(assigned("t1"), assigned("t2", slot=2))
        acted = Scene(stage, daemon)
        async with background(acted.reader.run):
            yield acted


async def test_what_was_said_is_sent_and_each_task_s_part_ends(tmp_path: Path) -> None:
    async with scene(tmp_path, b"one\n", b"two\n") as acted:
        await acted.order("t1", "t2")
        assert sorted(acted.client.lines) == [("t1", b"one\n"), ("t1", b"two\n"), ("t2", b"one\n"), ("t2", b"two\n")]
        assert sorted(acted.client.ended) == [("t1", ""), ("t2", "")]
        assert acted.client.finished


async def test_the_tail_is_per_task(tmp_path: Path) -> None:
    async with scene(tmp_path, b"one\n", b"two\n") as acted:
        await acted.order("t1", "t2", tail=1)
        assert sorted(acted.client.lines) == [("t1", b"two\n"), ("t2", b"two\n")]


async def test_an_ended_task_s_log_can_be_read_while_its_container_is_there(tmp_path: Path) -> None:
    async with scene(tmp_path, b"last words\n") as acted:
        await acted.daemon.step(assigned("t1", desired=TaskState.SHUTDOWN))
        await acted.order("t1")
        assert acted.client.lines == [("t1", b"last words\n")]


async def test_following_goes_on_until_the_container_ends(tmp_path: Path) -> None:
    async with scene(tmp_path) as acted:
        await acted.order("t1", follow=True)
        await acted.say("t1", b"later\n")
        assert (acted.client.lines, acted.client.ended) == ([("t1", b"later\n")], [])
        await acted.daemon.step(assigned("t1", desired=TaskState.SHUTDOWN))
        assert acted.client.ended == [("t1", "")]
        assert not acted.client.finished


async def test_a_followed_stream_takes_new_tasks(tmp_path: Path) -> None:
    async with scene(tmp_path) as acted:
        await acted.order("t1", follow=True)
        await acted.order("t2", follow=True)
        await acted.say("t2", b"new\n")
        assert acted.client.lines == [("t2", b"new\n")]


async def test_a_task_is_followed_from_before_it_has_a_container(tmp_path: Path) -> None:
    secret = SecretReference(secret_id="x1", secret_name="db", file=FileTarget(name="pw", mode=0o400))
    waiting = assigned("t3", slot=3, spec=ContainerSpec(image="app", secrets=(secret,)))
    async with scene(tmp_path, b"hello\n") as acted:
        await acted.daemon.step(waiting)
        await acted.order("t3", follow=True)
        assert (acted.client.lines, acted.client.ended) == ([], [])
        await acted.daemon.complete(waiting, secrets=[AssignedSecret(id="x1", version=1, name="db", data=b"hush")])
        assert acted.client.lines == [("t3", b"hello\n")]


async def test_a_stream_names_itself_before_anything_is_said(tmp_path: Path) -> None:
    async with scene(tmp_path) as acted:
        await acted.order("t1", follow=True)
        assert acted.client.chunks == [LogChunk(stream="s", task_id="")]


async def test_a_reader_that_stops_reading_stops_the_log(tmp_path: Path) -> None:
    line = b"x" * CHUNK
    async with scene(tmp_path, *[line] * 40) as acted:
        await acted.order("t1")
        assert sum(len(content) for _, content in acted.client.lines) == WINDOW
        acted.client.grants(Credit(bytes=2 * CHUNK))
        await acted.stage.clock.advance(0.1)
        assert sum(len(content) for _, content in acted.client.lines) == WINDOW + 2 * CHUNK


async def test_a_long_line_comes_in_pieces(tmp_path: Path) -> None:
    async with scene(tmp_path, b"y" * (CHUNK + 1)) as acted:
        await acted.order("t1")
        assert [len(content) for _, content in acted.client.lines] == [CHUNK, 1]


async def test_a_reader_that_is_gone_ends_the_stream(tmp_path: Path) -> None:
    async with scene(tmp_path) as acted:
        await acted.order("t1", follow=True)
        await acted.order(stop=True)
        assert acted.client.gone
        acted.client = Client()
        await acted.order("t1", follow=True)
        acted.client.grants(Credit(stop=True))
        await acted.stage.clock.advance(0.1)
        assert acted.client.gone


async def test_an_engine_that_fails_is_told_as_the_end_of_the_task_s_part(tmp_path: Path) -> None:
    async with scene(tmp_path) as acted:
        acted.stage.engine.die()
        await acted.order("t1")
        assert acted.client.ended == [("t1", "the memory engine does not answer")]


async def test_a_manager_out_of_reach_costs_only_its_own_stream(tmp_path: Path) -> None:
    async with scene(tmp_path, b"one\n") as acted:
        acted.reachable = False
        await acted.order("t1")
        acted.reachable = True
        await acted.order("t1")
        assert acted.client.lines == [("t1", b"one\n")]
