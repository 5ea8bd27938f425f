"""This node's place in a swarm, or outside of one: founds, joins and leaves, and keeps the SwarmNode running in between.

Implements the ports that the HTTP API needs: `backend.Swarm` and `system.SwarmStatus`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, NamedTuple, assert_never

from cluster.aio.backoff import Backoff
from cluster.aio.clock import Clock
from cluster.aio.conversation import Conversation
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.assignment import LogChunk
from cluster.api.commands import Command, Outcome, UpdateCluster
from cluster.api.errors import Conflict, Internal, InvalidArgument, ShoalError, Unavailable
from cluster.api.features import LEVEL
from cluster.api.ids import Id
from cluster.api.states import Availability, Role
from cluster.rpc.identity import Identity, facts
from cluster.rpc.tokens import parse
from manager.allocator.room import crowded
from manager.logbroker.selection import LogRequest
from manager.raft.config import RaftStatus
from manager.store.snapshot import Snapshot
from manager.switchboard import Call
from node_agent import machine
from node_agent.addresses import routes, split_port
from node_agent.api import views
from node_agent.api.backend import InitRequest, JoinRequest, LocalState, ManagerView
from node_agent.api.refusals import by_manager
from node_agent.api.swarm import tls_info
from node_agent.api.swarm_events import EventLog
from node_agent.founding import found, write_founding
from node_agent.guests import GuestHouse
from node_agent.joining import ask_in, own_addresses
from node_agent.key_keeper import wanted_key
from node_agent.keylock import unlock_key
from node_agent.recovery import asked_addresses, force
from node_agent.state import NodeFacts, StateFolder, SwarmLocked
from node_agent.swarm_node import Ending, SwarmNode

log = logging.getLogger(__name__)

NOT_IN_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'
)
NOT_A_MANAGER = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. "
    "Please run this command on a manager node or promote the current node to a manager."
)
ALREADY_IN = 'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
STILL_JOINING = (
    "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. "
    'Use the "docker info" command to see the current swarm status of your node.'
)
STARTING = "This manager is still starting: try again in a moment"
_ACTIVE_WITHIN = 20.0
_UNLOCKED_WITHIN = 5.0
_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0
"""Seconds between two tries to be a member, when something like a taken port or a damaged log keeps this node from it."""


class Membership(NamedTuple):
    """What this node is to be: a member under this identity."""

    facts: NodeFacts
    identity: Identity
    availability: str
    """What the node asked for when it joined."""


Build = Callable[[Membership], SwarmNode]
Clear = Callable[[Id], Awaitable[None]]
"""Take what belongs to a cluster off this machine: containers that no worker ended, the folders of secrets."""


class LocalSwarm:
    def __init__(
        self,
        *,
        state: StateFolder,
        build: Build,
        clear: Clear,
        clock: Clock,
        rng: Random,
        advertise: str = "",
        feature_level: int = LEVEL,
    ) -> None:
        """`advertise`: an address or an interface, for init and join that name none."""
        self._state = state
        self._advertise = advertise
        self._build = build
        self._clear = clear
        self._level = feature_level
        self._clock = clock
        self._backoff = Backoff(first=_FIRST_RETRY, cap=_LAST_RETRY, rng=rng)
        self._problem = ""
        """Why this node cannot take its place; it is tried again and again."""
        self._node: SwarmNode | None = None
        self._wanted: Latest[Membership | None] = Latest(None)
        self._busy = asyncio.Lock()
        self._joining = False
        self._stopped = asyncio.Event()
        self._stopped.set()
        if not state.is_locked:
            self._begin()

    def _begin(self) -> None:
        """Be what the state folder says."""
        loaded = self._state.load()
        if loaded is None:
            return
        if facts(loaded[1].certificate).role is Role.WORKER and self._state.raft.exists():  # a daemon that died while its role changed
            self._state.set_raft_aside()
            self._state.forget_raft()
        self._wanted.set(Membership(*loaded, ""))

    async def run(self) -> None:
        """Be what we should be: a node of the swarm that the state folder says, or none. Never returns.

        What is wrong with this machine (a port that is taken, a damaged log, a full disk) is said in `docker info` and tried again: the
        daemon and the containers live. Only a defect of ours ends it.
        """
        async for wanted in self._wanted.values():
            while wanted is not None and wanted is self._wanted.value:
                try:
                    await self._after(await self._live(wanted), wanted)
                except* (ShoalError, OSError) as failed:
                    self._problem = "; ".join(dict.fromkeys(str(leaf) for leaf in _leaves(failed)))
                    delay = self._backoff.next()
                    log.error("this node cannot take its place in the swarm, next try in %.0f s: %s", delay, self._problem)
                    await first_of(self._left, partial(self._clock.sleep, delay))

    async def _live(self, wanted: Membership) -> Ending:
        self._stopped.clear()
        self._node = self._build(wanted)
        try:
            return await self._node.run(self._left)
        finally:
            self._node = None
            self._stopped.set()

    async def _left(self) -> None:
        """Returns once this node should stop being a member."""
        async for wanted in self._wanted.values():
            if wanted is None:
                return

    async def _after(self, ending: Ending, wanted: Membership) -> None:
        self._problem = ""
        self._backoff.reset()
        match ending:
            case Ending.ROLE_CHANGED | Ending.FENCED:
                if ending is Ending.FENCED:
                    self._state.set_raft_aside()
                loaded = self._state.load()
                if loaded is None:
                    raise Internal(f"the node's identity is gone from {self._state.swarm}")
                if facts(loaded[1].certificate).role is Role.WORKER:
                    self._state.forget_raft()
                self._wanted.set(Membership(*loaded, wanted.availability))
            case Ending.REMOVED:
                log.warning("this node was removed from the swarm")
                self._wanted.set(None)
                await self._forget(wanted.facts.cluster_id)
            case Ending.LEFT:
                pass
            case _:
                assert_never(ending)

    async def _forget(self, cluster_id: Id) -> None:
        """Nothing of the swarm stays here."""
        self._state.forget_swarm()
        self._problem = ""
        try:
            await self._clear(cluster_id)
        except (ShoalError, OSError) as failed:
            log.error("this node left the swarm, but containers or folders of it may be left: %s", failed)

    async def farewell(self) -> None:
        """The daemon is about to stop; the node stays a member."""
        if self._node is not None:
            await self._node.farewell()

    # -- what clients see ----------------------------------------------------------------------------------------------------------
    @property
    def state(self) -> LocalState:
        if self._state.is_locked:
            return LocalState.LOCKED
        if self._wanted.value is None:
            return LocalState.PENDING if self._joining else LocalState.INACTIVE
        if self._node is None or not self._node.active.value:
            return LocalState.ERROR if self._problem else LocalState.PENDING
        return LocalState.ACTIVE

    @property
    def node_id(self) -> Id:
        return self._wanted.value.facts.node_id if self._wanted.value else ""

    @property
    def node_addr(self) -> str:
        return split_port(self._wanted.value.facts.advertise_addr)[0] if self._wanted.value else ""

    @property
    def is_manager(self) -> bool:
        return self._node is not None and self._node.manager is not None

    @property
    def error(self) -> str:
        manager = self._node.manager if self._node is not None else None
        if manager is not None and manager.trouble:
            return manager.trouble
        return self._problem or (self._node.trouble if self._node is not None else "")

    def remote_managers(self) -> Mapping[Id, str]:
        if self._node is None:
            return {}
        manager = self._node.manager
        return {known.node_id: known.addr for known in (manager.manager_addrs() if manager else self._node.managers())}

    def managers(self) -> Mapping[Id, ManagerView]:
        manager = self._node.manager if self._node else None
        members = manager.members() if manager else {}
        return {
            node_id: ManagerView(addr=member.addr, leader=member.leader, reachable=member.reachable) for node_id, member in members.items()
        }

    def ping(self) -> str:
        state = self.state
        if state is not LocalState.ACTIVE:
            return state.value
        return "active/manager" if self.is_manager else "active/worker"

    async def follow(self, events: EventLog) -> None:
        """Feed the event log from the store of whatever node this is at the time. Never returns."""
        while True:
            node = self._node
            if node is None or node.manager is None:
                await self._clock.sleep(0.1)
                continue
            await first_of(partial(events.follow, node.manager.store.latest), self._stopped.wait)

    def warnings(self) -> Sequence[str]:
        now = self.latest()
        return () if now is None else [f"WARNING: {said}" for said in crowded(now)]

    async def info(self) -> Mapping[str, Any]:
        remote = self.remote_managers()
        shown: dict[str, Any] = {
            "NodeID": self.node_id,
            "NodeAddr": self.node_addr,
            "LocalNodeState": self.state.value,
            "ControlAvailable": self.is_manager and self.state is LocalState.ACTIVE,
            "Error": self.error,
            "RemoteManagers": [{"NodeID": node_id, "Addr": addr} for node_id, addr in sorted(remote.items())] or None,
        }
        now = self.latest()
        if now is not None and now.cluster is not None:
            shown["Nodes"] = len(now.nodes)
            shown["Managers"] = sum(node.member is not None for node in now.nodes.values())
            shown["Cluster"] = views.cluster(now.cluster, tls_info=tls_info(now.cluster))
        return shown

    # -- what managers do ------------------------------------------------------------------------------------------------------------
    def _manager(self) -> Any:
        if self._node is not None and self._node.manager is not None:
            return self._node.manager
        raise Unavailable(self._why_no_manager())

    def _why_no_manager(self) -> str:
        if self._state.is_locked:
            return str(SwarmLocked())
        if self._wanted.value is None:
            return NOT_IN_SWARM
        if self._role is Role.WORKER:
            return NOT_A_MANAGER
        return f"{STARTING} ({self._problem})" if self._problem else STARTING

    @property
    def _role(self) -> Role | None:
        """What our certificate says, whether or not we could take that place."""
        return facts(self._wanted.value.identity.certificate).role if self._wanted.value else None

    async def read(self) -> Snapshot:
        now: Snapshot = await self._manager().read()
        return now

    def latest(self) -> Snapshot | None:
        return self._node.manager.latest() if self._node is not None and self._node.manager is not None else None

    def live_tasks(self) -> int:
        """How many tasks are alive on this node."""
        side = self._node.worker_side if self._node is not None else None
        return len(side.worker.live_tasks) if side is not None else 0

    @property
    def guests(self) -> GuestHouse | None:
        """Containers of this node that join networks by themselves."""
        side = self._node.worker_side if self._node is not None else None
        return None if side is None else side.guests

    def network_names(self) -> Mapping[Id, str]:
        """The swarm's networks as far as this node knows them: id -> name."""
        if (now := self.latest()) is not None:
            return {network.id: network.spec.name for network in now.networks.values()}
        side = self._node.worker_side if self._node is not None else None
        return {} if side is None else {key: network.name for key, network in side.plane.known.networks.items()}

    def raft_status(self) -> RaftStatus | None:
        return self._node.manager.raft_status() if self._node is not None and self._node.manager is not None else None

    async def execute(self, command: Command) -> Outcome:
        try:
            outcome: Outcome = await self._manager().execute(command)
        except ShoalError as refused:
            raise by_manager(refused) from refused
        if isinstance(command, UpdateCluster):
            await self._wait_sealed()
        return outcome

    async def _wait_sealed(self) -> None:
        """What was said of autolock is true of this manager's own disk when its user hears that it is done."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_UNLOCKED_WITHIN):
                while (now := self.latest()) is not None and not self._state.is_locked_with(wanted_key(now) or ""):
                    await self._clock.sleep(0.02)

    def draw_id(self) -> Id:
        return machine.draw_id()

    def draw_secret(self) -> str:
        return machine.draw_secret()

    def draw_unlock_key(self) -> str:
        return unlock_key(machine.draw_key())

    def logs(self, request: LogRequest) -> AsyncIterator[LogChunk]:
        chunks: AsyncIterator[LogChunk] = self._manager().log_broker.subscribe(request)
        return chunks

    async def connect(self, task_id: Id, here: Conversation) -> Call:
        call: Call = await self._manager().switchboard.connect(task_id, here)
        return call

    def _addresses(self, request: InitRequest | JoinRequest) -> tuple[str, str, str]:
        return own_addresses(request.listen_addr, request.advertise_addr or self._advertise, request.data_path_addr)

    # -- founding, joining, leaving ---------------------------------------------------------------------------------------------------
    async def init(self, request: InitRequest) -> Id:
        async with self._busy:
            if request.force_new_cluster and (self._wanted.value is not None or self._state.is_locked):
                return await self._force(request)
            self._refuse_members()
            listen, advertise, data_path = self._addresses(request)
            self._state.forget_swarm()
            here, now = tuple(routes()), self._clock.wall()
            founded = found(
                request,
                listen=listen,
                advertise=advertise,
                data_path=data_path,
                subnets=here,
                now=now,
                feature_level=self._level,
            )
            await asyncio.to_thread(write_founding, self._state, founded)
            self._wanted.set(Membership(founded.facts, founded.identity, ""))
            await self._wait_active()
            return founded.facts.node_id

    def _refuse_members(self) -> None:
        if self._wanted.value is not None or self._state.is_locked:
            raise Unavailable(ALREADY_IN)

    async def _force(self, request: InitRequest) -> Id:
        """Go on as the only manager. For the containers here it is a restart of the daemon."""
        present = self._wanted.value
        if present is None or self._role is not Role.MANAGER:
            raise Unavailable(self._why_no_manager())
        addresses = asked_addresses(request, present.facts)
        self._wanted.set(None)
        await self._stopped.wait()
        forced = present
        try:
            forced = Membership(*await asyncio.to_thread(force, self._state, addresses, now=self._clock.wall()), "")
        finally:
            self._wanted.set(forced)
        await self._wait_active()
        return forced.facts.node_id

    async def unlock(self, key: str) -> None:
        """Waits a while for this manager to be one again; that may need others to be unlocked too."""
        async with self._busy:
            if not self._state.is_locked:
                self._manager()
                raise Conflict("swarm is not locked")
            self._state.unlock(key)
            self._begin()
            with suppress(Unavailable):
                await self._wait_active(within=_UNLOCKED_WITHIN)

    async def join(self, request: JoinRequest) -> None:
        async with self._busy:
            self._refuse_members()
            token = parse(request.join_token)
            if not request.remote_addrs:
                raise InvalidArgument("at least one RemoteAddr is required to join")
            if request.availability not in {"", *(one.value for one in Availability)}:
                raise InvalidArgument(f"invalid Availability: {request.availability!r}")
            listen, advertise, data_path = self._addresses(request)
            self._state.forget_swarm()
            self._joining = True
            try:
                node, identity = await ask_in(
                    request.remote_addrs, token, listen=listen, advertise=advertise, data_path=data_path, feature_level=self._level
                )
            finally:
                self._joining = False
            self._state.save_identity(identity)
            self._state.save(node)
            self._wanted.set(Membership(node, identity, request.availability))
            await self._wait_active()

    async def _wait_active(self, within: float = _ACTIVE_WITHIN) -> None:
        try:
            async with asyncio.timeout(within):
                while self.state is not LocalState.ACTIVE:
                    if self._wanted.value is None:
                        raise Unavailable("the swarm removed this node while it joined")
                    await self._clock.sleep(0.02)
        except TimeoutError:
            reason = self.error
            raise Unavailable(STILL_JOINING + (f" ({reason})" if reason else "")) from None

    async def leave(self, *, force: bool) -> None:
        async with self._busy:
            member = self._wanted.value
            if self._state.is_locked:
                await self._leave_locked(force=force)
                return
            if member is None:
                raise Unavailable("This node is not part of a swarm")
            node = self._node
            if self._role is Role.MANAGER and not force:
                raise Unavailable(self._manager_leaves())
            if node is not None:
                await node.leave(force=force)
            self._wanted.set(None)
            await self._stopped.wait()
            await self._forget(member.facts.cluster_id)

    async def _leave_locked(self, *, force: bool) -> None:
        node = self._state.load_facts()
        if not force or node is None:
            raise SwarmLocked
        await self._forget(node.cluster_id)

    def _manager_leaves(self) -> str:
        """Docker's words for a manager that leaves without --force."""
        members = self.managers()
        reachable = sum(view.reachable for view in members.values())
        text = "You are attempting to leave the swarm on a node that is participating as a manager. "
        if len(members) <= 1:
            return text + "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message."
        if reachable - 1 <= (len(members) - 1) // 2:
            text += f"Removing this node leaves {reachable - 1} managers out of {len(members)}. "
            text += "Without a Raft quorum your swarm will be inaccessible. "
        return text + (
            "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. "
            "Use `--force` to suppress this message."
        )


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]
