"""What the facts of a host mean: findings with a cure each. Pure; one function a matter, in the order in which one would look."""

from collections.abc import Callable, Iterator

from cluster.api.endpoint import Peer
from cluster.api.values import Value
from node_agent.doctor.facts import Facts
from node_agent.network.desired import VXLAN_OVERHEAD
from node_agent.network.naming import (
    BRIDGE_PREFIX,
    ENCRYPTED_PREFIX,
    GATEWAY_BRIDGE,
    LINK_DEVICE,
    VXLAN_PREFIX,
    bridge_of,
    engine_network_of,
    tap_of,
    vxlan_of,
)
from node_agent.network.routes import meeting_route

OK, WARN, FAIL = "ok", "warn", "fail"
_HOUR = 3600.0
_GIB = 1 << 30


class Finding(Value, frozen=True, kw_only=True):
    about: str
    level: str
    text: str
    cure: str = ""
    """One line; empty for what is well."""


def ok(about: str, text: str) -> Finding:
    return Finding(about=about, level=OK, text=text)


def warn(about: str, text: str, cure: str) -> Finding:
    return Finding(about=about, level=WARN, text=text, cure=cure)


def fail(about: str, text: str, cure: str) -> Finding:
    return Finding(about=about, level=FAIL, text=text, cure=cure)


# -- the daemon and its engine -------------------------------------------------------------------------------------------------------------
def daemon(facts: Facts) -> Iterator[Finding]:
    if not facts.is_root:
        yield fail("doctor", "not root: much of what follows could not be looked at", "run it with sudo")
    if facts.daemon.pid:
        plane = f", data plane: {facts.daemon.data_plane.partition(',')[0]}" if facts.daemon.data_plane else ""
        yield ok("daemon", f"runs as process {facts.daemon.pid}{plane}")
    elif facts.member is not None:
        yield fail("daemon", "this node is a member of a swarm and its daemon does not run", "systemctl start shoald")
    else:
        yield ok("daemon", "does not run; this host is in no swarm")
    if limit := facts.daemon.descriptor_limit:
        used = facts.daemon.descriptors
        if used > 0.8 * limit:
            yield fail("descriptors", f"the daemon has {used} of {limit} file descriptors open", "raise LimitNOFILE in shoald.service")
        elif limit < 4096:
            cure = "set LimitNOFILE=1048576 in shoald.service, or ulimit -n before starting it"
            yield warn("descriptors", f"the daemon may open {limit} file descriptors; each task and each client takes some", cure)
        else:
            yield ok("descriptors", f"{used} of {limit} open")


def engine(facts: Facts) -> Iterator[Finding]:
    found = facts.engine
    if not found.address and found.startable:
        yield ok("engine", "none runs; shoald starts a dockerd of its own")
        return
    if not found.address:
        yield fail("engine", "no container engine answers, and shoald finds none to start", "apt-get install docker.io")
        return
    if found.problem:
        yield fail("engine", f"{found.address}: {found.problem}", "see its log; tasks wait for it and none is failed for it")
        return
    yield ok("engine", f"{found.address}: version {found.version}, API {found.api}")
    if found.in_swarm:
        yield fail("engine", "the engine is in swarm mode itself", "docker swarm leave --force")
    if version(found.api) < (1, 24):
        yield fail("engine", f"its API {found.api} is older than 1.24", "install a newer engine")
    if found.cgroup_version == "1":
        cure = "boot with systemd.unified_cgroup_hierarchy=1"
        yield warn("cgroups", "version 1: memory is limited less exactly, and kernels give it up", cure)
    elif found.cgroup_version:
        yield ok("cgroups", f"version {found.cgroup_version}")
    if not found.live_restore:
        yield warn("engine", "a restart of the engine ends every task", 'set "live-restore": true in /etc/docker/daemon.json')


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def certificate(facts: Facts) -> Iterator[Finding]:
    member = facts.member
    if member is None or not member.certificate_ends:
        return
    left, whole = member.certificate_ends - facts.now, member.certificate_ends - member.certificate_begins
    if left <= 0:
        cure = "set the clock if it is wrong; else: shoal swarm leave --force, and join again"
        yield fail("certificate", f"the node's certificate has expired {span(-left)} ago", cure)
    elif left < whole / 5:
        cure = "it renews itself in its second half: see that a manager can be reached on 2377/tcp"
        yield warn("certificate", f"the node's certificate expires in {span(left)} and was not renewed", cure)
    else:
        yield ok("certificate", f"expires in {span(left)}")


