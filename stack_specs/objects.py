"""Read what services use: networks, volumes, secrets and configs, external ones included."""

from collections.abc import Mapping
from typing import NamedTuple

from stack_specs import paths
from stack_specs.fields import Fields
from stack_specs.model import External, FileObject, Ipam, Network, Subnet, Volume
from stack_specs.surroundings import Surroundings
from stack_specs.values import Value

_CLUSTER_KEYS = ("group", "access_mode", "accessibility_requirements", "capacity_range", "secrets", "availability")


class _Named(NamedTuple):
    """The name of an object and whether it is external, after the older `external: {name: ...}` was seen to."""

    name: str
    external: External


def read_networks(section: Mapping[str, Value], minor: int, around: Surroundings) -> dict[str, Network]:
    """The networks by the name that the stack calls them."""
    return {key: _network(key, _member(section, "networks", key), minor, around) for key in section}


def read_volumes(section: Mapping[str, Value], minor: int, around: Surroundings) -> dict[str, Volume]:
    """The volumes by the name that the stack calls them."""
    return {key: _volume(key, _member(section, "volumes", key), minor, around) for key in section}


def read_secrets(section: Mapping[str, Value], minor: int, around: Surroundings) -> dict[str, FileObject]:
    """The secrets by the name that the stack calls them."""
    return {key: _file_object("secret", key, _member(section, "secrets", key), minor, around) for key in section}


def read_configs(section: Mapping[str, Value], minor: int, around: Surroundings) -> dict[str, FileObject]:
    """The configs by the name that the stack calls them."""
    return {key: _file_object("config", key, _member(section, "configs", key), minor, around) for key in section}


def _member(section: Mapping[str, Value], kind: str, key: str) -> Fields:
    written = Fields(section, (kind,))
    if written.raw(key) is not None and written.child(key) is None:
        raise written.fault(key, "must be a mapping")
    return written.child(key) or Fields({}, (kind, key))


def _named(kind: str, key: str, fields: Fields, *, deprecated: bool, around: Surroundings) -> _Named:
    older = fields.child("external")
    if older is None and not fields.flag("external"):
        return _Named(fields.text("name"), External())
    older_name = older.text("name") if older is not None else ""
    if not older_name:
        return _Named(fields.text("name") or key, External(external=True))
    if fields.text("name"):
        raise fields.fault("external", f"{kind}.external.name and {kind}.name conflict", f"only use {kind}.name")
    if deprecated:
        around.warnings.append(f"{kind} {key}: {kind}.external.name is deprecated in favor of {kind}.name")
    return _Named(older_name, External(external=True))


def _network(key: str, fields: Fields, minor: int, around: Surroundings) -> Network:
    name, external = _named("network", key, fields, deprecated=minor >= 5, around=around)
    ipam = fields.child("ipam")
    return Network(
        name=name,
        driver=fields.text("driver"),
        driver_opts=fields.options("driver_opts"),
        ipam=Ipam() if ipam is None else _ipam(ipam),
        external=external,
        internal=fields.flag("internal"),
        attachable=fields.flag("attachable"),
        labels=fields.labels("labels"),
        extras=fields.extras() if external.external else {},  # docker keeps them for external ones only
    )


def _ipam(fields: Fields) -> Ipam:
    return Ipam(driver=fields.text("driver"), config=tuple(Subnet(subnet=pool.text("subnet")) for pool in fields.children("config")))


def _volume(key: str, fields: Fields, minor: int, around: Surroundings) -> Volume:
    if fields.flag("external") or fields.child("external") is not None:
        for setting in ("driver", "driver_opts", "labels"):
            if fields.raw(setting):
                raise fields.fault(setting, f'conflicting parameters "external" and "{setting}"', "an external volume has its own")
    name, external = _named("volume", key, fields, deprecated=minor >= 4, around=around)
    extras = fields.extras()
    extras.pop("x-cluster-spec", None)
    return Volume(
        name=name,
        driver=fields.text("driver"),
        driver_opts=fields.options("driver_opts"),
        external=external,
        labels=fields.labels("labels"),
        extras=extras if external.external else {},
        cluster_spec=_cluster_spec(fields.child("x-cluster-spec")),
    )


def _cluster_spec(fields: Fields | None) -> dict[str, Value] | None:
    """A cluster volume's own part, with sizes in bytes. It is shown and not deployed, as in docker."""
    if fields is None:
        return None
    spec = {key: fields.raw(key) for key in fields if key in _CLUSTER_KEYS}
    sizes = fields.child("capacity_range")
    if sizes is not None:
        spec["capacity_range"] = {key: str(int(sizes.size(key))) for key in ("required_bytes", "limit_bytes") if sizes.size(key)}
    topology = fields.child("accessibility_requirements")
    if topology is not None:
        spec["accessibility_requirements"] = {
            key: [{"segments": dict(item.labels("segments"))} for item in topology.children(key)]
            for key in ("requisite", "preferred")
            if topology.raw(key)
        }
    return spec


def _file_object(kind: str, key: str, fields: Fields, minor: int, around: Surroundings) -> FileObject:
    name, external = _named(kind, key, fields, deprecated=minor >= 5, around=around)
    driver, file = fields.text("driver"), fields.text("file")
    if not external.external and driver and file:
        raise fields.fault("file", f"{kind}.driver and {kind}.file conflict", f"only use {kind}.driver")
    if not external.external and not driver:
        file = paths.absolute(file, around.working_dir)
    return FileObject(
        name=name,
        file=file,
        external=external,
        labels=fields.labels("labels"),
        extras=fields.extras(),
        driver=driver,
        driver_opts=fields.options("driver_opts"),
        template_driver=fields.text("template_driver"),
    )
