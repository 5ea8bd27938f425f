"""What a node's data plane is told: peers, its networks, and the services that it can meet. Pure; see docs/design/dispatcher.md.

A node sees the services on its networks, and every service that publishes a port in ingress mode. A backend is listed from when its task
is placed and has addresses until it has ended; it is ready only while traffic shall go to it.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from cluster.api.endpoint import CLIENT_IP, Backend, DataKey, EndpointUpdate, OverlayNetwork, Peer, ServiceEndpoint, ServiceNetwork
from cluster.api.ids import Id
from cluster.api.objects import Node, Service, Task
from cluster.api.states import Membership, NodeState, TaskState
from manager.dispatcher.assign import overlay
from manager.store.snapshot import Snapshot


class Settings(Struct, frozen=True, gc=False):
    """What all nodes share."""

    vxlan_port: int = 4789
    mark_base: int = 20
    ingress_subnet: str = ""


class Plane(Struct, frozen=True, kw_only=True, gc=False):
    """What a node's data plane has been told."""

    peers: tuple[Peer, ...] = ()
    networks: Mapping[Id, OverlayNetwork] = {}
    services: Mapping[Id, ServiceEndpoint] = {}
    settings: Settings = Settings()
    data_keys: tuple[DataKey, ...] = ()


class Views:
    """The endpoints of one snapshot, each worked out once for however many nodes ask.

    Of a later snapshot, `after` keeps those that were not touched; one that was touched and looks the same stays the same value. So a
    node that was told this very value has heard it, and nothing needs to be compared for each node.
    """

    def __init__(self, now: Snapshot) -> None:
        self.now = now
        self._services: dict[Id, ServiceEndpoint | None] = {}
        self._former: dict[Id, ServiceEndpoint | None] = {}
        self._common: tuple[tuple[Peer, ...], Settings] | None = None
        self._visited: tuple[tuple[Id, frozenset[Id]], ...] | None = None
        self._places: dict[Id, frozenset[Id]] = {}

    def after(self, now: Snapshot, touched: Iterable[Id]) -> "Views":
        """The views of a later snapshot, in which only these services may look different."""
        later = Views(now)
        later._services, later._places = dict(self._services), dict(self._places)
        for service_id in touched:
            later._former[service_id] = later._services.pop(service_id, None)
            later._places.pop(service_id, None)
        return later

    def service(self, service_id: Id) -> ServiceEndpoint | None:
        """None for a service that is not there and has no tasks left."""
        if service_id not in self._services:
            found, former = endpoint_of(self.now, service_id), self._former.get(service_id)
            self._services[service_id] = former if found is not None and _same(found, former) else found
        return self._services[service_id]

    def concerns(self, service_id: Id, networks: Mapping[Id, OverlayNetwork]) -> bool:
        """A node on these networks must know the service: its port, its name, or (it was removed) its last tasks' addresses."""
        endpoint = self.service(service_id)
        if endpoint is None:
            return False
        places = self._places.get(service_id)
        if places is None:
            named = {one.network_id for one in endpoint.networks}
            places = self._places[service_id] = frozenset(named.union(*(backend.addresses for backend in endpoint.backends)))
        return bool(endpoint.ports) or not places.isdisjoint(networks)

    @property
    def common(self) -> tuple[tuple[Peer, ...], Settings]:
        if self._common is None:
            self._common = (peers_of(self.now), settings_of(self.now))
        return self._common

    @property
    def visited(self) -> tuple[tuple[Id, frozenset[Id]], ...]:
        """The networks that have guests, and the nodes that those are on."""
        if self._visited is None:
            networks = (network for network in self.now.networks.values() if network.guests)
            self._visited = tuple((network.id, frozenset(guest.node_id for guest in network.guests)) for network in networks)
        return self._visited

    def candidates(self, networks: Iterable[Id]) -> frozenset[Id]:
        """The services that a node on these networks may meet there; some turn out to have nothing to be met yet."""
        return frozenset(service_id for network_id in networks for service_id in self.now.services_on(network_id))

    def publishing(self) -> frozenset[Id]:
        return frozenset(owner for owners in self.now.indexes.ingress_ports.values() for owner in owners)


