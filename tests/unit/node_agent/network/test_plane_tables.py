"""The text by which a table in the kernel becomes another one."""

from node_agent.network.tables import Chain, Lookup, Table, change, removal, replacement
from node_agent.network.vip import Choice, vip_table


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
def test_a_vip_spreads_evenly_over_its_backends_whatever_order_they_come_in() -> None:
    one = vip_table({"10.0.1.100": Choice(ready=("10.0.1.3", "10.0.1.2"))})
    other = vip_table({"10.0.1.100": Choice(ready=("10.0.1.2", "10.0.1.3"))})
    assert one == other
    assert one.chains["v_10_0_1_100"].rules == ("dnat to numgen random mod 2 map { 0 : 10.0.1.2, 1 : 10.0.1.3 }",)
    assert one.lookups["vips"].elements == {"10.0.1.100": "goto v_10_0_1_100"}


def test_a_vip_with_one_backend_leads_there() -> None:
    assert vip_table({"10.0.1.100": Choice(ready=("10.0.1.2",))}).chains["v_10_0_1_100"].rules == ("dnat to 10.0.1.2",)


def test_a_vip_without_a_backend_is_refused_at_once() -> None:
    empty = vip_table({"10.0.1.100": Choice()})
    assert empty.chains["v_10_0_1_100"].rules == ()
    assert empty.lookups["refused"].elements.keys() == {"10.0.1.100"}
    assert empty.chains["c_refuse"].rules == ("ip daddr @refused reject",)


def test_a_backend_that_goes_changes_one_chain_only() -> None:
    before = vip_table({f"10.0.1.{n}": Choice(ready=(f"10.0.2.{n}", f"10.0.3.{n}")) for n in range(1, 200)})
    after = vip_table({f"10.0.1.{n}": Choice(ready=(f"10.0.2.{n}", *[f"10.0.3.{n}"] * (n != 7))) for n in range(1, 200)})
    assert change(before, after).splitlines() == ["flush chain ip shoal v_10_0_1_7", "add rule ip shoal v_10_0_1_7 dnat to 10.0.2.7"]


def test_preferred_backends_are_the_only_ones_while_there_are_any() -> None:
    both = Choice(ready=("10.0.1.2", "10.0.1.3"), near=("10.0.1.3",))
    assert vip_table({"10.0.1.100": both}).chains["v_10_0_1_100"].rules == ("dnat to 10.0.1.3",)


def test_the_clients_of_a_service_with_affinity_are_looked_up_in_a_map_of_which_a_change_moves_few() -> None:
    eight = tuple(f"10.0.2.{n}" for n in range(8))
    before = vip_table({"10.0.1.100": Choice(ready=eight, affine=True)})
    after = vip_table({"10.0.1.100": Choice(ready=eight[:-1], affine=True)})
    slots = before.lookups["a_10_0_1_100"].elements
    assert before.chains["v_10_0_1_100"].rules == ("dnat to jhash ip saddr mod 512 seed 0x5348 map @a_10_0_1_100",)
    gone, new = change(before, after).splitlines()
    moved = {slot for slot, backend in slots.items() if backend == eight[-1]}
    assert gone == f"delete element ip shoal a_10_0_1_100 {{ {', '.join(slot for slot in slots if slot in moved)} }}"
    assert new.startswith("add element ip shoal a_10_0_1_100 { ")
    assert new.count(" : ") == len(moved) < 100


def test_a_map_comes_before_the_rule_that_looks_into_it_and_goes_after() -> None:
    alone, two = (vip_table({"10.0.1.100": Choice(ready=ready, affine=True)}) for ready in (("10.0.2.1",), ("10.0.2.1", "10.0.2.2")))
    there = [line.split(" {")[0] for line in change(alone, two).splitlines()]
    assert there[0] == "add map ip shoal a_10_0_1_100"
    assert there[-1] == "add element ip shoal a_10_0_1_100"
    assert change(two, alone).splitlines()[-1] == "delete map ip shoal a_10_0_1_100"
    assert change(two, alone).splitlines()[0] == "flush chain ip shoal v_10_0_1_100"
