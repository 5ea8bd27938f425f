"""What a name's history may look like to clients: as of one object, which whoever removes it may find removed already."""

from math import inf

import pytest

from integration.histories import CREATED, EXISTED, LACKED, REMOVED, Named
from tests.sim.linearizability import Operation, judge


def op(call: tuple[str, str], answer: str | None, began: float, ended: float = inf) -> Operation:
    return Operation(client="c", key="name", call=call, answer=answer, began=began, ended=ended)


A, B, READ, REMOVE = ("create", "a"), ("create", "b"), ("read", ""), ("remove", "")
CREATION = op(A, CREATED, 0, 1)
GOOD = {
    "one after the other": [CREATION, op(READ, "a", 2, 3), op(REMOVE, REMOVED, 4, 5), op(READ, LACKED, 6, 7), op(REMOVE, LACKED, 8, 9)],
    "two remove the same": [CREATION, op(REMOVE, REMOVED, 2, 5), op(REMOVE, REMOVED, 3, 6), op(B, CREATED, 4, 7), op(READ, "b", 8, 9)],
    "an unanswered creation was never done": [op(A, None, 0), op(B, CREATED, 5, 6), op(READ, "b", 7, 8)],
    "an unanswered removal was done late": [CREATION, op(REMOVE, None, 2), op(READ, "a", 3, 4), op(READ, LACKED, 5, 6)],
}
BAD = {
    "an acknowledged creation is lost": [CREATION, op(B, CREATED, 2, 3)],
    "a stale read": [CREATION, op(READ, LACKED, 2, 3)],
    "a refusal by someone who has not heard of the removal": [CREATION, op(REMOVE, REMOVED, 2, 3), op(B, EXISTED, 4, 5)],
    "nothing to remove, says someone who has not heard of the creation": [CREATION, op(REMOVE, LACKED, 2, 3)],
    "a creation that is done again": [
        op(A, CREATED, 0, 9),
        op(READ, "a", 1, 2),
        op(REMOVE, REMOVED, 3, 4),
        op(READ, LACKED, 5, 6),
        op(READ, "a", 7, 8),
    ],
    "two creations at a time": [op(A, CREATED, 0, 3), op(B, CREATED, 1, 4)],
}


@pytest.mark.parametrize("name", GOOD)
def test_accepted(name: str) -> None:
    assert judge(GOOD[name], Named()) is None


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    assert judge(BAD[name], Named()) is not None
