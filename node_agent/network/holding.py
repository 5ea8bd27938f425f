"""Published ports are held by sockets, so that another program gets EADDRINUSE and `ss` shows who has them. Synchronous; worker thread.

Traffic is translated before it reaches these sockets; what does reach one has no task to go to, and the node's table refuses it. A port
that somebody else had first stays theirs: it is reported, its traffic is not taken, and it is tried again with each recheck.
"""

import errno
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from node_agent.network.connections import Bound, bound_to
from node_agent.network.ingress import NAMES_PORT, NOTHING_HELD, Holding, Port, Published
from node_agent.network.netns import inside

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_BACKLOG = 128


class PortHolder:
    """Sockets of one namespace. `relays` are those that answer by IPv6."""

    def __init__(self, namespace: Path | None) -> None:
        self._namespace = namespace
        self._held: dict[Port, socket.socket | None] = {}
        """None: not by a socket, since somebody listens at one address of the host; see `besides`."""
        self._holding = NOTHING_HELD
        self._bound: list[tuple[Port, socket.socket]] = []
        """Not yet listening."""
        self.relays: dict[int, socket.socket] = {}

    def hold(self, ports: Iterable[Published], *, recheck: bool) -> Holding:
        wanted = {port.key for port in ports if port.protocol in _KINDS}
        for port in self._held.keys() - wanted:
            self._free(port)
        missing = wanted - self._held.keys()
        if recheck:
            missing |= {port for port in wanted if self._held.get(port) is None}
        elif not missing - self._holding.taken.keys() and wanted >= self._holding.taken.keys():
            return self._holding
        taken: dict[Port, str] = {}
        besides: set[tuple[str, str, int]] = set()
        with inside(self._namespace):
            for port in sorted(missing):
                self._try(port, taken, besides)
        self._holding = Holding(taken=taken, besides=frozenset(besides))
        return self._holding

    def listen(self) -> None:
        """Once the table refuses what is not translated: a socket that listened before would take connections and never answer."""
        for port, made in self._bound:
            try:
                made.listen(_BACKLOG)
            except OSError:  # given up meanwhile, or somebody was faster: the next recheck says who
                made.close()
                if self._held.get(port) is made:
                    del self._held[port]
                elif self.relays.get(port[2]) is made:
                    del self.relays[port[2]]
        self._bound.clear()

    def _try(self, port: Port, taken: dict[Port, str], besides: set[tuple[str, str, int]]) -> None:
        protocol, host_ip, number = port
        try:
            self._held[port] = None if number == NAMES_PORT else bind(socket.AF_INET, protocol, host_ip, number)
        except OSError as refused:
            if refused.errno == errno.EADDRNOTAVAIL:  # a port for one address, and another node's: nothing comes in here by it
                self._held[port] = None
                return
            if refused.errno != errno.EADDRINUSE:
                taken[port] = refused.strerror or str(refused)
                return
            self._held[port] = None
        if (made := self._held[port]) is not None and protocol == "tcp":
            self._bound.append((port, made))
        if made is None:
            others = bound_to(protocol, number)
            everywhere = [one for one in others if one.address in ("0.0.0.0", "::", host_ip)]
            if everywhere:
                del self._held[port]
                taken[port] = holders(everywhere)
                return
            besides |= {(one.address, protocol, number) for one in others if ":" not in one.address}
        if protocol == "tcp" and not host_ip and number not in (*self.relays, NAMES_PORT):
            with suppress(OSError):  # no IPv6 here, or the port is somebody's there: IPv4 alone, then
                self.relays[number] = bind(socket.AF_INET6, protocol, "", number)
                self._bound.append((port, self.relays[number]))

    def _free(self, port: Port) -> None:
        held = self._held.pop(port)
        if held is not None:
            held.close()
        if port[0] == "tcp" and not port[1]:
            self.relays.pop(port[2], None)  # closed by whoever answers by it

    def close(self) -> None:
        for port in list(self._held):
            self._free(port)


def bind(family: socket.AddressFamily, protocol: str, host_ip: str, number: int) -> socket.socket:
    """A socket that has the port, not yet listening. Raises OSError."""
    made = socket.socket(family, _KINDS[protocol])
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":  # connections of an earlier server that are still closing are no obstacle
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host_ip, number))
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def listeners(protocol: str, number: int, host_ip: str) -> list[str]:
    """Who waits at this port on the address (empty: all of them), in this thread's namespace."""
    return _owners([one for one in bound_to(protocol, number) if one.address in ("0.0.0.0", "::", host_ip)])


def holders(others: list[Bound]) -> str:
    """Who has it, as far as /proc tells."""
    return ", ".join(_owners(others)) or "another program"


def _owners(others: Iterable[Bound]) -> list[str]:
    return sorted({name for one in others if (name := _owner(one.inode))})


def _owner(inode: int) -> str:
    mark = f"socket:[{inode}]"
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):  # the process, or one of its descriptors, is gone by now
            if any(_leads_to(entry, mark) for entry in folder.iterdir()):
                return f"{(folder.parent / 'comm').read_text().strip()} (process {folder.parent.name})"
    return ""


def _leads_to(descriptor: Path, mark: str) -> bool:
    try:
        return os.readlink(descriptor) == mark
    except OSError:
        return False
