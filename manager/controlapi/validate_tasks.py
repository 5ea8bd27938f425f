"""Task templates: every check that Swarm makes of a container, its resources, restarts and placement before it accepts them. Pure."""

import re
from collections.abc import Mapping

from cluster.api.constraints import parse_all
from cluster.api.errors import InvalidArgument
from cluster.api.specs import (
    ConfigReference,
    ContainerSpec,
    FileTarget,
    GenericResource,
    HealthConfig,
    Limits,
    Mount,
    Placement,
    Reservations,
    Resources,
    RestartPolicy,
    SecretReference,
    TaskSpec,
)
from cluster.api.templates import Context, TemplateError, expand_container, facts

_MIN_NANO_CPUS = 1_000_000
_MIN_MEMORY = 4 << 20
_MILLISECOND = 1_000_000

_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_DOMAIN}/)?{_PART}(?:/{_PART})*(?::[\w][\w.-]{{0,127}})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{{32,}})?\Z",
    re.ASCII,
)

_LONGEST_IMAGE = 1000

_PROPAGATIONS = ("", "private", "rprivate", "shared", "rshared", "slave", "rslave")
_MOUNT_TYPES = ("bind", "volume", "tmpfs", "npipe", "cluster", "image")
_RESTART_CONDITIONS = ("", "none", "on-failure", "any")


def check_template(template: TaskSpec) -> None:
    """Raises InvalidArgument for the first thing that is wrong."""
    if template.runtime not in ("", "container"):
        raise InvalidArgument(f"TaskSpec: runtime {template.runtime!r} is not supported, only containers are")
    if template.container_spec is None:
        raise InvalidArgument("ContainerSpec: image reference must be provided")
    if template.force_update < 0:
        raise InvalidArgument(f"TaskSpec: ForceUpdate cannot be negative: {template.force_update}")
    _check_resources(template.resources)
    _check_restart_policy(template.restart_policy)
    _check_placement(template.placement)
    check_container(template.container_spec)


def check_expansion(template: TaskSpec, *, name: str, labels: Mapping[str, str]) -> None:
    """Try what is a template on a made-up task: what cannot be expanded there would be rejected by every node."""
    made_up = facts(
        service=("id", name), labels=labels, node=("id", "host"), platform=("linux", "x86_64"), task=("id", f"{name}.1.id"), slot="1"
    )
    try:
        expand_container(template.container_spec or ContainerSpec(), Context(facts=made_up))
    except TemplateError as problem:
        raise InvalidArgument(f"ContainerSpec: {problem}") from problem


def check_container(container: ContainerSpec) -> None:
    check_image(container.image)
    _check_mounts(container.mounts)
    _check_health(container.healthcheck)
    check_secret_references(container.secrets)
    check_config_references(container)
    if (container.stop_grace_period or 0) < 0:
        raise InvalidArgument("ContainerSpec: StopGracePeriod cannot be negative")
    for variable in container.env:
        if not variable or variable.startswith("="):
            raise InvalidArgument(f"ContainerSpec: invalid environment variable: {variable!r}")


def check_image(image: str) -> None:
    if not image:
        raise InvalidArgument("ContainerSpec: image reference must be provided")
    if len(image) > _LONGEST_IMAGE or not _IMAGE.match(image):
        raise InvalidArgument(f"ContainerSpec: {image[:_LONGEST_IMAGE]!r} is not a valid repository/tag")


def _check_mounts(mounts: tuple[Mount, ...]) -> None:
    seen: set[str] = set()
    for mount in mounts:
        kind = mount.type or "bind"
        if kind not in _MOUNT_TYPES:
            raise InvalidArgument(f"invalid MountType: {mount.type!r}; use one of {', '.join(_MOUNT_TYPES)}")
        if not mount.target:
            raise InvalidArgument("ContainerSpec: a mount needs a Target")
        if mount.target in seen:
            raise InvalidArgument(f"ContainerSpec: duplicate mount point: {mount.target}")
        seen.add(mount.target)
        if kind == "bind" and not mount.source:
            raise InvalidArgument(f'invalid mount config for type "bind": field Source must not be empty (mount at {mount.target})')
        if mount.bind_options is not None and mount.bind_options.propagation not in _PROPAGATIONS:
            raise InvalidArgument(
                f"invalid MountPropagation: {mount.bind_options.propagation!r}; use one of {', '.join(_PROPAGATIONS[1:])}"
            )
        if mount.tmpfs_options is not None and mount.tmpfs_options.mode < 0:
            raise InvalidArgument(f"invalid mode {mount.tmpfs_options.mode} of the mount at {mount.target}: it cannot be negative")
        if kind == "tmpfs" and mount.source:
            raise InvalidArgument(f'invalid mount config for type "tmpfs": field Source must not be specified (mount at {mount.target})')


