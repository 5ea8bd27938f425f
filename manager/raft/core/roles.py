"""How a member passes from one role to another (paper figure 4). Every change of role or term is made here."""

from manager.raft.core.effects import ReadFailed
from manager.raft.core.entries import Configure, Entry, Noop, size_of
from manager.raft.core.membership import MemberId
from manager.raft.core.progress import Progress
from manager.raft.core.state import Candidate, Follower, Leader, PreCandidate, State


def become_follower(state: State, term: int, leader: MemberId | None) -> None:
    if term != state.term:
        state.term, state.vote = term, None
    _leave(state)
    state.role = Follower(leader=leader)
    state.restart_timeout()


def become_pre_candidate(state: State) -> None:
    _leave(state)
    state.role = PreCandidate(granted={state.me}, refused=set())
    state.restart_timeout()


def become_candidate(state: State) -> None:
    _leave(state)
    state.term, state.vote = state.term + 1, state.me
    state.role = Candidate(granted=set(), refused=set())
    state.restart_timeout()


def become_leader(state: State) -> None:
    """The entry it begins with commits what earlier leaders left, and only so (paper 5.4.2)."""
    state.stood_in_vain = 0
    last = state.log.last_index
    others = [member.id for member in state.log.membership.members if member.id != state.me]
    elected_by = state.role.granted if isinstance(state.role, Candidate) else set()
    state.role = Leader(term_start=last + 1, progress={other: Progress(following=last) for other in others})
    for voter in elected_by - {state.me}:
        if voter in state.role.progress:
            state.role.progress[voter].active = True
    state.restart_timeout()
    append(state, state.role, [Noop(index=last + 1, term=state.term)])


def append(state: State, role: Leader, entries: list[Entry]) -> None:
    """A leader only ever adds to its log (paper 5.3, Leader Append-Only)."""
    state.log.append(entries)
    role.uncommitted_bytes += sum(map(size_of, entries))
    role.commit_may_move = True
    if any(isinstance(entry, Configure) for entry in entries):
        adopt_membership(state)


def adopt_membership(state: State) -> None:
    """The newest membership in the log is in force, committed or not (thesis 4.1)."""
    membership = state.log.membership
    state.voters = membership.voters
    if not isinstance(state.role, Leader):
        return
    progress = state.role.progress
    for member in membership.members:
        if member.id == state.me:
            continue
        known = progress.get(member.id)
        if known is None or known.leaving_for is not None:  # one that was voted out and is back may have begun with an empty log
            progress[member.id] = Progress(following=state.log.last_index, now=state.role.ticks)
    for gone in [member for member in progress if membership.find(member) is None]:
        if progress[gone].leaving_for is None:
            progress[gone].leaving_for = 0


def _leave(state: State) -> None:
    """Reads that a former leader had promised to answer must be asked again."""
    if isinstance(state.role, Leader):
        mine = [read.request for read in state.role.reads if read.asker == state.me]
        mine += [request for request, asker in state.role.early_reads if asker == state.me]
        state.effects.extend(ReadFailed(request=request) for request in mine)
