"""Where requests become values: specs as Go clients send them (nulls for absent), look-up by id, name or prefix, as Docker does. Pure."""

import re
from collections.abc import Iterable, Mapping
from functools import cache, partial
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from cluster.api.errors import InvalidArgument, NotFound
from cluster.api.objects import Object
from cluster.api.states import Kind
from manager.store.snapshot import Snapshot
from node_agent.api.messages import MAX_BODY, ApiRequest

T = TypeVar("T")

_MOST = 1 << 63
"""Numbers are kept in 64 bits with a sign, on the wire and in the log."""
_NO_BASE64 = re.compile(r"Invalid base64 encoded string - at `\$\.(?P<member>\w+)`")


async def body_as(request: ApiRequest, into: type[T], *, at_most: int = MAX_BODY) -> T:
    """The JSON body as a value; members that are null count as absent, unknown ones are ignored, as Go's decoder does."""
    return as_value(await request.json(dict[str, Any], at_most=at_most), into)


def as_value(raw: object, into: type[T]) -> T:
    try:
        return msgspec.convert(spelled(without_nulls(raw), into), type=into)
    except msgspec.ValidationError as wrong:
        raise InvalidArgument(f"invalid JSON: {_NO_BASE64.sub(partial(_illegal_byte, raw), str(wrong))}") from wrong
    except RecursionError as deep:
        raise InvalidArgument("invalid JSON: it is nested too deeply") from deep


def _illegal_byte(raw: object, said: re.Match[str]) -> str:
    """In the words of Go's decoder: where it is that the text is not base64."""
    text = raw.get(said["member"]) if isinstance(raw, dict) else None
    if not isinstance(text, str):
        return said[0]
    sound = re.match(r"[A-Za-z0-9+/\r\n]*={0,2}", text)
    return f"illegal base64 data at input byte {sound.end() if sound else 0} - at `$.{said['member']}`"


def without_nulls(raw: object) -> object:
    if isinstance(raw, dict):
        return {name: without_nulls(value) for name, value in raw.items() if value is not None}
    if isinstance(raw, list):
        return [without_nulls(value) for value in raw if value is not None]
    if isinstance(raw, int) and not -_MOST <= raw < _MOST:
        raise InvalidArgument(f"invalid JSON: the number {raw} does not fit into 64 bits")
    return raw


def spelled(raw: object, into: object) -> object:
    """The same with member names as `into` has them: Go's decoder takes them in any case, and docker-py relies on it."""
    shape = _shape(into)
    if isinstance(raw, dict) and isinstance(shape, dict):
        found = {}
        for name, value in raw.items():
            known = shape.get(name.lower())
            if known is None:
                found[name] = value
            else:
                found.setdefault(known[0], spelled(value, known[1]))
        return found
    if isinstance(raw, list) and isinstance(shape, list):
        return [spelled(item, shape[0]) for item in raw]
    return raw


@cache
def _shape(into: Any) -> dict[str, tuple[str, Any]] | list[Any] | None:
    """Of a type: a struct's members by their name in lower case, the item of a list, or None for all else."""
    if isinstance(into, type) and issubclass(into, msgspec.Struct):
        return {field.encode_name.lower(): (field.encode_name, field.type) for field in msgspec.structs.fields(into)}
    arguments = [argument for argument in get_args(into) if argument not in (type(None), Ellipsis)]
    if get_origin(into) is tuple:
        return [arguments[0]]
    return _shape(arguments[0]) if get_origin(into) in (Union, UnionType) and len(arguments) == 1 else None


def name_of(kind: Kind, found: Any) -> str:
    """The name that people use for an object."""
    return str(found.description.hostname if kind is Kind.NODE else found.spec.name)


def table(now: Snapshot, kind: Kind) -> Mapping[str, Any]:
    tables: dict[Kind, Mapping[str, Any]] = {
        Kind.NODE: now.nodes,
        Kind.SERVICE: now.services,
        Kind.TASK: now.tasks,
        Kind.NETWORK: now.networks,
        Kind.SECRET: now.secrets,
        Kind.CONFIG: now.configs,
    }
    return tables[kind]


def look_up(now: Snapshot, kind: Kind, reference: str) -> Any:
    """By full id, then name, then id prefix. Raises NotFound, or InvalidArgument for one that could mean several."""
    rows = table(now, kind)
    if (exact := rows.get(reference)) is not None:
        return exact
    if kind is not Kind.TASK and (named := _named(now, kind, reference)):
        return _only(named, kind, reference)
    if reference and (begun := [rows[key] for key in rows if key.startswith(reference)]):
        return _only(begun, kind, reference)
    raise NotFound(f"{kind} {reference} not found")


def _named(now: Snapshot, kind: Kind, name: str) -> list[Object]:
    if kind is Kind.NODE:
        return [node for node in now.nodes.values() if node.description.hostname == name]
    found = now.named(kind, name)
    return [] if found is None else [found]


def _only(found: list[Any], kind: Kind, reference: str) -> Any:
    if len(found) > 1:
        raise InvalidArgument(f"{kind} {reference} is ambiguous ({len(found)} matches found)")
    return found[0]


def version_of(request: ApiRequest, what: str) -> int:
    """`?version=`: what an update was decided on."""
    text = request.query.get("version")
    if not (text.isascii() and text.isdigit()):
        raise InvalidArgument(f"invalid {what} version '{text}': strconv.ParseUint: parsing \"{text}\": invalid syntax")
    return int(text)


def newest_first(rows: Iterable[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: (row.created_at, row.id))
