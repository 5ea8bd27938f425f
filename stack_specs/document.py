"""One stack file as YAML: its values, and the line of every one of them.

Built on libyaml's events and not on PyYAML's constructors: docker's decoder (go-yaml 3) reads scalars by rules of its own, refuses a
key that is written twice, and lets an anchor be set again, which PyYAML does not.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
from yaml import YAMLError
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from stack_specs.errors import Fault, KeyPath, StackError
from stack_specs.values import Scalar, Timestamp, Value, resolve

_DEEPEST = 100
_LARGEST = 200_000
"""Values in a file once its aliases are written out: far above any stack, far below what would stall the reader."""
_YAML = "tag:yaml.org,2002:"
_MERGE = "<<"


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A scalar as written."""

    line: int
    written: str
    plain: bool
    tag: str | None


class Items(msgspec.Struct, frozen=True, kw_only=True):
    """A list as written."""

    line: int
    nodes: list["Node"]


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping as written, merge keys included."""

    line: int
    nodes: list[tuple["Node", "Node"]]


Node: TypeAlias = Text | Items | Pairs


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A stack file that was read: what it says, and where."""

    name: str
    root: Node
    content: dict[str, Value]

    def line_of(self, path: KeyPath) -> int | None:
        """The line of the key or list item at `path`, or of the nearest one above it that stands in the file."""
        node, line = self.root, None
        for key in path:
            found = _step(node, key)
            if found is None:
                break
            line, node = found
        return line

    def depth_of(self, path: KeyPath) -> int:
        """How many keys of `path` this file has: the file that has most of them is the one to point at."""
        node = self.root
        for depth, key in enumerate(path):
            found = _step(node, key)
            if found is None:
                return depth
            node = found[1]
        return len(path)

    def error(self, fault: Fault) -> StackError:
        """The fault with its file and line."""
        return StackError(file=self.name, line=self.line_of(fault.path), path=fault.path, problem=fault.problem, remedy=fault.remedy)


def parse(name: str, source: bytes) -> Document:
    """Read the first document of a YAML stream; whatever follows it is ignored, as docker does."""
    try:
        root = _Composer(source).compose()
        content = _Decoder().decode(root, ()) if root else None
    except YAMLError as error:
        raise _syntax_error(name, source, error) from error
    except _Misplaced as misplaced:
        fault = misplaced.fault
        raise StackError(file=name, line=misplaced.line, path=fault.path, problem=fault.problem, remedy=fault.remedy) from misplaced
    if root is None or not isinstance(content, dict):
        raise StackError(file=name, line=1, path=(), problem="top-level object must be a mapping", remedy="start with `services:`")
    return Document(name=name, root=root, content=content)


def _syntax_error(name: str, source: bytes, error: YAMLError) -> StackError:
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    context, began = getattr(error, "context", None), getattr(error, "context_mark", None)
    said = problem or getattr(error, "reason", None) or str(error).splitlines()[0]
    if context and began is not None:
        said += f" {context} that began on line {began.line + 1}"
    # libyaml puts what is missing at the end of the file on the line after it
    line = min(mark.line + 1, len(source.splitlines())) if mark is not None else None
    return StackError(file=name, line=line, path=(), problem=f"this is not YAML: {said}", remedy="correct the file's syntax")


class _Misplaced(Exception):
    def __init__(self, line: int, path: KeyPath, problem: str, remedy: str = "") -> None:
        self.line, self.fault = line, Fault(path, problem, remedy)
        super().__init__(str(self.fault))


