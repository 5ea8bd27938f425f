"""The judge of histories accepts what one copy could have answered, and refuses what it could not."""

from itertools import permutations
from math import inf
from random import Random

import pytest

from tests.sim.linearizability import IMPOSSIBLE, Operation, judge
from tests.sim.registers import Register, cas, create, read, remove


def op(call: tuple[object, ...], answer: object, began: float, ended: float = inf, *, key: str = "k", client: str = "c") -> Operation:
    return Operation(client=client, key=key, call=call, answer=answer, began=began, ended=ended)  # type: ignore[arg-type]


GOOD = {
    "nothing": [],
    "one after the other": [op(create("a"), "ok", 0, 1), op(read(), "a", 2, 3), op(cas("a", "b"), "ok", 4, 5), op(read(), "b", 6, 7)],
    "a read beside a write may see either": [op(create("a"), "ok", 0, 9), op(read(), None, 1, 2), op(read(), "a", 3, 4)],
    "of two swaps at a time one wins": [
        op(create("a"), "ok", 0, 1), op(cas("a", "b"), "ok", 2, 5), op(cas("a", "c"), "stale", 3, 6), op(read(), "b", 7, 8),
    ],
    "an unanswered write may have happened": [op(create("a"), None, 0), op(read(), "a", 5, 6)],
    "an unanswered write may happen later": [op(create("a"), None, 0), op(read(), None, 1, 2), op(read(), "a", 5, 6)],
    "an unanswered write may never happen": [op(create("a"), "ok", 0, 1), op(cas("a", "b"), None, 2), op(read(), "a", 3, 4)],
    "an unanswered swap that lost does nothing": [
        op(create("a"), "ok", 0, 1), op(cas("a", "b"), None, 2), op(cas("a", "c"), "ok", 3, 4), op(read(), "c", 5, 6),
    ],
    "removed": [op(create("a"), "ok", 0, 1), op(remove(), "ok", 2, 3), op(read(), None, 4, 5), op(cas("a", "b"), "stale", 6, 7)],
    "refused for other reasons": [op(create("a"), "refused", 0, 1), op(read(), None, 2, 3)],
    "removing what was replaced": [op(create("b"), "ok", 0, 1), op(remove("a"), "gone", 2, 3), op(read(), "b", 4, 5)],
    "a remove of nothing that comes before a look and a create that ends late": [
        op(create("a"), "ok", 1, 9), op(remove("b"), "ok", 2, 3), op(read(), None, 4, 5), op(read(), "a", 10, 11),
    ],
    "each key on its own": [op(create("a"), "ok", 0, 1, key="x"), op(read(), None, 2, 3, key="y")],
}  # fmt: skip

