"""A manager node's always-on parts: Raft and the store, the RPCs, the way to the leader; and the leader's loops while it leads."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from msgspec import Struct

from cluster.aio.backoff import Backoff
from cluster.aio.clock import Clock
from cluster.aio.supervise import background, first_of
from cluster.api.assignment import ManagerAddr
from cluster.api.commands import Command, Outcome
from cluster.api.contracts import (
    AdmissionRequest,
    Admitted,
    Caller,
    ControlAPI,
    Conversations,
    Dispatcher,
    Frame,
    Guests,
    Membership,
    NodeCA,
    RaftPeer,
    Streams,
    Taken,
)
from cluster.api.errors import Fenced, Forbidden, NodeRemoved, NoLeader, Unavailable
from cluster.api.ids import DrawId, Id
from cluster.api.states import Role
from cluster.rpc.pool import Remotes
from cluster.rpc.server import RpcServer
from manager.allocator.leaving import LeavingNetworks
from manager.allocator.loop import Allocator
from manager.ca.external import Signer
from manager.ca.rotation_loop import RotationKeeper
from manager.ca.service import CertificateService
from manager.ca.trust import trusted
from manager.controlapi.control import Control
from manager.data_keys import ROTATE_AFTER, DataKeyKeeper
from manager.dispatcher.dispatcher import Dispatcher as LeaderDispatcher
from manager.features import FeatureKeeper, GatedProposer
from manager.gateway import Gateway
from manager.guests import GuestDesk
from manager.leader import Leading, lead
from manager.leader_watch import LeaderWatch
from manager.logbroker.broker import LogBroker
from manager.membership import MembershipKeeper
from manager.orchestrator.loop import Orchestrator
from manager.raft.config import RaftStatus
from manager.raft.core.membership import MemberId
from manager.raft.driver import Raft
from manager.raft.proposer import RaftProposer
from manager.raft.transport import PeerStreams
from manager.recovery import is_fenced
from manager.scheduler.loop import Scheduler
from manager.store.snapshot import Snapshot
from manager.store.store import Store
from manager.switchboard import Switchboard

log = logging.getLogger(__name__)

_READ_TRIES = 10
_LOOK_EVERY = 1.0
"""Seconds that a read waits before it looks whether a leader is still to be hoped for."""


class MemberView(Struct, frozen=True, kw_only=True):
    """How the managers see one another now."""

    addr: str
    leader: bool
    reachable: bool


class ManagerParts(Struct, frozen=True, kw_only=True):
    """What the composition root builds for a manager."""

    node_id: Id
    addr: str
    """host:port that nodes reach this manager's RPCs at."""
    raft: Raft
    peers: PeerStreams
    store: Store
    remotes: Remotes
    clock: Clock
    rng: Random
    draw_id: DrawId
    serial: Callable[[], int]
    signer: Signer | None = None
    """For clusters with external CAs."""
    draw_key: Callable[[], bytes]
    """32 bytes that nobody can guess."""
    rotate_keys_after: float = ROTATE_AFTER
    """Seconds between two keys of encrypted networks."""


