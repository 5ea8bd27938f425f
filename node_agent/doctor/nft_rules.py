"""What `nft -j list ruleset` prints, as firewalls: one a table. Pure.

Tables that iptables keeps are left out, since `iptables-save` says more of them, and our own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from node_agent.doctor.packets import ACCEPT, DROP, GOTO, JUMP, RETURN, Chain, Condition, Firewall, Rule
from node_agent.network.naming import ANCHOR, STAND_IN, TABLE

Json = Any
_VERDICTS = {"accept": ACCEPT, "drop": DROP, "reject": DROP, "return": RETURN}
_PAYLOAD = {("ip", "saddr"): "source", ("ip", "daddr"): "target", ("ip", "protocol"): "protocol"}
_META = {"iifname": "enters", "iif": "enters", "oifname": "leaves", "oif": "leaves", "l4proto": "protocol"}
_OF_IPTABLES = frozenset({"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"})


def read(printed: bytes) -> Sequence[Firewall]:
    """Nothing for what is no ruleset."""
    try:
        items: list[dict[str, Json]] = msgspec.json.decode(printed, type=dict[str, Any]).get("nftables", [])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return []
    tables: dict[tuple[str, str], dict[str, Chain]] = {}
    sets: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for item in items:
        for kind, value in item.items():
            if kind == "chain":
                base = Chain(hook=value.get("hook", ""), policy=_VERDICTS.get(value.get("policy", ""), ACCEPT))
                tables.setdefault(_at(value), {})[value["name"]] = base
            elif kind == "set":
                sets[(*_at(value), value["name"])] = tuple(_values(value.get("elem", [])))
    for item in items:
        if rule := item.get("rule"):
            chains = tables.setdefault(_at(rule), {})
            known = {name: values for (family, table, name), values in sets.items() if (family, table) == _at(rule)}
            chain = chains.get(rule["chain"], Chain())
            chains[rule["chain"]] = msgspec.structs.replace(chain, rules=(*chain.rules, *_rules(rule, known)))
    return [
        Firewall(name=f"nft table {family} {name}", chains=chains)
        for (family, name), chains in tables.items()
        if family in ("ip", "inet") and name not in (TABLE, STAND_IN, ANCHOR) and not chains.keys() & _OF_IPTABLES
    ]


def _at(value: Mapping[str, Json]) -> tuple[str, str]:
    return value["family"], value["table"]


def _rules(rule: Mapping[str, Json], sets: Mapping[str, tuple[str, ...]]) -> Iterator[Rule]:
    """One; or one for each element of a verdict map."""
    conditions: list[Condition] = []
    text = f"{rule['chain']}: {rule.get('comment') or _text(rule['expr'])}"
    for statement in rule["expr"]:
        ((kind, value),) = statement.items()
        if kind == "match":
            conditions += _conditions(value, sets)
        elif kind == "vmap":
            yield from _mapped(text, tuple(conditions), value, sets)
        elif kind in _VERDICTS:
            yield Rule(text=text, conditions=tuple(conditions), action=_VERDICTS[kind])
        elif kind in (JUMP, GOTO):
            yield Rule(text=text, conditions=tuple(conditions), action=kind, chain=value["target"])
        elif kind in ("limit", "quota", "xt", "fib", "ct count"):
            conditions.append(Condition(field=kind))


def _mapped(text: str, conditions: tuple[Condition, ...], value: Mapping[str, Json], sets: Mapping[str, tuple[str, ...]]) -> Iterator[Rule]:
    data = value.get("data")
    if not isinstance(data, dict) or "set" not in data:
        return
    for key, verdict in data["set"]:
        ((kind, to),) = verdict.items()
        one = tuple(_conditions({"op": "==", "left": value["key"], "right": key}, sets))
        chain = to["target"] if kind in (JUMP, GOTO) else ""
        yield Rule(text=text, conditions=(*conditions, *one), action=_VERDICTS.get(kind, kind), chain=chain)


def _conditions(match: Mapping[str, Json], sets: Mapping[str, tuple[str, ...]]) -> Iterator[Condition]:
    field, implied = _field(match["left"])
    right = match["right"]
    named = isinstance(right, str) and right.startswith("@")
    values = sets.get(right[1:], ()) if named else tuple(_values(right))
    if implied:
        yield Condition(field="protocol", values=(implied,))
    understood = field and match["op"] in ("==", "!=", "in") and (values or not named)
    yield Condition(field=field if understood else "unknown", values=values, negated=match["op"] == "!=")


def _field(left: Json) -> tuple[str, str]:
    """Which of a packet's fields, and the protocol that this says too."""
    if not isinstance(left, dict):
        return "", ""
    if (payload := left.get("payload")) and "field" in payload:
        protocol, field = payload.get("protocol", ""), payload["field"]
        if field == "dport":
            return "port", protocol if protocol in ("tcp", "udp") else ""
        return _PAYLOAD.get((protocol, field), ""), ""
    if meta := left.get("meta"):
        return _META.get(meta.get("key", ""), ""), ""
    if ct := left.get("ct"):
        return {"state": "state", "mark": "mark"}.get(ct.get("key", ""), ""), ""
    return "", ""


def _values(right: Json) -> Iterator[str]:
    if isinstance(right, list):
        for one in right:
            yield from _values(one)
    elif isinstance(right, dict):
        if "set" in right:
            yield from _values(right["set"])
        elif "range" in right:
            yield "-".join(str(end) for end in right["range"])
        elif "prefix" in right:
            yield f"{right['prefix']['addr']}/{right['prefix']['len']}"
        elif "elem" in right:
            yield from _values(right["elem"].get("val"))
    else:
        yield str(right)


def _text(expressions: Sequence[Json]) -> str:
    return msgspec.json.encode(expressions).decode()[:120]
