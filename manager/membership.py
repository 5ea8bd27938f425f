"""Keeps Raft's members in step with the nodes that should be managers; served and run by the leader.

A manager joins by asking; it leaves when its node is demoted, removed, or says so. One change at a time, as Raft allows.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from cluster.aio.clock import Clock
from cluster.api.changes import Change, Put
from cluster.api.contracts import Caller, MemberAnswer, MemberRequest, Taken
from cluster.api.errors import FailedPrecondition, Fenced, Forbidden, InvalidArgument, NodeRemoved, ShoalError, StaleSnapshot, Unavailable
from cluster.api.features import too_old
from cluster.api.ids import Id
from cluster.api.objects import Node, NodeStatus, RaftMember
from cluster.api.states import NodeState, Role
from manager.raft.core.membership import MemberId
from manager.raft.driver import Raft
from manager.raft.errors import MembershipRefused
from manager.recovery import is_fenced, without_fence
from manager.store.proposer import Proposer
from manager.store.snapshot import Snapshot
from manager.store.store import Store

log = logging.getLogger(__name__)

_TRIES = 10
_PAUSE = 1.0


class Step(Struct, frozen=True, kw_only=True):
    """What the members lack of what the store wants."""

    remove: tuple[Id, ...] = ()
    clear: tuple[Id, ...] = ()
    """Nodes that Raft does not know any more, whose member entry should go."""


def plan(now: Snapshot, members: Sequence[Id], *, me: Id) -> Step:
    """Members whose node is gone or demoted go; the leader itself goes last, by handing leadership over first."""
    unwanted = [member for member in members if not _wanted(now.nodes.get(member))]
    stale = [node.id for node in now.nodes.values() if node.member is not None and node.id not in members and not _wanted(node)]
    others = tuple(member for member in sorted(unwanted) if member != me)
    return Step(remove=others or tuple(unwanted), clear=tuple(sorted(stale)))


def _wanted(node: Node | None) -> bool:
    return node is not None and node.spec.role is Role.MANAGER and node.member is not None


def gone(node: Node) -> Node:
    """A node that left for good: down, and no manager any more, so that `node rm` can forget it."""
    status = NodeStatus(state=NodeState.DOWN, message="node left the swarm", addr=node.status.addr)
    return replace(node, member=None, spec=replace(node.spec, role=Role.WORKER), status=status)


class MembershipKeeper:
    """Implements the Membership contract on the leader, and the loop that carries out `plan`."""

    def __init__(self, *, me: Id, raft: Raft, store: Store, proposer: Proposer, clock: Clock) -> None:
        self._me = me
        self._raft = raft
        self._store = store
        self._proposer = proposer
        self._clock = clock

    async def join(self, caller: Caller, request: MemberRequest) -> MemberAnswer:
        """Make the calling manager a member, a learner until it has caught up. Asking again is the same request.

        One whose log is lost is counted out instead, and no member when this returns: thesis, section 3.8.
        """
        host, _, port = request.addr.rpartition(":")
        if not host or not port.isdigit():
            raise InvalidArgument(f"a member's address reads host:port, not {request.addr!r}")
        if request.log_lost:
            return await self._count_out(caller.node_id)
        node = self._store.snapshot.nodes.get(caller.node_id)
        if node is None or node.spec.role is not Role.MANAGER:
            raise Forbidden(f"node {caller.node_id} is not to be a manager")
        if request.last_index and is_fenced(self._store.snapshot, caller.node_id):
            raise Fenced(caller.node_id)
        self._check_level(caller, request)
        await self._write(caller.node_id, lambda node: replace(node, member=RaftMember(addr=request.addr)))
        self._check_level(caller, request)  # it was raised meanwhile, perhaps, by who did not know of this manager yet
        await self._lift_fence(caller.node_id)
        if all((member.id, member.address) != (caller.node_id, request.addr) for member in self._raft.status().members):
            await self._raft.add_member(MemberId(caller.node_id), request.addr, learner=False)
        return self._members()

    async def _count_out(self, node_id: Id) -> MemberAnswer:
        """The last write follows the removal in the log: once it is committed, so is that, also one that an earlier try left behind."""
        if node_id in self._members().members:
            await self._take_out(MemberId(node_id))
        await self._write(node_id, lambda node: replace(node, member=None))
        if node_id not in self._store.snapshot.nodes:
            raise NodeRemoved(node_id)
        return self._members()

    def _members(self) -> MemberAnswer:
        cluster = self._store.snapshot.cluster
        members = {str(member.id): member.address for member in self._raft.status().members}
        return MemberAnswer(cluster_id=cluster.id if cluster else "", members=members)

    def _check_level(self, caller: Caller, request: MemberRequest) -> None:
        if request.feature_level < (swarm := self._store.snapshot.feature_level):
            raise FailedPrecondition(too_old(f"node {caller.node_id}", request.feature_level, swarm))

    async def leave(self, caller: Caller, request: Taken) -> Taken:
        """The calling node leaves for good: out of Raft first, then shown as down; `node rm` forgets it."""
        members = [str(member.id) for member in self._raft.status().members]
        if caller.node_id in members:
            if len(members) == 1:
                raise FailedPrecondition("the last manager cannot leave: its departure ends the swarm")
            if caller.node_id == self._me:
                await self._raft.transfer_leadership()
                raise Unavailable("leadership is being handed over: ask the new leader")
            await self._take_out(MemberId(caller.node_id))
        await self._write(caller.node_id, gone)
        return request

    async def _take_out(self, member: MemberId) -> None:
        """A leader that has just begun does not know yet which members answer, and refuses for a moment what does no harm."""
        for _ in range(_TRIES):
            try:
                await self._raft.remove(member)
                return
            except MembershipRefused as refused:
                log.info("asking again: %s", refused)
                await self._clock.sleep(_PAUSE / 4)
        await self._raft.remove(member)

    async def run(self) -> None:
        while True:
            try:
                await self._step()
            except ShoalError as refused:  # too few members answer just now: no reason to stop leading
                log.warning("the managers cannot be brought in step with the nodes yet: %s", refused)
                await self._clock.sleep(_PAUSE)

    async def _step(self) -> None:
        step = plan(self._store.snapshot, [str(member.id) for member in self._raft.status().members], me=self._me)
        if step.remove and step.remove[0] == self._me:
            await self._raft.transfer_leadership()
        elif step.remove:
            await self._raft.remove(MemberId(step.remove[0]))
        elif step.clear:
            await self._write(step.clear[0], lambda node: replace(node, member=None))
        else:
            await self._clock.sleep(_PAUSE)

    async def _lift_fence(self, node_id: Id) -> None:
        """It is a member with a log of ours: were it demoted one day, that would be a demotion like any other."""
        for _ in range(_TRIES):
            change = without_fence(self._store.snapshot, node_id)
            if change is None:
                return
            with suppress(StaleSnapshot):
                await self._proposer.propose([change])
        raise Unavailable("the swarm's settings change too fast: try again")

    async def _write(self, node_id: Id, change: Callable[[Node], Node]) -> None:
        for _ in range(_TRIES):
            node = self._store.snapshot.nodes.get(node_id)
            if node is None or (edited := change(node)) == node:
                return
            changes: tuple[Change, ...] = (Put(object=edited, base=node.version),)
            try:
                await self._proposer.propose(changes)
            except StaleSnapshot:
                continue
            return
        raise Unavailable(f"node {node_id} changes too fast: try again")
