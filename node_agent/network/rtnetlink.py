"""What the data plane says to the kernel about links, addresses, neighbours, routes and rules, and what it reads back.

Builders of requests are pure; `Netlink.do` sends them, many in one batch.
"""

import errno
import socket
import struct
from collections.abc import Sequence

from cluster.api.values import Value
from node_agent.network.netlink import (
    CREATE,
    EXCLUSIVE,
    REPLACE,
    Netlink,
    Request,
    attribute,
    attributes,
    nested,
    text,
    u8,
    u32,
)
from node_agent.network.routes import Route

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _GETADDR = 20, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_NEWRULE, _DELRULE, _GETRULE = 32, 33, 34
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_UP = 1
_SKIP_STATISTICS = 8
_AF_BRIDGE = 7
_NUD_PERMANENT, _NUD_NOARP = 0x80, 0x40
_NTF_SELF = 2
_PROTOCOL_STATIC = 4
_HAIRPIN, _ISOLATED = 4, 33
_TO_TABLE = 1
_GONE = (errno.ENOENT, errno.ENODEV, errno.ESRCH)


class Link(Value, frozen=True, kw_only=True):
    index: int
    name: str
    kind: str = ""
    master: int = 0
    mtu: int = 0
    up: bool = False
    mac: str = ""
    peer: int = 0
    """Of a veth: the index of its other end, in the namespace where that is."""
    vni: int = 0
    local: str = ""
    port: int = 0
    hairpin: bool = False
    isolated: bool = False
    """As a bridge's port: may a frame leave where it came in, may it not go to another isolated port."""


class Neighbour(Value, frozen=True, kw_only=True):
    """With `AF_INET`: address -> mac. With the bridge family on a VXLAN device: mac -> the node it is on."""

    device: int
    key: str
    value: str


def _mac(raw: bytes) -> str:
    return raw.hex(":")


def _raw_mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


# -- links ------------------------------------------------------------------------------------------------------------------------------
def add_vxlan(name: str, *, vni: int, local: str, port: int, mtu: int, mac: str = "") -> Request:
    """Static forwarding only: no learning; ARP is answered by the device itself from its permanent neighbours."""
    settings = nested(
        2,
        u32(1, vni),
        attribute(4, socket.inet_aton(local)),
        u8(7, 0),
        u8(11, 1),
        attribute(15, struct.pack("!H", port)),
    )
    body = _IFINFO.pack(0, 0, 0, _UP, _UP) + text(3, name) + u32(4, mtu)
    if mac:
        body += attribute(1, _raw_mac(mac))
    body += nested(18, text(1, "vxlan"), settings)
    return Request(_NEWLINK, CREATE | EXCLUSIVE, body, what=f"add VXLAN device {name}")


def add_bridge(name: str) -> Request:
    body = _IFINFO.pack(0, 0, 0, _UP, _UP) + text(3, name) + nested(18, text(1, "bridge"))
    return Request(_NEWLINK, CREATE | EXCLUSIVE, body, what=f"add bridge {name}", fine=(errno.EEXIST,))


def announce(index: int, mac: str) -> Request:
    """Give a link the hardware address that it has: with `arp_notify` set, that tells everybody behind it."""
    return Request(_NEWLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + attribute(1, _raw_mac(mac)), what=f"announce link {index}")


def delete_link(index: int) -> Request:
    return Request(_DELLINK, 0, _IFINFO.pack(0, 0, index, 0, 0), what=f"delete link {index}", fine=_GONE)


def set_link(index: int, *, master: int | None = None, mtu: int | None = None) -> Request:
    """Up, and if given: part of a bridge (0: of none), with this MTU."""
    body = _IFINFO.pack(0, 0, index, _UP, _UP)
    if master is not None:
        body += u32(10, master)
    if mtu is not None:
        body += u32(4, mtu)
    return Request(_NEWLINK, 0, body, what=f"set link {index} up")


def set_bridge_port(index: int, *, hairpin: bool, isolated: bool) -> Request:
    settings = nested(5, u8(_HAIRPIN, hairpin), u8(_ISOLATED, isolated))
    body = _IFINFO.pack(0, 0, index, 0, 0) + nested(18, text(4, "bridge"), settings)
    return Request(_NEWLINK, 0, body, what=f"set bridge port {index}", fine=_GONE)


