"""What a firewall does with a packet: rules as values, and their evaluation. Pure.

A rule that says more than is understood here may or may not match, so there are three answers: the packet passes, is dropped, or
perhaps dropped. The last is told as such, with the rule.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network

from cluster.api.values import Value

ACCEPT, DROP, RETURN, JUMP, GOTO = "accept", "drop", "return", "jump", "goto"


class Packet(Value, frozen=True, kw_only=True):
    """The first one of a connection."""

    protocol: str
    port: int
    source: str = ""
    target: str = ""
    enters: str = ""
    """The interface; empty: not known, so no rule about it is certain."""
    leaves: str = ""
    mark: int = 0
    """Of its connection."""


class Condition(Value, frozen=True, kw_only=True):
    field: str
    """One of Packet's, `state`, or something that is not understood."""
    values: tuple[str, ...] = ()
    """Any of them: addresses with or without a prefix, ports as `80` or `80-90`, names that may end in `*`, marks as `value/mask`."""
    negated: bool = False


class Rule(Value, frozen=True, kw_only=True):
    text: str
    conditions: tuple[Condition, ...] = ()
    action: str = ""
    """Empty: it only counts, logs or marks."""
    chain: str = ""
    """Where a jump or goto leads."""


class Chain(Value, frozen=True, kw_only=True):
    rules: tuple[Rule, ...] = ()
    hook: str = ""
    policy: str = ACCEPT


class Firewall(Value, frozen=True, kw_only=True):
    """Chains that can jump to one another: a table."""

    name: str
    chains: Mapping[str, Chain] = {}


class Fate(Value, frozen=True, kw_only=True):
    dropped: bool = False
    certain: bool = True
    by: str = ""


PASSES = Fate()


def fate(firewalls: Sequence[Firewall], hook: str, packet: Packet) -> Fate:
    """Every table has a say, and one drop is final."""
    worst = PASSES
    for firewall in firewalls:
        for name, chain in firewall.chains.items():
            if chain.hook != hook:
                continue
            met = _base(firewall, name, chain, packet)
            if met.dropped and met.certain:
                return met
            worst = met if met.dropped else worst
    return worst


def _base(firewall: Firewall, name: str, chain: Chain, packet: Packet) -> Fate:
    lenient = _walk(firewall, chain, packet, lenient=True, depth=0) or _policy(name, chain)
    if lenient.dropped:
        return Fate(dropped=True, by=f"{firewall.name}: {lenient.by}")
    strict = _walk(firewall, chain, packet, lenient=False, depth=0) or _policy(name, chain)
    return Fate(dropped=True, certain=False, by=f"{firewall.name}: {strict.by}") if strict.dropped else PASSES


def _policy(name: str, chain: Chain) -> Fate:
    return Fate(dropped=chain.policy == DROP, by=f"policy drop of {name}")


def _walk(firewall: Firewall, chain: Chain, packet: Packet, *, lenient: bool, depth: int) -> Fate | None:
    """`lenient`: what is not understood accepts and does not drop; else the other way round. None: the chain says nothing."""
    for rule in chain.rules:
        if not rule.action or not _applies(rule, packet, lenient=lenient):
            continue
        if rule.action == RETURN:
            return None
        if rule.action in (JUMP, GOTO):
            to = firewall.chains.get(rule.chain)
            said = None if to is None or depth > 30 else _walk(firewall, to, packet, lenient=lenient, depth=depth + 1)
            if said is not None or rule.action == GOTO:
                return said
            continue
        return Fate(dropped=rule.action == DROP, by=rule.text)
    return None


def _applies(rule: Rule, packet: Packet, *, lenient: bool) -> bool:
    answers = [_met(condition, packet) for condition in rule.conditions]
    if any(answer is False for answer in answers):
        return False
    unsure = any(answer is None for answer in answers)
    # A jump that may not be made is followed when strict: what is in there may drop.
    return not unsure or lenient is (rule.action == ACCEPT)


def _met(condition: Condition, packet: Packet) -> bool | None:
    """None: that is not known."""
    match condition.field:
        case "protocol":
            met: bool | None = packet.protocol in condition.values or "all" in condition.values
        case "port":
            met = any(_in_range(packet.port, value) for value in condition.values)
        case "source" | "target":
            met = _in_networks(getattr(packet, condition.field), condition.values)
        case "enters" | "leaves":
            met = _named(getattr(packet, condition.field), condition.values)
        case "state":
            met = "new" in condition.values
        case "mark":
            met = any(_marked(packet.mark, value) for value in condition.values)
        case _:
            return None
    return None if met is None else met is not condition.negated


def _in_range(port: int, value: str) -> bool:
    first, _, last = value.partition("-")
    return first.isdigit() and int(first) <= port <= int(last or first)


def _in_networks(address: str, values: Sequence[str]) -> bool | None:
    if not address:
        return None
    here = ip_address(address)
    try:
        return any(here in ip_network(value, strict=False) for value in values)
    except ValueError:
        return None


def _named(interface: str, values: Sequence[str]) -> bool | None:
    if not interface:
        return None
    return any(interface.startswith(value[:-1]) if value.endswith("*") else interface == value for value in values)


def _marked(mark: int, value: str) -> bool:
    wanted, _, mask = value.partition("/")
    return mark & int(mask or "0xffffffff", 0) == int(wanted, 0)
