"""A whole worker on twins and a clock turned by hand, killed and started again as tests please."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from cluster.aio.clock import ManualClock
from cluster.aio.supervise import background
from cluster.api.assignment import AssignedConfig, AssignedSecret, AssignedTask, Assignments
from cluster.api.ids import Id
from cluster.api.objects import TaskStatus
from tests.unit.worker.worker_values import HOST
from worker.dependencies import Dependencies
from worker.engine.memory import Behaviour, MemoryEngine
from worker.journal import Journal
from worker.memory_sandbox import MemorySandbox
from worker.ports import ContainerPlan
from worker.reporter import Reporter
from worker.worker import Worker, WorkerPorts


class Stage:
    """What outlives a daemon: the engine with its containers, the folder on disk, the tmpfs, the clock."""

    def __init__(self, folder: Path, *, behave: Callable[[ContainerPlan], Behaviour] = lambda _: Behaviour()) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.engine = MemoryEngine(self.clock, images=["app"], behave=behave)
        self.told: list[tuple[Id, TaskStatus]] = []
        self.ended_at: dict[Id, int] = {}
        """How many calls the engine had taken when the manager learnt that a task had ended."""
        self.version = 0

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator["Daemon"]:
        """A daemon from start to kill: leaving the block tells nobody anything."""
        daemon = Daemon(self)
        async with background(daemon.worker.run, daemon.collect):
            await self.clock.advance(0.01)
            yield daemon

    def states(self, task_id: Id) -> list[str]:
        """All that the manager was told of a task, in order, without repetition."""
        told = [status.state.wire for told_id, status in self.told if told_id == task_id]
        return [state for at, state in enumerate(told) if at == 0 or told[at - 1] != state]

    def last(self, task_id: Id) -> TaskStatus:
        return [status for told_id, status in self.told if told_id == task_id][-1]


class Daemon:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.sandbox = MemorySandbox()
        self.reporter = Reporter(stage.clock)
        self.dependencies = Dependencies(stage.folder / "secrets")
        ports = WorkerPorts(
            engine=stage.engine,
            sandbox=self.sandbox,
            journal=Journal(stage.folder / "worker", node_id=HOST.node_id, cluster_id=HOST.cluster_id, clock=stage.clock),
            dependencies=self.dependencies,
            reporter=self.reporter,
            clock=stage.clock,
            rng=Random(1),
        )
        self.worker = Worker(HOST, ports, cores=2)

    async def collect(self) -> None:
        async for message in self.reporter.messages():
            for one in message.statuses:
                self._stage.told.append((one.task_id, one.status))
                if one.status.state.ended:
                    self._stage.ended_at.setdefault(one.task_id, len(self._stage.engine.calls))
            self.reporter.taken(message.sequence)

    async def complete(
        self, *tasks: AssignedTask, secrets: Sequence[AssignedSecret] = (), configs: Sequence[AssignedConfig] = (), settle: float = 1.0
    ) -> None:
        self._stage.version += 1
        message = Assignments(version=self._stage.version, complete=True, tasks=tasks, secrets=tuple(secrets), configs=tuple(configs))
        self.worker.assign(message)
        await self._stage.clock.advance(settle)

    async def step(self, *tasks: AssignedTask, gone: Sequence[Id] = (), settle: float = 1.0) -> None:
        applies_to = self._stage.version
        self._stage.version += 1
        self.worker.assign(Assignments(version=self._stage.version, applies_to=applies_to, tasks=tasks, gone_tasks=tuple(gone)))
        await self._stage.clock.advance(settle)
