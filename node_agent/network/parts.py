"""What one service contributes to a node: backends, forwarding entries, names, published ports. Pure; put together by `gathered`."""

from collections.abc import Iterable, Iterator, Mapping

from cluster.api.endpoint import CLIENT_IP, Backend, OverlayNetwork, Peer, ServiceEndpoint, ServiceNetwork
from cluster.api.ids import Id
from cluster.api.values import Value
from node_agent.network.dns.zone import Name, Names
from node_agent.network.ingress import Published
from node_agent.network.naming import link_address
from node_agent.network.view import Known, LocalTask
from node_agent.network.vip import Choice, Way, way


class Membership(Value, frozen=True, kw_only=True):
    """A service on one network."""

    ways: Mapping[str, Way] = {}
    """Its VIP, if it has one -> where that leads."""
    remote: Mapping[str, str] = {}
    """Every address on another node -> that node's data path address. From when a task has an address until it is gone, ready or
    not: it may speak before it is."""
    called: Names = Names()


NO_MEMBERSHIP = Membership()


class Part(Value, frozen=True, kw_only=True):
    service: str = ""
    """Empty: what comes from guests."""
    memberships: Mapping[Id, Membership] = {}
    published: tuple[Published, ...] = ()


class Own(Value, frozen=True, kw_only=True):
    """What a part must know of a task of this node."""

    task_id: Id
    withdrawn: bool
    reach: str
    """Where this node forwards to it; empty while there is no such address."""


class Nodes(Value, frozen=True, kw_only=True):
    """What every part must know of the nodes."""

    me: Peer
    peers: Mapping[Id, Peer]
    link_subnet: str
    silent: frozenset[Id]

    def elsewhere(self, backend: Backend) -> Peer | None:
        """The other node that it runs on."""
        return None if backend.node_id == self.me.node_id else self.peers.get(backend.node_id)

    def way_to(self, peer: Peer) -> str:
        """Where its published ports are reached from here: over the link if both are on it. Empty while there is none."""
        if not (self.me.linked and peer.linked):
            return peer.addr
        return link_address(self.link_subnet, peer.number) if self.link_subnet else ""

    def near(self, service: ServiceEndpoint, ready: Iterable[Backend]) -> list[Backend]:
        """Those that are preferred to the others."""
        return [backend for backend in ready if service.prefer_local and backend.node_id == self.me.node_id]

    def answering(self, ready: list[Backend]) -> list[Backend]:
        """Without those of silent nodes, unless there are no others: silence is what this node hears, and it may be the deaf one."""
        return [backend for backend in ready if backend.node_id not in self.silent] or ready


def own_tasks(known: Known) -> dict[Id, tuple[Own, ...]]:
    networks = known.networks
    found: dict[Id, tuple[Own, ...]] = {}
    for task in known.tasks.values():
        own = Own(task_id=task.task_id, withdrawn=task.withdrawn, reach=reach(task, networks))
        found[task.service_id] = (*found.get(task.service_id, ()), own)
    for task_id, service_id in known.ended.items():
        found[service_id] = (*found.get(service_id, ()), Own(task_id=task_id, withdrawn=True, reach=""))
    return found


def reach(task: LocalTask, networks: Mapping[Id, OverlayNetwork]) -> str:
    """The first network that leads out of the task carries its default route, so replies come back this way."""
    for network_id, address in task.addresses.items():
        network = networks.get(network_id)
        if network is not None and not network.internal:
            return address
    return task.gateway_address


def part_of(service: ServiceEndpoint, nodes: Nodes, own: tuple[Own, ...]) -> Part:
    """A node takes its own withdrawn and ended tasks out at once, whatever the managers still say."""
    withdrawn = {task.task_id for task in own if task.withdrawn}
    ready = nodes.answering([backend for backend in service.backends if backend.ready and backend.task_id not in withdrawn])
    return Part(
        service=service.name,
        memberships={there.network_id: _membership(service, there, nodes, ready) for there in service.networks},
        published=tuple(_published(service, nodes, ready, own)),
    )


