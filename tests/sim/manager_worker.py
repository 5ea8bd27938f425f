"""A node's share of the work, simulated: containers that start, fail and stop at the seed's pace, spoken of over the real session.

The containers belong to the machine and outlive its daemon, as does what is written down of each. A life of the daemon has an agent, which
is to the session what `worker.worker.Worker` is.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random

import msgspec

from cluster.aio.clock import Clock
from cluster.api.assignment import AssignedTask, Assignments
from cluster.api.ids import Id
from cluster.api.objects import TaskStatus
from cluster.api.states import TaskState
from tests.sim.manager_tally import Tally
from tests.sim.raft_checks import Broken
from worker.assignments import AssignmentSet, applied
from worker.reporter import Reporter

NEXT = {
    TaskState.ASSIGNED: TaskState.ACCEPTED,
    TaskState.ACCEPTED: TaskState.PREPARING,
    TaskState.PREPARING: TaskState.READY,
    TaskState.READY: TaskState.STARTING,
    TaskState.STARTING: TaskState.RUNNING,
}
SETTLED_WITHIN = 2.0
"""Seconds that a stop waits for the other nodes."""


class Container(msgspec.Struct):
    """A task on a machine."""

    task: AssignedTask
    state: TaskState = TaskState.ASSIGNED
    is_running: bool = False
    told_to_stop: float = 0.0


class Mishaps(msgspec.Struct):
    """What befalls containers."""

    failing: float = 0.0
    """How many of them fail, sooner or later."""
    tally: Tally = msgspec.field(default_factory=Tally)

    def calm(self) -> None:
        self.failing = 0.0


class Machine:
    """What runs on a host, and what is written there of it."""

    def __init__(self, name: str, everywhere: dict[tuple[str, str], "Machine"], mishaps: Mishaps) -> None:
        self.name = name
        self.containers: dict[Id, Container] = {}
        self.mishaps = mishaps
        self._everywhere = everywhere
        """Which machine answers at each address of each network."""

    def start(self, container: Container) -> None:
        """Raises Broken if it was given what another one has."""
        task = container.task
        others = [other.task for other in self.containers.values() if other.is_running and other is not container]
        for port in task.host_ports:
            if any(port in other.host_ports for other in others):
                raise Broken(f"host port {port.published_port} of {self.name} was given to {task.name} while another task has it")
        for resource in task.resources:
            if any(resource in other.resources for other in others):
                raise Broken(f"{resource.kind} {resource.value} of {self.name} was given to {task.name} while another task has it")
        for attachment in task.attachments:
            owner = self._everywhere.setdefault((attachment.network_id, attachment.address), self)
            if owner is not self or any(attachment in other.attachments for other in others):
                raise Broken(f"address {attachment.address} was given to {task.name} while it answers on {owner.name}")
        container.is_running = True

    def stop(self, container: Container) -> None:
        container.is_running = False
        for attachment in container.task.attachments:
            self._everywhere.pop((attachment.network_id, attachment.address), None)

    def is_emptied(self) -> None:
        """Its node left the swarm, with all that was written down."""
        self.power_fails()
        self.containers = {}

    def power_fails(self) -> None:
        """What ran does not any more; the daemon finds out when it is back."""
        for container in self.containers.values():
            if container.is_running:
                self.stop(container)


class Agent:
    """One life of a daemon's worker."""

    def __init__(self, machine: Machine, reporter: Reporter, *, clock: Clock, rng: Random, is_alive: Callable[[], bool]) -> None:
        self._machine = machine
        self._reporter = reporter
        self._clock = clock
        self._rng = rng
        self._is_alive = is_alive
        self._assigned = AssignmentSet()
        self._settled = 0
        self._due: set[Id] = set()
        for task_id, container in machine.containers.items():
            if container.state in (TaskState.STARTING, TaskState.RUNNING) and not container.is_running:
                container.state = TaskState.FAILED
            self._report(container)
            self._look_at(task_id)

    # -- what a session tells ----------------------------------------------------------------------------------------------------------
    @property
    def assignment_version(self) -> int:
        return self._assigned.version if self._assigned.synced else 0

    @property
    def live_tasks(self) -> tuple[Id, ...]:
        return tuple(task_id for task_id, container in self._machine.containers.items() if not container.state.ended)

    def assign(self, message: Assignments) -> None:
        """Raises OutOfStep."""
        self._assigned = applied(self._assigned, message)
        if self._assigned.parts:
            return
        for task_id, task in self._assigned.tasks.items():
            container = self._machine.containers.get(task_id)
            if container is None:
                state = max(TaskState.ASSIGNED, task.state) if task.state.ended else TaskState.ASSIGNED
                self._machine.containers[task_id] = Container(task, state)
            else:
                container.task = task
        for task_id in self._machine.containers:
            self._look_at(task_id)

    def settle(self, version: int) -> None:
        self._settled = max(version, self._settled)

    def reach(self, *, leader: bool) -> None:
        """Whether a session stands."""

    # -- what happens to a container ---------------------------------------------------------------------------------------------------
    def _look_at(self, task_id: Id, seconds: float | None = None) -> None:
        if task_id not in self._due:
            self._due.add(task_id)
            wait = self._rng.uniform(0.005, 0.15) if seconds is None else seconds
            asyncio.get_running_loop().call_later(wait, partial(self._step, task_id))

    def _step(self, task_id: Id) -> None:
        self._due.discard(task_id)
        container = self._machine.containers.get(task_id)
        if container is None or not self._is_alive():
            return
        if task_id not in self._assigned.tasks:
            if self._assigned.synced:
                self._vanish(task_id, container)
        elif container.state.ended:
            pass
        elif container.task.desired_state > TaskState.COMPLETE:
            self._wind_up(container)
        elif container.state is TaskState.RUNNING:
            self._run_on(container)
        elif container.state is not TaskState.READY or container.task.desired_state > TaskState.READY:
            self._advance(container)

    def _vanish(self, task_id: Id, container: Container) -> None:
        if container.is_running:
            self._machine.stop(container)
        del self._machine.containers[task_id]
        self._reporter.forget(task_id)

    def _wind_up(self, container: Container) -> None:
        now = asyncio.get_running_loop().time()
        container.told_to_stop = container.told_to_stop or now
        if container.is_running and self._settled < container.task.endpoint_version and now < container.told_to_stop + SETTLED_WITHIN:
            self._look_at(container.task.id)
            return
        if container.is_running:
            self._machine.stop(container)
        self._become(container, TaskState.SHUTDOWN)

    def _advance(self, container: Container) -> None:
        state = NEXT[container.state]
        if state is TaskState.STARTING:
            self._machine.start(container)
        self._become(container, state)
        if state is TaskState.RUNNING and self._rng.random() < self._machine.mishaps.failing:
            asyncio.get_running_loop().call_later(self._rng.uniform(0.0, 8.0), self._fail, container)
        self._look_at(container.task.id)

    def _run_on(self, container: Container) -> None:
        if not container.is_running:  # the power failed, or it did
            self._become(container, TaskState.FAILED)

    def _fail(self, container: Container) -> None:
        if container.is_running and self._is_alive():
            self._machine.mishaps.tally.tasks_failed += 1
            self._machine.stop(container)
            self._look_at(container.task.id)

    def _become(self, container: Container, state: TaskState) -> None:
        if state < container.state:
            raise Broken(f"task {container.task.name} went back from {container.state.wire} to {state.wire} on {self._machine.name}")
        container.state = state
        self._report(container)

    def _report(self, container: Container) -> None:
        if container.state > TaskState.ASSIGNED:
            self._reporter.report(container.task.id, TaskStatus(state=container.state, timestamp=self._clock.wall()))
