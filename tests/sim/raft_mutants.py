"""The classic mistakes, one by one: each replaces a single rule. A net that lets one of these through catches nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import msgspec

from manager.raft.core import election, following, reads, reconfigure, replication, roles
from manager.raft.core.effects import Install, Persist, Refusal
from manager.raft.core.entries import Entry
from manager.raft.core.events import Persisted, SnapshotArrived
from manager.raft.core.log import Log
from manager.raft.core.membership import MemberId
from manager.raft.core.messages import Append, Appended, Vote, VoteReply
from manager.raft.core.quorum import agreed_index
from manager.raft.core.state import Leader, State
from tests.sim.raft_member import SimMember


@contextmanager
def replaced(owner: ModuleType | type, name: str, mutant: Callable[..., object]) -> Iterator[None]:
    """The rule `owner.name` is the mutant, for the block."""
    rule = getattr(owner, name)
    setattr(owner, name, mutant)
    try:
        yield
    finally:
        setattr(owner, name, rule)


# On the disk


class ForgetsItsVote(SimMember):
    """The term is durable, the vote is not."""

    def write(self, order: Persist | Install) -> None:
        if order.hard is not None:
            order = msgspec.structs.replace(order, hard=msgspec.structs.replace(order.hard, vote=None))
        super().write(order)


class AnswersBeforeSync(SimMember):
    """What should wait for the disk leaves at once, and the disk takes its time."""

    def _order(self, order: Persist | Install) -> None:
        if isinstance(order, Install):
            super()._order(order)
            return
        release, order = order.release, msgspec.structs.replace(order, release=())
        super()._order(order)
        for send in release:
            self._world.post(self.me, send.to, send.message)
        self.step(Persisted(ticket=order.ticket))


class VotesWithoutItsLog(SimMember):
    """Its disk was lost, and it goes on as the member that it was (thesis 3.8)."""

    waits_to_be_counted_out = False


# In the core


def commits_old_terms_by_count(state: State, role: Leader) -> bool:
    """Without the rule of figure 8: what a majority has is committed, whatever its term."""
    index = agreed_index([state.log.durable if voter == state.me else role.progress[voter].match for voter in state.voters])
    return state.log.commit_to(min(index, state.log.last_index))


def truncates_at_every_append(log: Log, entries: tuple[Entry, ...]) -> None:
    """An old append, come late, cuts off what came after it; even if committed."""
    if entries:
        log.commit, commit = 0, log.commit
        log._truncate(entries[0].index)
        log.append(entries)
        log.commit = min(commit, log.last_index)


def finds_every_log_current(log: Log, last_index: int, last_term: int) -> bool:
    """Without the comparison of logs (paper 5.4.1)."""
    return True


def votes_twice(state: State, sender: MemberId, asked: Vote) -> None:
    granted = asked.term == state.term and state.log.is_current(asked.last_index, asked.last_term)
    if granted:
        state.vote = sender
    state.send_durably(sender, VoteReply(term=state.term, granted=granted))


def restores_any_snapshot(state: State, event: SnapshotArrived) -> None:
    """A snapshot replaces a log that is ahead of it, acknowledged entries and all."""
    following.heed(state, event.sender)
    state.log.commit = 0
    state.log.restore(event.snapshot)
    state.install(event.snapshot)
    roles.adopt_membership(state)
    state.send_durably(event.sender, Appended(term=state.term, match=event.snapshot.index))


def reads_without_asking(state: State, role: Leader, round_: int) -> bool:
    """A leader believes that it still is one."""
    return True


def changes_without_waiting(state: State, role: Leader) -> Refusal | None:
    """Several membership changes on their way at once, and before the leader has committed anything."""
    return None


def appends_without_comparing(state: State, sender: MemberId, append: Append) -> None:
    """Without the consistency check (paper 5.3)."""
    following.heed(state, sender)
    log = state.log
    match = append.prev_index + len(append.entries)
    if append.prev_index <= log.last_index and append.prev_index >= log.commit:
        log.merge(append.entries)
        log.commit_to(min(append.commit, match))
        state.send_durably(sender, Appended(term=state.term, match=match))


def releases_nothing_late(state: State, to: MemberId, message: object) -> None:
    """The core forgets that an answer depends on the disk."""
    state.send(to, message)  # type: ignore[arg-type]


Rule = tuple[ModuleType | type, str, Callable[..., object]]

CORE_MUTANTS: dict[str, Rule] = {
    "commits an old term's entry by count": (replication, "advance_commit", commits_old_terms_by_count),
    "truncates what was committed": (Log, "merge", truncates_at_every_append),
    "votes for logs that lack entries": (Log, "is_current", finds_every_log_current),
    "votes twice in a term": (election, "on_vote", votes_twice),
    "puts a snapshot over a newer log": (following, "on_snapshot", restores_any_snapshot),
    "reads without asking a majority": (reads, "_is_confirmed", reads_without_asking),
    "changes members without waiting": (reconfigure, "_why_not_now", changes_without_waiting),
    "appends without comparing": (following, "on_append", appends_without_comparing),
    "forgets that answers depend on the disk": (State, "send_durably", releases_nothing_late),
}
DISK_MUTANTS: dict[str, type[SimMember]] = {
    "forgets its vote": ForgetsItsVote,
    "acknowledges before the sync": AnswersBeforeSync,
    "votes without its log": VotesWithoutItsLog,
}
