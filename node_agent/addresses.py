"""This host's addresses: what `--advertise-addr` and its kin mean, and which networks the host is already on."""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.api.errors import Conflict, InvalidArgument

DEFAULT_PORT = 2377
_SIOCGIFADDR = 0x8915
_OURS = ("shoal", "sb-", "sv-", "sc-")
"""How the names of interfaces that the data plane makes begin."""
_NEVER_ADVERTISED = (*_OURS, "veth", "docker", "br-")


def interface_addresses() -> Mapping[str, str]:
    """Interface name -> its IPv4 address, for each that has one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found[name] = socket.inet_ntoa(answer[20:24])
    return found


def routes(text: str | None = None) -> Sequence[str]:
    """The host's IPv4 networks as CIDRs, from /proc/net/route; the default route and our own bridges left out."""
    lines = (Path("/proc/net/route").read_text() if text is None else text).splitlines()[1:]
    found = []
    for line in lines:
        fields = line.split()
        if len(fields) < 8 or fields[0].startswith(_OURS):
            continue
        network, mask = (int.from_bytes(bytes.fromhex(fields[place]), "little") for place in (1, 7))
        if mask:
            found.append(f"{ipaddress.IPv4Address(network)}/{mask.bit_count()}")
    return tuple(dict.fromkeys(found))


def split_port(address: str, default: int = DEFAULT_PORT) -> tuple[str, int]:
    """`host`, `host:port` or `[v6]:port`. Raises InvalidArgument."""
    host, separator, port = address.rpartition(":")
    if not separator or (address.count(":") > 1 and not address.startswith("[")):
        return address.strip("[]"), default
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise InvalidArgument(f"invalid address {address!r}: the port must be a number from 1 to 65535")
    return host.strip("[]"), int(port)


def resolve(address: str, *, what: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """An address, an interface's name or a host name, each with or without a port, as (IPv4 address, port)."""
    host, port = split_port(address, default_port)
    known = interface_addresses()
    if host in known:
        return known[host], port
    try:
        return str(ipaddress.IPv4Address(host)), port
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
        return str(found[0][4][0]), port
    except OSError as unknown:
        names = ", ".join(sorted(known))
        raise InvalidArgument(
            f"invalid {what} {address!r}: it is no IPv4 address, no name, and no interface of this host ({names})"
        ) from unknown


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_free(host: str, ports: Sequence[int]) -> None:
    """Raises Conflict naming the first TCP port that something else listens on."""
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as taken:
                cure = "if another daemon uses it, stop that one; or choose another with --listen-addr"
                raise Conflict(f"cannot listen on {host}:{port}: {taken.strerror}: {cure}") from taken


def to_advertise(known: Mapping[str, str]) -> str:
    """The one address that others can reach this host at. Raises InvalidArgument, in Docker's words, if that is not clear."""
    usable = {name: address for name, address in known.items() if not address.startswith("127.") and not name.startswith(_NEVER_ADVERTISED)}
    if len(usable) == 1:
        return next(iter(usable.values()))
    if not usable:
        raise InvalidArgument(
            "could not choose an IP address to advertise since this system has no address but loopback: specify one with --advertise-addr"
        )
    listed = " and ".join(f"{address} on interface {name}" for name, address in sorted(usable.items())[:2])
    raise InvalidArgument(
        "could not choose an IP address to advertise since this system has multiple addresses on different interfaces "
        f"({listed}): specify one with --advertise-addr"
    )
