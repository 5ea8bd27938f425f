"""A node is told of its own tasks, what they need, and nothing else; and what it has heard adds up to what is so."""

from collections.abc import Mapping
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cluster.api.assignment import AssignedTask, Assignments
from cluster.api.changes import Change, ChangeSet, Put, Remove, TaskChange
from cluster.api.ids import Id
from cluster.api.objects import Attachment, Config, Network, Secret, Service, Task, TaskStatus
from cluster.api.specs import (
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    DriverConfig,
    EndpointSpec,
    Extensions,
    NetworkSpec,
    PortConfig,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import Kind, TaskState
from manager.dispatcher.assign import DRAIN_TIMEOUT, Share, complete, step
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


def put(now: Snapshot, *changes: Change) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def spec(name: str = "web", *, secrets: tuple[str, ...] = (), configs: tuple[str, ...] = (), published: bool = False) -> ServiceSpec:
    container = ContainerSpec(
        image="nginx",
        secrets=tuple(SecretReference(secret_id=one, secret_name=one) for one in secrets),
        configs=tuple(ConfigReference(config_id=one, config_name=one) for one in configs),
    )
    ports = (PortConfig(target_port=80, published_port=80, publish_mode="ingress"),) if published else ()
    return ServiceSpec(name=name, task_template=TaskSpec(container_spec=container), endpoint_spec=EndpointSpec(ports=ports))


def task(task_id: str, *, service: str = "s1", version: int = 2, state: TaskState = TaskState.ASSIGNED, node: str = "n1") -> Put:
    status = TaskStatus(state=state)
    return Put(object=Task(id=task_id, service_id=service, template_version=version, slot=1, node_id=node, status=status))


BASE = put(
    EMPTY_SNAPSHOT,
    Put(
        object=Network(
            id="net1",
            spec=NetworkSpec(name="front", options={"com.docker.network.driver.mtu": "1400"}),
            subnet="10.0.1.0/24",
            gateway="10.0.1.1",
            vni=4097,
        )
    ),
    Put(object=Secret(id="x1", spec=SecretSpec(name="cert", data=b"s3cret", templating=DriverConfig(name="golang")))),
    Put(object=Config(id="c1", spec=ConfigSpec(name="conf", data=b"c0nfig"))),
    Put(object=Secret(id="x2", spec=SecretSpec(name="other", data=b"other"))),
)
WITH = put(BASE, Put(object=Service(id="s1", spec=spec(secrets=("x1",), configs=("c1",)), registry_auth="auth")))


def first(now: Snapshot, node_id: str = "n1") -> tuple[Share, Assignments]:
    return complete(now, node_id, version=now.version)


def next_step(now: Snapshot, share: Share, *touched: str, node_id: str = "n1") -> tuple[Share, Assignments | None]:
    return step(now, node_id, share, touched, version=now.version)


def ids(message: Assignments | None) -> list[str]:
    assert message is not None
    return [one.id for one in message.tasks]


def test_a_node_gets_its_tasks_with_what_they_need() -> None:
    attached = replace(task("t1").object, attachments=(Attachment(network_id="net1", address="10.0.1.5/24", aliases=("w",)),))
    _, message = first(put(WITH, Put(object=attached), task("t2", node="n2")))
    assert message.complete
    assert ids(message) == ["t1"]
    [told] = message.tasks
    assert (told.name, told.registry_auth, told.drain_timeout) == ("web.1.t1", "auth", DRAIN_TIMEOUT)
    assert told.attachments[0].aliases == ("w",)
    assert [(one.name, one.data, one.templated) for one in message.secrets] == [("cert", b"s3cret", True)]
    assert [(one.name, one.data, one.templated) for one in message.configs] == [("conf", b"c0nfig", False)]
    assert [(one.network_id, one.gateway, one.mtu) for one in message.networks] == [("net1", "10.0.1.1", 1400)]


def test_a_node_without_a_user_of_it_never_gets_a_secret() -> None:
    _, message = first(put(WITH, task("t1", node="n2")))
    assert (message.tasks, message.secrets, message.configs) == ((), (), ())


def test_tasks_come_once_placed_and_stay_until_they_are_forgotten() -> None:
    now = put(
        WITH, task("t1", state=TaskState.PENDING), task("t2"), task("t3", state=TaskState.FAILED), task("t4", state=TaskState.ORPHANED)
    )
    share, message = first(now)
    assert ids(message) == ["t2", "t3"]
    now = put(now, TaskChange(id="t1", status=TaskStatus(state=TaskState.ASSIGNED)), Remove(kind=Kind.TASK, id="t3"))
    _, update = next_step(now, share, "t1", "t3")
    assert update is not None
    assert (ids(update), update.gone_tasks, update.applies_to) == (["t1"], ("t3",), message.version)


def test_a_status_is_no_news_to_the_node_that_reported_it() -> None:
    now = put(WITH, task("t1"))
    share, _ = first(now)
    now = put(now, TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING)))
    after, update = next_step(now, share, "t1")
    assert update is None
    assert after.version == share.version


