"""From an assigned task to the container that an engine is asked for: templates expanded, labels set, docker.sock rewritten. Pure."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from cluster.api.assignment import AssignedConfig, AssignedSecret, AssignedTask
from cluster.api.ids import Id
from cluster.api.specs import ContainerSpec, DeviceRequest, FileTarget, Mount
from cluster.api.templates import Context, Fact, expand, expand_container, facts
from cluster.api.values import Value
from worker.ports import ContainerPlan, SandboxPlan

CLUSTER_LABEL = "shoal.cluster"
NODE_LABEL = "com.docker.swarm.node.id"
TASK_LABEL = "com.docker.swarm.task.id"
ENGINE_SOCKETS = frozenset({"/var/run/docker.sock", "/run/docker.sock"})
DEFAULT_MODE = 0o444
GPU = "gpu"


class HostFacts(Value, frozen=True, kw_only=True):
    """What templates and plans need to know of this node."""

    node_id: Id
    cluster_id: Id
    hostname: str
    os: str = "linux"
    architecture: str = ""
    socket: str = ""
    """Shoal's own API socket, put in the place of the engine's in tasks that mount that; empty leaves them the engine's."""


class WantedFile(Value, frozen=True, kw_only=True):
    """A secret or config as a file of a container."""

    content: bytes
    target: str
    """Absolute path in the container."""
    uid: int
    gid: int
    mode: int


class UnusableTask(Exception):
    """The task as written cannot become a container; the text says which part of it and why."""


def container_labels(task: AssignedTask, host: HostFacts) -> Mapping[str, str]:
    """What cAdvisor, Dozzle and Portainer key on, and what a restarted daemon finds its containers by. They win over the spec's own."""
    spec = task.spec.container_spec or ContainerSpec()
    return {
        **spec.labels,
        NODE_LABEL: task.node_id,
        "com.docker.swarm.service.id": task.service_id,
        "com.docker.swarm.service.name": task.service_name,
        "com.docker.swarm.task": "",
        TASK_LABEL: task.id,
        "com.docker.swarm.task.name": task.name,
        CLUSTER_LABEL: host.cluster_id,
    }


def container_plan(task: AssignedTask, host: HostFacts, sandbox: SandboxPlan, files: Sequence[tuple[str, str, bool]]) -> ContainerPlan:
    """Everything that the engine needs. Raises TemplateError for a template that does not expand."""
    spec = expanded(task, host)
    return ContainerPlan(
        name=task.name,
        labels=container_labels(task, host),
        spec=replace(spec, mounts=tuple(_rewritten(mount, host) for mount in spec.mounts), env=(*spec.env, *resource_variables(task))),
        devices=task.devices,
        device_requests=tuple(_own(request, task) for request in task.device_requests),
        resources=task.spec.resources,
        log_driver=task.spec.log_driver,
        sandbox=sandbox,
        host_ports=task.host_ports,
        hostname=spec.hostname,
        files=tuple(files),
    )


def resource_variables(task: AssignedTask) -> tuple[str, ...]:
    """What a task is told of its generic resources, as in Swarm: DOCKER_RESOURCE_GPU=UUID1,UUID2, or their number."""
    resources = task.spec.resources
    asked = resources.reservations.generic_resources if resources is not None and resources.reservations is not None else ()
    counts = {one.discrete_resource_spec.kind: one.discrete_resource_spec.value for one in asked if one.discrete_resource_spec is not None}
    named: dict[str, list[str]] = {}
    for one in task.resources:
        named.setdefault(one.kind, []).append(one.value)
    values = {**{kind: str(count) for kind, count in counts.items()}, **{kind: ",".join(names) for kind, names in named.items()}}
    return tuple(f"DOCKER_RESOURCE_{kind.upper()}={value}" for kind, value in sorted(values.items()))


def _own(request: DeviceRequest, task: AssignedTask) -> DeviceRequest:
    """A number of GPUs becomes those that were given to the task, where the node has them by name."""
    mine = tuple(one.value for one in task.resources if one.kind == GPU)
    if request.count <= 0 or not mine or (GPU,) not in request.capabilities:
        return request
    return replace(request, count=0, device_ids=mine)


def _rewritten(mount: Mount, host: HostFacts) -> Mount:
    if host.socket and mount.type in ("bind", "") and mount.source in ENGINE_SOCKETS:
        return replace(mount, source=host.socket)
    return mount


