"""Equipping: numbers, subnets, addresses and ports, each given once, kept while asked for, and said when there is none."""

from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put, Remove, TaskChange
from cluster.api.objects import Cluster, Network, Node, NodeDescription, NodeStatus, Service, Task, TaskStatus
from cluster.api.specs import (
    IPAM,
    EndpointSpec,
    IPAMConfig,
    NetworkAttachmentConfig,
    NetworkSpec,
    PortConfig,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import Kind, NodeState, TaskState
from manager.allocator.plan import Equipped, plan
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


def after(*changes: Change, now: Snapshot = EMPTY_SNAPSHOT) -> Snapshot:
    for change in changes:
        now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=(change,)))
        assert refusal is None, refusal
    return now


def equipped(now: Snapshot, **fields: object) -> Snapshot:
    """The snapshot after the plan was carried out, until it has nothing left to give."""
    last: dict[str, int] = {}
    for _ in range(50):
        done: Equipped = plan(now, last=last, **fields)
        last = done.last
        if not done.changes:
            return now
        now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=tuple(done.changes)))
        assert refusal is None, refusal
    raise AssertionError("the allocator never comes to rest")


def cluster(**fields: object) -> Put:
    return Put(object=Cluster(id="c", **fields))


def network(network_id: str = "net1", *, name: str = "", subnet: str = "", ip_range: str = "", gateway: str = "", **fields: object) -> Put:
    ipam = IPAM(config=(IPAMConfig(subnet=subnet, ip_range=ip_range, gateway=gateway),)) if subnet else None
    return Put(object=Network(id=network_id, spec=NetworkSpec(name=name or network_id, ipam=ipam, **fields)))


def node(node_id: str, *subnets: str, addr: str = "", data_path_addr: str = "") -> Put:
    status = NodeStatus(state=NodeState.READY, addr=addr)
    return Put(object=Node(id=node_id, description=NodeDescription(subnets=subnets), status=status, data_path_addr=data_path_addr))


def service(service_id: str = "s1", *networks: str, ports: tuple[PortConfig, ...] = (), mode: str = "") -> Put:
    template = TaskSpec(networks=tuple(NetworkAttachmentConfig(target=one, aliases=("db",)) for one in networks))
    spec = ServiceSpec(name=service_id, task_template=template, endpoint_spec=EndpointSpec(mode=mode, ports=ports))
    return Put(object=Service(id=service_id, spec=spec))


def tasks(now: Snapshot, count: int, service_id: str = "s1", first: int = 1) -> Snapshot:
    version = now.services[service_id].template_version
    made = [Task(id=f"{service_id}-t{n:04}", service_id=service_id, template_version=version, slot=n) for n in range(first, first + count)]
    return after(*(Put(object=one) for one in made), now=now)


def published(target: int, port: int = 0, protocol: str = "tcp", mode: str = "ingress") -> PortConfig:
    return PortConfig(protocol=protocol, target_port=target, published_port=port, publish_mode=mode)


# -- nodes ---------------------------------------------------------------------------------------------------------------------------------
def test_nodes_get_the_lowest_free_numbers_and_keep_them() -> None:
    now = equipped(after(cluster(), node("b"), node("a"), node("c")))
    assert {one.id: one.number for one in now.nodes.values()} == {"a": 1, "b": 2, "c": 3}
    now = equipped(after(Remove(kind=Kind.NODE, id="b"), node("d"), node("e"), now=now))
    assert {one.id: one.number for one in now.nodes.values()} == {"a": 1, "c": 3, "d": 2, "e": 4}


# -- networks ------------------------------------------------------------------------------------------------------------------------------
def test_networks_get_subnets_of_the_pool_a_gateway_and_a_vni() -> None:
    now = equipped(after(cluster(), network("net1"), network("net2")))
    one, two = now.networks["net1"], now.networks["net2"]
    assert (one.subnet, one.gateway, one.vni) == ("10.0.0.0/24", "10.0.0.1", 4097)
    assert (two.subnet, two.gateway, two.vni) == ("10.0.1.0/24", "10.0.1.1", 4098)


def test_the_node_link_has_room_for_every_node_number() -> None:
    now = equipped(after(cluster(), network("net1"), network("ing", ingress=True)))
    assert now.networks["ing"].subnet == "10.0.0.0/20"
    assert now.networks["net1"].subnet == "10.0.16.0/24"


