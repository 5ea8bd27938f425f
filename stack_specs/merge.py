"""Lay one stack file over another, as docker does for several -c files.

The rule for what services have in common: a value that is set wins, a list is appended, a mapping is merged key by key. An empty value
of the later file counts as not set. What has a rule of its own stands in `_SPECIAL`. Networks, volumes, secrets and configs of the
same name are replaced whole.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from stack_specs.model import (
    Deploy,
    FileReference,
    HealthCheck,
    Logging,
    Mount,
    Part,
    RestartPolicy,
    Rollout,
    Service,
    ServiceNetwork,
    Stack,
)
from stack_specs.ports import Port

Piece = TypeVar("Piece", bound=Part)


def merge(base: Stack, over: Stack) -> Stack:
    """`base` with `over` on top of it. The version and the x- keys of the top level are those of the first file."""
    return Stack(
        version=base.version,
        services=_services(base.services, over.services),
        networks={**base.networks, **over.networks},
        volumes={**base.volumes, **over.volumes},
        secrets={**base.secrets, **over.secrets},
        configs={**base.configs, **over.configs},
        extras=base.extras,
        documents=(*base.documents, *over.documents),
        warnings=(*base.warnings, *over.warnings),
    )


def _services(base: Iterable[Service], over: Iterable[Service]) -> tuple[Service, ...]:
    services = {service.name: service for service in base}
    for service in over:
        services[service.name] = _piece(services[service.name], service) if service.name in services else service
    return tuple(services.values())


def _piece(base: Piece, over: Piece) -> Piece:
    """Merge two values of one type, attribute by attribute."""
    merged = {}
    for name in base.__struct_fields__:
        rule = _SPECIAL.get((type(base), name), _value)
        merged[name] = rule(getattr(base, name), getattr(over, name))
    return type(base)(**merged)


# `Any` below: these rules work on attributes of every type, and give back the type that they were given.


def _value(base: Any, over: Any) -> Any:
    match base, over:
        case _, None:
            return base
        case None, _:
            return over
        case Part(), Part():
            return _piece(base, over)
        case tuple(), tuple():
            return (*base, *over)
        case Mapping(), Mapping():
            return {**base, **over}
        case _:
            return over or base


def _if_given(base: Any, over: Any) -> Any:
    return base if over is None else over


def _if_not_empty(base: Any, over: Any) -> Any:
    return over or base


def _environment(base: Mapping[str, str | None], over: Mapping[str, str | None]) -> dict[str, str | None]:
    """An empty value does not replace one that is not."""
    return {**base, **{name: value for name, value in over.items() if value or not base.get(name)}}


def _logging(base: Logging | None, over: Logging | None) -> Logging | None:
    """Options are merged for one driver; another driver replaces them. Docker loses them if the first file has none, and so do we."""
    if base is None or over is None:
        return over or base
    if base.driver and over.driver and base.driver != over.driver:
        return over
    options = None if base.options is None else {**base.options, **(over.options or {})}
    return Logging(driver=base.driver or over.driver, options=options)


def _networks(base: Mapping[str, ServiceNetwork | None], over: Mapping[str, ServiceNetwork | None]) -> dict[str, ServiceNetwork | None]:
    merged = dict(base)
    for name, network in over.items():
        merged[name] = _network(merged.get(name), network)
    return merged


def _network(base: ServiceNetwork | None, over: ServiceNetwork | None) -> ServiceNetwork | None:
    if base is None or over is None:
        return over or base
    return msgspec.structs.replace(
        base,
        aliases=over.aliases,
        ipv4_address=over.ipv4_address or base.ipv4_address,
        ipv6_address=over.ipv6_address or base.ipv6_address,
    )


def _extras(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        held = merged.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            merged[key] = _extras(held, value)
        elif isinstance(held, list) and isinstance(value, list):
            merged[key] = [*held, *value]
        else:
            merged[key] = value
    return merged


def _keyed(key: Callable[[Any], Any]) -> Callable[[tuple[Any, ...], tuple[Any, ...]], tuple[Any, ...]]:
    """A rule for lists whose items have a key: the later item of a key wins, and the list is sorted by it.

    It holds for two items of one file as well, if a later file has the service at all.
    """

    def rule(base: tuple[Any, ...], over: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(sorted({key(item): item for item in (*base, *over)}.values(), key=key)) if base else over

    return rule


def _source(reference: FileReference) -> str:
    return reference.source


def _target(mount: Mount) -> str:
    return mount.target


def _published(port: Port) -> int:
    return port.published


_SPECIAL: Mapping[tuple[type, str], Callable[[Any, Any], Any]] = {
    (Service, "command"): _if_not_empty,
    (Service, "entrypoint"): _if_not_empty,
    (Service, "environment"): _environment,
    (Service, "logging"): _logging,
    (Service, "networks"): _networks,
    (Service, "secrets"): _keyed(_source),
    (Service, "configs"): _keyed(_source),
    (Service, "ports"): _keyed(_published),
    (Service, "volumes"): _keyed(_target),
    (Service, "extras"): _extras,
    (Deploy, "replicas"): _if_given,
    (HealthCheck, "retries"): _if_given,
    (RestartPolicy, "max_attempts"): _if_given,
    (Rollout, "parallelism"): _if_given,
}
