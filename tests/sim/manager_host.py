"""A simulated machine: its disk and containers, and the daemon that lives on it again and again.

The daemon is put together as `node_agent` does it, of the real session, Raft driver, store and manager; disk, network, clock and worker
are the simulation's.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any, Protocol

from msgspec.structs import replace

from cluster.aio.latest import Latest
from cluster.aio.supervise import background, first_of
from cluster.api.assignment import Endpoints, LogOrder, ManagerAddr, ManagersChanged, ReachOrder, Welcome
from cluster.api.contracts import AdmissionRequest, Admitted, CertificateRequest, Membership, NodeCA
from cluster.api.errors import NodeRemoved, ShoalError
from cluster.api.ids import Id, from_bytes
from cluster.api.objects import Cluster, NodeDescription
from cluster.api.specs import GenericResource, NamedResource, Platform, Reservations
from cluster.api.states import Role
from manager.manager import Manager, ManagerParts
from manager.raft.config import RaftConfig
from manager.raft.core.effects import Persist
from manager.raft.core.membership import MemberId
from manager.raft.core.state import Settings
from manager.raft.driver import Raft
from manager.raft.ports import StateMachine
from manager.raft.transport import PeerStreams
from manager.store.store import Store
from node_agent.manager_link import ask_leader, raft_dial, session_line
from node_agent.member import Member
from tests.sim.manager_disk import Disk, DiskWeather, DiskWriter
from tests.sim.manager_network import Network, Remotes, Server
from tests.sim.manager_tally import Tally
from tests.sim.manager_worker import Agent, Machine
from worker.reporter import Reporter
from worker.session import Session, SessionSettings

CONFIG = RaftConfig(
    tick_seconds=0.1, core=Settings(heartbeat_ticks=1, election_ticks=6, max_append_bytes=16 * 1024, max_flights=8),
    snapshot_entries=60, keep_entries=15, snapshot_patience=0.5, snapshot_attempts=5,
)  # fmt: skip
GPUS = ("gpu0", "gpu1")


class Surroundings(Protocol):
    """What a host is told by the world, and tells it."""

    network: Network
    disks: DiskWeather
    tally: Tally

    def watched(self, daemon: "Daemon", store: Store) -> StateMachine:
        """The store as the state machine of this daemon's Raft, under observation."""
        ...

    def ordered(self, daemon: "Daemon", order: Persist) -> None:
        """Its consensus wants this on the disk."""
        ...

    def power_failed(self, host: "Host") -> None:
        """In the middle of a write."""
        ...

    async def admit(self, request: AdmissionRequest) -> Admitted | None:
        """By any manager; None if it does not answer."""
        ...

    def fail(self, failure: BaseException) -> None: ...


class PacedClock:
    """The loop's time, at the pace of this machine's quartz, and with its idea of the date."""

    def __init__(self, pace: float, offset: float) -> None:
        self._pace = pace
        self._offset = offset

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * self._pace

    def wall(self) -> int:
        return 1_700_000_000_000_000_000 + int((self.monotonic() + self._offset) * 1e9)

    def set(self, *, by: float) -> None:
        """The date alone, by so many seconds."""
        self._offset += by

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._pace)

    def limit(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds / self._pace)


class RoleSigner:
    """An external CA whose certificates say nothing but the role."""

    async def sign(self, cluster: Cluster, csr: str, *, node_id: Id, role: Role) -> str:
        return role.value


