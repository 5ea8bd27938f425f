"""Whom a connection to a published port is carried on to."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from node_agent.network.affinity import ranked
from node_agent.network.balance.choice import Place, places
from node_agent.network.balance.header import Request, parse
from node_agent.network.balance.plan import BalancePlan
from node_agent.network.balance.ways import SILENT_SECONDS, Ways
from node_agent.network.ingress import Published
from node_agent.network.relay import Target

WEB = Published(protocol="tcp", port=8080, target=80, local=("172.18.0.2",), remote={"10.0.0.2": 2, "10.0.0.3": 1})
PLAN = BalancePlan(me="10.0.0.1", port=4789, published=(WEB,), relays=("10.0.0.2",), linked=("10.0.0.3",))


def first(port: Published, *, arriving: bool = False, times: int = 8000) -> Counter[str]:
    rng = Random(1)
    return Counter(places(port, "192.0.2.1", arriving=arriving, rng=rng)[0].address for _ in range(times))


def test_a_task_counts_once_wherever_it_is() -> None:
    counted = first(WEB)
    for address, tasks in (("172.18.0.2", 1), ("10.0.0.2", 2), ("10.0.0.3", 1)):
        assert abs(counted[address] / 8000 - tasks / 4) < 0.02


@given(
    st.lists(st.integers(2, 9), unique=True),
    st.dictionaries(st.integers(2, 9), st.integers(1, 50)),
    st.booleans(),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_everybody_is_tried_once_and_what_another_node_sent_stays_here(
    here: list[int], away: dict[int, int], near: bool, arriving: bool, rng: Random
) -> None:
    local = tuple(f"172.18.0.{number}" for number in here)
    remote = {f"10.0.0.{number}": weight for number, weight in away.items()}
    port = Published(protocol="tcp", port=1, target=2, local=local, remote=remote, near_first=near)
    found = places(port, "192.0.2.1", arriving=arriving, rng=rng)
    assert Counter(found) == Counter([*(Place(one, True) for one in local), *(Place(one, False) for one in (() if arriving else remote))])
    if near:
        assert [place.is_here for place in found] == sorted((place.is_here for place in found), reverse=True)


def test_what_leaves_gets_what_other_nodes_still_send_and_nothing_from_here() -> None:
    port = replace(WEB, local=(), leaving=("172.18.0.9",))
    assert first(port, arriving=True, times=1) == {"172.18.0.9": 1}
    assert "172.18.0.9" not in first(port)


def test_a_client_finds_its_task_by_any_node_and_another_only_when_that_goes() -> None:
    at = {"a": 1, "b": 2, "c": 2, "d": 3}

    def seen_from(node: int, without: str = "") -> Published:
        clients = {task: f"172.18.0.{ord(task)}" if there == node else f"10.0.0.{there}" for task, there in at.items() if task != without}
        local = tuple(clients[task] for task, there in at.items() if there == node and task != without)
        remote = {f"10.0.0.{there}": 1 for task, there in at.items() if there != node and task != without}
        return Published(protocol="tcp", port=8080, target=80, local=local, remote=remote, clients=clients)

    def reaches(client: str, by: int, without: str = "") -> str:
        place = places(seen_from(by, without), client, arriving=False, rng=Random(1))[0]
        node = by if place.is_here else int(place.address[-1])
        final = place if place.is_here else places(seen_from(node, without), client, arriving=True, rng=Random(1))[0]
        return chr(int(final.address.rsplit(".", 1)[1]))

    clients = [f"192.0.2.{number}" for number in range(60)]
    for client in clients:
        assert {reaches(client, by) for by in (1, 2, 3, 4)} == {ranked(at, client)[0]}
        if reaches(client, 1) != "b":
            assert reaches(client, 1, without="b") == reaches(client, 1), "it loses its task only with its task"
    assert {reaches(client, 1) for client in clients} == set(at)


def test_ways_lead_to_tasks_by_address_to_relays_by_greeting_and_to_kernels_by_the_port_itself() -> None:
    ways = Ways(ManualClock(), Random(1))
    ways.take(PLAN)
    request = ways.asked(("tcp", "", 8080), "192.0.2.1", 999)
    targets = {target.address: target for target in ways.targets(request)}
    assert targets["172.18.0.2"] == Target("172.18.0.2", 80)
    assert targets["10.0.0.3"] == Target("10.0.0.3", 8080, source="10.0.0.1")
    relayed = targets["10.0.0.2"]
    assert relayed[:3] == ("10.0.0.2", 4789, "10.0.0.1")
    assert parse(relayed.greeting) == Request(("tcp", "", 8080), "192.0.2.1", 999, arriving=True)
    assert ways.targets(ways.asked(("udp", "", 8080), "192.0.2.1", 999)) == []


def test_nothing_that_a_node_sent_is_sent_on() -> None:
    ways = Ways(ManualClock(), Random(1))
    ways.take(PLAN)
    from_kernel = ways.asked(("tcp", "", 8080), "10.0.0.3", 999)
    from_relay = ways.relayed(Request(("tcp", "", 8080), "192.0.2.1", 999, arriving=True), "10.0.0.2")
    for request in (from_kernel, from_relay):
        assert ways.targets(request) == [Target("172.18.0.2", 80)]


async def test_one_that_did_not_answer_comes_last_for_a_while() -> None:
    clock = ManualClock()
    ways = Ways(clock, Random(1))
    ways.take(PLAN)
    request = ways.asked(("tcp", "", 8080), "192.0.2.1", 999)
    ways.lost(Target("10.0.0.2", 4789))
    assert {ways.targets(request)[-1].address for _ in range(50)} == {"10.0.0.2"}
    await clock.advance(SILENT_SECONDS)
    assert "10.0.0.2" in {ways.targets(request)[0].address for _ in range(50)}
