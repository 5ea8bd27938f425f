"""Bad requests over raw HTTP, on a manager, on a worker and outside of a swarm: the right status, one clear line, the daemon alive."""

from collections.abc import Iterator, Mapping
from string import Template
from typing import Any

import pytest

from integration import mutations
from integration.bad_requests import (
    CREATE,
    FILES,
    NETWORKS,
    NO_MANAGER,
    NODES,
    NOT_A_MANAGER,
    NOT_IN_SWARM,
    OUTSIDE,
    SERVICES,
    SWARM,
    TASKS,
    Known,
    Row,
    file,
    overlay,
    ports,
    service,
)
from integration.cluster_rig import Cluster, Daemon
from integration.raw_http import call, message

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def known(cluster: Cluster) -> Iterator[Known]:
    """A service, a secret, a config and a network that the rows refer to; gone afterwards."""
    manager = cluster.daemons["m1"]

    def ask(method: str, target: str, body: object = None) -> Any:
        status, answer = call(manager.socket, method, target, body)
        assert status < 300, (target, answer)
        return answer

    ask("POST", CREATE, service("known", EndpointSpec=ports(8181)))
    found: dict[str, Any] = {"service": ask("GET", "/services/known")["ID"], "version": ask("GET", "/services/known")["Version"]["Index"]}
    for kind in ("secret", "config"):
        found[kind] = ask("POST", f"/{kind}s/create", file("known", b"hi"))["ID"]
        found[f"{kind}_version"] = ask("GET", f"/{kind}s/known")["Version"]["Index"]
    ask("POST", "/networks/create", overlay("known"))
    uses = {
        f"{kind.title()}s": [{f"{kind.title()}ID": found[kind], f"{kind.title()}Name": "known", "File": {"Name": "known"}}]
        for kind in ("secret", "config")
    }
    ask("POST", CREATE, service("user", container=uses, template={"Networks": [{"Target": "known"}]}))
    nodes = {node["Description"]["Hostname"]: node for node in ask("GET", "/nodes")}
    swarm = ask("GET", "/swarm")
    token = swarm["JoinTokens"]["Worker"]
    found |= {
        "manager": nodes["m1"]["ID"],
        "node_version": nodes["m1"]["Version"]["Index"],
        "worker": nodes["w1"]["ID"],
        "swarm": swarm["Spec"],
        "swarm_version": swarm["Version"]["Index"],
        "token": token,
        "wrong_token": token[:-4] + ("aaaa" if not token.endswith("aaaa") else "bbbb"),
        "foreign_token": f"SWMTKN-1-{'0' * 50}-{'1' * 25}",
    }
    yield found
    for name in ("user", "known"):
        ask("DELETE", f"/services/{name}")
    for kind in ("secret", "config", "network"):
        ask("DELETE", f"/{kind}s/known")


def refused(daemon: Daemon, row: Row, known: Known) -> None:
    target = Template(row.target).safe_substitute(known)
    body = row.body(known) if callable(row.body) else row.body
    status, answer = call(daemon.socket, row.method, target, body, headers=row.headers)
    said = message(answer)
    assert (status, Template(row.words).safe_substitute(known) in said) == (row.status, True), f"{row.method} {target} -> {status} {said}"
    assert "\n" not in said.strip(), "a refusal is one line"
    assert "internal error" not in said


def each(table: Mapping[str, Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", table.values(), ids=table.keys())


@each(SERVICES)
def test_a_bad_request_about_services_is_refused(cluster: Cluster, known: Known, row: Row) -> None:
    refused(cluster.daemons["m1"], row, known)


@each(TASKS)
def test_a_bad_request_about_tasks_is_refused(cluster: Cluster, known: Known, row: Row) -> None:
    refused(cluster.daemons["m1"], row, known)


@pytest.mark.parametrize("kind", ["secret", "config"])
@each(FILES)
def test_a_bad_request_about_secrets_and_configs_is_refused(cluster: Cluster, known: Known, row: Row, kind: str) -> None:
    refused(cluster.daemons["m2"], row, {**known, "kind": kind, "kind_version": known[f"{kind}_version"]})


@each(NETWORKS)
def test_a_bad_request_about_networks_is_refused(cluster: Cluster, known: Known, row: Row) -> None:
    refused(cluster.daemons["m1"], row, known)


@each(NODES)
def test_a_bad_request_about_nodes_is_refused(cluster: Cluster, known: Known, row: Row) -> None:
    refused(cluster.daemons["m3"], row, known)


@each(SWARM)
def test_a_bad_request_about_the_swarm_is_refused(cluster: Cluster, known: Known, row: Row) -> None:
    refused(cluster.daemons["m1"], row, known)


@each(NO_MANAGER)
def test_a_worker_says_that_it_is_none_of_the_managers(cluster: Cluster, known: Known, row: Row) -> None:
    refused(cluster.daemons["w1"], row if row.words else row._replace(words=NOT_A_MANAGER), known)


@each(NO_MANAGER)
def test_a_node_outside_a_swarm_says_how_to_come_into_one(outsider: Daemon, known: Known, row: Row) -> None:
    refused(outsider, row if row.words else row._replace(words=NOT_IN_SWARM), known)


def test_a_worker_cannot_make_an_overlay(cluster: Cluster) -> None:
    status, answer = call(cluster.daemons["w1"].socket, "POST", "/networks/create", overlay("fresh"))
    assert (status, message(answer)) == (
        403,
        "Cannot create a multi-host network from a worker node. Please create the network from a manager node.",
    )


@each(OUTSIDE)
def test_a_bad_founding_or_joining_leaves_the_node_outside(outsider: Daemon, known: Known, row: Row) -> None:
    refused(outsider, row, known)
    assert outsider.get("/info")["Swarm"]["LocalNodeState"] == "inactive"


@pytest.mark.parametrize(
    ("noun", "whole"),
    [("services", mutations.SERVICE), ("networks", mutations.NETWORK), ("secrets", mutations.FILE), ("configs", mutations.FILE)],
    ids=["services", "networks", "secrets", "configs"],
)
def test_whatever_is_wrong_with_a_description_is_the_clients_fault(manager: Daemon, noun: str, whole: Mapping[str, Any]) -> None:
    """Taken, or refused with 4xx and a message: no wrong member of any create request may end in an error of ours."""
    faults = []
    for name, mutant in mutations.mutants(whole):
        status, answer = call(manager.socket, "POST", f"/{noun}/create", mutant)
        if status < 300:
            call(manager.socket, "DELETE", f"/{noun}/{answer.get('ID') or answer['Id']}")
        elif (status >= 500 and status != 501) or set(answer) != {"message"}:
            faults.append((name, status, answer))
    assert not faults
