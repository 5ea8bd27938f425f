"""A node's side of a session: greeting, rhythm, order, and what it does when a manager is not there."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from cluster.aio.latest import Latest
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
    ReachOrder,
    Statuses,
    StatusesTaken,
    ToNode,
    Welcome,
)
from cluster.api.endpoint import EndpointUpdate
from cluster.api.errors import NoLeader, ShoalError, Unavailable
from cluster.api.objects import NodeDescription
from cluster.api.states import Role
from tests.unit.worker.worker_stage import Daemon, Stage
from tests.unit.worker.worker_values import assigned
from worker.session import Session, SessionSettings

M1, M2 = ManagerAddr(node_id="m1", addr="10.0.0.1:2377", leader=True), ManagerAddr(node_id="m2", addr="10.0.0.2:2377")
WELCOME = Welcome(session="s", heartbeat_ms=1000, managers=(M1, M2), role=Role.WORKER)


class Manager:
    """The other end of one line."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[FromNode] = []
        self._to_say: asyncio.Queue[ToNode | ShoalError | None] = asyncio.Queue()

    def says(self, *messages: ToNode | ShoalError | None) -> None:
        for message in messages:
            self._to_say.put_nowait(message)

    def of(self, kind: type) -> list[FromNode]:
        return [message for message in self.heard if isinstance(message, kind)]

    async def send(self, message: FromNode) -> None:
        self.heard.append(message)

    async def finish(self) -> None:
        """It has heard everything and ends its side."""
        self.says(None)

    async def received(self) -> AsyncIterator[ToNode]:
        while (message := await self._to_say.get()) is not None:
            if isinstance(message, ShoalError):
                raise message
            yield message


