"""Templates in services, secrets and configs, as in Swarm: `{{.Task.Slot}}`, `{{env "HOME"}}`, `{{secret "db"}}`. Pure.

The subset of Go's text/template that Swarm's contexts make sense with: fields, string and number literals, calls with
parenthesised arguments, pipes, `index`, `join`, `if`/`else`/`end`, comments and `{{-` `-}}` trimming. What goes beyond is refused with
the place named, never passed through. Managers try a template on a made-up task before they accept it, nodes expand it for the real one.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from cluster.api.specs import ContainerSpec, DriverConfig, Mount, VolumeOptions

Scalar = str | int | bool
Fact = Scalar | Mapping[str, "Fact"]
Function = Callable[..., Fact]


class TemplateError(Exception):
    """A template that cannot be expanded; the text says where and why."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"template {where!r}: {problem}")
        self.where, self.problem = where, problem


class Context(Struct, frozen=True, kw_only=True, gc=False):
    """What a template sees: `facts` under their dotted names, and functions by name."""

    facts: Mapping[str, Fact]
    functions: Mapping[str, Function] = {}


_ACTION = re.compile(
    r"\{\{(?P<left>-\s)?(?P<code>\s*/\*.*?\*/\s*?|(?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|[^\"`])*?)(?P<right>\s-)?\}\}", re.DOTALL
)
_TOKEN = re.compile(
    r"\s+|(?P<field>\.[A-Za-z_][\w.]*|\.)|(?P<word>[A-Za-z_]\w*)|(?P<text>\"(?:\\.|[^\"\\])*\"|`[^`]*`)|(?P<number>-?\d+)|(?P<mark>[()|])"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}


def expand(text: str, context: Context, *, where: str) -> str:
    """The text with every action replaced by what it yields. Raises TemplateError."""
    if "{{" not in text:
        return text
    try:
        return _Expansion(where, context).run(text)
    except RecursionError as error:
        raise TemplateError(where, "parentheses are nested too deeply") from error


def facts(
    *,
    service: tuple[str, str],
    labels: Mapping[str, str],
    node: tuple[str, str],
    platform: tuple[str, str],
    task: tuple[str, str],
    slot: str,
) -> Mapping[str, Fact]:
    """What a container's templates see. Service and task are an id and a name, a node id and host name, a platform OS and architecture."""
    return {
        "Service": {"ID": service[0], "Name": service[1], "Labels": dict(labels)},
        "Node": {"ID": node[0], "Hostname": node[1], "Platform": {"Architecture": platform[1], "OS": platform[0]}},
        "Task": {"ID": task[0], "Name": task[1], "Slot": slot},
    }


def expand_container(spec: ContainerSpec, context: Context) -> ContainerSpec:
    """With its hostname, environment and mounts expanded, as Swarm does; nothing else in it is a template. Raises TemplateError."""
    return replace(
        spec,
        hostname=expand(spec.hostname, context, where="hostname"),
        env=tuple(expand(entry, context, where="env " + entry.partition("=")[0]) for entry in spec.env),
        mounts=tuple(_expanded_mount(mount, context) for mount in spec.mounts),
    )


def _expanded_mount(mount: Mount, context: Context) -> Mount:
    where = f"mount {mount.target}"
    options = mount.volume_options
    return replace(
        mount,
        source=expand(mount.source, context, where=where),
        target=expand(mount.target, context, where=where),
        volume_options=None if options is None else _expanded_options(options, context, where),
    )


def _expanded_options(options: VolumeOptions, context: Context, where: str) -> VolumeOptions:
    driver = options.driver_config
    return replace(
        options,
        labels={key: expand(text, context, where=where) for key, text in options.labels.items()},
        driver_config=None
        if driver is None
        else DriverConfig(
            name=expand(driver.name, context, where=where),
            options={key: expand(text, context, where=where) for key, text in driver.options.items()},
        ),
    )


class _Token(Struct, frozen=True, gc=False):
    kind: str
    text: str


