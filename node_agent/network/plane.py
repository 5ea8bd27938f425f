"""The data plane of a node: takes in endpoints and tasks, keeps the kernel and the name server equal to what they imply.

Everything that is told changes one value, `Known`; then a round makes the kernel hold what follows from it. Rounds run one at a time in a
worker thread, and whoever tells something waits for the end of a round that began after: many changes share one round. A
round is the same after a restart, an `nft flush` or a lost bridge: what is there is compared with what must be there.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from cluster.aio.clock import Clock
from cluster.aio.supervise import background, first_of
from cluster.api.assignment import AssignedTask
from cluster.api.endpoint import EndpointUpdate, OverlayNetwork
from cluster.api.ids import Id
from node_agent.network import asking, memory, view
from node_agent.network.balance.driver import stop_left
from node_agent.network.bridges import Bridges
from node_agent.network.commits import Commits
from node_agent.network.connections import listening, open_in, sockets_of
from node_agent.network.crypt.driver import Encryption, choose
from node_agent.network.desired import NOTHING_DESIRED, Desired, desired, mtu_of
from node_agent.network.dns.client import NameServer, NameServerGone
from node_agent.network.gathered import NOTHING_GATHERED, Gathered, Gatherer
from node_agent.network.holding import PortHolder
from node_agent.network.ingress import Holding
from node_agent.network.kernel import Kernel, Outcome
from node_agent.network.names import zone_of
from node_agent.network.naming import GATEWAY_BRIDGE
from node_agent.network.netns import identity, of_pid
from node_agent.network.ports import EngineNetworks
from node_agent.network.relay import Relay, by_ipv4
from node_agent.network.sandbox import engine_networks, predefined_network, resolv_conf_of
from node_agent.network.trouble import Trouble, held_ports, homeless
from node_agent.network.view import Known, LocalTask, View
from worker.ports import ContainerState, EngineError, EngineNetwork, SandboxError, SandboxPlan

log = logging.getLogger(__name__)
T = TypeVar("T")
STATE_FILE = "network.state"
FOREIGN_SECONDS = 1.0
"""At least this long between two looks because of what others commit: Docker does so for every container."""
ORPHAN_SECONDS = 60.0
"""A bridge without a known user is left alone this long after a start: its tasks may not have been re-adopted yet."""


class Plane:
    """Implements `worker.ports.Sandbox`. Use as `async with Plane(...) as plane`, with `plane.run` beside it."""

    def __init__(
        self,
        *,
        node_id: Id,
        runtime: Path,
        engine: EngineNetworks,
        clock: Clock,
        namespace: Path | None = None,
        resolv_conf: Path = Path("/etc/resolv.conf"),
        repair_seconds: float = 10.0,
        on_trouble: Callable[[tuple[str, ...]], None] = lambda _: None,
    ) -> None:
        """`on_trouble` is told what users of the cluster should know is wrong on this host."""
        self._node_id = node_id
        self._runtime = runtime
        self._clock = clock
        self._namespace = namespace
        self._repair_seconds = repair_seconds
        self._known = Known()
        self._coming: View | None = None
        """An update of which more is to come."""
        self._memory = memory.Memory(runtime / STATE_FILE)
        self._mtu = 1500
        self._homeless = ""
        self._gatherer = Gatherer()
        self._wanted = NOTHING_DESIRED
        self._applied = 0
        self._programmed: frozenset[Id] = frozenset()
        self._outcome = Outcome()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="data-plane")
        self._kernel: Kernel | None = None
        self._bridges = Bridges(engine, lambda: self._in_worker(lambda kernel: kernel.host_routes()))
        self._ports = PortHolder(namespace)
        self._relay: Relay[int] = Relay(namespace, by_ipv4)
        self._trouble = Trouble(on_trouble)
        self._commits: Commits | None = None
        self._names = NameServer(control=runtime / "dns.sock", namespace=namespace, resolv_conf=resolv_conf)
        self.encryption = Encryption(choose(control=runtime / "crypt.sock", namespace=namespace))
        self._turn = asyncio.Lock()
        self._asked = 0
        self._done = 0
        self._started = 0.0

    # -- life --------------------------------------------------------------------------------------------------------------------------
    async def __aenter__(self) -> "Plane":
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def open(self) -> None:
        """Take up what a daemon before us knew, and see that the kernel still holds it."""
        self._started = self._clock.monotonic()
        self._runtime.mkdir(parents=True, exist_ok=True)
        self._known = await asyncio.to_thread(self._memory.load)
        self._commits = Commits(self._namespace)
        await stop_left(self._runtime)
        await self.repair()

    async def close(self) -> None:
        """Let go. Kernel and name server go on as they are; the next daemon takes up from there."""
        await self._names.close()
        await self.encryption.close()
        if self._commits is not None:
            self._commits.close()
        if self._kernel is not None:
            await self._in_worker(Kernel.close)
        self._give_up_ports()
        self._worker.shutdown()

    async def clear(self) -> None:
        """The node leaves the cluster: take everything of ours off it. Tasks must be gone by now."""
        async with self._turn:
            mark_base = self._known.view.mark_base
            self._known = Known()
            await self._names.stop()
            await self.encryption.stop()
            await stop_left(self._runtime)
            self._give_up_ports()
            await self._in_worker(lambda kernel: kernel.clear(mark_base))
            await self._bridges.look()
            if held := await self._bridges.sweep(lambda _: False):
                log.warning("data plane: the engine keeps the bridges of %s, as containers are on them", ", ".join(held))
            else:  # else there is something left to clear
                self._memory.forget()

    def _give_up_ports(self) -> None:
        self._relay.serve({})
        self._ports.close()

    async def run(self) -> None:
        """Look whether everything is still as it should be, for ever; at once when a process beside us ended or nftables was changed."""
        async with background(self._relay.run, self._look_again):
            await asyncio.get_running_loop().create_future()

    async def _look_again(self) -> None:
        while True:
            ended = (self._names.wait_gone, self.encryption.wait_gone)
            await first_of(lambda: self._clock.sleep(self._repair_seconds), *ended, self._wait_foreign)
            await self.repair()

    async def _wait_foreign(self) -> None:
        """Until somebody else changed nftables here, but not right after the last look."""
        await self._clock.sleep(FOREIGN_SECONDS)
        if self._commits is not None:
            await self._commits.wait_foreign()

    async def repair(self) -> None:
        """One look, now."""
        try:
            await self._bridges.look()
            await self._mend_bridges()
            for key in self._known.used_networks:
                if key in self._known.networks:
                    await self._need_bridge(self._known.networks[key])
            if self._known.view.version and self._clock.monotonic() - self._started > ORPHAN_SECONDS:
                await self._bridges.sweep(self._is_used)
        except (EngineError, SandboxError, OSError) as problem:
            log.warning("data plane: %s", problem)
        try:
            await self._settle(recheck=True)
        except OSError as problem:
            log.warning("data plane: %s", problem)

    async def _mend_bridges(self) -> None:
        for one in await self._in_worker(lambda kernel: kernel.missing(self._bridges.there)):
            await self._bridges.mend(one, lambda one: self._in_worker(lambda kernel: kernel.make_bridge(one)))

    # -- rounds ------------------------------------------------------------------------------------------------------------------------
    async def _settle(self, *, recheck: bool = False) -> None:
        """Wait for the end of a round that began after this call."""
        self._asked += 1
        ticket = self._asked
        async with self._turn:
            if self._done < ticket or recheck:
                covers = self._asked
                await self._round(recheck=recheck)
                self._done = covers

    async def _round(self, *, recheck: bool) -> None:
        known = self._known
        wanted, gathered, holding, outcome = await self._in_worker(lambda kernel: self._hold(kernel, known, recheck))
        unsealed = await self.encryption.hold(wanted.encryption, recheck=recheck)
        self._outcome = msgspec.structs.replace(outcome, tunnels={**outcome.tunnels, **unsealed})
        self._relay.serve(self._ports.relays)
        trouble = (*held_ports(gathered.publishing.values(), holding), *self.encryption.trouble)
        self._trouble.tell((*filter(None, (self._homeless,)), *trouble))
        if known.view.version:
            self._trouble.say({*self._outcome.tunnels.values(), self._outcome.node, *self._outcome.sandboxes.values()} - {""})
        self._programmed = frozenset(wanted.sandboxes.keys() - self._outcome.sandboxes.keys())
        if self._outcome.complete:
            self._applied = known.view.version
        await self._feed_names(known, gathered)
        if self._memory.lacks(known):
            await asyncio.to_thread(self._memory.keep, known)

    def _hold(self, kernel: Kernel, known: Known, recheck: bool) -> tuple[Desired, Gathered, Holding, Outcome]:
        me = known.view.peers.get(self._node_id)
        if recheck:
            self._mtu = kernel.mtu_at("" if me is None else me.addr)
            self._homeless = "" if me is None or kernel.has_address(me.addr) else homeless(me.addr)
        gathered = NOTHING_GATHERED if me is None else self._gatherer.gather(known, me)
        holding = self._ports.hold(gathered.published, recheck=recheck)
        before, at = NOTHING_DESIRED if recheck else self._wanted, self._bridges.gateway
        wanted = desired(known, gathered, node_id=self._node_id, underlay_mtu=self._mtu, gateway=at, holding=holding, before=before)
        self._wanted = wanted
        where = {task.task_id: (task.pid, task.namespace) for task in known.tasks.values()}
        outcome = kernel.hold(wanted, where, recheck=recheck)
        self._ports.listen()
        return wanted, gathered, holding, outcome

    async def _feed_names(self, known: Known, gathered: Gathered) -> None:
        """After the kernel: a name must not lead to a VIP that is not there yet. Before any task is known there is nobody to answer."""
        if not known.tasks and not self._bridges.gateways:
            return
        zone = zone_of(known, gathered, gateways=self._bridges.gateways, programmed=self._programmed)
        try:
            for problem in (await self._names.feed(zone)).values():
                log.warning("data plane: %s", problem)
        except NameServerGone as gone:
            log.warning("data plane: %s", gone)

    async def _in_worker(self, step: Callable[[Kernel], T]) -> T:
        def stepping() -> T:
            if self._kernel is None:
                self._kernel = Kernel(self._namespace)
            return step(self._kernel)

        return await asyncio.get_running_loop().run_in_executor(self._worker, stepping)

    def _files_of(self, task_id: Id) -> Path:
        return self._runtime / "tasks" / task_id

    # -- endpoints ---------------------------------------------------------------------------------------------------------------------
    async def update(self, update: EndpointUpdate, *, more: bool = False) -> int:
        """Returns the version that this node's kernel holds by now, to be acknowledged: this one, unless something could not be done.

        With `more`, the update goes on in the next call and counts once it is whole: its first part would forget every service.
        """
        before = self._known.view
        self.encryption.learn(update)
        self._coming = view.merge(self._coming or before, update)
        if more:
            return self._applied
        self._known, self._coming = view.with_view(self._known, self._coming), None
        try:
            await self._settle(recheck=self._node_id not in before.peers)
        except OSError as problem:
            log.warning("data plane: %s", problem)
        return self._applied

    # -- tasks: the Sandbox port -------------------------------------------------------------------------------------------------------
    async def serve(self, networks: Sequence[OverlayNetwork]) -> None:
        self._known = view.serve(self._known, networks)

    async def prepare(self, task: AssignedTask) -> SandboxPlan:
        if name := predefined_network(task):
            return SandboxPlan(networks=(EngineNetwork(name=name),))
        local = view.local_task(task, self._known)
        if local is None:
            return SandboxPlan(networks=(EngineNetwork(name="bridge"),))
        known_before = task.id in self._known.tasks
        self._known = view.with_task(self._known, local)
        try:
            await self._connect(task, local)
        except BaseException:
            if not known_before:
                self._known = view.without_task(self._known, task.id)
            raise
        networks = self._known.networks
        internal = {key: networks[key].internal for key in local.addresses}
        plan = engine_networks(local.addresses, uses_gateway=local.uses_gateway, internal=internal)
        resolv = await asyncio.to_thread(
            memory.keep_resolv_conf, self._files_of(task.id), resolv_conf_of(task, self._name_server_of(local))
        )
        return SandboxPlan(networks=plan, binds=((str(resolv), "/etc/resolv.conf"),))

    async def _connect(self, task: AssignedTask, local: LocalTask) -> None:
        await self._need_bridges(task.name, local)
        await self._settle()
        for key in local.addresses:
            if problem := self._outcome.tunnels.get(key):
                raise SandboxError(f"network {self._known.networks[key].name} cannot be set up on this node: {problem}")

    async def _need_bridges(self, name: str, local: LocalTask) -> None:
        for key in local.addresses:
            network = self._known.networks.get(key)
            if network is None:
                raise SandboxError(f"task {name} is on network {key}, which this node was not told of")
            await self._need_bridge(network)
        if local.uses_gateway and await self._bridges.need_gateway(self._mtu):
            await self._in_worker(Kernel.open_gateway)

    async def _need_bridge(self, network: OverlayNetwork) -> None:
        await self._bridges.need(network, mtu_of(network, self._mtu))

    def _name_server_of(self, local: LocalTask) -> str:
        gateways = self._bridges.gateways
        reachable = [gateways[key] for key in local.addresses if key in gateways]
        return reachable[0] if reachable else gateways.get(GATEWAY_BRIDGE, "")

    async def attach(self, task: AssignedTask, container: ContainerState) -> None:
        local = None if predefined_network(task) else view.local_task(task, self._known)
        if local is None or not container.pid:
            return
        namespace, at_gateway = identity(of_pid(container.pid)), container.addresses.get(GATEWAY_BRIDGE, "")
        self._known = view.with_start(self._known, local, pid=container.pid, namespace=namespace, gateway_address=at_gateway)
        await self._need_bridges(task.name, local)
        await self._settle()
        problem = self._outcome.sandboxes.get(task.id)
        if problem and identity(of_pid(container.pid)) == namespace != 0:
            raise SandboxError(f"the services of task {task.name} cannot be programmed in its namespace: {problem}")

    async def skip(self, silent: frozenset[Id]) -> None:
        """Send nothing new to the tasks of these nodes while others are left."""
        await self._learn(view.with_silent(self._known, silent))

    # -- guests ------------------------------------------------------------------------------------------------------------------------
    @property
    def known(self) -> Known:
        return self._known

    async def welcome(self, guest: LocalTask, networks: Sequence[OverlayNetwork]) -> str:
        """Before its container is created: bridge and names are ready for it. Returns where it shall ask for names."""
        self._known = view.with_task(view.serve(self._known, networks), guest)
        try:
            await self._need_bridges(guest.container_name, guest)
            await self._settle()
        except BaseException:
            self._known = view.without_task(self._known, guest.task_id)
            raise
        return self._name_server_of(guest)

    async def seat(self, guests: Mapping[Id, LocalTask]) -> None:
        """How the guests are now: by id, each with its addresses and its process."""
        tasks = {key: task for key, task in self._known.tasks.items() if not task.guest or key in guests}
        if (after := {**tasks, **guests}) != self._known.tasks:
            self._known = msgspec.structs.replace(self._known, tasks=after)
            await self._settle()

    async def withdraw(self, task_id: Id) -> None:
        await self._learn(view.with_withdrawn(self._known, task_id, withdrawn=True))

    async def admit(self, task_id: Id) -> None:
        await self._learn(view.with_withdrawn(self._known, task_id, withdrawn=False))

    async def _learn(self, known: Known) -> None:
        if known is not self._known:
            self._known = known
            await self._settle()

    async def ask(self, task: AssignedTask, container: ContainerState, port: int, request: bytes) -> bytes:
        return await asking.ask(container.pid, asking.address_of(task, container), port, request)

    async def open_connections(self, task_id: Id) -> int:
        local = self._known.tasks.get(task_id)
        if local is None:
            return 0
        return await asyncio.to_thread(open_in, local.pid, local.namespace, (*local.addresses.values(), local.gateway_address))

    async def listening(self, task_id: Id) -> frozenset[int] | None:
        local = self._known.tasks.get(task_id)
        if local is None or not local.pid:
            return None
        return listening(await asyncio.to_thread(sockets_of, local.pid))

    async def remove(self, task_id: Id) -> None:
        local = self._known.tasks.get(task_id)
        if local is None:
            return
        self._known = view.without_task(self._known, task_id)
        await self._settle()
        for key in [*local.addresses, *([GATEWAY_BRIDGE] if local.uses_gateway else [])]:
            if not self._is_used(key):
                await self._bridges.leave(key, still_used=lambda key=key: self._is_used(key))  # type: ignore[misc]
        await self._settle()
        await asyncio.to_thread(memory.forget_resolv_conf, self._files_of(task_id))

    def _is_used(self, key: str) -> bool:
        tasks = self._known.tasks.values()
        return any(key in task.addresses or (key == GATEWAY_BRIDGE and task.uses_gateway) for task in tasks)
