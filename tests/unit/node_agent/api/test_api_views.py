"""What clients see: Docker's JSON, nothing secret, jobs as Docker counts them."""

import json

import msgspec
import pytest

from cluster.api.changes import ChangeSet, Put
from cluster.api.objects import Cluster, Node, NodeStatus, RaftMember, RootCA, Secret, Service, Task, TaskStatus
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
