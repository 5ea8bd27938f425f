"""What befalls a cluster of managers, and when: drawn from the seed. Each world has some kinds of fault only, so that these meet more."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from cluster.api.commands import UpdateNode
from cluster.api.errors import ShoalError
from cluster.api.ids import from_bytes
from cluster.api.specs import NodeSpec
from cluster.api.states import Availability, Role
from manager.manager import Manager
from tests.sim.manager_checks import Trace
from tests.sim.manager_clients import Client, NoAnswer
from tests.sim.manager_disk import DiskWeather
from tests.sim.manager_host import Daemon, Host
from tests.sim.manager_leaving import forget, leave, lost, may_leave
from tests.sim.manager_network import Network, Weather
from tests.sim.manager_tally import Tally
from tests.sim.manager_worker import Mishaps

T = TypeVar("T")


SETTLES_WITHIN = 6.0
"""Seconds after which an operator's order is carried out or forgotten: who is lost while another one is demoted may be one too many."""


SLOW_BEFORE_POWER_FAILS = 0.3
"""How often a sync takes long then."""


class Stage(Protocol):
    """Where the storm rages."""

    seed: int
    hosts: list[Host]
    network: Network
    weather: Weather
    disks: DiskWeather
    mishaps: Mishaps
    trace: Trace
    tally: Tally
    loop: asyncio.AbstractEventLoop
    passer_by: Client
    is_calm: bool

    def leader(self) -> Host | None: ...

    def down(self, host: Host, *, power: bool) -> None:
        """For a while."""
        ...

    def up(self, host: Host) -> None: ...

    async def ask(self, work: Callable[[Manager], Awaitable[T]], *, patience: float) -> T: ...

    def at_next_answer(self, act: Callable[[], None]) -> None:
        """At the moment at which a client is told that what it asked for is done."""
        ...

    def go_on(self, work: Coroutine[Any, Any, object]) -> None:
        """Beside everything else."""
        ...


FAULTS = (
    "crash", "crash_leader", "power_failure", "fill_disk", "cut_off", "cut_off_leader", "cut_some", "hand_over", "promote", "demote",
    "drain", "set_clock", "leave", "lose",
)  # fmt: skip


