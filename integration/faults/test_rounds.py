"""Rounds of faults on the managers under eight clients: nothing acknowledged is lost, all replicas are equal, no container notices.

A seed decides the faults; `SHOAL_SEED=n` runs those of a seed that was printed again.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

import pytest

from integration.clients import Clients
from integration.cluster_rig import Cluster, wait_until
from integration.faults.rig import IMAGE, MANAGERS, create, patience, reachable, running, states
from integration.netlab import why_no_engine
from integration.rounds import carry_out, plan
from integration.verdict import nothing_is_lost

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.mark.timeout(240)
def test_five_rounds_on_three_managers(cluster: Cluster) -> None:
    rounds_of_faults(cluster, MANAGERS, 5)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_thirty_rounds_on_three_managers(cluster: Cluster) -> None:
    rounds_of_faults(cluster, MANAGERS, 30)


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_thirty_rounds_on_five_managers(archive: Path) -> None:
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-rounds-"))
    names = [f"m{number}" for number in range(1, 6)]
    with Cluster("rounds", folder, network="10.93.0") as cluster:
        first = cluster.bring_up(managers=5, workers=0, archive=archive, image=IMAGE)
        wait_until(lambda: len(reachable(first)) == 5, what="five managers agree")
        rounds_of_faults(cluster, names, 30)
    shutil.rmtree(folder, ignore_errors=True)


def rounds_of_faults(cluster: Cluster, names: Sequence[str], count: int) -> None:
    seed = int(os.environ.get("SHOAL_SEED") or SystemRandom().getrandbits(32))
    print(f"\nSHOAL_SEED={seed}: {count} rounds on {len(names)} managers", flush=True)
    managers = [cluster.daemons[name] for name in names]
    first = managers[0]
    patience(first, "30s")  # a fault is shorter than three of these: no node may be taken for lost
    create(first, "web", "--replicas", "5")
    tasks = {task["ID"] for task in first.wait_running("web", 5)}
    before = running(cluster)
    begun = time.monotonic()
    with Clients(managers, seed=seed) as clients:
        carry_out(cluster, managers, clients, plan(seed, count))
    wait_until(lambda: len(reachable(first)) == len(managers), what="all managers are reachable")
    wait_until(lambda: set(states(first).values()) == {"ready"}, what="all nodes are ready")
    assert {task["ID"] for task in first.wait_running("web", 5)} == tasks
    assert running(cluster) == before, "a container was ended or begun that had nothing to do with the faults"
    nothing_is_lost(managers, clients)
    print(
        f"{count} rounds in {time.monotonic() - begun:.0f} s: {len(clients.moments)} answers, {len(clients.refusals)} refusals", flush=True
    )
    patience(first, "5s")
