"""One runner a task: look at the container, ask `lifecycle` for the next operation, perform it, write down what came of it, again.

Nothing is decided here but what an outcome means for the record. The runner lives from the first assignment until nothing of the
task is left on the node; events, new assignments and the like only wake it.
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from cluster.aio.backoff import Backoff
from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.assignment import AssignedTask
from cluster.api.endpoint import OverlayNetwork
from cluster.api.objects import TaskStatus
from cluster.api.states import TaskState
from cluster.api.templates import TemplateError
from worker import lifecycle as do
from worker.dependencies import Dependencies
from worker.journal import Journal
from worker.lifecycle import SECOND, Action, Facts, LocalTask, Winding, next_action, status_of
from worker.plan import HostFacts, UnusableTask, container_plan
from worker.ports import ContainerState, Engine, EngineError, EngineGone, NoSuchImage, Sandbox, SandboxError
from worker.prober import Prober
from worker.readiness import Pulse, felt, pause
from worker.reporter import Reporter
from worker.wording import rejected_image, start_failed

SETTLE_LIMIT = 2.0
"""Seconds that a stop waits at most for other nodes to send no more."""
DRAIN_POLL = 0.1
LISTEN_POLL = 0.05
_log = logging.getLogger(__name__)


class Surroundings(Struct, frozen=True, kw_only=True):
    """What all runners of a node share."""

    host: HostFacts
    engine: Engine
    sandbox: Sandbox
    dependencies: Dependencies
    journal: Journal
    reporter: Reporter
    clock: Clock
    rng: Random
    slots: asyncio.Semaphore
    """Starts at a time: beyond some twice the cores an engine only gets slower."""
    settled: Latest[int]
    """The endpoint version that every ready node has."""
    leader_in_reach: Latest[bool]
    cut_off: Callable[[], bool]
    """Whether no manager was in reach for long."""
    told: Callable[[], bool]
    """Whether a manager's word came since this daemon started."""
    networks: Callable[[AssignedTask], tuple[OverlayNetwork, ...]]
    """The networks that a task is attached to, as they were assigned."""


