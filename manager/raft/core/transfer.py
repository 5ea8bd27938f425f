"""Handing leadership over: bring one follower level, then let it stand at once (thesis 3.10)."""

from manager.raft.core import roles
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import TimeoutNow
from manager.raft.core.state import Leader, State, Transfer


def begin(state: State, to: MemberId | None) -> None:
    """To a voter that answers; asking for one that is not there, or for ourselves, changes nothing."""
    if not isinstance(state.role, Leader):
        return
    target = to if to is not None else _furthest(state, state.role)
    if target is not None and target != state.me and target in state.voters and state.role.transfer is None:
        state.role.transfer = Transfer(to=target)


def press_on(state: State, role: Leader) -> None:
    """At the end of a step: once the target has all we have, it may go."""
    if role.transfer is None:
        return
    progress = role.progress.get(role.transfer.to)
    if progress is None or role.transfer.to not in state.voters:
        role.transfer = None
    elif progress.match == state.log.last_index and not role.transfer.told:
        # Said once: the transfer ends by the target's new term, or with our patience.
        role.transfer.told = True
        state.send(role.transfer.to, TimeoutNow(term=state.term))


def step_down(state: State) -> None:
    """Unfit to lead: let the best follower stand now, and keep out of the race for a while ourselves."""
    if not isinstance(state.role, Leader):
        return
    successor = _furthest(state, state.role)
    if successor is not None:
        state.send(successor, TimeoutNow(term=state.term))
    roles.become_follower(state, state.term, None)
    state.timeout += 2 * state.settings.election_ticks


def is_outrun(state: State) -> bool:
    """Does a voter that answers have durably what we, who lead, have not?"""
    if not isinstance(state.role, Leader):
        return False
    progress = state.role.progress
    return any(one.match > state.log.durable and one.is_reachable for voter, one in progress.items() if voter in state.voters)


def _furthest(state: State, role: Leader) -> MemberId | None:
    able = [(progress.match, voter) for voter, progress in role.progress.items() if voter in state.voters and progress.is_reachable]
    return max(able)[1] if able else None
