"""Questions about the rest of the world, asked of the host's own name servers or the task's."""

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import cast

from cluster.aio.clock import Clock
from node_agent.network.dns import wire
from node_agent.network.dns.cache import Cache

PORT = 53
TRY_SECONDS = 2.0
SILENT_SECONDS = 30.0
_TRIES = 2


class HostServers:
    """The name servers of the host's resolv.conf, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = 0
        self._servers: tuple[str, ...] = ()

    def get(self) -> tuple[str, ...]:
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._servers = nameservers(self._path.read_text())
                self._stamp = stamp
        except OSError:
            self._servers, self._stamp = (), 0
        return self._servers


def nameservers(text: str) -> tuple[str, ...]:
    """The IPv4 and IPv6 servers of a resolv.conf, in order."""
    lines = (line.split() for line in text.splitlines())
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")


class Forwarder:
    """Each question goes out by a socket of its own with an identity of its own: an answer cannot be guessed from outside."""

    def __init__(self, rng: Random, clock: Clock, *, port: int = PORT) -> None:
        self._rng = rng
        self._clock = clock
        self._port = port
        self._cache = Cache()
        self._silent: dict[str, float] = {}
        """Servers that did not answer, and until when the others are asked before them."""

    async def ask(self, packet: bytes, servers: Sequence[str], *, stream: bool) -> bytes:
        """The first server's answer, under the asker's identity; empty when none answers."""
        now = self._clock.monotonic()
        if remembered := self._cache.get(packet, servers, stream=stream, now=now):
            return remembered
        answer = await self._ask_any(packet, self._in_turn(servers, now), stream=stream)
        self._cache.put(packet, servers, answer, stream=stream, now=self._clock.monotonic())
        return answer

    def _in_turn(self, servers: Sequence[str], now: float) -> list[str]:
        """As they are listed, those that were silent a moment ago at the end."""
        self._silent = {server: until for server, until in self._silent.items() if until > now}
        return sorted(servers, key=lambda server: server in self._silent)

    async def _ask_any(self, packet: bytes, servers: Sequence[str], *, stream: bool) -> bytes:
        identity = self._rng.randrange(65536)
        question = struct.pack("!H", identity) + packet[2:]
        for server in [*servers] * _TRIES:
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    answer = await (self._by_tcp if stream else self._by_udp)(question, server)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self._silent[server] = self._clock.monotonic() + SILENT_SECONDS
                continue
            if _answers(question, answer):
                return packet[:2] + answer[2:]
        return b""

    async def _by_udp(self, question: bytes, server: str) -> bytes:
        loop = asyncio.get_running_loop()
        transport, asking = await loop.create_datagram_endpoint(lambda: _Asking(question), remote_addr=(server, self._port))
        try:
            return await asking.answer
        finally:
            transport.close()

    async def _by_tcp(self, question: bytes, server: str) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(struct.pack("!H", len(question)) + question)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(length)
        finally:
            writer.close()


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, question: bytes) -> None:
        self._question = question
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.DatagramTransport", transport).sendto(self._question)

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:  # noqa: ARG002 - asyncio's signature
        if not self.answer.done() and _answers(self._question, data):
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


def _answers(question: bytes, answer: bytes) -> bool:
    """It is a response, to this very question."""
    if len(answer) < 12 or answer[:2] != question[:2] or not answer[2] & 0x80:
        return False
    asked = wire.parse(question)
    return asked is None or answer[12 : 12 + len(asked.question)].lower() == asked.question.lower()
