"""The Proposer port over Raft, and the store as the state machine that Raft drives."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from cluster.aio.clock import Clock
from cluster.api.changes import Change, ChangeSet, encode_entry
from cluster.api.errors import NoLeader, StaleSnapshot
from manager.raft.driver import Raft
from manager.raft.errors import NotLeader, ProposalLost
from manager.raft.ports import Capture
from manager.store.apply import Refusal
from manager.store.store import Store


class Applied(Struct, frozen=True, gc=False):
    """What applying an entry came to."""

    index: int
    refusal: Refusal | None


class StoreMachine:
    """Gives the store to Raft: committed entries in, captures out."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, index: int, payload: bytes) -> Applied:
        return Applied(index, self._store.apply(index, payload))

    def capture(self) -> Capture:
        return _Captured(self._store.capture())

    def restoration(self) -> "_Restoring":
        return _Restoring(self._store)


class _Captured:
    def __init__(self, frames: Iterator[bytes]) -> None:
        self._frames = frames

    def chunks(self) -> Iterator[bytes]:
        return self._frames


class _Restoring:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._restoration = store.restoration()

    def feed(self, chunk: bytes) -> None:
        self._restoration.feed(chunk)

    def finish(self) -> None:
        self._store.finish(self._restoration)


class RaftProposer:
    """Changes in, the index at which they are applied here out; see manager.store.proposer."""

    def __init__(self, raft: Raft, clock: Clock) -> None:
        self._raft = raft
        self._clock = clock

    async def propose(self, changes: Sequence[Change]) -> int:
        entry = ChangeSet(at=self._clock.wall(), changes=tuple(changes))
        try:
            applied = await self._raft.propose(encode_entry(entry))
        except (NotLeader, ProposalLost) as lost:
            raise NoLeader(str(lost)) from lost
        if not isinstance(applied, Applied):
            raise TypeError(f"the state machine answered {applied!r}")
        if applied.refusal is not None:
            raise StaleSnapshot(str(applied.refusal))
        return applied.index
