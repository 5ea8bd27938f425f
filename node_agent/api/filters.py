"""Docker's filters: what `?filters={"label":{"a=b":true}}` means, for the noun modules, for events and for prune. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from cluster.api.errors import InvalidArgument

_TRUE, _FALSE = frozenset({"1", "true"}), frozenset({"0", "false"})


class Filters:
    """The filters of a request: values by name. A name that is absent matches everything; of several values one must match."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Iterable[str]] = {}) -> None:
        self._values = {name: tuple(of) for name, of in values.items()}

    @classmethod
    def parse(cls, text: str, *, allowed: Collection[str] | None = None) -> "Filters":
        """Read a `filters` parameter, in its form since 1.22 or the older one of lists; refuse names outside `allowed` as Docker does."""
        if not text:
            return cls()
        try:
            read: Any = msgspec.json.decode(text.encode())
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"invalid filters: {error}") from error
        except RecursionError as error:
            raise InvalidArgument("invalid filters: they are nested too deeply") from error
        if read is None:  # what JSON makes of no filters at all
            return cls()
        if not isinstance(read, dict) or not all(of is None or _is_set_of_text(of) for of in read.values()):
            raise InvalidArgument('invalid filters: expected an object of objects such as {"label":{"key=value":true}}')
        filters = cls({name: of for name, of in read.items() if of})  # one without a value is none, as in Docker
        if allowed is not None:
            for name in read:
                if name not in allowed:
                    raise InvalidArgument(f"invalid filter '{name}'")
        return filters

    def __bool__(self) -> bool:
        return bool(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    @property
    def names(self) -> Iterable[str]:
        return self._values.keys()

    def get(self, name: str) -> tuple[str, ...]:
        return self._values.get(name, ())

    def exact(self, name: str, value: str) -> bool:
        """Whether `value` is one of those asked for."""
        asked = self._values.get(name)
        return asked is None or value in asked

    def prefix(self, name: str, value: str) -> bool:
        """Whether `value` begins with one of those asked for; how Docker matches ids."""
        asked = self._values.get(name)
        return asked is None or any(value.startswith(start) for start in asked)

    def contains(self, name: str, value: str) -> bool:
        """Whether one of those asked for is in `value`, as a regular expression if it is one; how Docker matches names."""
        asked = self._values.get(name)
        return asked is None or any(_occurs(wanted, value) for wanted in asked)

    def labels(self, labels: Mapping[str, str] | None, *, name: str = "label") -> bool:
        """Whether each `key` or `key=value` asked for is among the labels."""
        return all(_labelled(wanted, labels or {}) for wanted in self.get(name))

    def spares(self, labels: Mapping[str, str] | None) -> bool:
        """Whether prune's `label!` keeps something with these labels: it does when all those named are there, as in Docker."""
        return bool(self.get("label!")) and self.labels(labels, name="label!")

    def flag(self, name: str, *, default: bool) -> bool:
        """A filter that is a truth value; anything but one of true, 1, false, 0 is refused as Docker does."""
        asked = set(self.get(name))
        if not asked:
            return default
        if asked <= _TRUE:
            return True
        if asked <= _FALSE:
            return False
        raise InvalidArgument(f"invalid filter '{name}=[{' '.join(sorted(asked))}]': use true (or 1), or false (or 0)")

    def plus(self, name: str, *values: str) -> "Filters":
        """These filters and one more."""
        return Filters({**self._values, name: (*self.get(name), *values)})

    def without(self, *names: str) -> "Filters":
        return Filters({name: of for name, of in self._values.items() if name not in names})

    def encode(self) -> str:
        """As a `filters` parameter."""
        return msgspec.json.encode({name: dict.fromkeys(of, True) for name, of in self._values.items()}).decode()


def _is_set_of_text(value: object) -> bool:
    return isinstance(value, dict | list) and all(isinstance(item, str) for item in value)


def _occurs(wanted: str, value: str) -> bool:
    if wanted in value:
        return True
    try:
        return re.search(wanted, value) is not None
    except re.error:
        return False


def _labelled(wanted: str, labels: Mapping[str, str]) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
