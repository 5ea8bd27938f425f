"""A map that is a value, and cheap to make another one of: what did not change is the same object in both.

It is kept in a fixed number of dicts. One key more or less copies one of them, and what differs between two maps is found in those that are
not the same. So a change costs the same among ten services, and little more among ten thousand.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")
_COUNT = 64
_EMPTY: tuple[dict[Any, Any], ...] = ({},) * _COUNT


class Shards(Mapping[K, V]):
    """Never changed once made; the order of its keys means nothing."""

    __slots__ = ("pieces",)

    def __init__(self, items: Mapping[K, V] | None = None, pieces: tuple[dict[K, V], ...] = _EMPTY) -> None:
        self.pieces: tuple[dict[K, V], ...] = pieces
        if items:
            self.pieces = self.but(items).pieces

    def but(self, items: Mapping[K, V], gone: Iterable[K] = ()) -> "Shards[K, V]":
        """This map without those that are gone, and with these items."""
        pieces: list[dict[K, V]] = list(self.pieces)
        own = set[int]()

        def piece_of(key: K) -> dict[K, V]:
            place = hash(key) % _COUNT
            if place not in own:
                own.add(place)
                pieces[place] = dict(pieces[place])
            return pieces[place]

        for key in gone:
            if key in self:
                piece_of(key).pop(key, None)
        for key, value in items.items():
            piece_of(key)[key] = value
        return Shards(pieces=tuple(pieces))

    def __getitem__(self, key: K) -> V:
        return self.pieces[hash(key) % _COUNT][key]

    def __contains__(self, key: object) -> bool:
        return key in self.pieces[hash(key) % _COUNT]

    def __iter__(self) -> Iterator[K]:
        return (key for piece in self.pieces for key in piece)

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Shards):
            return bool(self.pieces == other.pieces)
        return isinstance(other, Mapping) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Shards({dict(self)!r})"

    def since(self, before: "Shards[K, V]") -> tuple[dict[K, V], tuple[K, ...]]:
        """What is new here or not the same object as before, and what is gone."""
        changed: dict[K, V] = {}
        gone: list[K] = []
        for now, was in zip(self.pieces, before.pieces, strict=True):
            if now is not was:
                had = was.get
                changed.update((key, value) for key, value in now.items() if had(key) is not value)
                gone += (key for key in was if key not in now)
        return changed, tuple(gone)


def difference(before: Mapping[K, V], after: Mapping[K, V]) -> tuple[dict[K, V], tuple[K, ...]]:
    """What is new in `after` or not the same object as before, and what is gone; of any two maps."""
    if before is after:
        return {}, ()
    if isinstance(before, Shards) and isinstance(after, Shards):
        return after.since(before)
    had = before.get
    return {key: value for key, value in after.items() if had(key) is not value}, tuple(key for key in before if key not in after)
