"""This node as a member of a swarm, from when it has an identity until its role changes or it is out.

A change of role ends it and the daemon starts it anew with the new certificate; the worker finds its containers again, as after any
restart, so no container notices.
"""

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from msgspec.structs import replace

from cluster.aio.latest import Latest
from cluster.aio.supervise import background, first_of
from cluster.api.assignment import Endpoints, LogOrder, ManagerAddr, ManagersChanged, ReachOrder, Welcome
from cluster.api.contracts import Membership, Taken
from cluster.api.errors import Fenced, NodeRemoved, ShoalError, Unavailable
from cluster.api.states import Role
from cluster.rpc.identity import Identity, facts, issuer_facts, issuer_of
from cluster.rpc.pool import Remotes
from manager.manager import Manager
from node_agent.leaving import remove_containers
from node_agent.manager_link import ask_leader
from node_agent.manager_side import managing
from node_agent.parts import NodeParts
from node_agent.renewal import Renewal, expired, renewed
from node_agent.state import NodeFacts
from node_agent.worker_side import WorkerSide, working

log = logging.getLogger(__name__)

AWAY_MS = 30_000
"""For how long a daemon that stops may be away before its tasks are moved."""
FAREWELL_WITHIN = 4.0
EMPTY_WITHIN = 60.0
"""Seconds that the tasks of a node that leaves have to end; then their containers are killed."""


class Ending(enum.Enum):
    """Why a node's membership ended."""

    ROLE_CHANGED = "role changed"
    REMOVED = "removed from the swarm"
    FENCED = "set aside by a new cluster that was forced"
    LEFT = "left"


