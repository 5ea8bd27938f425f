"""What a node says first on a connection that it relays to another one: who the client is and which port it came to. Pure.

The PROXY protocol, version 2 (haproxy's proxy-protocol.txt, section 2.2), before a connection's bytes and before each datagram.
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from node_agent.network.ingress import Port

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PROXY = 0x21
_FAMILIES = {4: 0x10, 6: 0x20}
_PROTOCOLS = {"tcp": 1, "udp": 2}
_FIXED = struct.Struct("!12sBBH")
_PORTS = struct.Struct("!HH")
FIXED = _FIXED.size
"""Bytes that every greeting begins with."""
LONGEST = 512
"""What may follow them: addresses, and whatever a later version adds."""


class Request(NamedTuple):
    """A connection or a flow of datagrams that wants to be carried on."""

    port: Port
    client: str
    client_port: int
    arriving: bool
    """Another node sent it: it is for a task of this one, or for nobody. So no two nodes can send it to and fro."""


def pack(request: Request) -> bytes:
    protocol, host_ip, number = request.port
    client = ip_address(request.client)
    here = ip_address(host_ip or ("0.0.0.0" if client.version == 4 else "::"))
    if here.version != client.version:
        raise ValueError(f"a client at {client} cannot have come to {here}")
    body = client.packed + here.packed + _PORTS.pack(request.client_port, number)
    return _FIXED.pack(_SIGNATURE, _PROXY, _FAMILIES[client.version] | _PROTOCOLS[protocol], len(body)) + body


def length(fixed: bytes) -> int:
    """How many bytes follow. Raises ValueError for what is no greeting."""
    if len(fixed) < FIXED:
        raise ValueError("cut off")
    signature, command, _, following = _FIXED.unpack_from(fixed)
    if signature != _SIGNATURE or command != _PROXY or following > LONGEST:
        raise ValueError("no connection that a node relayed")
    return int(following)


def parse(greeting: bytes) -> Request:
    """Raises ValueError for what is no greeting."""
    following = length(greeting)
    kind = greeting[FIXED - 3]
    protocol = next((name for name, number in _PROTOCOLS.items() if number == kind & 0x0F), "")
    version = next((version for version, family in _FAMILIES.items() if family == kind & 0xF0), 0)
    size = 4 if version == 4 else 16
    if not protocol or not version or len(greeting) < FIXED + following or following < 2 * size + 4:
        raise ValueError("no address that a node relays for")
    body = greeting[FIXED : FIXED + following]
    address = IPv4Address if version == 4 else IPv6Address
    client, here = address(body[:size]), address(body[size : 2 * size])
    client_port, number = _PORTS.unpack_from(body, 2 * size)
    return Request((protocol, "" if here.is_unspecified else str(here), number), str(client), client_port, arriving=True)
