"""The text by which a table in the kernel becomes another one."""

from hypothesis import given
from hypothesis import strategies as st

from node_agent.network.naming import STAND_IN
from node_agent.network.tables import Chain, Group, Lookup, Table, change, handover, removal, replacement
from node_agent.network.vip import Choice, vip_table, way


def table(chains: dict[str, tuple[str, ...]], verdicts: dict[str, str] | None = None) -> Table:
    return Table(
        family="ip",
        name="shoal",
        chains={"c_out": Chain(hook="type nat hook output priority -100", rules=("ip daddr vmap @vips",))}
        | {name: Chain(rules=rules) for name, rules in chains.items()},
        lookups={"vips": Lookup(type="ipv4_addr : verdict", elements=verdicts or {}, is_map=True)},
    )


def test_a_replacement_is_one_transaction_that_needs_nothing_to_be_there() -> None:
    text = replacement(table({"v_1": ("dnat to 10.0.0.2",)}, {"10.0.0.9": "goto v_1"}))
    assert text.splitlines()[:3] == ["add table ip shoal", "delete table ip shoal", "table ip shoal {"]
    assert "type nat hook output priority -100; policy accept;" in text
    assert "map vips { type ipv4_addr : verdict;" in text
    assert "elements = { 10.0.0.9 : goto v_1 }" in text


def test_a_removal_is_fine_when_there_is_no_such_table() -> None:
    assert removal(table({})) == "add table ip shoal\ndelete table ip shoal\n"


def test_a_table_that_is_there_is_replaced_while_a_stand_in_decides() -> None:
    wanted = table({"v_1": ("dnat to 10.0.0.2",)})
    there, swapped, gone = handover(wanted)
    assert there == replacement(wanted).replace(" ip shoal", f" ip {STAND_IN}")
    assert swapped == replacement(wanted)
    assert gone == f"add table ip {STAND_IN}\ndelete table ip {STAND_IN}\n"


def test_an_equal_table_needs_no_transaction() -> None:
    assert change(table({"v_1": ("a",)}), table({"v_1": ("a",)})) == ""


def test_an_unknown_table_is_replaced() -> None:
    after = table({"v_1": ("a",)})
    assert change(None, after) == replacement(after)


def test_a_changed_chain_is_emptied_and_filled_in_the_same_transaction() -> None:
    text = change(table({"v_1": ("a", "b"), "v_2": ("same",)}), table({"v_1": ("c",), "v_2": ("same",)}))
    assert text.splitlines() == ["flush chain ip shoal v_1", "add rule ip shoal v_1 c"]


def test_a_new_chain_comes_before_what_leads_to_it_and_an_old_one_goes_after() -> None:
    before = table({"v_1": ("a",)}, {"10.0.0.1": "goto v_1"})
    after = table({"v_2": ("b",)}, {"10.0.0.2": "goto v_2"})
    assert change(before, after).splitlines() == [
        "add chain ip shoal v_2",
        "add rule ip shoal v_2 b",
        "delete element ip shoal vips { 10.0.0.1 }",
        "add element ip shoal vips { 10.0.0.2 : goto v_2 }",
        "flush chain ip shoal v_1",
        "delete chain ip shoal v_1",
    ]


def test_an_element_that_leads_elsewhere_is_taken_out_and_put_in() -> None:
    before = table({"v_1": ("a",), "v_2": ("b",)}, {"10.0.0.1": "goto v_1"})
    after = table({"v_1": ("a",), "v_2": ("b",)}, {"10.0.0.1": "goto v_2"})
    assert change(before, after).splitlines() == [
        "delete element ip shoal vips { 10.0.0.1 }",
        "add element ip shoal vips { 10.0.0.1 : goto v_2 }",
    ]


def test_another_hook_or_lookup_type_cannot_be_changed_in_place() -> None:
    before = table({})
    after = Table(family="ip", name="shoal", chains={"c_out": Chain(hook="type filter hook output priority 0")}, lookups=before.lookups)
    assert change(before, after) == replacement(after)
    after = Table(family="ip", name="shoal", chains=before.chains, lookups={"vips": Lookup(type="ipv4_addr")})
    assert change(before, after) == replacement(after)


# -- VIPs ------------------------------------------------------------------------------------------------------------------------------
VIP = "10.0.1.100"


def vips(choices: dict[str, Choice]) -> Table:
    return vip_table({vip: way(vip, choice) for vip, choice in choices.items()})


def test_a_vip_spreads_evenly_over_its_backends_whatever_order_they_come_in() -> None:
    one = vips({VIP: Choice(ready=("10.0.1.3", "10.0.1.2"))})
    other = vips({VIP: Choice(ready=("10.0.1.2", "10.0.1.3"))})
    assert one.chains == other.chains
    assert one.groups[0][VIP].elements == other.groups[0][VIP].elements
    assert one.groups[0][VIP].elements["vips"] == {VIP: "jump n_2"}
    assert one.chains["n_2"].rules == ("dnat to ip daddr . numgen random mod 2 map @backends",)
    assert one.groups[0][VIP].elements["backends"] == {f"{VIP} . 0": "10.0.1.2", f"{VIP} . 1": "10.0.1.3"}


