"""Membership changes step by step (thesis section 4)."""

import pytest

from manager.raft.core.membership import (
    Add,
    Change,
    Demote,
    Member,
    MemberId,
    Membership,
    Promote,
    Readdress,
    Remove,
    Standing,
    Unsuitable,
    changed,
)

A, B, C = MemberId("a"), MemberId("b"), MemberId("c")


def membership(**standings: Standing) -> Membership:
    return Membership(members=tuple(Member(id=MemberId(name), address=name, standing=standing) for name, standing in standings.items()))


TWO = membership(a=Standing.VOTER, b=Standing.VOTER)


def test_a_new_member_never_votes_at_once() -> None:
    assert changed(TWO, Add(id=C, address="c"), caught_up=True).voters == (A, B)
    assert changed(TWO, Add(id=C, address="c", promote=True), caught_up=True).voters == (A, B)


def test_members_are_kept_in_the_order_of_their_ids() -> None:
    grown = changed(TWO, Add(id=MemberId("0"), address="x"), caught_up=False)
    assert [member.id for member in grown.members] == ["0", "a", "b"]


def test_a_learner_is_promoted_once_it_has_caught_up_and_is_marked_to_be_before() -> None:
    now = changed(TWO, Add(id=C, address="c"), caught_up=False)
    assert changed(now, Promote(id=C), caught_up=True).voters == (A, B, C)
    marked = changed(now, Promote(id=C), caught_up=False).find(C)
    assert marked is not None
    assert marked.standing is Standing.JOINING


def test_a_voter_can_be_promoted_without_harm() -> None:
    assert changed(TWO, Promote(id=B), caught_up=False) == TWO


@pytest.mark.parametrize("change", [Add(id=C, address="c"), Promote(id=B), Demote(id=B), Remove(id=B), Readdress(id=B, address="x")])
def test_no_step_changes_more_than_one_voter(change: Change) -> None:
    assert len(set(TWO.voters) ^ set(changed(TWO, change, caught_up=True).voters)) <= 1


def test_an_address_can_change_without_a_change_of_standing() -> None:
    moved = changed(TWO, Readdress(id=B, address="elsewhere"), caught_up=False).find(B)
    assert moved is not None
    assert (moved.address, moved.standing) == ("elsewhere", Standing.VOTER)


@pytest.mark.parametrize(
    "change",
    [Add(id=A, address="a"), Promote(id=C), Demote(id=C), Remove(id=C), Readdress(id=C, address="x")],
    ids=lambda it: type(it).__name__,
)
def test_what_makes_no_sense_is_refused_with_the_member_named(change: Change) -> None:
    with pytest.raises(Unsuitable, match=f"member {change.id}"):
        changed(TWO, change, caught_up=True)


@pytest.mark.parametrize("change", [Demote(id=A), Remove(id=A)])
def test_the_last_voter_stays(change: Change) -> None:
    alone = membership(a=Standing.VOTER, b=Standing.LEARNER)
    with pytest.raises(Unsuitable, match="only voter"):
        changed(alone, change, caught_up=True)
