"""Elections: when to stand, whom to vote for (paper 5.2, 5.4.1), asking first (thesis 9.6), and not being disturbed (4.2.3)."""

from typing import assert_never

from manager.raft.core import roles
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import PreVote, PreVoteReply, Vote, VoteReply
from manager.raft.core.quorum import Tally, tally
from manager.raft.core.state import Candidate, Follower, Leader, PreCandidate, State


def tick(state: State) -> None:
    """A voter that hears of no leader for its timeout stands, or stands again."""
    state.elapsed += 1
    if state.elapsed >= state.timeout:
        if state.is_voter:
            ask_first(state)
        else:
            _forget_leader(state)


def _forget_leader(state: State) -> None:
    if isinstance(state.role, Follower):
        state.role.leader = None
    state.restart_timeout()


def suspect(state: State, member: MemberId) -> None:
    """The leader's connection broke: stand soon, at a random moment; if it lives, the others will refuse the pre-vote."""
    if isinstance(state.role, Follower) and state.role.leader == member:
        state.role.leader = None
        soon = state.elapsed + 1 + state.draw(max(state.settings.election_ticks // 3, 1))
        state.timeout = min(state.timeout, soon)


def ask_first(state: State) -> None:
    """The pre-vote: neither term nor vote changes, so asking is free (thesis 9.6)."""
    state.stood_in_vain += 1
    roles.become_pre_candidate(state)
    for voter in state.voters:
        if voter != state.me:
            state.send(voter, PreVote(term=state.term + 1, last_index=state.log.last_index, last_term=state.log.last_term))
    _count_pre_votes(state)


def stand(state: State, *, transfer: bool) -> None:
    """Begin a term and ask for votes; the requests leave once our own vote is durable."""
    roles.become_candidate(state)
    for voter in state.voters:
        if voter != state.me:
            vote = Vote(term=state.term, last_index=state.log.last_index, last_term=state.log.last_term, transfer=transfer)
            state.send_durably(voter, vote)


def count_own_vote(state: State) -> None:
    """Something became durable: it may be our vote for ourselves."""
    hard = state.durable_hard
    if isinstance(state.role, Candidate) and hard.term == state.term and hard.vote == state.me and state.me not in state.role.granted:
        state.role.granted.add(state.me)
        _count_votes(state)


def on_pre_vote(state: State, sender: MemberId, asked: PreVote) -> None:
    if asked.term > state.term and state.hears_another_leader(than=sender):
        return
    granted = state.may_vote and asked.term > state.term and state.log.is_current(asked.last_index, asked.last_term)
    state.send(sender, PreVoteReply(term=asked.term if granted else state.term, granted=granted))


def on_pre_vote_reply(state: State, sender: MemberId, reply: PreVoteReply) -> None:
    if isinstance(state.role, PreCandidate) and reply.term == state.term + reply.granted:
        (state.role.granted if reply.granted else state.role.refused).add(sender)
        _count_pre_votes(state)


def on_vote(state: State, sender: MemberId, asked: Vote) -> None:
    """One vote a term, first come first served, and only for a log that has all we have (paper 5.2, 5.4.1)."""
    free = state.vote == sender or (state.vote is None and state.leader is None)
    granted = state.may_vote and free and asked.term == state.term and state.log.is_current(asked.last_index, asked.last_term)
    if granted:
        state.vote = sender
        state.elapsed = 0
    state.send_durably(sender, VoteReply(term=state.term, granted=granted))


def on_vote_reply(state: State, sender: MemberId, reply: VoteReply) -> None:
    if isinstance(state.role, Candidate):
        (state.role.granted if reply.granted else state.role.refused).add(sender)
        _count_votes(state)


def on_timeout_now(state: State) -> None:
    """The leader hands over to us: no pre-vote, nobody needs to be asked whether it is gone (thesis 3.10)."""
    if state.is_voter and not isinstance(state.role, Leader):
        stand(state, transfer=True)


def _count_pre_votes(state: State) -> None:
    if not isinstance(state.role, PreCandidate):
        return
    outcome = tally(state.voters, state.role.granted, state.role.refused)
    match outcome:
        case Tally.WON:
            stand(state, transfer=False)
        case Tally.LOST:
            roles.become_follower(state, state.term, None)
        case Tally.OPEN:
            pass
        case _:
            assert_never(outcome)


def _count_votes(state: State) -> None:
    if not isinstance(state.role, Candidate):
        return
    outcome = tally(state.voters, state.role.granted, state.role.refused)
    match outcome:
        case Tally.WON:
            roles.become_leader(state)
        case Tally.LOST:
            roles.become_follower(state, state.term, None)
        case Tally.OPEN:
            pass
        case _:
            assert_never(outcome)