def clock(facts: Facts) -> Iterator[Finding]:
    for manager, skew in sorted(facts.skews.items()):
        way = "behind" if skew > 0 else "ahead of"
        if abs(skew) > _HOUR:
            yield fail(
                "clock", f"{span(abs(skew))} {way} manager {manager}: certificates count as not valid", "run a time service (chrony)"
            )
        elif abs(skew) > 5:
            yield warn("clock", f"{span(abs(skew))} {way} manager {manager}", "run a time service (chrony)")
        else:
            yield ok("clock", f"agrees with manager {manager}")


def disks(facts: Facts) -> Iterator[Finding]:
    for disk in facts.disks:
        full, inodes = 1 - disk.free / max(1, disk.total), 1 - disk.inodes_free / max(1, disk.inodes or 1)
        text = f"{disk.path}: {disk.free / _GIB:.1f} GiB free of {disk.total / _GIB:.1f}"
        cure = "docker system prune, or a larger disk; a manager without room refuses writes and steps down"
        if disk.free < _GIB / 4 or full > 0.97:
            yield fail("disk", text, cure)
        elif full > 0.9:
            yield warn("disk", text, cure)
        elif disk.inodes and inodes > 0.9:
            yield warn("disk", f"{disk.path}: {inodes:.0%} of the inodes are in use", cure)
        else:
            yield ok("disk", text)


# -- the kernel ----------------------------------------------------------------------------------------------------------------------------
def features(facts: Facts) -> Iterator[Finding]:
    if facts.daemon.balances:
        cure = "start shoald as root with CAP_NET_ADMIN and CAP_SYS_ADMIN, on a kernel with nftables"
        yield warn("data plane", f"in {facts.daemon.data_plane}", cure)
        return
    for what, said in sorted(facts.lacking.items()):
        cure = f"modprobe what is missing, or use a kernel with it; without, see docs/operations.md ({what})"
        yield fail("kernel", f"{what} does not work here: {said}", cure)
    if not facts.lacking:
        yield ok("kernel", "nftables, VXLAN, bridges, policy routing and connection tracking work")


def settings(facts: Facts) -> Iterator[Finding]:
    has = facts.settings
    if has.get("net.bridge.bridge-nf-call-iptables") == "1":
        cost = "every frame between tasks of one host passes iptables too: 18 to 35 % of their speed here, and their rules may drop it"
        yield warn(
            "sysctl", f"net.bridge.bridge-nf-call-iptables is 1: {cost}", "sysctl -w net.bridge.bridge-nf-call-iptables=0, unless needed"
        )
    programs = not facts.daemon.balances
    if facts.member is not None and programs and has.get("net.ipv4.ip_forward") == "0":
        yield fail("sysctl", "net.ipv4.ip_forward is 0: nothing reaches a task", "sysctl -w net.ipv4.ip_forward=1")
    everywhere = int(has.get("net.ipv4.conf.all.rp_filter", "0"))
    for name in sorted(facts.links):
        own = name in (LINK_DEVICE, GATEWAY_BRIDGE) or name.startswith("sb-")
        here = int(has.get(f"net.ipv4.conf.{name}.rp_filter", "0"))
        if max(everywhere, here) == 1 and own and programs:
            cure = f"sysctl -w net.ipv4.conf.{name}.rp_filter=2"
            yield fail("sysctl", f"rp_filter is 1 on {name}: replies that come by another way are dropped", cure)
    if len({name for name in facts.addresses.values() if name != "lo" and not is_ours(name)}) > 1 and everywhere == 1:
        text = (
            "net.ipv4.conf.all.rp_filter is 1 on a host with several interfaces: clients that come by one and are answered by another fail"
        )
        yield warn("sysctl", text, "sysctl -w net.ipv4.conf.all.rp_filter=2")


def connections(facts: Facts) -> Iterator[Finding]:
    count, most = (int(facts.settings.get(f"net.netfilter.nf_conntrack_{name}", "0")) for name in ("count", "max"))
    if not most:
        return
    text = f"{count} of {most} connections tracked"
    if count > 0.8 * most:
        cure = f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}; a full table drops new connections"
        yield (fail if count > 0.95 * most else warn)("conntrack", text, cure)
    else:
        yield ok("conntrack", text)


def is_ours(link: str) -> bool:
    return link.startswith(("sb-", "sv-", "shoal", "docker", "br-", "veth"))


# -- networks ------------------------------------------------------------------------------------------------------------------------------
def address(facts: Facts) -> Iterator[Finding]:
    me = _peer_of(facts)
    if me is not None and me.linked and facts.addresses and me.addr not in facts.addresses:
        cure = "give it back to an interface, or stop the daemon and tell the others the new one: shoald rejoin --advertise-addr ADDRESS"
        yield fail("address", f"{me.addr}, where other nodes reach the tasks of this one, is no address of this host", cure)


