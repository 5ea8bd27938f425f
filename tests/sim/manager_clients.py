"""Clients of a cluster of managers: they create, change, remove and read, ask again when no answer comes, and remember what they saw."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol, TypeVar

from msgspec import Struct

from cluster.api.commands import (
    Command,
    CreateConfig,
    CreateNetwork,
    CreateService,
    Outcome,
    RemoveConfig,
    RemoveService,
    UpdateConfigObject,
    UpdateService,
)
from cluster.api.errors import Conflict, NotFound, OutOfSequence, ShoalError, Unavailable
from cluster.api.ids import Id, from_bytes
from cluster.api.objects import Config, Service
from cluster.api.specs import (
    SECOND,
    ConfigSpec,
    ContainerSpec,
    DiscreteResource,
    EndpointSpec,
    GenericResource,
    NetworkAttachmentConfig,
    NetworkSpec,
    PortConfig,
    ReplicatedMode,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from cluster.api.states import Kind
from manager.manager import Manager
from manager.store.snapshot import Snapshot
from tests.sim.linearizability import Operation
from tests.sim.manager_checks import Trace
from tests.sim.registers import Call, cas, create, read, remove

T = TypeVar("T")

CONFIGS = ("c0", "c1", "c2")
SERVICES = ("s0", "s1", "s2", "s3")
NETWORK = "net0"
ATTEMPTS = 6


class NoAnswer(Exception):
    """The connection broke, or nothing came in time: it may have been done or not."""


class Managers(Protocol):
    """The managers' APIs, as clients reach them."""

    async def ask(self, work: Callable[[Manager], Awaitable[T]], *, patience: float, at: object = None) -> T:
        """At one of them, or at this one. Raises NoAnswer."""
        ...

    def acknowledged(self, manager: Manager, outcome: Outcome) -> None:
        """A manager gives that answer."""
        ...

    def told(self) -> None:
        """An answer came: it is done."""
        ...


class Seen(Struct, frozen=True):
    """A value that a client has read, and the version to change it by."""

    value: str
    id: Id
    version: int


