"""The leader's work: send what peers lack, count what they have, commit (paper 5.3, 5.4.2; thesis 10.2.1)."""

from typing import assert_never

from manager.raft.core import roles
from manager.raft.core.effects import Linger, Proposed, Refusal, Refused, SendSnapshot
from manager.raft.core.entries import ENTRY_OVERHEAD, Command, size_of
from manager.raft.core.events import Propose, SnapshotSent
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import Append, Appended, Committed, Heartbeat, HeartbeatReply, Rejected
from manager.raft.core.progress import Probe, Progress, Replicate, Streaming
from manager.raft.core.quorum import agreed_index, has_majority
from manager.raft.core.state import Leader, State


def propose(state: State, event: Propose) -> None:
    """Into the log, all of it or nothing."""
    refusal = _why_not(state, event)
    if refusal is not None or not isinstance(state.role, Leader):
        state.effects.append(Refused(request=event.request, why=refusal or Refusal.NOT_LEADER))
        return
    first = state.log.last_index + 1
    roles.append(
        state, state.role, [Command(index=first + at, term=state.term, payload=payload) for at, payload in enumerate(event.payloads)]
    )
    state.effects.append(Proposed(request=event.request, first=first, term=state.term))


def _why_not(state: State, event: Propose) -> Refusal | None:
    role, limits = state.role, state.settings
    if not isinstance(role, Leader):
        return Refusal.NOT_LEADER
    if role.transfer is not None:
        return Refusal.TRANSFERRING
    if any(len(payload) > limits.max_entry_bytes for payload in event.payloads):
        return Refusal.TOO_LARGE
    coming = sum(map(len, event.payloads)) + ENTRY_OVERHEAD * len(event.payloads)
    if role.uncommitted_bytes and role.uncommitted_bytes + coming > limits.max_uncommitted_bytes:
        return Refusal.TOO_MUCH_UNCOMMITTED
    return None


def tick(state: State, role: Leader) -> None:
    """Heartbeats, and the check that a majority still answers; without one, others may have elected someone (thesis 6.2)."""
    role.ticks += 1
    state.elapsed += 1
    _tell_the_leaving(state, role)
    if role.transfer is not None:
        role.transfer.ticks += 1
        if role.transfer.ticks >= state.settings.election_ticks:
            role.transfer = None
    if state.elapsed >= state.settings.election_ticks:
        state.elapsed = 0
        if not is_followed(state, role):
            roles.become_follower(state, state.term, None)
            return
        for progress in role.progress.values():
            progress.begin_period()
    if role.ticks % state.settings.heartbeat_ticks == 0:
        beat(state, role)


def _tell_the_leaving(state: State, role: Leader) -> None:
    """A member that was voted out is sent the log until it knows, or long enough to have been told."""
    committed = state.log.membership_index <= state.log.commit
    for member, progress in list(role.progress.items()):
        if progress.leaving_for is None or not committed:
            continue
        progress.leaving_for += 1
        knows = progress.match >= state.log.membership_index and progress.sent_commit >= state.log.membership_index
        if progress.leaving_for > (state.settings.heartbeat_ticks * 2 if knows else state.settings.election_ticks):
            del role.progress[member]


def is_followed(state: State, role: Leader) -> bool:
    """Has a majority been heard from since the last check?"""
    return has_majority(state.voters, lambda voter: voter == state.me or (voter in role.progress and role.progress[voter].active))


def beat(state: State, role: Leader) -> None:
    role.round += 1
    for peer, progress in role.progress.items():
        state.send(peer, Heartbeat(term=state.term, commit=min(progress.match, state.log.commit), round=role.round))


def on_heartbeat_reply(state: State, role: Leader, sender: MemberId, reply: HeartbeatReply) -> None:
    progress = role.progress.get(sender)
    if progress is None:
        return
    progress.heard(round_=reply.round)
    if progress.match < state.log.last_index and isinstance(progress.mode, Replicate):
        # If the appends after `match` were lost, nothing else would tell: an empty one is rejected then.
        _send_append(state, sender, progress, with_entries=False)


def on_appended(state: State, role: Leader, sender: MemberId, reply: Appended) -> None:
    progress = role.progress.get(sender)
    if progress is None:
        return
    progress.active = True
    if reply.match <= state.log.last_index and progress.accepted(reply.match):
        role.commit_may_move = True
    progress.measure(now=role.ticks, last_index=state.log.last_index, within=state.settings.election_ticks)


