"""Connections that the kernel still translates: UDP flows towards a backend that is gone must be forgotten.

A TCP connection to a task that went away ends by itself. A UDP flow would go to the dead address for as long as datagrams come.
"""

import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from cluster.api.values import Value
from node_agent.network.netlink import Netlink, Request, attribute, attributes, each_attribute, nested, text, u8, u32

_GET, _DELETE = 0x101, 0x102
_NFGENMSG = struct.pack("=BBH", socket.AF_INET, 0, 0)
_ORIGINAL, _REPLY, _ZONE, _FILTER = 1, 2, 18, 25
_IP, _PROTOCOL = 1, 2
_BY_PROTOCOL = 1 << 3
_ENOENT = 2
_GET_ELEMENTS = 0xA0D  # NFT_MSG_GETSETELEM of the nf_tables subsystem
_SET_TABLE, _SET_NAME, _SET_ELEMENTS, _ELEMENT_KEY, _VALUE = 1, 2, 3, 1, 1
K = TypeVar("K")


class UdpFlow(Value, frozen=True, kw_only=True):
    to: str
    """Where the client sent it."""
    port: int
    answered_by: str
    """Where it was sent on to."""
    identity: bytes
    """What the kernel knows it by."""


def forget_udp(kernel: Netlink, is_stale: Callable[[UdpFlow], bool]) -> list[UdpFlow]:
    """Delete the flows that the caller points out; returns the others.

    The kernel looks through the table of the whole machine to tell of one namespace: 8 ms with 262144 buckets, however few are used.
    """
    stale: list[UdpFlow] = []
    left: list[UdpFlow] = []
    for flow in udp_flows(kernel):
        (stale if is_stale(flow) else left).append(flow)
    kernel.do(*(Request(_DELETE, 0, _NFGENMSG + flow.identity, what="forget UDP flow", fine=(_ENOENT,)) for flow in stale))
    return left


def udp_flows(kernel: Netlink) -> Iterator[UdpFlow]:
    only_udp = nested(_ORIGINAL, nested(_PROTOCOL, u8(1, socket.IPPROTO_UDP))) + nested(_FILTER, u32(1, _BY_PROTOCOL))
    for body in kernel.dump(_GET, _NFGENMSG + only_udp):
        has = attributes(body, 4)
        original, reply = attributes(has[_ORIGINAL]), attributes(has[_REPLY])
        protocol = attributes(original[_PROTOCOL])
        if protocol[1][0] != socket.IPPROTO_UDP:
            continue
        zone = attribute(_ZONE, has[_ZONE]) if _ZONE in has else b""
        yield UdpFlow(
            to=socket.inet_ntoa(attributes(original[_IP])[2]),
            port=int.from_bytes(protocol[3], "big"),
            answered_by=socket.inet_ntoa(attributes(reply[_IP])[1]),
            identity=nested(_ORIGINAL, has[_ORIGINAL]) + zone,
        )


def addresses_in(kernel: Netlink, table: str, name: str) -> frozenset[str]:
    """The elements of an nftables set of IPv4 addresses."""
    found = set()
    for body in kernel.dump(_GET_ELEMENTS, _NFGENMSG + text(_SET_TABLE, table) + text(_SET_NAME, name)):
        for element in each_attribute(attributes(body, 4).get(_SET_ELEMENTS, b"")):
            found.add(socket.inet_ntoa(attributes(attributes(element)[_ELEMENT_KEY])[_VALUE]))
    return frozenset(found)


def gone_destinations(before: Mapping[K, Sequence[str]], after: Mapping[K, Sequence[str]]) -> set[tuple[K, str]]:
    """(key, destination) pairs that were there and are no more."""
    return {(key, one) for key, those in before.items() if after.get(key) != those for one in those if one not in after.get(key, ())}