def test_a_subnet_that_meets_what_a_node_reaches_is_skipped() -> None:
    nodes = (
        node("a", "10.0.0.0/23", "172.16.0.0/12", "0.0.0.0/0"),
        node("b", addr="10.0.2.7"),
        node("c", data_path_addr="10.0.3.9"),
        node("d", addr="10.0.4.1:2377"),
        node("e", "fd00::/8", addr="node-e"),
    )
    now = equipped(after(cluster(), *nodes, network("net1")))
    assert now.networks["net1"].subnet == "10.0.5.0/24"


def test_pools_are_used_in_their_order_and_a_full_one_is_said() -> None:
    now = equipped(after(cluster(default_addr_pool=("10.1.0.0/24", "10.2.0.0/24")), network("a"), network("b"), network("c")))
    assert [now.networks[name].subnet for name in "abc"] == ["10.1.0.0/24", "10.2.0.0/24", ""]
    assert now.networks["c"].pending_reason == "no free /24 in 10.1.0.0/24, 10.2.0.0/24 that meets no network of the cluster or of a node"
    now = equipped(after(Remove(kind=Kind.NETWORK, id="a"), now=now))
    assert (now.networks["c"].subnet, now.networks["c"].pending_reason) == ("10.1.0.0/24", "")


def test_the_users_own_subnet_gateway_and_range_hold() -> None:
    now = equipped(after(cluster(), network("net1", subnet="192.168.7.0/24", gateway="192.168.7.254", ip_range="192.168.7.128/30")))
    assert (now.networks["net1"].subnet, now.networks["net1"].gateway) == ("192.168.7.0/24", "192.168.7.254")
    now = equipped(tasks(after(service("s1", "net1", mode="dnsrr"), now=now), 5))
    given = [task.attachments[0].address for task in now.tasks.values() if task.attachments]
    assert sorted(given) == [f"192.168.7.{last}/24" for last in (128, 129, 130, 131)]


def test_the_users_own_subnet_is_refused_where_it_meets_another() -> None:
    now = equipped(after(cluster(), node("a", "192.168.0.0/16"), network("net1", subnet="192.168.7.0/24")))
    assert now.networks["net1"].subnet == ""
    assert now.networks["net1"].pending_reason == "subnet 192.168.7.0/24 meets another network, or a network of a node"


# -- services ------------------------------------------------------------------------------------------------------------------------------
def test_a_service_gets_a_virtual_address_on_each_of_its_networks() -> None:
    now = equipped(after(cluster(), network("net1"), network("net2"), service("s1", "net1", "net2")))
    endpoint = now.services["s1"].endpoint
    assert endpoint is not None
    assert [(vip.network_id, vip.addr) for vip in endpoint.virtual_ips] == [("net1", "10.0.0.2/24"), ("net2", "10.0.1.2/24")]


def test_round_robin_names_have_a_place_but_no_address() -> None:
    now = equipped(after(cluster(), network("net1"), service("s1", "net1", mode="dnsrr")))
    endpoint = now.services["s1"].endpoint
    assert endpoint is not None
    assert [(vip.network_id, vip.addr) for vip in endpoint.virtual_ips] == [("net1", "")]


def test_ports_asked_for_are_given_and_others_come_from_the_dynamic_range() -> None:
    now = equipped(after(cluster(), service("s1", ports=(published(80, 8080), published(81), published(53, protocol="udp")))))
    endpoint = now.services["s1"].endpoint
    assert endpoint is not None
    assert [(port.published_port, port.protocol) for port in endpoint.ports] == [(8080, "tcp"), (30000, "tcp"), (30000, "udp")]


def test_a_port_that_another_service_has_is_said_and_given_once_it_is_free() -> None:
    now = equipped(after(cluster(), service("s1", ports=(published(80, 8080),))))
    now = equipped(tasks(after(service("s2", ports=(published(80, 8080),)), now=now), 1, "s2"))
    reason = "port '8080/tcp' is already in use by service 's1' (s1) as an ingress port"
    assert (now.services["s2"].endpoint, now.services["s2"].pending_reason) == (None, reason)
    waiting = now.tasks["s2-t0001"]
    assert (waiting.state, waiting.status.err) == (TaskState.NEW, reason)
    now = equipped(after(Remove(kind=Kind.SERVICE, id="s1"), now=now))
    assert (now.services["s2"].pending_reason, now.tasks["s2-t0001"].state) == ("", TaskState.PENDING)


