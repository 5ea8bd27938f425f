"""A node's data plane hears of what it can meet; a task takes traffic exactly while it runs, is fit and shall go on."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put, Remove, TaskChange
from cluster.api.endpoint import DataKey, EndpointUpdate, ServiceNetwork
from cluster.api.objects import Attachment, Cluster, Endpoint, Network, Node, NodeStatus, Service, Task, TaskStatus, VirtualIP
from cluster.api.specs import EndpointSpec, NetworkAttachmentConfig, NetworkSpec, PortConfig, ServiceSpec, TaskSpec
from cluster.api.states import Kind, NodeState, TaskState
from manager.dispatcher.endpoints import Views, complete, step
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

PORT = PortConfig(protocol="tcp", target_port=80, published_port=8080, publish_mode="ingress")
HOST_PORT = PortConfig(protocol="tcp", target_port=80, published_port=8081, publish_mode="host")


def put(now: Snapshot, *changes: Change) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def node(node_id: str, number: int, state: NodeState = NodeState.READY) -> Put:
    addr = f"192.168.0.{number}"
    return Put(object=Node(id=node_id, number=number, status=NodeStatus(state=state, addr=addr), data_path_addr=addr if number > 1 else ""))


def service(service_id: str, network: str | None, *, ports: tuple[PortConfig, ...] = (), mode: str = "") -> Put:
    networks = () if network is None else (NetworkAttachmentConfig(target=network, aliases=("alias",)),)
    vips = [VirtualIP(network_id="ing", addr="10.255.0.9/20")] if ports else []
    if network is not None:
        vips.append(VirtualIP(network_id=network, addr="" if mode == "dnsrr" else "10.0.1.2/24"))
    return Put(
        object=Service(
            id=service_id,
            spec=ServiceSpec(name=f"name-{service_id}", task_template=TaskSpec(networks=networks), endpoint_spec=EndpointSpec(mode=mode)),
            endpoint=Endpoint(ports=ports, virtual_ips=tuple(vips)),
        )
    )


def task(task_id: str, service_id: str, node_id: str, network: str | None, *, state: TaskState = TaskState.RUNNING) -> Put:
    attachments = () if network is None else (Attachment(network_id=network, address=f"10.0.1.{10 + int(task_id[1:])}/24"),)
    return Put(
        object=Task(
            id=task_id, service_id=service_id, template_version=2, slot=int(task_id[1:]), node_id=node_id,
            status=TaskStatus(state=state), attachments=attachments,
        )
    )  # fmt: skip


BASE = put(
    EMPTY_SNAPSHOT,
    Put(object=Cluster(id="c", data_path_port=4790, mark_base=12)),
    node("n1", 1), node("n2", 2), node("n3", 0),
    Put(object=Network(id="net1", spec=NetworkSpec(name="front"), subnet="10.0.1.0/24", gateway="10.0.1.1", vni=4097)),
    Put(object=Network(id="net2", spec=NetworkSpec(name="back"), subnet="10.0.2.0/24", gateway="10.0.2.1", vni=4098)),
    Put(object=Network(id="ing", spec=NetworkSpec(name="ingress", ingress=True), subnet="10.255.0.0/20")),
)  # fmt: skip
FRONT = put(BASE, service("s1", "net1"), service("s2", "net2"), service("s3", None, ports=(PORT, HOST_PORT)))


def told(now: Snapshot, node_id: str = "n1") -> EndpointUpdate:
    return complete(Views(now), node_id)[1]


def names(update: EndpointUpdate) -> list[str]:
    return [one.service_id for one in update.services]


def test_every_node_knows_its_peers_and_the_clusters_settings() -> None:
    update = told(BASE)
    assert update.complete
    assert update.peers is not None
    assert [(one.node_id, one.number, one.addr) for one in update.peers] == [("n1", 1, "192.168.0.1"), ("n2", 2, "192.168.0.2")]
    assert (update.vxlan_port, update.mark_base, update.ingress_subnet) == (4790, 12, "10.255.0.0/20")


def test_a_node_meets_the_services_on_its_networks_and_all_that_publish() -> None:
    now = put(FRONT, task("t1", "s1", "n1", "net1"), task("t2", "s1", "n2", "net1"), task("t3", "s2", "n2", "net2"))
    update = told(now)
    assert names(update) == ["s1", "s3"]
    assert update.networks is not None
    assert [one.network_id for one in update.networks] == ["net1"]
    web, published = update.services
    assert web.networks == (ServiceNetwork(network_id="net1", vip="10.0.1.2", aliases=("alias",)),)
    assert [(one.task_id, one.node_id, one.addresses) for one in web.backends] == [
        ("t1", "n1", {"net1": "10.0.1.11"}),
        ("t2", "n2", {"net1": "10.0.1.12"}),
    ]
    assert web.backends[0].container_name == "name-s1.1.t1"
    assert (published.ports, published.networks) == ((PORT,), ())
    assert names(told(now, "n3")) == ["s3"]


def test_a_dnsrr_service_has_a_place_without_an_address() -> None:
    now = put(
        BASE,
        service("s1", "net1", mode="dnsrr"),
    )
    now = put(now, task("t1", "s1", "n1", "net1"))
    [web] = told(now).services
    assert web.dnsrr
    assert web.networks == (ServiceNetwork(network_id="net1", vip="", aliases=("alias",)),)


@pytest.mark.parametrize(
    ("change", "listed", "ready"),
    [
        (TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING)), True, True),
        (TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING, ready=False)), True, False),
        (TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING), desired_state=TaskState.COMPLETE), True, True),
        (TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING), desired_state=TaskState.SHUTDOWN), True, False),
        (TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING), desired_state=TaskState.REMOVE), True, False),
        (TaskChange(id="t1", status=TaskStatus(state=TaskState.STARTING)), True, False),
        (TaskChange(id="t1", status=TaskStatus(state=TaskState.FAILED)), False, False),
    ],
)
def test_traffic_goes_to_tasks_that_run_are_fit_and_shall_go_on(change: TaskChange, listed: bool, ready: bool) -> None:
    now = put(put(FRONT, task("t1", "s1", "n1", "net1", state=TaskState.ASSIGNED), task("t2", "s1", "n1", "net1")), change)
    backends = {one.task_id: one.ready for one in told(now).services[0].backends}
    assert ("t1" in backends, backends.get("t1", False)) == (listed, ready)


def test_tasks_of_a_lost_node_take_no_traffic() -> None:
    now = put(FRONT, task("t1", "s1", "n1", "net1"), task("t2", "s1", "n2", "net1"))
    now = put(now, Put(object=replace(now.nodes["n2"], status=NodeStatus(state=NodeState.DOWN)), base=now.nodes["n2"].version))
    assert [one.ready for one in told(now).services[0].backends] == [True, False]


# -- steps -----------------------------------------------------------------------------------------------------------------------------
class Told:
    """A node that hears every update."""

    def __init__(self, now: Snapshot, node_id: str = "n1") -> None:
        self.node_id = node_id
        self.views = Views(now)
        self.plane, _ = complete(self.views, node_id)

    def hears(self, now: Snapshot, *touched: str, moved: bool = True) -> EndpointUpdate | None:
        self.views = self.views.after(now, touched)
        self.plane, update = step(self.views, self.node_id, self.plane, touched, moved=moved)
        return update


def test_a_step_says_only_what_changed() -> None:
    now = put(FRONT, task("t1", "s1", "n1", "net1"))
    node = Told(now)
    now = put(now, TaskChange(id="t1", status=TaskStatus(state=TaskState.RUNNING, message="still")))
    assert node.hears(now, "s1", "s3") is None
    now = put(now, TaskChange(id="t1", desired_state=TaskState.SHUTDOWN))
    update = node.hears(now, "s1")
    assert update is not None
    assert (update.version, update.complete, update.peers, update.networks) == (now.version, False, None, None)
    assert names(update) == ["s1"]
    assert not update.services[0].backends[0].ready
    assert node.plane.services["s1"] == update.services[0]


def test_a_task_on_a_new_network_brings_everything_on_it() -> None:
    now = put(FRONT, task("t1", "s1", "n1", "net1"), task("t2", "s2", "n2", "net2"))
    node = Told(now)
    now = put(now, task("t3", "s2", "n1", "net2"))
    update = node.hears(now, "s2")
    assert update is not None
    assert update.networks is not None
    assert [one.network_id for one in update.networks] == ["net1", "net2"]
    assert [one.task_id for one in update.services[0].backends] == ["t2", "t3"]
    now = put(now, TaskChange(id="t3", status=TaskStatus(state=TaskState.FAILED)))
    update = node.hears(now, "s2")
    assert update is not None
    assert update.gone_services == ("s2",)
    assert update.networks is not None
    assert [one.network_id for one in update.networks] == ["net1"]


def test_a_removed_service_loses_name_and_address_at_once_and_its_last_task_keeps_its_forwarding() -> None:
    now = put(FRONT, task("t1", "s1", "n1", "net1"), task("t2", "s1", "n2", "net1"))
    node = Told(now)
    now = put(now, Remove(kind=Kind.SERVICE, id="s1"), *(TaskChange(id=one, desired_state=TaskState.REMOVE) for one in ("t1", "t2")))
    update = node.hears(now, "s1")
    assert update is not None
    [left] = update.services
    assert (left.networks, left.ports, [one.ready for one in left.backends]) == ((), (), [False, False])
    now = put(now, Remove(kind=Kind.TASK, id="t1"), Remove(kind=Kind.TASK, id="t2"))
    update = node.hears(now, "s1")
    assert update is not None
    assert update.gone_services == ("s1",)


def test_a_new_peer_is_told_with_all_others() -> None:
    node = Told(FRONT)
    now = put(FRONT, Put(object=replace(FRONT.nodes["n3"], number=3), base=1))
    update = node.hears(now, moved=False)
    assert update is not None
    assert update.peers is not None
    assert [one.number for one in update.peers] == [1, 2, 3]
    assert update.ingress_subnet == "10.255.0.0/20"


# -- encrypted networks ----------------------------------------------------------------------------------------------------------------
KEYS = (DataKey(id=1, key=b"a" * 32), DataKey(id=2, key=b"b" * 32))


def encrypted(now: Snapshot) -> Snapshot:
    """The same with `net2` encrypted, and the cluster's keys."""
    cluster, net = now.cluster, now.networks["net2"]
    assert cluster is not None
    spec = replace(net.spec, options={"encrypted": ""})
    return put(
        now, Put(object=replace(cluster, data_keys=KEYS), base=cluster.version), Put(object=replace(net, spec=spec), base=net.version)
    )


