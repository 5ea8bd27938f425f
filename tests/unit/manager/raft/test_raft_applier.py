"""What the state machine is given comes in slices: one entry or one chunk at a time, in order, until time is over."""

from collections.abc import Iterator

from manager.raft.applier import Applier
from manager.raft.core.entries import Command, Entry, SnapshotMeta
from manager.raft.memory import MemoryReader
from tests.sim.raft_cluster import Ledger, LedgerCapture

BEFORE, HELD = [b"before"], [b"%d" % number for number in range(100)]


def reader(index: int) -> MemoryReader:
    return MemoryReader(SnapshotMeta(index=index, term=1), tuple(LedgerCapture(tuple(HELD)).chunks()))


def at_once() -> bool:
    return True


def never() -> bool:
    return False


def applier() -> tuple[Applier, Ledger, list[Entry]]:
    ledger, told = Ledger(), []
    made = Applier(ledger, on_result=lambda entry, _: told.append(entry))
    made.add([Command(index=1, term=1, payload=BEFORE[0])])
    made.apply_until(never)
    return made, ledger, told


def slices(of: Applier) -> Iterator[int]:
    """Go on until nothing waits; what is applied after each slice."""
    while of.is_behind:
        of.apply_until(at_once)
        yield of.applied


def test_a_slice_ends_after_the_entry_during_which_time_ran_out() -> None:
    made, ledger, _ = applier()
    made.add([Command(index=index, term=1, payload=b"x") for index in (2, 3, 4)])
    assert list(slices(made)) == [2, 3, 4]
    assert ledger.entries == [*BEFORE, b"x", b"x", b"x"]


def test_a_snapshot_is_read_a_chunk_a_slice_and_shows_only_once_it_is_whole() -> None:
    made, ledger, _ = applier()
    source = reader(50)
    made.add_restore(source)
    for _ in range(source.count):
        made.apply_until(at_once)
        assert (ledger.entries, made.applied, made.is_restoring) == (BEFORE, 1, True)
    made.apply_until(at_once)
    assert (ledger.entries, made.applied, made.is_restoring) == (HELD, 50, False)


def test_entries_behind_a_snapshot_wait_for_it() -> None:
    made, ledger, told = applier()
    made.add_restore(reader(50))
    made.add([Command(index=51, term=2, payload=b"after")])
    made.apply_until(at_once)
    assert ledger.entries == BEFORE
    made.apply_until(never)
    assert ledger.entries == [*HELD, b"after"]
    assert [entry.index for entry in told] == [1, 51]


def test_a_snapshot_restarts_the_count_to_the_next_one() -> None:
    made, _, _ = applier()
    assert made.entries_since_snapshot == 1
    made.add_restore(reader(50))
    made.apply_until(never)
    assert (made.entries_since_snapshot, made.bytes_since_snapshot) == (0, 0)
