"""What a request leaves out or words in an older way, as it is kept. Pure."""

from functools import cache
from typing import TypeVar

from msgspec.structs import fields, replace

from cluster.api.specs import (
    ContainerSpec,
    DNSConfig,
    FileTarget,
    Limits,
    Placement,
    PortConfig,
    ReplicatedMode,
    Reservations,
    Resources,
    RuntimeTarget,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from cluster.api.values import Value

Kept = TypeVar("Kept", bound=Value)


def normalized(spec: ServiceSpec) -> ServiceSpec:
    """Networks in the task template, a mode with its numbers, ports with protocol and publish mode, mounts with their type, updates with
    order and failure action.

    Update and rollback configs that are absent stay absent: clients show and compare what they sent.
    """
    template = canonical(_with_networks(spec))
    if (container := template.container_spec) is not None and any(not mount.type for mount in container.mounts):
        mounts = tuple(mount if mount.type else replace(mount, type="bind") for mount in container.mounts)
        template = replace(template, container_spec=replace(container, mounts=mounts))
    endpoint = spec.endpoint_spec
    if endpoint is not None and endpoint.ports:
        endpoint = replace(endpoint, ports=tuple(map(_port, endpoint.ports)))
    return replace(
        spec,
        task_template=template,
        networks=spec.networks if spec.task_template.networks in ((), spec.networks) else (),
        mode=_mode(spec.mode),
        endpoint_spec=endpoint,
        update_config=_update(spec.update_config),
        rollback_config=_update(spec.rollback_config),
    )


def canonical(template: TaskSpec) -> TaskSpec:
    """The one form of everything that means the same, so that a client that posts back what it read changes nothing.

    Docker shows `Isolation: default`, `Runtime: container`, owners 0 and empty sub-objects for what nobody asked for. The empty
    ones that it gives back to who sent them are kept: templates of clients look into them.
    """
    template = replace(template, runtime="" if template.runtime == "container" else template.runtime)
    container = template.container_spec
    if container is not None:
        secrets = tuple(replace(reference, file=_owned(reference.file)) for reference in container.secrets)
        configs = tuple(replace(reference, file=_owned(reference.file)) for reference in container.configs)
        isolation = "" if container.isolation == "default" else container.isolation
        template = replace(template, container_spec=replace(container, secrets=secrets, configs=configs, isolation=isolation))
    return _without_empty(template)


def _owned(file: FileTarget | None) -> FileTarget | None:
    return None if file is None else replace(file, uid=file.uid or "0", gid=file.gid or "0")


_GIVEN_BACK = (Resources, Limits, Reservations, Placement, DNSConfig)
_SAY_SOMETHING = (RuntimeTarget, ContainerSpec)
"""By being there; an empty container is refused later."""


def _without_empty(value: Kept) -> Kept:
    """Other members that say nothing count as absent."""
    changed: dict[str, object] = {}
    for name, may_be_absent in _members(type(value)):
        member = getattr(value, name)
        if not isinstance(member, Value):
            continue
        fresh: object = _without_empty(member)
        if may_be_absent and fresh == type(member)() and not isinstance(member, _GIVEN_BACK + _SAY_SOMETHING):
            fresh = None
        if fresh is not member:
            changed[name] = fresh
    return replace(value, **changed) if changed else value


@cache
def _members(kind: type[Value]) -> tuple[tuple[str, bool], ...]:
    """The members of a kind of value, each with whether None stands for its absence."""
    return tuple((field.name, field.default is None) for field in fields(kind))


def _with_networks(spec: ServiceSpec) -> TaskSpec:
    template = spec.task_template
    return template if template.networks or not spec.networks else replace(template, networks=spec.networks)


def _mode(mode: ServiceMode) -> ServiceMode:
    if mode == ServiceMode():
        return ServiceMode(replicated=ReplicatedMode(replicas=1))
    if mode.replicated is not None and mode.replicated.replicas is None:
        return replace(mode, replicated=ReplicatedMode(replicas=1))
    job = mode.replicated_job
    if job is not None and (job.max_concurrent is None or job.total_completions is None):
        concurrent = 1 if job.max_concurrent is None else job.max_concurrent
        completions = concurrent if job.total_completions is None else job.total_completions
        return replace(mode, replicated_job=replace(job, max_concurrent=concurrent, total_completions=completions))
    return mode


def _update(config: UpdateConfig | None) -> UpdateConfig | None:
    return config and replace(config, order=config.order or "stop-first", failure_action=config.failure_action or "pause")


def _port(port: PortConfig) -> PortConfig:
    protocol, publish_mode = port.protocol.lower() or "tcp", port.publish_mode.lower() or "ingress"
    return replace(port, protocol=protocol, publish_mode=publish_mode)