class Runner:
    """Runs one task. `update`, `vanish` and `wake` are told to it; `run` returns once nothing is left of the task."""

    def __init__(self, task: AssignedTask, known: LocalTask, around: Surroundings) -> None:
        self._task = task
        self._known = known
        self._around = around
        self._gone = False
        self._prepared = False
        self._attached_pid = 0
        self._listens_since = 0.0
        self._pulse = Pulse(ready=known.status.ready and known.state is TaskState.RUNNING)
        self._prober = Prober(around.engine, around.sandbox, around.clock)
        self._probe_at = 0.0
        self._wakes = Latest(0)
        self._sight: tuple[int, ContainerState | None] | None = None
        """What the engine last showed, and as of which wake."""
        self._backoff = Backoff(first=0.2, cap=5.0, rng=around.rng)

    @property
    def task(self) -> AssignedTask:
        return self._task

    @property
    def known(self) -> LocalTask:
        return self._known

    def update(self, task: AssignedTask) -> None:
        self._task = task
        corrected = do.corrected(self._known, task, now=self._around.clock.wall())
        if corrected is not self._known:
            self._save(corrected)
        self.wake()

    def vanish(self) -> None:
        """It is assigned no more: leave nothing of it."""
        self._gone = True
        self.wake()

    def wake(self) -> None:
        """Something may have changed: look again."""
        self._wakes.set(self._wakes.value + 1)

    async def run(self) -> None:
        self._around.journal.record(self._known)
        if self._known.state > TaskState.ASSIGNED:
            self._around.reporter.report(self._task.id, self._known.status)
        while await self._step():
            pass

    async def _step(self) -> bool:
        """One look and one operation; False when nothing is left to do for good."""
        seen = self._wakes.revision
        try:
            container = await self._look()
            action = next_action(self._task, self._known, container, self._facts(), gone=self._gone)
            if isinstance(action, do.Forget):
                self._around.journal.forget(self._task.id)
                self._around.reporter.forget(self._task.id)
                return False
            if isinstance(action, do.Nothing):
                await self._wakes.wait_change(seen)
            else:
                await self._perform(action, container)
            self._backoff.reset()
        except (EngineError, SandboxError) as error:
            self._sight = None
            if not isinstance(error, EngineGone):  # that one concerns all tasks; the worker says it once
                _log.warning("task %s: %s; trying again", self._task.name, error)
            await self._pause(seen)
        return True

    async def _pause(self, seen: int) -> None:
        async def wake() -> None:
            await self._wakes.wait_change(seen)

        delay = self._backoff.next()
        await first_of(lambda: self._around.clock.sleep(delay), wake)

    async def _look(self) -> ContainerState | None:
        """The container as it is. What was seen holds until something wakes us or we touch it: inspects are half an engine's work."""
        if not self._known.container_id or self._known.removed:
            return None
        if self._sight is None or self._sight[0] != self._wakes.revision:
            revision = self._wakes.revision
            self._sight = revision, await self._around.engine.inspect(self._known.container_id)
        return self._sight[1]

    def _facts(self) -> Facts:
        files_here = not self._around.dependencies.missing(self._task)
        return Facts(files_here=files_here, told=self._around.told(), cut_off=self._around.cut_off(), attached_pid=self._attached_pid)

    # -- operations ----------------------------------------------------------------------------------------------------------------------
    async def _perform(self, action: Action, container: ContainerState | None) -> None:
        match action:
            case do.Report():
                self._report(action, container)
            case do.Doom():
                self._doom(action.state, action.err)
            case do.Pull() | do.Create() | do.Start() | do.Attach() | do.Listen():
                await self._bring_up(action, container)
            case do.Probe():
                await self._probe(container)
            case do.Withdraw() | do.Settle() | do.Drain() | do.Stop():
                await self._ease_out(action)
            case do.Clean() | do.RemoveContainer():
                await self._give_back(action)
            case do.Forget() | do.Nothing():
                pass
            case _:
                assert_never(action)

    async def _bring_up(self, action: do.Pull | do.Create | do.Start | do.Attach | do.Listen, container: ContainerState | None) -> None:
        match action:
            case do.Pull():
                await self._pull()
            case do.Create():
                await self._create()
            case do.Start():
                await self._start()
            case do.Attach():
                await self._attach(container)
            case do.Listen():
                await self._listen(container)

    async def _ease_out(self, action: do.Withdraw | do.Settle | do.Drain | do.Stop) -> None:
        around = self._around
        match action:
            case do.Withdraw():
                await around.sandbox.withdraw(self._task.id)
                self._save(replace(self._known, winding=Winding.WITHDRAWN))
            case do.Settle():
                await first_of(self._wait_settled, self._wait_leader_lost, lambda: around.clock.sleep(SETTLE_LIMIT))
                self._save(replace(self._known, winding=Winding.SETTLED))
            case do.Drain():
                await self._wait_drained()
                self._save(replace(self._known, winding=Winding.DRAINED))
            case do.Stop():
                self._sight = None
                await around.engine.stop(self._known.container_id, grace=action.grace / SECOND, signal=action.signal)

    async def _give_back(self, action: do.Clean | do.RemoveContainer) -> None:
        match action:
            case do.Clean():
                await self._around.sandbox.remove(self._task.id)
                self._around.dependencies.release(self._task.id)
                self._save(replace(self._known, cleaned=True))
            case do.RemoveContainer():
                self._sight = None
                if self._known.container_id:
                    await self._around.engine.remove(self._known.container_id)
                self._save(replace(self._known, removed=True))

    async def _pull(self) -> None:
        spec = self._task.spec.container_spec
        if spec is None:
            self._reject("a task without a container spec cannot be run")
            return

        async def pull() -> None:
            await self._around.engine.pull(spec.image, registry_auth=self._task.registry_auth)

        try:
            if await first_of(pull, self._wait_unwanted) == 0:
                self._save(replace(self._known, pulled=True))
        except EngineGone:
            raise
        except EngineError as error:
            self._reject(rejected_image(str(error), self._around.host.hostname))

    async def _create(self) -> None:
        around, task = self._around, self._task
        try:
            files = around.dependencies.write(task, around.host)
            await around.sandbox.serve(around.networks(task))
            plan = container_plan(task, around.host, await around.sandbox.prepare(task), files)
            self._prepared = True
            async with around.slots:
                container_id = await around.engine.create(plan)
        except EngineGone:
            raise
        except NoSuchImage as error:
            self._reject(rejected_image(str(error), around.host.hostname))
        except (EngineError, SandboxError, UnusableTask, TemplateError, OSError) as error:
            self._reject(str(error))
        else:
            self._save(replace(self._known, container_id=container_id))
            self._sight = self._wakes.revision, ContainerState(id=container_id, name=task.name, created_only=True)

    async def _start(self) -> None:
        around = self._around
        async with around.slots:
            if self._unwanted:
                return
            self._save(replace(self._known, start_asked=True))
            try:
                await around.engine.start(self._known.container_id)
            except EngineGone:
                raise
            except EngineError as error:
                self._end(TaskState.FAILED, start_failed(str(error)))
                return
        self._sight = None
        started = await self._look()
        if started is not None:
            self._save(replace(self._known, started_at=started.started_at))

    async def _attach(self, container: ContainerState | None) -> None:
        around, task = self._around, self._task
        if container is None:
            return
        try:
            if not self._prepared:  # a daemon that found it running: what the start before us prepared may be gone
                await around.sandbox.serve(around.networks(task))
                await around.sandbox.prepare(task)
                self._prepared = True
            await around.sandbox.attach(task, container)
            if self._known.state is TaskState.RUNNING and task.readiness is not None and not self._pulse.ready:
                await around.sandbox.withdraw(task.id)  # a daemon before us took it out
        except SandboxError as error:
            self._doom(TaskState.FAILED, str(error))
            return
        self._attached_pid = container.pid
        if not self._known.started_at:
            self._save(replace(self._known, started_at=container.started_at))

    async def _listen(self, container: ContainerState | None) -> None:
        """Until it takes connections; whatever else happens to it comes first."""
        seen = self._wakes.revision

        async def wake() -> None:
            await self._wakes.wait_change(seen)

        if await first_of(self._wait_listening, wake) == 0:
            self._report(do.Report(state=TaskState.RUNNING, message=self._known.status.message), container)

    async def _probe(self, container: ContainerState | None) -> None:
        """Wait until it is time, or something else happens; then ask, and tell what is news."""
        clock, seen, readiness = self._around.clock, self._wakes.revision, self._task.readiness
        if readiness is None:
            return

        async def wake() -> None:
            await self._wakes.wait_change(seen)

        left = self._probe_at - clock.monotonic()
        if left > 0 and await first_of(lambda: clock.sleep(left), wake) == 1:
            return
        problem = None if container is None else await self._prober.ask(self._task, readiness, container, unwanted=self._wait_unwanted)
        if problem is None:
            return
        pulse = self._pulse = felt(self._pulse, readiness, problem)
        self._probe_at = clock.monotonic() + pause(readiness, pulse)
        if (pulse.ready, pulse.err) != (self._known.status.ready, self._known.status.err):
            if pulse.ready is not self._known.status.ready:  # here at once, whatever it takes for the managers to tell all others
                await (self._around.sandbox.admit if pulse.ready else self._around.sandbox.withdraw)(self._task.id)
            message = "ready" if pulse.ready else "not ready"
            self._report(do.Report(state=TaskState.RUNNING, message=message, err=pulse.err, ready=pulse.ready), container)

    # -- waits -----------------------------------------------------------------------------------------------------------------------------
    @property
    def _unwanted(self) -> bool:
        return self._gone or self._task.desired_state >= TaskState.SHUTDOWN

    async def _wait_unwanted(self) -> None:
        seen = self._wakes.revision
        while not self._unwanted:
            seen = await self._wakes.wait_change(seen)

    async def _wait_settled(self) -> None:
        await _wait(self._around.settled, lambda version: version >= self._task.endpoint_version)

    async def _wait_leader_lost(self) -> None:
        await _wait(self._around.leader_in_reach, lambda in_reach: not in_reach)

    async def _wait_drained(self) -> None:
        """Until no connection is open, at most as long as the service grants."""
        clock = self._around.clock
        deadline = clock.monotonic() + self._task.drain_timeout / SECOND
        while clock.monotonic() < deadline and await self._around.sandbox.open_connections(self._task.id):
            await clock.sleep(DRAIN_POLL)

    async def _wait_listening(self) -> None:
        clock, wanted = self._around.clock, self._task.listens
        self._listens_since = self._listens_since or clock.monotonic()
        first = 0.0
        while True:
            there, now = await self._around.sandbox.listening(self._task.id), clock.monotonic()
            first = first or (now if there and there.intersection(wanted) else 0.0)
            if do.takes_connections(wanted, there, waited=now - self._listens_since, since_first=now - first if first else 0.0):
                return
            await clock.sleep(LISTEN_POLL)

    # -- the record ------------------------------------------------------------------------------------------------------------------------
    def _save(self, known: LocalTask) -> None:
        self._known = known
        self._around.journal.record(known)

    def _doom(self, state: TaskState, err: str) -> None:
        self._save(replace(self._known, ending=TaskStatus(state=state, message=self._known.status.message, err=err)))

    def _reject(self, err: str) -> None:
        self._end(TaskState.REJECTED, err)

    def _end(self, state: TaskState, err: str) -> None:
        self._report(do.Report(state=state, message=self._known.status.message, err=err), None)

    def _report(self, report: do.Report, container: ContainerState | None) -> None:
        status = status_of(report, self._known, container, now=self._around.clock.wall())
        self._save(self._known.advance(status))
        if not self._gone:
            self._around.reporter.report(self._task.id, status)


async def _wait(latest: Latest[int] | Latest[bool], holds: Callable[[int], bool]) -> None:
    seen = latest.revision
    while not holds(latest.value):
        seen = await latest.wait_change(seen)