def part_of_guests(network: OverlayNetwork, nodes: Nodes) -> Part:
    """Containers that joined by themselves: they have an address and a name, and nothing leads to them but that."""
    remote, names, pointers = {}, dict[str, Name](), {}
    for guest in network.guests:
        peer = nodes.peers.get(guest.node_id)
        if peer is not None and guest.node_id != nodes.me.node_id:
            remote[guest.address] = peer.addr
        for name in filter(None, (guest.name.lower(), *(alias.lower() for alias in guest.aliases))):
            names[name] = Name(tasks=(*names.get(name, Name()).tasks, guest.address))
        if guest.name:
            pointers[guest.address] = guest.name
    return Part(memberships={network.network_id: Membership(remote=remote, called=Names(names=names, pointers=pointers))})


def _membership(service: ServiceEndpoint, there: ServiceNetwork, nodes: Nodes, ready: list[Backend]) -> Membership:
    here = there.network_id
    answering = tuple(backend.addresses[here] for backend in ready if backend.addresses.get(here))
    placed = [(backend, backend.addresses[here]) for backend in service.backends if backend.addresses.get(here)]
    named = [(address, backend.container_name) for backend, address in placed if backend.container_name]
    choice = Choice(
        ready=answering,
        near=tuple(backend.addresses[here] for backend in nodes.near(service, ready) if backend.addresses.get(here)),
        affine=service.affinity == CLIENT_IP,
    )
    return Membership(
        ways={there.vip: way(there.vip, choice)} if there.vip else {},
        remote={address: peer.addr for backend, address in placed if (peer := nodes.elsewhere(backend))},
        called=Names(
            names=dict(_names(service, there, answering, named)),
            pointers=dict(named) | ({there.vip: service.name} if there.vip else {}),
        ),
    )


def _names(
    service: ServiceEndpoint, there: ServiceNetwork, ready: tuple[str, ...], named: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, Name]]:
    vips = (there.vip,) if there.vip and not service.dnsrr else ()
    for name in (service.name, *there.aliases):
        yield name.lower(), Name(vips=vips, tasks=ready)
        yield f"tasks.{name}".lower(), Name(tasks=ready)
    for address, container in named:
        yield container.lower(), Name(tasks=(address,))


def _published(service: ServiceEndpoint, nodes: Nodes, ready: list[Backend], own: tuple[Own, ...]) -> Iterator[Published]:
    """Ports that every node publishes, with where the ready tasks are."""
    wanted = [port for port in service.ports if port.publish_mode != "host" and port.published_port]
    if not wanted:
        return
    reaches = {task.task_id: task.reach for task in own}
    local = sorted(filter(None, (reaches.get(backend.task_id, "") for backend in ready if backend.node_id == nodes.me.node_id)))
    remote = _weights(nodes, ready)
    clients = _places(nodes, ready, reaches) if service.affinity == CLIENT_IP else {}
    for port in wanted:
        yield Published(
            protocol=port.protocol or "tcp",
            port=port.published_port,
            target=port.target_port,
            host_ip=port.host_ip,
            local=tuple(local),
            leaving=tuple(sorted(task.reach for task in own if task.withdrawn and task.reach)),
            remote=remote,
            near_first=service.prefer_local,
            clients=clients,
        )


def _places(nodes: Nodes, ready: Iterable[Backend], reaches: Mapping[Id, str]) -> dict[Id, str]:
    """Task -> where it is reached from here: its own address, or where its node is."""
    found = {}
    for backend in ready:
        peer = nodes.elsewhere(backend)
        if peer is not None and (way := nodes.way_to(peer)):
            found[backend.task_id] = way
        elif peer is None and reaches.get(backend.task_id):
            found[backend.task_id] = reaches[backend.task_id]
    return found


def _weights(nodes: Nodes, ready: Iterable[Backend]) -> dict[str, int]:
    weights: dict[str, int] = {}
    for backend in ready:
        peer = nodes.elsewhere(backend)
        if peer is not None and (way := nodes.way_to(peer)):
            weights[way] = weights.get(way, 0) + 1
    return weights
