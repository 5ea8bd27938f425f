"""Nodes that fall silent while no manager is in reach."""

import struct
from collections.abc import Iterable, Mapping

import msgspec
import pytest

from cluster.aio.clock import ManualClock
from cluster.aio.latest import Latest
from cluster.aio.supervise import background
from cluster.api.assignment import ManagerAddr
from cluster.api.endpoint import Backend, EndpointUpdate, Peer, ServiceEndpoint, ServiceNetwork
from cluster.api.ids import Id
from cluster.api.specs import PortConfig
from node_agent.network.gathered import Gatherer
from node_agent.network.naming import link_address
from node_agent.network.parts import Part
from node_agent.network.silence import Silence, addresses_of, echo_request, is_reply, silent_nodes
from node_agent.network.view import Known, View, merge
from node_agent.network.vip import Way

PEERS = tuple(Peer(node_id=f"node{n}", number=n, addr=f"192.0.2.{n}", hostname=f"host{n}") for n in (1, 2, 3))
LINK = "10.96.0.0/20"
MANAGER = ManagerAddr(node_id="node3", addr="192.0.2.3:2377")


def backend(task: str, node: int, *, ready: bool = True) -> Backend:
    return Backend(task_id=task, node_id=f"node{node}", ready=ready, addresses={"net": f"10.0.1.{node}"}, container_name=task)


def only(ways: Mapping[str, Way]) -> Way:
    (way,) = ways.values()
    return way


def known(*backends: Backend, silent: Iterable[Id] = ()) -> Known:
    web = ServiceEndpoint(
        service_id="svc1",
        name="web",
        networks=(ServiceNetwork(network_id="net", vip="10.0.1.100", aliases=()),),
        ports=(PortConfig(target_port=80, published_port=8080),),
        backends=backends,
    )
    update = EndpointUpdate(version=1, complete=True, peers=PEERS, networks=(), services=(web,), ingress_subnet=LINK)
    return Known(view=merge(View(), update), silent=frozenset(silent))


def part(state: Known) -> Part:
    (made,) = Gatherer().gather(state, PEERS[0]).parts.values()
    return made


def test_a_silent_nodes_tasks_get_nothing_new_while_others_are_ready() -> None:
    made = part(known(backend("a", 1), backend("b", 2), backend("c", 3), silent=["node2"]))
    assert only(made.memberships["net"].ways).choice.ready == ("10.0.1.1", "10.0.1.3")
    assert made.memberships["net"].called.names["tasks.web"].tasks == ("10.0.1.1", "10.0.1.3")
    assert set(made.published[0].remote) == {link_address(LINK, 3)}
    assert set(made.memberships["net"].remote) == {"10.0.1.2", "10.0.1.3"}, "the way there stays: open connections may live on"


def test_with_no_other_ready_task_a_silent_nodes_tasks_are_kept() -> None:
    made = part(known(backend("a", 1, ready=False), backend("b", 2), silent=["node2"]))
    assert only(made.memberships["net"].ways).choice.ready == ("10.0.1.2",)
    assert set(made.published[0].remote) == {link_address(LINK, 2)}


def test_the_other_nodes_are_asked_at_their_addresses_on_the_link() -> None:
    assert addresses_of(known(), "node1") == {"node2": link_address(LINK, 2), "node3": link_address(LINK, 3)}
    assert addresses_of(Known(), "node1") == {}


def test_one_that_is_not_on_the_link_is_asked_at_its_own_address_and_asks_there() -> None:
    peers = {**known().view.peers, "node3": msgspec.structs.replace(PEERS[2], linked=False)}
    mixed = Known(view=msgspec.structs.replace(known().view, peers=peers))
    assert addresses_of(mixed, "node1") == {"node2": link_address(LINK, 2), "node3": "192.0.2.3"}
    assert addresses_of(mixed, "node3") == {"node1": "192.0.2.1", "node2": "192.0.2.2"}


def test_a_node_is_silent_three_seconds_after_its_last_answer_or_after_the_first_question() -> None:
    addresses = {"node2": "10.96.0.2", "node3": "10.96.0.3"}
    heard = {"10.96.0.2": 12.0, "10.96.0.9": 1.0}
    assert silent_nodes(addresses, heard, since=10.0, now=13.0) == frozenset()
    assert silent_nodes(addresses, heard, since=10.0, now=13.1) == {"node3"}
    assert silent_nodes(addresses, heard, since=10.0, now=15.1) == {"node2", "node3"}
    assert silent_nodes(addresses, heard, since=14.0, now=15.1) == frozenset(), "what was heard long ago says nothing about now"


class Net:
    """A data plane that notes what it skips, and other nodes of which some answer."""

    def __init__(self, clock: ManualClock, *answering: str) -> None:
        self.clock = clock
        self.known = known()
        self.answering = set(answering)
        self.heard: dict[str, float] = {}
        self.asked = 0
        self.is_closed = False

    async def skip(self, silent: frozenset[Id]) -> None:
        self.known = msgspec.structs.replace(self.known, silent=silent)

    def ask(self, addresses: Iterable[str]) -> None:
        self.asked += 1
        self.heard |= {address: self.clock.monotonic() for address in addresses if address in self.answering}

    def close(self) -> None:
        self.is_closed = True


async def test_nodes_are_asked_only_while_no_manager_is_in_reach_and_are_back_with_it() -> None:
    clock = ManualClock()
    net = Net(clock, link_address(LINK, 3))
    manager = Latest[ManagerAddr | None](MANAGER)
    async with background(Silence(net, manager, net, node_id="node1", clock=clock).run):
        await clock.advance(60)
        assert net.asked == 0
        manager.set(None)
        await clock.advance(3)
        assert net.known.silent == frozenset()
        manager.set(None)  # another one was asked in vain
        await clock.advance(2)
        assert net.known.silent == {"node2"}
        net.answering.add(link_address(LINK, 2))
        await clock.advance(2)
        assert net.known.silent == frozenset(), "it is heard again"
        net.answering.clear()
        await clock.advance(5)
        assert net.known.silent == {"node2", "node3"}
        manager.set(MANAGER)
        await clock.advance(0)
        assert net.known.silent == frozenset()
        asked = net.asked
        await clock.advance(60)
        assert net.asked == asked
    assert net.is_closed


def test_an_echo_request_has_a_checksum_that_sums_up_to_all_ones() -> None:
    request = echo_request(0xFFFE, 0xFFFF)
    total = sum(struct.unpack("!4H", request))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert (request[:2], total) == (b"\x08\x00", 0xFFFF)


@pytest.mark.parametrize(
    ("packet", "is_ours"),
    [
        (b"\x45" + bytes(19) + b"\x00\x00\x12\x34\x00\x07\x00\x01", True),
        (b"\x46" + bytes(23) + b"\x00\x00\x12\x34\x00\x07\x00\x01", True),
        (b"\x45" + bytes(19) + b"\x00\x00\x12\x34\x00\x08\x00\x01", False),
        (b"\x45" + bytes(19) + b"\x08\x00\x12\x34\x00\x07\x00\x01", False),
        (b"\x45" + bytes(19) + b"\x00\x00\x12", False),
        (b"\x4f" + bytes(27), False),
        (b"", False),
    ],
)
def test_only_replies_to_us_are_heard(packet: bytes, is_ours: bool) -> None:
    assert is_reply(packet, 7) is is_ours
