"""Published ports as rules: who is chosen, how replies find back, what is let in."""

import pytest

from node_agent.network.firewall import docker_user_rule, firewall_chains, firewall_lookups
from node_agent.network.ingress import Holding, Places, Published, ingress_chains, ingress_lookups
from node_agent.network.marks import number_mark, number_mask, ours_bit, routing_number, routing_table

WEB = Published(protocol="tcp", port=8080, target=80, local=("10.0.1.2", "10.0.1.3"), remote={"10.96.0.3": 1, "10.96.0.2": 2})


def test_a_task_counts_once_wherever_it_is() -> None:
    rules = ingress_chains([WEB], mark_base=20)["n_tcp_8080"].rules
    assert rules[1] == (
        "meta l4proto tcp dnat to numgen random mod 5 map "
        "{ 0 : 10.0.1.2 . 80, 1 : 10.0.1.3 . 80, 2-3 : 10.96.0.2 . 8080, 4 : 10.96.0.3 . 8080 }"
    )


def test_what_comes_from_another_node_goes_to_a_task_of_this_one() -> None:
    chains = ingress_chains([WEB], mark_base=20)
    assert chains["l_tcp_8080"].rules[-2:] == (
        "meta l4proto tcp dnat to numgen random mod 2 map { 0 : 10.0.1.2 . 80, 1 : 10.0.1.3 . 80 }",
        "meta l4proto tcp dnat to 10.0.1.2:80",
    ), "a map is empty for a packet that is under way when its rule is replaced: then it goes to one of them"
    lookups = ingress_lookups([WEB], Places(), mark_base=20)
    assert lookups["arrived"].elements == {"tcp . 8080": "jump l_tcp_8080"}


def test_a_node_without_a_task_forwards_and_takes_nothing_from_others() -> None:
    port = Published(protocol="udp", port=53, target=5353, remote={"10.96.0.2": 1})
    chains = ingress_chains([port], mark_base=20)
    assert chains["n_udp_53"].rules[-1] == "meta l4proto udp dnat to 10.96.0.2:53"
    assert "l_udp_53" not in chains
    assert ingress_lookups([port], Places(), mark_base=20)["arrived"].elements == {}


def test_both_steps_of_a_port_with_affinity_agree_on_the_task() -> None:
    """The second node chooses among its own, and must find the one that the first one meant."""
    tasks = {"a": 1, "b": 2, "c": 2, "d": 3}
    addresses = {"a": "10.0.1.2", "b": "10.0.1.3", "c": "10.0.1.4", "d": "10.0.1.5"}

    def seen_from(node: int) -> Published:
        clients = {task: addresses[task] if at == node else f"10.96.0.{at}" for task, at in tasks.items()}
        local = tuple(addresses[task] for task, at in tasks.items() if at == node)
        remote = {f"10.96.0.{at}": 1 for at in tasks.values() if at != node}
        return Published(protocol="tcp", port=8080, target=80, local=local, remote=remote, clients=clients)

    first, second = (ingress_lookups([seen_from(node)], Places(), mark_base=20) for node in (1, 2))
    assert ingress_chains([seen_from(1)], mark_base=20)["n_tcp_8080"].rules[1].endswith("map @a_n_tcp_8080")
    entering, arriving = first["a_n_tcp_8080"].elements, second["a_l_tcp_8080"].elements
    assert "a_l_tcp_8080" not in first, "one task is no choice"
    meant = second["a_n_tcp_8080"].elements
    for slot, place in entering.items():
        if place == "10.96.0.2 . 8080":
            assert arriving[slot] == meant[slot]
    assert set(entering.values()) == {"10.0.1.2 . 80", "10.96.0.2 . 8080", "10.96.0.3 . 8080"}


def test_a_task_that_leaves_gets_what_other_nodes_still_send_and_nothing_from_here() -> None:
    port = Published(protocol="tcp", port=8080, target=80, leaving=("10.0.1.2",), remote={"10.96.0.2": 1})
    chains = ingress_chains([port], mark_base=20)
    assert chains["n_tcp_8080"].rules[-1] == "meta l4proto tcp dnat to 10.96.0.2:8080"
    assert chains["l_tcp_8080"].rules[-1] == "meta l4proto tcp dnat to 10.0.1.2:80"
    stays = Published(protocol="tcp", port=8080, target=80, local=("10.0.1.3",), leaving=("10.0.1.2",))
    assert ingress_chains([stays], mark_base=20)["l_tcp_8080"].rules[-1] == "meta l4proto tcp dnat to 10.0.1.3:80"


def test_a_port_that_somebody_else_has_is_left_to_them_and_still_taken_from_other_nodes() -> None:
    lookups = ingress_lookups([WEB], Places(), mark_base=20, holding=Holding(taken={("tcp", "", 8080): "nginx (process 7)"}))
    assert (lookups["published"].elements, lookups["held"].elements) == ({}, {})
    assert lookups["arrived"].elements == {"tcp . 8080": "jump l_tcp_8080"}