class _Composer:
    """Events to nodes. An alias is the node that its anchor names at that moment."""

    def __init__(self, source: bytes) -> None:
        self._parser = CParser(source)
        self._anchors: dict[str, Node | None] = {}  # None while the anchor's own value is being read

    def compose(self) -> Node | None:
        """The first document's node, or None if there is no document."""
        while not self._parser.check_event(DocumentStartEvent):
            if isinstance(self._parser.get_event(), StreamEndEvent):
                return None
        self._parser.get_event()
        return self._node(0)

    def _node(self, depth: int) -> Node:
        event = self._parser.get_event()
        line = event.start_mark.line + 1 if event is not None and event.start_mark is not None else 1
        if not isinstance(event, NodeEvent):
            raise _Misplaced(line, (), f"a value is missing where {type(event).__name__} was read")
        anchor = event.anchor
        if isinstance(event, AliasEvent):
            return self._alias(anchor or "", line)
        if depth > _DEEPEST:
            raise _Misplaced(line, (), f"nested more than {_DEEPEST} levels deep", "flatten it")
        if anchor is not None:
            self._anchors[anchor] = None
        node = self._compound(event, line, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _compound(self, event: NodeEvent, line: int, depth: int) -> Node:
        if isinstance(event, ScalarEvent):
            return Text(line=line, written=event.value, plain=not event.style, tag=event.tag if event.tag != "!" else None)
        if isinstance(event, SequenceStartEvent):
            return Items(line=line, nodes=list(self._until(SequenceEndEvent, depth)))
        nodes = list(self._until(MappingEndEvent, depth))
        return Pairs(line=line, nodes=list(zip(nodes[::2], nodes[1::2], strict=True)))

    def _until(self, end: type[Event], depth: int) -> Iterator[Node]:
        while not self._parser.check_event(end):
            yield self._node(depth + 1)
        self._parser.get_event()

    def _alias(self, anchor: str, line: int) -> Node:
        if anchor not in self._anchors:
            raise _Misplaced(line, (), f"there is no anchor &{anchor} for the alias *{anchor}", "set the anchor above its first use")
        node = self._anchors[anchor]
        if node is None:
            raise _Misplaced(line, (), f"the anchor &{anchor} contains itself", "take the alias out of the anchor's value")
        return node


class _Decoder:
    """Nodes to values. What several aliases share is decoded once, and counted every time."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Value, int]] = {}
        self._count = 0

    def decode(self, node: Node, path: KeyPath) -> Value:
        self._count += 1
        if isinstance(node, Text):
            return _scalar(node, path)
        if id(node) in self._known:
            value, size = self._known[id(node)]
            self._count += size
        else:
            before = self._count
            value = self._pairs(node, path) if isinstance(node, Pairs) else self._items(node, path)
            self._known[id(node)] = value, self._count - before
        if self._count > _LARGEST:
            raise _Misplaced(node.line, path, f"the file has more than {_LARGEST} values once its aliases are written out", "split it")
        return value

    def _items(self, node: Items, path: KeyPath) -> Value:
        return [self.decode(item, (*path, index)) for index, item in enumerate(node.nodes)]

    def _pairs(self, node: Pairs, path: KeyPath) -> dict[str, Value]:
        seen: dict[str, int] = {}
        merged: list[dict[str, Value]] = []
        own: dict[str, Value] = {}
        for key, node_value in node.nodes:
            name = _key(key, path)
            if name in seen:
                raise _Misplaced(key.line, (*path, name), f"this key is already defined on line {seen[name]}", "keep one of them")
            seen[name] = key.line
            if _is_merge(key):
                merged += self._merged(node_value, path)
            else:
                own[name] = self.decode(node_value, (*path, name))
        inherited = {name: value for mapping in reversed(merged) for name, value in mapping.items()}
        return inherited | own

    def _merged(self, node: Node, path: KeyPath) -> list[dict[str, Value]]:
        sources = node.nodes if isinstance(node, Items) else [node]
        values = [self.decode(source, path) for source in sources]
        mappings = [value for value in values if isinstance(value, dict)]
        if len(mappings) != len(values):
            raise _Misplaced(node.line, (*path, _MERGE), "only a mapping or a list of mappings can be merged in", "name an anchor of one")
        return mappings


def _is_merge(key: Node) -> bool:
    return isinstance(key, Text) and key.written == _MERGE and (key.tag == _YAML + "merge" or (key.tag is None and key.plain))


def _key(node: Node, path: KeyPath) -> str:
    if _is_merge(node):
        return _MERGE
    value = _scalar(node, path) if isinstance(node, Text) else None
    if not isinstance(value, str):
        written = node.written if isinstance(node, Text) else "a list or mapping"
        raise _Misplaced(
            node.line, path, f"the key {written!r} is not text", f"put it in quotes: '{written}':" if value is not None else ""
        )
    return value


def _scalar(node: Text, path: KeyPath) -> Scalar:
    value = _tagged(node, path) if node.tag is not None else resolve(node.written) if node.plain else node.written
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise _Misplaced(node.line, path, f"{node.written} is no number that can be sent", "put it in quotes if text is meant")
    return value


def _tagged(node: Text, path: KeyPath) -> Scalar:
    """The value under an explicit tag. A tag of the user's own changes nothing but that the value is text."""
    kind = node.tag.removeprefix(_YAML) if node.tag is not None and node.tag.startswith(_YAML) else "str"
    if kind == "binary":
        try:
            return base64.b64decode(node.written, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _Misplaced(node.line, path, f"this !!binary is not base64 of text: {error}") from error
    value = node.written if kind == "str" else resolve(node.written, moments=kind == "timestamp")
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if (kind in _KINDS and not isinstance(value, _KINDS[kind])) or (kind == "int" and isinstance(value, bool)):
        raise _Misplaced(node.line, path, f"{node.written!r} is not of the type !!{kind}", "correct the tag or the value")
    return value


_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "null": type(None),
    "timestamp": Timestamp,
}


def _step(node: Node, key: str | int) -> tuple[int, Node] | None:
    """The node at one key, and the line of that key."""
    if isinstance(node, Items) and isinstance(key, int) and key < len(node.nodes):
        return node.nodes[key].line, node.nodes[key]
    if not isinstance(node, Pairs):
        return None
    for name, value in node.nodes:
        if isinstance(name, Text) and name.written == key and not _is_merge(name):
            return name.line, value
    for name, value in node.nodes:
        sources = value.nodes if isinstance(value, Items) else [value]
        found = next((step for source in sources if (step := _step(source, key))), None) if _is_merge(name) else None
        if found is not None:
            return found
    return None
