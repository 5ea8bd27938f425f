"""Telling what changed, node by node, adds up to telling everything: nothing that a node should know is missed."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put, Remove, TaskChange
from cluster.api.endpoint import Guest, ServiceEndpoint
from cluster.api.objects import Attachment, Cluster, Endpoint, Network, Node, NodeStatus, Service, Task, TaskStatus, VirtualIP
from cluster.api.specs import EndpointSpec, NetworkAttachmentConfig, NetworkSpec, PortConfig, ServiceSpec, TaskSpec
from cluster.api.states import Kind, NodeState, TaskState
from manager.dispatcher.endpoints import Plane, Views, complete, step
from manager.dispatcher.touched import touched
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

NODES = ("n1", "n2")
PORT = PortConfig(protocol="tcp", target_port=80, published_port=8080, publish_mode="ingress")


def some_service(rng: Random, now: Snapshot) -> Change:
    service_id = rng.choice(("s1", "s2", "s3"))
    present = now.services.get(service_id)
    network = rng.choice(("net1", "net2"))
    vips = rng.choice(((), (VirtualIP(network_id=network, addr=f"10.0.{network[3:]}.9/24"),)))
    service = Service(
        id=service_id,
        spec=ServiceSpec(
            name=service_id,
            task_template=TaskSpec(networks=(NetworkAttachmentConfig(target=network, aliases=rng.choice(((), ("a",)))),)),
            endpoint_spec=EndpointSpec(mode=rng.choice(("", "dnsrr"))),
        ),
        endpoint=rng.choice((None, Endpoint(virtual_ips=vips), Endpoint(virtual_ips=vips, ports=(PORT,)))),
    )
    return Put(object=service, base=0 if present is None else present.version)


def some_task(rng: Random, now: Snapshot) -> Change:
    task_id = f"t{rng.randrange(6)}"
    present = now.tasks.get(task_id)
    if present is None:
        service = now.services.get(rng.choice(("s1", "s2", "s3")))
        network = rng.choice(("net1", "net2"))
        attachments = rng.choice(((), (Attachment(network_id=network, address=f"10.0.{network[3:]}.{rng.randint(10, 20)}/24"),)))
        status = TaskStatus(state=rng.choice((TaskState.PENDING, TaskState.ASSIGNED, TaskState.RUNNING)))
        return Put(
            object=Task(
                id=task_id,
                service_id="none" if service is None else service.id,
                template_version=0 if service is None else service.template_version,
                slot=1,
                node_id=rng.choice(NODES),
                status=status,
                attachments=attachments,
            )
        )
    return rng.choice(
        (
            TaskChange(id=task_id, status=TaskStatus(state=rng.choice([one for one in TaskState if one >= present.state]))),
            TaskChange(id=task_id, status=TaskStatus(state=present.state, ready=rng.random() < 0.5)),
            TaskChange(id=task_id, desired_state=max(present.desired_state, TaskState.SHUTDOWN)),
            Remove(kind=Kind.TASK, id=task_id),
        )
    )


def some_change(rng: Random, now: Snapshot) -> Change:
    kind = rng.randrange(11)
    if kind < 2:
        return some_service(rng, now)
    if kind < 8:
        return some_task(rng, now)
    if kind == 8:
        return Remove(kind=Kind.SERVICE, id=rng.choice(("s1", "s2", "s3")))
    if kind == 9:
        return some_network(rng, now)
    node = now.nodes[rng.choice(NODES)]
    wanted = rng.choice(
        (replace(node, number=node.number + 1), replace(node, status=NodeStatus(state=rng.choice((NodeState.READY, NodeState.DOWN)))))
    )
    return Put(object=wanted, base=node.version)


def some_network(rng: Random, now: Snapshot) -> Change:
    network = now.networks[rng.choice(("net1", "net2"))]
    guests = rng.choice(((), tuple(Guest(id=f"guest-{one}", node_id=one, address=f"10.0.1.9{one[1:]}") for one in NODES)))
    return Put(object=replace(network, spec=replace(network.spec, internal=rng.random() < 0.5), guests=guests), base=network.version)


def applied(now: Snapshot, *changes: Change) -> Snapshot:
    return apply(now, now.version + 1, ChangeSet(at=1, changes=changes))[0]


BEGIN = applied(
    EMPTY_SNAPSHOT,
    Put(object=Cluster(id="c")),
    *(Put(object=Node(id=one, number=number, data_path_addr=one)) for number, one in enumerate(NODES, start=1)),
    *(Put(object=Network(id=f"net{one}", spec=NetworkSpec(name=f"net{one}"), subnet=f"10.0.{one}.0/24")) for one in (1, 2)),
)


def plain(services: dict[str, ServiceEndpoint]) -> dict[str, ServiceEndpoint]:
    return {one: replace(endpoint, version=0) for one, endpoint in services.items()}


def told_anew(now: Snapshot) -> Plane:
    return complete(Views(now), "n1")[0]


@given(st.lists(st.integers(0, 2**32), min_size=10, max_size=80), st.integers(1, 4))
@settings(deadline=None, max_examples=150)
def test_steps_add_up_to_what_a_complete_update_says(seeds: list[int], every: int) -> None:
    before = now = BEGIN
    views = Views(now)
    plane, _ = complete(views, "n1")
    for count, seed in enumerate(seeds, start=1):
        now = applied(now, some_change(Random(seed), now))
        if count % every and count != len(seeds):
            continue
        changes = now.changes_since(before)
        assert changes is not None
        what = touched(before, now, changes)
        views = views.after(now, what.services)
        on_its_networks = not what.networks.isdisjoint(plane.networks)
        if what.services or "n1" in what.tasks or "n1" in what.nodes or what.everywhere or on_its_networks:
            plane, update = step(views, "n1", plane, what.services, moved=True)
            assert update is None or update.version == now.version
        before = now
        expected = told_anew(now)
        assert plain(plane.services) == plain(expected.services)
        assert (plane.networks, plane.peers, plane.settings) == (expected.networks, expected.peers, expected.settings)


@pytest.mark.parametrize(
    ("status", "everywhere"),
    [(NodeStatus(state=NodeState.DOWN), False), (NodeStatus(state=NodeState.READY, addr="10.0.0.1"), True)],
)
def test_a_node_that_comes_or_goes_concerns_its_own_session_and_one_that_moves_all(status: NodeStatus, *, everywhere: bool) -> None:
    before = applied(BEGIN, Put(object=replace(BEGIN.nodes["n1"], data_path_addr=""), base=BEGIN.nodes["n1"].version))
    now = applied(before, Put(object=replace(before.nodes["n1"], status=status), base=before.nodes["n1"].version))
    changes = now.changes_since(before)
    assert changes is not None
    what = touched(before, now, changes)
    assert (what.nodes, what.everywhere) == (frozenset({"n1"}), everywhere)


def test_a_change_that_no_node_sees_touches_none() -> None:
    before = applied(BEGIN, some_service(Random(1), BEGIN))
    [service] = before.services.values()
    before = applied(before, Put(object=Task(id="t", service_id=service.id, template_version=service.template_version, slot=1)))
    now = applied(before, TaskChange(id="t", status=TaskStatus(state=TaskState.PENDING)))
    changes = now.changes_since(before)
    assert changes is not None
    what = touched(before, now, changes)
    assert (what.tasks, what.dependencies, what.everywhere, what.gone_nodes) == ({}, False, False, frozenset())
