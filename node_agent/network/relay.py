"""Published ports by IPv6: overlays speak IPv4, so such a connection is accepted here and carried on over 127.0.0.1.

The one place where the task does not see its client's own address, and where the daemon is in the path. Bounded, so that nobody can
take the daemon's descriptors.
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from node_agent.network.netns import inside

MOST = 512
"""Connections at a time; more wait in the sockets' backlogs."""
_CONNECT_SECONDS = 10.0
_CHUNK = 65536


class Relay:
    """`run` it; `serve` says by which listening sockets, which are the relay's to close from then on."""

    def __init__(self, namespace: Path | None) -> None:
        self._namespace = namespace
        self._listeners: dict[int, socket.socket] = {}
        self._accepting: dict[int, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._room = asyncio.Semaphore(MOST)

    async def run(self) -> None:
        """Until cancelled; what it carries ends with it."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._accept_all()
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            self._accepting.clear()

    def serve(self, sockets: Mapping[int, socket.socket]) -> None:
        """Exactly by these from now on; what is open goes on."""
        for port, listener in list(self._listeners.items()):
            if sockets.get(port) is not listener:
                if port in self._accepting:
                    self._accepting.pop(port).cancel()
                del self._listeners[port]
                listener.close()
        self._listeners.update(sockets)
        self._accept_all()

    def _accept_all(self) -> None:
        if self._group is None:
            return
        for port, listener in self._listeners.items():
            if port not in self._accepting:
                self._accepting[port] = self._group.create_task(self._accept(self._group, listener, port), name=f"relay of port {port}")

    async def _accept(self, group: asyncio.TaskGroup, listener: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                client, _ = await loop.sock_accept(listener)
            except BaseException:
                self._room.release()
                raise
            group.create_task(self._carry(client, port), name=f"relay to port {port}")

    async def _carry(self, client: socket.socket, port: int) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=client)
            if (far := await self._connect(port)) is None:
                writer.transport.abort()  # refused there, so reset here
                return
            onward, away = far
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(_pump(reader, away))
                    ways.create_task(_pump(onward, writer))
            finally:
                writer.close()
                away.close()
        finally:
            self._room.release()

    async def _connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        with inside(self._namespace):
            onward = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(onward, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=onward)
        except (OSError, TimeoutError):
            onward.close()
            return None
        except BaseException:
            onward.close()
            raise


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source has said all; then the target is told so."""
    with suppress(OSError):
        while heard := await source.read(_CHUNK):
            target.write(heard)
            await target.drain()
    with suppress(OSError):
        target.write_eof()
