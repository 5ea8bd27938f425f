"""What this node's kernel must hold, from what the node knows. Pure; the whole data plane is decided here.

Level-triggered: the answer depends on the present knowledge alone, never on what happened before. `kernel` makes it so.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from operator import is_

from cluster.api.endpoint import OverlayNetwork, Peer
from cluster.api.ids import Id
from cluster.api.values import Value
from node_agent.network.crypt.peering import End
from node_agent.network.crypt.plan import ENCRYPTED_OVERHEAD, CryptPlan, EncryptedNetwork, crypt_port
from node_agent.network.firewall import firewall_chains, firewall_lookups
from node_agent.network.gathered import Gathered, OnNetwork
from node_agent.network.ingress import NOTHING_HELD, Holding, Places, Published, ingress_chains, ingress_lookups
from node_agent.network.naming import LINK_DEVICE, LINK_VNI, TABLE, bridge_of, link_address, tap_of, vxlan_of
from node_agent.network.ports import BridgeNetwork
from node_agent.network.tables import Table
from node_agent.network.view import Known, View
from node_agent.network.vip import Way, vip_table

VXLAN_OVERHEAD = 50


class Tunnel(Value, frozen=True, kw_only=True):
    """A VXLAN device and who is behind it: an overlay's is enslaved to the engine's bridge, the node link has an address of its own.

    An encrypted overlay has a TAP device instead, and no VXLAN device that its packets could leave by in the clear.
    """

    key: str
    """The network's id, or the link's device name: what a problem with it is reported by."""
    device: str
    vni: int
    local: str
    port: int
    mtu: int
    bridge: str = ""
    address: str = ""
    prefix: int = 0
    entries: Mapping[str, str] = {}
    """An address behind it (a remote task's, another node's on the link) -> the data path address of its node."""
    encrypted: bool = False


class Desired(Value, frozen=True, kw_only=True):
    tunnels: Mapping[str, Tunnel] = {}
    """By device name."""
    return_paths: Mapping[int, str] = {}
    """The other nodes' numbers -> their addresses on the link: one routing rule each."""
    node_table: Table | None = None
    """None while nothing is known: then nothing is touched either."""
    node: "NodeRules | None" = None
    """What it was made from."""
    sandboxes: Mapping[Id, "SandboxRules"] = {}
    """By task. Tasks on the same networks share one value."""
    published: Mapping[tuple[str, int, str], tuple[str, ...]] = {}
    """(protocol, port, `entering` or `arriving`) -> where the node's table sends it; for what must be forgotten when a destination goes."""
    mark_base: int = 20
    encryption: CryptPlan | None = None
    """What is to be sealed; None when no network here is encrypted. Without the keys, which are not for keeping."""


NOTHING_DESIRED = Desired()


class SandboxRules(Value, frozen=True, kw_only=True):
    on: tuple[OnNetwork, ...]
    """The networks that the task is on."""
    table: Table

    @property
    def ways(self) -> tuple[Mapping[str, Way], ...]:
        """VIP -> its way, network by network."""
        return tuple(there.ways.held for there in self.on)


class NodeRules(Value, frozen=True, kw_only=True):
    """All that the node's table follows from."""

    mark_base: int
    vxlan_port: int
    vnis: tuple[int, ...]
    crypt_port: int
    nodes: tuple[str, ...]
    bridges: tuple[str, ...]
    ports: tuple[Published, ...]
    places: Places
    holding: Holding

    def table(self) -> Table:
        chains = ingress_chains(self.ports, mark_base=self.mark_base)
        chains |= firewall_chains(vxlan_port=self.vxlan_port, vnis=self.vnis, crypt_port=self.crypt_port)
        lookups = ingress_lookups(self.ports, self.places, mark_base=self.mark_base, holding=self.holding)
        lookups |= firewall_lookups(nodes=self.nodes, bridges=self.bridges)
        return Table(family="ip", name=TABLE, chains=chains, lookups=lookups)


def desired(
    known: Known,
    gathered: Gathered,
    *,
    node_id: Id,
    underlay_mtu: int,
    gateway: BridgeNetwork | None = None,
    holding: Holding = NOTHING_HELD,
    before: Desired = NOTHING_DESIRED,
) -> Desired:
    """`gathered`: what all services contribute. `holding`: which of the published ports are somebody else's here. `gateway`: the local
    gateway bridge, whose subnet the engine chose; None while there is none. `before`: an earlier answer, whose tables are taken over as
    far as they follow from the same.
    """
    view = known.view
    me = view.peers.get(node_id)
    if me is None:
        return Desired()
    used = _used(known)
    tunnels = [_overlay(network, view, me, underlay_mtu, gathered.on(network.network_id)) for network in used]
    if view.ingress_subnet:
        tunnels.append(_node_link(view, me, underlay_mtu))
    others = _other_nodes(view, me)
    bridges = [(network.subnet, network.gateway) for network in used] + ([(gateway.subnet, gateway.gateway)] if gateway else [])
    places = Places(
        numbers=others,
        nodes=tunnels[-1].entries if view.ingress_subnet else {},
        subnets=tuple(subnet for subnet, _ in bridges),
        gateways=tuple(address for _, address in bridges),
        unlinked=tuple(sorted(peer.addr for peer in view.peers.values() if not peer.linked)),
    )
    node = _node_rules(view, tunnels, gathered.published, places, holding)
    return Desired(
        tunnels={tunnel.device: tunnel for tunnel in tunnels},
        return_paths=others,
        node_table=before.node_table if before.node == node else node.table(),
        node=node,
        sandboxes=_sandboxes(known, gathered, before.sandboxes),
        published={(port.protocol, port.port, "entering"): (*port.local, *port.remote) for port in gathered.published}
        | {(port.protocol, port.port, "arriving"): port.arriving for port in gathered.published},
        mark_base=view.mark_base,
        encryption=_encryption(view, me, tunnels, underlay_mtu),
    )


