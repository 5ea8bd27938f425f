"""Who asks, and what the answer is."""

from collections import Counter
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.network.dns import wire
from node_agent.network.dns.directory import Answer, Directory, Forward, Hold
from node_agent.network.dns.feed import Feed, after, step
from node_agent.network.dns.forward import nameservers
from node_agent.network.dns.zone import Caller, Name, Names, NetworkZone, Zone

SHOP = NetworkZone(
    network_id="shop",
    name="shop_default",
    subnet="10.0.1.0/24",
    gateway="10.0.1.1",
    services={
        "web": Names(
            names={
                "web": Name(vips=("10.0.1.100",), tasks=("10.0.1.2", "10.0.1.3")),
                "tasks.web": Name(tasks=("10.0.1.2", "10.0.1.3")),
                "both": Name(vips=("10.0.1.100",)),
            },
            pointers={"10.0.1.2": "web.1.abc"},
        ),
        "idle": Names(names={"idle": Name(), "both": Name(vips=("10.0.1.101",))}),
    },
)
BACK = NetworkZone(
    network_id="back",
    name="back",
    subnet="10.0.2.0/24",
    gateway="10.0.2.1",
    services={"db": Names(names={"db": Name(vips=("10.0.2.100",))})},
)
CALLERS = (
    Caller(addresses=("10.0.1.10",), networks=("shop",)),
    Caller(addresses=("10.0.1.11", "10.0.2.11"), networks=("shop", "back"), upstreams=("9.9.9.9",)),
    Caller(addresses=("10.0.1.12",), networks=("shop",), held=True),
    Caller(addresses=("10.0.2.13",), networks=("back",), outbound=False),
)
ZONE = Zone(networks={"shop": SHOP, "back": BACK}, callers=CALLERS)


def decide(name: str, source: str = "10.0.1.10", kind: int = wire.A, gateway: str = "10.0.1.1") -> object:
    asked = wire.wire_name(name)
    query = wire.Query(identity=1, flags=0x100, name=asked, kind=kind, question=asked + bytes((0, kind, 0, 1)))
    return Directory(ZONE).decide(query, source, gateway, Random(1))


def addresses(decision: object) -> set[str]:
    assert isinstance(decision, Answer)
    return {".".join(str(byte) for byte in record[-4:]) for record in decision.records}


def test_a_service_is_its_vip_and_its_tasks_are_themselves() -> None:
    assert addresses(decide("web")) == {"10.0.1.100"}
    assert addresses(decide("web.shop_default")) == {"10.0.1.100"}
    assert addresses(decide("tasks.web")) == {"10.0.1.2", "10.0.1.3"}


def test_services_that_share_an_alias_share_the_answer() -> None:
    assert addresses(decide("both")) == {"10.0.1.100", "10.0.1.101"}


def test_a_caller_sees_the_networks_that_it_is_on_by_any_of_its_addresses() -> None:
    assert isinstance(decide("db"), Forward)
    assert addresses(decide("db", "10.0.1.11")) == {"10.0.2.100"}
    assert addresses(decide("web", "10.0.2.11", gateway="10.0.2.1")) == {"10.0.1.100"}


def test_a_held_caller_waits_for_vips_and_for_nothing_else() -> None:
    assert decide("web", "10.0.1.12") == Hold()
    assert decide("web", "10.0.1.12", wire.AAAA) == Hold()
    assert addresses(decide("tasks.web", "10.0.1.12")) == {"10.0.1.2", "10.0.1.3"}


def test_nothing_is_denied_on_a_network_whose_services_are_not_known_yet() -> None:
    asked = wire.wire_name("web")
    query = wire.Query(identity=1, flags=0, name=asked, kind=wire.A, question=asked + b"\0\1\0\1")
    untold = Zone(networks={"shop": NetworkZone(network_id="shop", name="shop_default", told=False)}, callers=CALLERS[:1])
    assert Directory(untold).decide(query, "10.0.1.10", "10.0.1.1", Random(1)) == Hold()


def test_a_stranger_on_a_network_of_ours_gets_tasks_because_its_vips_are_not_ours_to_program() -> None:
    assert addresses(decide("web", "10.0.1.77")) == {"10.0.1.2", "10.0.1.3"}
    assert decide("web", "10.0.1.77", gateway="10.0.9.1") == Forward()


def test_another_kind_of_record_of_a_name_of_ours_is_an_empty_answer_not_a_denial() -> None:
    assert decide("web", kind=wire.AAAA) == Answer()
    assert decide("idle") == Answer()


