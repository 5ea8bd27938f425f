"""What must hold after every step, whatever the network and the disks do (paper figure 3), and what clients may count on.

The checks see every member from above and remember everything that was ever true; members see only their own messages.
"""

from collections.abc import Mapping

from manager.raft.core.core import Core
from manager.raft.core.entries import Command, Entry
from manager.raft.core.membership import MemberId


class Broken(AssertionError):
    """One of the promises does not hold."""


class Checks:
    """The promises, each named as in the paper."""

    def __init__(self) -> None:
        self.leaders: dict[int, MemberId] = {}
        self.known: dict[tuple[int, int], tuple[Entry, int | None]] = {}
        self.committed: dict[int, Entry] = {}
        self.committed_in: dict[int, int] = {}
        """The term in which each was first seen to be."""
        self.acknowledged: dict[bytes, int] = {}
        self.highest_acknowledged = 0
        self.reads = 0

    def leads(self, member: MemberId, core: Core) -> None:
        term = core.state.term
        other = self.leaders.setdefault(term, member)
        if other != member:
            raise Broken(f"Election Safety: {other} and {member} both lead term {term}")
        log = core.state.log
        for index, entry in self.committed.items():
            is_due = self.committed_in[index] < term  # votes that come late make a leader of a term that is over; it need not have it
            if is_due and index > log.base_index and log.term_at(index) != entry.term:
                raise Broken(f"Leader Completeness: {member} leads term {term} without committed entry {index} of term {entry.term}")

    def holds(self, member: MemberId, core: Core, entries: tuple[Entry, ...]) -> None:
        """The member appended these: same place and term must mean same entry and same past."""
        for entry in entries:
            before = core.state.log.term_at(entry.index - 1)
            known = self.known.setdefault((entry.index, entry.term), (entry, before))
            if known[0] != entry or (None not in (known[1], before) and known[1] != before):
                raise Broken(f"Log Matching: {member} has {entry} after term {before}, another member {known[0]} after term {known[1]}")

    def commits(self, member: MemberId, core: Core, before: int) -> None:
        log = core.state.log
        if log.commit < before:
            raise Broken(f"{member} took back its commit index, from {before} to {log.commit}")
        for entry in log.between(max(before, log.base_index), log.commit):
            known = self.committed.setdefault(entry.index, entry)
            self.committed_in.setdefault(entry.index, core.state.term)
            if known != entry:
                raise Broken(f"State Machine Safety: entry {entry.index} was committed as {known}, then by {member} as {entry}")

    def applies(self, member: MemberId, entry: Entry, after: int) -> None:
        if entry.index != after + 1:
            raise Broken(f"State Machine Safety: {member} applied entry {entry.index} after {after}")
        if self.committed.get(entry.index) != entry:
            raise Broken(f"State Machine Safety: {member} applied {entry}, committed was {self.committed.get(entry.index)}")

    def acknowledges(self, payload: bytes, index: int) -> None:
        entry = self.committed.get(index)
        if not isinstance(entry, Command) or entry.payload != payload:
            raise Broken(f"{payload!r} was acknowledged at entry {index}, where {entry} is committed")
        self.acknowledged[payload] = index
        self.highest_acknowledged = max(self.highest_acknowledged, index)

    def reads_at(self, member: MemberId, index: int, *, not_below: int) -> None:
        self.reads += 1
        if index < not_below:
            raise Broken(f"Linearizability: a read on {member} saw entry {index}, though {not_below} was acknowledged before it began")

    def ends_with(self, machines: Mapping[MemberId, list[bytes]]) -> None:
        """All is calm: every replica is equal, and has all that was ever acknowledged."""
        first, *others = machines.items()
        for member, applied in others:
            if applied != first[1]:
                raise Broken(f"{member} and {first[0]} applied the same entries to different states")
        missing = self.acknowledged.keys() - set(first[1])
        if missing:
            raise Broken(f"acknowledged, and lost: {sorted(missing)[:5]}")
