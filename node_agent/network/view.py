"""What this node knows: the cluster's endpoints as last told, and the tasks that it runs itself. Pure values.

The whole is written to the runtime folder after each change, so a daemon that was killed takes up where it was, manager or not.
"""

from collections.abc import Iterable, Mapping

import msgspec

from cluster.api.assignment import AssignedTask
from cluster.api.endpoint import EndpointUpdate, OverlayNetwork, Peer, ServiceEndpoint
from cluster.api.ids import Id
from cluster.api.values import Value


class View(Value, frozen=True, kw_only=True):
    """The endpoint updates so far, merged."""

    version: int = 0
    peers: Mapping[Id, Peer] = {}
    networks: Mapping[Id, OverlayNetwork] = {}
    services: Mapping[Id, ServiceEndpoint] = {}
    vxlan_port: int = 4789
    mark_base: int = 20
    ingress_subnet: str = ""


class LocalTask(Value, frozen=True, kw_only=True):
    """A task of this node, from `prepare` to `remove`."""

    task_id: Id
    service_id: Id
    container_name: str = ""
    addresses: Mapping[Id, str] = {}
    """network id -> address, in the order of its attachments."""
    gateway_address: str = ""
    """Its address on the local gateway bridge, once the engine has chosen one."""
    uses_gateway: bool = False
    upstreams: tuple[str, ...] = ()
    """The name servers of its own that its spec asks for."""
    pid: int = 0
    """0 until it runs."""
    namespace: int = 0
    """The identity of its network namespace: a pid alone may be somebody else's by now."""
    withdrawn: bool = False
    guest: bool = False
    """No task: a container that joined by itself. Its id is the guest's."""


class Known(Value, frozen=True, kw_only=True):
    """Everything that decides what the kernel must hold."""

    view: View = View()
    served: Mapping[Id, OverlayNetwork] = {}
    """Networks that came with tasks, maybe ahead of the endpoints."""
    tasks: Mapping[Id, LocalTask] = {}
    ended: Mapping[Id, Id] = {}
    """Tasks of this node that are gone while the managers still list them -> their services."""
    silent: frozenset[Id] = frozenset()
    """Nodes that do not answer this one, which has no manager to hear it from."""

    @property
    def networks(self) -> Mapping[Id, OverlayNetwork]:
        return {**self.served, **self.view.networks}

    @property
    def used_networks(self) -> tuple[Id, ...]:
        """Those that a local task is on, in a stable order."""
        return tuple(sorted({network for task in self.tasks.values() for network in task.addresses}))


def merge(view: View, update: EndpointUpdate) -> View:
    """The view after this update. Cluster-wide settings come with complete updates and with those that name the link's subnet."""
    settings = update if update.complete or update.ingress_subnet else view
    services = {} if update.complete else dict(view.services)
    for gone in update.gone_services:
        services.pop(gone, None)
    services.update((service.service_id, service) for service in update.services)
    peers = () if update.complete and update.peers is None else update.peers
    networks = () if update.complete and update.networks is None else update.networks
    return View(
        version=update.version,
        peers=view.peers if peers is None else {peer.node_id: peer for peer in peers},
        networks=view.networks if networks is None else {network.network_id: network for network in networks},
        services=services,
        vxlan_port=settings.vxlan_port,
        mark_base=settings.mark_base,
        ingress_subnet=settings.ingress_subnet,
    )


def with_view(known: Known, view: View) -> Known:
    """An ended task is remembered until the managers know of it too."""
    ended = {task_id: service_id for task_id, service_id in known.ended.items() if _lists(view, service_id, task_id)}
    return msgspec.structs.replace(known, view=view, ended=ended)


def _lists(view: View, service_id: Id, task_id: Id) -> bool:
    service = view.services.get(service_id)
    return service is not None and any(backend.task_id == task_id for backend in service.backends)


def serve(known: Known, networks: Iterable[OverlayNetwork]) -> Known:
    served = {**known.served, **{network.network_id: network for network in networks}}
    return msgspec.structs.replace(known, served=served)


def with_task(known: Known, task: LocalTask) -> Known:
    return msgspec.structs.replace(known, tasks={**known.tasks, task.task_id: task})


def with_start(known: Known, task: LocalTask, *, pid: int, namespace: int, gateway_address: str) -> Known:
    """The task runs, as this process in this namespace, and counts from now on."""
    running = msgspec.structs.replace(task, pid=pid, namespace=namespace, gateway_address=gateway_address, withdrawn=False)
    return with_task(known, running)


def with_withdrawn(known: Known, task_id: Id, *, withdrawn: bool) -> Known:
    """The same value if that changes nothing."""
    task = known.tasks.get(task_id)
    if task is None or task.withdrawn is withdrawn:
        return known
    return with_task(known, msgspec.structs.replace(task, withdrawn=withdrawn))


def with_silent(known: Known, silent: frozenset[Id]) -> Known:
    """The same value if that changes nothing."""
    return known if silent == known.silent else msgspec.structs.replace(known, silent=silent)


def without_task(known: Known, task_id: Id) -> Known:
    """The networks that came with it go too, unless another task is on them."""
    tasks = {key: task for key, task in known.tasks.items() if key != task_id}
    used = {network for task in tasks.values() for network in task.addresses}
    served = {key: network for key, network in known.served.items() if key in used}
    gone = known.tasks.get(task_id)
    ended = {**known.ended, task_id: gone.service_id} if gone is not None and _lists(known.view, gone.service_id, task_id) else known.ended
    return msgspec.structs.replace(known, tasks=tasks, served=served, ended=ended)


def local_task(task: AssignedTask, known: Known) -> LocalTask | None:
    """The task as the data plane sees it; None when it has nothing to do with it. What is known of its run is kept."""
    if not task.attachments and not task.publishes:
        return None
    networks = known.networks
    leads_out = any(not networks[a.network_id].internal for a in task.attachments if a.network_id in networks)
    spec = task.spec.container_spec
    dns = None if spec is None else spec.dns_config
    fresh = LocalTask(
        task_id=task.id,
        service_id=task.service_id,
        container_name=task.name,
        addresses={a.network_id: a.address.split("/")[0] for a in task.attachments},
        uses_gateway=not leads_out and (task.publishes or bool(task.host_ports)),
        upstreams=() if dns is None else dns.nameservers,
    )
    before = known.tasks.get(task.id, fresh)
    return msgspec.structs.replace(
        fresh, pid=before.pid, namespace=before.namespace, gateway_address=before.gateway_address, withdrawn=before.withdrawn
    )