class Host:
    """A machine; `start` and `crash` are the lives of its daemon."""

    def __init__(self, me: Id, number: int, world: Surroundings, *, rng: Random, machine: Machine, managers: Sequence[ManagerAddr]) -> None:
        self.id = me
        self.number = number
        self.incarnation = 0
        self.token: Role | None = None
        """What it asks to be let in as; None once it was."""
        self.address = address_of(number)
        self.world = world
        self.rng = rng
        self.machine = machine
        self.managers = tuple(managers)
        self.certified = Role.WORKER
        self.disk: Disk | None = None
        self.clock = PacedClock(rng.uniform(0.97, 1.03), rng.uniform(-5, 5))
        self.tick_pace = rng.uniform(0.85, 1.2)
        self.lives = 0
        self.daemon: Daemon | None = None

    def start(self) -> None:
        self.lives += 1
        self.daemon = Daemon(self)

    @property
    def name(self) -> str:
        """Another one for each node that it was."""
        return f"h{self.number}" + "'" * self.incarnation

    def begin_anew(self, me: Id, role: Role) -> None:
        """Nothing of the node that it was is left; it asks to be let in as another one."""
        if self.daemon is not None:
            self.daemon.kill()
        self.daemon, self.disk = None, None
        self.machine.is_emptied()
        self.id, self.token, self.certified = me, role, Role.WORKER
        self.incarnation += 1

    def crash(self, *, power: bool) -> None:
        """The daemon dies; with the power, so do the containers. What was not synced is gone either way."""
        daemon, self.daemon = self.daemon, None
        self.world.tally.crashes += not power
        self.world.tally.power_failures += power
        if daemon is not None:
            daemon.kill()
        if self.disk is not None:
            self.disk.crash()
        if power:
            self.machine.power_fails()

    @property
    def manager(self) -> Manager | None:
        return self.daemon.manager if self.daemon is not None else None


def address_of(number: int) -> str:
    return f"h{number}:2377"


