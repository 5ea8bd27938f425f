"""Whole managers keep their promises in storms: consensus, store, what tasks are given, what clients were told."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.sim.manager_world import simulate
from tests.sim.run import said

LENGTH = 20.0


FIRSTS = range(0, 25, 5)


@cache
def five_storms(first: int) -> Counter[str]:
    """What happened in them."""
    happened: Counter[str] = Counter()
    for seed in range(first, first + 5):
        try:
            happened.update(simulate(seed, length=LENGTH).tally.counts())
        except Exception as broken:  # noqa: BLE001 - whatever it is, the seed is the news
            pytest.fail(f"{broken!r}: {said('managers', seed, LENGTH)}")
    return happened


@pytest.mark.parametrize("first", FIRSTS)
def test_every_promise_holds_through_five_storms(first: int) -> None:
    five_storms(first)


def test_everything_that_may_befall_a_cluster_does() -> None:
    happened = Counter[str]()
    for first in FIRSTS:
        happened.update(five_storms(first))
    assert [what for what, count in happened.items() if not count] == []


def test_a_seed_replays_exactly() -> None:
    one, other = simulate(8, length=8), simulate(8, length=8)
    assert one.trace.digest == other.trace.digest
    assert one.trace.digest != simulate(9, length=8).trace.digest


def test_a_seed_replays_exactly_whatever_order_sets_have() -> None:
    traces = {_trace_of(3, hash_seed) for hash_seed in ("1", "2")}
    assert len(traces) == 1
    assert traces.pop().splitlines()[-1].startswith("trace ")


def _trace_of(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.sim.run", "managers", "--first", str(seed), "--trace", "--length", "8"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True).stdout
