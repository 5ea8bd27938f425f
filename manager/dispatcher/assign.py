"""6 DELIVER: what a node is told to run. Pure; see docs/design/dispatcher.md.

A `Share` is what a node was told so far. `complete` starts one, `step` brings it up to a later snapshot by the tasks that were touched.
A node gets the tasks that are placed on it, the networks of those tasks, and the secrets and configs of those that have not ended.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from cluster.api.assignment import AssignedAttachment, AssignedConfig, AssignedSecret, AssignedTask, Assignments
from cluster.api.endpoint import OverlayNetwork
from cluster.api.ids import Id
from cluster.api.objects import Network, Service, Task
from cluster.api.specs import TaskSpec
from cluster.api.states import TaskState
from manager.store.snapshot import Snapshot

DRAIN_TIMEOUT = 5_000_000_000
MTU_OPTION = "com.docker.network.driver.mtu"


class Share(Struct, frozen=True, kw_only=True, gc=False):
    """What a node has been told, as of one version."""

    version: int = 0
    tasks: Mapping[Id, AssignedTask] = {}
    needs: Mapping[Id, "Needs"] = {}
    """By task that has not ended, if it needs anything."""
    secrets: Mapping[Id, int] = {}
    """id -> version"""
    configs: Mapping[Id, int] = {}


class Needs(Struct, frozen=True, gc=False):
    """What a task's container refers to."""

    secrets: tuple[Id, ...]
    configs: tuple[Id, ...]


def complete(now: Snapshot, node_id: Id, *, version: int) -> tuple[Share, Assignments]:
    """All that the node is to have, and the message that says so."""
    share, message = _advanced(now, node_id, Share(), touched=now.tasks_on(node_id), version=version)
    return share, replace(message, complete=True, applies_to=0)


def step(now: Snapshot, node_id: Id, share: Share, touched: Iterable[Id], *, version: int) -> tuple[Share, Assignments | None]:
    """The share at a later version; None for a message when the node need not hear of it."""
    after, message = _advanced(now, node_id, share, touched=touched, version=version)
    told = (message.tasks, message.secrets, message.configs, message.gone_tasks, message.gone_secrets, message.gone_configs)
    return (after, message) if any(told) else (replace(after, version=share.version), None)


def _advanced(now: Snapshot, node_id: Id, share: Share, *, touched: Iterable[Id], version: int) -> tuple[Share, Assignments]:
    tasks, needs = dict(share.tasks), dict(share.needs)
    changed, gone = [], []
    for task_id in sorted(set(touched)):
        task = now.tasks.get(task_id)
        if task is None or not _is_told(task, node_id):
            needs.pop(task_id, None)
            if tasks.pop(task_id, None) is not None:
                gone.append(task_id)
            continue
        if (needed := _needs(now, task)) is None:
            needs.pop(task_id, None)
        else:
            needs[task_id] = needed
        assigned = assigned_task(now, task, before=tasks.get(task_id), version=version)
        if _is_news(tasks.get(task_id), assigned):
            tasks[task_id] = assigned
            changed.append(assigned)
    secrets = {one: now.secrets[one].version for need in needs.values() for one in need.secrets if one in now.secrets}
    configs = {one: now.configs[one].version for need in needs.values() for one in need.configs if one in now.configs}
    message = Assignments(
        version=version,
        applies_to=share.version,
        tasks=tuple(changed),
        secrets=tuple(_secret(now, one) for one in _renewed(secrets, share.secrets)),
        configs=tuple(_config(now, one) for one in _renewed(configs, share.configs)),
        networks=_networks(now, changed),
        gone_tasks=tuple(gone),
        gone_secrets=tuple(sorted(share.secrets.keys() - secrets.keys())),
        gone_configs=tuple(sorted(share.configs.keys() - configs.keys())),
    )
    return Share(version=version, tasks=tasks, needs=needs, secrets=secrets, configs=configs), message


def _is_told(task: Task, node_id: Id) -> bool:
    """Placed on this node and not given up: an ended task stays until it is forgotten, so that its logs do."""
    return task.node_id == node_id and TaskState.ASSIGNED <= task.state < TaskState.ORPHANED


def _is_news(told: AssignedTask | None, assigned: AssignedTask) -> bool:
    """How far the task has come the node knows best: it reported it. It is told with the rest, and never by itself."""
    return told is None or (told != assigned and replace(told, state=assigned.state) != assigned)


