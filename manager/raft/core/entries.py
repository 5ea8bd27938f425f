"""What the members agree on: the entries of the log, and the little that each must remember beside it (paper figure 2).

These values are also the form on disk and on the wire: the numbered tags are never reused, fields are only added at the
end and with a default.
"""

import msgspec

from manager.raft.core.membership import MemberId, Membership


class Noop(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=0):
    """A new leader's first entry: committing it commits all that came before it (paper 5.4.2, 8)."""

    index: int
    term: int


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=1):
    """Something for the state machine."""

    index: int
    term: int
    payload: bytes


class Configure(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True, tag=2):
    """A new membership, in force from the moment it is appended (thesis 4.1)."""

    index: int
    term: int
    membership: Membership


Entry = Noop | Command | Configure

ENTRY_OVERHEAD = 32
MEMBER_OVERHEAD = 128


def size_of(entry: Entry) -> int:
    """About how many bytes the entry takes on the wire."""
    if isinstance(entry, Command):
        return len(entry.payload) + ENTRY_OVERHEAD
    if isinstance(entry, Configure):
        return ENTRY_OVERHEAD + MEMBER_OVERHEAD * len(entry.membership.members)
    return ENTRY_OVERHEAD


class HardState(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """Durable before any answer that depends on it: forgetting a vote would elect two leaders (paper figure 2)."""

    term: int = 0
    vote: MemberId | None = None
    votes_from: int | None = 0
    """Where the log must reach before this member may vote; None until a leader has told one that began with an empty log."""


class SnapshotMeta(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """The last entry that a snapshot contains, and who the members were then (paper section 7)."""

    index: int = 0
    term: int = 0
    membership: Membership = Membership()


class Stored(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that a storage knows about a member when it starts."""

    hard: HardState = HardState()
    snapshot: SnapshotMeta = SnapshotMeta()
    base_index: int = 0  # the entry before the first one that is kept
    base_term: int = 0
    entries: tuple[Entry, ...] = ()
    commit: int = 0  # at least this much was committed; a hint that lets a restarted member show its state at once

    @property
    def is_empty(self) -> bool:
        return not self.entries and self.snapshot.index == 0 and self.hard.term == 0