def links(kernel: Netlink) -> dict[str, Link]:
    found = {}
    for body in kernel.dump(_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0) + u32(29, _SKIP_STATISTICS)):
        link = _link(body)
        found[link.name] = link
    return found


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    has = attributes(body, 16)
    details = attributes(has.get(18, b""))
    kind = details.get(1, b"").rstrip(b"\0").decode()
    vxlan = attributes(details.get(2, b"")) if kind == "vxlan" else {}
    as_port = attributes(details.get(5, b"")) if details.get(4, b"").startswith(b"bridge\0") else {}
    return Link(
        index=index,
        name=has[3].rstrip(b"\0").decode(),
        kind=kind,
        master=int.from_bytes(has.get(10, b""), "little"),
        mtu=int.from_bytes(has.get(4, b""), "little"),
        up=bool(flags & _UP),
        mac=_mac(has.get(1, b"")),
        peer=int.from_bytes(has.get(5, b""), "little"),
        vni=int.from_bytes(vxlan.get(1, b""), "little"),
        local=socket.inet_ntoa(vxlan[4]) if 4 in vxlan else "",
        port=int.from_bytes(vxlan.get(15, b""), "big"),
        hairpin=any(as_port.get(_HAIRPIN, b"")),
        isolated=any(as_port.get(_ISOLATED, b"")),
    )


# -- addresses and routes --------------------------------------------------------------------------------------------------------------
def add_address(index: int, address: str, prefix: int) -> Request:
    raw = socket.inet_aton(address)
    broadcast = (struct.unpack("!I", raw)[0] | ((1 << (32 - prefix)) - 1)) if prefix < 31 else 0
    body = _IFADDR.pack(socket.AF_INET, prefix, 0, 0, index) + attribute(1, raw) + attribute(2, raw)
    if broadcast:
        body += attribute(4, struct.pack("!I", broadcast))
    return Request(_NEWADDR, CREATE | REPLACE, body, what=f"add address {address}/{prefix}")


def addresses(kernel: Netlink) -> list[tuple[int, str, int]]:
    """(interface index, address, prefix length)"""
    found = []
    for body in kernel.dump(_GETADDR, _IFADDR.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, prefix, _, _, index = _IFADDR.unpack_from(body)
        has = attributes(body, 8)
        found.append((index, socket.inet_ntoa(has.get(2, has[1])), prefix))
    return found


def _default_route(table: int, gateway: str, device: int) -> bytes:
    head = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, _PROTOCOL_STATIC, 0, 1, 0)
    return head + u32(15, table) + attribute(5, socket.inet_aton(gateway)) + u32(4, device)


def add_default_route(table: int, *, gateway: str, device: int) -> Request:
    what = f"add default route by {gateway} to table {table}"
    return Request(_NEWROUTE, CREATE | REPLACE, _default_route(table, gateway, device), what=what)


def delete_default_route(table: int) -> Request:
    body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 255, 0, 0) + u32(15, table)
    return Request(_DELROUTE, 0, body, what=f"delete the default route of table {table}", fine=_GONE)


def routes(kernel: Netlink) -> list[Route]:
    """The IPv4 routes of the main table."""
    return [route for table, route in _routes(kernel) if table == 254]


def default_routes(kernel: Netlink) -> dict[int, tuple[str, int]]:
    """table -> (gateway, device) of its default route, for every table but the main one."""
    return {table: (r.gateway, r.device) for table, r in _routes(kernel) if r.destination == "0.0.0.0/0" and table != 254}


def _routes(kernel: Netlink) -> list[tuple[int, Route]]:
    found = []
    for body in kernel.dump(_GETROUTE, _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        _, prefix, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(body)
        if kind != 1:
            continue
        has = attributes(body, 12)
        number = int.from_bytes(has[15], "little") if 15 in has else table
        destination = f"{socket.inet_ntoa(has.get(1, bytes(4)))}/{prefix}"
        gateway = socket.inet_ntoa(has[5]) if 5 in has else ""
        route = Route(destination=destination, device=int.from_bytes(has.get(4, b""), "little"), gateway=gateway)
        found.append((number, route))
    return found


def _rule(mark: int, mask: int, table: int, priority: int) -> bytes:
    head = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, _TO_TABLE, 0)
    return head + u32(6, priority) + u32(10, mark) + u32(16, mask) + u32(15, table)


