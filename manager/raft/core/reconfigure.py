"""Membership changes, one voter at a time (thesis section 4, with the correction its author published in 2015).

A new membership holds from the moment it is in the log. At most one is uncommitted, and a leader begins none before an entry
of its own term is committed: else two leaders' single steps could make majorities that do not meet.
"""

from manager.raft.core import replication, roles, transfer
from manager.raft.core.effects import Proposed, Refusal, Refused
from manager.raft.core.entries import Configure
from manager.raft.core.events import ChangeMembership
from manager.raft.core.membership import Change, Demote, Membership, Promote, Remove, Standing, Unsuitable, changed
from manager.raft.core.quorum import has_majority
from manager.raft.core.state import Leader, State


def change(state: State, event: ChangeMembership) -> None:
    role = state.role
    if not isinstance(role, Leader):
        state.effects.append(Refused(request=event.request, why=Refusal.NOT_LEADER))
        return
    refusal = _why_not_now(state, role)
    if refusal is not None:
        state.effects.append(Refused(request=event.request, why=refusal))
        return
    try:
        membership = changed(state.log.membership, event.change, caught_up=_is_caught_up(role, event.change))
    except Unsuitable as unsuitable:
        state.effects.append(Refused(request=event.request, why=Refusal.UNSUITABLE, detail=str(unsuitable)))
        return
    if isinstance(event.change, Demote | Remove) and not _keeps_quorum(state, role, membership):
        state.effects.append(Refused(request=event.request, why=Refusal.QUORUM_AT_RISK))
        return
    index = _append(state, role, membership)
    state.effects.append(Proposed(request=event.request, first=index, term=state.term))


def promote_who_caught_up(state: State, role: Leader) -> None:
    """At the end of a step: one joining member that has caught up becomes a voter (thesis 4.2.1)."""
    joining = [member.id for member in state.log.membership.members if member.standing is Standing.JOINING]
    ready = [member for member in joining if member in role.progress and role.progress[member].caught_up]
    if ready and _why_not_now(state, role) is None:
        _append(state, role, changed(state.log.membership, Promote(id=ready[0]), caught_up=True))


def leave_if_voted_out(state: State, role: Leader) -> None:
    """A leader that is no voter any more leads until that is committed, then makes way (thesis 4.2.2)."""
    if not state.is_voter and state.log.membership_index <= state.log.commit:
        replication.tell_commit(state, role)
        transfer.step_down(state)


def _why_not_now(state: State, role: Leader) -> Refusal | None:
    if role.transfer is not None:
        return Refusal.TRANSFERRING
    if not state.has_settled:
        return Refusal.NOT_SETTLED
    if state.log.membership_index > state.log.commit:
        return Refusal.CHANGE_IN_PROGRESS
    return None


def _append(state: State, role: Leader, membership: Membership) -> int:
    index = state.log.last_index + 1
    roles.append(state, role, [Configure(index=index, term=state.term, membership=membership)])
    return index


def _is_caught_up(role: Leader, wanted: Change) -> bool:
    return wanted.id in role.progress and role.progress[wanted.id].caught_up


def _keeps_quorum(state: State, role: Leader, membership: Membership) -> bool:
    """Would a majority of the remaining voters be members that answer?"""
    return has_majority(
        membership.voters, lambda voter: voter == state.me or (voter in role.progress and role.progress[voter].is_reachable)
    )
