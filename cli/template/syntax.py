"""From the text of a template to its nodes. Pure; evaluate.py says what the nodes mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class TemplateError(Exception):
    """The template is not one, or asks for what is not there."""


class Text(NamedTuple):
    text: str


class Field(NamedTuple):
    """.A.B, $.A, $x.A or (pipeline).A; `base` None is the dot."""

    base: Variable | Pipeline | None
    path: tuple[str, ...]
    at: str


class Variable(NamedTuple):
    name: str


class Literal(NamedTuple):
    value: str | int | float | bool | None


class Function(NamedTuple):
    name: str


class Command(NamedTuple):
    """One stage of a pipeline: a value, or a function or method with its arguments."""

    words: tuple[Operand, ...]


class Pipeline(NamedTuple):
    commands: tuple[Command, ...]
    declares: tuple[str, ...] = ()


class Output(NamedTuple):
    pipeline: Pipeline


class Branch(NamedTuple):
    """if, with or range; `otherwise` is the else part."""

    word: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


Operand = Field | Variable | Literal | Function | Pipeline
Node = Text | Output | Branch

_ACTION = re.compile(r"\{\{(- )?(.*?)( -)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)
    | (?P<char>'(?:\\.|[^'\\])')
    | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?))
    | (?P<field>(?:\.[A-Za-z_][A-Za-z0-9_]*)+|\.)
    | (?P<variable>\$[A-Za-z0-9_]*)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>:=|=|\||\(|\)|,)
    )""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    glued: bool  # no space before it: the field of what stands before


def parse(text: str) -> tuple[Node, ...]:
    """The nodes of a whole template."""
    parts = list(_parts(text))
    nodes, rest, ended = _nodes(parts, 0)
    if ended:
        raise TemplateError(f"template: :1: unexpected {{{{{ended}}}}}")
    assert rest == len(parts), "everything is read unless a stray end was found"
    return nodes


def _parts(text: str) -> Iterator[Text | str]:
    """Texts as Text, actions as the bare string between the braces, white space trimmed where {{- or -}} say so."""
    at, trim = 0, False
    for action in _ACTION.finditer(text):
        before = text[at : action.start()]
        before = before.lstrip() if trim else before
        before = before.rstrip() if action[1] else before
        if before:
            yield Text(before)
        inside = action[2].strip()
        if not (inside.startswith("/*") and inside.endswith("*/")):
            yield inside
        at, trim = action.end(), bool(action[3])
    rest = text[at:].lstrip() if trim else text[at:]
    if "{{" in rest:
        unclosed = rest.partition("{{")[2]
        line = text[: len(text) - len(unclosed)].count("\n") + 1
        single = re.search(r"\}(?!\})", unclosed)
        raise TemplateError(f"template: :{line}: " + ("bad character U+007D '}'" if single else "unclosed action"))
    if rest:
        yield Text(rest)


def _nodes(parts: Sequence[Text | str], at: int) -> tuple[tuple[Node, ...], int, str]:
    """Nodes up to an end or else, where the reading goes on, and which of them it was."""
    nodes: list[Node] = []
    while at < len(parts):
        part = parts[at]
        at += 1
        if isinstance(part, Text):
            nodes.append(part)
            continue
        word, _, rest = part.partition(" ")
        if word in {"end", "else"}:
            return tuple(nodes), at, part
        if word in {"if", "range", "with"}:
            branch, at = _branch(word, rest, parts, at)
            nodes.append(branch)
        elif word in {"define", "template", "block", "break", "continue"}:
            raise TemplateError(f"template: :1: {{{{{word}}}}} is not supported in --format")
        else:
            nodes.append(Output(_pipeline(part)))
    return tuple(nodes), at, ""


def _branch(word: str, condition: str, parts: Sequence[Text | str], at: int) -> tuple[Branch, int]:
    pipeline = _pipeline(condition)
    body, at, ended = _nodes(parts, at)
    otherwise: tuple[Node, ...] = ()
    if ended.startswith("else"):
        again, _, chained = ended.removeprefix("else").strip().partition(" ")
        if again:
            inner, at = _branch(again, chained, parts, at)
            return Branch(word, pipeline, body, (inner,)), at
        otherwise, at, ended = _nodes(parts, at)
    if ended != "end":
        raise TemplateError("template: :1: unexpected EOF")
    return Branch(word, pipeline, body, otherwise), at


def _pipeline(text: str) -> Pipeline:
    tokens = list(_tokens(text))
    if not tokens:
        raise TemplateError("template: :1: missing value for command")
    pipeline, at = _read_pipeline(tokens, 0)
    if at < len(tokens):
        raise TemplateError(f"template: :1: unexpected {tokens[at].text!r} in {{{{{text}}}}}")
    return pipeline


def _tokens(text: str) -> Iterator[_Token]:
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise TemplateError(f"template: :1: unexpected {text[at:].strip()[:1]!r} in {{{{{text}}}}}")
        kind = found.lastgroup or ""
        yield _Token(kind, found[kind], found.start() == found.start(kind) and at > 0)
        at = found.end()


def _read_pipeline(tokens: Sequence[_Token], at: int) -> tuple[Pipeline, int]:
    declares, at = _declared(tokens, at)
    commands: list[Command] = []
    words: list[Operand] = []
    while at < len(tokens) and tokens[at].text != ")":
        if tokens[at].kind == "sign" and tokens[at].text == "|":
            commands.append(_command(words))
            words, at = [], at + 1
            continue
        operand, at = _operand(tokens, at)
        words.append(operand)
    commands.append(_command(words))
    return Pipeline(tuple(commands), declares), at


def _declared(tokens: Sequence[_Token], at: int) -> tuple[tuple[str, ...], int]:
    signs = [token.text for token in tokens[at : at + 4]]
    if len(signs) >= 2 and tokens[at].kind == "variable" and signs[1] in {":=", "="}:
        return (signs[0],), at + 2
    if len(signs) == 4 and signs[1] == "," and signs[3] == ":=":
        return (signs[0], signs[2]), at + 4
    return (), at


def _command(words: Sequence[Operand]) -> Command:
    if not words:
        raise TemplateError("template: :1: missing value for command")
    return Command(tuple(words))


def _operand(tokens: Sequence[_Token], at: int) -> tuple[Operand, int]:
    token = tokens[at]
    if token.kind == "sign":
        if token.text != "(":
            raise TemplateError(f"template: :1: unexpected {token.text!r}")
        inner, at = _read_pipeline(tokens, at + 1)
        if at >= len(tokens):
            raise TemplateError("template: :1: unclosed left paren")
        return _with_fields(inner, tokens, at + 1)
    if token.kind == "variable":
        return _with_fields(Variable(token.text), tokens, at + 1)
    if token.kind == "field":
        return Field(None, tuple(filter(None, token.text.split("."))), token.text), at + 1
    return _plain(token), at + 1


def _with_fields(base: Variable | Pipeline, tokens: Sequence[_Token], at: int) -> tuple[Operand, int]:
    if at < len(tokens) and tokens[at].kind == "field" and tokens[at].glued and tokens[at].text != ".":
        return Field(base, tuple(tokens[at].text[1:].split(".")), tokens[at].text), at + 1
    return base, at


def _plain(token: _Token) -> Literal | Function:
    if token.kind == "string":
        return Literal(token.text[1:-1] if token.text[0] == "`" else json.loads(token.text, strict=False))
    if token.kind == "char":
        return Literal(ord(token.text[1:-1].encode().decode("unicode_escape")))
    if token.kind == "number":
        return Literal(float(token.text) if "." in token.text else int(token.text, 0))
    constants: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
    return Literal(constants[token.text]) if token.text in constants else Function(token.text)