def test_a_node_that_begins_anew_hears_how_far_its_tasks_had_come() -> None:
    """One that lost its journal must not run an ended task a second time."""
    now = put(WITH, task("t1"), task("t2"))
    share, message = first(now)
    assert [one.state for one in message.tasks] == [TaskState.ASSIGNED, TaskState.ASSIGNED]
    now = put(
        now, TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING)), TaskChange(id="t2", status=TaskStatus(state=TaskState.FAILED))
    )
    _, message = first(now)
    assert {one.id: one.state for one in message.tasks} == {"t1": TaskState.RUNNING, "t2": TaskState.FAILED}
    now = put(now, TaskChange(id="t1", desired_state=TaskState.SHUTDOWN))
    share, update = next_step(now, share, "t1", "t2")
    assert update is not None
    assert [(one.id, one.state) for one in update.tasks] == [("t1", TaskState.RUNNING)], "told along with what is news"


def test_secrets_go_with_the_last_task_that_has_not_ended() -> None:
    now = put(WITH, task("t1"), task("t2"))
    share, _ = first(now)
    now = put(now, TaskChange(id="t1", status=TaskStatus(state=TaskState.SHUTDOWN)))
    share, update = next_step(now, share, "t1")
    assert update is None
    now = put(now, TaskChange(id="t2", status=TaskStatus(state=TaskState.FAILED)))
    share, update = next_step(now, share, "t2")
    assert update is not None
    assert (update.gone_secrets, update.gone_configs, update.gone_tasks) == (("x1",), ("c1",), ())
    assert share.secrets == {}


def test_a_relabelled_secret_is_sent_again() -> None:
    now = put(WITH, task("t1"))
    share, _ = first(now)
    secret = now.secrets["x1"]
    now = put(now, Put(object=replace(secret, spec=replace(secret.spec, labels={"a": "b"})), base=secret.version))
    _, update = next_step(now, share)
    assert update is not None
    assert [(one.id, one.version) for one in update.secrets] == [("x1", now.version)]


def test_a_stopping_task_names_the_endpoints_without_it_and_keeps_naming_them() -> None:
    now = put(BASE, Put(object=Service(id="s1", spec=spec(published=True))), task("t1", version=2))
    share, message = first(now)
    assert message.tasks[0].publishes
    assert message.tasks[0].endpoint_version == 0
    now = put(now, TaskChange(id="t1", desired_state=TaskState.SHUTDOWN))
    share, update = next_step(now, share, "t1")
    assert update is not None
    assert update.tasks[0].endpoint_version == now.version
    now = put(now, TaskChange(id="t1", desired_state=TaskState.REMOVE))
    _, later = next_step(now, share, "t1")
    assert later is not None
    assert later.tasks[0].endpoint_version == update.tasks[0].endpoint_version


