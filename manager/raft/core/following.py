"""The follower's side: take what the leader sends, refuse what does not fit, say how far we are (paper 5.3, section 7)."""

from manager.raft.core import roles
from manager.raft.core.entries import Configure
from manager.raft.core.events import SnapshotArrived
from manager.raft.core.log import Violation
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import Append, Appended, Committed, Heartbeat, HeartbeatReply, Rejected
from manager.raft.core.state import Follower, Leader, State


def heed(state: State, leader: MemberId) -> None:
    """Someone speaks as leader of our term: there is at most one (paper 5.2, Election Safety)."""
    if isinstance(state.role, Leader):
        raise Violation(f"{leader} speaks as the leader of term {state.term}, which {state.me} leads")
    state.stood_in_vain = 0
    if isinstance(state.role, Follower):
        state.role.leader = leader
        state.restart_timeout()
    else:
        roles.become_follower(state, state.term, leader)


def catch_up_first(state: State, commit: int) -> None:
    """Who began with an empty log may have lost one, with what it had voted and acknowledged: all of that is in what is committed by now,
    or was never needed, for it was counted out since (thesis 4.1). Before it has caught up it would vote for who lacks it.
    """
    if state.votes_from is None:
        state.votes_from = commit


def on_append(state: State, sender: MemberId, append: Append) -> None:
    heed(state, sender)
    catch_up_first(state, append.commit)
    log = state.log
    if append.prev_index < log.commit:
        # What is committed here equals the leader's: say how far that is, instead of comparing what may be compacted.
        state.send_durably(sender, Appended(term=state.term, match=log.commit))
        return
    if log.term_at(append.prev_index) != append.prev_term:
        hint_index, hint_term = log.hint_for(append.prev_index, append.prev_term)
        rejected = Rejected(term=state.term, prev_index=append.prev_index, hint_index=hint_index, hint_term=hint_term)
        state.send_durably(sender, rejected)
        return
    before = log.membership_index
    log.merge(append.entries)
    if log.membership_index != before or any(isinstance(entry, Configure) for entry in append.entries):
        roles.adopt_membership(state)
    match = append.prev_index + len(append.entries)
    log.commit_to(min(append.commit, match))
    state.send_durably(sender, Appended(term=state.term, match=match))


def on_committed(state: State, sender: MemberId, told: Committed) -> None:
    heed(state, sender)
    state.log.commit_to(min(told.commit, state.log.last_index))


def on_heartbeat(state: State, sender: MemberId, beat: Heartbeat) -> None:
    heed(state, sender)
    state.log.commit_to(min(beat.commit, state.log.last_index))
    reply = HeartbeatReply(term=state.term, round=beat.round)
    if state.durable_hard.term == state.term:
        state.send(sender, reply)  # it says nothing about entries: a read need not wait for their write
    else:
        state.send_durably(sender, reply)


def on_snapshot(state: State, event: SnapshotArrived) -> None:
    """Take a snapshot only if it is ahead of us: a log that has its last entry keeps what follows (paper section 7)."""
    heed(state, event.sender)
    catch_up_first(state, event.snapshot.index)
    log, snapshot = state.log, event.snapshot
    if snapshot.index <= log.commit:
        state.send_durably(event.sender, Appended(term=state.term, match=log.commit))
        return
    if log.term_at(snapshot.index) == snapshot.term:
        log.commit_to(snapshot.index)
        state.send_durably(event.sender, Appended(term=state.term, match=snapshot.index))
        return
    log.restore(snapshot)
    state.install(snapshot)
    roles.adopt_membership(state)
    state.send_durably(event.sender, Appended(term=state.term, match=snapshot.index))
