"""What clients see: Docker's JSON, nothing secret, jobs as Docker counts them."""

import json

import msgspec
import pytest
from msgspec.structs import replace

from cluster.api.changes import ChangeSet, Put
from cluster.api.endpoint import Guest
from cluster.api.objects import (
    Cluster,
    Endpoint,
    Network,
    Node,
    NodeStatus,
    RaftMember,
    RootCA,
    Secret,
    Service,
    Task,
    TaskStatus,
    VirtualIP,
)
from cluster.api.specs import (
    SECOND,
    ContainerSpec,
    NodeSpec,
    ReplicatedJobMode,
    ReplicatedMode,
    SecretSpec,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import NodeState, Role, TaskState
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from node_agent.api import views
from node_agent.api.backend import ManagerView
from node_agent.api.versions import ApiVersion

NEW = ApiVersion(1, 51)


def holding(*objects: object) -> Snapshot:
    now = EMPTY_SNAPSHOT
    for number, one in enumerate(objects, start=1):
        now, refusal = apply(now, number, ChangeSet(at=1_700_000_000 * SECOND, changes=(Put(object=one),)))  # type: ignore[arg-type]
        assert refusal is None, refusal
    return now


def service(mode: ServiceMode) -> Service:
    return Service(id="s1", spec=ServiceSpec(name="web", mode=mode, task_template=TaskSpec(container_spec=ContainerSpec(image="nginx"))))


def task(number: int, state: TaskState, desired: TaskState = TaskState.RUNNING) -> Task:
    return Task(
        id=f"t{number}",
        service_id="s1",
        template_version=2,
        slot=number,
        node_id="n1",
        desired_state=desired,
        status=TaskStatus(state=state),
    )


READY = Node(id="n1", status=NodeStatus(state=NodeState.READY))


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0001-01-01T00:00:00Z"),
        (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_times_read_as_go_prints_them(ns: int, shown: str) -> None:
    assert views.timestamp(ns) == shown


def test_a_service_shows_its_mode_and_counts_only_tasks_that_really_run() -> None:
    mode = ServiceMode(replicated=ReplicatedMode(replicas=3))
    now = holding(READY, service(mode), task(1, TaskState.RUNNING), task(2, TaskState.STARTING))
    shown = views.service(now.services["s1"], now, version=NEW, status=True)
    assert shown["Spec"]["Mode"] == {"Replicated": {"Replicas": 3}}
    assert shown["ServiceStatus"] == {"RunningTasks": 1, "DesiredTasks": 3, "CompletedTasks": 0}
    assert "ServiceStatus" not in views.service(now.services["s1"], now, version=ApiVersion(1, 40), status=True)


def test_a_task_that_says_it_runs_on_a_node_that_is_down_is_not_counted() -> None:
    down = Node(id="n1", status=NodeStatus(state=NodeState.DOWN))
    now = holding(down, service(ServiceMode(replicated=ReplicatedMode(replicas=1))), task(1, TaskState.RUNNING))
    assert views.service_status(now.services["s1"], now)["RunningTasks"] == 0


def test_a_finished_job_wants_nothing_more() -> None:
    mode = ServiceMode(replicated_job=ReplicatedJobMode(max_concurrent=2, total_completions=2))
    done = (task(number, TaskState.COMPLETE, TaskState.COMPLETE) for number in (1, 2))
    now = holding(READY, service(mode), *done)
    assert views.service_status(now.services["s1"], now) == {"RunningTasks": 0, "DesiredTasks": 0, "CompletedTasks": 2}


def test_the_slots_of_jobs_count_from_zero() -> None:
    mode = ServiceMode(replicated_job=ReplicatedJobMode(max_concurrent=2, total_completions=2))
    now = holding(READY, service(mode), task(1, TaskState.RUNNING), task(2, TaskState.RUNNING))
    shown = [views.task(now.tasks[task_id], now) for task_id in ("t1", "t2")]
    assert [one.get("Slot") for one in shown] == [None, 1]
    assert [one["JobIteration"] for one in shown] == [{"Index": 0}, {"Index": 0}]


def test_a_task_has_a_container_status_from_when_a_node_has_it_in_hand() -> None:
    now = holding(READY, service(ServiceMode(replicated=ReplicatedMode(replicas=2))))
    shown = {state: views.task(task(1, state), now)["Status"].get("ContainerStatus") for state in TaskState}
    assert [state for state, status in shown.items() if status is None] == [state for state in TaskState if state < TaskState.PREPARING]
    assert shown[TaskState.REJECTED] == {"ContainerID": "", "PID": 0, "ExitCode": 0}


def test_a_service_without_an_address_shows_none() -> None:
    """Prometheus parses each, and one that is empty ends its discovery of all services."""
    owner = replace(service(ServiceMode()), endpoint=Endpoint(virtual_ips=(VirtualIP(network_id="net1"),)))
    assert "VirtualIPs" not in views.service(owner, holding(owner), version=NEW)["Endpoint"]
    addressed = replace(owner, endpoint=Endpoint(virtual_ips=(VirtualIP(network_id="net1", addr="10.0.1.2/24"),)))
    assert views.service(addressed, holding(owner), version=NEW)["Endpoint"]["VirtualIPs"] == [{"NetworkID": "net1", "Addr": "10.0.1.2/24"}]


def test_a_network_shows_containers_of_other_nodes_by_what_the_managers_call_them() -> None:
    guests = (Guest(id="g1", node_id="n1", name="here", address="10.0.1.9"), Guest(id="g2", node_id="n2", name="there", address="10.0.1.8"))
    row = Network(id="net1", subnet="10.0.1.0/24", gateway="10.0.1.1", guests=guests)
    there = views.guests_elsewhere(row, "n1")
    assert {key: (one["Name"], one["IPv4Address"]) for key, one in there.items()} == {"g2": ("there", "10.0.1.8/24")}
    assert views.network(row, holding(), version=NEW, containers=there)["Containers"] == there
    assert views.network(row, holding(), version=NEW)["Containers"] is None


def test_a_network_has_no_member_newer_than_its_client() -> None:
    row = Network(id="net1", subnet="10.0.1.0/24", gateway="10.0.1.1")
    assert views.network(row, holding(), version=ApiVersion(1, 48))["EnableIPv4"] is True
    assert "EnableIPv4" not in views.network(row, holding(), version=ApiVersion(1, 47))


def test_a_manager_that_nobody_reaches_is_shown_so() -> None:
    row = Node(id="m1", spec=NodeSpec(role=Role.MANAGER), member=RaftMember(addr="10.0.0.1:2377"))
    assert views.node(row, {})["ManagerStatus"] == {"Reachability": "unreachable", "Addr": "10.0.0.1:2377"}
    seen = {"m1": ManagerView(addr="10.0.0.1:2377", leader=True)}
    assert views.node(row, seen)["ManagerStatus"] == {"Leader": True, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}


def test_no_view_shows_what_is_secret() -> None:
    secret = Secret(id="x", spec=SecretSpec(name="pw", data=b"hunter2"))
    cluster = Cluster(id="c", root_ca=RootCA(cert="CERT", key=b"PRIVATE KEY"))
    shown = json.dumps([views.secret(secret), views.cluster(cluster, tls_info={})])
    assert "Data" not in views.secret(secret)["Spec"]
    assert "hunter2" not in shown
    assert "PRIVATE KEY" not in shown


def test_what_is_shown_posts_back_as_the_same_spec() -> None:
    row = service(ServiceMode(replicated=ReplicatedMode(replicas=1)))
    shown = views.service_spec(row.spec)
    assert msgspec.convert(shown, ServiceSpec).task_template.container_spec is not None
