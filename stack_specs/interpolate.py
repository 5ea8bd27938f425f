"""Put variables into the values of a file, as docker does: $NAME, ${NAME}, ${NAME:-default}, ${NAME?complaint}, $$.

Keys are never touched. A value that was changed and stands where a number or a truth value is wanted becomes one. Docker's rules are
kept to the letter, oddities included, because files rely on them:

- what follows $NAME without braces belongs to it from a `-` or `?` on: "$HOST-db" is "db" if HOST is not set;
- a default ends at the first closing brace, and is not looked into for variables;
- of a complaint with a hyphen, what follows the hyphen is taken for a default: ${TAG?set-me} is "me";
- a complaint is forgotten when a later variable of the same value is fine. Docker says nothing then; we warn.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from stack_specs.errors import Fault, KeyPath, dotted
from stack_specs.values import Value

_REFERENCE = r"[_A-Za-z][_A-Za-z0-9]*(?::?[-?][^}]*)?"
_VARIABLE = re.compile(rf"\$(?:(?P<escaped>\$)|(?P<named>{_REFERENCE})|\{{(?P<braced>{_REFERENCE})\}}|(?P<invalid>))")
_WHOLE = re.compile(r"[-+]?[0-9]+")
_FRACTION = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")

_NEEDED = "required variable"

Cast: TypeAlias = Callable[[str], Value]


class _Found(NamedTuple):
    text: str
    complaint: str | None


def interpolate(content: Mapping[str, Value], env: Mapping[str, str], warnings: list[str]) -> dict[str, Value]:
    """The same mapping with every variable in its values replaced; what the user should hear about it is added to `warnings`."""
    work = _Interpolation(env, warnings)
    return {key: work.value(value, (key,)) for key, value in content.items()}


class _Interpolation:
    """One pass over a file."""

    def __init__(self, env: Mapping[str, str], warnings: list[str]) -> None:
        self._env, self._warnings = env, warnings

    def value(self, value: Value, path: KeyPath) -> Value:
        match value:
            case str():
                return self._text(value, path) if "$" in value else value
            case list():
                return [self.value(item, (*path, index)) for index, item in enumerate(value)]
            case dict():
                return {key: self.value(member, (*path, key)) for key, member in value.items()}
            case _:
                return value

    def _text(self, template: str, path: KeyPath) -> Value:
        replaced: list[str] = []
        complaint: str | None = None
        end = 0
        for found in _VARIABLE.finditer(template):
            replacement = substitute(found, self._env, template)
            if complaint is not None and replacement.complaint is None and found["escaped"] is None:
                self._warnings.append(f"{dotted(path)}: {complaint}")
            if found["escaped"] is None:
                complaint = replacement.complaint
            replaced += (template[end : found.start()], replacement.text)
            end = found.end()
        if complaint is not None:
            remedy = (
                "set the variable where the command runs" if complaint.startswith(_NEEDED) else "write $$ for a dollar sign that is meant"
            )
            raise Fault(path, complaint, remedy)
        result = "".join(replaced) + template[end:]
        return result if result == template else _cast(result, path)


def substitute(found: re.Match[str], env: Mapping[str, str], template: str) -> _Found:
    """What one reference stands for. Defaults are looked for before complaints, whatever comes first in the text."""
    if found["escaped"] is not None:
        return _Found("$", None)
    reference = found["named"] or found["braced"]
    if not reference:
        return _Found("", f"invalid interpolation format: {template!r}")
    for separator, decide in _OPERATORS:
        name, found_separator, operand = reference.partition(separator)
        if found_separator:
            return decide(env.get(name), name, operand)
    return _Found(env.get(reference, ""), None)


def _default_if_empty(value: str | None, _: str, default: str) -> _Found:
    return _Found(value or default, None)


def _default_if_unset(value: str | None, _: str, default: str) -> _Found:
    return _Found(default if value is None else value, None)


def _needed_and_not_empty(value: str | None, name: str, complaint: str) -> _Found:
    return _needed(value or None, name, complaint)


def _needed(value: str | None, name: str, complaint: str) -> _Found:
    if value is None:
        return _Found("", f"{_NEEDED} {name} is missing a value: {complaint}")
    return _Found(value, None)


_OPERATORS: tuple[tuple[str, Callable[[str | None, str, str], _Found]], ...] = (
    (":-", _default_if_empty),
    ("-", _default_if_unset),
    (":?", _needed_and_not_empty),
    ("?", _needed),
)


def _whole(text: str) -> Value:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _fraction(text: str) -> Value:
    if not _FRACTION.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def _truth(text: str) -> Value:
    word = text.lower()
    if word in ("y", "yes", "true", "on"):
        return True
    if word in ("n", "no", "false", "off"):
        return False
    raise ValueError(f"{text!r} is not true or false")


_CASTS: Mapping[tuple[str, ...], Cast] = {
    ("services", "*", "configs", "[]", "mode"): _whole,
    ("services", "*", "secrets", "[]", "mode"): _whole,
    ("services", "*", "healthcheck", "retries"): _whole,
    ("services", "*", "healthcheck", "disable"): _truth,
    ("services", "*", "deploy", "replicas"): _whole,
    ("services", "*", "deploy", "update_config", "parallelism"): _whole,
    ("services", "*", "deploy", "update_config", "max_failure_ratio"): _fraction,
    ("services", "*", "deploy", "rollback_config", "parallelism"): _whole,
    ("services", "*", "deploy", "rollback_config", "max_failure_ratio"): _fraction,
    ("services", "*", "deploy", "restart_policy", "max_attempts"): _whole,
    ("services", "*", "deploy", "placement", "max_replicas_per_node"): _whole,
    ("services", "*", "ports", "[]", "target"): _whole,
    ("services", "*", "ports", "[]", "published"): _whole,
    ("services", "*", "ulimits", "*"): _whole,
    ("services", "*", "ulimits", "*", "hard"): _whole,
    ("services", "*", "ulimits", "*", "soft"): _whole,
    ("services", "*", "oom_score_adj"): _whole,
    ("services", "*", "privileged"): _truth,
    ("services", "*", "read_only"): _truth,
    ("services", "*", "stdin_open"): _truth,
    ("services", "*", "tty"): _truth,
    ("services", "*", "volumes", "[]", "read_only"): _truth,
    ("services", "*", "volumes", "[]", "volume", "nocopy"): _truth,
    ("networks", "*", "external"): _truth,
    ("networks", "*", "internal"): _truth,
    ("networks", "*", "attachable"): _truth,
    ("volumes", "*", "external"): _truth,
    ("secrets", "*", "external"): _truth,
    ("configs", "*", "external"): _truth,
}


def _cast(text: str, path: KeyPath) -> Value:
    # Docker joins the path with dots before it compares, so a service that has a dot in its name gets no casts.
    parts = ".".join("[]" if isinstance(key, int) else key for key in path).split(".")
    for pattern, cast in _CASTS.items():
        if len(pattern) == len(parts) and all(wanted in ("*", part) for wanted, part in zip(pattern, parts, strict=True)):
            try:
                return cast(text)
            except ValueError as error:
                raise Fault(path, f"after its variables were put in, {error}", "correct the variable's value") from error
    return text
