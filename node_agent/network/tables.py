"""An nftables table as a value, and the text that makes the kernel's copy equal to it. Pure.

Rules live in chains that are replaced whole; maps lead to them and hold what differs from service to service. So a change of one service is
one small transaction, however many services share the table.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Protocol

import msgspec

from cluster.api.values import Value
from node_agent.network.naming import STAND_IN
from node_agent.network.shards import difference


class Chain(Value, frozen=True, kw_only=True):
    hook: str = ""
    """`type nat hook output priority -100`; empty for a chain that others go to."""
    rules: tuple[str, ...] = ()


class Lookup(Value, frozen=True, kw_only=True):
    """A map when its elements have values, a set when they are empty."""

    type: str
    elements: Mapping[str, str] = {}
    is_map: bool = False
    by_example: bool = False
    """The type is written as expressions of that type, for keys that have no type with a name."""


_NOTHING = Lookup(type="")


class Group(Protocol):
    """Elements that come and go together."""

    @property
    def elements(self) -> Mapping[str, Mapping[str, str]]:
        """Lookup -> elements of it."""
        ...


class Table(Value, frozen=True, kw_only=True):
    family: str
    name: str
    chains: Mapping[str, Chain] = {}
    lookups: Mapping[str, Lookup] = {}
    groups: tuple[Mapping[str, Group], ...] = ()
    """More elements, by what they are about. A group that is the same object as before is not looked into."""


def replacement(table: Table) -> str:
    """One transaction that makes the table this, whatever was there."""
    at = f"{table.family} {table.name}"
    return "\n".join((f"add table {at}", f"delete table {at}", f"table {at} {{", *_body(table), "}")) + "\n"


def handover(table: Table) -> tuple[str, ...]:
    """Transactions in a row that replace a table which is there, and which packets go through meanwhile.

    A packet reads rules and elements one after the other: when the table is swapped in between, it finds neither the old nor the new ones.
    Then it still comes to the stand-in's, which is the same.
    """
    stand_in = msgspec.structs.replace(table, name=STAND_IN)
    return replacement(stand_in), replacement(table), removal(stand_in)


def removal(table: Table) -> str:
    """One transaction after which there is no such table; fine when there was none."""
    at = f"{table.family} {table.name}"
    return f"add table {at}\ndelete table {at}\n"


def _body(table: Table) -> Iterator[str]:
    for name, chain in table.chains.items():
        yield f" chain {name} {{"
        if chain.hook:
            yield f"  {chain.hook}; policy accept;"
        yield from (f"  {rule}" for rule in chain.rules)
        yield " }"
    for name, lookup in table.lookups.items():
        yield f" {_kind(lookup)} {name} {{ {_declared(lookup)};"
        if elements := _elements({**lookup.elements, **_together(_every(table.groups), name)}):
            yield f"  elements = {{ {elements} }}"
        yield " }"


def _kind(lookup: Lookup) -> str:
    return "map" if lookup.is_map else "set"


def _declared(lookup: Lookup) -> str:
    return f"{'typeof' if lookup.by_example else 'type'} {lookup.type}"


def _elements(elements: Mapping[str, str]) -> str:
    return ", ".join(f"{key} : {value}" if value else key for key, value in elements.items())


_Groups = tuple[Mapping[str, Group], ...]


def _every(groups: _Groups) -> Iterator[Group]:
    return (group for those in groups for group in those.values())


def _together(groups: Iterable[Group], lookup: str) -> dict[str, str]:
    return {key: value for group in groups if lookup in group.elements for key, value in group.elements[lookup].items()}


def _differing(before: _Groups, after: _Groups) -> tuple[list[Group], list[Group]]:
    """The groups of both, without those that are the same."""
    gone: list[Group] = []
    new: list[Group] = []
    nothing: Mapping[str, Group] = {}
    for was, now in zip_longest(before, after, fillvalue=nothing):
        changed, left = difference(was, now)
        gone += (was[about] for about in (*left, *changed) if about in was)
        new += changed.values()
    return gone, new


class Step(Value, frozen=True, kw_only=True):
    """Elements of one lookup that go, and some that come; one that leads elsewhere does both."""

    lookup: str
    gone: tuple[str, ...] = ()
    new: Mapping[str, str] = {}


def _differing_elements(before: Table, after: Table) -> Iterator[Step]:
    gone_groups, new_groups = _differing(before.groups, after.groups)
    for name, lookup in after.lookups.items():
        had = {**before.lookups.get(name, _NOTHING).elements, **_together(gone_groups, name)}
        has = {**lookup.elements, **_together(new_groups, name)}
        gone = tuple(key for key, value in had.items() if has.get(key) != value)
        new = {key: value for key, value in has.items() if had.get(key) != value}
        if gone or new:
            yield Step(lookup=name, gone=gone, new=new)


def element_steps(before: Table | None, after: Table) -> tuple[Step, ...] | None:
    """How the one becomes the other, when they differ in elements alone; None when they differ in more."""
    if before is None or before.chains != after.chains or _frames(before) != _frames(after):
        return None
    return tuple(_differing_elements(before, after))


def _frames(table: Table) -> dict[str, str]:
    return {name: lookup.type for name, lookup in table.lookups.items()}


def change(before: Table | None, after: Table) -> str:
    """One transaction from `before`, which the kernel holds, to `after`; empty when they are equal."""
    if before is None or not _same_frame(before, after):
        return replacement(after)
    at = f"{after.family} {after.name}"
    return "".join(f"{line}\n" for line in _steps(at, before, after))


def _same_frame(before: Table, after: Table) -> bool:
    """Base chains and lookup types cannot be changed in place."""
    if any(before.lookups[name].type != lookup.type for name, lookup in after.lookups.items() if name in before.lookups):
        return False
    hooks = {name: chain.hook for name, chain in after.chains.items() if chain.hook}
    return hooks == {name: chain.hook for name, chain in before.chains.items() if chain.hook}


def _steps(at: str, before: Table, after: Table) -> Iterator[str]:
    """New maps before the chains that look into them, new chains before the elements that lead to them, and the other way round
    when they go.

    The kernel makes them visible at once, and yet a packet under way may read a chain as it was before and then a map as it is after:
    whoever writes rules must see to it that what is not found is no refusal.
    """
    for name in after.lookups.keys() - before.lookups.keys():
        lookup = after.lookups[name]
        yield f"add {_kind(lookup)} {at} {name} {{ {_declared(lookup)}; }}"
    changed = [name for name, chain in after.chains.items() if before.chains.get(name) != chain]
    yield from (f"add chain {at} {name}" for name in changed if name not in before.chains)
    for name in changed:
        if name in before.chains:
            yield f"flush chain {at} {name}"
        yield from (f"add rule {at} {name} {rule}" for rule in after.chains[name].rules)
    for step in _differing_elements(before, after):
        if step.gone:
            yield f"delete element {at} {step.lookup} {{ {', '.join(step.gone)} }}"
        if step.new:
            yield f"add element {at} {step.lookup} {{ {_elements(step.new)} }}"
    unused = [name for name in before.chains if name not in after.chains]
    # A chain that goes may jump to another one that goes: empty them all first.
    yield from (f"flush chain {at} {name}" for name in unused)
    yield from (f"delete chain {at} {name}" for name in unused)
    yield from (f"delete {_kind(lookup)} {at} {name}" for name, lookup in before.lookups.items() if name not in after.lookups)
