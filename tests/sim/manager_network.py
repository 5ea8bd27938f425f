"""The twin of `cluster.rpc` in one process: the same calls on the same contracts, over links that the weather decides about.

Raft's frames are lost, repeated, late and out of order, each on its own; all other calls keep their order, as a connection does, and break.
A link that is cut is silent: callers learn of it by their timeouts, or when keepalive gives the connection up. What a dead process says
reaches nobody.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from functools import cache, partial
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from cluster.api.contracts import Caller, RaftPeer
from cluster.api.errors import Forbidden, ShoalError, Unavailable, code_of, from_code
from cluster.api.states import Role
from cluster.rpc.client import RpcError
from cluster.rpc.methods import Method, describe, methods_of
from tests.sim.manager_tally import Tally

T = TypeVar("T")
Authorize = Callable[[Caller], Role | None]
Served = tuple[object, Authorize | None]

KEEPALIVE = 2.0
"""Seconds after which a silent connection is given up."""


class Process(Protocol):
    """One life of a daemon."""

    is_alive: bool

    @property
    def id(self) -> str: ...

    @property
    def role(self) -> Role:
        """What its certificate says."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...


class Weather(msgspec.Struct):
    """How bad the network is."""

    loss: float = 0.0
    repeats: float = 0.0
    late: float = 0.0
    tally: Tally = msgspec.field(default_factory=Tally)

    def calm(self) -> None:
        self.loss = self.repeats = self.late = 0.0


class Server:
    """The twin of RpcServer: what one process answers, while it is up."""

    def __init__(self, process: Process, authorize: Authorize) -> None:
        self.process = process
        self._authorize = authorize
        self._served: dict[str, Served] = {}

    def offer(self, contract: type, implementation: object, *, authorize: Authorize | None = None) -> None:
        for method in methods_of(contract):
            self._served[method.path] = (implementation, authorize)

    def admit(self, method: Method, client: Process) -> tuple[Callable[..., Any], Caller]:
        """What serves the call. Raises what the real server refuses with."""
        implementation, authorize = self._served[method.path]
        caller = Caller(node_id=client.id, role=client.role)
        if caller.role not in method.roles or ((authorize or self._authorize)(caller) or caller.role) not in method.roles:
            raise Forbidden(f"a {caller.role} may not call {method.contract}.{method.name}")
        return getattr(implementation, method.name), caller


