"""Deliver and observe (steps 7 and 9), the node's side: one session with a manager, opened again for as long as the daemon runs.

Down come assignments, endpoints, who the managers are; up go heartbeats, statuses and acknowledgements. What a message means for the
rest of the daemon is the listener's business; the session keeps the order, the rhythm and the connection.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Protocol, assert_never

from msgspec import Struct

from cluster.aio.backoff import Backoff
from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import background, first_of
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
    StatusesTaken,
    ToNode,
    Welcome,
)
from cluster.api.errors import ShoalError, Unavailable
from cluster.api.ids import Id
from cluster.api.objects import NodeDescription
from worker.assignments import OutOfStep
from worker.lines import Line
from worker.reporter import Reporter

GREETING_WITHIN, GREETING_AT_MOST = 5.0, 40.0
"""Seconds that a manager has for its Welcome; twice as many each time that it took longer, as it may be greeting a thousand others."""
_log = logging.getLogger(__name__)

SessionLine = Line[FromNode, ToNode]
Connect = Callable[[ManagerAddr], AbstractAsyncContextManager[SessionLine]]


class Tasks(Protocol):
    """The node's tasks, as far as a session concerns them: `worker.Worker`."""

    @property
    def assignment_version(self) -> int:
        """What a Hello says we have; 0 for nothing."""
        ...

    @property
    def live_tasks(self) -> tuple[Id, ...]: ...

    def assign(self, message: Assignments) -> None:
        """Raises OutOfStep: the session must be opened anew."""
        ...

    def settle(self, version: int) -> None: ...

    def reach(self, *, leader: bool) -> None: ...


class Listener(Protocol):
    """The rest of the daemon, as far as a session concerns it."""

    def welcomed(self, message: Welcome) -> None:
        """A session stands; the role may be another than the certificate says."""
        ...

    def managers_changed(self, message: ManagersChanged) -> None: ...

    def endpoints_came(self, message: Endpoints) -> None:
        """The data plane's share; `Session.endpoints_applied` answers once the kernel holds it."""
        ...

    def logs_ordered(self, order: LogOrder) -> None: ...

    def reach_ordered(self, order: ReachOrder) -> None: ...

    def session_failed(self, error: ShoalError) -> None:
        """No session, or no more: the manager is out of reach, does not lead, or will not have this node (its error says which)."""
        ...


class SessionSettings(Struct, frozen=True, kw_only=True):
    """What a Hello says beside the description."""

    addr: str = ""
    data_path_addr: str = ""
    availability: str = ""


class SessionBroken(ShoalError):
    """The connection ended, or the manager did not keep to the protocol."""


