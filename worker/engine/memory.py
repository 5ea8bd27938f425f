"""The engine port's twin in memory: containers are values, and what happens to them is scripted by whoever holds it.

It keeps the promises of the port (tests/ports/test_engine_contract.py), runs on any clock, and draws nothing at random.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.values import Value
from worker.plan import TASK_LABEL
from worker.ports import (
    LISTENING,
    ContainerPlan,
    ContainerState,
    EngineError,
    EngineEvent,
    EngineGone,
    EngineInfo,
    ExecResult,
    LogLine,
    NoSuchImage,
)

_TERMINATED, _KILLED = 143, 137


class Behaviour(Value, frozen=True, kw_only=True):
    """What a container does once it is started."""

    exits_with: int | None = None
    """At once; None runs on."""
    says: tuple[bytes, ...] = ()
    start_error: str = ""
    ignores_term: bool = False
    has_health: bool = False
    answers: int = 0
    """The exit code of every command that is run inside it."""
    silent: bool = False
    """Commands inside it do not end."""


class _Container:
    def __init__(self, plan: ContainerPlan, state: ContainerState) -> None:
        self.plan = plan
        self.state = state
        self.lines: list[LogLine] = []


class MemoryEngine:
    """`images` are here, `registry` can be pulled; `behave` says what a container of a plan does."""

    def __init__(
        self,
        clock: Clock,
        *,
        images: Sequence[str] = (),
        registry: Sequence[str] = (),
        behave: Callable[[ContainerPlan], Behaviour] = lambda _: Behaviour(),
    ) -> None:
        self._clock = clock
        self.images = set(images)
        self.registry = set(registry)
        self.behave = behave
        self.credentials: dict[str, str] = {}
        """What the registry wants to see before it gives an image."""
        self.calls: list[str] = []
        """Each call that changes something, as `verb name`."""
        self.execs: list[tuple[str, tuple[str, ...]]] = []
        """Each command run inside a container, with the container's name."""
        self._containers: dict[str, _Container] = {}
        self._count = 0
        self._alive = True
        self._subscribers: list[asyncio.Queue[EngineEvent | None]] = []
        self._changes = Latest(0)

    # -- the port -------------------------------------------------------------------------------------------------------------------------
    async def info(self) -> EngineInfo:
        await self._answer()
        return EngineInfo(name="memory", version="1", api_version="1.51", architecture="x86_64", cpus=2, memory_bytes=2 << 30, id="memory")

    async def pull(self, image: str, *, registry_auth: str) -> None:
        await self._answer()
        if image in self.images:
            return
        self.calls.append(f"pull {image}")
        if image not in self.registry:
            raise NoSuchImage(f"No such image: {image}")
        if self.credentials.get(image, registry_auth) != registry_auth:
            raise NoSuchImage(f"No such image: {image}: unauthorized: authentication required")
        self.images.add(image)

    async def create(self, plan: ContainerPlan) -> str:
        await self._answer()
        if plan.spec.image not in self.images:
            raise NoSuchImage(f"No such image: {plan.spec.image}")
        leftover = self._named(plan.name)
        if leftover is not None:
            if leftover.plan.labels.get(TASK_LABEL) != plan.labels.get(TASK_LABEL):
                raise EngineError(f'Conflict. The container name "/{plan.name}" is already in use by container "{leftover.state.id}".')
            await self.remove(leftover.state.id)
        self.calls.append(f"create {plan.name}")
        self._count += 1
        container_id = f"{self._count:064x}"
        state = ContainerState(id=container_id, name=plan.name, labels=plan.labels, created_only=True)
        self._containers[container_id] = _Container(plan, state)
        self._publish("create", container_id)
        return container_id

    async def start(self, container_id: str) -> None:
        await self._answer()
        container = self._get(container_id)
        self.calls.append(f"start {container.plan.name}")
        self._start(container)

    async def stop(self, container_id: str, *, grace: float, signal: str) -> None:
        await self._answer()
        container = self._containers.get(container_id)
        if container is None or not container.state.running:
            return
        self.calls.append(f"stop {container.plan.name} {signal}".rstrip())
        code = _TERMINATED
        if self.behave(container.plan).ignores_term:
            await first_of(lambda: self._clock.sleep(grace), lambda: self._wait_down(container_id))
            code = _KILLED
        if container.state.running:
            self.exit(container_id, code)

    async def remove(self, container_id: str) -> None:
        await self._answer()
        container = self._containers.get(container_id)
        if container is None:
            return
        self.calls.append(f"remove {container.plan.name}")
        self.take_away(container_id)

    async def exec(self, container_id: str, command: Sequence[str]) -> ExecResult:
        await self._answer()
        container = self._get(container_id)
        if not container.state.running:
            raise EngineError(f"container {container_id} is not running")
        self.execs.append((container.plan.name, tuple(command)))
        behaviour = self.behave(container.plan)
        if behaviour.silent:
            await self._wait_down(container_id)
        return ExecResult(exit_code=behaviour.answers, output="not yet")

    async def inspect(self, container_id: str) -> ContainerState | None:
        await self._answer()
        container = self._containers.get(container_id) or self._named(container_id)
        return None if container is None else container.state

    async def list(self, labels: Mapping[str, str]) -> Sequence[ContainerState]:
        await self._answer()
        return [c.state for c in self._containers.values() if labels.items() <= c.state.labels.items()]

    async def events(self) -> AsyncGenerator[EngineEvent, None]:
        await self._answer()
        queue: asyncio.Queue[EngineEvent | None] = asyncio.Queue()
        self._subscribers.append(queue)
        try:
            yield EngineEvent(container_id="", kind=LISTENING)
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._subscribers.remove(queue)
        raise EngineGone("the memory engine died")

    async def logs(
        self, container_id: str, *, follow: bool, tail: int, since: int, until: int, stdout: bool, stderr: bool
    ) -> AsyncGenerator[LogLine, None]:
        await self._answer()
        container = self._get(container_id)
        wanted = {number for number, asked in ((1, stdout), (2, stderr)) if asked}
        matching = [line for line in container.lines if line.source in wanted and _within(line, since, until)]
        for line in matching[len(matching) - tail if 0 <= tail < len(matching) else 0 :]:
            yield line
        at = len(container.lines)
        while follow:
            seen = self._changes.revision
            for line in container.lines[at:]:
                if line.source in wanted and _within(line, since, until):
                    yield line
            at = len(container.lines)
            if not container.state.running or container_id not in self._containers:
                return
            await self._changes.wait_change(seen)

    # -- the script ------------------------------------------------------------------------------------------------------------------------
    def exit(self, container_id: str, code: int, *, oom: bool = False) -> None:
        """Its process ends by itself."""
        container = self._get(container_id)
        container.state = replace(container.state, running=False, pid=0, exit_code=code, oom_killed=oom)
        self._publish("die", container_id, exit_code=code)

    def health(self, container_id: str, status: str, *, log: str = "") -> None:
        container = self._get(container_id)
        container.state = replace(container.state, health=status, health_log=log)
        self._publish("health_status", container_id)

    def say(self, container_id: str, line: bytes, *, source: int = 1) -> None:
        self._get(container_id).lines.append(LogLine(source=source, timestamp=self._clock.wall(), line=line))
        self._changes.set(self._changes.value + 1)

    def foreign_start(self, container_id: str) -> None:
        """Somebody else starts it: `docker start`, `docker restart`."""
        self._start(self._get(container_id))

    def take_away(self, container_id: str) -> None:
        """Somebody else removes it: `docker rm -f`."""
        container = self._get(container_id)
        if container.state.running:
            self.exit(container_id, _KILLED)
        self._publish("destroy", container_id)
        del self._containers[container_id]

    def die(self) -> None:
        """The engine stops answering; its containers run on."""
        self._alive = False
        for queue in self._subscribers:
            queue.put_nowait(None)

    def revive(self) -> None:
        self._alive = True

    def container_of(self, task_id: str) -> ContainerState | None:
        """The newest container of a task."""
        found = [c.state for c in self._containers.values() if c.state.labels.get(TASK_LABEL) == task_id]
        return found[-1] if found else None

    def containers(self) -> Sequence[ContainerState]:
        """All there are, oldest first, whether the engine answers or not."""
        return [container.state for container in self._containers.values()]

    def plan_of(self, container_id: str) -> ContainerPlan:
        return self._get(container_id).plan

    # -- inside ----------------------------------------------------------------------------------------------------------------------------
    async def _answer(self) -> None:
        await asyncio.sleep(0)  # as any call over a socket would let others run
        if not self._alive:
            raise EngineGone("the memory engine does not answer")

    def _start(self, container: _Container) -> None:
        behaviour = self.behave(container.plan)
        if behaviour.start_error:
            container.state = replace(container.state, exit_code=127, error=behaviour.start_error)
            raise EngineError(behaviour.start_error)
        self._count += 1
        container.state = replace(
            container.state,
            running=True,
            created_only=False,
            pid=1000 + self._count,
            started_at=f"start {self._count}",
            exit_code=0,
            health="starting" if behaviour.has_health else "",
            ports=container.plan.host_ports,
        )
        self._publish("start", container.state.id)
        for line in behaviour.says:
            self.say(container.state.id, line)
        if behaviour.exits_with is not None:
            self.exit(container.state.id, behaviour.exits_with)

    async def _wait_down(self, container_id: str) -> None:
        while container_id in self._containers and self._containers[container_id].state.running:
            await self._changes.wait_change(self._changes.revision)

    def _get(self, container_id: str) -> _Container:
        if container_id not in self._containers:
            raise EngineError(f"No such container: {container_id}")
        return self._containers[container_id]

    def _named(self, name: str) -> _Container | None:
        return next((c for c in self._containers.values() if c.plan.name == name), None)

    def _publish(self, kind: str, container_id: str, *, exit_code: int | None = None) -> None:
        labels = self._containers[container_id].state.labels
        for queue in self._subscribers:
            queue.put_nowait(EngineEvent(container_id=container_id, kind=kind, labels=labels, exit_code=exit_code))
        self._changes.set(self._changes.value + 1)


def _within(line: LogLine, since: int, until: int) -> bool:
    return since <= line.timestamp and (not until or line.timestamp <= until)