def add_rule(*, mark: int, mask: int, table: int, priority: int) -> Request:
    """Packets with this mark are routed by this table."""
    what = f"add rule for mark {mark:#x}"
    return Request(_NEWRULE, CREATE | EXCLUSIVE, _rule(mark, mask, table, priority), what=what, fine=(errno.EEXIST,))


def delete_rule(*, mark: int, mask: int, table: int, priority: int) -> Request:
    return Request(_DELRULE, 0, _rule(mark, mask, table, priority), what=f"delete rule for mark {mark:#x}", fine=_GONE)


def rules(kernel: Netlink, priority: int) -> list[tuple[int, int, int]]:
    """(mark, mask, table) of the rules at this priority."""
    found = []
    for body in kernel.dump(_GETRULE, _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        has = {kind: int.from_bytes(raw, "little") for kind, raw in attributes(body, 12).items()}
        if has.get(6, 0) == priority:
            found.append((has.get(10, 0), has.get(16, 0), has.get(15, 0)))
    return found


# -- neighbours ------------------------------------------------------------------------------------------------------------------------
def set_neighbour(device: int, address: str, mac: str) -> Request:
    head = _NDMSG.pack(socket.AF_INET, device, _NUD_PERMANENT, 0, 0)
    body = head + attribute(1, socket.inet_aton(address)) + attribute(2, _raw_mac(mac))
    return Request(_NEWNEIGH, CREATE | REPLACE, body, what=f"set neighbour {address}")


def delete_neighbour(device: int, address: str) -> Request:
    body = _NDMSG.pack(socket.AF_INET, device, 0, 0, 0) + attribute(1, socket.inet_aton(address))
    return Request(_DELNEIGH, 0, body, what=f"delete neighbour {address}", fine=_GONE)


def set_forwarding(device: int, mac: str, node: str) -> Request:
    """Frames to this mac go to that node."""
    head = _NDMSG.pack(_AF_BRIDGE, device, _NUD_PERMANENT | _NUD_NOARP, _NTF_SELF, 0)
    body = head + attribute(2, _raw_mac(mac)) + attribute(1, socket.inet_aton(node))
    return Request(_NEWNEIGH, CREATE | REPLACE, body, what=f"set forwarding of {mac} to {node}")


def delete_forwarding(device: int, mac: str) -> Request:
    body = _NDMSG.pack(_AF_BRIDGE, device, 0, _NTF_SELF, 0) + attribute(2, _raw_mac(mac))
    return Request(_DELNEIGH, 0, body, what=f"delete forwarding of {mac}", fine=_GONE)


def neighbours(kernel: Netlink, devices: Sequence[int]) -> list[Neighbour]:
    """Permanent address -> mac entries of these devices."""
    found = []
    for body in kernel.dump(_GETNEIGH, _NDMSG.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, device, state, _, _ = _NDMSG.unpack_from(body)
        has = attributes(body, 12)
        if device in devices and state & _NUD_PERMANENT and 2 in has:
            found.append(Neighbour(device=device, key=socket.inet_ntoa(has[1]), value=_mac(has[2])))
    return found


def forwarding(kernel: Netlink, devices: Sequence[int]) -> list[Neighbour]:
    """mac -> node entries of these VXLAN devices."""
    found = []
    for body in kernel.dump(_GETNEIGH, _NDMSG.pack(_AF_BRIDGE, 0, 0, 0, 0)):
        _, device, _, flags, _ = _NDMSG.unpack_from(body)
        has = attributes(body, 12)
        if device in devices and flags & _NTF_SELF and 1 in has and 2 in has:
            found.append(Neighbour(device=device, key=_mac(has[2]), value=socket.inet_ntoa(has[1])))
    return found