def _peer_of(facts: Facts) -> Peer | None:
    """This node, as the others know it."""
    return facts.known.view.peers.get(facts.member.node_id) if facts.member is not None else None


def mtu(facts: Facts) -> Iterator[Finding]:
    me = _peer_of(facts)
    link = facts.links.get(facts.addresses.get(me.addr, "")) if me is not None else None
    if me is None or link is None:
        return
    largest = link.mtu - VXLAN_OVERHEAD
    if link.mtu < 1280 + VXLAN_OVERHEAD:
        yield warn("mtu", f"{link.name} carries {link.mtu} bytes, so tasks get {largest}: little", f"ip link set {link.name} mtu 1500")
    elif link.mtu < 1500:
        yield ok("mtu", f"{link.name} carries {link.mtu} bytes; networks of tasks {largest}")
    else:
        yield ok("mtu", f"{link.name} carries {link.mtu} bytes")
    for network in facts.known.networks.values():
        bridge = facts.links.get(bridge_of(network.network_id))
        has = network.mtu or (bridge.mtu if bridge is not None else 0)
        if has > largest:
            cure = f"remove and make it again, or --opt com.docker.network.driver.mtu={largest}"
            text = f"network {network.name} has an MTU of {has}, and {link.name} carries {largest} of it: packets are sent in pieces"
            yield warn("mtu", text, cure)


def subnets(facts: Facts) -> Iterator[Finding]:
    own = [link.index for name, link in facts.links.items() if name.startswith(("sb-", "sv-", "shoal"))]
    names = {link.index: link.name for link in facts.links.values()}
    ranges = {network.name: network.subnet for network in facts.known.networks.values() if network.subnet}
    if facts.known.view.ingress_subnet:
        ranges["ingress"] = facts.known.view.ingress_subnet
    for name, subnet in sorted(ranges.items()):
        met = meeting_route(subnet, facts.routes, own)
        if met is not None:
            cure = f"make network {name} again with another --subnet, or change the host's route"
            where = names.get(met.device, "an interface")
            yield fail("subnets", f"network {name} ({subnet}) meets this host's own route {met.destination} on {where}", cure)


def ports(facts: Facts) -> Iterator[Finding]:
    for port in facts.taken:
        text = f"{port.port}/{port.protocol} of service {port.service} is not served here: {port.by} has it"
        yield fail("ports", text, "stop that program, or publish another port")


# -- what is left over ---------------------------------------------------------------------------------------------------------------------
def leftovers(facts: Facts) -> Iterator[Finding]:
    """Of networks and of a membership that are no more. What a running daemon is about to take away is none yet."""
    member, used = facts.member, set(facts.known.used_networks)
    wanted = {name for key in used for name in (bridge_of(key), vxlan_of(key), tap_of(key))}
    if member is not None:
        wanted |= {LINK_DEVICE, GATEWAY_BRIDGE}
    left = [f"interface {name}" for name in sorted(facts.links) if _is_named_by_us(name) and name not in wanted]
    engine_networks = {engine_network_of(key) for key in used} | ({GATEWAY_BRIDGE} if member is not None else set())
    left += [f"engine network {name}" for name in sorted(facts.engine.networks) if name not in engine_networks]
    swarm = "" if member is None else member.cluster_id
    left += [f"container {name}" for name, of in sorted(facts.engine.task_containers.items()) if of != swarm]
    if member is None:
        left += [f"nftables table {name}" for name in facts.tables]
        left += [f"{facts.routing_rules} routing rules of priority 5348"] if facts.routing_rules else []
        left += ["our rule in DOCKER-USER"] if facts.accepts_in_docker else []
        left += facts.leftovers
    for one in left:
        cure = "shoald purge" if member is None else "the daemon takes it away within a minute if it is in its way; else remove it by hand"
        yield (warn if facts.daemon.pid else fail)("left over", one, cure)
    if not left:
        yield ok("left over", "nothing")


def _is_named_by_us(link: str) -> bool:
    return link.startswith((BRIDGE_PREFIX, VXLAN_PREFIX, ENCRYPTED_PREFIX)) or link in (LINK_DEVICE, GATEWAY_BRIDGE)


def span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


Check = Callable[[Facts], Iterator[Finding]]
HOST: tuple[Check, ...] = (
    *(daemon, engine, certificate, clock, disks, features, settings, connections, address, mtu, subnets, ports),
    leftovers,
)
