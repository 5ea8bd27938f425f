"""The promise: a stack's networks are removed once nothing uses them, and no refusal is waited out in vain."""

from __future__ import annotations

import pytest

from cli.deployment import once_free
from cli.errors import ApiError


class Refuses:
    """Refuses some times, then lets it be; time goes on by the pauses alone."""

    def __init__(self, times: int, said: str) -> None:
        self.left, self.said, self.now = times, said, 0.0

    def __call__(self) -> None:
        if self.left:
            self.left -= 1
            raise ApiError(403, self.said)

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


def test_a_network_is_removed_when_its_last_tasks_are_gone() -> None:
    network = Refuses(5, "network x is in use by task y")
    once_free(network, clock=network.clock, pause=network.pause)
    assert network.left == 0


@pytest.mark.parametrize(("said", "tried"), [("network x is in use by service y", 1), ("network x is in use by task y", 151)])
def test_other_refusals_and_endless_ones_are_told(said: str, tried: int) -> None:
    network = Refuses(1000, said)
    with pytest.raises(ApiError, match="in use"):
        once_free(network, clock=network.clock, pause=network.pause)
    assert 1000 - network.left == pytest.approx(tried, abs=1)