class Manager:
    """Runs beside the node's worker for as long as the node's certificate says manager."""

    def __init__(self, parts: ManagerParts) -> None:
        self._parts = parts
        self._raft = parts.raft
        self._store = parts.store
        self._proposer = GatedProposer(RaftProposer(parts.raft, parts.clock), parts.store)
        self._watch = LeaderWatch(parts.raft, parts.store, parts.clock)
        self.gateway = Gateway(self._watch, parts.remotes)
        here: dict[str, Any] = {
            "store": parts.store,
            "clock": parts.clock,
            "draw_id": parts.draw_id,
            "me": Caller(node_id=parts.node_id, role=Role.MANAGER),
            "addr": lambda: parts.addr,
        }
        self.log_broker = LogBroker(order=self.gateway.order, **here)
        self.switchboard = Switchboard(order=self.gateway.reach, **here)

    def offer(self, server: RpcServer) -> None:
        """Serve every contract there; before the server starts."""
        server.offer(ControlAPI, self.gateway, authorize=self.authorize_unless_fenced)
        server.offer(Dispatcher, self.gateway, authorize=self.authorize_unless_fenced)
        server.offer(Membership, self.gateway)
        server.offer(NodeCA, self.gateway)
        server.offer(Guests, self.gateway, authorize=self.authorize_unless_fenced)
        server.offer(RaftPeer, self, authorize=self.authorize_peer)
        server.offer(Streams, self.log_broker)
        server.offer(Conversations, self.switchboard)

    async def run(self) -> None:
        async with background(self._raft.run, self._parts.peers.run, self._watch.run, self._lead_when_elected):
            await asyncio.Event().wait()

    # -- for the HTTP API of this node ---------------------------------------------------------------------------------------------
    async def execute(self, command: Command) -> Outcome:
        """Have the leader do it; once this returns, `read` here shows it."""
        me = Caller(node_id=self._parts.node_id, role=Role.MANAGER)
        outcome = await self.gateway.have_executed(me, command)
        await self._wait_applied(outcome.version)
        return outcome

    async def read(self) -> Snapshot:
        """At least as new as every write acknowledged before the call. Raises NoLeader when no quorum answers in time."""
        for _ in range(_READ_TRIES):
            self._watch.refuse_if_forsaken()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._raft.read_barrier()
                    return self._store.snapshot
        raise self._watch.no_leader()

    @property
    def store(self) -> Store:
        return self._store

    def latest(self) -> Snapshot:
        return self._store.snapshot

    @property
    def trouble(self) -> str:
        """Why nothing can be decided at the moment; empty while there is a leader."""
        return "" if self._raft.status().leader is not None else str(self._watch.no_leader())

    def raft_status(self) -> RaftStatus:
        return self._raft.status()

    async def admit(self, request: AdmissionRequest) -> Admitted:
        """For the bootstrap server: a node that wants to join, passed on to the leader."""
        return await self.gateway.have_admitted(Caller(node_id=self._parts.node_id, role=Role.MANAGER), request)

    def members(self) -> Mapping[Id, MemberView]:
        status = self._raft.status()
        return {
            str(member.id): MemberView(
                addr=member.address,
                leader=member.id == status.leader,
                reachable=member.is_reachable is not False and (status.leader is not None or self._watch.answers(member.id)),
            )
            for member in status.members
        }

    def manager_addrs(self) -> tuple[ManagerAddr, ...]:
        return tuple(ManagerAddr(node_id=node_id, addr=view.addr, leader=view.leader) for node_id, view in self.members().items())

    def authorize(self, caller: Caller) -> Role | None:
        """The store's word on a caller; see cluster.rpc.server. Only the leader's store is new enough to say that a node is out."""
        node = self._store.snapshot.nodes.get(caller.node_id)
        if node is not None and (caller.role is Role.WORKER or node.certified_role is Role.MANAGER):
            return None
        if self._watch.leading() is None:
            elsewhere = NoLeader(f"this manager does not know node {caller.node_id} as a {caller.role}")
            elsewhere.leader_addr = self._watch.leader_addr()
            raise elsewhere
        if node is None:
            raise NodeRemoved(caller.node_id)
        return Role.WORKER

    def authorize_unless_fenced(self, caller: Caller) -> Role | None:
        """Who may come back as a manager after a forced new cluster asks for a certificate and to be a member, nothing else."""
        if caller.role is Role.MANAGER and is_fenced(self._store.snapshot, caller.node_id):
            raise Fenced(caller.node_id)
        return self.authorize(caller)

    def authorize_peer(self, caller: Caller) -> Role | None:
        """Raft streams: one that is new, or was away for long, may know none of those that are members now, and must listen to learn."""
        sender, members, leader = MemberId(caller.node_id), self._raft.membership.value, self._raft.leadership.value.leader
        if is_fenced(self._store.snapshot, caller.node_id):
            raise Fenced(caller.node_id)
        if self._store.snapshot.cluster is None and members.find(self._raft.me) is not None and members.find(sender) is None:
            raise Unavailable("this manager is reading its state and does not know yet whom to listen to")
        is_behind = members.find(self._raft.me) is None or leader in (None, sender)
        return None if is_behind or members.find(sender) is not None else self.authorize(caller)

    async def hand_over(self) -> bool:
        """Before a stop: another manager leads, so that nobody waits for an election. Whether this one led and another does now."""
        if not self._raft.leadership.value.is_me or len(self._raft.status().members) == 1:
            return False
        return await self._raft.transfer_leadership()

    # -- leadership ------------------------------------------------------------------------------------------------------------------
    async def _lead_when_elected(self) -> None:
        backoff = Backoff(first=0.1, cap=5.0, rng=self._parts.rng)
        async for now in self._raft.leadership.values():
            if not now.is_established:
                continue
            try:
                await self._lead(now.term)
                backoff.reset()
            except* Exception as failed:
                log.exception("a loop of the leader failed: giving leadership up")
                self._raft.step_down(because=failed.exceptions)
                await self._parts.clock.sleep(backoff.next())

    async def _lead(self, term: int) -> None:
        """Run the leader's loops until the leadership of this term is over."""
        log.info("leading in term %d, from version %d on", term, self._store.snapshot.version)
        leading = self._build(term)
        self._watch.lead(leading)
        try:
            await first_of(lambda: lead(leading, self._parts.clock, give_up=self._raft.step_down), lambda: self._wait_past(term))
        finally:
            self._watch.lead(None)

    async def _wait_past(self, term: int) -> None:
        async for now in self._raft.leadership.values():
            if now.term != term or not now.is_established:
                return

    def _build(self, term: int) -> Leading:
        parts = self._parts
        dispatcher = LeaderDispatcher(
            store=self._store,
            proposer=self._proposer,
            clock=parts.clock,
            managers=self.manager_addrs,
            roots=self._roots,
            draw_id=parts.draw_id,
        )
        membership = MembershipKeeper(me=parts.node_id, raft=self._raft, store=self._store, proposer=self._proposer, clock=parts.clock)
        allocator = Allocator(self._store, self._proposer, parts.clock)
        scheduler = Scheduler(self._store, self._proposer, parts.clock)
        orchestrator = Orchestrator(self._store, self._proposer, parts.clock, parts.draw_id)
        control = Control(store=self._store, proposer=self._proposer, catch_up=self.read)
        return Leading(
            term=term,
            control=control,
            guests=GuestDesk(control=control, store=self._store, clock=parts.clock),
            certificates=CertificateService(
                snapshot=lambda: self._store.snapshot,
                proposer=self._proposer,
                clock=parts.clock,
                serial=parts.serial,
                signer=parts.signer,
            ),
            dispatcher=dispatcher,
            membership=membership,
            loops=(
                dispatcher.run,
                membership.run,
                FeatureKeeper(self._store, self._proposer, parts.clock).run,
                RotationKeeper(self._store, self._proposer, parts.clock).run,
                DataKeyKeeper(self._store, self._proposer, parts.clock, draw=parts.draw_key, period=parts.rotate_keys_after).run,
                allocator.run,
                LeavingNetworks(self._store, self._proposer, parts.clock).run,
                scheduler.run,
                orchestrator.run,
            ),
            rounds=(*dispatcher.rounds, allocator.rounds, scheduler.rounds, orchestrator.rounds),
        )

    def _roots(self) -> str:
        cluster = self._store.snapshot.cluster
        return trusted(cluster) if cluster is not None else ""

    async def _wait_applied(self, version: int) -> None:
        async for now in self._store.snapshots():
            if now.version >= version:
                return

    # -- the Raft stream of a peer -----------------------------------------------------------------------------------------------------
    async def exchange(self, caller: Caller, requests: AsyncIterator[Frame]) -> Taken:
        sender = MemberId(caller.node_id)
        try:
            async for frame in requests:
                if self.authorize_peer(caller) is Role.WORKER:
                    raise Forbidden(f"node {caller.node_id} is no manager any more")
                self._watch.heard(sender)
                self._raft.receive(sender, frame.body)
        finally:
            self._raft.suspect(sender)
        return Taken()
