"""What a request leaves out or words in an older way, as it is kept. Pure."""

from msgspec.structs import replace

from cluster.api.specs import PortConfig, ReplicatedMode, ServiceMode, ServiceSpec, TaskSpec


def normalized(spec: ServiceSpec) -> ServiceSpec:
    """Networks in the task template, a mode with its numbers, ports with protocol and publish mode, mounts with their type.

    Update and rollback configs that are absent stay absent: clients show and compare what they sent.
    """
    template = _with_networks(spec)
    if (container := template.container_spec) is not None and any(not mount.type for mount in container.mounts):
        mounts = tuple(mount if mount.type else replace(mount, type="bind") for mount in container.mounts)
        template = replace(template, container_spec=replace(container, mounts=mounts))
    endpoint = spec.endpoint_spec
    if endpoint is not None and endpoint.ports:
        endpoint = replace(endpoint, ports=tuple(map(_port, endpoint.ports)))
    return replace(spec, task_template=template, networks=(), mode=_mode(spec.mode), endpoint_spec=endpoint)


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


def _port(port: PortConfig) -> PortConfig:
    protocol, publish_mode = port.protocol.lower() or "tcp", port.publish_mode.lower() or "ingress"
    return replace(port, protocol=protocol, publish_mode=publish_mode)
