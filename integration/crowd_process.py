"""Many workers in one process: real sessions over mutual TLS, and tasks that run as soon as they are told to. See crowd_rig.

    python -m integration.crowd_process FILE        the workers of FILE, until the standard input ends

On the standard input, a line each: `report N` and `fail N`: N statuses of running tasks, N ended tasks a second from then on, among all
workers together; `seen`: answers with a line of JSON, what sessions came to so far.
"""

import asyncio
import itertools
import sys
import time
from pathlib import Path
from random import Random

import msgspec
from msgspec.structs import replace

from bench.virtual import described
from cluster.aio.clock import SystemClock
from cluster.aio.latest import Latest
from cluster.aio.supervise import background
from cluster.api.assignment import Assignments, Endpoints, LogOrder, ManagerAddr, ManagersChanged, ReachOrder, Welcome
from cluster.api.errors import ShoalError
from cluster.api.ids import Id
from cluster.api.objects import ContainerStatus, TaskStatus
from cluster.api.states import TaskState
from cluster.rpc import loop, tls
from cluster.rpc.identity import Identity
from cluster.rpc.pool import Remotes
from node_agent.manager_link import session_line
from worker.reporter import Reporter
from worker.session import Session, SessionSettings

rng = Random(2)
clock = SystemClock()


class CrowdFile(msgspec.Struct, frozen=True, kw_only=True):
    address: str
    identities: list[Identity]


class Seen(msgspec.Struct, kw_only=True):
    """What sessions came to, all workers' together."""

    welcomes: int = 0
    standing: int = 0
    tasks_told: int = 0
    """Tasks in messages of assignments."""
    updates: int = 0
    """Messages of endpoints."""
    failures: dict[str, int] = msgspec.field(default_factory=dict)


class Crew:
    """A node's tasks, without containers. Implements session.Tasks."""

    def __init__(self, reporter: Reporter, seen: Seen) -> None:
        self._reporter = reporter
        self._seen = seen
        self._tasks: dict[Id, TaskStatus] = {}
        self.assignment_version = 0

    @property
    def live_tasks(self) -> tuple[Id, ...]:
        return tuple(task_id for task_id, status in self._tasks.items() if not status.state.ended)

    def settle(self, version: int) -> None: ...

    def reach(self, *, leader: bool) -> None: ...

    def assign(self, message: Assignments) -> None:
        self._seen.tasks_told += len(message.tasks)
        for task in message.tasks:
            state = TaskState.SHUTDOWN if task.desired_state >= TaskState.SHUTDOWN else TaskState.RUNNING
            known = self._tasks.get(task.id)
            if known is None or known.state < state:
                container = ContainerStatus(container_id=rng.randbytes(32).hex(), pid=rng.randrange(1 << 22))
                self._say(task.id, TaskStatus(state=state, timestamp=time.time_ns(), message=state.wire, container=container))
        for task_id in message.gone_tasks:
            self._tasks.pop(task_id, None)
            self._reporter.forget(task_id)
        if not message.more:
            self.assignment_version = message.version

    def mention(self, state: TaskState) -> None:
        """A status of one of its tasks: a later word of a running one, or its end."""
        running = [task_id for task_id, status in self._tasks.items() if status.state is TaskState.RUNNING]
        if running:
            task_id = rng.choice(running)
            err = "task: non-zero exit (1)" if state is TaskState.FAILED else ""
            now = time.time_ns()
            self._say(task_id, replace(self._tasks[task_id], state=state, timestamp=now, message=f"at {now}", err=err))

    def _say(self, task_id: Id, status: TaskStatus) -> None:
        self._tasks[task_id] = status
        self._reporter.report(task_id, status)


class SimulatedNode:
    """A session, its reporter and its tasks. Implements session.Listener."""

    def __init__(self, number: int, address: str, identity: Identity, seen: Seen) -> None:
        self._seen = seen
        reporter = Reporter(clock)
        self.crew = Crew(reporter, seen)
        self.session = Session(
            self.crew, reporter, self, connect=session_line(Remotes(lambda: identity)),
            managers=[ManagerAddr(node_id="", addr=address)], description=Latest(described(number)),
            settings=SessionSettings(addr="127.0.0.1"), clock=clock, rng=rng,
        )  # fmt: skip

    def welcomed(self, message: Welcome) -> None:
        self._seen.welcomes += 1

    def managers_changed(self, message: ManagersChanged) -> None: ...

    def endpoints_came(self, message: Endpoints) -> None:
        self._seen.updates += 1
        if not message.more:
            self.session.endpoints_applied(message.update.version)

    def logs_ordered(self, order: LogOrder) -> None: ...

    def reach_ordered(self, order: ReachOrder) -> None: ...

    def session_failed(self, error: ShoalError) -> None:
        text = f"{type(error).__name__}: {error}"
        self._seen.failures[text] = self._seen.failures.get(text, 0) + 1


class Crowd:
    def __init__(self, file: CrowdFile) -> None:
        self._seen = Seen()
        self._nodes = [SimulatedNode(number, file.address, one, self._seen) for number, one in enumerate(file.identities)]
        self._rates = {"report": 0.0, "fail": 0.0}

    async def run(self) -> None:
        """Until the standard input ends."""
        talks = [lambda: self._talk("report", TaskState.RUNNING), lambda: self._talk("fail", TaskState.FAILED)]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(node.session.run()) for node in self._nodes]
            async with background(*talks):
                await self._obey()
            for one in running:
                one.cancel()

    async def _talk(self, verb: str, state: TaskState) -> None:
        turn, owed = itertools.cycle(rng.sample(self._nodes, len(self._nodes))), 0.0
        while True:
            owed += self._rates[verb] / 20
            for _ in range(int(owed)):
                next(turn).crew.mention(state)
            owed %= 1
            await clock.sleep(0.05)

    async def _obey(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().split():
            if line[0] == "seen":
                self._seen.standing = sum(node.session.manager.value is not None for node in self._nodes)
                print(msgspec.json.encode(self._seen).decode(), flush=True)
            else:
                self._rates[line[0]] = float(line[1])


if __name__ == "__main__":
    tls.prepare_environment()
    loop.run(Crowd(msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=CrowdFile)).run())