# -- one node --------------------------------------------------------------------------------------------------------------------------
def complete(views: Views, node_id: Id) -> tuple[Plane, EndpointUpdate]:
    """All that the node's data plane is to have."""
    networks = networks_on(views, node_id)
    peers, settings = views.common
    services = _met(views, views.candidates(networks) | views.publishing(), networks)
    keys = data_keys_for(views.now, networks)
    plane = Plane(peers=peers, networks=networks, services=services, settings=settings, data_keys=keys)
    return plane, _update(plane, version=views.now.version, complete=True)


def step(views: Views, node_id: Id, plane: Plane, touched: Iterable[Id], *, moved: bool) -> tuple[Plane, EndpointUpdate | None]:
    """The plane at a later snapshot. `touched`: services that may have changed; `moved`: so may the tasks that the node runs."""
    peers, settings = views.common
    networks = networks_on(views, node_id) if moved else plane.networks
    looked_at = set(touched)
    if networks.keys() != plane.networks.keys():
        looked_at |= views.candidates(networks.keys() - plane.networks.keys()) | plane.services.keys()
    met = _met(views, looked_at, networks)
    changed = {one: endpoint for one, endpoint in met.items() if endpoint is not plane.services.get(one)}
    gone = tuple(sorted(one for one in looked_at if one in plane.services and one not in met))
    services = {**plane.services, **changed}
    for one in gone:
        del services[one]
    keys = data_keys_for(views.now, networks)
    after = Plane(peers=peers, networks=networks, services=services, settings=settings, data_keys=keys)
    same_peers, same_networks, same_keys = peers == plane.peers, networks == plane.networks, keys == plane.data_keys
    if same_peers and same_networks and same_keys and not changed and not gone and settings == plane.settings:
        return plane, None
    update = EndpointUpdate(
        version=views.now.version,
        peers=None if same_peers else peers,
        networks=None if same_networks else tuple(networks[one] for one in sorted(networks)),
        services=tuple(changed[one] for one in sorted(changed)),
        gone_services=gone,
        vxlan_port=settings.vxlan_port,
        mark_base=settings.mark_base,
        ingress_subnet=settings.ingress_subnet,
        data_keys=None if same_keys else keys,
    )
    return after, update


def _update(plane: Plane, *, version: int, complete: bool) -> EndpointUpdate:
    return EndpointUpdate(
        version=version,
        complete=complete,
        peers=plane.peers,
        networks=tuple(plane.networks[one] for one in sorted(plane.networks)),
        services=tuple(plane.services[one] for one in sorted(plane.services)),
        vxlan_port=plane.settings.vxlan_port,
        mark_base=plane.settings.mark_base,
        ingress_subnet=plane.settings.ingress_subnet,
        data_keys=plane.data_keys,
    )


def _met(views: Views, services: Iterable[Id], networks: Mapping[Id, OverlayNetwork]) -> dict[Id, ServiceEndpoint]:
    met = {}
    for service_id in services:
        endpoint = views.service(service_id)
        if endpoint is not None and views.concerns(service_id, networks):
            met[service_id] = endpoint
    return met


def _same(endpoint: ServiceEndpoint, former: ServiceEndpoint | None) -> bool:
    return former is not None and replace(endpoint, version=former.version) == former


def networks_on(views: Views, node_id: Id) -> dict[Id, OverlayNetwork]:
    """The networks of the tasks that are on the node, and of its guests."""
    now = views.now
    ids = {one.network_id for task in now.tasks_on(node_id).values() if not task.state.ended for one in task.attachments}
    ids |= {network_id for network_id, hosts in views.visited if node_id in hosts}
    return {one: overlay(now.networks[one]) for one in ids if one in now.networks}


def data_keys_for(now: Snapshot, networks: Mapping[Id, OverlayNetwork]) -> tuple[DataKey, ...]:
    """None for a node that has nothing to seal or open."""
    is_needed = any(network.encrypted for network in networks.values())
    return now.cluster.data_keys if is_needed and now.cluster is not None else ()


