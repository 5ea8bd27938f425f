"""The Proposer port over Raft, and the store as the state machine that Raft drives."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from cluster.aio.clock import Clock
from cluster.api.changes import Change, ChangeSet, encode_entry
from cluster.api.errors import FailedPrecondition, NoLeader, StaleSnapshot
from cluster.api.features import LEVEL
from manager.raft.driver import Raft
from manager.raft.errors import NotLeader, ProposalLost
from manager.raft.ports import Capture
from manager.store.apply import Refusal
from manager.store.store import Store


class Applied(Struct, frozen=True, gc=False):
    """What applying an entry came to."""

    index: int
    refusal: Refusal | None


class SwarmIsNewer(FailedPrecondition):
    """The log may hold what this version does not know: going on, its state would differ from the other managers'."""

    def __init__(self, swarm: int, ours: int) -> None:
        super().__init__(
            f"this version of shoald has feature level {ours} and the swarm is at {swarm}, from which there is no way back: "
            "install the version of the other managers"
        )


class StoreMachine:
    """Gives the store to Raft: committed entries in, captures out. Raises SwarmIsNewer when the swarm's feature level is above ours."""

    def __init__(self, store: Store, *, level: int = LEVEL) -> None:
        self._store = store
        self._level = level

    def apply(self, index: int, payload: bytes) -> Applied:
        refusal = self._store.apply(index, payload)
        _check_level(self._store, self._level)
        return Applied(index, refusal)

    def capture(self) -> Capture:
        return _Captured(self._store.capture())

    def restoration(self) -> "_Restoring":
        return _Restoring(self._store, self._level)


def _check_level(store: Store, level: int) -> None:
    if (swarm := store.snapshot.feature_level) > level:
        raise SwarmIsNewer(swarm, level)


class _Captured:
    def __init__(self, frames: Iterator[bytes]) -> None:
        self._frames = frames

    def chunks(self) -> Iterator[bytes]:
        return self._frames


class _Restoring:
    def __init__(self, store: Store, level: int) -> None:
        self._store = store
        self._level = level
        self._restoration = store.restoration()

    def feed(self, chunk: bytes) -> None:
        self._restoration.feed(chunk)

    def finish(self) -> None:
        self._store.finish(self._restoration)
        _check_level(self._store, self._level)


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
