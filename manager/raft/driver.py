"""Agree (step 2b), the acting half: feeds the pure core with what happens and does what it asks, in order.

One coroutine takes turns: all that came since the last turn is stepped at once, then its effects are performed. What must
wait for the disk is in the effects themselves (`Persist.release`), so there is nothing here to get wrong about it.
"""

import asyncio
import logging
from collections.abc import Sequence
from random import Random
from typing import assert_never

import msgspec

from cluster.aio.latest import Latest
from manager.raft import codec, membership_calls
from manager.raft.applier import Applier
from manager.raft.barriers import Barriers
from manager.raft.codec import Said, SnapshotPart, SnapshotWanted
from manager.raft.config import Leadership, MemberStatus, RaftConfig, RaftStatus
from manager.raft.core.core import Core
from manager.raft.core.effects import (
    Apply,
    Effect,
    Install,
    Linger,
    Persist,
    Proposed,
    ReadFailed,
    ReadReady,
    Refused,
    RoleChanged,
    Send,
    SendSnapshot,
)
from manager.raft.core.entries import Command, Configure, Entry, HardState
from manager.raft.core.events import (
    AwaitsCommit,
    Event,
    Persisted,
    Received,
    StepDown,
    Suspect,
    TellCommit,
    Tick,
    TransferLeadership,
    Unreachable,
)
from manager.raft.core.membership import Add, Change, Demote, Member, MemberId, Membership, Promote, Remove
from manager.raft.core.state import Leader
from manager.raft.core.transfer import is_outrun
from manager.raft.disk import DiskHealth
from manager.raft.errors import NotLeader, StorageFailed, StorageFull
from manager.raft.ports import StateMachine, Storage, Transport
from manager.raft.proposals import Proposals
from manager.raft.snapshots import Snapshots
from manager.raft.writer import ThreadWriter, Writer

log = logging.getLogger(__name__)


