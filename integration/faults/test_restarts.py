"""Restarts that are meant: nobody has to notice."""

import time

import pytest

from integration.clients import Clients
from integration.cluster_rig import Cluster, wait_until
from integration.faults.rig import MANAGERS, create, local_state, patience, reachable, running, state_of, states
from integration.verdict import nothing_is_lost

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(90)]


def test_restarted_workers_and_managers_lose_no_write_and_no_container(cluster: Cluster) -> None:
    """A rolling restart under eight clients that try again: none fails."""
    first = cluster.daemons["m1"]
    create(first, "web", "--replicas", "5")
    first.wait_running("web", 5)
    before = running(cluster)
    stops = [cluster.daemons["w1"].stop()]
    cluster.daemons["w1"].start()
    managers = [cluster.daemons[name] for name in MANAGERS]
    with Clients(managers, seed=1) as clients:
        for daemon in managers:
            count, begun = len(clients.acknowledged), time.monotonic()
            stops.append(daemon.stop())
            daemon.start()
            wait_until(lambda daemon=daemon: daemon.get("/nodes") and len(reachable(daemon)) == 3, what=f"{daemon.name} is a manager again")
            wait_until(lambda count=count: len(clients.acknowledged) > count, what="writes go on")
            print(f"{daemon.name} restarted: longest gap {clients.longest_gap(begun):.2f} s")
        wait_until(lambda: set(states(first).values()) == {"ready"}, what="all are ready")
    print(f"rolling restart: stopped within {max(stops):.1f} s, slowest write {clients.slowest:.2f} s, {len(clients.acknowledged)} writes")
    assert max(stops) <= 15
    assert clients.slowest <= 10
    nothing_is_lost(managers, clients)
    assert running(cluster) == before
    assert {task["ID"] for task in first.wait_running("web", 5)} == {one.task for one in before}


def test_an_announced_restart_may_take_longer_than_the_heartbeats_allow(cluster: Cluster) -> None:
    manager, away = cluster.daemons["m1"], cluster.daemons["w1"]
    patience(manager, "1s")
    create(manager, "web", "--replicas", "5")
    manager.wait_running("web", 5)
    before = running(cluster)
    away.stop()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert state_of(manager, "w1") == "ready"
        time.sleep(0.25)
    away.start()
    wait_until(lambda: local_state(away) == "active", what="it is back")
    assert running(cluster) == before
    patience(manager, "5s")