BAD = {
    "a write that was lost": [op(create("a"), "ok", 0, 1), op(read(), None, 2, 3)],
    "a stale read": [op(create("a"), "ok", 0, 1), op(cas("a", "b"), "ok", 2, 3), op(read(), "a", 4, 5)],
    "time going back": [op(create("a"), None, 0), op(read(), "a", 1, 2), op(read(), None, 3, 4)],
    "two winners": [op(create("a"), "ok", 0, 1), op(cas("a", "b"), "ok", 2, 5), op(cas("a", "c"), "ok", 3, 6)],
    "refused, and done": [op(create("a"), "ok", 0, 1), op(cas("a", "b"), "stale", 2, 3), op(read(), "b", 4, 5)],
    "seen before it was asked for": [op(create("a"), "ok", 0, 1), op(read(), "b", 2, 3), op(cas("a", "b"), "ok", 4, 5)],
    "done twice": [op(create("a"), None, 0), op(read(), "a", 1, 2), op(remove(), "ok", 3, 4), op(read(), "a", 5, 6)],
    "refused without a reason": [op(create("a"), "ok", 0, 1), op(cas("a", "b"), "stale", 2, 3)],
    "a removed thing that answers": [op(create("a"), "ok", 0, 1), op(remove(), "ok", 2, 3), op(cas("a", "b"), "ok", 4, 5)],
    "one bad key among good ones": [
        op(create("a"), "ok", 0, 1, key="x"), op(create("a"), "ok", 0, 1, key="y"), op(read(), None, 2, 3, key="y"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_it_accepts(name: str) -> None:
    assert judge(GOOD[name], Register()) is None


@pytest.mark.parametrize("name", BAD)
def test_it_refuses(name: str) -> None:
    assert judge(BAD[name], Register()) is not None


def test_it_says_what_does_not_fit_and_what_came_before() -> None:
    verdict = judge(BAD["a stale read"], Register())
    assert verdict is not None
    assert [one.call for one in verdict.explained] == [create("a"), cas("a", "b")]
    assert [one.call for one in verdict.stuck] == [read()]
    assert "4.000-5.000 c: ('read',) -> a" in str(verdict)


def _explains(order: tuple[Operation, ...]) -> bool:
    state = Register.initial
    for place, one in enumerate(order):
        if any(later.ended < one.began for later in order[place + 1 :]):
            return False
        state = Register().step(state, one)
        if state is IMPOSSIBLE:
            return False
    return True


def _brute(history: list[Operation]) -> bool:
    """By definition: some order of all that was answered and some of the rest explains every answer."""
    answered, open_ones = [one for one in history if not one.is_open], [one for one in history if one.is_open]
    chosen = [[one for number, one in enumerate(open_ones) if bits >> number & 1] for bits in range(1 << len(open_ones))]
    return any(_explains(order) for some in chosen for order in permutations([*answered, *some]))


def _draw(rng: Random) -> list[Operation]:
    history = []
    for number in range(rng.randint(2, 5)):
        call = rng.choice([create("a"), cas("a", "b"), cas("b", "a"), read(), remove()])
        answers = ["a", "b", None] if call == read() else ["ok", {"cas": "stale", "create": "exists", "remove": "gone"}[call[0]]]
        began = rng.randint(0, 8)
        ended = inf if rng.random() < 0.2 else began + rng.randint(0, 4)
        history.append(op(call, rng.choice(answers), began, ended, client=f"c{number}"))
    return history


def test_it_agrees_with_the_definition_on_small_histories() -> None:
    rng, accepted = Random(5), 0
    for _ in range(1500):
        history = _draw(rng)
        expected = _brute(history)
        accepted += expected
        assert (judge(history, Register()) is None) is expected, history
    assert 200 < accepted < 1300


def test_many_who_look_at_the_same_moment_are_one_step() -> None:
    """While a leader is cut off everybody asks again and again; 2**60 orders of the reads are as good as one."""
    history = [op(create("a"), "ok", 0, 1), op(cas("a", "b"), "ok", 2, 9)]
    history += [op(read(), value, 3, 8, client=f"r{number}") for number in range(60) for value in ("a", "b")]
    assert judge(history, Register()) is None
    assert judge([*history, op(read(), "a", 8.5, 8.6)], Register()) is not None


def test_a_long_busy_history_is_judged_at_once() -> None:
    """Eight clients at a time on one key for two hundred rounds: without the memory of configurations this would not end."""
    history, rng, value, at = [op(create("0"), "ok", 0, 0.5)], Random(1), "0", 1.0
    for round_ in range(200):
        winner = f"v{round_}"
        history.append(op(cas(value, winner), "ok", at, at + 0.9, client="w"))
        losers = [cas(value, f"l{round_}.{one}") for one in range(4)]
        history += [op(loser, "stale", at, inf if rng.random() < 0.02 else at + 1.2) for loser in losers]
        history += [op(read(), rng.choice([value, winner]), at, at + 0.5, client=f"r{one}") for one in range(3)]
        value, at = winner, at + 1.0
    assert judge(history, Register()) is None
    late = op(read(), "v0", at, at + 1)
    assert judge([*history, late], Register()) is not None
