"""A node's share of the work: it owns the runners, feeds them assignments and engine events, and finds its containers again.

The containers outlive the daemon. After a restart the journal says which tasks there were, the engine says by label which containers
there are; runners go on from both. What the manager does not name in its first COMPLETE set, and what has our label but no task,
goes.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from random import Random

from msgspec import Struct

from cluster.aio.backoff import Backoff
from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.assignment import AssignedTask, Assignments
from cluster.api.endpoint import OverlayNetwork
from cluster.api.ids import Id
from cluster.api.objects import TaskStatus
from cluster.api.specs import TaskSpec
from cluster.api.states import TaskState
from cluster.api.templates import TemplateError
from worker.assignments import AssignmentSet, applied
from worker.dependencies import Dependencies
from worker.journal import Journal
from worker.lifecycle import LocalTask, adopted, first_record
from worker.plan import CLUSTER_LABEL, TASK_LABEL, HostFacts, UnusableTask
from worker.ports import LISTENING, ContainerState, Engine, EngineError, EngineEvent, EngineGone, Sandbox
from worker.reporter import Reporter
from worker.runner import Runner, Surroundings

SWEEP_EVERY = 30.0
"""Seconds between looks at all containers: they cover events that were lost."""
CUT_OFF_AFTER = 10.0
"""Seconds without any manager: longer than a change of leader takes, and than managers wait before they give a node up."""
_log = logging.getLogger(__name__)


class WorkerPorts(Struct, frozen=True, kw_only=True):
    """What a worker is given."""

    engine: Engine
    sandbox: Sandbox
    journal: Journal
    dependencies: Dependencies
    reporter: Reporter
    clock: Clock
    rng: Random


class Worker:
    """`run` it beside a session that calls `assign`, `settle` and `reach`."""

    def __init__(self, host: HostFacts, ports: WorkerPorts, *, cores: int) -> None:
        self._host = host
        self._ports = ports
        self._assigned = AssignmentSet(tasks=ports.journal.kept.tasks, networks=ports.journal.kept.networks)
        self._settled = Latest(0)
        self._leader_in_reach = Latest(False)
        self._runners: dict[Id, Runner] = {}
        self._group: asyncio.TaskGroup | None = None
        self._adopted = False
        self._is_leaving = False
        self._is_cut_off = False
        self._unclaimed: dict[Id, ContainerState] = {}
        """Containers found without a record: those of a lost journal until the first COMPLETE set says whose they are."""
        self._changes = Latest(0)
        self.engine_in_reach = Latest(False)
        """Whether the engine answers; the node's description follows it."""
        self._around = Surroundings(
            host=host,
            engine=ports.engine,
            sandbox=ports.sandbox,
            dependencies=ports.dependencies,
            journal=ports.journal,
            reporter=ports.reporter,
            clock=ports.clock,
            rng=ports.rng,
            slots=asyncio.Semaphore(max(4, 2 * cores)),
            settled=self._settled,
            leader_in_reach=self._leader_in_reach,
            cut_off=lambda: self._is_cut_off,
            told=lambda: self._assigned.synced,
            networks=self._networks_of,
        )

    # -- what a session tells ------------------------------------------------------------------------------------------------------------
    @property
    def assignment_version(self) -> int:
        """What a Hello says we have: 0 after a restart, as secrets are not kept."""
        return self._assigned.version if self._assigned.synced else 0

    @property
    def live_tasks(self) -> tuple[Id, ...]:
        """Tasks that run or are about to."""
        return tuple(task_id for task_id, runner in self._runners.items() if not runner.known.state.ended)

    def assign(self, message: Assignments) -> None:
        """Take a message of assignments. Raises OutOfStep: the session must be opened anew."""
        if self._is_leaving:
            return
        before, self._assigned = self._assigned, applied(self._assigned, message)
        if self._assigned.parts:
            return  # more is to come
        now = self._assigned
        self._ports.dependencies.supply(now.secrets, now.configs)
        for task_id, task in now.tasks.items():
            if before.tasks.get(task_id) != task:
                self._ports.journal.assign(task)
        self._ports.journal.networks(now.networks)
        if self._adopted:
            self._meet_assignments()
            if not before.synced:
                self._verify_files()
                self._remove_strays()

    def settle(self, version: int) -> None:
        """Every ready node has this endpoint version."""
        self._settled.set(max(version, self._settled.value))

    def reach(self, *, leader: bool) -> None:
        """Whether a session stands: without one, no stop waits for other nodes."""
        if leader is not self._leader_in_reach.value:  # each try that fails says so again; the time without a leader goes on
            self._leader_in_reach.set(leader)

    def container_of(self, task_id: Id) -> str | None:
        """The engine's id of a task's container, as long as it exists, ended or not."""
        runner = self._runners.get(task_id)
        return runner.known.container_id or None if runner is not None and not runner.known.removed else None

    def ended(self, task_id: Id) -> bool:
        """Whether this node will run no container of the task any more: it has ended, or is not ours."""
        runner = self._runners.get(task_id)
        return runner is None or runner.known.state.ended

    async def leave(self) -> None:
        """This node leaves the swarm, whatever it is told from now on: end and remove everything; returns when nothing is left."""
        self._is_leaving = True
        self._assigned = AssignmentSet(synced=True)
        self._ports.dependencies.supply({}, {})
        self._meet_assignments()
        seen = self._changes.revision
        while self._runners or not self._adopted:  # a daemon that has just begun does not know yet what runs here
            seen = await self._changes.wait_change(seen)

    # -- running ---------------------------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Until cancelled. Runners and watches end together; containers go on."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._ports.journal.run(), name="journal")
            group.create_task(self._sweep(), name="sweep")
            group.create_task(self._watch_reach(), name="reach")
            await self._watch_engine()

    async def _watch_reach(self) -> None:
        """Tell the runners when no manager was in reach for long, and when one is again."""
        reach = self._leader_in_reach
        while True:
            seen = reach.revision

            async def changed(seen: int = seen) -> None:
                await reach.wait_change(seen)

            if reach.value or self._is_cut_off:
                await changed()
                if reach.value and self._is_cut_off:
                    self._is_cut_off = False
                    self._wake_all()
            elif await first_of(changed, lambda: self._ports.clock.sleep(CUT_OFF_AFTER)) == 1:
                self._is_cut_off = True
                self._wake_all()

    async def _watch_engine(self) -> None:
        backoff = Backoff(first=0.2, cap=5.0, rng=self._ports.rng)
        while True:
            try:
                async with aclosing(self._ports.engine.events()) as events:
                    async for event in events:
                        if event.kind == LISTENING:
                            await self._look_around()
                            self._wake_all()
                            self._say_engine(in_reach=True, why="")
                            backoff.reset()
                        else:
                            self._pass_on(event)
            except EngineError as error:
                self._say_engine(in_reach=False, why=str(error))
            await self._ports.clock.sleep(backoff.next())

    def _say_engine(self, *, in_reach: bool, why: str) -> None:
        if in_reach and not self.engine_in_reach.value:
            _log.info("the engine answers; %d tasks here", len(self._runners))
        if not in_reach and self.engine_in_reach.value:
            _log.error("%s; tasks wait for it to come back, their containers may well run on", why)
        if in_reach != self.engine_in_reach.value:
            self.engine_in_reach.set(in_reach)

    def _wake_all(self) -> None:
        for runner in self._runners.values():
            runner.wake()

    def _pass_on(self, event: EngineEvent) -> None:
        runner = self._runners.get(event.labels.get(TASK_LABEL, ""))
        if runner is not None:
            runner.wake()

    async def _sweep(self) -> None:
        while True:
            await self._ports.clock.sleep(SWEEP_EVERY)
            if self._adopted:
                try:
                    await self._look_around()
                except EngineGone:
                    continue  # the watch says so and looks around when it is back

    # -- finding containers ----------------------------------------------------------------------------------------------------------------
    async def _look_around(self) -> None:
        """List all containers of ours; the first time this is the adoption."""
        listed = await self._ports.engine.list({CLUSTER_LABEL: self._host.cluster_id})
        found = {task_id: container for container in listed if (task_id := container.labels.get(TASK_LABEL))}
        if not self._adopted:
            self._adopt(found)
        for task_id, runner in self._runners.items():
            container = found.get(task_id)
            if _disagrees(runner.known, container):
                runner.wake()
        self._unclaimed = {task_id: container for task_id, container in found.items() if task_id not in self._runners}
        if self._assigned.synced:
            self._remove_strays()

    def _adopt(self, found: Mapping[Id, ContainerState]) -> None:
        kept = self._ports.journal.kept
        for task_id, known in kept.known.items():
            task = self._assigned.tasks.get(task_id) or kept.tasks.get(task_id)
            if task is not None:
                self._launch(task, _resumed(known, found.get(task_id)))
        self._adopted = True
        self._changes.set(self._changes.value + 1)
        self._unclaimed = {task_id: container for task_id, container in found.items() if task_id not in self._runners}
        self._meet_assignments()
        if self._assigned.synced:
            self._verify_files()

    def _remove_strays(self) -> None:
        """Containers with our label whose task neither the manager nor the journal knows."""
        for task_id, container in self._unclaimed.items():
            _log.info("container %s belongs to no task of this node; removing it", container.name)
            self._launch(_stray_task(task_id, container, self._host), _stray_record(task_id, container)).vanish()
        self._unclaimed = {}
        self._ports.dependencies.keep_only(self._runners)

    # -- runners ---------------------------------------------------------------------------------------------------------------------------
    def _meet_assignments(self) -> None:
        """One runner for each assigned task; those of others are told that they are assigned no more."""
        for task_id, task in self._assigned.tasks.items():
            runner = self._runners.get(task_id)
            if runner is None:
                found = self._unclaimed.pop(task_id, None)
                self._launch(task, first_record(task, found, now=self._ports.clock.wall()))
            else:
                runner.update(task)
        if self._assigned.synced:
            for task_id, runner in self._runners.items():
                if task_id not in self._assigned.tasks:
                    runner.vanish()

    def _launch(self, task: AssignedTask, known: LocalTask) -> Runner:
        if self._group is None:
            raise RuntimeError("assignments are met only while the worker runs")
        runner = Runner(task, known, self._around)
        self._runners[task.id] = runner
        self._group.create_task(self._supervise(runner), name=task.name)
        return runner

    async def _supervise(self, runner: Runner) -> None:
        """A defect that shows in one task must not end the others: it is logged in full, and the runner looks again."""
        backoff = Backoff(first=1.0, cap=60.0, rng=self._ports.rng)
        while True:
            try:
                await runner.run()
                break
            except Exception:  # noqa: BLE001 - whatever it is, it is logged and the other tasks are not its fault
                _log.exception("the runner of task %s failed; starting it again", runner.task.name)
                await self._ports.clock.sleep(backoff.next())
        self._runners.pop(runner.task.id, None)
        self._changes.set(self._changes.value + 1)

    def _verify_files(self) -> None:
        for runner in self._runners.values():
            if runner.known.container_id and not runner.known.cleaned and not self._ports.dependencies.missing(runner.task):
                try:
                    self._ports.dependencies.verify(runner.task, self._host)
                except (OSError, UnusableTask, TemplateError) as error:
                    _log.error("files of task %s: %s", runner.task.name, error)

    def _networks_of(self, task: AssignedTask) -> tuple[OverlayNetwork, ...]:
        known = self._assigned.networks
        return tuple(known[attachment.network_id] for attachment in task.attachments if attachment.network_id in known)


def _disagrees(known: LocalTask, container: ContainerState | None) -> bool:
    """What is listed is not what the record would have: the runner should look."""
    running = container is not None and container.running
    return running != (TaskState.STARTING <= known.state <= TaskState.RUNNING)


def _resumed(known: LocalTask, listed: ContainerState | None) -> LocalTask:
    """The journal's record, with a container that was made just before the daemon died."""
    if listed is None or (known.container_id == listed.id and known.start_asked):
        return known
    return adopted(known, listed)


def _stray_task(task_id: Id, container: ContainerState, host: HostFacts) -> AssignedTask:
    labels = container.labels
    return AssignedTask(
        id=task_id,
        service_id=labels.get("com.docker.swarm.service.id", ""),
        service_name=labels.get("com.docker.swarm.service.name", ""),
        slot=0,
        node_id=host.node_id,
        spec=TaskSpec(),
        desired_state=TaskState.REMOVE,
    )


def _stray_record(task_id: Id, container: ContainerState) -> LocalTask:
    return LocalTask(task_id=task_id, status=TaskStatus(state=TaskState.RUNNING), container_id=container.id, start_asked=True)
