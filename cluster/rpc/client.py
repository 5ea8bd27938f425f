"""The calling side of the contracts on gRPC. A method is named by its function: `remote.unary(ControlAPI.execute, command)`.

Errors come back as the class they were raised as; a peer that cannot be reached is `Unavailable`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import msgspec

from cluster.api.contracts import Caller
from cluster.api.errors import ShoalError, Unavailable, from_code
from cluster.rpc import tls
from cluster.rpc.identity import MANAGER_NAME, Identity
from cluster.rpc.methods import Method, describe
from cluster.rpc.server import CODE_KEY, LEADER_KEY

Request = TypeVar("Request")
Response = TypeVar("Response")

PATIENCE, MOST_PATIENCE = 1.0, 4.0
"""Seconds that a call waits for a connection before another manager is worth a try; ever longer while that is in vain."""

_encoder = msgspec.msgpack.Encoder()
_described: dict[Callable[..., object], tuple[Method, Callable[[bytes], Any]]] = {}


class RpcError(Unavailable):
    """The peer could not be reached, or the connection broke: whether the call took effect is not known."""


class Remote:
    """A connection to one peer. `expect`: what its certificate must be for, any manager unless a node's id is given."""

    def __init__(self, address: str, identity: Identity, *, expect: str = MANAGER_NAME) -> None:
        self.address = address
        self._patience = PATIENCE
        self._channel = grpc.aio.secure_channel(address, tls.channel_credentials(identity), options=tls.channel_options(expect))

    async def close(self) -> None:
        await self._channel.close()

    async def reach(self, *, within: float) -> None:
        """Be connected when this returns. Raises RpcError if that takes longer than `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._channel.channel_ready()
        except TimeoutError as silent:
            raise self._unanswered(within) from silent

    async def _dial(self) -> None:
        """Return once there is a connection, or a reason why not, which the call will give.

        One that is slow is left in the making when we give up on it for now, so that the next try finds it there: a manager that a
        thousand nodes come to at once would otherwise do all its handshakes in vain, again and again.
        """
        state = self._channel.get_state(try_to_connect=True)
        try:
            async with asyncio.timeout(self._patience):
                while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError as silent:
            waited, self._patience = self._patience, min(2 * self._patience, MOST_PATIENCE)
            raise self._unanswered(waited) from silent
        self._patience = PATIENCE

    def _unanswered(self, seconds: float) -> RpcError:
        return RpcError(f"manager {self.address} cannot be reached within {seconds:g} s")

    async def __aenter__(self) -> "Remote":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def unary(self, method: Callable[[Any, Caller, Request], Awaitable[Response]], request: Request, *, timeout: float) -> Response:
        """Call and wait for the one answer; `timeout` in seconds."""
        facts, decode = _facts(method)
        await self._dial()
        call = self._channel.unary_unary(facts.path, _encoder.encode, decode)
        try:
            answer: Response = await call(request, timeout=timeout)
        except grpc.aio.AioRpcError as failed:
            raise _ours(failed, self.address) from failed
        return answer

    async def send_all(
        self, method: Callable[[Any, Caller, AsyncIterator[Request]], Awaitable[Response]], requests: AsyncIterator[Request]
    ) -> Response:
        """Stream requests until they end (or for ever); returns the one answer."""
        facts, decode = _facts(method)
        await self._dial()
        call = self._channel.stream_unary(facts.path, _encoder.encode, decode)()
        try:
            async with _fed(call, requests):
                answer: Response = await call
        except grpc.aio.AioRpcError as failed:
            raise _ours(failed, self.address) from failed
        return answer

    async def exchange(
        self,
        method: Callable[[Any, Caller, AsyncIterator[Request]], AsyncIterator[Response]],
        requests: AsyncIterator[Request],
    ) -> AsyncIterator[Response]:
        """Stream both ways; ends when the peer ends it."""
        facts, decode = _facts(method)
        await self._dial()
        call = self._channel.stream_stream(facts.path, _encoder.encode, decode)()
        try:
            async with _fed(call, requests):
                async for answer in call:
                    yield answer
        except grpc.aio.AioRpcError as failed:
            raise _ours(failed, self.address) from failed


@asynccontextmanager
async def _fed(call: Any, requests: AsyncIterator[Any]) -> AsyncIterator[None]:
    """Send the requests beside the block, and end the call with it.

    The sender is ours: gRPC's own waits for the next request for ever once the peer has ended the call.
    """
    sending = asyncio.ensure_future(_send(call, requests))
    try:
        yield
    finally:
        call.cancel()
        sending.cancel()
        await asyncio.wait([sending])
        if not sending.cancelled():
            sending.result()


async def _send(call: Any, requests: AsyncIterator[Any]) -> None:
    try:
        async for request in requests:
            await call.write(request)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # the call has ended: whoever waits for its answers is told why


def _facts(method: Callable[..., object]) -> tuple[Method, Callable[[bytes], Any]]:
    known = _described.get(method)
    if known is None:
        facts = describe(method)
        known = _described[method] = (facts, msgspec.msgpack.Decoder(facts.response).decode)
    return known


def _ours(failed: grpc.aio.AioRpcError, address: str) -> ShoalError:
    metadata = dict(failed.trailing_metadata() or ())
    code = metadata.get(CODE_KEY)
    if isinstance(code, str):
        error = from_code(code, failed.details() or "")
        leader = metadata.get(LEADER_KEY)
        if isinstance(leader, str) and isinstance(error, Unavailable):
            error.leader_addr = leader
        return error
    return RpcError(f"manager {address} cannot be reached: {failed.details() or failed.code().name.lower()}")
