"""The replay window against what it stands for: a set of everything that was ever taken."""

from hypothesis import given
from hypothesis import strategies as st

from node_agent.network.crypt.window import SIZE, ReplayWindow

NEAR = st.integers(-SIZE - 10, SIZE + 10)
STEPS = st.lists(st.one_of(NEAR, st.integers(-3, 3), st.integers(0, 1 << 40)), max_size=60)


@given(STEPS)
def test_a_number_is_taken_once_and_only_if_it_is_not_too_old(steps: list[int]) -> None:
    window, taken, top = ReplayWindow(), set[int](), 0
    for step in steps:
        number = max(1, top + step)
        expected = number not in taken and number > top - SIZE
        assert window.is_fresh(number) is expected
        if expected:
            window.accept(number)
            taken.add(number)
            top = max(top, number)
        assert not window.is_fresh(number)
        assert window.top == top


def test_zero_is_no_number() -> None:
    assert not ReplayWindow().is_fresh(0)


def test_what_is_not_genuine_does_not_move_the_window() -> None:
    window = ReplayWindow()
    assert window.is_fresh(1 << 50)
    assert window.is_fresh(1)