class Client:
    """One at a time does this and that."""

    def __init__(self, name: str, managers: Managers, history: list[Operation], trace: Trace, rng: Random) -> None:
        self.name = name
        self._managers = managers
        self._history = history
        self._trace = trace
        self._rng = rng
        self._writes = 0
        self._seen: dict[str, Seen | None] = {}

    async def run(self, until: Callable[[], bool], pause: float) -> None:
        while not until():
            await asyncio.sleep(self._rng.expovariate(1 / pause))
            await self.do_something()

    async def do_something(self) -> None:
        key = self._rng.choice((*CONFIGS, *SERVICES))
        draw = self._rng.random()
        seen = self._seen.get(key)
        if key not in self._seen or draw < 0.25:
            await self.read(key)
        elif seen is None:
            await self._create(key)
        elif draw < 0.85:
            await self._update(key, seen)
        else:
            await self._remove(key, seen)

    # -- reading -----------------------------------------------------------------------------------------------------------------------
    async def read_all(self, at: object = None) -> bool:
        return await self.read(*CONFIGS, *SERVICES, at=at)

    async def read(self, *keys: str, at: object = None) -> bool:
        """All of them at one moment. Whether it was answered."""
        began = self._now()
        try:
            now = await self._managers.ask(lambda manager: manager.read(), patience=4.0, at=at)
        except (NoAnswer, ShoalError):
            return False
        for key in keys:
            found = _found(now, key)
            self._seen[key] = found
            self._remember(key, read(), None if found is None else found.value, began)
        return True

    # -- writing -----------------------------------------------------------------------------------------------------------------------
    async def set_up(self) -> None:
        """The network that services share."""
        command = CreateNetwork(id=self._draw(), spec=NetworkSpec(name=NETWORK))
        while await self._insist(command) != "ok":
            pass

    async def _create(self, key: str) -> None:
        made, label = self._draw(), self._label()
        command: Command
        if key in CONFIGS:
            command = CreateConfig(id=made, spec=ConfigSpec(name=key, data=b"x", labels={"v": label}))
        else:
            command = CreateService(id=made, spec=self._spec(key, label))
        await self._write(key, create(f"{made}/{label}"), command)

    async def _update(self, key: str, seen: Seen) -> None:
        label = self._label()
        command: Command
        if key in CONFIGS:
            spec = ConfigSpec(name=key, labels={"v": label})
            command = UpdateConfigObject(request_id=self._draw(), id=seen.id, version=seen.version, spec=spec)
        else:
            command = UpdateService(request_id=self._draw(), id=seen.id, version=seen.version, spec=self._spec(key, label))
        await self._write(key, cas(seen.value, f"{seen.id}/{label}"), command)

    async def _remove(self, key: str, seen: Seen) -> None:
        command = RemoveConfig(id=seen.id) if key in CONFIGS else RemoveService(id=seen.id)
        await self._write(key, remove(seen.id), command)

    async def _write(self, key: str, call: Call, command: Command) -> None:
        began = self._now()
        answer = await self._insist(command)
        self._remember(key, call, "stale" if call[0] == "cas" and answer == "gone" else answer, began)
        self._seen.pop(key, None)

    async def _insist(self, command: Command) -> str | None:
        """Ask until there is an answer; None if there is none that says whether it was done."""
        is_doubtful = False
        for _ in range(ATTEMPTS):
            try:
                await self._managers.ask(lambda manager: self._execute(manager, command), patience=self._rng.choice((0.5, 3.0, 12.0)))
            except (NoAnswer, Unavailable):
                is_doubtful = True
            except OutOfSequence:
                return "stale"  # for good: versions only grow
            except ShoalError as refused:
                if is_doubtful:
                    return None
                return _word(refused)
            else:
                self._managers.told()
                return "ok"
            await asyncio.sleep(self._rng.uniform(0.01, 0.5))
        return None

    async def _execute(self, manager: Manager, command: Command) -> None:
        self._managers.acknowledged(manager, await manager.execute(command))

    # -- what is written -----------------------------------------------------------------------------------------------------------------
    def _spec(self, name: str, label: str) -> ServiceSpec:
        """Each service is of its own kind: with a port for all, with one of each host, with devices, plain."""
        rng = self._rng
        ports: tuple[PortConfig, ...] = ()
        resources = None
        if name == "s0":
            ports = (PortConfig(protocol="tcp", target_port=80, published_port=rng.choice((0, 8080)), publish_mode="ingress"),)
        if name in ("s1", "s2"):
            ports = (PortConfig(protocol="tcp", target_port=80, published_port=9000, publish_mode="host"),)
        if name == "s3":
            gpu = GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=1))
            resources = Resources(reservations=Reservations(generic_resources=(gpu,)))
        return ServiceSpec(
            name=name,
            labels={"v": label},
            task_template=TaskSpec(
                container_spec=ContainerSpec(image=rng.choice(("a", "b"))),
                networks=(NetworkAttachmentConfig(target=NETWORK),),
                restart_policy=RestartPolicy(delay=SECOND // 5),
                resources=resources,
            ),
            mode=ServiceMode(replicated=ReplicatedMode(replicas=rng.randint(0, 2 if ports else 4))),
            update_config=UpdateConfig(
                parallelism=rng.randint(0, 2),
                monitor=SECOND // 2,
                failure_action="continue",
                order=rng.choice(("stop-first", "start-first")),
            ),
            endpoint_spec=EndpointSpec(ports=ports),
        )

    def _draw(self) -> Id:
        return from_bytes(self._rng.randbytes(16))

    def _label(self) -> str:
        self._writes += 1
        return f"{self.name}.{self._writes}"

    # -- remembering ---------------------------------------------------------------------------------------------------------------------
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _remember(self, key: str, call: Call, answer: str | None, began: float) -> None:
        is_open = answer is None and call != read()
        ended = float("inf") if is_open else self._now()
        self._history.append(Operation(client=self.name, key=key, call=call, answer=answer, began=began, ended=ended))
        self._trace.note(f"{self.name} {key} {call} {answer} {began:.6f} {ended:.6f}")


def _word(refused: ShoalError) -> str:
    match refused:
        case NotFound():
            return "gone"
        case Conflict() if "already exists" in str(refused):
            return "exists"
        case _:
            return "refused"


def _found(now: Snapshot, key: str) -> Seen | None:
    found = now.named(Kind.CONFIG if key in CONFIGS else Kind.SERVICE, key)
    match found:
        case Config():
            return Seen(f"{found.id}/{found.spec.labels['v']}", found.id, found.version)
        case Service():
            return Seen(f"{found.id}/{found.spec.labels['v']}", found.id, found.spec_version)
        case _:
            return None