def test_unknown_names_are_asked_of_the_callers_servers_unless_it_cannot_get_out() -> None:
    assert decide("example.org") == Forward()
    assert decide("example.org", "10.0.1.11") == Forward(upstreams=("9.9.9.9",))
    assert decide("example.org", "10.0.2.13") == Answer(code=wire.NXDOMAIN)


def test_addresses_of_our_networks_have_our_names_or_none() -> None:
    found = decide("2.1.0.10.in-addr.arpa", kind=wire.PTR)
    assert isinstance(found, Answer)
    assert found.records[0].endswith(wire.wire_name("web.1.abc.shop_default"))
    assert decide("9.1.0.10.in-addr.arpa", kind=wire.PTR) == Answer(code=wire.NXDOMAIN)
    assert decide("8.8.8.8.in-addr.arpa", kind=wire.PTR) == Forward()


def test_every_task_comes_first_about_as_often_as_the_others() -> None:
    asked = wire.wire_name("tasks.web")
    query = wire.Query(identity=1, flags=0, name=asked, kind=wire.A, question=asked + b"\0\1\0\1")
    rng, directory = Random(7), Directory(ZONE)
    firsts = Counter(directory.decide(query, "10.0.1.10", "10.0.1.1", rng).records[0] for _ in range(1000))  # type: ignore[union-attr]
    assert len(firsts) == 2
    assert min(firsts.values()) > 400


def test_a_network_that_did_not_change_is_not_indexed_again() -> None:
    before = Directory(ZONE)
    changed = Zone(networks={"shop": SHOP, "back": NetworkZone(network_id="back", name="other")}, callers=CALLERS)
    later = Directory(changed, before)
    assert later.networks["shop"] is before.networks["shop"]
    assert later.networks["back"] is not before.networks["back"]


# -- what the daemon tells -------------------------------------------------------------------------------------------------------------
KEYS = st.sampled_from(["a", "b", "c"])
NAMES = st.dictionaries(KEYS, st.sampled_from([Name(), Name(vips=("10.0.0.1",)), Name(tasks=("10.0.0.2",))]))
SERVICES = st.dictionaries(st.sampled_from("xyz"), NAMES.map(lambda names: Names(names=names)))
NETWORKS = st.dictionaries(
    KEYS,
    st.builds(
        NetworkZone,
        network_id=st.just(""),
        name=st.sampled_from(["x", "y"]),
        told=st.booleans(),
        services=SERVICES,
    ),
).map(lambda zones: {key: msgspec.structs.replace(zone, network_id=key) for key, zone in zones.items()})
ZONES = st.builds(Zone, networks=NETWORKS, callers=st.sampled_from([(), CALLERS[:1], CALLERS]))


@settings(max_examples=300, deadline=None)
@given(st.none() | ZONES, ZONES)
def test_a_step_leads_from_any_zone_to_any_other(before: Zone | None, wanted: Zone) -> None:
    feed = step(before, wanted)
    held = before or Zone()
    assert (held if feed is None else after(held, feed)) == wanted


@settings(max_examples=300, deadline=None)
@given(st.lists(SERVICES, min_size=2, max_size=5))
def test_an_index_that_was_changed_step_by_step_is_the_one_that_is_made_at_once(steps: list[dict[str, Names]]) -> None:
    """Each service's addresses are its own."""
    own = [
        {
            key: msgspec.structs.replace(called, pointers={f"10.0.9.{ord(key)}": name for name in called.names})
            for key, called in step.items()
        }
        for step in steps
    ]
    directory = None
    for services in own:
        directory = Directory(Zone(networks={"n": msgspec.structs.replace(BACK, services=services)}), directory)
    assert directory is not None
    grown, fresh = directory.networks["n"], Directory(Zone(networks={"n": msgspec.structs.replace(BACK, services=own[-1])})).networks["n"]
    for name in "abc":
        one, other = grown.find(wire.wire_name(name)), fresh.find(wire.wire_name(name))
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert (Counter(one.vips), Counter(one.tasks)) == (Counter(other.vips), Counter(other.tasks))
    for key in "xyz":
        assert grown.pointer(f"10.0.9.{ord(key)}") == fresh.pointer(f"10.0.9.{ord(key)}")


def test_a_complete_feed_forgets_what_it_does_not_name() -> None:
    assert after(ZONE, Feed(complete=True)) == Zone()


def test_the_hosts_servers_are_read_as_the_resolver_reads_them() -> None:
    text = "# comment\nnameserver 192.0.2.1\nsearch example.org\nnameserver  2001:db8::1 # more\nnameserver\n"
    assert nameservers(text) == ("192.0.2.1", "2001:db8::1")