def _check_health(health: HealthConfig | None) -> None:
    if health is None:
        return
    for field, value in (
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ):
        if value and value < _MILLISECOND:
            raise InvalidArgument(f"ContainerSpec: {field} in HealthConfig cannot be less than one millisecond")
    if health.retries < 0:
        raise InvalidArgument("ContainerSpec: Retries in HealthConfig cannot be negative")


# -- secrets and configs -------------------------------------------------------------------------------------------------------------
def check_secret_references(references: tuple[SecretReference, ...]) -> None:
    """Each names a secret by id and name, and a file of its own in the container."""
    targets: dict[str, str] = {}
    for reference in references:
        if not reference.secret_id or not reference.secret_name:
            raise InvalidArgument("malformed secret reference: it needs SecretID and SecretName")
        if reference.file is None or not reference.file.name:
            raise InvalidArgument(f"malformed secret reference, no target provided for secret {reference.secret_name!r}")
        _check_target("secret", targets, reference.secret_name, reference.file)


def check_config_references(container: ContainerSpec) -> None:
    targets: dict[str, str] = {}
    for reference in container.configs:
        if not reference.config_id or not reference.config_name:
            raise InvalidArgument("malformed config reference: it needs ConfigID and ConfigName")
        if reference.file is None and reference.runtime is None:
            raise InvalidArgument(f"malformed config reference, no target provided for config {reference.config_name!r}")
        if reference.file is not None:
            if not reference.file.name:
                raise InvalidArgument(f"malformed config reference, no target provided for config {reference.config_name!r}")
            _check_target("config", targets, reference.config_name, reference.file)
    _check_credentials(container, container.configs)


def _check_target(kind: str, targets: dict[str, str], name: str, file: FileTarget) -> None:
    if file.mode < 0:
        raise InvalidArgument(f"invalid mode {file.mode} of {kind} {name!r}: it cannot be negative")
    if file.name in targets:
        raise InvalidArgument(f"{kind} references '{targets[file.name]}' and '{name}' have a conflicting target: '{file.name}'")
    targets[file.name] = name


def _check_credentials(container: ContainerSpec, configs: tuple[ConfigReference, ...]) -> None:
    spec = None if container.privileges is None else container.privileges.credential_spec
    if spec is None:
        return
    if sum(bool(source) for source in (spec.config, spec.file, spec.registry)) != 1:
        raise InvalidArgument("invalid CredentialSpec: exactly one of Config, File and Registry must be provided")
    if spec.config and not any(one.runtime is not None and spec.config in (one.config_id, one.config_name) for one in configs):
        raise InvalidArgument(f"CredentialSpec refers to config {spec.config!r}, which is not among the Configs with a Runtime target")


# -- resources, restarts, placement --------------------------------------------------------------------------------------------------
def _check_resources(resources: Resources | None) -> None:
    if resources is None:
        return
    for amounts in (resources.limits, resources.reservations):
        if amounts is not None:
            _check_amounts(amounts)
    if resources.limits is not None and resources.limits.pids < -1:
        raise InvalidArgument(f"invalid pids limit {resources.limits.pids}: it is a number of processes, or 0 or -1 for no limit")
    if resources.reservations is not None:
        for generic in resources.reservations.generic_resources:
            _check_generic(generic)


def _check_amounts(amounts: Limits | Reservations) -> None:
    if amounts.nano_cpus and amounts.nano_cpus < _MIN_NANO_CPUS:
        raise InvalidArgument(f"invalid cpu value {amounts.nano_cpus / 1e9:g}: Must be at least {_MIN_NANO_CPUS / 1e9:g}")
    if amounts.memory_bytes and amounts.memory_bytes < _MIN_MEMORY:
        raise InvalidArgument(f"invalid memory value {amounts.memory_bytes}: Must be at least 4MiB")


def _check_generic(generic: GenericResource) -> None:
    discrete, named = generic.discrete_resource_spec, generic.named_resource_spec
    kind = discrete.kind if discrete is not None else named.kind if named is not None else ""
    if not kind:
        raise InvalidArgument("invalid generic resource: it needs a Kind")
    if discrete is not None and discrete.value <= 0:
        raise InvalidArgument(f"invalid generic resource {kind!r}: Value must be positive, not {discrete.value}")


def _check_restart_policy(policy: RestartPolicy | None) -> None:
    if policy is None:
        return
    if policy.condition not in _RESTART_CONDITIONS:
        raise InvalidArgument(f"invalid RestartPolicy Condition: {policy.condition!r}; use none, on-failure or any")
    if (policy.delay or 0) < 0:
        raise InvalidArgument("TaskSpec: restart-delay cannot be negative")
    if (policy.window or 0) < 0:
        raise InvalidArgument("TaskSpec: restart-window cannot be negative")
    if (policy.max_attempts or 0) < 0:
        raise InvalidArgument("TaskSpec: restart-max-attempts cannot be negative")


def _check_placement(placement: Placement | None) -> None:
    if placement is None:
        return
    parse_all(placement.constraints)
    if placement.max_replicas < 0:
        raise InvalidArgument(f"invalid MaxReplicas {placement.max_replicas}: it cannot be negative")