class Network:
    """What connects the processes, and what comes between them."""

    def __init__(self, rng: Random, weather: Weather) -> None:
        self.rng = rng
        self.weather = weather
        self.sent = 0
        self._cut: Counter[tuple[str, str]] = Counter()
        self._servers: dict[str, Server] = {}
        self._calls: dict[int, Call] = {}
        self._numbers = 0
        self._newest: Counter[tuple[str, str]] = Counter()
        """The latest datagram that arrived, by sender and receiver."""

    # -- who is there ----------------------------------------------------------------------------------------------------------------
    def listen(self, address: str, server: Server) -> None:
        self._servers[address] = server

    def deafen(self, address: str, process: Process) -> None:
        """It listens there no more; whoever was connected is told so, if word gets through."""
        server = self._servers.get(address)
        if server is not None and server.process is process:
            del self._servers[address]
            self._end_calls(lambda call: call.server is process)

    def died(self, process: Process) -> None:
        self._end_calls(lambda call: process in (call.client, call.server))

    def break_off(self, name: str, *, noticed: float) -> None:
        """Some of the connections of this process break, at about the same time."""
        for call in list(self._calls.values()):
            if name in (call.client.id, call.server.id) and self.rng.random() < noticed:
                self.weather.tally.connections_broken += 1
                self._in(self.rng.uniform(0.0, 0.3), call.fail)

    def _end_calls(self, concerned: Callable[["Call"], bool]) -> None:
        for call in list(self._calls.values()):
            if concerned(call):
                is_silent = not (self.passes(call.client, call.server) and self.passes(call.server, call.client))
                self._in(KEEPALIVE if is_silent else self.delay(), call.fail)

    def server_at(self, address: str) -> Server | None:
        server = self._servers.get(address)
        return server if server is not None and server.process.is_alive else None

    # -- what passes -----------------------------------------------------------------------------------------------------------------
    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._cut.update(pairs)

    def mend(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._cut.subtract(pairs)

    def mend_all(self) -> None:
        self._cut.clear()

    def passes(self, sender: Process, to: Process) -> bool:
        return self._cut[sender.id, to.id] <= 0

    def delay(self) -> float:
        if self.rng.random() < self.weather.late:
            self.weather.tally.messages_late += 1
            return self.rng.uniform(0.2, 1.5)
        return self.rng.uniform(0.0005, 0.008)

    def send(self, sender: Process, to: Process, deliver: Callable[[], None]) -> None:
        """A datagram."""
        if not sender.is_alive:
            return
        if self.rng.random() < self.weather.loss:
            self.weather.tally.messages_lost += 1
            return
        self.sent += 1
        repeats = self.rng.random() < self.weather.repeats
        self.weather.tally.messages_repeated += repeats
        for _ in range(1 + repeats):
            self._in(self.delay(), partial(self._arrive, sender, to, self.sent, deliver))

    def _arrive(self, sender: Process, to: Process, number: int, deliver: Callable[[], None]) -> None:
        if not to.is_alive:
            return
        tally, link = self.weather.tally, (sender.id, to.id)
        if self.passes(sender, to):
            tally.messages_overtaken += number < self._newest[link]
            self._newest[link] = max(number, self._newest[link])
            deliver()
        elif self.passes(to, sender):
            tally.messages_stopped_one_way += 1
        else:
            tally.messages_stopped += 1

    def _in(self, seconds: float, action: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, action)

    # -- calls -----------------------------------------------------------------------------------------------------------------------
    def open(self, client: Process, server: Process, *, is_raft: bool) -> "Call":
        self._numbers += 1
        call = self._calls[self._numbers] = Call(self, self._numbers, client, server, is_raft=is_raft)
        return call

    def close(self, call: "Call") -> None:
        self._calls.pop(call.number, None)

    async def reach(self, client: Process, address: str) -> Server:
        """The server there. Raises RpcError where nothing listens, and where nothing passes, though not at once."""
        await asyncio.sleep(self.delay())
        server = self.server_at(address)
        if server is None:
            raise RpcError(f"manager {address} cannot be reached")
        if not (self.passes(client, server.process) and self.passes(server.process, client)):
            await asyncio.sleep(KEEPALIVE)
            raise RpcError(f"manager {address} cannot be reached")
        return server


class Pipe(Generic[T]):
    """One direction of a call: in order and whole, or broken."""

    def __init__(self, network: Network, sender: Process, to: Process, broken: Callable[[], None]) -> None:
        self._network = network
        self._sender = sender
        self._to = to
        self._broken = broken
        self._on_way: deque[T] = deque()
        self._arrived: deque[T] = deque()
        self._last = 0.0
        self._blocked_since: float | None = None
        self._news = asyncio.Event()
        self._error: ShoalError | None = None
        self._is_finished = False

    def put(self, item: T) -> None:
        if not self._sender.is_alive:
            return
        loop = asyncio.get_running_loop()
        self._on_way.append(item)
        self._last = max(self._last, loop.time() + self._network.delay())
        loop.call_at(self._last, self._arrive)

    def put_loosely(self, item: T) -> None:
        """Raft's way: it may get lost, or come twice, or late."""
        self._network.send(self._sender, self._to, partial(self._take, item))

    def _arrive(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._network.passes(self._sender, self._to):
            self._blocked_since = self._blocked_since or loop.time()
            if loop.time() - self._blocked_since > KEEPALIVE:
                self._broken()
            else:
                loop.call_later(0.3, self._arrive)
            return
        self._blocked_since = None
        if self._on_way and self._to.is_alive:
            self._take(self._on_way.popleft())

    def _take(self, item: T) -> None:
        self._arrived.append(item)
        self._news.set()

    def end(self, error: ShoalError | None = None) -> None:
        """The reader gets what has arrived, then the end."""
        self._is_finished, self._error = True, self._error or error
        self._news.set()

    async def items(self) -> AsyncIterator[T]:
        while True:
            while self._arrived:
                yield self._arrived.popleft()
            if self._error is not None:
                raise self._error
            if self._is_finished:
                return
            self._news.clear()
            await self._news.wait()


class Call:
    """One call under way between two processes."""

    def __init__(self, network: Network, number: int, client: Process, server: Process, *, is_raft: bool) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.is_raft = is_raft
        self.up: Pipe[Any] = Pipe(network, client, server, self.fail)
        self.down: Pipe[Any] = Pipe(network, server, client, self.fail)
        self.serving: asyncio.Task[None] | None = None
        self._network = network

    def fail(self) -> None:
        """Both sides find the connection broken. The server may be told to stop at once, or find that nobody listens."""
        self._network.close(self)
        if self.serving is not None and self._network.rng.random() < 0.5:
            self.serving.cancel()
        for pipe in (self.up, self.down):
            pipe.end(RpcError(f"the connection of {self.client.id} to {self.server.id} broke"))


class _End(msgspec.Struct):
    """The server's last word."""

    code: str = ""
    text: str = ""
    leader_addr: str = ""

    def error(self) -> ShoalError | None:
        if not self.code:
            return None
        error = from_code(self.code, self.text)
        if isinstance(error, Unavailable):
            error.leader_addr = self.leader_addr
        return error


class Remote:
    """The twin of cluster.rpc.client.Remote."""

    def __init__(self, network: Network, client: Process, address: str) -> None:
        self._network = network
        self._client = client
        self.address = address

    async def reach(self, *, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await self._network.reach(self._client, self.address)
        except TimeoutError as silent:
            raise RpcError(f"manager {self.address} cannot be reached within {within:g} s") from silent

    async def unary(self, method: Callable[[Any, Caller, Any], Awaitable[T]], request: object, *, timeout: float) -> T:
        try:
            async with asyncio.timeout(timeout):
                return await self._first(method, [request])
        except TimeoutError as silent:
            raise RpcError(f"manager {self.address} did not answer within {timeout:g} s") from silent

    async def send_all(self, method: Callable[..., Awaitable[T]], requests: AsyncIterator[Any]) -> T:
        return await self._first(method, requests)

    async def _first(self, method: Callable[..., Awaitable[T]], requests: AsyncIterator[Any] | list[Any]) -> T:
        async with aclosing(self._converse(method, requests)) as answers:
            async for answer in answers:
                return answer
        raise RpcError(f"manager {self.address} ended the call without an answer")

    def exchange(self, method: Callable[..., AsyncIterator[T]], requests: AsyncIterator[Any]) -> AsyncIterator[T]:
        return self._converse(method, requests)

    async def _converse(self, method: Callable[..., Any], requests: AsyncIterator[Any] | list[Any]) -> AsyncGenerator[Any, None]:
        facts, recode_request, recode_answer = _facts(method)
        server = await self._network.reach(self._client, self.address)
        call = self._network.open(self._client, server.process, is_raft=facts.contract == RaftPeer.__name__)
        call.serving = server.process.spawn(_serve(call, server, facts, recode_request))
        sending = self._client.spawn(_send(call, requests))
        try:
            async for item in call.down.items():
                if not isinstance(item, _End):
                    yield recode_answer(item)
                elif (error := item.error()) is not None:
                    raise error
                else:
                    return
        finally:
            sending.cancel()
            self._network.close(call)
            asyncio.get_running_loop().call_later(self._network.delay(), call.fail)


class Remotes:
    """The twin of cluster.rpc.pool.Remotes."""

    def __init__(self, network: Network, client: Process) -> None:
        self._network = network
        self._client = client

    def to(self, address: str, *, expect: str = "") -> Remote:
        return Remote(self._network, self._client, address)


async def _send(call: Call, requests: AsyncIterator[Any] | list[Any]) -> None:
    if isinstance(requests, list):
        for request in requests:
            call.up.put(request)
        return
    async for request in requests:
        if call.is_raft:
            call.up.put_loosely(request)
        else:
            call.up.put(request)
    call.up.put(_End())


async def _serve(call: Call, server: Server, method: Method, recode: Callable[[object], object]) -> None:
    """The server's side of a call, until it has answered or the client is gone."""
    end = _End()
    try:
        serve, caller = server.admit(method, call.client)
        if method.request_streams:
            argument: object = _until_end(call, recode)
        else:
            argument = recode(await anext(aiter(call.up.items())))
        if method.response_streams:
            async for answer in serve(caller, argument):
                call.down.put(answer)
        else:
            call.down.put(await serve(caller, argument))
    except ShoalError as refused:
        end = _End(code_of(refused), str(refused), getattr(refused, "leader_addr", ""))
    call.down.put(end)


async def _until_end(call: Call, recode: Callable[[object], object]) -> AsyncIterator[object]:
    async for item in call.up.items():
        if isinstance(item, _End):
            return
        yield recode(item)


@cache
def _facts(method: Callable[..., Any]) -> tuple[Method, Callable[[object], Any], Callable[[object], Any]]:
    """What a contract says of its method, and how its messages go through their bytes."""
    facts = describe(method, getattr(method, "allowed_roles", frozenset()))
    return facts, _through_bytes(facts.request), _through_bytes(facts.response)


def _through_bytes(kind: Any) -> Callable[[object], Any]:
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(kind).decode
    return lambda item: decode(encode(item))