class _Expansion:
    """One pass over one text: a stack of `if`s and the pieces that are shown."""

    def __init__(self, where: str, context: Context) -> None:
        self._where = where
        self._context = context
        self._pieces: list[str] = []
        self._ifs: list[tuple[bool, bool]] = []
        """(shown now, some branch was shown already), outermost first."""

    def run(self, text: str) -> str:
        at, trim = 0, False
        while (begin := text.find("{{", at)) >= 0:
            found = _ACTION.match(text, begin)
            if found is None:
                raise TemplateError(self._where, "unclosed action {{")
            self._literal(text[at:begin], left=trim, right=found["left"] is not None)
            self._action(found["code"].strip())
            at, trim = found.end(), found["right"] is not None
        self._literal(text[at:], left=trim, right=False)
        if self._ifs:
            raise TemplateError(self._where, "an if without its end")
        return "".join(self._pieces)

    def _literal(self, text: str, *, left: bool, right: bool) -> None:
        text = text.lstrip() if left else text
        self._show(text.rstrip() if right else text)

    def _show(self, text: str) -> None:
        if all(shown for shown, _ in self._ifs):
            self._pieces.append(text)

    def _action(self, code: str) -> None:
        if code.startswith("/*"):
            return
        keyword, _, rest = code.partition(" ")
        match keyword:
            case "if":
                self._ifs.append(self._branch(rest, tried=False))
            case "else":
                self._else(rest.strip())
            case "end":
                if not self._ifs:
                    raise TemplateError(self._where, "an end without its if")
                self._ifs.pop()
            case _ if all(shown for shown, _ in self._ifs):
                self._pieces.append(_shown(self._value(code)))
            case _:
                pass

    def _else(self, rest: str) -> None:
        if not self._ifs:
            raise TemplateError(self._where, "an else without its if")
        _, tried = self._ifs.pop()
        if rest.startswith("if "):
            self._ifs.append(self._branch(rest.removeprefix("if "), tried=tried))
        else:
            self._ifs.append((not tried, True))

    def _branch(self, condition: str, *, tried: bool) -> tuple[bool, bool]:
        if tried or not all(shown for shown, _ in self._ifs):
            return False, True
        holds = bool(self._value(condition))
        return holds, holds

    def _value(self, code: str) -> Fact:
        tokens = self._tokens(code)
        value, rest = self._pipe(tokens)
        if rest:
            raise TemplateError(self._where, f"unexpected {rest[0].text!r}")
        return value

    def _tokens(self, code: str) -> list[_Token]:
        tokens, at = [], 0
        while at < len(code):
            found = _TOKEN.match(code, at)
            if found is None:
                raise TemplateError(self._where, f"unexpected {code[at]!r} in {code!r}")
            if found.lastgroup is not None:
                tokens.append(_Token(found.lastgroup, found[0]))
            at = found.end()
        return tokens

    def _pipe(self, tokens: Sequence[_Token]) -> tuple[Fact, Sequence[_Token]]:
        """One or more commands; each after the first gets the value before it as its last argument."""
        value, tokens = self._command(tokens, ())
        while tokens and tokens[0].text == "|":
            value, tokens = self._command(tokens[1:], (value,))
        return value, tokens

    def _command(self, tokens: Sequence[_Token], piped: tuple[Fact, ...]) -> tuple[Fact, Sequence[_Token]]:
        if not tokens:
            raise TemplateError(self._where, "missing value for command")
        if tokens[0].kind != "word" or tokens[0].text in ("true", "false"):
            value, rest = self._operand(tokens)
            if piped:
                raise TemplateError(self._where, "non-executable command in pipeline")
            return value, rest
        name, tokens = tokens[0].text, tokens[1:]
        arguments: list[Fact] = []
        while tokens and tokens[0].text not in ("|", ")"):
            value, tokens = self._operand(tokens)
            arguments.append(value)
        return self._call(name, (*arguments, *piped)), tokens

    def _operand(self, tokens: Sequence[_Token]) -> tuple[Fact, Sequence[_Token]]:
        token, rest = tokens[0], tokens[1:]
        match token.kind:
            case "text":
                return _unquoted(token.text), rest
            case "number":
                return int(token.text), rest
            case "field":
                return self._field(token.text), rest
            case "word" if token.text in ("true", "false"):
                return token.text == "true", rest
            case "word":
                return self._call(token.text, ()), rest
            case _ if token.text == "(":
                value, rest = self._pipe(rest)
                if not rest or rest[0].text != ")":
                    raise TemplateError(self._where, "unclosed left paren")
                return value, rest[1:]
            case _:
                raise TemplateError(self._where, f"unexpected {token.text!r}")

    def _field(self, path: str) -> Fact:
        value: Fact = self._context.facts
        for name in path.strip(".").split("."):
            if not name:
                continue
            if not isinstance(value, Mapping) or name not in value:
                raise TemplateError(self._where, f"can't evaluate field {name} in {path}")
            value = value[name]
        return value

    def _call(self, name: str, arguments: tuple[Fact, ...]) -> Fact:
        function = self._context.functions.get(name) or _BUILTINS.get(name)
        if function is None:
            raise TemplateError(self._where, f"function {name!r} not defined")
        try:
            return function(*arguments)
        except (LookupError, TypeError, ValueError) as error:
            raise TemplateError(self._where, f"error calling {name}: {error}") from error


def _join(separator: Fact, *parts: Fact) -> str:
    return str(separator).join(_shown(part) for part in parts)


def _index(container: Fact, *keys: Fact) -> Fact:
    value = container
    for key in keys:
        if not isinstance(value, Mapping):
            raise TypeError(f"can't index item of type {type(value).__name__}")
        value = value.get(str(key), "")  # Go's maps yield their zero value
    return value


def _or(*values: Fact) -> Fact:
    return next((value for value in values if value), values[-1])


def _and(*values: Fact) -> Fact:
    return next((value for value in values if not value), values[-1])


_BUILTINS: Mapping[str, Function] = {
    "join": _join,
    "index": _index,
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda first, other: first != other,
    "not": lambda value: not value,
    "or": _or,
    "and": _and,
    "print": lambda *values: "".join(_shown(value) for value in values),
    "len": len,
}


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text[1:-1])


def _shown(value: Fact) -> str:
    """As Go prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_shown(value[key])}" for key in sorted(value)) + "]"
    return str(value)