def test_a_task_without_networks_and_ports_waits_for_no_endpoints() -> None:
    now = put(WITH, task("t1"), TaskChange(id="t1", desired_state=TaskState.SHUTDOWN))
    assert first(now)[1].tasks[0].endpoint_version == 0


def test_a_removed_service_takes_nothing_from_its_last_tasks() -> None:
    service = Service(id="s1", spec=spec(published=True), registry_auth="auth", extensions=Extensions(drain_timeout=9))
    now = put(BASE, Put(object=service), task("t1", version=2))
    share, _ = first(now)
    now = put(now, Remove(kind=Kind.SERVICE, id="s1"), TaskChange(id="t1", desired_state=TaskState.REMOVE))
    _, update = next_step(now, share, "t1")
    assert share.tasks["t1"].listens == (80,), "the port behind the published one"
    assert update is not None
    told = update.tasks[0]
    assert (told.service_name, told.registry_auth, told.drain_timeout, told.publishes) == ("web", "auth", 9, True)


# -- any history -----------------------------------------------------------------------------------------------------------------------
def some_change(rng: Random, now: Snapshot) -> Change:
    task_id = f"t{rng.randrange(5)}"
    present = now.tasks.get(task_id)
    if present is None:
        service = now.services[rng.choice(sorted(now.services))]
        return task(task_id, service=service.id, version=service.template_version, node=rng.choice(("n1", "n1", "n2")))
    step_to = rng.choice([state for state in TaskState if state >= present.state])
    return rng.choice(
        (
            TaskChange(id=task_id, status=TaskStatus(state=step_to)),
            TaskChange(id=task_id, desired_state=TaskState.SHUTDOWN if present.desired_state < TaskState.SHUTDOWN else TaskState.REMOVE),
            TaskChange(id=task_id, attachments=(Attachment(network_id="net1", address=f"10.0.1.{rng.randint(2, 9)}/24"),)),
            Remove(kind=Kind.TASK, id=task_id),
        )
    )


def heard(state: Mapping[str, Mapping[Id, object]], message: Assignments) -> dict[str, dict[Id, object]]:
    """What a node holds after a message, by the contract's words."""
    held = {"tasks": {}, "secrets": {}, "configs": {}} if message.complete else {kind: dict(table) for kind, table in state.items()}
    for kind, table in held.items():
        table.update({one.id: one for one in getattr(message, kind)})
        for one in getattr(message, f"gone_{kind}"):
            table.pop(one)
    return held


def plain(tasks: Mapping[Id, object]) -> dict[Id, AssignedTask]:
    """Without the state, of which only the node that reports it has news."""
    return {one: replace(told, endpoint_version=min(told.endpoint_version, 1), state=TaskState.NEW) for one, told in tasks.items()}


@given(st.lists(st.integers(0, 2**32), min_size=5, max_size=40), st.integers(1, 4))
@settings(deadline=None, max_examples=80)
def test_steps_add_up_to_what_a_complete_set_says(seeds: list[int], every: int) -> None:
    now = put(
        BASE,
        Put(object=Service(id="s1", spec=spec("a", secrets=("x1",), configs=("c1",)))),
        Put(object=Service(id="s2", spec=spec("b", secrets=("x1", "x2"), published=True))),
    )
    share, message = first(now)
    held = heard({}, message)
    touched: set[Id] = set()
    for count, seed in enumerate(seeds, start=1):
        change = some_change(Random(seed), now)
        now = put(now, change)
        touched.add(change.object.id if isinstance(change, Put) else change.id)
        if count % every == 0 or count == len(seeds):
            share, update = next_step(now, share, *touched)
            held = held if update is None else heard(held, update)
            touched = set()
    _, whole = first(now)
    expected = heard({}, whole)
    assert plain(held["tasks"]) == plain(expected["tasks"])
    assert (held["secrets"], held["configs"]) == (expected["secrets"], expected["configs"])
