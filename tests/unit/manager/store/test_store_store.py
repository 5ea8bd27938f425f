"""The store wakes its watchers, and moves whole between managers."""

import msgspec
import pytest

from cluster.aio.clock import ManualClock
from cluster.api.changes import ChangeSet, Put, Remember, TaskChange, encode_entry
from cluster.api.errors import StaleSnapshot
from cluster.api.objects import Cluster, Config, Node, Secret
from cluster.api.specs import ConfigSpec, SecretSpec
from manager.store.frames import FRAME_BYTES, DamagedSnapshot
from manager.store.memory import MemoryProposer
from manager.store.store import Store


def secret(number: int, size: int = 0) -> Put:
    return Put(object=Secret(id=f"x{number}", spec=SecretSpec(name=f"name{number}", data=b"d" * size)))


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def proposer(store: Store) -> MemoryProposer:
    return MemoryProposer(store, ManualClock())


async def test_watchers_see_the_latest_snapshot_only(store: Store, proposer: MemoryProposer) -> None:
    snapshots = store.snapshots()
    assert (await anext(snapshots)).version == 0
    await proposer.propose([secret(1)])
    await proposer.propose([secret(2)])
    assert (await anext(snapshots)).version == 2
    await snapshots.aclose()


async def test_a_refused_set_is_stale_to_its_proposer_and_the_version_moves_on(store: Store, proposer: MemoryProposer) -> None:
    with pytest.raises(StaleSnapshot, match="does not exist"):
        await proposer.propose([secret(1), TaskChange(id="t")])
    assert store.snapshot.version == 1
    assert len(store.snapshot.secrets) == 0
    assert await proposer.propose([secret(1)]) == 2


async def test_a_captured_store_is_the_same_elsewhere(store: Store, proposer: MemoryProposer) -> None:
    await proposer.propose([Put(object=Cluster(id="c")), Put(object=Node(id="n")), Remember(request_id="r", object_id="o")])
    await proposer.propose([secret(1, 1000), Put(object=Config(id="k", spec=ConfigSpec(name="k")))])
    other = Store()
    other.restore(store.capture())
    ours, theirs = store.snapshot, other.snapshot
    assert (theirs.version, theirs.cluster, theirs.nodes, theirs.secrets, theirs.configs) == (
        ours.version, ours.cluster, ours.nodes, ours.secrets, ours.configs,
    )  # fmt: skip
    assert theirs.request("r") == "o"
    assert theirs.requests_seen == ours.requests_seen
    assert theirs.changes_since(Store().snapshot) is None
    payload = encode_entry(ChangeSet(at=5, changes=(secret(2),)))
    assert store.apply(9, payload) is other.apply(9, payload) is None
    assert store.snapshot.secrets == other.snapshot.secrets


async def test_a_capture_is_of_its_moment_and_in_slices(store: Store, proposer: MemoryProposer) -> None:
    await proposer.propose([secret(number, 100_000) for number in range(6)])
    frames = store.capture()
    first = next(frames)
    await proposer.propose([secret(7)])
    rest = list(frames)
    assert all(len(frame) <= FRAME_BYTES for frame in rest)
    assert len(rest) == 4
    other = Store()
    other.restore([first, *rest])
    assert other.snapshot.version == 1
    assert len(other.snapshot.secrets) == 6


async def test_a_damaged_capture_changes_nothing(store: Store, proposer: MemoryProposer) -> None:
    await proposer.propose([secret(1)])
    whole = list(store.capture())
    before = store.snapshot
    for damaged in (whole[:-1], whole[1:], [whole[0], whole[0]], [*whole, whole[-1]]):
        with pytest.raises(DamagedSnapshot):
            store.restore(damaged)
    with pytest.raises(msgspec.DecodeError):
        store.restore([b"\xc1"])
    assert store.snapshot is before


def test_an_entry_that_cannot_be_read_is_never_skipped(store: Store) -> None:
    with pytest.raises(msgspec.DecodeError):
        store.apply(1, b"\xc1")
    assert store.snapshot.version == 0
