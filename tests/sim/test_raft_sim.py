"""The promises of consensus hold in a hundred storms, and the net that watches them catches the classic mistakes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manager.raft.core.log import Violation
from tests.scripts.raft.raft_interpreter import Script, SpokenMember
from tests.sim.raft_checks import Broken
from tests.sim.raft_member import SimMember
from tests.sim.raft_mutants import CORE_MUTANTS, DISK_MUTANTS, replaced
from tests.sim.raft_world import simulate
from tests.sim.run import said

SCRIPTS = Path(__file__).parents[1] / "scripts" / "raft"
LENGTH = 250.0

# Some mistakes show in any storm; the others only where a script walks straight into the trap that the papers describe.
FOUND_BY_STORMS = (
    "acknowledges before the sync",
    "forgets that answers depend on the disk",
    "truncates what was committed",
    "votes for logs that lack entries",
    "votes twice in a term",
    "puts a snapshot over a newer log",
    "appends without comparing",
    "votes without its log",
)
FOUND_BY_SCRIPTS = {
    "forgets its vote": "vote_survives",
    "commits an old term's entry by count": "figure_8",
    "reads without asking a majority": "reads",
    "changes members without waiting": "one_change",
}


@contextmanager
def mistaken(name: str) -> Iterator[type[SimMember] | None]:
    """The mistake is made, for the block; a member class if it is made outside of the core."""
    if name in DISK_MUTANTS:
        yield DISK_MUTANTS[name]
    else:
        with replaced(*CORE_MUTANTS[name]):
            yield None


def hunt(make: type[SimMember]) -> None:
    for seed in range(100):
        simulate(seed, length=LENGTH, make=make)


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_every_promise_holds_through_ten_storms(first: int) -> None:
    for seed in range(first, first + 10):
        try:
            simulate(seed, length=LENGTH)
        except (Broken, Violation) as broken:
            pytest.fail(f"{broken!r}: {said('core', seed, LENGTH)}")


def test_a_seed_replays_exactly() -> None:
    one, other = simulate(7, length=LENGTH), simulate(7, length=LENGTH)
    assert (one.steps, one.checks.committed, one.checks.acknowledged) == (other.steps, other.checks.committed, other.checks.acknowledged)


@pytest.mark.parametrize("mistake", FOUND_BY_STORMS)
def test_the_storms_find_who(mistake: str) -> None:
    with mistaken(mistake) as make, pytest.raises((Broken, Violation)):
        hunt(make or SimMember)


@pytest.mark.parametrize("mistake", FOUND_BY_SCRIPTS)
def test_the_scripts_find_who(mistake: str) -> None:
    script = (SCRIPTS / f"{FOUND_BY_SCRIPTS[mistake]}.txt").read_text()
    with mistaken(mistake) as make, pytest.raises(Broken):
        Script(make=make or SpokenMember).play(script)


def test_every_known_mistake_is_looked_for() -> None:
    assert {*FOUND_BY_STORMS, *FOUND_BY_SCRIPTS} == {*CORE_MUTANTS, *DISK_MUTANTS}