# -- what all nodes share --------------------------------------------------------------------------------------------------------------
def peers_of(now: Snapshot) -> tuple[Peer, ...]:
    """The nodes that have a number and an address, down or not: they may come back."""
    peers = [peer for node in now.nodes.values() if (peer := peer_of(node)) is not None]
    return tuple(sorted(peers, key=lambda peer: peer.number))


def peer_of(node: Node | None) -> Peer | None:
    addr = "" if node is None else node.data_path_addr or node.status.addr
    if node is None or not node.number or not addr or node.membership is not Membership.ACCEPTED:
        return None
    return Peer(node_id=node.id, number=node.number, addr=addr, hostname=node.description.hostname, linked=node.description.linked)


def settings_of(now: Snapshot) -> Settings:
    subnet = next((network.subnet for network in now.networks.values() if network.spec.ingress), "")
    if now.cluster is None:
        return Settings(ingress_subnet=subnet)
    return Settings(now.cluster.data_path_port, now.cluster.mark_base, subnet)


# -- one service -----------------------------------------------------------------------------------------------------------------------
def endpoint_of(now: Snapshot, service_id: Id) -> ServiceEndpoint | None:
    service = now.services.get(service_id)
    tasks = sorted((task for task in now.tasks_of(service_id).values() if _is_listed(task)), key=lambda task: (task.slot, task.id))
    if service is None:
        return _leftover(now, service_id, tasks)
    ports = () if service.endpoint is None else tuple(port for port in service.endpoint.ports if port.publish_mode != "host")
    return ServiceEndpoint(
        service_id=service.id,
        name=service.spec.name,
        version=max([service.version, *(task.version for task in tasks)]),
        dnsrr=service.spec.endpoint_spec is not None and service.spec.endpoint_spec.mode == "dnsrr",
        affinity=CLIENT_IP if service.extensions.endpoint_affinity == CLIENT_IP else "",
        prefer_local=service.extensions.endpoint_prefer_local,
        networks=_service_networks(now, service),
        ports=ports,
        backends=tuple(_backend(now, task, service.spec.name) for task in tasks),
    )


def _leftover(now: Snapshot, service_id: Id, tasks: list[Task]) -> ServiceEndpoint | None:
    """A service that was removed: no name, no address, but its last tasks may still be talking."""
    if not tasks:
        return None
    name = now.template_of(tasks[0]).service_name
    backends = tuple(replace(_backend(now, task, name), ready=False) for task in tasks)
    return ServiceEndpoint(service_id=service_id, name=name, version=max(task.version for task in tasks), backends=backends)


def _is_listed(task: Task) -> bool:
    return bool(task.node_id) and TaskState.ASSIGNED <= task.state <= TaskState.RUNNING


def _backend(now: Snapshot, task: Task, service_name: str) -> Backend:
    return Backend(
        task_id=task.id,
        node_id=task.node_id,
        slot=task.slot,
        ready=_is_ready(now, task),
        addresses={one.network_id: one.address.partition("/")[0] for one in task.attachments if one.address},
        container_name=f"{service_name}.{task.slot or task.node_id}.{task.id}",
    )


def _is_ready(now: Snapshot, task: Task) -> bool:
    """Takes traffic: runs, is fit, shall not stop, and its node is there."""
    node = now.nodes.get(task.node_id)
    there = node is not None and node.status.state is not NodeState.DOWN
    return there and task.state is TaskState.RUNNING and task.status.ready and task.desired_state < TaskState.SHUTDOWN


def _service_networks(now: Snapshot, service: Service) -> tuple[ServiceNetwork, ...]:
    """Its places on overlays; the ingress network is no place for names, ports do that."""
    if service.endpoint is None:
        return ()
    aliases = {one.target: one.aliases for one in service.spec.task_template.networks}
    return tuple(
        ServiceNetwork(network_id=vip.network_id, vip=vip.addr.partition("/")[0], aliases=aliases.get(vip.network_id, ()))
        for vip in service.endpoint.virtual_ips
        if (network := now.networks.get(vip.network_id)) is not None and not network.spec.ingress
    )
