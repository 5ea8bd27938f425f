"""Giving committed entries and snapshots to the state machine, a slice at a time: neither a long log nor a large state holds up
the heartbeats.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never

from manager.raft.core.entries import Command, Configure, Entry, Noop
from manager.raft.core.log import Violation
from manager.raft.ports import SnapshotReader, StateMachine


class Restore:
    """A snapshot on its way into the state machine, a chunk a step."""

    def __init__(self, reader: SnapshotReader, machine: StateMachine) -> None:
        self.index = reader.snapshot.index
        self._reader = reader
        self._restoration = machine.restoration()
        self._next = 0

    def step(self) -> bool:
        """Take one more chunk; True once the state machine is what the snapshot holds."""
        if self._next < self._reader.count:
            self._restoration.feed(self._reader.read(self._next))
            self._next += 1
            return False
        self._restoration.finish()
        self._reader.close()
        return True


class Applier:
    """The queue between the log and the state machine."""

    def __init__(self, machine: StateMachine, *, on_result: Callable[[Entry, object], None]) -> None:
        self._machine = machine
        self._on_result = on_result
        self._queue: deque[Entry | Restore] = deque()
        self._restores = 0
        self.applied = 0
        self.entries_since_snapshot = 0
        self.bytes_since_snapshot = 0

    @property
    def is_restoring(self) -> bool:
        """A snapshot waits or is partly read: the state machine is still what it was before."""
        return self._restores > 0

    @property
    def is_behind(self) -> bool:
        return bool(self._queue)

    def add(self, entries: Sequence[Entry]) -> None:
        self._queue.extend(entries)

    def add_restore(self, reader: SnapshotReader) -> None:
        self._queue.append(Restore(reader, self._machine))
        self._restores += 1

    def snapshot_begun(self) -> None:
        self.entries_since_snapshot = self.bytes_since_snapshot = 0

    def apply_until(self, is_over: Callable[[], bool]) -> None:
        """Apply what waits, until there is no more or time is over. One entry, or one chunk of a snapshot, is a few milliseconds."""
        while self._queue:
            item = self._queue[0]
            if not isinstance(item, Restore):
                self._queue.popleft()
                self._apply(item)
            elif item.step():
                self._queue.popleft()
                self._restores -= 1
                self.applied = item.index
                self.snapshot_begun()
            if is_over():
                return

    def _apply(self, entry: Entry) -> None:
        if entry.index != self.applied + 1:
            raise Violation(f"entry {entry.index} was about to be applied after entry {self.applied}")
        result: object = None
        match entry:
            case Command(index=index, payload=payload):
                result = self._machine.apply(index, payload)
                self.bytes_since_snapshot += len(payload)
            case Noop() | Configure():
                pass
            case _:
                assert_never(entry)
        self.applied = entry.index
        self.entries_since_snapshot += 1
        self._on_result(entry, result)
