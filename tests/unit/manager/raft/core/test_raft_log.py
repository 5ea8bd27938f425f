"""A log only grows, but for a tail that nobody committed; what is handed out was durable and committed before."""

import pytest

from manager.raft.core.entries import Command, Configure, Entry, HardState, SnapshotMeta, Stored
from manager.raft.core.log import Log, Violation
from manager.raft.core.membership import Member, MemberId, Membership


def entries(first: int, *terms: int) -> list[Entry]:
    return [Command(index=first + at, term=term, payload=b"x" * 10) for at, term in enumerate(terms)]


def members(*names: str) -> Membership:
    return Membership(members=tuple(Member(id=MemberId(name), address=name) for name in names))


def log_of(*terms: int, commit: int = 0) -> Log:
    return Log(Stored(hard=HardState(term=9), entries=tuple(entries(1, *terms)), commit=commit))


def shown(log: Log) -> list[int]:
    return [entry.term for entry in log.between(log.base_index, log.last_index)]


def test_a_new_log_is_empty_and_matches_the_beginning_of_any_other() -> None:
    log = log_of()
    assert (log.last_index, log.last_term, log.term_at(0), log.term_at(1)) == (0, 0, 0, None)


def test_entries_that_are_there_already_are_skipped() -> None:
    log = log_of(1, 1, 2)
    log.merge(entries(2, 1, 2))
    assert shown(log) == [1, 1, 2]


def test_an_old_append_that_comes_late_takes_nothing_away() -> None:
    log = log_of(1, 1, 2, 2, 2)
    log.merge(entries(2, 1))
    assert shown(log) == [1, 1, 2, 2, 2]


def test_the_first_conflict_and_all_after_it_are_replaced() -> None:
    log = log_of(1, 1, 2, 2, 2)
    log.merge(entries(3, 3, 3))
    assert shown(log) == [1, 1, 3, 3]


def test_a_committed_entry_is_never_replaced() -> None:
    log = log_of(1, 1, 2, commit=3)
    with pytest.raises(Violation, match="would be overwritten"):
        log.merge(entries(3, 3))


def test_nothing_beyond_the_end_can_be_committed() -> None:
    with pytest.raises(Violation):
        log_of(1, 1).commit_to(3)


def test_the_commit_index_never_goes_back() -> None:
    log = log_of(1, 1, 1, commit=2)
    assert not log.commit_to(1)
    assert log.commit == 2


@pytest.mark.parametrize(
    ("mine", "last", "is_current"),
    [((1, 1), (2, 1), True), ((1, 1), (3, 1), True), ((1, 2), (9, 1), False), ((1, 1, 1), (1, 2), True), ((1, 1, 1), (2, 1), False)],
)
def test_the_later_term_is_more_up_to_date_then_the_longer_log(mine: tuple[int, ...], last: tuple[int, int], is_current: bool) -> None:
    assert log_of(*mine).is_current(*last) is is_current


def test_the_hint_skips_a_whole_term_at_once() -> None:
    log = log_of(1, 2, 5, 5, 5, 5)
    assert log.hint_for(6, 3) == (2, 2)
    assert log.hint_for(99, 9) == (6, 5)


def test_entries_are_cut_into_messages_of_the_size_allowed_but_never_of_none() -> None:
    log = log_of(1, 1, 1, 1)
    assert len(log.entries_from(1, max_bytes=100)) == 2
    assert len(log.entries_from(1, max_bytes=1)) == 1
    assert log.entries_from(5, max_bytes=100) == ()


def test_only_what_is_committed_and_durable_is_handed_out_and_only_once() -> None:
    log = log_of(1)
    log.append(entries(2, 1, 1))
    assert [entry.index for entry in log.take_unwritten()] == [2, 3]
    log.expect(1)
    log.commit_to(3)
    assert [entry.index for entry in log.take_applicable()] == [1]
    log.written(1)
    assert [entry.index for entry in log.take_applicable()] == [2, 3]
    assert log.take_applicable() == ()


def test_a_write_that_was_overtaken_by_a_conflict_makes_nothing_durable() -> None:
    """Entry 2 of term 1 is being written, is replaced, and comes again by a later leader: the first write is not its proof."""
    log = log_of(1)
    log.append(entries(2, 1))
    log.take_unwritten()
    log.expect(1)
    log.merge(entries(2, 2))
    log.take_unwritten()
    log.expect(2)
    log.merge(entries(2, 3))
    log.take_unwritten()
    log.expect(3)
    log.written(2)
    assert log.durable == 1
    log.written(3)
    assert log.durable == 2


def test_the_newest_membership_holds_until_it_is_replaced_or_taken_back() -> None:
    log = log_of(1)
    log.append([Configure(index=2, term=1, membership=members("a")), Configure(index=3, term=1, membership=members("a", "b"))])
    assert (log.membership, log.membership_index) == (members("a", "b"), 3)
    assert log.membership_at(2) == members("a")
    log.merge(entries(3, 2))
    assert (log.membership, log.membership_index) == (members("a"), 2)


def test_compaction_keeps_a_tail_and_its_terms_and_memberships() -> None:
    log = log_of(1, 1, 2, 2, 3, commit=5)
    log.take_applicable()
    log.append([Configure(index=6, term=3, membership=members("a", "b"))])
    log.compact(SnapshotMeta(index=4, term=2, membership=members("a")), keep_from=3)
    assert (log.base_index, log.base_term, shown(log)) == (2, 1, [2, 2, 3, 3])
    assert log.term_at(1) is None
    assert log.membership == members("a", "b")


def test_a_snapshot_of_what_was_not_applied_is_impossible() -> None:
    with pytest.raises(Violation):
        log_of(1, 1, commit=1).compact(SnapshotMeta(index=2, term=1), keep_from=1)


def test_a_restored_log_counts_as_durable_only_when_the_snapshot_is_in_force() -> None:
    log = log_of(1, 1)
    log.restore(SnapshotMeta(index=50, term=4, membership=members("a")))
    log.expect(7)
    assert (log.last_index, log.last_term, log.commit, log.durable) == (50, 4, 50, 0)
    log.written(7)
    assert log.durable == 50


def test_a_snapshot_never_undoes_a_commit() -> None:
    with pytest.raises(Violation):
        log_of(1, 1, commit=2).restore(SnapshotMeta(index=2, term=1))


def test_a_restart_finds_the_log_and_its_memberships_as_they_were() -> None:
    stored = Stored(
        hard=HardState(term=3),
        snapshot=SnapshotMeta(index=4, term=2, membership=members("a")),
        base_index=2,
        base_term=1,
        entries=(*entries(3, 2, 2), Configure(index=5, term=3, membership=members("a", "b"))),
        commit=4,
    )
    log = Log(stored)
    assert (log.term_at(2), log.commit, log.handed, log.durable) == (1, 4, 4, 5)
    assert log.membership == members("a", "b")
    assert log.membership_at(4) == members("a")