class Raft:
    """One member of the group that agrees. Everything but `run` is called from the same event loop."""

    def __init__(
        self, me: MemberId, address: str, *, storage: Storage, machine: StateMachine, transport: Transport, rng: Random,
        config: RaftConfig | None = None, writer: Writer | None = None,
    ) -> None:  # fmt: skip
        self.me = me
        self.config = config or RaftConfig()
        self.leadership: Latest[Leadership] = Latest(Leadership())
        self.membership: Latest[Membership] = Latest(Membership())
        self._address = address
        self._storage = storage
        self._transport = transport
        self._writer = writer or ThreadWriter(storage)
        self._rng = rng
        self._inbox: list[Event] = []
        self._wake = asyncio.Event()
        self._outgoing: dict[MemberId, list[Said]] = {}
        self._heard_from: dict[MemberId, str] = {}
        self._disk = DiskHealth(patience_ticks=self.config.disk_ticks, tick_seconds=self.config.tick_seconds)
        self._failure: BaseException | None = None
        self._stalls = 0
        self._looks = False
        core = self.config.core
        self._proposals = Proposals(
            max_waiting=self.config.max_waiting, max_bytes=self.config.max_waiting_bytes, max_payload=core.max_entry_bytes
        )
        self._barriers = Barriers(first_request=rng.getrandbits(62), patience_ticks=core.election_ticks)
        self._applier = Applier(machine, on_result=self._on_result)
        self._core = Core(me, stored=storage.load(), draw=rng.randrange, settings=core)
        self._snapshots = Snapshots(
            self.config, core=self._core, machine=machine, applier=self._applier, storage=storage, writer=self._writer,
            say=self._say_now, report=self._put,
        )  # fmt: skip
        self.membership.set(self._core.state.log.membership)

    # Living

    async def run(self) -> None:
        """Take part until cancelled. Raises what makes going on impossible."""
        self._restore()
        self._writer.start(self)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                self._snapshots.run_in(group)
                group.create_task(self._tick(), name="raft-tick")
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    self._turn(loop)
                    if self._applier.is_behind or self._inbox or self._proposals.may_go:
                        self._wake.set()
                        await asyncio.sleep(0)
        finally:
            self._writer.stop()
            self._proposals.lose_all()
            self._proposals.refuse_all(lambda: NotLeader(None))
            self._barriers.refuse_all(lambda: NotLeader(None))

    def _restore(self) -> None:
        """A restarted member shows what its disk says was committed, leader or not."""
        reader = self._storage.open_snapshot()
        if reader is not None:
            self._applier.add_restore(reader)
        self._wake.set()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.config.tick_seconds * self._rng.random())  # members that start together must not tick together
        while True:
            due = loop.time() + self.config.tick_seconds
            await asyncio.sleep(self.config.tick_seconds)
            late = loop.time() - due
            if late > self.config.stall_seconds:
                self._stalls += 1
                log.warning("the event loop was silent for %.0f ms", late * 1000)
            self._barriers.tick()
            self._mind_disk()
            self._wake.set()

    def _mind_disk(self) -> None:
        """Who cannot write must not stand for election, nor lead while somebody else could."""
        state, disk = self._core.state, self._disk
        disk.tick(outrun_at=state.log.durable if is_outrun(state) else None)
        if disk.problem is None or isinstance(state.role, Leader):
            self._inbox.append(Tick())
        if disk.is_outrun:
            self.step_down(because=disk.problem)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Step all that came, perform what it asks, apply for a while."""
        if self._failure is not None:
            raise self._failure
        events, self._inbox = self._inbox, []
        events += self._proposals.take()
        events += self._barriers.take()
        for effect in self._core.step_all(events):
            self._perform(effect)
        self._snapshots.discard_unclaimed()
        self._flush()
        if self._core.state.log.membership is not self.membership.value:
            self.membership.set(self._core.state.log.membership)
        if self._applier.is_behind:
            end = loop.time() + self.config.slice_seconds
            self._applier.apply_until(lambda: loop.time() > end)
            self._barriers.applied(self._applier.applied)
            self._announce_if_established()
            self._snapshots.save_if_due()
        if self._proposals.gathers and not self._looks:
            self._looks = True
            loop.call_later(self.config.moment_seconds, self._on_moment)

    # Doing what the core asks

    def _perform(self, effect: Effect) -> None:  # noqa: C901 - one line a kind of effect
        match effect:
            case Send(to=to, message=message):
                self._say(to, message)
            case Persist():
                self._disk.ordered(effect.ticket)
                self._writer.order(effect)
            case Apply(entries=entries):
                self._applier.add(entries)
            case Proposed():
                self._proposals.entered(effect)
            case Refused():
                self._proposals.refused(effect, self._core.state.leader)
            case ReadReady(request=request, index=index):
                self._barriers.ready(request, index, applied=self._applier.applied)
            case ReadFailed(request=request):
                self._barriers.failed(request)
            case Linger():
                asyncio.get_running_loop().call_later(self.config.linger_seconds, self._put, TellCommit())
            case SendSnapshot(to=to, snapshot=snapshot):
                self._snapshots.send(to, snapshot)
            case Install():
                self._disk.ordered(effect.ticket)
                self._writer.install(effect, self._snapshots.claim(effect.snapshot))
            case RoleChanged():
                self._on_role(effect)
            case _:
                assert_never(effect)

    def _on_moment(self) -> None:
        self._looks = False
        self._proposals.moment()
        self._wake.set()

    def _on_role(self, changed: RoleChanged) -> None:
        was = self.leadership.value
        is_me = changed.leader == self.me
        if was.is_me and not (is_me and changed.term == was.term):
            self._proposals.lose_all()
        log.info("term %d: %s, leader %s", changed.term, changed.role.value, changed.leader)
        self.leadership.set(Leadership(term=changed.term, leader=changed.leader, is_me=is_me))
        self._barriers.ask_anew()
        self._announce_if_established()

    def _announce_if_established(self) -> None:
        role, now = self._core.state.role, self.leadership.value
        if isinstance(role, Leader) and now.is_me and not now.is_established and self._applier.applied >= role.term_start:
            self.leadership.set(msgspec.structs.replace(now, is_established=True))

    def _on_result(self, entry: Entry, result: object) -> None:
        self._proposals.applied(entry.index, entry.term, result)

    # The writer's events

    def on_written(self, orders: list[Persist]) -> None:
        for order in orders:
            for send in order.release:
                self._say(send.to, send.message)
        self._flush()
        self._written(orders[-1].ticket)

    def on_installed(self, install: Install) -> None:
        reader = self._storage.open_snapshot()
        if reader is not None:
            self._applier.add_restore(reader)
        for send in install.release:
            self._say(send.to, send.message)
        self._written(install.ticket)

    def _written(self, ticket: int) -> None:
        self._disk.written(ticket)
        self._put(Persisted(ticket=ticket))

    def on_full(self, full: StorageFull | None) -> None:
        self._disk.full(full)
        if full is None:
            log.info("the Raft log has room again")
            return
        log.error("%s", full)
        self._proposals.refuse_all(lambda: full)
        self.step_down(because=full)

    def on_failed(self, failure: BaseException) -> None:
        self._failure = failure if isinstance(failure, StorageFailed) else StorageFailed("the Raft storage", repr(failure))
        self._wake.set()

    # Talking to peers

    def receive(self, from_: MemberId, frame: bytes) -> None:
        """A frame arrived from a peer whose identity the transport has checked."""
        try:
            opened = codec.decode(frame)
        except msgspec.MsgspecError as garbled:
            log.warning("dropped a frame of %d bytes from %s: %s", len(frame), from_, garbled)
            return
        if opened.to != self.me:
            return  # meant for a former member at this address
        self._heard_from[from_] = opened.address
        for said in opened.said:
            if isinstance(said, SnapshotPart):
                self._snapshots.on_part(from_, said)
            elif isinstance(said, SnapshotWanted):
                self._snapshots.on_wanted(from_, said)
            else:
                self._inbox.append(Received(sender=from_, message=said))
        self._wake.set()

    def unreachable(self, member: MemberId) -> None:
        """Frames to this peer were dropped."""
        self._put(Unreachable(member=member))

    def hasten_commit(self, member: MemberId) -> None:
        """Somebody there waits to see what is committed by now, or proposed next; nothing on a member that does not lead."""
        self._put(AwaitsCommit(member=member))

    def suspect(self, member: MemberId) -> None:
        """The connection from this peer broke."""
        self._put(Suspect(member=member))

    def address_of(self, member: MemberId) -> str | None:
        """Where it was last heard from, else where the membership says it is."""
        heard = self._heard_from.get(member)
        if heard is not None:
            return heard
        found = self._core.state.log.membership.find(member)
        return found.address if found is not None else None

    def _say(self, to: MemberId, said: Said) -> None:
        self._outgoing.setdefault(to, []).append(said)

    def _say_now(self, to: MemberId, said: Said) -> None:
        self._say(to, said)
        self._flush()

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, {}
        for to, said in outgoing.items():
            address = self.address_of(to)
            if address is not None:
                self._transport.send(to, address, codec.encode(to, self._address, said))

    def _put(self, event: Event) -> None:
        self._inbox.append(event)
        self._wake.set()

    # What callers want

    async def propose(self, payload: bytes) -> object:
        """What `StateMachine.apply` gave, once the payload is committed and applied here.

        Raises `NotLeader`, `TooBusy`, `StorageFull`, `StorageStalled` (nothing happened) or `ProposalLost` (it may have happened).
        """
        self._refuse_if_unfit()
        waiter = self._proposals.enter(payload)
        self._wake.set()
        return await waiter

    async def read_barrier(self) -> int:
        """Wait until all that was committed before this call is applied here. Waits for a leader if there is none."""
        waiter = self._barriers.enter()
        self._wake.set()
        return await waiter

    async def change_membership(self, change: Change) -> None:
        """One step, committed and applied here when this returns."""
        self._refuse_if_unfit()
        waiter = self._proposals.enter_change(change)
        self._wake.set()
        await waiter

    async def add_member(self, id: MemberId, address: str, *, learner: bool = True) -> None:  # noqa: A002
        """Add it, or tell where it is now. A learner stays one until promoted; else it becomes a voter once caught up."""
        await membership_calls.add(self, Add(id=id, address=address, promote=not learner))

    async def promote(self, member: MemberId) -> None:
        """Make it a voter; returns once it is one."""
        await membership_calls.promote(self, Promote(id=member))

    async def demote(self, member: MemberId) -> None:
        """Make it a learner. A leader hands leadership over and raises `NotLeader`: ask the new one."""
        await membership_calls.take_out(self, Demote(id=member))

    async def remove(self, member: MemberId) -> None:
        """Take it out. A leader hands leadership over and raises `NotLeader`: ask the new one."""
        await membership_calls.take_out(self, Remove(id=member))

    async def transfer_leadership(self, to: MemberId | None = None) -> bool:
        """Hand over to `to`, or to whoever is furthest on; True once another leads, False if none took over in time."""
        if not self.leadership.value.is_me:
            raise NotLeader(self.leadership.value.leader)
        self._put(TransferLeadership(to=to))
        patience = 2 * self.config.core.election_ticks * self.config.tick_seconds
        try:
            async with asyncio.timeout(patience):
                async for now in self.leadership.values():
                    if now.leader not in (None, self.me):
                        return True
        except TimeoutError:
            pass
        return False

    def step_down(self, because: object) -> None:
        """This member is unfit to lead just now; another one is asked to take over."""
        if self.leadership.value.is_me:
            log.error("stepping down as leader of term %d: %s", self.leadership.value.term, because)
        self._put(StepDown())

    def status(self) -> RaftStatus:
        state = self._core.state
        return RaftStatus(
            id=self.me, term=state.term, role=state.role_name.value, leader=state.leader, commit=state.log.commit,
            applied=self._applier.applied, last_index=state.log.last_index, snapshot_index=state.log.snapshot.index,
            is_member=state.log.membership.find(self.me) is not None, waiting=self._proposals.waiting, stalls=self._stalls,
            storage_problem=str(problem) if (problem := self._disk.problem) else None,
            members=tuple(self._member_status(member) for member in state.log.membership.members),
        )  # fmt: skip

    def _member_status(self, member: Member) -> MemberStatus:
        state = self._core.state
        match, reachable = None, None
        if member.id == self.me:
            match, reachable = state.log.durable, True
        elif isinstance(state.role, Leader) and member.id in state.role.progress:
            progress = state.role.progress[member.id]
            match, reachable = progress.match, progress.is_reachable
        elif member.id == state.leader:
            reachable = True
        return MemberStatus(id=member.id, address=member.address, standing=member.standing, match=match, is_reachable=reachable)

    def _refuse_if_unfit(self) -> None:
        problem = self._disk.problem
        if problem is not None:
            raise problem
        if not isinstance(self._core.state.role, Leader):
            raise NotLeader(self._core.state.leader)


def bootstrap(storage: Storage, members: Sequence[Member], payloads: Sequence[bytes] = ()) -> None:
    """Found a group on an empty storage: its first entry says who its members are, what the state begins with follows.

    All of it counts as committed, so each founder writes the same.
    """
    if not storage.load().is_empty:
        raise ValueError("this storage is in use already")
    first: Entry = Configure(index=1, term=1, membership=Membership(members=tuple(sorted(members, key=lambda member: member.id))))
    begun = [Command(index=number, term=1, payload=payload) for number, payload in enumerate(payloads, start=2)]
    storage.write(HardState(term=1), [first, *begun], 1 + len(begun))
    storage.sync()
