"""Figures for Prometheus: on every daemon's socket, and on an address of their own where nothing else is served."""

import http.client

import pytest
from prometheus_client.parser import text_string_to_metric_families

from integration.cluster_rig import Cluster, Daemon, run, wait_until

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]


def figures(text: str) -> dict[str, float]:
    """Each sample under its name with its labels."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(daemon: Daemon) -> dict[str, float]:
    return figures(run(("curl", "-sS", "--fail", "--unix-socket", str(daemon.socket), "http://localhost/metrics")) + "\n")


def test_a_manager_shows_the_clusters_figures(cluster: Cluster) -> None:
    manager = cluster.daemons["m1"]
    manager.docker(
        "service", "create", "--detach", "--no-resolve-image", "--stop-grace-period", "0s", "--name", "web", "shoal-lab", "sleep", "1000"
    )
    manager.wait_running("web", 1)
    shown = scraped(manager)
    assert shown["shoal_manager"] == shown["shoal_services"] == shown["shoal_tasks state=running"] == 1
    assert shown["shoal_nodes state=ready"] == 5
    assert shown["shoal_node_state state=active"] == 1
    assert shown["shoal_raft_applied_index"] > 0
    assert sum(scraped(cluster.daemons[name])["shoal_raft_is_leader"] for name in ("m1", "m2", "m3")) == 1
    assert sum(scraped(daemon)["shoal_node_live_tasks"] for daemon in cluster.daemons.values()) == 1
    manager.docker("service", "rm", "web")
    wait_until(lambda: manager.get("/tasks") == [], what="the task is gone")


def test_a_worker_shows_its_own_figures(cluster: Cluster) -> None:
    shown = scraped(cluster.daemons["w1"])
    assert shown["shoal_manager"] == 0
    assert shown["shoal_node_state state=active"] == 1
    assert shown["process_resident_memory_bytes"] > 1 << 20
    assert "shoal_services" not in shown


def test_the_address_for_scrapes_serves_figures_and_nothing_else(outsider: Daemon) -> None:
    def asked(method: str, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", 9323, timeout=10)
        with outsider.host.inside():
            connection.connect()
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    status, text = asked("GET", "/metrics")
    assert status == 200
    assert figures(text)["shoal_node_state state=inactive"] == 1
    for method, path in (("GET", "/version"), ("GET", "/containers/json"), ("POST", "/swarm/init"), ("POST", "/containers/create")):
        assert asked(method, path)[0] == 404, path