class Daemon:
    """One life: the `Process` of the network, and the `Listener` of its session."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.id = host.id
        self.is_alive = True
        self.manager: Manager | None = None
        self.raft: Raft | None = None
        self.life = host.lives
        self._rng = Random(host.rng.getrandbits(64))
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._spawned = 0
        self._told: Latest[Role] = Latest(host.certified)
        self.remotes = Remotes(host.world.network, self)
        reporter = Reporter(host.clock)
        agent = Agent(host.machine, reporter, clock=host.clock, rng=self._rng, is_alive=lambda: self.is_alive)
        self._session = Session(
            agent, reporter, self, connect=session_line(self.remotes), managers=host.managers,
            description=Latest(_description(host)), settings=SessionSettings(addr=host.name, data_path_addr=host.name),
            clock=host.clock, rng=self._rng,
        )  # fmt: skip
        self.spawn(self._live())

    # -- as a process ------------------------------------------------------------------------------------------------------------------
    @property
    def role(self) -> Role:
        return self.host.certified

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that ends with this life; what it raises is the world's business."""
        self._spawned += 1
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[self._spawned] = task
        task.add_done_callback(lambda _, number=self._spawned: self._ended(number))
        if not self.is_alive:
            task.cancel()
        return task

    def _ended(self, number: int) -> None:
        task = self._tasks.pop(number)
        if not task.cancelled() and (failure := task.exception()) is not None and self.is_alive:
            self.host.world.fail(failure)

    def kill(self) -> None:
        self.is_alive = False
        network = self.host.world.network
        network.deafen(self.host.address, self)
        network.died(self)
        for task in list(self._tasks.values()):
            task.cancel()

    async def _live(self) -> None:
        if self.host.token is not None:
            await self._be_admitted(self.host.token)
        async with background(self._session.run, self._follow_role):
            await asyncio.Event().wait()

    async def _be_admitted(self, token: Role) -> None:
        host = self.host
        request = AdmissionRequest(node_id=host.id, secret=token.value, csr="key", addr=host.name)
        while (admitted := await host.world.admit(request)) is None:
            await host.clock.sleep(0.5)
        if self.is_alive:
            host.certified, host.token = admitted.role, None
            self._told.set(admitted.role)

    # -- as a listener of its session ----------------------------------------------------------------------------------------------------
    def welcomed(self, message: Welcome) -> None:
        self.host.managers = message.managers or self.host.managers
        self._told.set(message.role)

    def managers_changed(self, message: ManagersChanged) -> None:
        self.host.managers = message.managers or self.host.managers
        self._told.set(message.role)

    def endpoints_came(self, message: Endpoints) -> None:
        if not message.more:
            asyncio.get_running_loop().call_later(self._rng.uniform(0.001, 0.1), self._session.endpoints_applied, message.update.version)

    def logs_ordered(self, order: LogOrder) -> None:
        """Nobody reads logs here."""

    def reach_ordered(self, order: ReachOrder) -> None:
        """Nobody reaches in here."""

    def session_failed(self, error: ShoalError) -> None:
        if isinstance(error, NodeRemoved):
            self.host.world.fail(error)

    # -- its role ------------------------------------------------------------------------------------------------------------------------
    async def _follow_role(self) -> None:
        while True:
            if self.host.certified is Role.MANAGER:
                await first_of(self._manage, lambda: self._certified_as(Role.WORKER))
                if self.is_alive:
                    self.host.disk = None
            else:
                await self._certified_as(Role.MANAGER)

    async def _certified_as(self, role: Role) -> None:
        """A new certificate whenever a manager says that the role is another."""
        while self.host.certified is not role:
            seen = self._told.revision
            if self._told.value is self.host.certified:
                await self._told.wait_change(seen)
                continue
            try:
                answer = await ask_leader(self.remotes, self._session.managers, NodeCA.renew, CertificateRequest(csr="key"), timeout=3)
                if self.is_alive and self.host.certified is not Role(answer.certificate):
                    self.host.certified = Role(answer.certificate)
                    self.host.world.tally.managers_made += self.host.certified is Role.MANAGER
                    self.host.world.tally.managers_unmade += self.host.certified is Role.WORKER
            except ShoalError:
                pass
            await self.host.clock.sleep(0.3)

    async def _manage(self) -> None:
        """Be a manager, from an empty disk or one that remembers."""
        host, network = self.host, self.host.world.network
        disk = host.disk = host.disk or Disk(self._rng, host.world.disks)
        disk.power_fails = self._power_fails
        store = Store()
        peers = PeerStreams(raft_dial(self.remotes), rng=self._rng)
        writer = DiskWriter(disk, is_alive=lambda: self.is_alive, on_order=lambda order: host.world.ordered(self, order))
        raft = self.raft = Raft(
            MemberId(host.id), host.address, storage=disk, machine=host.world.watched(self, store), transport=peers, rng=self._rng,
            config=replace(CONFIG, tick_seconds=CONFIG.tick_seconds * host.tick_pace), writer=writer,
        )  # fmt: skip
        peers.report_drops_to(raft.unreachable)
        manager = Manager(
            ManagerParts(
                node_id=host.id, addr=host.address, raft=raft, peers=peers, store=store, remotes=self.remotes, clock=host.clock,
                rng=self._rng, draw_id=self.draw_id, serial=lambda: 1, draw_key=lambda: self._rng.randbytes(32),
                signer=RoleSigner(),
            )
        )  # fmt: skip
        member = Member(
            raft, address=host.address, clock=host.clock,
            ask=lambda request: ask_leader(self.remotes, self._session.managers, Membership.join, request, timeout=5),
        )  # fmt: skip
        server = Server(self, manager.authorize)
        manager.offer(server)
        network.listen(host.address, server)
        self.manager = manager
        try:
            async with background(manager.run, member.run):
                await asyncio.Event().wait()
        finally:
            self.manager = self.raft = None
            network.deafen(host.address, self)

    def draw_id(self) -> Id:
        return from_bytes(self._rng.randbytes(16))

    def _power_fails(self) -> None:
        if self.is_alive:
            self.host.world.power_failed(self.host)


def _description(host: Host) -> NodeDescription:
    gpus = tuple(GenericResource(named_resource_spec=NamedResource(kind="gpu", value=gpu)) for gpu in GPUS)
    resources = Reservations(nano_cpus=4_000_000_000, memory_bytes=8 << 30, generic_resources=gpus)
    return NodeDescription(hostname=host.name, platform=Platform(architecture="x86_64", os="linux"), resources=resources)
