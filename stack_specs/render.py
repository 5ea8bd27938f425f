"""Write a stack back as one YAML file: what `stack config` prints."""

from collections.abc import Mapping

import msgspec
import yaml

from stack_specs.model import External, Part, Service, Stack, Ulimit, Volume
from stack_specs.ports import Port
from stack_specs.units import Bytes, Duration
from stack_specs.values import Timestamp, resolve

_WIDE = 2**31 - 1


def dump(stack: Stack) -> str:
    """The stack as YAML: mappings sorted by key, the keys of the grammar in the order of the model."""
    tree: dict[str, object] = {
        "version": stack.version,
        "services": {service.name: _tree(service) for service in sorted(stack.services, key=lambda service: service.name)},
    }
    for section in ("networks", "volumes", "secrets", "configs"):
        members: Mapping[str, object] = getattr(stack, section)
        if members:
            tree[section] = {name: _tree(members[name]) for name in sorted(members)}
    tree |= {key: _tree(value) for key, value in sorted(stack.extras.items())}
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=_WIDE)


class _Dumper(yaml.CSafeDumper):
    """Quotes what our own reader would not take for text, and keeps the lines of longer texts."""


def _text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if isinstance(resolve(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _tree(value: object) -> object:
    match value:
        case Ulimit(single=single) if single:
            return single
        case External(name=name, external=external):
            return {"name": name} if name else external
        case Duration():
            return str(value)
        case Bytes():
            return f"{int(value)}"
        case Timestamp():
            return value.rfc3339
        case Part() | Port():
            return _part(value)
        case Mapping():
            return {name: _tree(value[name]) for name in sorted(value)}
        case list() | tuple():
            return [_tree(item) for item in value]
        case _:
            return value


def _part(part: msgspec.Struct) -> dict[str, object]:
    """The attributes that the file set: not None, and not zero or empty unless None is what stands for "not written"."""
    defaults = dict(zip(reversed(part.__struct_fields__), reversed(part.__struct_defaults__), strict=False))
    tree: dict[str, object] = {}
    for name in part.__struct_fields__:
        value = getattr(part, name)
        written = _tree(value)
        zero = not value or written == {} or written is False
        optional = defaults.get(name, value) is None and not isinstance(value, Mapping)
        required = name not in defaults
        if name not in _APART.get(type(part), ("extras",)) and value is not None and (required or optional or not zero):
            tree[_RENAMED.get((type(part), name), name)] = written
    extras: Mapping[str, object] = getattr(part, "extras", {})
    return tree | {name: _tree(extra) for name, extra in sorted(extras.items())}


_APART: Mapping[type, tuple[str, ...]] = {Service: ("name", "extras")}
_RENAMED: Mapping[tuple[type, str], str] = {(Volume, "cluster_spec"): "x-cluster-spec"}
