"""Containers that join networks by themselves: who may, at which address, until when."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put
from cluster.api.commands import AttachGuest, Command, DetachGuest, RemoveNetwork, RemoveNode
from cluster.api.errors import Conflict, FailedPrecondition, Forbidden, InvalidArgument, NotFound
from cluster.api.objects import Network, Node
from cluster.api.specs import IPAM, IPAMConfig, NetworkSpec
from manager.controlapi.admit import admit
from manager.dispatcher.endpoints import Views, networks_on
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

FRONT = Network(id="front1", spec=NetworkSpec(name="front", attachable=True), subnet="10.0.1.0/29", gateway="10.0.1.1/29", vni=4097)


def put(*changes: Change, now: Snapshot = EMPTY_SNAPSHOT) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None, refusal
    return now


def done(now: Snapshot, command: Command) -> Snapshot:
    admission = admit(now, command)
    return put(*admission.changes, now=now) if admission.changes else now


def guest(guest_id: str, *, node: str = "n1", network: str = "front", address: str = "") -> AttachGuest:
    return AttachGuest(id=guest_id, node_id=node, network=network, name=f"box-{guest_id}", address=address)


def addresses(now: Snapshot) -> list[str]:
    return [one.address for one in now.networks["front1"].guests]


BASE = put(Put(object=FRONT), Put(object=Node(id="n1")))


def test_guests_get_addresses_from_the_far_end_and_give_them_back() -> None:
    now = done(done(BASE, guest("a")), guest("b", network="front1"))
    assert addresses(now) == ["10.0.1.6", "10.0.1.5"]
    assert sorted(now.addresses("front1")) == [1, 5, 6]
    now = done(now, DetachGuest(id="a", node_id="n1"))
    assert sorted(now.addresses("front1")) == [1, 5]
    assert done(now, DetachGuest(id="a", node_id="n1")) is now, "again is fine"
    assert addresses(done(now, guest("c"))) == ["10.0.1.5", "10.0.1.6"]


def test_a_retry_is_the_same_guest() -> None:
    now = done(BASE, guest("a"))
    assert done(now, guest("a")) is now


def test_the_address_that_was_asked_for_is_given_or_refused() -> None:
    now = done(BASE, guest("a", address="10.0.1.3"))
    assert addresses(now) == ["10.0.1.3"]
    with pytest.raises(Conflict, match=r"address 10\.0\.1\.3 of network front is in use"):
        admit(now, guest("b", address="10.0.1.3"))
    with pytest.raises(InvalidArgument, match="not within network front"):
        admit(now, guest("b", address="10.0.2.3"))
    with pytest.raises(InvalidArgument, match="invalid address"):
        admit(now, guest("b", address="house"))


def test_a_full_network_says_so() -> None:
    now = BASE
    for number in range(5):
        now = done(now, guest(str(number)))
    with pytest.raises(FailedPrecondition, match=r"network front \(10\.0\.1\.0/29\) has no free address"):
        admit(now, guest("x"))


def test_guests_stay_within_the_range_and_off_what_is_kept() -> None:
    config = IPAMConfig(subnet="10.0.1.0/24", ip_range="10.0.1.8/29", auxiliary_addresses={"router": "10.0.1.15"})
    spec = NetworkSpec(name="front", attachable=True, ipam=IPAM(config=(config,)))
    now = put(Put(object=replace(FRONT, spec=spec, subnet="10.0.1.0/24", gateway="10.0.1.1/24")))
    assert addresses(done(now, guest("a"))) == ["10.0.1.14"]


def test_only_attachable_networks_take_guests_and_only_those_that_are_there() -> None:
    closed = put(Put(object=replace(FRONT, spec=NetworkSpec(name="front"))))
    with pytest.raises(Forbidden, match="network front not manually attachable"):
        admit(closed, guest("a"))
    with pytest.raises(NotFound, match="network back not found"):
        admit(BASE, guest("a", network="back"))


def test_a_network_with_guests_is_in_use_and_its_node_serves_it() -> None:
    now = done(BASE, guest("a"))
    with pytest.raises(FailedPrecondition, match="in use by container box-a"):
        admit(now, RemoveNetwork(id="front1"))
    assert networks_on(Views(now), "n1")["front1"].guests == now.networks["front1"].guests
    assert networks_on(Views(now), "n2") == {}


def test_a_forgotten_node_leaves_no_guest() -> None:
    now = done(BASE, guest("a"))
    assert addresses(done(now, RemoveNode(id="n1", force=True))) == []