def on_rejected(state: State, role: Leader, sender: MemberId, reply: Rejected) -> None:
    progress = role.progress.get(sender)
    if progress is None:
        return
    progress.active = True
    resume, _ = state.log.hint_for(reply.hint_index, reply.hint_term)
    progress.rejected(reply.prev_index, resume)


def on_snapshot_sent(role: Leader, event: SnapshotSent) -> None:
    progress = role.progress.get(event.to)
    if progress is not None:
        progress.streamed(event.index, arrived=event.arrived)


def advance_commit(state: State, role: Leader) -> bool:
    """Commit what a majority has durably, if it is of this term: an older one could still be overwritten (paper 5.4.2)."""
    if not role.commit_may_move:
        return False
    role.commit_may_move = False
    index = agreed_index([_match_of(state, role, voter) for voter in state.voters])
    before = state.log.commit
    if index <= before or state.log.term_at(index) != state.term:
        return False
    state.log.commit_to(index)
    role.uncommitted_bytes -= sum(map(size_of, state.log.between(max(before, role.term_start - 1), index)))
    return True


def _match_of(state: State, role: Leader, voter: MemberId) -> int:
    if voter == state.me:
        return state.log.durable
    progress = role.progress.get(voter)
    return progress.match if progress is not None else 0


def send_appends(state: State, role: Leader) -> None:
    """Send each peer all the entries it may be sent. The news of a commit alone can wait a moment: the next entries may carry it."""
    limits = state.settings
    has_news = False
    for peer, progress in role.progress.items():
        while not progress.is_paused(max_flights=limits.max_flights, max_bytes=limits.max_flight_bytes):
            behind = progress.next <= state.log.last_index
            asks = isinstance(progress.mode, Probe) and progress.match < state.log.last_index
            if not (behind or asks) or not _send_append(state, peer, progress, with_entries=True):
                break
        if (news := _news_for(state, progress)) is not None:
            if progress.sent_commit < progress.awaited_commit:
                _tell(state, peer, progress, news)
            else:
                has_news = True
    if has_news and not role.lingers:
        role.lingers = True
        state.effects.append(Linger())


def tell_commit(state: State, role: Leader) -> None:
    """The moment is over: whoever has not heard of the commit yet is told."""
    role.lingers = False
    for peer, progress in role.progress.items():
        if (news := _news_for(state, progress)) is not None:
            _tell(state, peer, progress, news)


def hasten_commit(role: Leader, member: MemberId, *, index: int) -> None:
    """Tell the member as soon as it shares that index; with the entries that are sent it now, if there are any."""
    if (progress := role.progress.get(member)) is not None:
        progress.awaited_commit = max(progress.awaited_commit, index)


def _tell(state: State, peer: MemberId, progress: Progress, commit: int) -> None:
    progress.sent_commit = commit
    state.send(peer, Committed(term=state.term, commit=commit))


def _news_for(state: State, progress: Progress) -> int | None:
    """A peer is told of no commit beyond what it is known to share."""
    commit = min(progress.match, state.log.commit)
    return commit if isinstance(progress.mode, Replicate) and commit > progress.sent_commit else None


def _send_append(state: State, to: MemberId, progress: Progress, *, with_entries: bool) -> bool:
    log = state.log
    prev = progress.next - 1
    prev_term = log.term_at(prev)
    if prev_term is None:
        _offer_snapshot(state, to, progress)
        return False
    entries = log.entries_from(progress.next, max_bytes=state.settings.max_append_bytes) if with_entries else ()
    state.send(to, Append(term=state.term, prev_index=prev, prev_term=prev_term, commit=log.commit, entries=entries))
    progress.sent(count=len(entries), size=sum(map(size_of, entries)), commit=min(log.commit, prev + len(entries)))
    return True


def _offer_snapshot(state: State, to: MemberId, progress: Progress) -> None:
    """The log no longer reaches back so far (paper section 7). Not to one that does not answer: it would pile up."""
    match progress.mode:
        case Streaming():
            return
        case Probe() | Replicate():
            if progress.is_reachable and state.log.snapshot.index > 0:
                progress.stream(state.log.snapshot.index)
                state.effects.append(SendSnapshot(to=to, snapshot=state.log.snapshot))
        case _:
            assert_never(progress.mode)
