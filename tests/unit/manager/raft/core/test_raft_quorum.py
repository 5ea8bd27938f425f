"""Counting majorities (paper 5.2, 5.3)."""

from hypothesis import given
from hypothesis import strategies as st

from manager.raft.core.membership import MemberId
from manager.raft.core.quorum import Tally, agreed_index, has_majority, majority_of, tally

NAMES = [MemberId(name) for name in "abcdefg"]


def test_two_majorities_always_meet() -> None:
    for count in range(1, 10):
        assert 2 * majority_of(count) > count
        assert 2 * (majority_of(count) - 1) <= count


@given(st.lists(st.integers(0, 50), min_size=1, max_size=7))
def test_the_agreed_index_is_the_highest_that_a_majority_has(matches: list[int]) -> None:
    agreed = agreed_index(matches)
    assert sum(match >= agreed for match in matches) >= majority_of(len(matches))
    assert sum(match >= agreed + 1 for match in matches) < majority_of(len(matches))


def test_nobody_agrees_on_nothing() -> None:
    assert agreed_index([]) == 0


@given(st.sets(st.sampled_from(NAMES[:5])), st.sets(st.sampled_from(NAMES)))
def test_a_ballot_is_won_lost_or_open_and_never_two_of_them(granted: set[MemberId], answered: set[MemberId]) -> None:
    voters, refused = NAMES[:5], answered - granted
    outcome = tally(voters, granted, refused)
    assert (outcome is Tally.WON) == (len(granted & set(voters)) >= 3)
    assert (outcome is Tally.LOST) == (len(refused & set(voters)) >= 3)


def test_the_votes_of_strangers_do_not_count() -> None:
    assert tally(NAMES[:3], {NAMES[0], NAMES[5], NAMES[6]}, set()) is Tally.OPEN


def test_a_majority_is_of_the_voters() -> None:
    assert has_majority(NAMES[:3], lambda voter: voter in NAMES[1:3])
    assert not has_majority(NAMES[:4], lambda voter: voter in NAMES[1:3])