def test_two_services_that_ask_for_one_port_at_the_same_time_do_not_both_get_it() -> None:
    now = equipped(after(cluster(), service("s1", ports=(published(80, 8080),)), service("s2", ports=(published(80, 8080),))))
    assert [bool(now.services[name].endpoint) for name in ("s1", "s2")] == [True, False]


def test_what_stays_asked_for_stays_given() -> None:
    now = equipped(after(cluster(), network("net1"), network("net2"), service("s1", "net1", ports=(published(80), published(81)))))
    before = now.services["s1"]
    other = service("s1", "net1", "net2", ports=(published(82), published(81))).object
    now = equipped(after(Put(object=replace(before, spec=other.spec), base=before.version), now=now))
    endpoint = now.services["s1"].endpoint
    assert before.endpoint is not None
    assert endpoint is not None
    assert endpoint.virtual_ips[0] == before.endpoint.virtual_ips[0]
    assert {port.target_port: port.published_port for port in endpoint.ports}[81] == 30001
    assert len({port.published_port for port in endpoint.ports}) == 2


def test_host_ports_are_left_to_the_tasks() -> None:
    port = published(80, 8080, mode="host")
    now = equipped(after(cluster(), service("s1", ports=(port,)), service("s2", ports=(port, published(81)))))
    assert now.services["s1"].endpoint is None
    endpoint = now.services["s2"].endpoint
    assert endpoint is not None
    assert [one.published_port for one in endpoint.ports] == [30000]


def test_a_service_without_networks_and_ports_needs_nothing() -> None:
    now = equipped(after(cluster(), service("s1")))
    assert now.services["s1"].endpoint is None
    now = equipped(tasks(now, 1))
    assert now.tasks["s1-t0001"].state is TaskState.PENDING


# -- tasks ---------------------------------------------------------------------------------------------------------------------------------
def test_a_task_gets_an_address_on_each_network_of_its_template_and_goes_on() -> None:
    now = equipped(tasks(after(cluster(), network("net1"), network("net2"), service("s1", "net1", "net2")), 2))
    one, two = now.tasks["s1-t0001"], now.tasks["s1-t0002"]
    assert (one.state, one.status.message) == (TaskState.PENDING, "pending task scheduling")
    assert [(place.network_id, place.address, place.aliases) for place in one.attachments] == [
        ("net1", "10.0.0.3/24", ("db",)),
        ("net2", "10.0.1.3/24", ("db",)),
    ]
    assert [place.address for place in two.attachments] == ["10.0.0.4/24", "10.0.1.4/24"]


def test_networks_of_the_engine_itself_need_no_address() -> None:
    now = equipped(tasks(after(cluster(), service("s1", "host")), 1))
    assert (now.tasks["s1-t0001"].state, now.tasks["s1-t0001"].attachments) == (TaskState.PENDING, ())


def test_a_full_network_is_said_and_an_ended_task_makes_room() -> None:
    small = network("net1", name="front", subnet="10.9.0.0/29")
    now = equipped(tasks(after(cluster(), small, service("s1", "net1")), 5))
    states = {task.id: task.state for task in now.tasks.values()}
    assert sorted(states.values()) == [TaskState.NEW] + [TaskState.PENDING] * 4
    (waiting,) = [task for task in now.tasks.values() if task.state is TaskState.NEW]
    assert waiting.status.err == "network front (10.9.0.0/29) has no free address: 5 of 5 in use"
    ended = min(task_id for task_id, state in states.items() if state is TaskState.PENDING)
    now = equipped(after(TaskChange(id=ended, status=TaskStatus(state=TaskState.SHUTDOWN)), now=now))
    assert (now.tasks[waiting.id].state, now.tasks[waiting.id].status.err) == (TaskState.PENDING, "")
    assert now.tasks[waiting.id].attachments[0].address == now.tasks[ended].attachments[0].address


def test_a_task_on_a_network_that_is_gone_says_so() -> None:
    now = equipped(tasks(after(cluster(), service("s1", "net9")), 1))
    assert now.services["s1"].pending_reason == "network net9 does not exist"
    assert now.tasks["s1-t0001"].status.err == "network net9 does not exist"


def test_tasks_that_shall_not_run_are_passed_over() -> None:
    now = tasks(after(cluster(), network("net1"), service("s1", "net1")), 1)
    now = equipped(after(TaskChange(id="s1-t0001", desired_state=TaskState.SHUTDOWN), now=now))
    assert now.tasks["s1-t0001"].attachments == ()


