"""How many connections others have open to a task: what draining waits for. Pure, but for reading the table of its namespace."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

from cluster.api.values import Value
from node_agent.network.netns import identity, of_pid

_ESTABLISHED, _LISTEN = "01", "0A"
_LOOPBACK = ("127.", "0.0.0.1")
"""The second is what is left of `::1`."""


class Socket(Value, frozen=True, kw_only=True):
    address: str
    port: int
    remote: str
    state: str


def open_to(addresses: Iterable[str], sockets: Iterable[Socket]) -> int:
    """Established connections to one of the addresses, at a port that the task listens on: those that others opened."""
    here, sockets = set(addresses), list(sockets)
    listening = {one.port for one in sockets if one.state == _LISTEN}
    return sum(one.state == _ESTABLISHED and one.address in here and one.port in listening for one in sockets)


def listening(sockets: Iterable[Socket]) -> frozenset[int]:
    """The ports on which something listens that others can reach."""
    return frozenset(one.port for one in sockets if one.state == _LISTEN and not one.address.startswith(_LOOPBACK))


class Bound(Value, frozen=True, kw_only=True):
    """A socket that waits for whoever comes."""

    address: str
    inode: int


def bound(table: str, *, v6: bool, tcp: bool, port: int) -> Iterator[Bound]:
    """Those of one of the kernel's tables that have this port."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, number = fields[1].split(":")
        if int(number, 16) != port or (tcp and fields[3] != _LISTEN):
            continue
        wildcard = not int(address, 16)
        mapped = not v6 or address.startswith("0000000000000000FFFF0000")
        shown = "::" if wildcard and v6 else _address(address) if mapped else address.lower()
        yield Bound(address=shown, inode=int(fields[9]))


def bound_to(protocol: str, port: int) -> list[Bound]:
    """Sockets of this thread's namespace that wait at this port; IPv6 ones count, as most of them take IPv4 too."""
    found: list[Bound] = []
    for name, v6 in ((protocol, False), (f"{protocol}6", True)):
        table = Path("/proc/thread-self/net") / name
        if table.exists():
            found += bound(table.read_text(), v6=v6, tcp=protocol == "tcp", port=port)
    return found


def parse(table: str) -> Iterator[Socket]:
    """Lines of /proc/PID/net/tcp or tcp6 (of which only IPv4 in its mapped form matters here)."""
    for line in table.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        address, port = local.split(":")
        yield Socket(address=_address(address), port=int(port, 16), remote=_address(remote.split(":")[0]), state=state)


def _address(text: str) -> str:
    """Each 32-bit word is in the machine's byte order; an IPv4 address is the last one."""
    return str(IPv4Address(int.from_bytes(bytes.fromhex(text[-8:]), "little")))


def sockets_of(pid: int) -> list[Socket]:
    """The TCP sockets in the process's namespace; none if it is gone."""
    found: list[Socket] = []
    for name in ("tcp", "tcp6"):
        try:
            found += parse(Path(f"/proc/{pid}/net/{name}").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def open_in(pid: int, namespace: int, addresses: Iterable[str]) -> int:
    """`open_to` these addresses in the process's namespace; 0 if it is in that one no more."""
    if not pid or identity(of_pid(pid)) != namespace:
        return 0
    return open_to(filter(None, addresses), sockets_of(pid))