class SwarmNode:
    """`run` it; it listens to its own session (worker.session.Listener)."""

    def __init__(self, parts: NodeParts, node: NodeFacts, identity: Identity, *, availability: str) -> None:
        self._parts = parts
        self._node = node
        self._availability = availability
        self._identity = Latest(identity)
        self.role = facts(identity.certificate).role
        self.manager: Manager | None = None
        self.worker_side: WorkerSide | None = None
        self.active = Latest(False)
        """Whether a manager has welcomed this node."""
        self.trouble = ""
        """Why there is no session with a manager, if there is none."""
        self.is_leaving = False
        """Set before the managers are told: their answer, another role or no place at all, must not end what is still being ended."""
        self._ending = Ending.LEFT
        self._ended = asyncio.Event()
        self._endpoints: asyncio.Queue[Endpoints] = asyncio.Queue()
        self._fenced = Latest("")
        """Where a manager is that says that the swarm went on without us."""
        self._remotes = Remotes(lambda: self._identity.value)
        self._renewal = Renewal(
            identity=self._identity,
            renew=lambda: renewed(self._remotes, self.managers()),
            clock=parts.clock,
            rng=parts.rng,
            state=parts.state,
        )

    @property
    def facts(self) -> NodeFacts:
        return self._node

    @property
    def identity(self) -> Identity:
        return self._identity.value

    def managers(self) -> tuple[ManagerAddr, ...]:
        """As last heard; a manager knows itself."""
        heard = self.worker_side.session.managers if self.worker_side is not None else self._node.managers
        if self.role is Role.MANAGER and all(manager.node_id != self._node.node_id for manager in heard):
            return (*heard, ManagerAddr(node_id=self._node.node_id, addr=self._node.advertise_addr))
        return heard

    # -- running -------------------------------------------------------------------------------------------------------------------
    async def run(self, left: Callable[[], Awaitable[None]]) -> Ending:
        """Until this node's role changes, it is removed, or `left` returns. What it started is ended then, its containers apart."""
        try:
            async with self._managing(), self._working(), background(*self._loops):
                if await first_of(self._ended.wait, left) == 1:
                    return Ending.LEFT
                if self._ending is Ending.REMOVED:  # its tasks are replaced elsewhere: here they must not go on
                    await self._try_to_empty()
                return self._ending
        except NodeRemoved:  # said to a manager that asked for a place, before there was a session
            return Ending.REMOVED
        finally:
            await self._remotes.close()

    @property
    def _loops(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        return self._renewal.run, self._watch_role, self._apply_endpoints, self._follow_the_swarm

    @asynccontextmanager
    async def _managing(self) -> AsyncIterator[None]:
        if self.role is not Role.MANAGER:
            yield
            return
        async with managing(
            self._parts,
            self._node,
            identity=self._identity,
            remotes=self._remotes,
            managers=self.managers,
            fenced=self._fenced.set,
        ) as self.manager:
            yield
        self.manager = None

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        node = replace(self._node, managers=self.managers())
        async with working(
            self._parts, node, identity=self._identity, listener=self, remotes=self._remotes, availability=self._availability
        ) as self.worker_side:
            yield
        self.worker_side = None

    async def farewell(self) -> None:
        """Before the daemon stops: another manager leads, and nobody takes this node for lost while it is away.

        In this order: it is the leader that must know of the absence, and it will be another one.
        """
        try:
            async with asyncio.timeout(FAREWELL_WITHIN):
                await self._hand_over()
                if self.worker_side is not None:
                    await self.worker_side.session.announce_away(AWAY_MS)
        except (TimeoutError, ShoalError) as late:
            log.warning("stopping without a farewell: %r", late)

    async def _hand_over(self) -> None:
        """Another manager leads when this returns, and our session is with it."""
        handed_over = self.manager is not None and await self.manager.hand_over()
        if self.worker_side is None:
            return
        async for manager in self.worker_side.session.manager.values():
            if manager is not None and not (handed_over and manager.node_id == self._node.node_id):
                return

    async def leave(self, *, force: bool) -> None:
        """For good: the managers are told, then nothing of the swarm is left here. Raises Unavailable, and stays, if tasks do not end."""
        self.is_leaving = True
        await self._take_leave()
        try:
            await self.empty()
        except ShoalError as failed:
            if not force:
                self.is_leaving = False
                self._end(Ending.ROLE_CHANGED)  # it begins anew as the member that it is
                raise Unavailable(f"the tasks of this node could not be ended: {failed}. Use `--force` to leave all the same") from failed
            log.warning("leaving although the tasks of this node could not be ended: %s", failed)

    async def _take_leave(self) -> None:
        """Tell the managers; one that does not answer must not keep us from going."""
        others = [manager for manager in self.managers() if manager.node_id != self._node.node_id]
        if not others:
            return
        remotes = Remotes(lambda: self.identity)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_WITHIN):
                    await self._hand_over()  # a session that opened later would say that we are back
            await ask_leader(remotes, others, Membership.leave, Taken(), timeout=5)
        except ShoalError as failed:
            log.warning("leaving without a word to the managers: %s", failed)
        finally:
            await remotes.close()

    async def empty(self) -> None:
        """Before the node leaves: end its tasks, and take all that is ours off its network. Raises ShoalError if that cannot be done."""
        side = self.worker_side
        if side is None:
            return
        try:
            async with asyncio.timeout(EMPTY_WITHIN):
                await side.worker.leave()
        except TimeoutError:
            log.warning("tasks did not end within %g s: their containers are killed", EMPTY_WITHIN)
            await remove_containers(self._parts.engine, self._node.cluster_id)
        await side.plane.clear()

    async def _try_to_empty(self) -> None:
        try:
            await self.empty()
        except ShoalError as failed:
            log.error("containers of the swarm that this node was in may be left: %s", failed)

    async def _apply_endpoints(self) -> None:
        while True:
            message = await self._endpoints.get()
            if self.worker_side is None:
                continue
            version = await self.worker_side.plane.update(message.update, more=message.more)
            if not message.more:
                self.worker_side.session.endpoints_applied(version)

    async def _watch_role(self) -> None:
        """Ends the run once the certificate names another role."""
        async for identity in self._identity.values():
            if facts(identity.certificate).role is not self.role:
                self._end(Ending.ROLE_CHANGED)

    async def _follow_the_swarm(self) -> None:
        """Once fenced: get from there what we are to be now; the daemon sets the log aside and begins anew as that."""
        async for address in self._fenced.values():
            if not address:
                continue
            there = ManagerAddr(node_id="", addr=address)
            try:
                identity = await renewed(self._remotes, [there])
            except NodeRemoved:
                self._end(Ending.REMOVED)
            except ShoalError as failed:
                log.warning("the swarm went on without this manager, and %s does not take it back yet: %s", address, failed)
            else:
                log.warning("the swarm went on without this manager: it begins anew as a %s", facts(identity.certificate).role)
                self._node = replace(self._node, managers=(there,))
                self._parts.state.save_identity(identity)
                self._parts.state.save(self._node)
                self._end(Ending.FENCED)

    def _end(self, ending: Ending) -> None:
        if not self._ended.is_set() and not self.is_leaving:
            self._ending = ending
            self._ended.set()

    # -- what the session tells -----------------------------------------------------------------------------------------------------
    def welcomed(self, message: Welcome) -> None:
        self.active.set(True)
        self.trouble = ""
        self._remember(message.managers)
        self._mind_roots(message.roots)
        self._mind_role(message.role)

    def managers_changed(self, message: ManagersChanged) -> None:
        self._remember(message.managers)
        self._mind_roots(message.roots)
        self._mind_role(message.role)

    def endpoints_came(self, message: Endpoints) -> None:
        self._endpoints.put_nowait(message)

    def logs_ordered(self, order: LogOrder) -> None:
        if self.worker_side is not None:
            self.worker_side.logs.order(order)

    def reach_ordered(self, order: ReachOrder) -> None:
        if self.worker_side is not None:
            self.worker_side.conversations.order(order)

    def session_failed(self, error: ShoalError) -> None:
        """No manager answers, none leads, or the leader will not have us any more."""
        self.trouble = expired(self.identity.certificate, now=self._parts.clock.wall()) or str(error)
        if isinstance(error, NodeRemoved):
            self._end(Ending.REMOVED)
        if isinstance(error, Fenced) and self.manager is not None and self.manager.raft_status().last_index:
            self._fenced.set(error.addr)

    def _remember(self, managers: tuple[ManagerAddr, ...]) -> None:
        if managers and {manager.addr for manager in managers} != {manager.addr for manager in self._node.managers}:
            self._node = replace(self._node, managers=managers)
            try:
                self._parts.state.save(self._node)
            except OSError as full:
                log.error("the managers' addresses cannot be kept for the next start: %s", full)

    def _mind_roots(self, roots: str) -> None:
        """Trust what the swarm trusts, at once; have a certificate of its present CA, as soon as may be."""
        identity = self._identity.value
        if roots and roots != identity.roots:
            identity = replace(identity, roots=roots)
            try:
                self._parts.state.save_identity(identity)
            except OSError as full:
                log.error("the swarm's CAs cannot be kept for the next start: %s", full)
            self._identity.set(identity)
        if roots and issuer_of(identity) != issuer_facts(roots):
            self._renewal.hurry()

    def _mind_role(self, role: Role) -> None:
        if role is not self.role:
            self._renewal.hurry()
