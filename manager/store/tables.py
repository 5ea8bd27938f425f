"""Persistent maps: the one place that knows which library keeps a hundred thousand objects without copying them.

A `Map` is an immutable value that shares structure with the one it came from; a change set edits drafts of the maps it touches and
finishes each once. Dropping a draft is how a refused set leaves no trace.
"""

from collections.abc import Callable, Iterator, Mapping, ValuesView
from typing import Generic, TypeVar

from immutables import Map, MapMutation

__all__ = ["EMPTY", "Claims", "Counts", "FirstClaim", "Groups", "Map", "Selection", "TableDraft", "moved"]

K = TypeVar("K")
I = TypeVar("I")  # noqa: E741 - the id of a member of a group
V = TypeVar("V")

EMPTY: Map[str, bool] = Map()


class Selection(Mapping[str, V]):
    """The objects of a table that an index names: a view, so that an index holds ids and a changed object touches only its table."""

    __slots__ = ("_ids", "_objects")

    def __init__(self, ids: Map[str, bool], objects: Map[str, V]) -> None:
        self._ids = ids
        self._objects = objects

    def __getitem__(self, key: str) -> V:
        if key not in self._ids:
            raise KeyError(key)
        return self._objects[key]

    def __contains__(self, key: object) -> bool:
        return key in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def values(self) -> "_Selected[V]":
        return _Selected(self)

    def objects(self) -> Iterator[V]:
        objects = self._objects
        return (objects[key] for key in self._ids)

    def __repr__(self) -> str:
        return f"Selection({dict(self)!r})"


class _Selected(ValuesView[V]):
    """The values without a look-up through the view for each: rounds read thousands."""

    _mapping: Selection[V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping.objects()


class TableDraft(Generic[K, V]):
    """A map being edited; opened only by the first write, so that a change set pays for what it touches."""

    __slots__ = ("_base", "_open")

    def __init__(self, base: Map[K, V]) -> None:
        self._base = base
        self._open: MapMutation[K, V] | None = None

    def get(self, key: K) -> V | None:
        return self._base.get(key) if self._open is None else self._open.get(key)

    def set(self, key: K, value: V) -> None:
        if self._open is None:
            self._open = self._base.mutate()
        self._open[key] = value

    def drop(self, key: K) -> None:
        """Take the key out; it need not be there."""
        if self._open is None:
            if key not in self._base:
                return
            self._open = self._base.mutate()
        self._open.pop(key, None)

    def finish(self) -> Map[K, V]:
        return self._base if self._open is None else self._open.finish()


class Groups(Generic[K, I, V]):
    """A draft of a map of maps. A group that becomes empty is left out, so that equal content is an equal value."""

    __slots__ = ("_base", "_open")

    def __init__(self, base: Map[K, Map[I, V]]) -> None:
        self._base = base
        self._open: dict[K, MapMutation[I, V]] = {}

    def _group(self, key: K) -> MapMutation[I, V]:
        group = self._open.get(key)
        if group is None:
            present = self._base.get(key)
            group = (Map[I, V]() if present is None else present).mutate()
            self._open[key] = group
        return group

    def get(self, key: K, member: I) -> V | None:
        group = self._open.get(key)
        if group is not None:
            return group.get(member)
        present = self._base.get(key)
        return None if present is None else present.get(member)

    def has(self, key: K) -> bool:
        """The group has a member."""
        group = self._open.get(key)
        return bool(group) if group is not None else key in self._base

    def set(self, key: K, member: I, value: V) -> None:
        self._group(key)[member] = value

    def drop(self, key: K, member: I) -> None:
        self._group(key).pop(member, None)

    def finish(self) -> Map[K, Map[I, V]]:
        if not self._open:
            return self._base
        draft = self._base.mutate()
        for key, group in self._open.items():
            finished = group.finish()
            if finished:
                draft[key] = finished
            else:
                draft.pop(key, None)
        return draft.finish()


class Counts(Generic[K, I]):
    """Groups of counted members: one is in as long as somebody holds it."""

    __slots__ = ("_groups",)

    def __init__(self, base: Map[K, Map[I, int]]) -> None:
        self._groups: Groups[K, I, int] = Groups(base)

    def add(self, key: K, member: I) -> None:
        self._groups.set(key, member, (self._groups.get(key, member) or 0) + 1)

    def take(self, key: K, member: I) -> None:
        left = (self._groups.get(key, member) or 0) - 1
        if left > 0:
            self._groups.set(key, member, left)
        else:
            self._groups.drop(key, member)

    def finish(self) -> Map[K, Map[I, int]]:
        return self._groups.finish()


class Claims(Generic[K]):
    """A draft of a map from what is claimed to who claims it, in order of their ids."""

    __slots__ = ("_table",)

    def __init__(self, base: Map[K, tuple[str, ...]]) -> None:
        self._table: TableDraft[K, tuple[str, ...]] = TableDraft(base)

    def get(self, key: K) -> tuple[str, ...]:
        return self._table.get(key) or ()

    def add(self, key: K, owner: str) -> None:
        present = self._table.get(key) or ()
        if owner not in present:
            self._table.set(key, tuple(sorted((*present, owner))))

    def take(self, key: K, owner: str) -> None:
        left = tuple(other for other in self._table.get(key) or () if other != owner)
        if left:
            self._table.set(key, left)
        else:
            self._table.drop(key)

    def finish(self) -> Map[K, tuple[str, ...]]:
        return self._table.finish()


class FirstClaim(Mapping[K, str]):
    """Who has a claim, where only one can: the view that planners see."""

    __slots__ = ("_claims",)

    def __init__(self, claims: Map[K, tuple[str, ...]]) -> None:
        self._claims = claims

    def __getitem__(self, key: K) -> str:
        return self._claims[key][0]

    def __contains__(self, key: object) -> bool:
        return key in self._claims

    def __iter__(self) -> Iterator[K]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)


def moved(old: frozenset[K], new: frozenset[K], *, take: Callable[[K], None], add: Callable[[K], None]) -> None:
    """Say what went and what came."""
    if old == new:
        return
    for key in old - new:
        take(key)
    for key in new - old:
        add(key)