def test_keys_go_to_nodes_on_encrypted_networks_alone() -> None:
    now = put(encrypted(FRONT), task("t1", "s1", "n1", "net1"), task("t2", "s2", "n2", "net2"))
    assert told(now, "n1").data_keys == ()
    assert told(now, "n2").data_keys == KEYS


def test_keys_come_with_the_first_task_on_such_a_network_and_go_with_the_last() -> None:
    now = encrypted(FRONT)
    plane, _ = complete(Views(now), "n1")
    now = put(now, task("t2", "s2", "n1", "net2"))
    plane, update = step(Views(now), "n1", plane, ["s2"], moved=True)
    assert update is not None
    assert update.data_keys == KEYS
    now = put(now, Remove(kind=Kind.TASK, id="t2"))
    plane, update = step(Views(now), "n1", plane, ["s2"], moved=True)
    assert update is not None
    assert update.data_keys == ()


def test_a_rotation_is_told_at_once_and_nothing_else_with_it() -> None:
    now = put(encrypted(FRONT), task("t2", "s2", "n1", "net2"))
    plane, _ = complete(Views(now), "n1")
    assert now.cluster is not None
    rotated = (*KEYS, DataKey(id=3, key=b"c" * 32))
    now = put(now, Put(object=replace(now.cluster, data_keys=rotated), base=now.cluster.version))
    plane, update = step(Views(now), "n1", plane, (), moved=False)
    assert update is not None
    assert (update.data_keys, update.peers, update.networks, update.services) == (rotated, None, None, ())
    assert step(Views(now), "n1", plane, (), moved=False)[1] is None
