"""Giving committed entries to the state machine, a slice at a time, so that a long log never holds up the heartbeats."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

import msgspec

from manager.raft.core.entries import Command, Configure, Entry, Noop, SnapshotMeta
from manager.raft.core.log import Violation
from manager.raft.ports import SnapshotReader, StateMachine


class Restore(msgspec.Struct, frozen=True, gc=False):
    """The state machine becomes what this snapshot holds."""

    reader: SnapshotReader


class Applier:
    """The queue between the log and the state machine."""

    def __init__(self, machine: StateMachine, *, on_result: Callable[[Entry, object], None]) -> None:
        self._machine = machine
        self._on_result = on_result
        self._queue: deque[Entry | Restore] = deque()
        self.applied = 0
        self.entries_since_snapshot = 0
        self.bytes_since_snapshot = 0

    @property
    def is_behind(self) -> bool:
        return bool(self._queue)

    def add(self, entries: Sequence[Entry]) -> None:
        self._queue.extend(entries)

    def add_restore(self, reader: SnapshotReader) -> None:
        self._queue.append(Restore(reader))

    def restore(self, reader: SnapshotReader) -> SnapshotMeta:
        self._machine.restore(_chunks_of(reader))
        snapshot = reader.snapshot
        reader.close()
        self.applied = snapshot.index
        self.snapshot_begun()
        return snapshot

    def snapshot_begun(self) -> None:
        self.entries_since_snapshot = self.bytes_since_snapshot = 0

    def apply_until(self, is_over: Callable[[], bool]) -> None:
        """Apply what waits, until there is no more or time is over; look at the clock now and then."""
        count = 0
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, Restore):
                self.restore(item.reader)
            else:
                self._apply(item)
            count += 1
            if count % 16 == 0 and is_over():
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


def _chunks_of(reader: SnapshotReader) -> Iterator[bytes]:
    for number in range(reader.count):
        yield reader.read(number)
