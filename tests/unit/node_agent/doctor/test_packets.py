"""What is made of other people's firewalls: what passes, what is dropped, and what cannot be said."""

import json

import pytest

from node_agent.doctor import iptables_rules, nft_rules
from node_agent.doctor.packets import Fate, Packet, fate

VXLAN = Packet(protocol="udp", port=4789, source="10.0.0.2", target="10.0.0.1", enters="eth0")
WEB = Packet(protocol="tcp", port=8000, source="192.0.2.1", target="10.0.1.5", enters="eth0", leaves="sb-abc", mark=0x80000)


def iptables(*lines: str, inputs: str = "ACCEPT", forward: str = "ACCEPT") -> str:
    head = ("*filter", f":INPUT {inputs} [0:0]", f":FORWARD {forward} [0:0]", ":OUTPUT ACCEPT [0:0]")
    chains = sorted({line.split()[1] for line in lines} - {"INPUT", "FORWARD", "OUTPUT"})
    return "\n".join((*head, *(f":{name} - [0:0]" for name in chains), *lines, "COMMIT"))


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        (iptables(), "passes"),
        (iptables(inputs="DROP"), "policy drop of INPUT"),
        (iptables("-A INPUT -p udp -m udp --dport 4789 -j ACCEPT", inputs="DROP"), "passes"),
        (iptables("-A INPUT -p udp -m udp --dport 4789 -j DROP"), "-A INPUT -p udp -m udp --dport 4789 -j DROP"),
        (iptables("-A INPUT -p tcp -m tcp --dport 4789 -j DROP"), "passes"),
        (iptables("-A INPUT ! -s 10.0.0.0/24 -j DROP"), "passes"),
        (iptables("-A INPUT ! -s 10.0.0.2/32 -j ACCEPT", "-A INPUT -j REJECT --reject-with icmp-port-unreachable"), "-A INPUT -j REJECT"),
        (iptables("-A INPUT -i eth+ -p udp -m multiport --dports 53,4000:5000 -j DROP"), "-A INPUT -i eth+"),
        (iptables("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", inputs="DROP"), "policy drop of INPUT"),
        (iptables("-A INPUT -m conntrack --ctstate NEW -m comment --comment 'let in' -j ACCEPT", inputs="DROP"), "passes"),
        (iptables("-A INPUT -j mine", "-A mine -s 10.0.0.2/32 -j RETURN", "-A mine -j DROP"), "passes"),
        (iptables("-A INPUT -j mine", "-A mine -s 10.0.0.9/32 -j RETURN", "-A mine -j DROP"), "-A mine -j DROP"),
        (iptables("-A INPUT -g mine", "-A INPUT -j ACCEPT", "-A mine -p tcp -j ACCEPT", inputs="DROP"), "policy drop of INPUT"),
        (iptables("-A INPUT -m limit --limit 5/min -j ACCEPT", inputs="DROP"), "perhaps policy drop of INPUT"),
        (iptables("-A INPUT -m recent --name bad --rcheck -j DROP"), "perhaps -A INPUT -m recent"),
        (iptables('-A INPUT -j LOG --log-prefix "all of it"', "-A INPUT -p udp -j ACCEPT", inputs="DROP"), "passes"),
    ],
)
def test_vxlan_through_the_rules_of_iptables(saved: str, expected: str) -> None:
    assert told(fate([iptables_rules.read(saved, tool="iptables")], "input", VXLAN)).startswith(expected)


def told(met: Fate) -> str:
    by = met.by.removeprefix("iptables: ")
    return "passes" if not met.dropped else by if met.certain else f"perhaps {by}"


def test_what_docker_drops_of_ours_is_accepted_by_its_mark_ahead_of_it() -> None:
    docker = ("-A FORWARD -j DOCKER-USER", "-A FORWARD -o sb-abc -j DROP", "-A DOCKER-USER -j RETURN")
    ours = "-A DOCKER-USER -m connmark --mark 0x80000/0x80000 -j ACCEPT"
    assert fate([iptables_rules.read(iptables(*docker), tool="t")], "forward", WEB).dropped
    assert not fate([iptables_rules.read(iptables(ours, *docker, forward="DROP"), tool="t")], "forward", WEB).dropped
    other = Packet(protocol="tcp", port=8000, enters="eth0", leaves="sb-abc")
    assert fate([iptables_rules.read(iptables(ours, *docker, forward="DROP"), tool="t")], "forward", other).dropped


# -- nft -----------------------------------------------------------------------------------------------------------------------------------
def ruleset(*expressions: list[object], policy: str = "accept", family: str = "inet", table: str = "mine", sets: object = None) -> bytes:
    base = {"family": family, "table": table, "name": "incoming", "type": "filter", "hook": "input", "prio": 0, "policy": policy}
    items: list[object] = [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": family, "name": table}}, {"chain": base}]
    items += [{"chain": {"family": family, "table": table, "name": "other"}}]
    items += [{"set": {"family": family, "table": table, "name": "trusted", "type": "ipv4_addr", "elem": sets}}] if sets else []
    items += [{"rule": {"family": family, "table": table, "chain": "incoming", "handle": 4, "expr": one}} for one in expressions]
    return json.dumps({"nftables": items}).encode()


def match(left: object, right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


DPORT = {"payload": {"protocol": "udp", "field": "dport"}}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
STATE = {"ct": {"key": "state"}}
DROP, ACCEPT = {"drop": None}, {"accept": None}


@pytest.mark.parametrize(
    ("printed", "dropped"),
    [
        (ruleset(), False),
        (ruleset(policy="drop"), True),
        (ruleset([match(DPORT, 4789), ACCEPT], policy="drop"), False),
        (ruleset([match(DPORT, {"set": [53, {"range": [4700, 4800]}]}), {"counter": {"packets": 0, "bytes": 0}}, DROP]), True),
        (ruleset([match({"payload": {"protocol": "tcp", "field": "dport"}}, 4789), DROP]), False),
        (ruleset([match(SADDR, {"prefix": {"addr": "10.0.0.0", "len": 24}}, "!="), DROP]), False),
        (ruleset([match(SADDR, "@trusted"), ACCEPT], policy="drop", sets=["10.0.0.2", "10.0.0.3"]), False),
        (ruleset([match(SADDR, "@trusted"), ACCEPT], policy="drop", sets=["10.0.0.3"]), True),
        (ruleset([match(STATE, ["established", "related"], "in"), ACCEPT], policy="drop"), True),
        (ruleset([{"vmap": {"key": STATE, "data": {"set": [["established", ACCEPT], ["new", DROP]]}}}]), True),
        (ruleset([match({"meta": {"key": "iifname"}}, "eth*"), {"jump": {"target": "other"}}], policy="drop"), True),
        (ruleset([DROP], table="shoal", family="ip"), False),
        (ruleset([DROP], family="ip6"), False),
        (b"", False),
        (b"no ruleset", False),
    ],
)
def test_vxlan_through_the_tables_of_nft(printed: bytes, dropped: bool) -> None:
    assert fate(nft_rules.read(printed), "input", VXLAN).dropped is dropped


def test_what_is_not_understood_is_said_to_be_uncertain() -> None:
    met = fate(nft_rules.read(ruleset([match({"&": [STATE, 7]}, 7), DROP])), "input", VXLAN)
    assert (met.dropped, met.certain) == (True, False)
    assert "nft table inet mine" in met.by


def test_the_tables_that_iptables_keeps_are_left_to_it() -> None:
    chain = {"family": "ip", "table": "filter", "name": "INPUT", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}
    assert nft_rules.read(json.dumps({"nftables": [{"chain": chain}]}).encode()) == []
