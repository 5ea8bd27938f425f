"""6 DELIVER and 9 OBSERVED: the leader's end of every node's session. Tells nodes what to run, writes down what they report.

Three loops under one parent: `_notice` tells sessions what changed in the store, `_write` commits what nodes report, `_keep` writes who
is there and who is missed. Runs only while this manager leads, and is built anew each time it begins to.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import assert_never

from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.rounds import Rounds
from cluster.aio.supervise import first_of
from cluster.api.assignment import (
    Beat,
    Described,
    EndpointsApplied,
    FromNode,
    Hello,
    LogOrder,
    ManagerAddr,
    ReachOrder,
    Statuses,
    ToNode,
    Welcome,
)
from cluster.api.changes import Change
from cluster.api.contracts import Caller, Taken
from cluster.api.errors import Internal, InvalidArgument, NodeRemoved, NoLeader, ShoalError, StaleSnapshot, Unavailable
from cluster.api.ids import DrawId, Id
from cluster.api.objects import Node
from cluster.api.specs import DispatcherConfig
from cluster.api.states import NodeState
from manager.dispatcher.endpoints import Views
from manager.dispatcher.liveness import MISSED_BEATS, Liveness
from manager.dispatcher.nodes import ORPHANED_AFTER, absences, departure, node_changes, orphans, role_of
from manager.dispatcher.session import NodeSession, Surroundings
from manager.dispatcher.statuses import BATCH, Reports, status_changes
from manager.dispatcher.touched import touched
from manager.store.proposer import Proposer
from manager.store.snapshot import Snapshot
from manager.store.store import Store

GATHER = 0.02
"""Seconds between two rounds of telling: what happens within them travels together."""
PASS_EVERY = 1.0
"""Seconds between two looks at who is there, when nothing asks for one."""
RETRY_AFTER = 0.1
GREETING_MS = 2
"""Of the leader's time, for a node's greeting and what it is told at first."""
LONGEST_ABSENCE = 300.0
"""Seconds that a node may announce."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Implements contracts.Dispatcher, and passes log orders down the sessions."""

    def __init__(
        self,
        *,
        store: Store,
        proposer: Proposer,
        clock: Clock,
        managers: Callable[[], tuple[ManagerAddr, ...]],
        roots: Callable[[], str] = lambda: "",
        draw_id: DrawId,
        orphaned_after: float = ORPHANED_AFTER,
    ) -> None:
        self.rounds = Rounds("dispatcher: writing reports"), Rounds("dispatcher: keeping nodes")
        self._store = store
        self._proposer = proposer
        self._clock = clock
        self._managers = managers
        self._roots = roots
        self._draw_id = draw_id
        self._orphaned_after = orphaned_after
        self._sessions: dict[Id, NodeSession] = {}
        self._parted: dict[Id, NodeSession] = {}
        """Sessions that broke off, until the node is back or missed: what the next one goes on from."""
        self._around = Surroundings(views=Views(store.snapshot), managers=managers(), roots=roots(), settled=0)
        self._liveness = Liveness(window=MISSED_BEATS * self._period)
        self._away: dict[Id, float] = {}
        """Seconds that were announced and may not be in the store."""
        for node_id, seconds in absences(store.snapshot).items():
            self._liveness.away(node_id, at=clock.monotonic(), seconds=seconds)
        self._reports = Reports()
        self._unconfirmed: list[tuple[NodeSession, int]] = []
        self._news: set[Id] = set()
        """Nodes that said something of themselves that may not be in the store."""
        self._down_since: dict[Id, float] = {}
        self._told = Latest(0)
        """Changes when an endpoint version is acknowledged or a session comes or goes."""
        self._reported = Latest(0)
        self._met = Latest(0)
        """Changes when a node comes, or describes itself anew."""
        self._group: asyncio.TaskGroup | None = None
        self._running = asyncio.Event()

    @property
    def _period(self) -> float:
        """Seconds between heartbeats."""
        cluster = self._store.snapshot.cluster
        return (DispatcherConfig() if cluster is None else cluster.spec.dispatcher).heartbeat_period / 1e9

    async def run(self) -> None:
        """Until cancelled; sessions end with it."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._running.set()
                for loop in (self._notice, self._write, self._keep):
                    group.create_task(loop(), name=loop.__qualname__)
        finally:
            self._group = None
            for session in self._sessions.values():
                session.fail(NoLeader("this manager does not lead any more"))

    # -- sessions ----------------------------------------------------------------------------------------------------------------------
    async def session(self, caller: Caller, requests: AsyncIterator[FromNode]) -> AsyncGenerator[ToNode, None]:
        await self._running.wait()
        hello = await anext(aiter(requests), None)
        if not isinstance(hello, Hello):
            raise InvalidArgument("a session opens with Hello")
        node = self._node(caller.node_id)
        session = NodeSession(self._draw_id(), caller.node_id, hello)
        reader = self._start_reading(session, requests)
        try:
            self._open(session)
            yield self._welcome(session, node)
            while not session.is_over:
                seen = session.stirred.revision
                if session.error is not None:
                    raise session.error
                for message in session.messages(self._around, role_of(self._node(caller.node_id))):
                    yield message
                await session.stirred.wait_change(seen)
        finally:
            reader.cancel()
            self._close(session)

    def _start_reading(self, session: NodeSession, requests: AsyncIterator[FromNode]) -> asyncio.Task[None]:
        """Raises NoLeader once the dispatcher ends, also while that takes its time: a group that ends takes no new task."""
        reading = self._read(session, requests)
        try:
            if self._group is not None:
                return self._group.create_task(reading, name=f"session of {session.node_id}")
        except RuntimeError as ending:
            log.debug("dispatcher: %s", ending)
        reading.close()
        raise NoLeader("this manager does not lead any more")

    def _node(self, node_id: Id) -> Node:
        node = self._store.snapshot.nodes.get(node_id)
        if node is None:
            raise NodeRemoved(node_id)
        return node

    def _welcome(self, session: NodeSession, node: Node) -> Welcome:
        now = self._store.snapshot
        session.greeted(self._around, role_of(node))
        return Welcome(
            session=session.id,
            heartbeat_ms=round(self._period * 1000),
            managers=self._around.managers,
            role=role_of(node),
            cluster_id="" if now.cluster is None else now.cluster.id,
            hostname=session.hello.description.hostname,
            roots=self._around.roots,
            spread_ms=round(min(GREETING_MS * len(now.nodes), 2000 * self._period)),
        )

    def _open(self, session: NodeSession) -> None:
        former = self._sessions.get(session.node_id)
        if former is not None:
            former.fail(Unavailable("a newer session of this node took over"))
        self._sessions[session.node_id] = session
        former = former or self._parted.pop(session.node_id, None)
        if former is not None:
            session.resume(former)
        self._liveness.returned(session.node_id, at=self._clock.monotonic())
        self._meet(session.node_id)

    def _close(self, session: NodeSession) -> None:
        if self._sessions.get(session.node_id) is session:
            self._parted[session.node_id] = self._sessions.pop(session.node_id)
            self._stir(self._told)

    def _meet(self, node_id: Id) -> None:
        self._news.add(node_id)
        self._stir(self._met)

    @staticmethod
    def _stir(what: Latest[int]) -> None:
        what.set(what.value + 1)

    # -- what nodes say ----------------------------------------------------------------------------------------------------------------
    async def _read(self, session: NodeSession, requests: AsyncIterator[FromNode]) -> None:
        try:
            async for message in requests:
                self._take(session, message)
            await self._write_absence(session)
            session.finish()
        except ShoalError as broken:
            session.fail(broken)
        except Exception as broken:  # noqa: BLE001 - whatever one node sends ends its session, not the leader
            log.warning("session of node %s: %r", session.node_id, broken)
            session.fail(Internal(f"the session broke: {broken}"))

    def _take(self, session: NodeSession, message: FromNode) -> None:
        at = self._clock.monotonic()
        self._liveness.heard(session.node_id, at=at)
        match message:
            case Beat(away_ms=away_ms):
                if away_ms:
                    self._away[session.node_id] = seconds = min(away_ms / 1000, LONGEST_ABSENCE)
                    self._liveness.away(session.node_id, at=at, seconds=seconds)
            case Statuses():
                self._report(session, message)
            case EndpointsApplied(version=version):
                session.acknowledged(version)
                self._stir(self._told)
            case Described():
                session.described(message)
                self._meet(session.node_id)
            case Hello():
                raise InvalidArgument("a session has one Hello")
            case _:
                assert_never(message)

    async def _write_absence(self, session: NodeSession) -> None:
        """The node's daemon ends once its session does, and it may be the leader's next: its successor reads of it in the store."""
        seconds = self._away.pop(session.node_id, 0.0)
        while seconds and not await self._propose(departure(self._store.snapshot, session.node_id, seconds=seconds)):
            pass

    def _report(self, session: NodeSession, message: Statuses) -> None:
        """Only of tasks that are the node's own; of others nothing is kept, and the node need not repeat it."""
        tasks = self._store.snapshot.tasks
        for reported in message.statuses:
            task = tasks.get(reported.task_id)
            if task is not None and task.node_id == session.node_id:
                self._reports.add(session.node_id, reported.task_id, reported.status)
        self._unconfirmed.append((session, message.sequence))
        self._stir(self._reported)

    async def _write(self) -> None:
        """Commit reports, all nodes' together, and say so to who made them. While one set is being agreed on the next gathers."""
        while True:
            revision = self._reported.revision
            confirmed, self._unconfirmed = self._unconfirmed, []
            with self.rounds[0].round():
                await self._write_first(len(self._reports))
            for session, sequence in confirmed:
                session.taken(sequence)
            await self._reported.wait_change(revision)

    async def _write_first(self, count: int) -> None:
        while count > 0:
            taken = self._reports.take()
            if await self._propose(status_changes(self._store.snapshot, taken)):
                count -= len(taken)
            else:
                self._reports.put_back(taken)

    async def _propose(self, changes: list[Change]) -> bool:
        """Whether they are in the store now; if not, look again."""
        if not changes:
            return True
        try:
            await self._proposer.propose(changes)
        except StaleSnapshot:
            return False
        except Unavailable as refused:
            log.info("what nodes said waits: %s", refused)
            await self._clock.sleep(RETRY_AFTER)
            return False
        return True

    # -- who is there ------------------------------------------------------------------------------------------------------------------
    async def _keep(self) -> None:
        period, last = self._period, self._clock.monotonic()
        while True:
            revision, at = self._met.revision, self._clock.monotonic()
            if at - last > self._liveness.window / 2:
                self._liveness.begin_anew(at=at)  # it was we who were not listening
            last = at
            if self._period != period:
                period = self._period
                self._change_period(period)
            with self.rounds[1].round():
                await self._keep_pass(at)
            await self._met.wait_change_within(self._clock.limit(self._until_next(at)), revision)

    def _change_period(self, period: float) -> None:
        """Nodes learn of it by a new session."""
        self._liveness.window = MISSED_BEATS * period
        for session in self._sessions.values():
            session.fail(Unavailable("the heartbeat period was changed: open a new session"))

    async def _keep_pass(self, at: float) -> None:
        now = self._store.snapshot
        news = set(sorted(self._news)[:BATCH])
        self._news -= news
        present = {node_id: self._sessions[node_id].hello for node_id in sorted(news) if node_id in self._sessions}
        up = {node.id for node in now.nodes.values() if node.status.state is not NodeState.DOWN}
        self._parted = {node_id: self._parted[node_id] for node_id in self._parted.keys() & up}
        missed = self._liveness.missed(up, at=at)
        changes = node_changes(now, present, missed)
        self._give_up(missed)
        if not await self._propose(changes):
            self._news |= news
        if self._news:
            self._stir(self._met)
        down = sorted(node.id for node in now.nodes.values() if node.status.state is NodeState.DOWN)
        self._down_since = {node_id: self._down_since.get(node_id, at) for node_id in down}
        lost = [node_id for node_id, since in self._down_since.items() if at - since >= self._orphaned_after]
        await self._propose(orphans(now, lost, at_most=BATCH))

    def _give_up(self, missed: Iterable[Id]) -> None:
        """A connection may outlive the silence on it, as when a machine stood still. Only a new session says that the node is back."""
        for node_id in missed:
            session = self._sessions.get(node_id)
            if session is not None:
                session.fail(Unavailable("nothing was heard of this node for too long: open a new session"))

    def _until_next(self, at: float) -> float:
        """Seconds until the next node is missed, if it stays silent."""
        due = self._liveness.next_missed(after=at)
        return PASS_EVERY if due is None else min(PASS_EVERY, due - at)

    # -- what nodes are told -----------------------------------------------------------------------------------------------------------
    async def _notice(self) -> None:
        while True:
            store, told = self._store.latest.revision, self._told.revision
            self._look()
            await self._clock.sleep(GATHER)
            await first_of(
                lambda: self._store.latest.wait_change(store),  # noqa: B023
                lambda: self._told.wait_change(told),  # noqa: B023
                lambda: self._clock.sleep(PASS_EVERY),
            )

    def _look(self) -> None:
        before, now = self._around.views, self._store.snapshot
        views = before if now is before.now else self._tell(before, now)
        settled = max(self._around.settled, self._settled(views))
        around = Surroundings(views=views, managers=self._managers(), roots=self._roots(), settled=settled)
        is_news = (settled, around.managers, around.roots) != (self._around.settled, self._around.managers, self._around.roots)
        self._around = around
        if is_news:
            for session in self._sessions.values():
                session.stir()

    def _tell(self, before: Views, now: Snapshot) -> Views:
        """Tell every session what it has not heard of; the views from which it will."""
        changes = now.changes_since(before.now)
        if changes is None:
            for session in self._sessions.values():
                session.begin_anew(before.now.version)
            self._parted.clear()
            return Views(now)
        what = touched(before.now, now, changes)
        views = before.after(now, what.services)
        for node_id in what.gone_nodes:
            self._forget(node_id)
        for node_id, session in itertools.chain(self._sessions.items(), self._parted.items()):
            tasks, services = what.tasks.get(node_id, ()), session.met(what.services, views)
            if tasks or services or what.dependencies or what.everywhere or node_id in what.nodes or session.is_on(what.networks):
                session.touch(tasks=tasks, services=services, before=before.now.version)
        return views

    def _forget(self, node_id: Id) -> None:
        self._liveness.forget(node_id)
        session = self._sessions.get(node_id)
        if session is not None:
            session.fail(NodeRemoved(node_id))

    def _settled(self, views: Views) -> int:
        """The endpoint version that every ready node's kernel has."""
        now = views.now
        ready = [node.id for node in now.nodes.values() if node.status.state is NodeState.READY]
        sessions = [self._sessions.get(node_id) for node_id in ready]
        return min((0 if session is None else session.holds_through(now.version) for session in sessions), default=now.version)

    # -- log orders --------------------------------------------------------------------------------------------------------------------
    async def order(self, caller: Caller, request: LogOrder) -> Taken:  # noqa: ARG002 - the contract's roles decided already
        """Pass it to the nodes of its tasks; where there is no session now, whoever reads notices that nothing comes."""
        nodes: dict[Id, list[Id]] = {}
        for task_id in request.tasks:
            task = self._store.snapshot.tasks.get(task_id)
            if task is not None and task.node_id in self._sessions:
                nodes.setdefault(task.node_id, []).append(task_id)
        for node_id, tasks in nodes.items():
            self._sessions[node_id].order(replace(request, tasks=tuple(tasks)))
        return Taken()

    async def reach(self, caller: Caller, request: ReachOrder) -> Taken:  # noqa: ARG002 - the contract's roles decided already
        """Pass it to the task's node; where there is no session now, whoever asked notices that no call comes."""
        task = self._store.snapshot.tasks.get(request.task_id)
        if task is not None and task.node_id in self._sessions:
            self._sessions[task.node_id].order(request)
        return Taken()
