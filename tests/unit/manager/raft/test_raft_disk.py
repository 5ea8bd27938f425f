"""Full, stalled, or just busy: what a member knows of its disk."""

from manager.raft.disk import DiskHealth
from manager.raft.errors import StorageFull, StorageStalled


def health(*, ticks: int = 0, outrun_at: int | None = None) -> DiskHealth:
    """With an order that has waited for so many ticks, of ten that one is patient."""
    made = DiskHealth(patience_ticks=10, tick_seconds=0.05)
    made.ordered(1)
    for _ in range(ticks):
        made.tick(outrun_at=outrun_at)
    return made


def test_an_order_may_wait_as_long_as_one_is_patient() -> None:
    assert health(ticks=9).problem is None
    stalled = health(ticks=10).problem
    assert isinstance(stalled, StorageStalled)
    assert stalled.seconds == 0.5
    assert "fsfreeze" in str(stalled)


def test_what_is_written_waits_no_more_and_what_was_ordered_later_has_its_own_time() -> None:
    disk = health(ticks=8)
    disk.ordered(2)
    disk.ordered(3)
    disk.written(2)
    for _ in range(9):
        disk.tick(outrun_at=None)
    assert disk.problem is None
    disk.tick(outrun_at=None)
    assert disk.problem is not None
    disk.written(3)
    assert disk.problem is None


def test_an_idle_disk_has_no_problem_however_long() -> None:
    disk = health()
    disk.written(1)
    for _ in range(100):
        disk.tick(outrun_at=None)
    assert disk.problem is None


def test_a_full_disk_is_named_before_the_waiting_it_causes() -> None:
    disk = health(ticks=20)
    full = StorageFull("raft", "no room")
    disk.full(full)
    assert disk.problem is full
    disk.full(None)
    assert isinstance(disk.problem, StorageStalled)


def test_outrun_is_who_stands_still_while_another_member_is_ahead_all_that_time() -> None:
    disk = health(ticks=10, outrun_at=7)
    assert not disk.is_outrun  # the first of them was the one that told us
    disk.tick(outrun_at=7)
    assert disk.is_outrun


def test_a_member_that_is_always_a_little_behind_is_not_outrun() -> None:
    disk = health()
    for durable in range(100):
        disk.tick(outrun_at=durable)
    assert not disk.is_outrun


def test_catching_up_once_is_enough() -> None:
    disk = health(ticks=10, outrun_at=7)
    disk.tick(outrun_at=None)
    disk.tick(outrun_at=7)
    assert not disk.is_outrun
