"""A member's log: the entries after the last compaction, all in memory, with how far they are durable and committed.

The shell's disk holds the same entries; `durable` says up to where it is known to. Entries are handed out for application
only once both committed and durable here, so nothing that a restart could lose was ever shown to anyone.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from manager.raft.core.entries import Configure, Entry, SnapshotMeta, Stored, size_of
from manager.raft.core.membership import Membership


class Violation(Exception):
    """A rule that Raft rests on was broken, by a bug or by damage: this member must stop rather than go on wrongly."""


class Log:
    """Entries `base_index + 1 .. last_index`. Mutable, owned by one `State`."""

    def __init__(self, stored: Stored) -> None:
        self.snapshot = stored.snapshot
        self.base_index = stored.base_index
        self.base_term = stored.base_term
        self._entries: list[Entry] = list(stored.entries)
        self._configs: list[tuple[int, Membership]] = [(stored.snapshot.index, stored.snapshot.membership)]
        self._configs += [
            (entry.index, entry.membership)
            for entry in stored.entries
            if isinstance(entry, Configure) and entry.index > stored.snapshot.index
        ]
        self.commit = min(max(stored.commit, stored.snapshot.index), self.last_index)
        self.durable = self.last_index
        self.handed = stored.snapshot.index  # given out for application up to here
        self._ordered = self.last_index  # given out for persisting up to here
        self._pending: deque[tuple[int, int]] = deque()  # (ticket, durable up to here once it is done)

    # What the log says

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.base_term

    @property
    def membership(self) -> Membership:
        """The latest in the log, committed or not (thesis 4.1)."""
        return self._configs[-1][1]

    @property
    def membership_index(self) -> int:
        return self._configs[-1][0]

    def membership_at(self, index: int) -> Membership:
        """Who the members were once `index` was the last entry; for an index since the last snapshot."""
        at = bisect_right(self._configs, index, key=lambda config: config[0])
        return self._configs[max(at - 1, 0)][1]

    def term_at(self, index: int) -> int | None:
        """The term of the entry, or None if it is compacted away or not there yet."""
        if index == self.base_index:
            return self.base_term
        if self.base_index < index <= self.last_index:
            return self._entries[index - self.base_index - 1].term
        return None

    def entries_from(self, first: int, *, max_bytes: int) -> tuple[Entry, ...]:
        """As many entries from `first` on as fit, at least one if there is one."""
        start = first - self.base_index - 1
        end, total = start, 0
        while end < len(self._entries):
            total += size_of(self._entries[end])
            if total > max_bytes and end > start:
                break
            end += 1
        return tuple(self._entries[start:end])

    def between(self, after: int, upto: int) -> tuple[Entry, ...]:
        return tuple(self._entries[after - self.base_index : upto - self.base_index])

    def is_current(self, last_index: int, last_term: int) -> bool:
        """Is a log that ends so at least as up to date as this one? (paper 5.4.1)"""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def hint_for(self, index: int, term: int) -> tuple[int, int]:
        """The last place up to `index` whose term is not above `term`: whatever lies after it cannot match (paper 5.3)."""
        at = min(index, self.last_index)
        while at > self.base_index and (self.term_at(at) or 0) > term:
            at -= 1
        return at, self.term_at(at) or 0

    # What is added

    def append(self, entries: Sequence[Entry]) -> None:
        """Add to the end; the caller has given them the right indexes."""
        for entry in entries:
            if isinstance(entry, Configure):
                self._configs.append((entry.index, entry.membership))
        self._entries.extend(entries)

    def merge(self, entries: Sequence[Entry]) -> None:
        """Add a leader's entries that follow one we share: skip those we have, replace from the first conflict on."""
        for position, entry in enumerate(entries):
            if entry.index <= self.base_index:
                continue
            have = self.term_at(entry.index)
            if have != entry.term:
                if have is not None:
                    self._truncate(entry.index)
                self.append(entries[position:])
                return

    def _truncate(self, first: int) -> None:
        if first <= self.commit:
            raise Violation(f"entry {first} would be overwritten, but all up to {self.commit} is committed")
        del self._entries[first - self.base_index - 1 :]
        while self._configs[-1][0] >= first:
            self._configs.pop()
        self.durable = min(self.durable, first - 1)
        self._ordered = min(self._ordered, first - 1)
        self._pending = deque((ticket, min(upto, first - 1)) for ticket, upto in self._pending)

    def commit_to(self, index: int) -> bool:
        """Committed entries stay committed; True if this is news."""
        if index <= self.commit:
            return False
        if index > self.last_index:
            raise Violation(f"entry {index} is said to be committed, but the log ends at {self.last_index}")
        self.commit = index
        return True

    # What the shell has to do, and has done

    def take_unwritten(self) -> tuple[Entry, ...]:
        """Entries not yet ordered to be written; they are, from now on."""
        unwritten = self.between(self._ordered, self.last_index)
        self._ordered = self.last_index
        return unwritten

    def expect(self, ticket: int) -> None:
        """This ticket, once done, makes all that was ordered so far durable."""
        self._pending.append((ticket, self._ordered))

    @property
    def is_writing(self) -> bool:
        return bool(self._pending)

    def written(self, ticket: int) -> None:
        while self._pending and self._pending[0][0] <= ticket:
            self.durable = max(self.durable, self._pending.popleft()[1])

    def take_applicable(self) -> tuple[Entry, ...]:
        """Committed and durable entries that were not handed out yet; they are, from now on."""
        upto = min(self.commit, self.durable)
        if upto <= self.handed:
            return ()
        entries = self.between(self.handed, upto)
        self.handed = upto
        return entries

    # Snapshots (paper section 7)

    def compact(self, snapshot: SnapshotMeta, *, keep_from: int) -> None:
        """Our own snapshot is saved: forget entries before `keep_from`, all of which it contains."""
        if snapshot.index > self.handed:
            raise Violation(f"a snapshot of entry {snapshot.index}, but only {self.handed} was handed out to apply")
        if snapshot.index <= self.snapshot.index:
            return
        self._configs = [
            (snapshot.index, self.membership_at(snapshot.index)),
            *(config for config in self._configs if config[0] > snapshot.index),
        ]
        self.snapshot = snapshot
        new_base = min(keep_from, snapshot.index + 1) - 1
        if new_base > self.base_index:
            self.base_term = self.term_at(new_base) or 0
            del self._entries[: new_base - self.base_index]
            self.base_index = new_base

    def restore(self, snapshot: SnapshotMeta) -> None:
        """A leader's snapshot replaces everything."""
        if snapshot.index <= self.commit:
            raise Violation(f"a snapshot of entry {snapshot.index} would undo commits up to {self.commit}")
        self.snapshot = snapshot
        self.base_index, self.base_term = snapshot.index, snapshot.term
        self._entries = []
        self._configs = [(snapshot.index, snapshot.membership)]
        self.commit = self.handed = self._ordered = snapshot.index
        self.durable = 0  # until the shell reports that the snapshot is in force
        self._pending = deque((ticket, 0) for ticket, _ in self._pending)