def test_an_address_that_somebody_listens_at_is_left_to_them_alone() -> None:
    holding = Holding(besides=frozenset({("127.0.0.53", "tcp", 8080)}))
    lookups = ingress_lookups([WEB], Places(), mark_base=20, holding=holding)
    assert lookups["besides"].elements == {"127.0.0.53 . tcp . 8080": ""}
    assert lookups["published"].elements == {"tcp . 8080": "goto n_tcp_8080"}
    assert ingress_chains([WEB], mark_base=20)["c_out"].rules[1] == "ip daddr . meta l4proto . th dport @besides accept"


def test_a_port_on_a_chosen_address_answers_there_only() -> None:
    port = Published(protocol="tcp", port=8080, target=80, host_ip="10.99.0.1", local=("10.0.1.2",))
    lookups = ingress_lookups([port], Places(), mark_base=20)
    assert lookups["published"].elements == {}
    assert lookups["published_at"].elements == {"10.99.0.1 . tcp . 8080": "goto n_tcp_8080_10_99_0_1"}


def test_a_connection_from_another_node_carries_that_nodes_number_and_a_zone_of_its_own() -> None:
    lookups = ingress_lookups([WEB], Places(numbers={2: "10.96.0.2"}), mark_base=20)
    assert lookups["peers"].elements == {"02:42:0a:60:00:02": "0x280000"}
    assert lookups["zones"].elements == {"02:42:0a:60:00:02": "2"}
    assert 'iifname "shoal_link" ct original zone set ether saddr map @zones' in ingress_chains([WEB], mark_base=20)["c_raw"].rules


def test_clients_inside_and_a_node_that_gets_its_own_back_are_masqueraded() -> None:
    lookups = ingress_lookups([WEB], Places(nodes={"10.96.0.2": "10.99.0.2"}, subnets=("10.0.1.0/24",)), mark_base=20)
    assert list(lookups["inside"].elements) == ["127.0.0.0/8", "10.0.1.0/24"]
    assert list(lookups["returning"].elements) == ["10.99.0.2 . 10.96.0.2", "10.96.0.2 . 10.96.0.2"]


@pytest.mark.parametrize("base", [2, 8, 20])
def test_the_marks_of_a_configurable_place_do_not_meet(base: int) -> None:
    assert number_mark(base, 0xFFF) == number_mask(base) < 1 << 32
    assert number_mask(base) & ours_bit(base) == 0
    clear = ingress_chains([], mark_base=base)["c_clear"].rules[0]
    assert f"{0xFFFFFFFF ^ number_mask(base):#x}" in clear, "other programs' bits stay"


def test_a_routing_table_is_known_as_ours_by_its_number() -> None:
    assert routing_number(routing_table(4095)) == 4095
    assert [routing_number(table) for table in (254, 101, 4095)] == [0, 0, 0]


# -- the firewall ----------------------------------------------------------------------------------------------------------------------
def test_a_task_is_reached_from_its_bridge_by_translation_or_not_at_all() -> None:
    rules = firewall_chains(vxlan_port=4789, vnis=[4097])["c_forward"].rules
    assert rules[0].startswith("oifname != ")
    assert rules[-1].endswith(" drop")
    assert set(rules[1:-1]) == {"ct state established,related accept", "ct status dnat accept", "iifname . oifname @same_bridge accept"}
    assert list(firewall_lookups(nodes=[], bridges=["sb-b", "sb-a"])["same_bridge"].elements) == ['"sb-a" . "sb-a"', '"sb-b" . "sb-b"']


def test_only_nodes_of_the_cluster_may_send_into_an_overlay() -> None:
    chains = firewall_chains(vxlan_port=4790, vnis=[4098, 4096])
    assert chains["c_tunnel"].rules == ("udp dport 4790 @th,96,24 { 4096, 4098 } ip saddr != @nodes drop",)
    assert firewall_chains(vxlan_port=4790, vnis=[])["c_tunnel"].rules == ()


def test_docker_is_told_to_let_pass_what_carries_our_mark() -> None:
    assert docker_user_rule(20) == ("-m", "connmark", "--mark", "0x80000/0x80000", "-j", "ACCEPT")


def test_a_node_off_the_link_is_answered_by_the_address_that_it_asked_and_spread_to_no_further_node() -> None:
    chains = ingress_chains([WEB], mark_base=20)
    assert "ip saddr @unlinked fib daddr type local meta l4proto . th dport vmap @arrived" in chains["c_pre"].rules
    assert f"ct mark & {ours_bit(20):#x} != 0 ip daddr @unlinked masquerade" in chains["c_post"].rules
    assert chains["l_tcp_8080"].rules[0] == f"ct mark set ct mark | {ours_bit(20):#x}", "or Docker's FORWARD policy would drop it"
    assert ingress_lookups([WEB], Places(unlinked=("10.99.0.3",)), mark_base=20)["unlinked"].elements == {"10.99.0.3": ""}
