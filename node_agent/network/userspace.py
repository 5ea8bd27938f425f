"""The data plane of a node whose kernel may not be programmed: published ports, carried on by a process of ours.

Same endpoints and tasks as `plane`; what they come to is a plan for the process that balances (`balance`). There are no overlays and no
virtual addresses: a task that needs one is refused with the reason, and the scheduler does not send it here.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from cluster.aio.clock import Clock
from cluster.aio.supervise import first_of
from cluster.api.assignment import AssignedTask
from cluster.api.endpoint import EndpointUpdate, OverlayNetwork, Peer
from cluster.api.ids import Id
from node_agent.network import asking, memory, view
from node_agent.network.balance.driver import SOCKET, BalanceDriver, BalancerGone
from node_agent.network.balance.plan import BalancePlan, Report
from node_agent.network.bridges import Bridges
from node_agent.network.connections import listening, open_in, sockets_of
from node_agent.network.gathered import NOTHING_GATHERED, Gathered, Gatherer
from node_agent.network.ingress import Holding
from node_agent.network.naming import GATEWAY_BRIDGE
from node_agent.network.netns import identity, of_pid
from node_agent.network.plane import STATE_FILE
from node_agent.network.ports import EngineNetworks
from node_agent.network.routes import Route
from node_agent.network.sandbox import engine_networks, predefined_network
from node_agent.network.trouble import Trouble, held_ports
from node_agent.network.view import Known, LocalTask, View
from worker.ports import ContainerState, EngineError, EngineNetwork, SandboxError, SandboxPlan

log = logging.getLogger(__name__)
MISSING = (
    "a process balances published ports, and tasks see a node's address in place of the client's; UDP by IPv6 is not served; "
    "no overlay networks, so no virtual addresses and no names of services"
)
"""What a node without the kernel's plane does otherwise, or not at all."""


def balance_plan(known: Known, gathered: Gathered, *, node_id: Id) -> BalancePlan:
    """What follows from what this node knows. Pure."""
    me = known.view.peers.get(node_id)
    if me is None:
        return BalancePlan()
    others = [peer for peer in known.view.peers.values() if peer.node_id != node_id]
    return BalancePlan(
        me=me.addr,
        port=known.view.vxlan_port,
        published=gathered.published,
        relays=_addresses(peer for peer in others if not peer.linked),
        linked=_addresses(peer for peer in others if peer.linked),
    )


def _addresses(peers: Iterable[Peer]) -> tuple[str, ...]:
    return tuple(sorted(peer.addr for peer in peers))


