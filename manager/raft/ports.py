"""What the driver needs from outside: something to replicate, somewhere to keep it, and a way to the peers."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from manager.raft.core.entries import Entry, HardState, SnapshotMeta, Stored
from manager.raft.core.membership import MemberId


class Capture(Protocol):
    """An immutable view of the state machine at one moment."""

    def chunks(self) -> Iterator[bytes]:
        """Encode it lazily, each piece at most 1 MiB and a few milliseconds of work, here and when it is read back."""
        ...


class Restoration(Protocol):
    """A capture being read back; it counts for nothing until it is finished."""

    def feed(self, chunk: bytes) -> None:
        """The next chunk, in order: a few milliseconds of work."""
        ...

    def finish(self) -> None:
        """All chunks were fed: the state machine becomes what they hold."""
        ...


class StateMachine(Protocol):
    """What is replicated. Deterministic, and only ever called from the event loop."""

    def apply(self, index: int, payload: bytes) -> object:
        """The committed entry `index`; the result goes to whoever proposed it here."""
        ...

    def capture(self) -> Capture:
        """A view of the state as it is now, in constant time."""
        ...

    def restoration(self) -> Restoration:
        """Begin to become what a capture was encoded from."""
        ...


class Transport(Protocol):
    """Frames to peers: fire and forget, in order while the connection lasts, dropped when too many wait."""

    def send(self, to: MemberId, address: str, frames: Sequence[bytes]) -> None: ...


class SnapshotSink(Protocol):
    """A snapshot being written; it counts for nothing until it is saved or installed."""

    @property
    def snapshot(self) -> SnapshotMeta: ...

    def add(self, chunk: bytes) -> None: ...

    def discard(self) -> None:
        """Forget it and free its space."""
        ...


class SnapshotReader(Protocol):
    """A saved snapshot; stays readable when a newer one takes its place."""

    @property
    def snapshot(self) -> SnapshotMeta: ...

    @property
    def count(self) -> int: ...

    def read(self, number: int) -> bytes: ...

    def close(self) -> None: ...


class Storage(Protocol):
    """One member's disk. Calls that write come from one thread at a time, and block."""

    def load(self) -> Stored: ...

    def write(self, hard: HardState | None, entries: Sequence[Entry], commit: int) -> None:
        """Stage this; entries replace all from the first one's index on. Nothing is promised until `sync`."""
        ...

    def sync(self) -> None:
        """Make all that is staged durable, whole or not at all; what fails with `StorageFull` stays staged."""
        ...

    def begin_snapshot(self, snapshot: SnapshotMeta) -> SnapshotSink: ...

    def save_snapshot(self, sink: SnapshotSink, keep_from: int) -> None:
        """Make it the snapshot, durably, and drop the log before `keep_from`."""
        ...

    def install_snapshot(self, sink: SnapshotSink, hard: HardState | None) -> None:
        """Make it the snapshot and drop the whole log, durably and at once."""
        ...

    def open_snapshot(self) -> SnapshotReader | None: ...

    def close(self) -> None: ...