def _renewed(wanted: Mapping[Id, int], told: Mapping[Id, int]) -> list[Id]:
    return sorted(one for one, version in wanted.items() if told.get(one) != version)


# -- tasks -----------------------------------------------------------------------------------------------------------------------------
def assigned_task(now: Snapshot, task: Task, *, before: AssignedTask | None, version: int) -> AssignedTask:
    """The task as its node sees it. `before` keeps what only the service knew, once that is gone, and the endpoint version once set."""
    template = now.template_of(task)
    service = now.services.get(task.service_id)
    attachments = tuple(AssignedAttachment(network_id=one.network_id, address=one.address, aliases=one.aliases) for one in task.attachments)
    publishes = before is not None and before.publishes if service is None else _publishes(service)
    return AssignedTask(
        id=task.id,
        service_id=task.service_id,
        service_name=template.service_name,
        slot=task.slot,
        node_id=task.node_id,
        spec=template.spec,
        desired_state=task.desired_state,
        state=task.state,
        attachments=attachments,
        host_ports=template.host_ports,
        publishes=publishes,
        listens=() if service is None else _listens(service),
        service_labels=template.service_labels,
        registry_auth=(before.registry_auth if before is not None else "") if service is None else service.registry_auth,
        drain_timeout=(before.drain_timeout if before is not None else DRAIN_TIMEOUT) if service is None else _drain_timeout(service),
        endpoint_version=_endpoint_version(task, before, version=version) if attachments or publishes else 0,
        readiness=(None if before is None else before.readiness) if service is None else service.extensions.readiness,
        on_disconnect=("" if before is None else before.on_disconnect) if service is None else service.extensions.on_disconnect,
        devices=template.devices,
        device_requests=template.device_requests,
        resources=task.resources,
    )


def _endpoint_version(task: Task, before: AssignedTask | None, *, version: int) -> int:
    """Endpoints of any version from which on the task was told to stop are without it; the first that we notice is kept."""
    if task.desired_state < TaskState.SHUTDOWN:
        return 0
    return before.endpoint_version if before is not None and before.endpoint_version else version


def _publishes(service: Service) -> bool:
    spec = service.spec.endpoint_spec
    return spec is not None and any(port.publish_mode != "host" for port in spec.ports)


def _listens(service: Service) -> tuple[int, ...]:
    spec = service.spec.endpoint_spec
    ports = () if spec is None else spec.ports
    return tuple(sorted({port.target_port for port in ports if port.publish_mode != "host" and port.protocol in ("", "tcp")}))


def _drain_timeout(service: Service) -> int:
    timeout = service.extensions.drain_timeout
    return DRAIN_TIMEOUT if timeout is None else timeout


# -- what tasks need -------------------------------------------------------------------------------------------------------------------
def _needs(now: Snapshot, task: Task) -> Needs | None:
    if task.state.ended:
        return None
    spec: TaskSpec = now.template_of(task).spec
    container = spec.container_spec
    if container is None or not (container.secrets or container.configs):
        return None
    return Needs(tuple(one.secret_id for one in container.secrets), tuple(one.config_id for one in container.configs))


def _secret(now: Snapshot, secret_id: Id) -> AssignedSecret:
    secret = now.secrets[secret_id]
    templated = secret.spec.templating is not None
    return AssignedSecret(id=secret.id, version=secret.version, name=secret.spec.name, data=secret.spec.data, templated=templated)


def _config(now: Snapshot, config_id: Id) -> AssignedConfig:
    config = now.configs[config_id]
    templated = config.spec.templating is not None
    return AssignedConfig(id=config.id, version=config.version, name=config.spec.name, data=config.spec.data, templated=templated)


def _networks(now: Snapshot, tasks: Iterable[AssignedTask]) -> tuple[OverlayNetwork, ...]:
    ids = sorted({attachment.network_id for task in tasks for attachment in task.attachments})
    return tuple(overlay(now.networks[network_id]) for network_id in ids if network_id in now.networks)


def overlay(network: Network) -> OverlayNetwork:
    """The network as a node makes it."""
    mtu = network.spec.options.get(MTU_OPTION, "")
    return OverlayNetwork(
        network_id=network.id,
        name=network.spec.name,
        subnet=network.subnet,
        gateway=network.gateway.partition("/")[0],
        vni=network.vni,
        internal=network.spec.internal,
        attachable=network.spec.attachable,
        mtu=int(mtu) if mtu.isdigit() else 0,
        options=network.spec.options,
        guests=network.guests,
    )