# -- templates --------------------------------------------------------------------------------------------------------------------------
def facts_of(task: AssignedTask, host: HostFacts) -> Mapping[str, Fact]:
    return facts(
        service=(task.service_id, task.service_name),
        labels=task.service_labels,
        node=(host.node_id, host.hostname),
        platform=(host.os, host.architecture),
        task=(task.id, task.name),
        slot=str(task.slot or task.node_id),
    )


def expanded(task: AssignedTask, host: HostFacts) -> ContainerSpec:
    spec = task.spec.container_spec
    if spec is None:
        raise UnusableTask(f"task {task.id} has no container spec; only containers can be run")
    return expand_container(spec, Context(facts=facts_of(task, host)))


# -- secrets and configs as files ----------------------------------------------------------------------------------------------------------
def missing_files(task: AssignedTask, secrets: Mapping[Id, AssignedSecret], configs: Mapping[Id, AssignedConfig]) -> tuple[str, ...]:
    """Names of the secrets and configs that the task needs and that have not come."""
    spec = task.spec.container_spec or ContainerSpec()
    return (
        *(f"secret {ref.secret_name}" for ref in spec.secrets if ref.secret_id not in secrets),
        *(f"config {ref.config_name}" for ref in spec.configs if ref.runtime is None and ref.config_id not in configs),
    )


def wanted_files(
    task: AssignedTask, host: HostFacts, secrets: Mapping[Id, AssignedSecret], configs: Mapping[Id, AssignedConfig]
) -> tuple[WantedFile, ...]:
    """The files of a task, templated ones expanded. Raises TemplateError, UnusableTask; KeyError never after `missing_files` is empty."""
    spec = expanded(task, host)
    context = _payload_context(task, host, spec, secrets, configs)
    wanted = [
        _wanted(_payload(secrets[ref.secret_id], context), ref.file or FileTarget(name=ref.secret_name, mode=DEFAULT_MODE), "/run/secrets/")
        for ref in spec.secrets
    ]
    wanted += [
        _wanted(_payload(configs[ref.config_id], context), ref.file or FileTarget(name=ref.config_name, mode=DEFAULT_MODE), "/")
        for ref in spec.configs
        if ref.runtime is None
    ]
    return tuple(wanted)


def _payload(source: AssignedSecret | AssignedConfig, context: Context) -> bytes:
    if not source.templated:
        return source.data
    try:
        return expand(source.data.decode(), context, where=source.name).encode()
    except UnicodeDecodeError as error:
        raise UnusableTask(f"{source.name} is a template but not UTF-8 text: {error.reason}") from error


def _payload_context(
    task: AssignedTask,
    host: HostFacts,
    spec: ContainerSpec,
    secrets: Mapping[Id, AssignedSecret],
    configs: Mapping[Id, AssignedConfig],
) -> Context:
    """Besides the facts: `env`, and the task's own secrets and configs by the name of their file."""
    by_secret_target = {ref.file.name if ref.file else ref.secret_name: secrets[ref.secret_id].data for ref in spec.secrets}
    by_config_target = {
        ref.file.name if ref.file else ref.config_name: configs[ref.config_id].data for ref in spec.configs if ref.runtime is None
    }
    environment = dict(entry.partition("=")[::2] for entry in spec.env)
    return Context(
        facts=facts_of(task, host),
        functions={
            "env": lambda name: environment.get(name, ""),
            "secret": lambda name: _named("secret", by_secret_target, name),
            "config": lambda name: _named("config", by_config_target, name),
        },
    )


def _named(kind: str, payloads: Mapping[str, bytes], target: str) -> str:
    if target not in payloads:
        raise ValueError(f"{kind} target {target} not found")
    return payloads[target].decode()


def _wanted(content: bytes, file: FileTarget, folder: str) -> WantedFile:
    target = file.name if file.name.startswith("/") else folder + file.name
    return WantedFile(
        content=content, target=target, uid=_number(file, "UID", file.uid), gid=_number(file, "GID", file.gid), mode=file.mode
    )


def _number(file: FileTarget, what: str, text: str) -> int:
    if text and not text.isdecimal():
        raise UnusableTask(f"{what} {text!r} of file {file.name} is not a number")
    return int(text or 0)
