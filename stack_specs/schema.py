"""Check a file's content against the grammar: types, unknown keys, and keys newer than the version that the file names.

The shapes here are the words that `grammar` is written in. They say no more than docker checks at this point; what a value means
(a duration, a port, a reference) is found out when it is read.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TypeAlias, assert_never

import msgspec

from stack_specs.errors import Fault, KeyPath
from stack_specs.values import Timestamp, Value

KINDS: Mapping[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}


class Scalar(msgspec.Struct, frozen=True):
    """A single value of one of these kinds: "string", "number", "integer", "boolean", "null"."""

    kinds: tuple[str, ...]
    check: Callable[[Value], str | None] | None = None
    """What is wrong with a value of the right kind, or None."""


class ListOf(msgspec.Struct, frozen=True, kw_only=True):
    """A list whose items have one shape."""

    item: "Shape"
    unique_before: int = 0
    """The first version in which two items may be the same."""


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping whose keys the user makes up, and whose values have one shape."""

    member: "Shape"
    allows: Callable[[str], bool]
    strict: bool = True
    """Whether other keys are refused. Docker lets some of them through unchecked."""


class Key(msgspec.Struct, frozen=True):
    """A key of the grammar: the shape of its value, and the first version 3.x that has it."""

    shape: "Shape"
    since: int = 0


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping with known keys."""

    keys: Mapping[str, Key]
    since: int = 0
    """The first version that has this long form where a short one would do."""
    required: tuple[str, ...] = ()
    open_since: int | None = None
    """The first version in which keys that the grammar does not know are ignored; None: they are always refused."""
    extensions_since: int | None = None
    """The first version that lets users add keys of their own, named x-..."""
    nullable: bool = False
    remedies: Mapping[str, str] = {}
    """What to do instead, for what people are known to write here: a key that does not exist, or one with a value of another kind."""


class Either(msgspec.Struct, frozen=True, kw_only=True):
    """One of several shapes, told apart by the kind of the value."""

    options: tuple["Shape", ...]


Shape: TypeAlias = Scalar | ListOf | Names | Keys | Either


def check(value: Value, shape: Shape, *, minor: int, path: KeyPath = ()) -> None:
    """Raise the first fault, in the order of the file, that `value` has as a `shape` of version 3.`minor`."""
    match shape:
        case Scalar():
            _check_scalar(value, shape, path)
        case ListOf():
            _check_list(value, shape, minor, path)
        case Names():
            _check_names(value, shape, minor, path)
        case Keys():
            _check_keys(value, shape, minor, path)
        case Either(options=options):
            check(value, _choose(value, options, minor, path), minor=minor, path=path)
        case _:
            assert_never(shape)


def _choose(value: Value, options: tuple[Shape, ...], minor: int, path: KeyPath) -> Shape:
    fitting = [option for option in options if _is_of_kind(value, option)]
    if not fitting:
        raise _wrong_kind(path, value, [kind for option in options for kind in _kinds(option)])
    chosen = fitting[0]
    if isinstance(chosen, Keys) and chosen.since > minor:
        raise Fault(path, f'version "3.{minor}" has only the short syntax here', f'write version: "3.{chosen.since}" or later')
    return chosen


def _check_scalar(value: Value, shape: Scalar, path: KeyPath) -> None:
    if not _is_of_kind(value, shape):
        raise _wrong_kind(path, value, _kinds(shape))
    problem = shape.check(value) if shape.check is not None and value is not None else None
    if problem is not None:
        raise Fault(path, problem)


def _check_list(value: Value, shape: ListOf, minor: int, path: KeyPath) -> None:
    if not isinstance(value, list):
        raise _wrong_kind(path, value, ["list"])
    seen: dict[str, int] = {}
    for index, item in enumerate(value):
        check(item, shape.item, minor=minor, path=(*path, index))
        text = _canonical(item) if minor < shape.unique_before else str(index)
        if text in seen:
            raise Fault((*path, index), f"this is the same as item {seen[text]}", "take one of them out")
        seen[text] = index


def _check_names(value: Value, shape: Names, minor: int, path: KeyPath) -> None:
    if not isinstance(value, dict):
        raise _wrong_kind(path, value, ["mapping"])
    for name, member in value.items():
        if shape.allows(name):
            check(member, shape.member, minor=minor, path=(*path, name))
        elif shape.strict:
            raise Fault((*path, name), f"{name!r} is not allowed as a name here", "use letters, digits, '.', '_' and '-'")


def _check_keys(value: Value, shape: Keys, minor: int, path: KeyPath) -> None:
    if value is None and shape.nullable:
        return
    if not isinstance(value, dict):
        raise _wrong_kind(path, value, ["mapping"])
    for name, member in value.items():
        key = shape.keys.get(name)
        if key is not None and key.since <= minor:
            _check_member(member, key.shape, minor, (*path, name), shape.remedies.get(name))
        elif not _is_extension(name, shape, minor) and not (shape.open_since is not None and shape.open_since <= minor):
            raise _unknown_key(name, shape, minor, path)
    for name in shape.required:
        if name not in value:
            raise Fault(path, f"{name!r} is required", f"add `{name}:`")


def _check_member(value: Value, shape: Shape, minor: int, path: KeyPath, remedy: str | None) -> None:
    try:
        check(value, shape, minor=minor, path=path)
    except Fault as fault:
        if remedy is None or fault.path != path:
            raise
        raise Fault(path, fault.problem, remedy) from fault


def _is_extension(name: str, shape: Keys, minor: int) -> bool:
    return name.startswith("x-") and shape.extensions_since is not None and shape.extensions_since <= minor


def _unknown_key(name: str, shape: Keys, minor: int, path: KeyPath) -> Fault:
    problem = f"unknown key {name!r}"
    since = shape.keys[name].since if name in shape.keys else shape.extensions_since if name.startswith("x-") else None
    if since is not None:
        return Fault((*path, name), f'{problem} in version "3.{minor}"', f'write version: "3.{since}" or later')
    if name in shape.remedies:
        return Fault((*path, name), problem, shape.remedies[name])
    close = get_close_matches(name, [key for key, known in shape.keys.items() if known.since <= minor], n=1)
    return Fault(
        (*path, name), problem, f"did you mean {close[0]!r}?" if close else "take it out, or name it x-... if it is for other tools"
    )


def _is_of_kind(value: Value, shape: Shape) -> bool:
    match shape:
        case Scalar(kinds=kinds):
            return any(_is(value, kind) for kind in kinds)
        case ListOf():
            return isinstance(value, list)
        case Names():
            return isinstance(value, dict)
        case Keys(nullable=nullable):
            return isinstance(value, dict) or (value is None and nullable)
        case Either(options=options):
            return any(_is_of_kind(value, option) for option in options)
        case _:
            assert_never(shape)


def _is(value: Value, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str | Timestamp)  # docker checks the text of a moment, and trips over it later
        case "boolean":
            return isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
        case _:
            return value is None


def _kinds(shape: Shape) -> list[str]:
    match shape:
        case Scalar(kinds=kinds):
            return list(kinds)
        case ListOf():
            return ["list"]
        case Names():
            return ["mapping"]
        case Keys(nullable=nullable):
            return ["mapping", "null"] if nullable else ["mapping"]
        case Either(options=options):
            return [kind for option in options for kind in _kinds(option)]
        case _:
            assert_never(shape)


def _wrong_kind(path: KeyPath, value: Value, wanted: list[str]) -> Fault:
    names = {"boolean": "boolean (true or false)", "integer": "integer"}
    words = [names.get(kind, kind) for kind in dict.fromkeys(wanted)]
    choice = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    found = "a moment in time" if isinstance(value, Timestamp) else KINDS[type(value)]
    return Fault(path, f"must be {_article(choice)} {choice}, but is {found}", _cure(value, wanted))


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _cure(value: Value, wanted: list[str]) -> str:
    if "string" in wanted and isinstance(value, int | float):
        return f'put it in quotes: "{str(value).lower()}"'
    if isinstance(value, str) and {"integer", "number", "boolean"} & set(wanted):
        return "take the quotes off" if value.isdigit() or value in ("true", "false") else ""
    if "list" in wanted and not isinstance(value, list):
        return "write each item on a line of its own after a dash" if value is not None else "take the key out, or list something"
    return ""


def _canonical(value: Value) -> str:
    """Equal for values that JSON writes alike: 80 and 80.0, but not 80 and "80"."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key!r}:{_canonical(value[key])}' for key in sorted(value))}}}"
    if isinstance(value, list):
        return f"[{','.join(_canonical(item) for item in value)}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.rfc3339.__repr__() if isinstance(value, Timestamp) else repr(value)