def test_whoever_draws_a_backend_that_is_no_more_or_comes_to_a_chain_that_is_not_yet_gets_one_that_is_there() -> None:
    for choice in (
        Choice(ready=("10.0.1.2", "10.0.1.3")),
        Choice(ready=("10.0.1.2", "10.0.1.3"), affine=True),
        Choice(ready=("10.0.1.2",)),
    ):
        table = vips({VIP: choice})
        elements = table.groups[0][VIP].elements
        assert elements["one"] == {VIP: "10.0.1.2"}
        assert all(verdict.startswith("jump ") for verdict in elements.get("vips", {}).values()), "so that it comes back"
        assert table.chains["c_out"].rules[-2:] == ("ip daddr vmap @vips", "dnat to ip daddr map @one")


def test_a_vip_without_a_backend_is_refused_at_once() -> None:
    empty = vips({VIP: Choice()})
    assert empty.groups[0][VIP].elements == {"refused": {VIP: ""}}
    assert empty.chains["c_refuse"].rules == ("ip daddr @refused reject",)


def test_a_backend_that_goes_changes_a_few_elements_and_no_chain() -> None:
    before = {f"10.0.1.{n}": way(f"10.0.1.{n}", Choice(ready=(f"10.0.2.{n}", f"10.0.3.{n}"))) for n in range(1, 200)}
    after = {**before, "10.0.1.7": way("10.0.1.7", Choice(ready=("10.0.3.7",)))}
    assert change(vip_table(before), vip_table(after)).splitlines() == [
        "delete element ip shoal vips { 10.0.1.7 }",
        "delete element ip shoal one { 10.0.1.7 }",
        "add element ip shoal one { 10.0.1.7 : 10.0.3.7 }",
        "delete element ip shoal backends { 10.0.1.7 . 0, 10.0.1.7 . 1 }",
    ]


def test_preferred_backends_are_the_only_ones_while_there_are_any() -> None:
    both = Choice(ready=("10.0.1.2", "10.0.1.3"), near=("10.0.1.3",))
    assert vips({VIP: both}).groups[0][VIP].elements == {"refused": {VIP: ""}, "one": {VIP: "10.0.1.3"}}


def test_of_the_clients_of_a_service_with_affinity_a_change_moves_few() -> None:
    eight = tuple(f"10.0.2.{n}" for n in range(8))
    before = vips({VIP: Choice(ready=eight, affine=True)})
    after = vips({VIP: Choice(ready=eight[:-1], affine=True)})
    assert before.groups[0][VIP].elements["vips"] == {VIP: "jump c_client"}
    assert before.chains["c_client"].rules == ("dnat to ip daddr . jhash ip saddr mod 512 seed 0x5348 map @clients",)
    moved = [slot for slot, backend in before.groups[0][VIP].elements["clients"].items() if backend == eight[-1]]
    gone, new = change(before, after).splitlines()
    assert gone == f"delete element ip shoal clients {{ {', '.join(moved)} }}"
    assert new.startswith("add element ip shoal clients { ")
    assert new.count(" : ") == len(moved) < 100


def test_a_lookup_comes_before_the_rule_that_looks_into_it_and_goes_after() -> None:
    looking = Table(
        family="ip", name="shoal", chains={"c_out": Chain(rules=("ip daddr @some drop",))}, lookups={"some": Lookup(type="ipv4_addr")}
    )
    empty = Table(family="ip", name="shoal", chains={"c_out": Chain()})
    assert change(empty, looking).splitlines() == [
        "add set ip shoal some { type ipv4_addr; }",
        "flush chain ip shoal c_out",
        "add rule ip shoal c_out ip daddr @some drop",
    ]
    assert change(looking, empty).splitlines() == ["flush chain ip shoal c_out", "delete set ip shoal some"]


class Elements:
    def __init__(self, elements: dict[str, dict[str, str]]) -> None:
        self.elements = elements


@given(*[st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xy"), st.sampled_from("12")))] * 2)
def test_a_change_of_groups_leads_from_any_to_any_other(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> None:
    """Played on a set of elements, as the kernel does it: deleting what is not there, or adding what is, would be refused."""

    def told(groups: dict[str, dict[str, str]]) -> tuple[dict[str, Group], ...]:
        return ({about: Elements({"m": {f"{about}{key}": value for key, value in group.items()}}) for about, group in groups.items()},)

    one, other = (
        Table(family="ip", name="t", lookups={"m": Lookup(type="", is_map=True)}, groups=told(groups)) for groups in (before, after)
    )
    held = {f"{about}{key}": value for about, group in before.items() for key, value in group.items()}
    for line in change(one, other).splitlines():
        verb, _, _, _, _, elements = line.split(" ", 5)
        for element in elements.strip("{ }").split(", "):
            key, _, value = element.partition(" : ")
            if verb == "delete":
                del held[key]
            else:
                assert key not in held
                held[key] = value
    assert held == {f"{about}{key}": value for about, group in after.items() for key, value in group.items()}
