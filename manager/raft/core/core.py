"""The whole of it: one event in, its effects out. Each event goes to the module that knows the rule; this one only knows which.

`step` handles events and then settles: what can be committed is, what peers lack is sent, what must be written is ordered,
what may be applied is handed out. Many events can share one settling, which is what makes group commit and batched appends.
"""

from collections.abc import Iterable
from typing import assert_never

from manager.raft.core import election, following, reads, reconfigure, replication, roles, transfer
from manager.raft.core.effects import Apply, Effect, RoleChanged, RoleName
from manager.raft.core.entries import SnapshotMeta, Stored
from manager.raft.core.events import (
    AwaitsCommit,
    ChangeMembership,
    Event,
    Persisted,
    Propose,
    ReadIndex,
    Received,
    SnapshotArrived,
    SnapshotSaved,
    SnapshotSent,
    StepDown,
    Suspect,
    TellCommit,
    Tick,
    TransferLeadership,
    Unreachable,
)
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import (
    Append,
    Appended,
    Committed,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    ReadReply,
    ReadRequest,
    Rejected,
    Stale,
    TimeoutNow,
    Vote,
    VoteReply,
)
from manager.raft.core.state import Draw, Leader, Settings, State


class Core:
    """One member's consensus. Deterministic: the same events and draws give the same effects."""

    def __init__(self, me: MemberId, *, stored: Stored, draw: Draw, settings: Settings | None = None) -> None:
        self.state = State(me, stored=stored, settings=settings or Settings(), draw=draw)
        self._announced: tuple[int, RoleName, MemberId | None] = (self.state.term, RoleName.FOLLOWER, None)
        if self.state.voters == (me,):
            self.state.timeout = 1  # nobody else could answer; why wait

    def step(self, event: Event) -> list[Effect]:
        """Handle one event."""
        return self.step_all((event,))

    def step_all(self, events: Iterable[Event]) -> list[Effect]:
        """Handle several that came together."""
        for event in events:
            _handle(self.state, event)
        self._settle()
        effects, self.state.effects = self.state.effects, []
        return effects

    def snapshot_at(self, index: int) -> SnapshotMeta:
        """What to write over a snapshot whose last entry is `index`."""
        log = self.state.log
        if index == log.snapshot.index:
            return log.snapshot
        return SnapshotMeta(index=index, term=log.term_at(index) or 0, membership=log.membership_at(index))

    def _settle(self) -> None:
        state = self.state
        if isinstance(state.role, Leader):
            _settle_leader(state, state.role)
        state.order_writes()
        if entries := state.log.take_applicable():
            state.effects.append(Apply(entries=entries))
        seen = (state.term, state.role_name, state.leader)
        if seen != self._announced:
            self._announced = seen
            state.effects.append(RoleChanged(term=seen[0], role=seen[1], leader=seen[2]))


def _settle_leader(state: State, role: Leader) -> None:
    replication.advance_commit(state, role)
    reconfigure.promote_who_caught_up(state, role)
    reads.confirm(state, role)
    replication.send_appends(state, role)
    transfer.press_on(state, role)
    reconfigure.leave_if_voted_out(state, role)


def _handle(state: State, event: Event) -> None:  # noqa: C901, PLR0912 - one line a kind of event
    match event:
        case Received(sender=sender, message=message):
            _receive(state, sender, message)
        case Propose():
            replication.propose(state, event)
        case Persisted(ticket=ticket):
            _persisted(state, ticket)
        case Tick():
            if isinstance(state.role, Leader):
                replication.tick(state, state.role)
            else:
                election.tick(state)
        case ReadIndex(request=request):
            reads.ask(state, request)
        case ChangeMembership():
            reconfigure.change(state, event)
        case TransferLeadership(to=to):
            transfer.begin(state, to)
        case StepDown():
            transfer.step_down(state)
        case TellCommit():
            if isinstance(state.role, Leader):
                replication.tell_commit(state, state.role)
        case AwaitsCommit(member=member):
            if isinstance(state.role, Leader):
                replication.hasten_commit(state.role, member, index=state.log.last_index + 1)
        case SnapshotSaved(snapshot=snapshot, keep_from=keep_from):
            state.log.compact(snapshot, keep_from=keep_from)
        case SnapshotArrived():
            _snapshot_arrived(state, event)
        case SnapshotSent():
            if isinstance(state.role, Leader):
                replication.on_snapshot_sent(state.role, event)
        case Unreachable(member=member):
            if isinstance(state.role, Leader) and member in state.role.progress:
                state.role.progress[member].dropped()
        case Suspect(member=member):
            election.suspect(state, member)
        case _:
            assert_never(event)


def _persisted(state: State, ticket: int) -> None:
    state.written(ticket)
    if isinstance(state.role, Leader):
        state.role.commit_may_move = True
    else:
        election.count_own_vote(state)


def _snapshot_arrived(state: State, event: SnapshotArrived) -> None:
    if event.term < state.term:
        return
    if event.term > state.term:
        roles.become_follower(state, event.term, event.sender)
    following.on_snapshot(state, event)


def _receive(state: State, sender: MemberId, message: Message) -> None:
    """Terms first (paper 5.1): an older one is told so, a newer one is entered, unless nothing is decided by it."""
    if message.term > state.term:
        match message:
            case PreVote() | PreVoteReply(granted=True):
                pass  # about a term that has not begun
            case Vote(transfer=False) if state.hears_another_leader(than=sender):
                return  # a member that was cut off, or removed, must not unseat a leader we hear (thesis 4.2.3)
            case Append() | Heartbeat() | Committed():
                roles.become_follower(state, message.term, sender)
            case _:
                roles.become_follower(state, message.term, None)
    elif message.term < state.term:
        match message:
            case Append() | Heartbeat():
                state.send_durably(sender, Stale(term=state.term))
                return
            case PreVote() | Vote():
                pass  # refused below, which tells the sender our term
            case _:
                return
    _dispatch(state, sender, message)


def _dispatch(state: State, sender: MemberId, message: Message) -> None:  # noqa: C901 - one line a kind of message
    match message:
        case Append():
            following.on_append(state, sender, message)
        case Heartbeat():
            following.on_heartbeat(state, sender, message)
        case Committed():
            following.on_committed(state, sender, message)
        case Appended() | Rejected() | HeartbeatReply():
            if isinstance(state.role, Leader):
                _dispatch_answer(state, state.role, sender, message)
        case PreVote():
            election.on_pre_vote(state, sender, message)
        case PreVoteReply():
            election.on_pre_vote_reply(state, sender, message)
        case Vote():
            election.on_vote(state, sender, message)
        case VoteReply():
            election.on_vote_reply(state, sender, message)
        case Stale():
            pass  # its term, if newer, was the message
        case TimeoutNow():
            election.on_timeout_now(state)
        case ReadRequest():
            reads.on_read_request(state, sender, message)
        case ReadReply():
            reads.on_read_reply(state, message)
        case _:
            assert_never(message)


def _dispatch_answer(state: State, role: Leader, sender: MemberId, answer: Appended | Rejected | HeartbeatReply) -> None:
    match answer:
        case Appended():
            replication.on_appended(state, role, sender, answer)
        case Rejected():
            replication.on_rejected(state, role, sender, answer)
        case HeartbeatReply():
            replication.on_heartbeat_reply(state, role, sender, answer)
        case _:
            assert_never(answer)