class Storm:
    """Faults one after the other, until it is over."""

    def __init__(self, world: Stage, rng: Random, *, faults: Sequence[str] = ()) -> None:
        """Of all kinds of faults, or of these: the names of methods here."""
        self._world = world
        self._rng = rng
        self._faults = faults
        self._demoted_at = float("-inf")
        self._usually_slow = 0.0
        self._are_leaving = 0
        """Farewells may take long, and end in the loss of a disk: two at once may be one too many."""

    async def run(self, until: float) -> None:
        world, rng = self._world, self._rng
        world.weather.loss = rng.choice((0.0, 0.02, 0.1))
        world.weather.repeats = rng.choice((0.0, 0.05))
        world.weather.late = rng.choice((0.0, 0.02, 0.1))
        world.disks.slow = self._usually_slow = rng.choice((0.0, 0.0, 0.01))
        world.disks.crash = rng.choice((0.0, 0.0, 0.002, 0.01))
        world.mishaps.failing = rng.choice((0.0, 0.2))
        each_in_turn = FAULTS[world.seed % len(FAULTS)]  # so that a few seeds have all
        chosen = self._faults or [each_in_turn, *rng.sample(FAULTS, k=rng.randint(1, 5))]
        pause = rng.choice((0.7, 1.5, 3.0))
        while world.loop.time() < until:
            await asyncio.sleep(rng.expovariate(1 / pause))
            fault = rng.choice(chosen)
            world.trace.note(f"storm: {fault}")
            getattr(self, fault)()

    # -- machines ------------------------------------------------------------------------------------------------------------------------
    def crash(self) -> None:
        self._world.down(self._rng.choice(self._world.hosts), power=self._rng.random() < 0.3)

    def crash_leader(self) -> None:
        leader = self._world.leader()
        if leader is not None:
            self._world.down(leader, power=self._rng.random() < 0.3)

    def power_failure(self) -> None:
        """Now, or at the worst moment: disks are slow, and somebody was just told that something is done."""
        if self._rng.random() < 0.5:
            self._lose_power()
        else:
            self._world.disks.slow = SLOW_BEFORE_POWER_FAILS
            self._world.at_next_answer(self._lose_power_of_slow_disks)

    def _lose_power_of_slow_disks(self) -> None:
        self._world.disks.slow = self._usually_slow
        self._lose_power()

    def _lose_power(self) -> None:
        for host in self._world.hosts:
            self._world.down(host, power=True)

    def fill_disk(self) -> None:
        disk = self._rng.choice(self._world.hosts).disk
        if disk is not None:
            disk.is_full = True
            self._later(self._rng.uniform(1.0, 4.0), lambda: setattr(disk, "is_full", False))

    def set_clock(self) -> None:
        """Somebody, or NTP, sets the date of a machine."""
        self._rng.choice(self._world.hosts).clock.set(by=self._rng.uniform(-60, 60))
        self._world.tally.clocks_set += 1

    # -- links ---------------------------------------------------------------------------------------------------------------------------
    def cut_off(self) -> None:
        self._isolate(self._rng.choice(self._world.hosts))

    def cut_off_leader(self) -> None:
        """And while it and its successor lead both, both are asked."""
        world, leader = self._world, self._world.leader()
        if leader is not None:
            self._isolate(leader)
            for _ in range(8):
                self._later(self._rng.uniform(0.2, 2.5), lambda: world.go_on(world.passer_by.read_all(at=leader)))
                self._later(self._rng.uniform(0.2, 2.0), lambda: world.go_on(world.passer_by.do_something()))

    def _isolate(self, lonely: Host) -> None:
        """One from all others, in both directions or in one."""
        outward, inward = self._rng.choice(((True, True), (True, False), (False, True)))
        others = [host.id for host in self._world.hosts if host is not lonely]
        self._cut([(lonely.id, other) for other in others if outward] + [(other, lonely.id) for other in others if inward])
        self._world.network.break_off(lonely.id, noticed=self._rng.choice((0.0, 0.5, 1.0)))

    def cut_some(self) -> None:
        ids = [host.id for host in self._world.hosts]
        pairs = [(one, other) for one in ids for other in ids if one != other]
        self._cut(self._rng.sample(pairs, k=self._rng.randint(1, len(pairs) // 3)))

    def _cut(self, pairs: list[tuple[str, str]]) -> None:
        network = self._world.network
        network.cut(pairs)
        self._later(self._rng.uniform(0.3, 5.0), lambda: self._world.is_calm or network.mend(pairs))

    # -- what operators do -----------------------------------------------------------------------------------------------------------------
    def hand_over(self) -> None:
        leader = self._world.leader()
        if leader is not None and leader.daemon is not None and leader.manager is not None:
            leader.daemon.spawn(self._hand_over(leader.manager))

    async def _hand_over(self, manager: Manager) -> None:
        with suppress(ShoalError):
            self._world.tally.leaderships_handed_over += await manager.hand_over()

    def promote(self) -> None:
        self._order(lambda spec: replace(spec, role=Role.MANAGER), lambda host: host.manager is None)

    def demote(self) -> None:
        if sum(host.manager is not None for host in self._world.hosts) > 3 and not lost(self._world.hosts):
            self._demoted_at = self._world.loop.time()
            self._order(lambda spec: replace(spec, role=Role.WORKER), lambda host: host.manager is not None)

    def leave(self) -> None:
        self._leave(told=True)

    def lose(self) -> None:
        """A machine is wiped: `swarm leave --force` where no manager answers, or a disk that broke."""
        self._leave(told=False)

    def _leave(self, *, told: bool) -> None:
        world, host = self._world, self._rng.choice(self._world.hosts)
        has_settled = not self._are_leaving and world.loop.time() - self._demoted_at > SETTLES_WITHIN
        if host.daemon is not None and has_settled and may_leave(world.hosts, host):
            self._demoted_at = world.loop.time()
            world.go_on(self._leave_and_come_back(host, host.daemon, told=told))

    async def _leave_and_come_back(self, host: Host, daemon: Daemon, *, told: bool) -> None:
        world = self._world
        if told:
            world.trace.note(f"operator: {host.name} leaves")
        self._are_leaving += 1
        was = await leave(world, host, daemon, rng=self._rng, told=told)
        self._are_leaving -= 1
        if was is None:
            return
        self._later(self._rng.uniform(0.2, 3.0), lambda: world.up(host))
        await forget(world, was, rng=self._rng)

    def drain(self) -> None:
        availability = self._rng.choice(list(Availability))
        self._order(lambda spec: replace(spec, availability=availability), lambda host: True)

    def _order(self, change: Callable[[NodeSpec], NodeSpec], suits: Callable[[Host], bool]) -> None:
        hosts = [host for host in self._world.hosts if suits(host)]
        if hosts:
            work = self.change_node(self._rng.choice(hosts), change)
            self._world.loop.create_task(work)

    async def change_node(self, host: Host, change: Callable[[NodeSpec], NodeSpec]) -> None:
        """As an operator would, through any manager; given up if it is not answered."""
        world = self._world
        leader = world.leader()
        if leader is None or leader.manager is None:
            return
        node = leader.manager.latest().nodes.get(host.id)
        if node is None or (spec := change(node.spec)) == node.spec:
            return
        world.trace.note(f"operator: {host.name} {spec.role} {spec.availability}")
        command = UpdateNode(request_id=from_bytes(self._rng.randbytes(16)), id=host.id, version=node.version, spec=spec)
        with suppress(NoAnswer, ShoalError):
            await world.ask(lambda manager: manager.execute(command), patience=5.0)

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self._world.loop.call_later(seconds, action)
