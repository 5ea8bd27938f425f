"""The proposer without Raft: agrees with itself at once.

Entries still go through their bytes, so what could not be logged fails here too.
"""

from collections.abc import Sequence

from cluster.aio.clock import Clock
from cluster.api.changes import Change, ChangeSet, encode_entry
from cluster.api.errors import StaleSnapshot
from manager.store.store import Store


class MemoryProposer:
    """The in-memory twin of Raft's proposer: same promises, one manager."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def propose(self, changes: Sequence[Change]) -> int:
        index = self._store.snapshot.version + 1
        refusal = self._store.apply(index, encode_entry(ChangeSet(at=self._clock.wall(), changes=tuple(changes))))
        if refusal is not None:
            raise StaleSnapshot(refusal.text)
        return index
