"""The net of whole managers catches mistakes that are made on purpose, one by one."""

import logging

import pytest

from tests.sim.manager_mutants import MISTAKES, Mistake
from tests.sim.manager_world import simulate
from tests.sim.raft_checks import Broken
from tests.sim.raft_mutants import replaced

MOST_SEEDS = 60


@pytest.mark.parametrize("name", MISTAKES)
def test_the_storms_find_who(name: str) -> None:
    mistake = MISTAKES[name]
    logging.disable(logging.CRITICAL)
    try:
        with replaced(*mistake.rule), pytest.raises((Broken, ExceptionGroup)) as found:
            _hunt(mistake)
    finally:
        logging.disable(logging.NOTSET)
    assert isinstance(found.value, Broken) or found.value.subgroup(Broken) is not None, found.value


def _hunt(mistake: Mistake) -> None:
    for seed in range(MOST_SEEDS):
        simulate(seed, length=12, faults=mistake.faults)
