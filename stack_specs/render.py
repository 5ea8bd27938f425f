"""Write a stack back as one YAML file: what `stack config` prints."""

from collections.abc import Mapping

import msgspec
import yaml

from stack_specs.model import External, Part, Service, Stack, Ulimit, Volume
from stack_specs.ports import Port
from stack_specs.units import Bytes, Duration
from stack_specs.values import Timestamp

_WIDE = 2**31


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
    return yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=_WIDE)


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
    """The attributes that are set: not zero, or not None where None is what "not written" means."""
    tree: dict[str, object] = {}
    defaults = dict(zip(reversed(part.__struct_fields__), reversed(part.__struct_defaults__), strict=False))
    for name in part.__struct_fields__:
        value = getattr(part, name)
        if (isinstance(part, Service) and name == "name") or name == "extras":
            continue
        written = _tree(value)
        optional = defaults.get(name, value) is None and not isinstance(value, tuple) and not _is_plain_mapping(value)
        if written is None if optional else not written and name in defaults:
            continue
        tree["x-cluster-spec" if isinstance(part, Volume) and name == "cluster_spec" else name] = written
    extras: Mapping[str, object] = getattr(part, "extras", {})
    return tree | {name: _tree(extra) for name, extra in sorted(extras.items())}


def _is_plain_mapping(value: object) -> bool:
    return isinstance(value, Mapping)
