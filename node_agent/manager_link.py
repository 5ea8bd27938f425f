"""The node's lines to the managers: sessions, log streams, certificate renewals, Raft frames, each bound to gRPC here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from cluster.api.assignment import Credit, FromNode, LogChunk, ManagerAddr, Piece, ToNode
from cluster.api.contracts import Caller, Conversations, Dispatcher, Frame, RaftPeer, Streams
from cluster.api.errors import Fenced, ShoalError, Unavailable
from cluster.rpc.client import Remote, RpcError
from cluster.rpc.pool import Remotes
from worker.lines import Line, line_over

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

_TRIES = 5
_REACH_WITHIN = 1.0


def session_line(remotes: Remotes) -> Callable[[ManagerAddr], AbstractAsyncContextManager[Line[FromNode, ToNode]]]:
    """How to open a session with a manager."""

    async def exchange(address: str, requests: AsyncIterator[FromNode]) -> AsyncIterator[ToNode]:
        try:
            async for message in remotes.to(address).exchange(Dispatcher.session, requests):
                yield message
        except Fenced as fenced:
            fenced.addr = address
            raise

    return lambda manager: line_over(exchange)(manager.addr)


def log_line(remotes: Remotes) -> Callable[[str], AbstractAsyncContextManager[Line[LogChunk, Credit]]]:
    """How to stream logs to the manager at an address."""

    def exchange(address: str, requests: AsyncIterator[LogChunk]) -> AsyncIterator[Credit]:
        return remotes.to(address).exchange(Streams.publish, requests)

    return line_over(exchange)


def conversation_line(remotes: Remotes) -> Callable[[str], AbstractAsyncContextManager[Line[Piece, Piece]]]:
    """How to call the manager at an address whose client wants to speak with a container here."""

    def exchange(address: str, requests: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
        return remotes.to(address).exchange(Conversations.converse, requests)

    return line_over(exchange)


async def ask_leader(
    remotes: Remotes,
    managers: Sequence[ManagerAddr],
    method: Callable[[Any, Caller, Asked], Awaitable[Answer]],
    request: Asked,
    *,
    timeout: float,
) -> Answer:
    """Ask whichever manager leads, following those that say where that is. Raises the last refusal."""
    addresses = [manager.addr for manager in sorted(managers, key=lambda manager: not manager.leader)]
    failed: ShoalError = Unavailable("no manager is known")
    for _ in range(_TRIES):
        for address in addresses:
            try:
                return await remotes.to(address).unary(method, request, timeout=timeout)
            except Unavailable as elsewhere:
                failed = elsewhere
                if elsewhere.leader_addr:
                    addresses = [elsewhere.leader_addr, *(known for known in addresses if known != elsewhere.leader_addr)]
                    break
        else:
            await asyncio.sleep(0.3)
    raise failed


def raft_dial(
    remotes: Remotes, fenced: Callable[[str], None] = lambda _: None
) -> Callable[[str, Callable[[], None]], AbstractAsyncContextManager[Callable[[bytes], Awaitable[None]]]]:
    """How a member connects to a peer: one stream of frames, as `manager.raft.transport` wants it.

    `fenced` is told of an address whose manager says that the swarm went on without us.
    """

    @asynccontextmanager
    async def dial(address: str, ended: Callable[[], None]) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        remote = remotes.to(address)
        await remote.reach(within=_REACH_WITHIN)  # otherwise the first frame would seem sent, and every try a success
        stream = _FrameStream(remote, ended)
        try:
            yield stream.send
            stream.heed_refusal()
        except Fenced:
            fenced(address)
            raise
        finally:
            await stream.close()

    return dial


class _FrameStream:
    """Frames into one call, as fast as the transport takes them."""

    def __init__(self, remote: Remote, ended: Callable[[], None]) -> None:
        self._waiting: asyncio.Queue[Frame | None] = asyncio.Queue(64)
        self._call = asyncio.ensure_future(remote.send_all(RaftPeer.exchange, self._frames()))
        self._ended = ended
        self._call.add_done_callback(self._tell)

    async def send(self, body: bytes) -> None:
        if self._call.done():
            self._call.result()
            raise Unavailable("the peer ended the stream")
        if self._waiting.full():
            await self._wait_room(body)
        else:
            self._waiting.put_nowait(Frame(body))

    async def _wait_room(self, body: bytes) -> None:
        putting = asyncio.ensure_future(self._waiting.put(Frame(body)))
        await asyncio.wait([putting, self._call], return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():
            putting.cancel()
            self._call.result()
            raise Unavailable("the peer ended the stream")

    def _tell(self, _: object) -> None:
        self._ended()

    def heed_refusal(self) -> None:
        """Raises what the peer refused us with, if that is how it ended; a connection that broke is just made again."""
        if self._call.done() and not isinstance(refusal := self._call.exception(), RpcError | None):
            raise refusal

    async def close(self) -> None:
        self._call.remove_done_callback(self._tell)
        self._call.cancel()
        await asyncio.wait([self._call])
        if not self._call.cancelled():
            self._call.exception()

    async def _frames(self) -> AsyncIterator[Frame]:
        while (frame := await self._waiting.get()) is not None:
            yield frame