class Ears:
    """The rest of the daemon."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def welcomed(self, message: Welcome) -> None:
        self.heard.append(message)

    def managers_changed(self, message: ManagersChanged) -> None:
        self.heard.append(message)

    def endpoints_came(self, message: Endpoints) -> None:
        self.heard.append(message)

    def logs_ordered(self, order: LogOrder) -> None:
        self.heard.append(order)

    def reach_ordered(self, order: ReachOrder) -> None:
        self.heard.append(order)

    def session_failed(self, error: ShoalError) -> None:
        self.heard.append(error)


class Play:
    """A worker with a session on the stage, and every manager that it dialled."""

    def __init__(self, stage: Stage, daemon: Daemon, *, seed: int) -> None:
        self.stage = stage
        self.daemon = daemon
        self.dialled: list[Manager] = []
        self.down: set[str] = set()
        self.ears = Ears()
        self.description = Latest(NodeDescription(hostname="h1"))
        self.session = Session(
            daemon.worker,
            daemon.reporter,
            self.ears,
            connect=self.connect,
            managers=[M2, M1],
            description=self.description,
            settings=SessionSettings(addr="10.0.0.9"),
            clock=stage.clock,
            rng=Random(seed),
        )

    @asynccontextmanager
    async def connect(self, manager: ManagerAddr) -> AsyncIterator[Manager]:
        line = Manager(manager.addr)
        self.dialled.append(line)
        if manager.addr in self.down:
            raise Unavailable(f"manager {manager.addr} cannot be reached")
        yield line

    @property
    def manager(self) -> Manager:
        return self.dialled[-1]

    async def pass_time(self, seconds: float = 0.01) -> None:
        await self.stage.clock.advance(seconds)


@asynccontextmanager
async def play(folder: Path, *, welcome: bool = True, seed: int = 1) -> AsyncIterator[Play]:
    stage = Stage(folder)
    daemon = Daemon(stage)
    acted = Play(stage, daemon, seed=seed)
    async with background(daemon.worker.run, acted.session.run):
        await acted.pass_time()
        if welcome:
            acted.manager.says(WELCOME)
            await acted.pass_time()
        yield acted


async def test_the_leader_is_greeted_first(tmp_path: Path) -> None:
    async with play(tmp_path, welcome=False) as acted:
        assert acted.manager.address == M1.addr
        assert acted.manager.heard == [Hello(description=NodeDescription(hostname="h1"), addr="10.0.0.9")]


async def test_beats_keep_the_managers_rhythm(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        await acted.pass_time(5)
        assert len(acted.manager.of(Beat)) == 6


async def test_assignments_reach_the_worker_and_statuses_the_manager(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        acted.manager.says(Assignments(version=3, complete=True, tasks=(assigned(),)))
        await acted.pass_time(1)
        messages = acted.manager.of(Statuses)
        assert isinstance(messages[-1], Statuses)
        assert messages[-1].statuses[-1].status.state.wire == "running"
        assert acted.daemon.reporter.pending
        acted.manager.says(StatusesTaken(sequence=messages[-1].sequence))
        await acted.pass_time()
        assert not acted.daemon.reporter.pending


async def test_the_data_planes_share_is_passed_on_and_acknowledged_once_applied(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        endpoints = Endpoints(update=EndpointUpdate(version=7))
        order = LogOrder(stream="l", addr="a", tasks=("t1",))
        acted.manager.says(endpoints, order, EndpointsSettled(version=7))
        await acted.pass_time()
        assert acted.ears.heard == [WELCOME, endpoints, order]
        assert acted.manager.of(EndpointsApplied) == []
        acted.session.endpoints_applied(7)
        await acted.pass_time()
        assert acted.manager.of(EndpointsApplied) == [EndpointsApplied(version=7)]


async def test_the_next_session_says_which_endpoints_came_whole_and_what_was_applied_meanwhile(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        acted.manager.says(Endpoints(update=EndpointUpdate(version=7)), Unavailable("the leader changed"))
        await acted.pass_time(0.01)
        acted.session.endpoints_applied(7)
        await acted.pass_time(1)
        acted.manager.says(WELCOME, Endpoints(update=EndpointUpdate(version=8), more=True), Unavailable("the leader changed"))
        before = acted.manager
        await acted.pass_time(1)
        assert before.of(EndpointsApplied) == [EndpointsApplied(version=7)]
        versions = [hello.endpoint_version for line in acted.dialled for hello in line.of(Hello) if isinstance(hello, Hello)]
        assert versions == [0, 7, 0]


async def test_a_changed_description_is_told_and_an_equal_one_is_not(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        acted.description.set(NodeDescription(hostname="h1"))
        await acted.pass_time()
        acted.description.set(NodeDescription(hostname="h2"))
        await acted.pass_time()
        assert acted.manager.of(Described) == [Described(description=NodeDescription(hostname="h2"))]


async def test_after_a_break_the_next_session_says_what_is_here(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        acted.manager.says(Assignments(version=3, complete=True, tasks=(assigned(),)))
        await acted.pass_time(1)
        acted.manager.says(Unavailable("the leader changed"))
        await acted.pass_time(1)
        (hello,) = acted.manager.of(Hello)
        assert isinstance(hello, Hello)
        assert (len(acted.dialled), hello.assignment_version, hello.live_tasks) == (2, 3, ("t1",))


@pytest.mark.parametrize("answer", [NoLeader(), Unavailable("not the leader"), None])
async def test_a_manager_that_will_not_have_us_is_followed_by_the_next(tmp_path: Path, answer: ShoalError | None) -> None:
    async with play(tmp_path, welcome=False) as acted:
        acted.manager.says(answer)
        await acted.pass_time(1)
        assert [line.address for line in acted.dialled][:2] == [M1.addr, M2.addr]
        acted.manager.says(WELCOME)
        await acted.pass_time()
        assert acted.session.manager.value is not None


@pytest.mark.parametrize("leader", [M2, ManagerAddr(node_id="", addr="10.0.0.3:2377")])
async def test_the_session_is_said_to_be_with_the_manager_that_we_were_sent_to(tmp_path: Path, leader: ManagerAddr) -> None:
    """Whoever stops says farewell to the session with another leader, so it matters whose it is."""
    elsewhere = NoLeader()
    elsewhere.leader_addr = leader.addr
    async with play(tmp_path, welcome=False) as acted:
        acted.manager.says(elsewhere)
        await acted.pass_time(1)
        acted.manager.says(WELCOME)
        await acted.pass_time()
        assert [line.address for line in acted.dialled] == [M1.addr, leader.addr]
        assert acted.session.manager.value == leader


async def test_with_no_manager_in_reach_the_tries_become_rare(tmp_path: Path) -> None:
    async with play(tmp_path, welcome=False) as acted:
        acted.down = {M1.addr, M2.addr}
        acted.manager.says(None)
        await acted.pass_time(60)
        assert 40 < len(acted.dialled) < 150, "about one a second: a slow election must not outlast the heartbeat window"


async def test_who_lost_a_session_that_stood_comes_back_after_a_part_of_the_spread_drawn_by_lot(tmp_path: Path) -> None:
    """All other nodes may have lost theirs at this moment. A manager that never answered has no crowd to be spread."""
    pauses = []
    for seed in range(8):
        async with play(tmp_path / str(seed), welcome=False, seed=seed) as acted:
            acted.manager.says(replace(WELCOME, spread_ms=2000), Unavailable("the leader changed"))
            begun, dialled = acted.stage.clock.monotonic(), len(acted.dialled)
            while len(acted.dialled) == dialled:
                await acted.pass_time(0.05)
            pauses.append(acted.stage.clock.monotonic() - begun)
            acted.manager.says(Unavailable("not yet"))
            await acted.pass_time(0.3)
            assert len(acted.dialled) > dialled + 1, "the second try is not spread"
    assert min(pauses) < 0.7
    assert max(pauses) > 1.3
    assert max(pauses) < 2.2


async def test_a_manager_that_is_slow_to_greet_is_given_ever_longer(tmp_path: Path) -> None:
    """It may be greeting a thousand others: every try that is given up is work of its own in vain."""
    async with play(tmp_path, welcome=False) as acted:
        begun = acted.stage.clock.monotonic()
        at = []
        while len(at) < 4:
            count = len(acted.dialled)
            while len(acted.dialled) == count:
                await acted.pass_time(0.5)
            at.append(acted.stage.clock.monotonic() - begun)
        for (sooner, later), within in zip(itertools.pairwise((0.0, *at)), (5, 10, 20, 40), strict=True):
            assert within <= later - sooner < within + 2


async def test_a_step_that_does_not_fit_opens_a_session_that_asks_for_everything(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        acted.manager.says(Assignments(version=3, complete=True, tasks=(assigned(),)))
        await acted.pass_time(1)
        acted.manager.says(Assignments(version=9, applies_to=8))
        await acted.pass_time(1)
        (hello,) = acted.manager.of(Hello)
        assert isinstance(hello, Hello)
        assert hello.assignment_version == 0


async def test_managers_are_remembered_as_they_change(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        changed = ManagersChanged(managers=(M2,), role=Role.MANAGER)
        acted.manager.says(changed)
        await acted.pass_time()
        assert (acted.session.managers, acted.ears.heard[-1]) == ((M2,), changed)


async def test_a_restart_is_announced_with_the_last_word_of_the_last_session(tmp_path: Path) -> None:
    async with play(tmp_path) as acted:
        await acted.session.announce_away(30_000)
        assert acted.manager.heard[-1] == Beat(away_ms=30_000)
        await acted.pass_time(10)
        assert len(acted.dialled) == 1, "a new session would say that the node is back"
