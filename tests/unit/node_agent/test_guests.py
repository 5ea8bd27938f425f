"""Which containers are guests of which networks, and what they need programmed."""

import os

from cluster.api.endpoint import Guest, OverlayNetwork, Peer
from node_agent.guests import guests_here, seats
from node_agent.network.gathered import Gatherer
from node_agent.network.naming import engine_network_of
from node_agent.network.ports import Member
from node_agent.network.view import Known, LocalTask, View

PID = os.getpid()
ONE, TWO = "net1".ljust(25, "0"), "net2".ljust(25, "0")


def network(key: str, subnet: str, *guests: Guest) -> OverlayNetwork:
    return OverlayNetwork(
        network_id=key, name=key[:4], subnet=f"{subnet}.0/24", gateway=f"{subnet}.1", vni=4097, attachable=True, guests=guests
    )


def guest(guest_id: str, key: str, address: str) -> LocalTask:
    return LocalTask(task_id=guest_id, service_id="", addresses={key: address}, guest=True)


def test_a_guest_is_known_by_its_address_and_has_the_process_of_its_container() -> None:
    member = Member(container_id="c1", pid=PID, addresses={engine_network_of(ONE): "10.0.1.254", "bridge": "172.17.0.2"})
    seated = seats({"g1": guest("g1", ONE, "10.0.1.254"), "g2": guest("g2", ONE, "10.0.1.253")}, [member])
    assert list(seated) == ["g1"]
    assert (seated["g1"].pid, seated["g1"].addresses) == (PID, {ONE: "10.0.1.254"})
    assert seated["g1"].namespace


def test_a_container_on_two_networks_is_programmed_once_for_both() -> None:
    guests = {"g1": guest("g1", ONE, "10.0.1.254"), "g2": guest("g2", TWO, "10.0.2.254")}
    member = Member(container_id="c1", pid=PID, addresses={engine_network_of(ONE): "10.0.1.254", engine_network_of(TWO): "10.0.2.254"})
    first = seats(guests, [member])
    assert (first["g1"].pid, first["g1"].addresses) == (PID, {ONE: "10.0.1.254", TWO: "10.0.2.254"})
    assert (first["g2"].pid, first["g2"].addresses) == (0, {TWO: "10.0.2.254"})
    assert seats(first, [member]) == first, "and again the same"
    stopped = Member(container_id="c1", addresses=member.addresses)
    assert seats(first, [stopped])["g1"].pid == 0


def test_guests_that_only_the_managers_remember_are_looked_for_too() -> None:
    told = network(ONE, "10.0.1", Guest(id="g1", node_id="me", address="10.0.1.254"), Guest(id="g2", node_id="other", address="10.0.1.253"))
    known = Known(view=View(networks={ONE: told}), tasks={"g3": guest("g3", TWO, "10.0.2.254")})
    assert sorted(guests_here(known, "me")) == ["g1", "g3"]


def test_guests_elsewhere_are_reached_and_resolved_like_tasks() -> None:
    here = Guest(id="g1", node_id="me", address="10.0.1.254", name="Box", aliases=("db",))
    there = Guest(id="g2", node_id="other", address="10.0.1.253", name="far")
    peers = {"me": Peer(node_id="me", number=1, addr="10.99.0.1"), "other": Peer(node_id="other", number=2, addr="10.99.0.2")}
    known = Known(view=View(peers=peers, networks={ONE: network(ONE, "10.0.1", here, there)}))
    [part] = Gatherer().gather(known, peers["me"]).parts.values()
    membership = part.memberships[ONE]
    assert membership.remote == {"10.0.1.253": "10.99.0.2"}
    assert {name: found.tasks for name, found in membership.called.names.items()} == {
        "box": ("10.0.1.254",),
        "db": ("10.0.1.254",),
        "far": ("10.0.1.253",),
    }
    assert membership.called.pointers["10.0.1.253"] == "far"
