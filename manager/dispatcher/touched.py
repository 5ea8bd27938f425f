"""What a change of the store means to sessions: whose tasks, which services. Pure; a round costs what changed, not what there is."""

from collections.abc import Iterable

from msgspec import Struct

from cluster.api.ids import Id
from cluster.api.objects import Node, Service, Task
from cluster.api.states import NodeState
from manager.dispatcher.endpoints import peer_of, settings_of
from manager.store.snapshot import Changes, Snapshot


class Touched(Struct, frozen=True, kw_only=True, gc=False):
    tasks: dict[Id, set[Id]]
    """node -> tasks that are or were on it"""
    services: frozenset[Id]
    """Services whose endpoint may be another now."""
    dependencies: bool
    """A secret or config changed."""
    everywhere: bool
    """Something that all nodes are told changed: peers, the cluster's settings. A node that comes or goes is no other peer, and a network
    is its own nodes' business: a thousand that do must not concern a thousand each."""
    networks: frozenset[Id]
    """Those who are on them hear of it."""
    nodes: frozenset[Id]
    """Nodes that changed, or whose guests did: their own sessions may have to say so."""
    gone_nodes: frozenset[Id]


def touched(before: Snapshot, now: Snapshot, changes: Changes) -> Touched:
    tasks: dict[Id, set[Id]] = {}
    services = set(changes.services)
    for task_id in changes.tasks:
        old, new = before.tasks.get(task_id), now.tasks.get(task_id)
        known = [task for task in (old, new) if task is not None]
        _note(tasks, known)
        if _as_backend(old) != _as_backend(new):
            services.update(task.service_id for task in known)
    for service_id in changes.services:
        if _as_told(before.services.get(service_id)) != _as_told(now.services.get(service_id)):
            _note(tasks, now.tasks_of(service_id).values())
    for node_id in changes.nodes:
        if _is_down(before.nodes.get(node_id)) is not _is_down(now.nodes.get(node_id)):
            services.update(task.service_id for task in now.tasks_on(node_id).values())
    return Touched(
        tasks=tasks,
        services=frozenset(services),
        dependencies=bool(changes.secrets or changes.configs),
        everywhere=changes.cluster
        or (bool(changes.networks) and settings_of(before) != settings_of(now))
        or any(peer_of(before.nodes.get(node_id)) != peer_of(now.nodes.get(node_id)) for node_id in changes.nodes),
        networks=changes.networks,
        nodes=changes.nodes | _hosts(before, changes.networks) | _hosts(now, changes.networks),
        gone_nodes=frozenset(node_id for node_id in changes.nodes if node_id not in now.nodes),
    )


def _note(tasks: dict[Id, set[Id]], touched: Iterable[Task]) -> None:
    for task in touched:
        if task.node_id:
            tasks.setdefault(task.node_id, set()).add(task.id)


def _hosts(now: Snapshot, networks: Iterable[Id]) -> frozenset[Id]:
    """Of guests on these networks."""
    present = [network for one in networks if (network := now.networks.get(one)) is not None]
    return frozenset(guest.node_id for network in present for guest in network.guests)


def _as_backend(task: Task | None) -> object:
    """What of a task others see."""
    if task is None:
        return None
    return task.service_id, task.node_id, task.status.state, task.status.ready, task.desired_state, task.attachments


def _as_told(service: Service | None) -> object:
    """What of a service its tasks' nodes are told with each task."""
    return None if service is None else (service.registry_auth, service.extensions, service.spec.endpoint_spec)


def _is_down(node: Node | None) -> bool:
    return node is None or node.status.state is NodeState.DOWN