class Session:
    """`run` it; it needs managers to start with and keeps to what managers say from then on."""

    def __init__(
        self,
        tasks: Tasks,
        reporter: Reporter,
        listener: Listener,
        *,
        connect: Connect,
        managers: Sequence[ManagerAddr],
        description: Latest[NodeDescription],
        settings: SessionSettings,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._tasks = tasks
        self._reporter = reporter
        self._listener = listener
        self._connect = connect
        self._managers = tuple(managers)
        self._description = description
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(first=0.1, cap=1.0, rng=rng)
        self._greeting_within = GREETING_WITHIN
        self._spread = 0.0
        """Seconds; what the last Welcome said."""
        self._applied = Latest(0)
        self._endpoint_version = 0
        """Of the last update that came whole; 0 when only a part of one did."""
        self._line: SessionLine | None = None
        self._next = 0
        self._left = ""
        """The address of the manager that the last session was with."""
        self._pointed = ""
        """Where the manager that was asked last says that the leader is."""
        self._anew = False
        """The last session's steps did not fit: ask for everything."""
        self._is_over = False
        """A new session would say that we are back."""
        self.manager: Latest[ManagerAddr | None] = Latest(None)
        """The manager that the session is with; None without one."""

    @property
    def managers(self) -> tuple[ManagerAddr, ...]:
        """As last heard, to be remembered for the next start."""
        return self._managers

    def endpoints_applied(self, version: int) -> None:
        """The kernel holds the endpoints of this version."""
        self._applied.set(version)

    async def announce_away(self, milliseconds: int) -> None:
        """We are about to be restarted: do not take the node for lost for that long. The last word; returns once the manager has it."""
        line = self._line
        if line is None:
            return
        self._is_over = True
        await line.send(Beat(away_ms=milliseconds))
        await line.finish()
        seen = self.manager.revision
        while self.manager.value is not None:
            seen = await self.manager.wait_change(seen)

    async def run(self) -> None:
        """Until cancelled: keep a session with one of the managers."""
        while not self._is_over:
            manager = self._choose()
            try:
                await self._with(manager)
            except* OutOfStep as out_of_step:
                self._anew = True
                _log.warning("%s", _first(out_of_step))
            except* (ShoalError, OSError) as broken:
                self._lost(manager, broken)
            finally:
                had_stood, self._line = self._line is not None, None
                self._tasks.reach(leader=False)
                self.manager.set(None)
            # what broke a session that stood may have broken all nodes' at this moment: they come back one by one
            await self._clock.sleep(self._backoff.next() + (self._rng.random() * self._spread if had_stood else 0.0))
        await asyncio.Event().wait()

    # -- one session -------------------------------------------------------------------------------------------------------------------
    async def _with(self, manager: ManagerAddr) -> None:
        """One session, from Hello until it breaks."""
        async with self._connect(manager) as line:
            await line.send(self._hello())
            received = line.received()
            welcome = await self._answer(manager, received)
            self._line = line
            self._greeted(manager, welcome)
            async with background(
                lambda: self._beat(line, welcome.heartbeat_ms / 1000),
                lambda: self._report(line),
                lambda: self._acknowledge(line),
                lambda: self._describe(line),
            ):
                async for message in received:
                    self._take(message)
                raise SessionBroken(f"manager {manager.addr} ended the session")

    async def _answer(self, manager: ManagerAddr, received: AsyncIterator[ToNode]) -> Welcome:
        """To our Hello. Raises SessionBroken."""
        heard: list[ToNode | None] = []

        async def hear() -> None:
            heard.append(await anext(received, None))

        if await first_of(hear, lambda: self._clock.sleep(self._greeting_within)) == 1:
            waited, self._greeting_within = self._greeting_within, min(2 * self._greeting_within, GREETING_AT_MOST)
            raise SessionBroken(f"manager {manager.addr} did not answer the greeting within {waited:g} s")
        [welcome] = heard
        if welcome is None:
            raise SessionBroken(f"manager {manager.addr} did not answer the greeting")
        if not isinstance(welcome, Welcome):
            raise SessionBroken(f"manager {manager.addr} opened the session with {type(welcome).__name__}")
        return welcome

    def _hello(self) -> Hello:
        return Hello(
            description=self._description.value,
            assignment_version=0 if self._anew else self._tasks.assignment_version,
            live_tasks=self._tasks.live_tasks,
            addr=self._settings.addr,
            data_path_addr=self._settings.data_path_addr,
            availability=self._settings.availability,
            endpoint_version=0 if self._anew else self._endpoint_version,
        )

    def _greeted(self, manager: ManagerAddr, welcome: Welcome) -> None:
        self._managers = welcome.managers or self._managers
        self._backoff.reset()
        self._greeting_within, self._spread = GREETING_WITHIN, welcome.spread_ms / 1000
        self._anew = False
        self.manager.set(manager)
        self._tasks.reach(leader=True)
        self._listener.welcomed(welcome)
        _log.info("session with manager %s (%s)", manager.node_id or "?", manager.addr)

    def _take(self, message: ToNode) -> None:
        match message:
            case Assignments():
                self._tasks.assign(message)
            case StatusesTaken(sequence=sequence):
                self._reporter.taken(sequence)
            case EndpointsSettled(version=version):
                self._tasks.settle(version)
            case Endpoints():
                self._listener.endpoints_came(message)
                self._endpoint_version = 0 if message.more else message.update.version
            case LogOrder():
                self._listener.logs_ordered(message)
            case ReachOrder():
                self._listener.reach_ordered(message)
            case ManagersChanged():
                self._managers = message.managers or self._managers
                self._listener.managers_changed(message)
            case Welcome():
                raise SessionBroken("a second Welcome in one session")
            case _:
                assert_never(message)

    # -- what goes up ------------------------------------------------------------------------------------------------------------------
    async def _beat(self, line: SessionLine, period: float) -> None:
        while True:
            await line.send(Beat())
            await self._clock.sleep(period)

    async def _report(self, line: SessionLine) -> None:
        async for message in self._reporter.messages():
            await line.send(message)

    async def _acknowledge(self, line: SessionLine) -> None:
        """What was applied while there was no session, too."""
        seen, said = self._applied.revision, 0
        while True:
            if self._applied.value != said:
                said = self._applied.value
                await line.send(EndpointsApplied(version=said))
            seen = await self._applied.wait_change(seen)

    async def _describe(self, line: SessionLine) -> None:
        seen, said = self._description.revision, self._description.value
        while True:
            seen = await self._description.wait_change(seen)
            if self._description.value != said:
                said = self._description.value
                await line.send(Described(description=said))

    # -- whom to ask -------------------------------------------------------------------------------------------------------------------
    def _choose(self) -> ManagerAddr:
        """Where we were pointed to, else the leader if one is known, and after a failure each of the others in turn; last the one that was
        lost: it may be off.
        """
        if not self._managers:
            raise SessionBroken("no manager is known")
        if pointed := self._pointed:
            self._pointed = ""
            return next((known for known in self._managers if known.addr == pointed), ManagerAddr(node_id="", addr=pointed))
        ordered = sorted(self._managers, key=lambda manager: (manager.addr == self._left, not manager.leader))
        self._next += 1
        return ordered[(self._next - 1) % len(ordered)]

    def _lost(self, manager: ManagerAddr, broken: BaseExceptionGroup[BaseException]) -> None:
        if self._is_over:
            return
        error = _first(broken)
        if self._line is not None:
            self._next, self._left = 0, manager.addr
        _log.warning("session with manager %s: %s", manager.addr, error)
        if isinstance(error, Unavailable):
            self._pointed = error.leader_addr
        if isinstance(error, ShoalError):
            self._listener.session_failed(error)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
