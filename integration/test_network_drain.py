"""No request fails while tasks come and go: a short form of `make bench-drain` on a real cluster."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.drain_rig import Drill
from integration.netlab import why_no_engine

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine()),
]


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    folder = Path(tempfile.mkdtemp(prefix="shoal-drain-"))
    with Drill(folder, tag="drainit", network="10.94.0", drain_timeout="1s") as running:
        running.deploy("polite")
        yield running
    shutil.rmtree(folder, ignore_errors=True)


def test_no_request_fails_through_a_rolling_update_a_drained_node_and_fewer_replicas(drill: Drill) -> None:
    with drill.traffic():
        phases = [
            drill.phase("update, the old task stops first", drill.update),
            drill.phase("update, the new task starts first", lambda: drill.update("start-first")),
            drill.phase("node drained", lambda: drill.drain("m2")),
            drill.phase("six replicas to two", lambda: drill.scale(2)),
        ]
    for phase in phases:
        print(phase)
    assert [str(phase) for phase in phases if phase.failures] == []
    assert all(len(phase.samples) > 100 for phase in phases), "there was traffic"
