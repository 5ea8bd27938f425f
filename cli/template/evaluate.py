"""What a template's nodes put out, given a JSON value as the dot. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli.template import govalue
from cli.template.functions import FUNCTIONS
from cli.template.syntax import (
    Branch,
    Command,
    Field,
    Function,
    Literal,
    Node,
    Operand,
    Output,
    Pipeline,
    TemplateError,
    Text,
    Variable,
    parse,
)

Scope = dict[str, Any]
Missing = Callable[[str, str], Any]  # (field, as written): the value of a field that is not there, or an error


class Template:
    """A parsed --format. `missing` decides what a field that the value does not have means."""

    def __init__(self, text: str, *, missing: Missing | None = None) -> None:
        self._nodes = parse(text)
        self._missing = missing or _refuse

    def render(self, dot: Any) -> str:
        return self._run(self._nodes, dot, {"$": dot})

    def _run(self, nodes: Sequence[Node], dot: Any, scope: Scope) -> str:
        return "".join(self._node(node, dot, scope) for node in nodes)

    def _node(self, node: Node, dot: Any, scope: Scope) -> str:
        match node:
            case Text(text=text):
                return text
            case Output(pipeline=pipeline):
                value = self._value(pipeline, dot, scope)
                for name in pipeline.declares:
                    scope[name] = value
                return "" if pipeline.declares else govalue.text(value)
            case Branch():
                return self._branch(node, dot, scope)

    def _branch(self, node: Branch, dot: Any, scope: Scope) -> str:
        value = self._value(node.pipeline, dot, scope)
        inner = dict(scope)
        if node.word == "range":
            return self._range(node, value, dot, inner)
        for name in node.pipeline.declares:
            inner[name] = value
        if not value:
            return self._run(node.otherwise, dot, inner)
        return self._run(node.body, value if node.word == "with" else dot, inner)

    def _range(self, node: Branch, value: Any, dot: Any, scope: Scope) -> str:
        if isinstance(value, Mapping):
            entries = sorted(value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            entries = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            entries = [(n, n) for n in range(value)]
        elif not value:
            entries = []
        else:
            raise TemplateError(f"range can't iterate over {govalue.text(value)}")
        if not entries:
            return self._run(node.otherwise, dot, scope)
        out = []
        for key, item in entries:
            names = node.pipeline.declares
            inner = {**scope, **dict(zip(names, (key, item) if len(names) == 2 else (item,), strict=False))}
            out.append(self._run(node.body, item, inner))
        return "".join(out)

    def _value(self, pipeline: Pipeline, dot: Any, scope: Scope) -> Any:
        value: Any = None
        for stage, command in enumerate(pipeline.commands):
            value = self._command(command, dot, scope, piped=(value,) if stage else ())
        return value

    def _command(self, command: Command, dot: Any, scope: Scope, *, piped: tuple[Any, ...]) -> Any:
        head, *rest = command.words
        arguments = [self._operand(word, dot, scope) for word in rest] + list(piped)
        if isinstance(head, Function):
            return _call(head.name, arguments)
        value = self._operand(head, dot, scope)
        if callable(value):
            return value(*arguments)
        if arguments:
            raise TemplateError(f"can't give argument to non-function {_written(head)}")
        return value

    def _operand(self, operand: Operand, dot: Any, scope: Scope) -> Any:
        match operand:
            case Literal(value=value):
                return value
            case Variable(name=name):
                if name not in scope:
                    raise TemplateError(f"template: :1: undefined variable {name!r}")
                return scope[name]
            case Pipeline():
                return self._value(operand, dot, scope)
            case Function(name=name):
                return _call(name, [])
            case Field(base=base, path=path, at=at):
                value = dot if base is None else self._operand(base, dot, scope)
                for name in path:
                    value = self._field(value, name, at)
                return value

    def _field(self, value: Any, name: str, at: str) -> Any:
        if isinstance(value, Mapping):
            return value[name] if name in value else self._missing(name, at)
        if value is None:
            raise TemplateError(f'executing "" at <{at}>: nil pointer evaluating {name}')
        raise TemplateError(f'executing "" at <{at}>: can\'t evaluate field {name} in {govalue.text(value)[:40]!r}')


def _call(name: str, arguments: Sequence[Any]) -> Any:
    function = FUNCTIONS.get(name)
    if function is None:
        raise TemplateError(f'template: :1: function "{name}" not defined')
    try:
        return function(*arguments)
    except (TypeError, ValueError, IndexError, AttributeError, KeyError) as wrong:
        raise TemplateError(f"error calling {name}: {wrong}") from wrong


def _refuse(name: str, at: str) -> Any:
    raise TemplateError(f'executing "" at <{at}>: can\'t evaluate field {name}')


def _written(operand: Operand) -> str:
    return operand.at if isinstance(operand, Field) else str(operand)