def test_an_address_just_freed_rests_before_it_is_given_again() -> None:
    now = tasks(after(cluster(), network("net1"), service("s1", "net1")), 2)
    first = plan(now)
    now, _ = apply(now, now.version + 1, ChangeSet(at=1, changes=tuple(first.changes)))
    now = after(TaskChange(id="s1-t0002", status=TaskStatus(state=TaskState.FAILED)), now=now)
    second = plan(tasks(now, 1, first=3), last=first.last)
    (change,) = second.changes
    assert isinstance(change, TaskChange)
    assert change.attachments[0].address == "10.0.0.5/24"


def test_a_round_is_bounded_and_names_what_it_left() -> None:
    now = tasks(after(cluster(), network("net1"), service("s1", "net1")), 20)
    done = plan(now, limit=10)
    assert len(done.changes) == 10
    assert len(done.again) == 12
    assert all(kind is Kind.TASK for kind, _ in done.again)


# -- properties ----------------------------------------------------------------------------------------------------------------------------
step = st.one_of(
    st.tuples(st.just("network"), st.integers(1, 4)),
    st.tuples(st.just("service"), st.integers(1, 4)),
    st.tuples(st.just("tasks"), st.integers(1, 4)),
    st.tuples(st.just("end"), st.integers(0, 30)),
    st.tuples(st.just("unservice"), st.integers(1, 4)),
    st.tuples(st.just("node"), st.integers(1, 4)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=25))
def test_no_address_port_number_or_subnet_is_ever_given_twice(steps: list[tuple[str, int]]) -> None:
    now = after(cluster(default_addr_pool=("10.0.0.0/25",), subnet_size=29))
    made = 0
    for what, which in steps:
        if what == "network" and f"net{which}" not in now.networks:
            now = after(network(f"net{which}"), now=now)
        elif what == "service" and f"s{which}" not in now.services and not now.tasks_of(f"s{which}"):
            now = after(service(f"s{which}", f"net{which}", "net1", ports=(published(80, 8000 + which % 2), published(81))), now=now)
        elif what == "tasks" and f"s{which}" in now.services:
            now = tasks(now, 3, f"s{which}", first=made + 1)
            made += 3
        elif what == "end" and now.tasks:
            task_id = sorted(now.tasks)[which % len(now.tasks)]
            now = after(TaskChange(id=task_id, status=TaskStatus(state=TaskState.FAILED)), now=now)
        elif what == "unservice" and f"s{which}" in now.services:
            now = after(Remove(kind=Kind.SERVICE, id=f"s{which}"), now=now)
        elif what == "node" and f"n{which}" not in now.nodes:
            now = after(node(f"n{which}", f"10.0.0.{which * 8}/29"), now=now)
        now = equipped(now)
        assert plan(now).changes == []
        _distinct(now)


def _distinct(now: Snapshot) -> None:
    held = [(place.network_id, place.address) for task in now.tasks.values() if not task.state.ended for place in task.attachments]
    endpoints = [one.endpoint for one in now.services.values() if one.endpoint is not None]
    held += [(vip.network_id, vip.addr) for endpoint in endpoints for vip in endpoint.virtual_ips]
    held += [(one.id, f"{one.gateway}/29") for one in now.networks.values() if one.subnet]
    assert len(held) == len(set(held))
    for network_id, address in held:
        interface = ip_interface(address)
        subnet = ip_network(now.networks[network_id].subnet)
        assert interface.network == subnet
        assert interface.ip not in (subnet.network_address, subnet.broadcast_address)
    ports = [(port.protocol, port.published_port) for endpoint in endpoints for port in endpoint.ports]
    assert len(ports) == len(set(ports))
    subnets = [ip_network(one.subnet) for one in now.networks.values() if one.subnet]
    assert not [1 for place, one in enumerate(subnets) for other in subnets[place + 1 :] if one.overlaps(other)]
    assert len({one.vni for one in now.networks.values() if one.subnet}) == len(subnets)
    assert len({one.number for one in now.nodes.values()}) == len(now.nodes)


@pytest.mark.parametrize(("text", "expected"), [("10.0.0.0/8", 16), ("10.0.0.0/30", 0)])
def test_a_pool_smaller_than_a_subnet_has_none(text: str, expected: int) -> None:
    names = [f"x{number}" for number in range(16)]
    now = equipped(after(cluster(default_addr_pool=(text,)), *(network(name) for name in names)))
    assert sum(bool(one.subnet) for one in now.networks.values()) == expected
