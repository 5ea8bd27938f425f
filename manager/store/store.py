"""2 REMEMBER: the replicated state machine. Holds the latest snapshot, replaces it entry by entry, wakes whoever watches."""

from collections.abc import AsyncIterator, Iterable, Iterator

from cluster.aio.latest import Latest
from cluster.api.changes import decode_entry
from manager.store import frames
from manager.store.apply import Refusal, apply
from manager.store.frames import Restoration
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


class Store:
    """One writer (the Raft driver, in log order), any number of readers, no locks: snapshots are immutable."""

    def __init__(self, now: Snapshot = EMPTY_SNAPSHOT) -> None:
        self._latest = Latest(now)

    @property
    def snapshot(self) -> Snapshot:
        return self._latest.value

    @property
    def latest(self) -> Latest[Snapshot]:
        """For a loop that waits for more than the store."""
        return self._latest

    def snapshots(self) -> AsyncIterator[Snapshot]:
        """The present snapshot, then the latest after each change; missed ones don't matter."""
        return self._latest.values()

    def apply(self, index: int, payload: bytes) -> Refusal | None:
        """Apply one committed entry. Raises msgspec.DecodeError for one that cannot be read: the daemon must stop, never skip it."""
        now, refusal = apply(self._latest.value, index, decode_entry(payload))
        self._latest.set(now)
        return refusal

    def capture(self) -> Iterator[bytes]:
        """The present state as frames of about 256 KiB, encoded one at a time as they are taken; later changes don't show in it."""
        return frames.encode(self._latest.value)

    def restore(self, payloads: Iterable[bytes]) -> None:
        """Replace the state by a captured one, at once. Raises DamagedSnapshot and leaves everything as it was."""
        restoration = Restoration()
        for payload in payloads:
            restoration.feed(payload)
        self.finish(restoration)

    def restoration(self) -> Restoration:
        """For a restore in slices: feed it frame by frame, then give it to `finish`."""
        return Restoration()

    def finish(self, restoration: Restoration) -> None:
        self._latest.set(restoration.finish())
