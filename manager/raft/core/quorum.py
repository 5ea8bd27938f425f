"""Counting: what a majority has, grants, or still answers (paper 5.2, 5.3)."""

import enum
from collections.abc import Callable, Collection, Sequence

from manager.raft.core.membership import MemberId


def majority_of(count: int) -> int:
    """How many of `count` voters make a majority; nobody is no majority of nobody."""
    return count // 2 + 1


def agreed_index(matches: Sequence[int]) -> int:
    """The highest index that a majority has reached; `matches` has one number a voter."""
    if not matches:
        return 0
    return sorted(matches, reverse=True)[majority_of(len(matches)) - 1]


class Tally(enum.Enum):
    """How a ballot stands."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


def tally(voters: Sequence[MemberId], granted: Collection[MemberId], refused: Collection[MemberId]) -> Tally:
    """Votes of members that are no voters in this membership do not count."""
    needed = majority_of(len(voters))
    if sum(voter in granted for voter in voters) >= needed:
        return Tally.WON
    if sum(voter not in refused for voter in voters) < needed:
        return Tally.LOST
    return Tally.OPEN


def has_majority(voters: Sequence[MemberId], holds: Callable[[MemberId], bool]) -> bool:
    """Does it hold for a majority of the voters?"""
    return sum(holds(voter) for voter in voters) >= majority_of(len(voters))
