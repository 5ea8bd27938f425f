"""Take the values of a mapping by key, as the types that the model wants. `schema` has checked their kinds already.

What is left to find out here is what docker finds out here too: negative counts, moments in time where text is wanted, text that is
no size or duration.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from stack_specs import units
from stack_specs.errors import Fault, KeyPath
from stack_specs.units import Bytes, Duration
from stack_specs.values import Timestamp, Value, show

Read = TypeVar("Read")


class Fields:
    """A mapping of a checked file, and where it stands. A key that is absent or null reads as empty."""

    def __init__(self, written: Mapping[str, Value], path: KeyPath) -> None:
        self._written, self.path = written, path

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def raw(self, key: str) -> Value:
        """The value as the file has it."""
        return self._written.get(key)

    def at(self, key: str) -> KeyPath:
        """The path of one of the mapping's keys."""
        return (*self.path, key)

    def fault(self, key: str, problem: str, remedy: str = "") -> Fault:
        """Something is wrong with the value of this key."""
        return Fault(self.at(key), problem, remedy)

    def text(self, key: str) -> str:
        value = self.raw(key)
        return "" if value is None else as_text(value, self.at(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or a single one."""
        value = self.raw(key)
        if isinstance(value, list):
            return tuple(as_text(item, (*self.path, key, index)) for index, item in enumerate(value))
        return () if value is None else (as_text(value, self.at(key)),)

    def shown(self, key: str) -> tuple[str, ...]:
        """A list of texts and numbers, as texts."""
        value = self.raw(key)
        return tuple(show(item) for item in value) if isinstance(value, list) else ()

    def flag(self, key: str) -> bool:
        return self.raw(key) is True

    def optional_flag(self, key: str) -> bool | None:
        value = self.raw(key)
        return value if isinstance(value, bool) else None

    def number(self, key: str) -> float:
        value = self.raw(key)
        return float(value) if isinstance(value, int | float) else 0.0

    def integer(self, key: str) -> int:
        """A whole number that may be negative; what follows a decimal point is cut off."""
        value = self.raw(key)
        return int(value) if isinstance(value, int | float) else 0

    def count(self, key: str) -> int:
        return self.optional_count(key) or 0

    def optional_count(self, key: str) -> int | None:
        if self.raw(key) is None:
            return None
        value = self.integer(key)
        if not 0 <= value < 2**64:
            raise self.fault(key, f"must not be {'negative' if value < 0 else 'so large'}, but is {value}")
        return value

    def optional_duration(self, key: str) -> Duration | None:
        return None if self.raw(key) is None else self.parsed(key, units.duration)

    def duration(self, key: str) -> Duration:
        return self.optional_duration(key) or Duration(0)

    def size(self, key: str) -> Bytes:
        return Bytes(0) if self.raw(key) is None else self.parsed(key, units.size)

    def parsed(self, key: str, parse: Callable[[str], Read]) -> Read:
        """A text that another module reads; it raises ValueError if it cannot."""
        try:
            return parse(self.text(key))
        except ValueError as error:
            raise self.fault(key, str(error)) from error

    def pairs(self, key: str) -> dict[str, str | None]:
        """A mapping, or a list of name=value; None where there is a name and no value."""
        return as_pairs(self.raw(key), self.at(key))

    def labels(self, key: str) -> dict[str, str]:
        """A mapping, or a list of name=value; empty where there is a name and no value."""
        return {name: value or "" for name, value in self.pairs(key).items()}

    def options(self, key: str) -> dict[str, str] | None:
        value = self.raw(key)
        return {name: show(member) for name, member in value.items()} if isinstance(value, dict) else None

    def child(self, key: str) -> "Fields | None":
        """The mapping at this key, if there is one."""
        value = self.raw(key)
        return Fields(value, self.at(key)) if isinstance(value, dict) else None

    def children(self, key: str) -> "list[Fields]":
        """The mappings in the list at this key."""
        value = self.raw(key)
        items = enumerate(value) if isinstance(value, list) else ()
        return [Fields(item, (*self.path, key, index)) for index, item in items if isinstance(item, dict)]

    def extras(self) -> dict[str, Value]:
        """The keys that the user added."""
        return {key: value for key, value in self._written.items() if key.startswith("x-")}


def as_text(value: Value, path: KeyPath) -> str:
    """A value that must be text."""
    if not isinstance(value, str):
        found = "a moment in time" if isinstance(value, Timestamp) else repr(value)
        raise Fault(path, f"must be a string, but is {found}", f'put it in quotes: "{show(value)}"')
    return value


def as_pairs(value: Value, path: KeyPath) -> dict[str, str | None]:
    """Names and values from a mapping or from a list of name=value."""
    if isinstance(value, dict):
        return {name: None if member is None else show(member) for name, member in value.items()}
    pairs: dict[str, str | None] = {}
    for index, item in enumerate(value if isinstance(value, list) else ()):
        name, separator, rest = as_text(item, (*path, index)).partition("=")
        pairs[name] = rest if separator else None
    return pairs
