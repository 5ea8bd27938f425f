"""Which other nodes fell silent, while no manager can say so: without a quorum endpoints stay as they were last told, dead nodes and all.

The other node's kernel is asked, by ICMP echo (RFC 792) over the node link: what is proven is the tunnel that its tasks are reached by.
With a manager in reach nothing is asked: it knows better who is alive, and a node that hears it is told.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from cluster.aio.clock import Clock
from cluster.aio.latest import Latest
from cluster.aio.supervise import first_of
from cluster.api.assignment import ManagerAddr
from cluster.api.ids import Id
from node_agent.network.naming import link_address
from node_agent.network.netns import inside
from node_agent.network.view import Known

log = logging.getLogger(__name__)
ASK_SECONDS = 1.0
SILENT_SECONDS = 3.0
_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_HEADER = struct.Struct("!BBHHH")


class Echo(Protocol):
    """Asks addresses whether they are there."""

    @property
    def heard(self) -> Mapping[str, float]:
        """Address -> when it answered last, by the monotonic clock."""
        ...

    def ask(self, addresses: Iterable[str]) -> None: ...
    def close(self) -> None: ...


class Skipping(Protocol):
    @property
    def known(self) -> Known: ...
    async def skip(self, silent: frozenset[Id]) -> None: ...


def addresses_of(known: Known, node_id: Id) -> dict[Id, str]:
    """The other nodes, each with its address on the link; with that on the underlay, if one of us is not on the link."""
    view = known.view
    me = view.peers.get(node_id)
    others = [peer for peer in view.peers.values() if peer.node_id != node_id]
    linked = me is None or me.linked
    direct = {peer.node_id: peer.addr for peer in others if not (linked and peer.linked)}
    if not view.ingress_subnet:
        return direct
    return direct | {peer.node_id: link_address(view.ingress_subnet, peer.number) for peer in others if peer.node_id not in direct}


def silent_nodes(addresses: Mapping[Id, str], heard: Mapping[str, float], *, since: float, now: float) -> frozenset[Id]:
    """Those not heard for three seconds. `since`: when the asking began, which counts as an answer of everybody."""
    return frozenset(node for node, address in addresses.items() if now - max(since, heard.get(address, since)) > SILENT_SECONDS)


class Silence:
    """`run` it beside the session; `manager` is whom that one is with."""

    def __init__(self, plane: Skipping, manager: Latest[ManagerAddr | None], echo: Echo, *, node_id: Id, clock: Clock) -> None:
        self._plane = plane
        self._manager = manager
        self._echo = echo
        self._node_id = node_id
        self._clock = clock

    async def run(self) -> None:
        try:
            while True:
                await self._skip(frozenset())
                await self._until(lambda manager: manager is None)
                await first_of(lambda: self._until(lambda manager: manager is not None), self._listen)
        finally:
            self._echo.close()

    async def _until(self, holds: Callable[[ManagerAddr | None], bool]) -> None:
        seen = self._manager.revision
        while not holds(self._manager.value):
            seen = await self._manager.wait_change(seen)

    async def _listen(self) -> None:
        """Ask around, until cancelled."""
        since = self._clock.monotonic()
        while True:
            addresses = addresses_of(self._plane.known, self._node_id)
            self._echo.ask(addresses.values())
            await self._clock.sleep(ASK_SECONDS)
            await self._skip(silent_nodes(addresses, self._echo.heard, since=since, now=self._clock.monotonic()))

    async def _skip(self, silent: frozenset[Id]) -> None:
        before = self._plane.known.silent
        if silent == before:
            return
        if silent - before:
            log.warning("no manager in reach, and no answer from %s: their tasks get nothing new", ", ".join(sorted(silent - before)))
        try:
            await self._plane.skip(silent)
        except OSError as problem:
            log.warning("data plane: %s", problem)


class IcmpEcho:
    """One raw socket in the node's namespace, opened at the first question."""

    def __init__(self, clock: Clock, namespace: Path | None = None) -> None:
        self._clock = clock
        self._namespace = namespace
        self._socket: socket.socket | None = None
        self._count = 0
        self.heard: dict[str, float] = {}

    def ask(self, addresses: Iterable[str]) -> None:
        try:
            asking = self._socket or self._open()
        except OSError as problem:
            log.warning("whether other nodes are there cannot be asked: %s", problem)
            return
        self._count = (self._count + 1) & 0xFFFF
        request = echo_request(os.getpid() & 0xFFFF, self._count)
        for address in addresses:
            with suppress(OSError):
                asking.sendto(request, (address, 0))

    def _open(self) -> socket.socket:
        with inside(self._namespace):
            self._socket = opened = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        asyncio.get_running_loop().add_reader(opened, self._read, opened)
        return opened

    def _read(self, asking: socket.socket) -> None:
        with suppress(OSError):
            while True:
                packet, (address, _) = asking.recvfrom(2048)
                if is_reply(packet, os.getpid() & 0xFFFF):
                    self.heard[address] = self._clock.monotonic()

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None


def echo_request(identifier: int, sequence: int) -> bytes:
    """Type 8, code 0, ones' complement checksum (RFC 1071) over the eight bytes."""
    total = (_ECHO_REQUEST << 8) + identifier + sequence
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return _HEADER.pack(_ECHO_REQUEST, 0, ~total & 0xFFFF, identifier, sequence)


def is_reply(packet: bytes, identifier: int) -> bool:
    """Whether an IPv4 packet is an echo reply to us. Raw sockets hear everybody's."""
    header = (packet[0] & 0x0F) * 4 if packet else 0
    if len(packet) < header + _HEADER.size:
        return False
    kind, _, _, whose, _ = _HEADER.unpack_from(packet, header)
    return bool(kind == _ECHO_REPLY and whose == identifier)
