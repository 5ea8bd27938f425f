"""What apply owns: versions, times, names, states that only go forward, and that a set is applied whole or not at all."""

from cluster.api.changes import Change, ChangeSet, Expect, ExpectPorts, Put, Remember, Remove, TaskChange
from cluster.api.objects import Cluster, JobStatus, Network, Secret, Service, Task, TaskStatus, UpdateStatus
from cluster.api.specs import (
    ClusterSpec,
    ContainerSpec,
    EndpointSpec,
    NetworkAttachmentConfig,
    NetworkSpec,
    PortConfig,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import Kind, TaskState
from manager.store.apply import Refusal, apply
from manager.store.snapshot import EMPTY_SNAPSHOT, HISTORY_ENTRIES, REMEMBERED, Snapshot


def web(image: str = "nginx", *, name: str = "web", ports: tuple[PortConfig, ...] = (), secrets: tuple[str, ...] = ()) -> ServiceSpec:
    container = ContainerSpec(image=image, secrets=tuple(SecretReference(secret_id=one) for one in secrets))
    return ServiceSpec(name=name, task_template=TaskSpec(container_spec=container), endpoint_spec=EndpointSpec(ports=ports))


def after(*sets: tuple[Change, ...], now: Snapshot = EMPTY_SNAPSHOT) -> Snapshot:
    for changes in sets:
        index = now.version + 1
        now, refusal = apply(now, index, ChangeSet(at=index * 1000, changes=changes))
        assert refusal is None, refusal
    return now


def refusal_of(now: Snapshot, *changes: Change) -> Refusal:
    _, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is not None
    return refusal


def service(spec: ServiceSpec, **fields: object) -> Service:
    return Service(id="s1", spec=spec, **fields)


def task(**fields: object) -> Task:
    return Task(**{"id": "t1", "service_id": "s1", "template_version": 1, "slot": 1, **fields})


def test_versions_and_times_are_those_of_the_entry() -> None:
    now = after((Put(object=service(web())),), (Put(object=service(web("nginx:2")), base=1),))
    kept = now.services["s1"]
    assert (kept.version, kept.created_at, kept.updated_at, kept.spec_version, now.version) == (2, 1000, 2000, 2, 2)


def test_the_spec_version_moves_only_with_the_spec() -> None:
    now = after((Put(object=service(web())),))
    now = after((Put(object=service(web(), update_status=UpdateStatus(message="x")), base=1),), now=now)
    assert (now.services["s1"].version, now.services["s1"].spec_version) == (2, 1)


def test_an_equal_template_keeps_its_version_even_after_a_rollback() -> None:
    first, second = web("a"), web("b")
    now = after((Put(object=service(first)),), (Put(object=task()),))
    now = after((Put(object=service(second, previous_spec=first), base=1),), now=now)
    assert now.services["s1"].template_version == 3
    now = after((Put(object=service(first, previous_spec=second), base=3),), now=now)
    assert now.services["s1"].template_version == 1
    assert now.template_of(now.tasks["t1"]).spec == first.task_template


def test_a_template_goes_with_its_last_user() -> None:
    now = after((Put(object=service(web("a"))),), (Put(object=task()),))
    now = after((Put(object=service(web("b")), base=1),), now=now)
    assert set(now.templates) == {("s1", 1), ("s1", 3)}
    now = after((Remove(kind=Kind.TASK, id="t1"),), now=now)
    assert set(now.templates) == {("s1", 3)}
    now = after((Remove(kind=Kind.SERVICE, id="s1"),), now=now)
    assert set(now.templates) == set()


def test_a_stale_base_refuses_the_whole_set() -> None:
    now = after((Put(object=service(web())),))
    refusal = refusal_of(now, Put(object=Secret(id="x", spec=SecretSpec(name="x"))), Put(object=service(web("b")), base=7))
    assert "at version 1; the change was decided on version 7" in refusal.text
    assert refusal_of(now, Put(object=service(web("b")))).text == "service s1 is at version 1; the change was decided on a new one"


def test_names_are_unique_in_whatever_case() -> None:
    now = after((Put(object=service(web())),))
    assert refusal_of(now, Put(object=Service(id="s2", spec=web(name="WEB")))).text == "name 'WEB' belongs to service s1"
    assert now.named(Kind.SERVICE, "Web") == now.services["s1"]


def test_a_name_is_free_again_within_the_same_set() -> None:
    now = after((Put(object=service(web())),), (Remove(kind=Kind.SERVICE, id="s1"), Put(object=Service(id="s2", spec=web()))))
    assert now.named(Kind.SERVICE, "web") == now.services["s2"]


def test_a_task_only_goes_forward() -> None:
    running = TaskStatus(state=TaskState.RUNNING)
    now = after((Put(object=service(web())),), (Put(object=task(status=running, node_id="n1", desired_state=TaskState.SHUTDOWN)),))
    assert "cannot become starting" in refusal_of(now, TaskChange(id="t1", status=TaskStatus(state=TaskState.STARTING))).text
    assert "cannot be wanted running again" in refusal_of(now, TaskChange(id="t1", desired_state=TaskState.RUNNING)).text
    assert "cannot move to n2" in refusal_of(now, TaskChange(id="t1", node_id="n2")).text
    assert "does not exist" in refusal_of(now, TaskChange(id="t9", node_id="n2")).text


def test_a_task_needs_a_template_that_is_kept() -> None:
    now = after((Put(object=service(web())),))
    assert "is not kept" in refusal_of(now, Put(object=task(template_version=5))).text


def test_what_is_in_use_cannot_be_removed() -> None:
    spec = web(secrets=("x",))
    spec = ServiceSpec(name="web", task_template=TaskSpec(container_spec=spec.task_template.container_spec, networks=(NETWORK,)))
    now = after(
        (Put(object=Secret(id="x", spec=SecretSpec(name="x"))), Put(object=Network(id="n", spec=NetworkSpec(name="n")))),
        (Put(object=service(spec)),),
    )
    assert refusal_of(now, Remove(kind=Kind.SECRET, id="x")).text == "secret x is in use by a service"
    assert refusal_of(now, Remove(kind=Kind.NETWORK, id="n")).text == "network n is in use by a service"
    assert list(now.users_of(Kind.SECRET, "x")) == ["s1"]
    gone = after((Remove(kind=Kind.SERVICE, id="s1"), Remove(kind=Kind.SECRET, id="x")), now=now)
    assert "x" not in gone.secrets


NETWORK = NetworkAttachmentConfig(target="n")


def test_what_a_set_refers_to_must_still_exist() -> None:
    now = after((Put(object=Secret(id="x", spec=SecretSpec(name="x"))),))
    assert "does not exist" in refusal_of(now, Expect(kind=Kind.SECRET, id="y"), Put(object=service(web()))).text
    assert "decided on version 3" in refusal_of(now, Expect(kind=Kind.SECRET, id="x", base=3)).text
    after((Expect(kind=Kind.SECRET, id="x"), Put(object=service(web(secrets=("x",))))), now=now)


def test_two_sets_cannot_both_take_a_port() -> None:
    port, host = PortConfig(protocol="tcp", published_port=80), PortConfig(protocol="tcp", published_port=80, publish_mode="host")
    now = after((ExpectPorts(service_id="s1", ports=(port,)), Put(object=service(web(ports=(port,))))))
    taken = "port 80/tcp is taken by service s1"
    assert refusal_of(now, ExpectPorts(service_id="s2", ports=(port,))).text == taken
    assert refusal_of(now, ExpectPorts(service_id="s2", ports=(host,))).text == taken
    assert now.ports_taken[("tcp", 80)] == "s1"
    after((ExpectPorts(service_id="s1", ports=(port,)),), now=now)


def test_host_ports_may_be_shared_but_not_with_ingress() -> None:
    port, host = PortConfig(protocol="tcp", published_port=80), PortConfig(protocol="tcp", published_port=80, publish_mode="host")
    now = after((Put(object=service(web(ports=(host,)))),))
    after((ExpectPorts(service_id="s2", ports=(host,)),), now=now)
    assert "taken" in refusal_of(now, ExpectPorts(service_id="s2", ports=(port,))).text


def test_there_is_one_cluster_object() -> None:
    now = after((Put(object=Cluster(id="c1")),))
    assert "cannot take c2" in refusal_of(now, Put(object=Cluster(id="c2"), base=1)).text
    assert refusal_of(now, Remove(kind=Kind.CLUSTER, id="c1")).text == "the cluster object cannot be removed"
    assert now.cluster is not None
    assert now.cluster.spec_version == 1
    now = after((Put(object=Cluster(id="c1", feature_level=2), base=1),), now=now)
    assert now.cluster is not None
    assert now.cluster.spec_version == 1
    now = after((Put(object=Cluster(id="c1", spec=ClusterSpec(name="x")), base=2),), now=now)
    assert now.cluster is not None
    assert now.cluster.spec_version == 3


def test_a_job_is_executed_when_its_iteration_is_put() -> None:
    now = after((Put(object=service(web(), job_status=JobStatus())),))
    now = after((Put(object=service(web(), job_status=JobStatus(last_execution=1000), update_status=UpdateStatus()), base=1),), now=now)
    assert now.services["s1"].job_status == JobStatus(last_execution=1000)
    assert now.services["s1"].update_status == UpdateStatus(started_at=2000)
    now = after((Put(object=service(web(), job_status=JobStatus(job_iteration=1)), base=2),), now=now)
    assert now.services["s1"].job_status == JobStatus(job_iteration=1, last_execution=3000)


def test_the_last_requests_are_remembered() -> None:
    now = after((Remember(request_id="r1", object_id="s1"), Remember(request_id="r1", object_id="s2")))
    assert now.request("r1") == "s1"
    now = after(tuple(Remember(request_id=f"q{number}", object_id="s") for number in range(REMEMBERED)), now=now)
    assert now.request("r1") is None
    assert now.request("q0") == "s"
    assert len(now.requests) == REMEMBERED == len(now.request_order)


def test_changes_since_names_what_differs_and_admits_what_it_forgot() -> None:
    first = after((Put(object=service(web())),))
    second = after(
        (Put(object=task()), Put(object=Secret(id="x", spec=SecretSpec(name="x")))), (Remove(kind=Kind.SECRET, id="x"),), now=first
    )
    found = second.changes_since(first)
    assert found is not None
    assert (found.services, found.tasks, found.secrets, found.cluster) == (frozenset(), {"t1"}, {"x"}, False)
    assert not second.changes_since(second)
    assert first.changes_since(second) is None
    many = after(*((TaskChange(id="t1", status=TaskStatus(message=str(number))),) for number in range(HISTORY_ENTRIES)), now=second)
    assert many.changes_since(first) is None
    assert many.changes_since(second) is not None
