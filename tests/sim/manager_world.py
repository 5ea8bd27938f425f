"""A cluster of whole managers, from its founding through a storm to calm weather; one seed decides everything.

Real: consensus, driver, store, manager with all loops of its leader, gateway, dispatcher, the nodes' sessions. Simulated: disks, network,
clocks, containers, clients.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

from cluster.api.assignment import ManagerAddr
from cluster.api.changes import ChangeSet, Put, encode_entry
from cluster.api.commands import Outcome
from cluster.api.contracts import AdmissionRequest, Admitted
from cluster.api.errors import ShoalError
from cluster.api.ids import from_bytes
from cluster.api.objects import Cluster, JoinTokens, Network, Node, NodeStatus, RaftMember
from cluster.api.specs import SECOND, CAConfig, ClusterSpec, DispatcherConfig, ExternalCA, NetworkSpec, NodeSpec
from cluster.api.states import Role
from manager.manager import Manager
from manager.raft.core.effects import Persist
from manager.raft.core.membership import Member, MemberId
from manager.raft.driver import Raft, bootstrap
from manager.raft.ports import Capture, Restoration, StateMachine
from manager.raft.proposer import Applied, StoreMachine
from manager.store.store import Store
from tests.sim.linearizability import Operation, judge
from tests.sim.manager_checks import ManagerChecks, Trace, Watch
from tests.sim.manager_clients import Client, NoAnswer
from tests.sim.manager_converged import not_converged
from tests.sim.manager_disk import Disk, DiskWeather
from tests.sim.manager_host import Daemon, Host, address_of
from tests.sim.manager_network import Network as Links
from tests.sim.manager_network import Weather
from tests.sim.manager_storm import Storm
from tests.sim.manager_tally import Tally
from tests.sim.manager_worker import Machine, Mishaps
from tests.sim.raft_checks import Broken
from tests.sim.registers import Register
from tests.sim.seeded_loop import SeededLoop, run_until, seeded_loop

T = TypeVar("T")

STALE_AFTER = 1.5
"""Seconds that a manager may go on as a leader after it lost leadership."""
UNHEARD_FOR = 3.0
"""Seconds that a leader may go on as one while no majority can answer it: two election timeouts of a slow clock, and what is on its way."""
LOOK_EVERY = 0.02
"""Seconds between two looks at what may last a while."""
CALM_WITHIN = 90.0
"""Seconds of calm weather in which everything must have converged."""


class Watched:
    """The store as a state machine, under observation."""

    def __init__(self, store: Store, daemon: Daemon, checks: ManagerChecks) -> None:
        self._inner = StoreMachine(store)
        self._store = store
        self._daemon = daemon
        self._checks = checks

    def apply(self, index: int, payload: bytes) -> Applied:
        before = self._store.snapshot
        result = self._inner.apply(index, payload)
        if self._daemon.is_alive:
            self._checks.applied(self._daemon.host.name, payload, result.refusal, before=before, after=self._store.snapshot)
        return result

    def capture(self) -> Capture:
        return self._inner.capture()

    def restoration(self) -> Restoration:
        return WatchedRestoration(self._inner.restoration(), self._told)

    def _told(self) -> None:
        self._checks.restored(self._daemon.host.name, self._store.snapshot)


class WatchedRestoration:
    """Says when it is finished."""

    def __init__(self, inner: Restoration, finished: Callable[[], None]) -> None:
        self._inner = inner
        self._finished = finished

    def feed(self, chunk: bytes) -> None:
        self._inner.feed(chunk)

    def finish(self) -> None:
        self._inner.finish()
        self._finished()


class World:
    """Everything there is; the `Surroundings` of hosts and the `Managers` of clients."""

    def __init__(self, seed: int, loop: SeededLoop, rng: Random) -> None:
        self.seed = seed
        self.loop = loop
        self.rng = rng
        self.trace = Trace()
        self.checks = ManagerChecks(self.trace)
        self.history: list[Operation] = []
        self.tally = Tally()
        self.weather = Weather(tally=self.tally)
        self.disks = DiskWeather(tally=self.tally)
        self.mishaps = Mishaps(tally=self.tally)
        self.network = Links(Random(rng.getrandbits(64)), self.weather)
        self.is_calm = False
        self._watches: dict[str, Watch] = {}
        self._stale_since: dict[str, float] = {}
        self._unheard_since: dict[str, float] = {}
        self._due = 0.0
        self._at_next_answer: Callable[[], None] | None = None
        self._beside: dict[asyncio.Task[object], None] = {}
        self.passer_by = self._client("p")
        self.hosts = self._build()

    def _client(self, name: str) -> Client:
        return Client(name, self, self.history, self.trace, Random(self.rng.getrandbits(64)))

    # -- founding ----------------------------------------------------------------------------------------------------------------------
    def _build(self) -> list[Host]:
        founders = self.rng.choice((3, 3, 5))
        size = max(4, founders) if founders == 3 else 5
        ids = [from_bytes(self.rng.randbytes(16)) for _ in range(size)]
        managers = [ManagerAddr(node_id=ids[number], addr=address_of(number)) for number in range(founders)]
        everywhere: dict[tuple[str, str], Machine] = {}
        hosts = [
            Host(me, number, self, rng=Random(self.rng.getrandbits(64)), machine=Machine(f"h{number}", everywhere, self.mishaps),
                 managers=managers)
            for number, me in enumerate(ids)
        ]  # fmt: skip
        payload = encode_entry(ChangeSet(at=1, changes=tuple(Put(object=item) for item in self._founding(hosts, founders))))
        for host in hosts[:founders]:
            host.certified = Role.MANAGER
            host.disk = Disk(Random(self.rng.getrandbits(64)), self.disks)
            members = [Member(id=MemberId(one.id), address=one.address) for one in hosts[:founders]]
            bootstrap(host.disk, members, [payload])
        return hosts

    def _founding(self, hosts: list[Host], founders: int) -> Iterable[Cluster | Node | Network]:
        authority = CAConfig(external_cas=(ExternalCA(url="https://ca"),))
        tokens = JoinTokens(worker=Role.WORKER.value, manager=Role.MANAGER.value)
        yield Cluster(
            id="cluster", join_tokens=tokens, spec=ClusterSpec(dispatcher=DispatcherConfig(heartbeat_period=SECOND), ca_config=authority)
        )
        yield Network(id="ingress", spec=NetworkSpec(name="ingress", ingress=True))
        for number, host in enumerate(hosts):
            role = Role.MANAGER if number < founders else Role.WORKER
            member = RaftMember(addr=host.address) if number < founders else None
            yield Node(id=host.id, spec=NodeSpec(role=role), status=NodeStatus(addr=host.name), certified_role=role, member=member)

    # -- as the hosts' surroundings ------------------------------------------------------------------------------------------------------
    def watched(self, daemon: Daemon, store: Store) -> StateMachine:
        return Watched(store, daemon, self.checks)

    def ordered(self, daemon: Daemon, order: Persist) -> None:
        if daemon.raft is not None and daemon.is_alive:
            self.checks.raft.holds(MemberId(daemon.host.name), daemon.raft._core, order.entries)

    def power_failed(self, host: Host) -> None:
        self.trace.note(f"{host.name} loses power in the middle of a write")
        self.tally.power_failures_in_a_write += 1
        self.down(host, power=self.rng.random() < 0.3)

    def fail(self, failure: BaseException) -> None:
        self.loop.fail(failure)

    async def admit(self, request: AdmissionRequest) -> Admitted | None:
        with suppress(NoAnswer, ShoalError):
            return await self.ask(lambda manager: manager.admit(request), patience=5.0)
        return None

    def down(self, host: Host, *, power: bool) -> None:
        """For a while."""
        if host.daemon is None:
            return
        host.crash(power=power)
        self._watches.pop(host.name, None)
        away = self.rng.uniform(0.05, 0.5) if self.rng.random() < 0.4 else self.rng.uniform(0.5, 6.0)
        self.loop.call_later(away, self.up, host)

    def up(self, host: Host) -> None:
        if host.daemon is None:
            self.trace.note(f"{host.name} starts")
            host.start()

    # -- after every step ----------------------------------------------------------------------------------------------------------------
    def observe(self) -> None:
        try:
            for host in self.hosts:
                daemon = host.daemon
                if daemon is not None and daemon.raft is not None:
                    watch = self._watches.get(host.name)
                    if watch is None or watch.core is not daemon.raft._core:
                        watch = self._watches[host.name] = Watch(host.name, daemon.raft._core)
                    if watch.has_news:
                        self.checks.looks(watch)
            if self.loop.time() >= self._due:
                self._due = self.loop.time() + LOOK_EVERY
                for host in self.hosts:
                    self._see_how_long(host)
        except Broken as broken:
            self.fail(broken)

    def _see_how_long(self, host: Host) -> None:
        """It has gone on in a way that may only be for so long."""
        raft = host.daemon.raft if host.daemon is not None else None
        if raft is None or host.manager is None:
            self._stale_since.pop(host.name, None)
            self._unheard_since.pop(host.name, None)
            return
        now, manager = raft.leadership.value, host.manager
        if self._lasts(self._stale_since, host, manager._watch.leading() is not None and not now.is_established) > STALE_AFTER:
            raise Broken(f"{host.name} goes on as a leader {STALE_AFTER} s after it lost leadership")
        if self._lasts(self._unheard_since, host, now.is_me and not self._is_answered(host, raft)) > UNHEARD_FOR:
            raise Broken(f"{host.name} leads, and no majority can have answered for {UNHEARD_FOR} s")

    def _lasts(self, since: dict[str, float], host: Host, holds: bool) -> float:
        """For how long it has held by now."""
        if not holds:
            since.pop(host.name, None)
            return 0.0
        return self.loop.time() - since.setdefault(host.name, self.loop.time())

    def _is_answered(self, host: Host, raft: Raft) -> bool:
        """Whether a majority of the voters is up and on links that pass both ways."""
        up = {other.id: other.daemon for other in self.hosts if other.daemon is not None and other.daemon.raft is not None}
        me, voters = host.daemon, raft.membership.value.voters
        answering = [
            voter for voter in voters
            if voter in up and me is not None and self.network.passes(me, up[voter]) and self.network.passes(up[voter], me)
        ]  # fmt: skip
        return 2 * len(answering) > len(voters)

    # -- as the clients' managers ----------------------------------------------------------------------------------------------------------
    async def ask(self, work: Callable[[Manager], Awaitable[T]], *, patience: float, at: object = None) -> T:
        host = next((host for host in self.hosts if host is at), None) or self.rng.choice(self.hosts)
        await asyncio.sleep(self.network.delay())
        daemon, manager = host.daemon, host.manager
        if daemon is None or manager is None:
            raise NoAnswer
        answer: asyncio.Future[T] = self.loop.create_future()
        task = daemon.spawn(_answering(work(manager), answer, daemon))
        task.add_done_callback(lambda _: answer.done() or answer.set_exception(NoAnswer()))
        try:
            async with asyncio.timeout(patience):
                result = await answer
        except TimeoutError:
            if self.rng.random() < 0.5:
                task.cancel()
            raise NoAnswer from None
        await asyncio.sleep(self.network.delay())
        return result

    def acknowledged(self, manager: Manager, outcome: Outcome) -> None:
        host = next((host for host in self.hosts if host.manager is manager), None)
        if host is not None:
            self.checks.acknowledged(host.name, outcome.version, manager.latest())

    def told(self) -> None:
        act, self._at_next_answer = self._at_next_answer, None
        if act is not None and not self.is_calm:
            act()

    # -- the story -------------------------------------------------------------------------------------------------------------------------
    def at_next_answer(self, act: Callable[[], None]) -> None:
        self._at_next_answer = act

    def go_on(self, work: Coroutine[Any, Any, object]) -> None:
        task = self.loop.create_task(work)
        self._beside[task] = None
        task.add_done_callback(self._beside.pop)

    async def live(self, length: float, faults: Sequence[str]) -> None:
        began = self.loop.time()
        for host in self.hosts:
            host.start()
        clients = [self._client(f"u{number}") for number in range(3)]
        await clients[0].set_up()
        end = self.loop.time() + length
        storm = Storm(self, Random(self.rng.getrandbits(64)), faults=faults)
        async with asyncio.TaskGroup() as group:
            group.create_task(storm.run(until=end))
            for client in clients:
                group.create_task(client.run(lambda: self.loop.time() > end, pause=0.25))
        self.calm()
        if self._beside:
            await asyncio.wait(self._beside)
        await self._converge()
        await self._read_everything(clients)
        times = [host.clock.monotonic() for host in self.hosts]
        self.tally.ms_of_clock_drift += int(1000 * (max(times) - min(times)) * (self.loop.time() - began) / self.loop.time())
        verdict = judge(self.history, Register())
        if verdict is not None:
            raise Broken(str(verdict))

    def calm(self) -> None:
        """All faults end, everybody is up."""
        self.trace.note("calm")
        self.is_calm = True
        self.weather.calm()
        self.disks.calm()
        self.mishaps.calm()
        self.network.mend_all()
        for host in self.hosts:
            if host.disk is not None:
                host.disk.is_full = False
            self.up(host)

    async def _converge(self) -> None:
        deadline, why, since = self.loop.time() + CALM_WITHIN, "nobody leads", 0
        while self.loop.time() < deadline:
            await asyncio.sleep(0.5)
            await self._make_nodes_active()
            why = self._why_not_converged()
            since = since + 1 if not why else 0
            if since == 3:
                return
        raise Broken(f"not converged within {CALM_WITHIN} s of calm weather: {why}")

    async def _make_nodes_active(self) -> None:
        for host in self.hosts:
            await Storm(self, self.rng).change_node(host, lambda spec: spec if spec.availability == "active" else _active(spec))

    def leader(self) -> Host | None:
        leaders = [host for host in self.hosts if host.daemon and host.daemon.raft and host.daemon.raft.leadership.value.is_established]
        return max(leaders, key=lambda host: host.daemon.raft.leadership.value.term) if leaders else None  # type: ignore[union-attr]

    def _why_not_converged(self) -> str:
        leader = self.leader()
        if leader is None or leader.manager is None:
            return "nobody leads"
        now = leader.manager.latest()
        return not_converged(self.hosts, now)

    async def _read_everything(self, clients: list[Client]) -> None:
        """Through whichever manager, twice each: what was acknowledged is there."""
        for client in clients * 2:
            while not await client.read_all():
                pass


async def _answering(work: Awaitable[T], answer: "asyncio.Future[T]", daemon: Daemon) -> None:
    try:
        result = await work
    except ShoalError as refused:
        if daemon.is_alive and not answer.done():
            answer.set_exception(refused)
    else:
        if daemon.is_alive and not answer.done():
            answer.set_result(result)


def _active(spec: NodeSpec) -> NodeSpec:
    return NodeSpec(role=spec.role)


def simulate(seed: int, *, length: float = 20.0, faults: Sequence[str] = (), tell: Callable[[str], None] = lambda line: None) -> World:
    """One life of a cluster. Raises Broken, or whatever ended it."""
    rng = Random(seed)
    with seeded_loop(Random(rng.getrandbits(64)), shuffles=rng.choice((0.0, 0.3, 1.0))) as loop:
        world = World(seed, loop, rng)
        world.trace.tell = lambda line: tell(f"{loop.time() - 1000:8.3f} {line}")
        loop.observe = world.observe
        run_until(loop, world.live(length, faults))
    return world