class UserPlane:
    """Implements `data_plane.DataPlane`."""

    def __init__(
        self,
        *,
        node_id: Id,
        runtime: Path,
        engine: EngineNetworks,
        clock: Clock,
        reason: str,
        namespace: Path | None = None,
        repair_seconds: float = 10.0,
        on_trouble: Callable[[tuple[str, ...]], None] = lambda _: None,
    ) -> None:
        """`reason`: why it is not the kernel's. `on_trouble` is told what users of the cluster should know is wrong on this host."""
        self._node_id = node_id
        self._runtime = runtime
        self._clock = clock
        self._reason = reason
        self._repair_seconds = repair_seconds
        self._known = Known()
        self._coming: View | None = None
        self._applied = 0
        self._gatherer = Gatherer()
        self._bridges = Bridges(engine, _no_routes)
        self._balancer = BalanceDriver(control=runtime / SOCKET, namespace=namespace)
        self._memory = memory.Memory(runtime / STATE_FILE)
        self._trouble = Trouble(on_trouble)
        self._turn = asyncio.Lock()

    # -- life --------------------------------------------------------------------------------------------------------------------------
    async def __aenter__(self) -> "UserPlane":
        self._runtime.mkdir(parents=True, exist_ok=True)
        self._known = await asyncio.to_thread(self._memory.load)
        await self.repair()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go; the process goes on balancing."""
        await self._balancer.close()

    async def run(self) -> None:
        while True:
            await first_of(lambda: self._clock.sleep(self._repair_seconds), self._balancer.wait_gone)
            await self.repair()

    async def repair(self) -> None:
        """One look, now."""
        try:
            await self._bridges.look()
        except EngineError as problem:
            log.warning("data plane: %s", problem)
        await self._settle(recheck=True)

    async def clear(self) -> None:
        async with self._turn:
            self._known = Known()
            await self._balancer.stop()
            await self._bridges.look()
            if held := await self._bridges.sweep(lambda _: False):
                log.warning("data plane: the engine keeps the bridges of %s, as containers are on them", ", ".join(held))
            else:  # else there is something left to clear
                self._memory.forget()

    # -- rounds ------------------------------------------------------------------------------------------------------------------------
    async def _settle(self, *, recheck: bool = False) -> None:
        """Have the process do what follows from what is known by now."""
        async with self._turn:
            known = self._known
            me = known.view.peers.get(self._node_id)
            gathered = NOTHING_GATHERED if me is None else self._gatherer.gather(known, me)
            try:
                report = await self._balancer.hold(balance_plan(known, gathered, node_id=self._node_id), recheck=recheck)
            except BalancerGone as gone:
                log.warning("data plane: %s", gone)
                return
            self._trouble.tell(self._wrong(gathered, report))
            self._applied = known.view.version
            if self._memory.lacks(known):
                await asyncio.to_thread(self._memory.keep, known)

    def _wrong(self, gathered: Gathered, report: Report) -> tuple[str, ...]:
        balancing = f"only published ports, and those in userspace, since {self._reason}"
        relay = (f"other nodes cannot send connections here: {report.relay}",) if report.relay else ()
        return (balancing, *relay, *held_ports(gathered.publishing.values(), Holding(taken=dict(report.taken))))

    async def update(self, update: EndpointUpdate, *, more: bool = False) -> int:
        self._coming = view.merge(self._coming or self._known.view, update)
        if not more:
            self._known, self._coming = view.with_view(self._known, self._coming), None
            await self._settle()
        return self._applied

    # -- tasks: the Sandbox port -------------------------------------------------------------------------------------------------------
    async def serve(self, networks: Sequence[OverlayNetwork]) -> None:
        self._known = view.serve(self._known, networks)

    async def prepare(self, task: AssignedTask) -> SandboxPlan:
        """The engine's resolver answers the task, as it does any container of that bridge."""
        if name := predefined_network(task):
            return SandboxPlan(networks=(EngineNetwork(name=name),))
        local = view.local_task(task, self._known)
        if local is None:
            return SandboxPlan(networks=(EngineNetwork(name="bridge"),))
        self._refuse_overlays(local)
        known_before = task.id in self._known.tasks
        self._known = view.with_task(self._known, local)
        try:
            await self._bridges.need_gateway(0)
        except BaseException:
            if not known_before:
                self._known = view.without_task(self._known, task.id)
            raise
        await self._settle()
        return SandboxPlan(networks=engine_networks({}, uses_gateway=local.uses_gateway, internal={}))

    def _refuse_overlays(self, local: LocalTask) -> None:
        if key := next(iter(local.addresses), ""):
            name = self._known.networks[key].name if key in self._known.networks else key
            raise SandboxError(
                f"network {name} cannot be set up on this node, since {self._reason}: give shoald what it lacks, "
                "or keep the service to other nodes (--constraint)"
            )

    async def attach(self, task: AssignedTask, container: ContainerState) -> None:
        local = None if predefined_network(task) else view.local_task(task, self._known)
        if local is None or not container.pid:
            return
        namespace, at_gateway = identity(of_pid(container.pid)), container.addresses.get(GATEWAY_BRIDGE, "")
        self._known = view.with_start(self._known, local, pid=container.pid, namespace=namespace, gateway_address=at_gateway)
        await self._settle()

    async def withdraw(self, task_id: Id) -> None:
        await self._learn(view.with_withdrawn(self._known, task_id, withdrawn=True))

    async def admit(self, task_id: Id) -> None:
        await self._learn(view.with_withdrawn(self._known, task_id, withdrawn=False))

    async def _learn(self, known: Known) -> None:
        if known is not self._known:
            self._known = known
            await self._settle()

    async def skip(self, silent: frozenset[Id]) -> None:
        await self._learn(view.with_silent(self._known, silent))

    async def ask(self, task: AssignedTask, container: ContainerState, port: int, request: bytes) -> bytes:
        """From outside of its namespace, which may not be entered; the host reaches it by the engine's bridge."""
        return await asking.ask(None, asking.address_of(task, container), port, request)

    async def open_connections(self, task_id: Id) -> int:
        local = self._known.tasks.get(task_id)
        if local is None:
            return 0
        return await asyncio.to_thread(open_in, local.pid, local.namespace, (local.gateway_address,))

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
        if not self._uses_gateway():
            await self._bridges.leave(GATEWAY_BRIDGE, still_used=self._uses_gateway)

    def _uses_gateway(self) -> bool:
        return any(task.uses_gateway for task in self._known.tasks.values())

    # -- guests ------------------------------------------------------------------------------------------------------------------------
    @property
    def known(self) -> Known:
        return self._known

    async def welcome(self, guest: LocalTask, networks: Sequence[OverlayNetwork]) -> str:  # noqa: ARG002 - none is
        raise SandboxError(f"containers cannot join the cluster's networks on this node, since {self._reason}")

    async def seat(self, guests: Mapping[Id, LocalTask]) -> None:
        """There are none."""


async def _no_routes() -> tuple[list[Route], Mapping[int, str]]:
    """Bridges of overlays are not made here: nothing has to keep off the host's routes."""
    return [], {}