def _used(known: Known) -> list[OverlayNetwork]:
    networks = known.networks
    return [networks[key] for key in known.used_networks if key in networks]


def _other_nodes(view: View, me: Peer) -> dict[int, str]:
    """number -> link address"""
    if not view.ingress_subnet:
        return {}
    numbers = sorted(peer.number for peer in view.peers.values() if peer.node_id != me.node_id)
    return {number: link_address(view.ingress_subnet, number) for number in numbers}


# -- overlays and the link -------------------------------------------------------------------------------------------------------------
def mtu_of(network: OverlayNetwork, underlay_mtu: int) -> int:
    return network.mtu or underlay_mtu - (ENCRYPTED_OVERHEAD if network.encrypted else VXLAN_OVERHEAD)


def _overlay(network: OverlayNetwork, view: View, me: Peer, underlay_mtu: int, there: OnNetwork) -> Tunnel:
    return Tunnel(
        key=network.network_id,
        device=tap_of(network.network_id) if network.encrypted else vxlan_of(network.network_id),
        bridge=bridge_of(network.network_id),
        vni=network.vni,
        local=me.addr,
        port=view.vxlan_port,
        mtu=mtu_of(network, underlay_mtu),
        entries=there.remote.held,
        encrypted=network.encrypted,
    )


def _encryption(view: View, me: Peer, tunnels: Iterable[Tunnel], underlay_mtu: int) -> CryptPlan | None:
    networks = tuple(
        EncryptedNetwork(network_id=tunnel.key, device=tunnel.device, vni=tunnel.vni, entries=dict(tunnel.entries))
        for tunnel in tunnels
        if tunnel.encrypted
    )
    if not networks:
        return None
    ends = {peer.node_id: End(node_id=peer.node_id, number=peer.number, address=peer.addr) for peer in view.peers.values()}
    others = tuple(end for end in ends.values() if end.node_id != me.node_id)
    return CryptPlan(me=ends[me.node_id], port=crypt_port(view.vxlan_port), mtu=underlay_mtu, peers=others, networks=networks)


def _node_link(view: View, me: Peer, underlay_mtu: int) -> Tunnel:
    subnet = view.ingress_subnet
    others = (peer for peer in view.peers.values() if peer.node_id != me.node_id)
    return Tunnel(
        key=LINK_DEVICE,
        device=LINK_DEVICE,
        address=link_address(subnet, me.number),
        prefix=IPv4Network(subnet, strict=False).prefixlen,
        vni=LINK_VNI,
        local=me.addr,
        port=view.vxlan_port,
        mtu=underlay_mtu - VXLAN_OVERHEAD,
        entries={link_address(subnet, peer.number): peer.addr for peer in others},
    )


# -- the node's table ------------------------------------------------------------------------------------------------------------------
def _node_rules(view: View, tunnels: Iterable[Tunnel], ports: tuple[Published, ...], places: Places, holding: Holding) -> NodeRules:
    return NodeRules(
        mark_base=view.mark_base,
        vxlan_port=view.vxlan_port,
        vnis=tuple(tunnel.vni for tunnel in tunnels if not tunnel.encrypted),
        crypt_port=crypt_port(view.vxlan_port) if any(tunnel.encrypted for tunnel in tunnels) else 0,
        nodes=tuple(peer.addr for peer in view.peers.values()),
        bridges=tuple(tunnel.bridge for tunnel in tunnels if tunnel.bridge),
        ports=ports,
        places=places,
        holding=holding,
    )


# -- sandboxes -------------------------------------------------------------------------------------------------------------------------
def _sandboxes(known: Known, gathered: Gathered, before: Mapping[Id, SandboxRules]) -> dict[Id, SandboxRules]:
    """The VIPs of all networks that the task is on."""
    shared: dict[tuple[Id, ...], SandboxRules] = {}
    found = {}
    for task in known.tasks.values():
        if not task.pid or not task.addresses:
            continue
        networks = tuple(sorted(task.addresses))
        if networks not in shared:
            shared[networks] = _rules(tuple(gathered.on(key) for key in networks), before.get(task.task_id))
        found[task.task_id] = shared[networks]
    return found


def _rules(on: tuple[OnNetwork, ...], before: SandboxRules | None) -> SandboxRules:
    if before is not None and len(before.on) == len(on) and all(map(is_, before.on, on)):
        return before
    spreads = (size for there in on for size in there.spreads)
    return SandboxRules(on=on, table=vip_table(*(there.ways.held for there in on), spreads=spreads))
