"""What follows from the endpoints, worked out step by step: the same as from nothing, whatever came and went before."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cluster.api.endpoint import Backend, Guest, OverlayNetwork, Peer, ServiceEndpoint, ServiceNetwork
from cluster.api.specs import PortConfig
from node_agent.network.desired import NOTHING_DESIRED, desired
from node_agent.network.dns.directory import Directory
from node_agent.network.dns.feed import after, step
from node_agent.network.dns.zone import Zone
from node_agent.network.gathered import Gatherer
from node_agent.network.names import zone_of
from node_agent.network.rulesets import gone_ways
from node_agent.network.shards import Shards, difference
from node_agent.network.tables import Table, change
from node_agent.network.view import Known, LocalTask, View

NETS = {
    key: OverlayNetwork(network_id=key, name=key, subnet=f"10.0.{n}.0/24", gateway=f"10.0.{n}.1", vni=4096 + n)
    for n, key in enumerate(("one", "two"), 1)
}
PEERS = {f"n{n}": Peer(node_id=f"n{n}", number=n, addr=f"192.0.2.{n}") for n in (1, 2, 3)}
GATEWAYS = {key: network.gateway for key, network in NETS.items()}


@st.composite
def _services(draw: st.DrawFn, key: str) -> ServiceEndpoint:
    """Addresses and VIPs of a small pool: two services may say different things of one."""
    number = st.integers(10, 14)
    backends = [
        Backend(
            task_id=f"{key}{n}",
            node_id=draw(st.sampled_from(sorted(PEERS))),
            ready=draw(st.booleans()),
            addresses={net: f"10.0.{place}.{draw(number)}" for place, net in enumerate(NETS, 1) if draw(st.booleans())},
            container_name=draw(st.sampled_from(("", f"c{n}"))),
        )
        for n in range(draw(st.integers(0, 3)))
    ]
    there = [
        ServiceNetwork(
            network_id=net,
            vip=draw(st.sampled_from(("", f"10.0.{place}.100", f"10.0.{place}.101"))),
            aliases=draw(st.sampled_from(((), ("db",)))),
        )
        for place, net in enumerate(NETS, 1)
        if draw(st.booleans())
    ]
    ports = tuple(
        PortConfig(published_port=port, target_port=80) for port in draw(st.lists(st.sampled_from((80, 81)), unique=True, max_size=1))
    )
    affinity = draw(st.sampled_from(("", "", "client-ip")))
    return ServiceEndpoint(
        service_id=key, name=f"web-{key}", networks=tuple(there), ports=ports, backends=tuple(backends), affinity=affinity
    )


@st.composite
def _known(draw: st.DrawFn, before: Known) -> Known:
    """One step on from what was known."""
    what = draw(st.sampled_from(("services", "services", "services", "nodes", "tasks", "silent", "guests", "again")))
    view = before.view
    if what == "services":
        gone = draw(st.sets(st.sampled_from("abcd"), max_size=1))
        new = {key: draw(_services(key)) for key in draw(st.sets(st.sampled_from("abcd"), max_size=2))}
        kept = {key: service for key, service in view.services.items() if key not in gone}
        return msgspec.structs.replace(before, view=msgspec.structs.replace(view, services=kept | new))
    if what == "nodes":
        others = draw(st.sets(st.sampled_from(("n2", "n3"))))
        peers = {key: peer for key, peer in PEERS.items() if key == "n1" or key in others}
        link = draw(st.sampled_from(("", "10.96.0.0/20")))
        return msgspec.structs.replace(before, view=msgspec.structs.replace(view, peers=peers, ingress_subnet=link))
    if what == "tasks":
        return msgspec.structs.replace(before, tasks=draw(_tasks()), ended=draw(st.sampled_from(({}, {"a0": "a"}))))
    if what == "silent":
        return msgspec.structs.replace(before, silent=frozenset(draw(st.sets(st.sampled_from(("n2", "n3"))))))
    if what == "guests":
        guest = Guest(id="g", node_id=draw(st.sampled_from(("n1", "n2"))), address="10.0.1.11", name=draw(st.sampled_from(("", "box"))))
        one = msgspec.structs.replace(NETS["one"], guests=draw(st.sampled_from(((), (guest,)))))
        return msgspec.structs.replace(before, view=msgspec.structs.replace(view, networks={**NETS, "one": one}))
    equal = msgspec.msgpack.decode(msgspec.msgpack.encode(view), type=View)
    return msgspec.structs.replace(before, view=equal)


@st.composite
def _tasks(draw: st.DrawFn) -> dict[str, LocalTask]:
    return {
        key: LocalTask(
            task_id=key,
            service_id=key[0],
            pid=draw(st.integers(0, 1)),
            addresses={net: f"10.0.{place}.20" for place, net in enumerate(NETS, 1) if draw(st.booleans())},
            withdrawn=draw(st.booleans()),
        )
        for key in draw(st.sets(st.sampled_from(("a0", "b1", "x"))))
    }


@st.composite
def _stories(draw: st.DrawFn) -> list[Known]:
    states = [Known(view=View(peers=PEERS, networks=NETS, ingress_subnet="10.96.0.0/20"), tasks=draw(_tasks()))]
    for _ in range(draw(st.integers(1, 6))):
        states.append(draw(_known(states[-1])))
    return states


@given(_stories())
def test_what_is_gathered_step_by_step_is_what_is_gathered_from_nothing(states: list[Known]) -> None:
    gatherer, wanted, zone, told, directory = Gatherer(), NOTHING_DESIRED, None, Zone(), Directory(Zone())
    for state in states:
        gathered, fresh = gatherer.gather(state, PEERS["n1"]), Gatherer().gather(state, PEERS["n1"])
        assert gathered == fresh
        last = wanted
        wanted = desired(state, gathered, node_id="n1", underlay_mtu=1500, before=last)
        assert wanted == desired(state, fresh, node_id="n1", underlay_mtu=1500)
        for task in wanted.sandboxes.keys() & last.sandboxes.keys():
            was, now = last.sandboxes[task].table, wanted.sandboxes[task].table
            assert played(change(was, now), elements(was)) == elements(now)
            had, has = pairs(was), pairs(now)
            assert gone_ways(was.groups, now.groups) == had - has  # type: ignore[arg-type]
        before, zone = zone, zone_of(state, gathered, gateways=GATEWAYS, programmed=())
        assert zone == zone_of(state, fresh, gateways=GATEWAYS, programmed=())
        if (feed := step(before, zone)) is not None:
            told = after(told, feed)
        assert told == zone
        directory = Directory(told, directory)


def elements(table: Table) -> dict[tuple[str, str], str]:
    return {
        (name, key): value
        for those in table.groups
        for group in those.values()
        for name, held in group.elements.items()
        for key, value in held.items()
    }


def pairs(table: Table) -> set[tuple[str, str]]:
    return {(vip, one) for those in table.groups for vip, way in those.items() for one in way.choice.ready}  # type: ignore[attr-defined]


def played(text: str, held: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """The elements as the kernel would have them after this transaction."""
    for line in text.splitlines():
        if line.split()[1] != "element":
            continue
        verb, _, _, _, name, those = line.split(" ", 5)
        for element in those.strip("{ }").split(", "):
            key, _, value = element.partition(" : ")
            if verb == "delete":
                del held[name, key]
            else:
                assert (name, key) not in held
                held[name, key] = value
    return held


_maps = st.dictionaries(st.integers(0, 200), st.sampled_from("xyz"), max_size=30)


@given(_maps, _maps, st.sets(st.integers(0, 200)))
def test_a_map_in_pieces_is_the_map(one: dict[int, str], more: dict[int, str], gone: set[int]) -> None:
    before = Shards(one)
    later = before.but(more, gone)
    assert dict(before) == one
    assert dict(later) == {key: value for key, value in one.items() if key not in gone} | more
    assert len(later) == len(dict(later))
    changed, left = difference(before, later)
    assert {key: value for key, value in {**before, **changed}.items() if key not in left} == dict(later)
    assert changed == difference(dict(before), dict(later))[0]
    assert set(left) == before.keys() - later.keys()
