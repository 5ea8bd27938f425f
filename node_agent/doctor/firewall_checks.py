"""What the host's own firewall would do to our packets: each kind of traffic is sent through the rules as they are. Pure."""

from collections.abc import Iterator

from cluster.api.endpoint import Peer
from cluster.api.values import Value
from node_agent.doctor.checks import Finding, fail, ok, warn
from node_agent.doctor.facts import Facts, Member
from node_agent.doctor.packets import Packet, fate
from node_agent.network.marks import ours_bit
from node_agent.network.naming import LINK_DEVICE, bridge_of

BOOTSTRAP = 5569
"""Added to the listen port: where nodes join."""


class Passage(Value, frozen=True, kw_only=True):
    """Traffic that must pass."""

    what: str
    hook: str
    packet: Packet
    cure: str


def firewall(facts: Facts) -> Iterator[Finding]:
    judged = [(passage, fate(facts.firewalls, passage.hook, passage.packet)) for passage in passages(facts)]
    for passage, met in judged:
        if met.dropped and met.certain:
            yield fail("firewall", f"{passage.what} is dropped ({met.by})", passage.cure)
        elif met.dropped:
            yield warn("firewall", f"{passage.what} may be dropped ({met.by}): not all of these rules is understood", passage.cure)
    if judged and not any(met.dropped for _, met in judged):
        yield ok("firewall", f"{len(judged)} kinds of our traffic pass it")


def passages(facts: Facts) -> Iterator[Passage]:
    member, view = facts.member, facts.known.view
    if member is None:
        return
    me = view.peers.get(member.node_id)
    others = sorted((peer for peer in view.peers.values() if peer.node_id != member.node_id), key=lambda peer: peer.addr)
    if others and me is not None:
        yield from _between_nodes(facts, member, me, others[0])
    if me is not None and not me.linked:
        yield from _listened(facts, me)
        return
    yield from _names(facts)
    yield from _published(facts)


def _between_nodes(facts: Facts, member: Member, me: Peer, peer: Peer) -> Iterator[Passage]:
    port = facts.known.view.vxlan_port
    enters = facts.addresses.get(me.addr, "")

    def arriving(what: str, protocol: str, port: int) -> Passage:
        packet = Packet(protocol=protocol, port=port, source=peer.addr, target=me.addr, enters=enters)
        cure = (
            f"iptables -I INPUT -p {protocol} --dport {port} -s {peer.addr} -j ACCEPT, for every node, and in the firewall's own settings"
        )
        return Passage(what=f"{what} from {peer.addr} ({port}/{protocol})", hook="input", packet=packet, cure=cure)

    if me.linked:
        yield arriving("VXLAN", "udp", port)
    else:
        yield arriving("connections that nodes relay", "tcp", port)
        yield arriving("datagrams that nodes relay", "udp", port)
    if member.is_manager:
        yield arriving("the swarm's calls", "tcp", member.listen_port)
        yield arriving("joining", "tcp", member.listen_port + BOOTSTRAP)


def _listened(facts: Facts, me: Peer) -> Iterator[Passage]:
    """A client's connection to the process that balances."""
    for service in sorted(facts.known.view.services.values(), key=lambda one: one.name):
        for port in service.ports:
            if port.publish_mode == "host" or not port.published_port:
                continue
            protocol, number = port.protocol or "tcp", port.published_port
            enters = facts.addresses.get(me.addr, "")
            packet = Packet(protocol=protocol, port=number, source="192.0.2.1", target=me.addr, enters=enters)
            cure = f"iptables -I INPUT -p {protocol} --dport {number} -j ACCEPT, and in the firewall's own settings"
            yield Passage(what=f"traffic of service {service.name}'s port {number}/{protocol}", hook="input", packet=packet, cure=cure)


def _names(facts: Facts) -> Iterator[Passage]:
    """Tasks ask for names at their bridge's gateway."""
    for key in facts.known.used_networks[:1]:
        network, bridge = facts.known.networks.get(key), bridge_of(key)
        if network is None or bridge not in facts.links:
            continue
        asker = next((task.addresses[key] for task in facts.known.tasks.values() if key in task.addresses), "")
        packet = Packet(protocol="udp", port=53, source=asker, target=network.gateway, enters=bridge)
        cure = "iptables -I INPUT -i sb-+ -p udp --dport 53 -j ACCEPT, and the same for tcp"
        yield Passage(what="tasks' questions for names (53/udp)", hook="input", packet=packet, cure=cure)


def _published(facts: Facts) -> Iterator[Passage]:
    """A client's connection, once it is translated: to a task here, or over the link to another node's."""
    view = facts.known.view
    marked = ours_bit(view.mark_base)
    me = view.peers.get("" if facts.member is None else facts.member.node_id)
    enters = facts.addresses.get("" if me is None else me.addr, "")
    tasks = {task.service_id: task for task in facts.known.tasks.values() if task.pid and task.addresses}
    for service in sorted(view.services.values(), key=lambda one: one.name):
        for port in service.ports:
            if port.publish_mode == "host" or not port.published_port:
                continue
            task = tasks.get(service.service_id)
            network_id, address = next(iter(task.addresses.items())) if task is not None else ("", "")
            leaves = bridge_of(network_id) if network_id else LINK_DEVICE
            number = port.target_port if network_id else port.published_port
            packet = Packet(
                protocol=port.protocol or "tcp",
                port=number,
                source="192.0.2.1",
                target=address,
                enters=enters,
                leaves=leaves,
                mark=marked,
            )
            cure = f"iptables -I FORWARD -m connmark --mark {marked:#x}/{marked:#x} -j ACCEPT, and in the firewall's own settings"
            what = f"traffic of service {service.name}'s port {port.published_port}/{packet.protocol}"
            yield Passage(what=what, hook="forward", packet=packet, cure=cure)
