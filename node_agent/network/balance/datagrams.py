"""Datagrams to published ports, carried on and answered.

A flow is a client at one port of ours: it keeps its task while that is served, and is forgotten when it was silent for a minute.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from cluster.aio.clock import Clock
from node_agent.network.balance.header import Request
from node_agent.network.relay import Client, Target

Key = TypeVar("Key")
MOST = 1024
"""Flows at a time; the one that was silent longest makes room."""
IDLE_SECONDS = 60.0
_AT_ONCE = 64
"""Datagrams that are taken before others have their turn."""
_LARGEST = 65535
_IP_PKTINFO = 8
_PKTINFO = struct.Struct("=i4s4s")


class Datagram(NamedTuple):
    request: Request
    content: bytes


Read = Callable[[Key, bytes, Client], Datagram]
"""Of a listener, what it got and from whom: what is wanted. Raises ValueError for what nobody may send there."""


class Datagrams(Generic[Key]):
    """`serve` says by which bound sockets, which are ours to close from then on."""

    def __init__(self, read: Read[Key], targets: Callable[[Request], list[Target]], clock: Clock, *, most: int = MOST) -> None:
        self._read = read
        self._targets = targets
        self._clock = clock
        self._most = most
        self._sockets: dict[Key, socket.socket] = {}
        self._flows: dict[tuple[Key, Client, bytes], _Flow] = {}
        """By listener, client and the address of ours that it wrote to. The one heard of longest ago first."""

    def serve(self, sockets: Mapping[Key, socket.socket]) -> None:
        """Exactly by these from now on. Others may be chosen by now: a flow to what is no more finds another with its next datagram."""
        loop = asyncio.get_running_loop()
        for key in [key for key, bound in self._sockets.items() if sockets.get(key) is not bound]:
            loop.remove_reader(self._sockets[key].fileno())
            self._sockets.pop(key).close()
            self._forget(lambda _, place, key=key: place[0] == key)  # type: ignore[misc]
        for key, bound in sockets.items():
            if key not in self._sockets:
                bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
                loop.add_reader(bound.fileno(), self._take, key, bound)
                self._sockets[key] = bound
        self._forget(lambda flow, _: flow.target not in self._targets(flow.request))

    def sweep(self) -> None:
        """Forget the silent ones."""
        silent = self._clock.monotonic() - IDLE_SECONDS
        self._forget(lambda flow, _: flow.heard < silent)

    def close(self) -> None:
        self.serve({})

    def _forget(self, doomed: "Callable[[_Flow, tuple[Key, Client, bytes]], bool]") -> None:
        for place in [place for place, flow in self._flows.items() if doomed(flow, place)]:
            self._flows.pop(place).close()

    def _take(self, key: Key, bound: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                content, extra, _, client = bound.recvmsg(_LARGEST, socket.CMSG_SPACE(_PKTINFO.size))
            except OSError:  # nothing more for now
                return
            here = next((_PKTINFO.unpack(value)[1] for _, kind, value in extra if kind == _IP_PKTINFO), bytes(4))
            try:
                self._carry(key, bound, (client[0], client[1]), here, self._read(key, content, (client[0], client[1])))
            except (ValueError, OSError):  # nobody may send that there, or no way leads on: a datagram may be lost
                continue

    def _carry(self, key: Key, bound: socket.socket, client: Client, here: bytes, datagram: Datagram) -> None:
        place = (key, client, here)
        flow = self._flows.pop(place, None)
        if flow is not None and flow.request != datagram.request:
            flow.close()
            flow = None
        if flow is None:
            targets = self._targets(datagram.request)
            if not targets:
                return
            if len(self._flows) >= self._most:
                self._flows.pop(next(iter(self._flows))).close()
            flow = _Flow(datagram.request, targets[0], lambda answer: _answer(bound, answer, client, here))
        self._flows[place] = flow
        flow.heard = self._clock.monotonic()
        flow.send(datagram.content)


def _answer(bound: socket.socket, answer: bytes, client: Client, here: bytes) -> None:
    """By the address that the client wrote to: it would not know another."""
    source = [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, here, bytes(4)))]
    bound.sendmsg([answer], source, 0, client)


def _connected(target: Target) -> socket.socket:
    onward = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if target.source:
            with suppress(OSError):  # not an address of this host's (any more): then by the one that leads there
                onward.bind((target.source, 0))
        onward.connect((target.address, target.port))
    except OSError:
        onward.close()
        raise
    return onward


class _Flow:
    """A connected socket of its own, so that answers find their client."""

    def __init__(self, request: Request, target: Target, answer: Callable[[bytes], None]) -> None:
        self.request = request
        self.target = target
        self.heard = 0.0
        self._answer = answer
        self._socket = _connected(target)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._heard_back)

    def send(self, content: bytes) -> None:
        try:
            self._socket.send(self.target.greeting + content)
        except OSError:  # refused, or no room: a datagram may be lost
            return

    def _heard_back(self) -> None:
        try:
            for _ in range(_AT_ONCE):
                self._answer(self._socket.recv(_LARGEST))
        except OSError:
            return

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
