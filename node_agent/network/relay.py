"""Connections that are accepted here and carried on elsewhere: published ports by IPv6, for overlays speak IPv4, and every published port
where the kernel may not be programmed (`balance`).

The places where a task does not see its client's own address, and where a process of ours is in the path. Bounded, so that nobody can take
the process's descriptors.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from node_agent.network.netns import inside
from node_agent.network.pump import carry, reset_on_close

Key = TypeVar("Key")
Client = tuple[str, int]
MOST = 512
"""Connections at a time; more wait in the sockets' backlogs."""
_CONNECT_SECONDS = 10.0
_PATIENCE = 1.5
"""Seconds that a target has to answer while there is another one to try."""
_PAUSE = 0.1


class Target(NamedTuple):
    """Where a connection may be carried on to."""

    address: str
    port: int
    source: str = ""
    """The address of ours to be seen with; empty leaves it to the kernel."""
    greeting: bytes = b""
    """What is said to it first."""


Choose = Callable[[Key, socket.socket, Client], Awaitable[Sequence[Target]]]
"""Of a listener, a connection and who opened it: where to carry it on to, and where next if that does not answer. Raises OSError."""


async def by_ipv4(port: int, _connection: socket.socket, _client: Client) -> tuple[Target, ...]:
    """Connections to this port by IPv6 go where those by IPv4 do."""
    return (Target("127.0.0.1", port),)


class Relay(Generic[Key]):
    """`run` it; `serve` says by which listening sockets, which are the relay's to close from then on."""

    def __init__(
        self, namespace: Path | None, choose: Choose[Key], *, most: int = MOST, lost: Callable[[Target], None] = lambda _: None
    ) -> None:
        """`lost` is told of each target that did not answer."""
        self._namespace = namespace
        self._choose = choose
        self._lost = lost
        self._listeners: dict[Key, socket.socket] = {}
        self._accepting: dict[Key, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._room = asyncio.Semaphore(most)

    async def run(self) -> None:
        """Until cancelled; what it carries ends with it."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._accept_all()
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            self._accepting.clear()

    def serve(self, sockets: Mapping[Key, socket.socket]) -> None:
        """Exactly by these from now on; what is open goes on."""
        for key, listener in list(self._listeners.items()):
            if sockets.get(key) is not listener:
                if key in self._accepting:
                    self._accepting.pop(key).cancel()
                del self._listeners[key]
                listener.close()
        self._listeners.update(sockets)
        self._accept_all()

    def _accept_all(self) -> None:
        if self._group is None:
            return
        for key, listener in self._listeners.items():
            if key not in self._accepting:
                self._accepting[key] = self._group.create_task(self._accept(self._group, listener, key), name=f"relay of {key}")

    async def _accept(self, group: asyncio.TaskGroup, listener: socket.socket, key: Key) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                client, source = await loop.sock_accept(listener)
            except OSError:  # it went before it was taken, or there are no descriptors left
                self._room.release()
                await asyncio.sleep(_PAUSE)
            except BaseException:
                self._room.release()
                raise
            else:
                group.create_task(self._carry(key, client, source[:2]), name=f"relay to {key}")

    async def _carry(self, key: Key, client: socket.socket, source: Client) -> None:
        """Whatever either side does ends this connection and no other."""
        try:
            with client, suppress(OSError):
                client.setblocking(False)
                onward = await self._connect(await self._choose(key, client, source))
                if onward is None:
                    reset_on_close(client)  # refused there, so reset here
                    return
                with onward:
                    await _carry_on(client, onward)
        finally:
            self._room.release()

    async def _connect(self, targets: Sequence[Target]) -> socket.socket | None:
        """To the first that answers."""
        for number, target in enumerate(targets, start=1):
            with inside(self._namespace):
                onward = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS if number == len(targets) else _PATIENCE):
                    await _open(onward, target)
            except OSError:  # TimeoutError is one
                onward.close()
                self._lost(target)
            except BaseException:
                onward.close()
                raise
            else:
                return onward
        return None


async def _open(onward: socket.socket, target: Target) -> None:
    loop = asyncio.get_running_loop()
    if target.source:
        with suppress(OSError):  # not an address of this host's (any more): then by the one that leads there
            onward.bind((target.source, 0))
    await loop.sock_connect(onward, (target.address, target.port))
    if target.greeting:
        await loop.sock_sendall(onward, target.greeting)


async def _carry_on(client: socket.socket, onward: socket.socket) -> None:
    for one in (client, onward):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a side that vanished is noticed some time
    try:
        await carry(client, onward)
    except BaseException:
        reset_on_close(client, onward)
        raise
