"""The name server: answers at the gateway address of every overlay on this node, by UDP and TCP.

Plain questions are answered where they arrive. What has to wait, for a VIP to be programmed or for the world to answer, waits in a task
of its own, of which there is a bounded number: the rest is told to come back.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from random import Random
from typing import cast

from node_agent.network.dns import odd, wire
from node_agent.network.dns.directory import Answer, Directory, Forward, Hold
from node_agent.network.dns.forward import Forwarder, HostServers
from node_agent.network.dns.zone import Zone

HELD_SECONDS = 2.0
_MOST_WAITING = 1000
_MOST_STREAMS = 200
_IDLE_SECONDS = 10.0
_IP_FREEBIND = 15


class Server:
    """Runs inside `async with server:`; `hold` gives it a zone."""

    def __init__(self, *, host: HostServers, forwarder: Forwarder, rng: Random, port: int = 53) -> None:
        self._host = host
        self._forwarder = forwarder
        self._rng = rng
        self._port = port
        self._directory = Directory(Zone())
        self._changed = asyncio.Event()
        self._listening: dict[str, tuple[asyncio.DatagramTransport, asyncio.Server]] = {}
        self._group = asyncio.TaskGroup()
        self._waiting: set[asyncio.Task[None]] = set()
        self._streams = 0

    async def __aenter__(self) -> "Server":
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        for gateway in list(self._listening):
            self._close(gateway)
        for task in self._waiting:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    async def hold(self, zone: Zone) -> dict[str, str]:
        """Answer from this zone from now on; returns the gateways that could not be listened at, and why."""
        self._directory = Directory(zone, self._directory)
        self._changed.set()
        self._changed = asyncio.Event()
        wanted = self._directory.gateways
        for gateway in self._listening.keys() - wanted:
            self._close(gateway)
        refused = {}
        for gateway in sorted(wanted - self._listening.keys()):
            try:
                self._listening[gateway] = await self._listen(gateway)
            except OSError as problem:
                refused[gateway] = f"cannot answer names at {gateway}:{self._port}: {problem.strerror or problem}"
        return refused

    def _close(self, gateway: str) -> None:
        transport, server = self._listening.pop(gateway)
        transport.close()
        server.close()

    async def _listen(self, gateway: str) -> tuple[asyncio.DatagramTransport, asyncio.Server]:
        loop = asyncio.get_running_loop()
        datagrams, streams = _bound(gateway, self._port)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self, gateway), sock=datagrams)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve_stream(reader, writer, gateway)

        return transport, await asyncio.start_server(serve, sock=streams)

    # -- UDP ---------------------------------------------------------------------------------------------------------------------------
    def datagram(self, packet: bytes, source: str, gateway: str, reply: Callable[[bytes], None]) -> None:
        query = wire.parse(packet)
        if query is None:
            reply(odd.answer(packet))
            return
        decision = self._directory.decide(query, source, gateway, self._rng)
        if isinstance(decision, Answer):
            reply(wire.respond(query, decision.records, code=decision.code))
        elif len(self._waiting) >= _MOST_WAITING:
            reply(wire.respond(query, code=wire.SERVFAIL))
        else:
            task = self._group.create_task(self._later(packet, query, source, gateway, reply))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _later(self, packet: bytes, query: wire.Query, source: str, gateway: str, reply: Callable[[bytes], None]) -> None:
        reply(await self._resolve(packet, query, source, gateway, stream=False))

    # -- TCP ---------------------------------------------------------------------------------------------------------------------------
    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gateway: str) -> None:
        self._streams += 1
        try:
            source = writer.get_extra_info("peername")[0]
            while self._streams <= _MOST_STREAMS:
                async with asyncio.timeout(_IDLE_SECONDS):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    packet = await reader.readexactly(length)
                query = wire.parse(packet)
                answer = odd.answer(packet) if query is None else await self._resolve(packet, query, source, gateway, stream=True)
                if not answer:
                    return
                writer.write(struct.pack("!H", len(answer)) + answer)
                async with asyncio.timeout(_IDLE_SECONDS):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            self._streams -= 1
            writer.close()

    # -- what has to wait --------------------------------------------------------------------------------------------------------------
    async def _resolve(self, packet: bytes, query: wire.Query, source: str, gateway: str, *, stream: bool) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HELD_SECONDS
        while True:
            decision = self._directory.decide(query, source, gateway, self._rng)
            match decision:
                case Answer():
                    return wire.respond(query, decision.records, code=decision.code, stream=stream)
                case Forward():
                    return await self._forward(packet, query, decision, stream=stream)
                case Hold():
                    try:
                        async with asyncio.timeout_at(deadline):
                            await self._changed.wait()
                    except TimeoutError:
                        return wire.respond(query, code=wire.SERVFAIL)

    async def _forward(self, packet: bytes, query: wire.Query, decision: Forward, *, stream: bool) -> bytes:
        ours = self._directory.gateways
        servers = [server for server in decision.upstreams or self._host.get() if server not in ours]
        if not servers:
            return wire.respond(query, code=wire.NXDOMAIN)
        answer = await self._forwarder.ask(packet, servers, stream=stream)
        return answer or wire.respond(query, code=wire.SERVFAIL)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server, gateway: str) -> None:
        self._server = server
        self._gateway = gateway
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        def reply(answer: bytes) -> None:
            if answer and self._transport is not None and not self._transport.is_closing():
                self._transport.sendto(answer, addr)

        self._server.datagram(data, addr[0], self._gateway, reply)


def _bound(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """A datagram and a listening socket; they may be there before the bridge has its address."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    streams = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        for one in (datagrams, streams):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        datagrams.bind((address, port))
        streams.bind((address, port))
    except OSError:
        datagrams.close()
        streams.close()
        raise
    return datagrams, streams
