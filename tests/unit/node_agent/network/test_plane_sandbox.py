"""How a task's container is connected, and what is read of its sockets and the host's routes."""

import pytest

from cluster.api.assignment import AssignedAttachment, AssignedTask
from cluster.api.specs import ContainerSpec, DNSConfig, NetworkAttachmentConfig, TaskSpec
from cluster.api.states import TaskState
from node_agent.network.connections import open_to, parse
from node_agent.network.conntrack import gone_destinations
from node_agent.network.naming import bridge_of, engine_network_of, link_address, mac_of, vxlan_of
from node_agent.network.netlink import attribute, attributes, nested, text, u8, u32
from node_agent.network.routes import Route, meeting_route
from node_agent.network.sandbox import engine_networks, predefined_network, resolv_conf_of
from worker.ports import EngineNetwork


def task(*targets: str, attached: tuple[str, ...] = (), dns: DNSConfig | None = None) -> AssignedTask:
    return AssignedTask(
        id="t",
        service_id="s",
        service_name="web",
        slot=1,
        node_id="n",
        spec=TaskSpec(
            container_spec=ContainerSpec(dns_config=dns), networks=tuple(NetworkAttachmentConfig(target=target) for target in targets)
        ),
        desired_state=TaskState.RUNNING,
        attachments=tuple(AssignedAttachment(network_id=one, address="10.0.1.2/24") for one in attached),
    )


@pytest.mark.parametrize("name", ["host", "none", "bridge"])
def test_the_engines_own_networks_are_recognised_by_name(name: str) -> None:
    assert predefined_network(task(name)) == name
    assert predefined_network(task("mynet", attached=("mynet",))) == ""


def test_the_network_that_leads_out_comes_first_and_addresses_bring_their_mac() -> None:
    addresses = {"inner00000000": "10.0.2.2", "outer00000000": "10.0.1.2"}
    plan = engine_networks(addresses, uses_gateway=False, internal={"inner00000000": True, "outer00000000": False})
    assert plan == (
        EngineNetwork(name="shoal-outer0000000", address="10.0.1.2", mac="02:42:0a:00:01:02"),
        EngineNetwork(name="shoal-inner0000000", address="10.0.2.2", mac="02:42:0a:00:02:02"),
    )
    assert engine_networks({}, uses_gateway=True, internal={}) == (EngineNetwork(name="shoal_gw"),)


def test_a_task_asks_our_name_server_with_its_own_search_and_options() -> None:
    assert resolv_conf_of(task(), "10.0.1.1") == "nameserver 10.0.1.1\noptions ndots:0\n"
    dns = DNSConfig(nameservers=("9.9.9.9",), search=("a.example", "b.example"), options=("ndots:2", "timeout:1"))
    assert resolv_conf_of(task(dns=dns), "10.0.1.1") == "nameserver 10.0.1.1\nsearch a.example b.example\noptions ndots:2 timeout:1\n"


def test_names_of_interfaces_fit_the_kernel() -> None:
    network = "abcdefghijklmnopqrstuvwxy"
    assert (bridge_of(network), vxlan_of(network), engine_network_of(network)) == (
        "sb-abcdefghijkl",
        "sv-abcdefghijkl",
        "shoal-abcdefghijkl",
    )
    assert len(bridge_of(network)) == len(vxlan_of(network)) == 15
    assert (mac_of("10.96.0.1"), link_address("10.96.0.0/20", 4095)) == ("02:42:0a:60:00:01", "10.96.15.255")


# -- open connections ------------------------------------------------------------------------------------------------------------------
PROC_NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0201000A:1F40 09020063:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0201000A:9C41 0301000A:1F40 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
   3: 0100007F:1F40 0100007F:9C42 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 -1
   4: 0201000A:1F40 09020063:9C43 08 00000000:00000000 00:00000000 00000000     0        0 5 1 0 20 4 30 10 -1
"""
PROC_NET_TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0
   1: 0000000000000000FFFF00000201000A:0050 0000000000000000FFFF000009020063:9C40 01 0
"""


def test_connections_that_others_opened_to_the_task_are_counted_and_no_others() -> None:
    sockets = [*parse(PROC_NET_TCP), *parse(PROC_NET_TCP6)]
    assert open_to(["10.0.1.2"], sockets) == 2
    assert open_to(["10.0.1.9"], sockets) == 0


# -- what must be forgotten, what must not be shadowed ---------------------------------------------------------------------------------
def test_only_destinations_that_went_are_forgotten() -> None:
    before = {"10.0.1.100": ("a", "b"), "10.0.1.101": ("c",), "10.0.1.102": ("d",)}
    after = {"10.0.1.100": ("b", "x"), "10.0.1.102": ("d",)}
    assert gone_destinations(before, after) == {("10.0.1.100", "a"), ("10.0.1.101", "c")}


def test_a_subnet_meets_a_host_route_unless_it_is_the_default_or_its_own_bridge() -> None:
    routes = [
        Route(destination="0.0.0.0/0", device=2, gateway="10.0.0.1"),
        Route(destination="10.0.0.0/16", device=2),
        Route(destination="10.1.5.0/24", device=7),
    ]
    assert meeting_route("10.0.1.0/24", routes, own=[]) == routes[1]
    assert meeting_route("10.0.0.0/8", routes, own=[]) == routes[1]
    assert meeting_route("10.1.5.0/24", routes, own=[7]) is None
    assert meeting_route("10.2.0.0/24", routes, own=[]) is None


# -- netlink ---------------------------------------------------------------------------------------------------------------------------
def test_attributes_are_padded_and_read_back() -> None:
    body = u8(1, 7) + text(3, "eth0") + u32(4, 1450) + nested(18, text(1, "vxlan"))
    assert len(body) % 4 == 0
    assert attributes(body) == {1: b"\x07", 3: b"eth0\0", 4: (1450).to_bytes(4, "little"), 18: attribute(1, b"vxlan\0")}


def test_damaged_attributes_end_the_reading() -> None:
    assert attributes(u8(1, 7) + b"\0\0\0\0") == {1: b"\x07"}
    assert attributes(b"\x03") == {}
