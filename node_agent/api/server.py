"""Listen, read a request, find who answers it, send the answer: the HTTP edge of the daemon.

A table of routes says what is ours; every other path is the engine's. This is also the only place where our errors become statuses.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Protocol, assert_never

from cluster.api.errors import (
    Conflict,
    Forbidden,
    InvalidArgument,
    NotFound,
    NotSupported,
    OutOfSequence,
    ShoalError,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from node_agent.api.exchange import Exchange, while_there
from node_agent.api.hijack import conversation_head
from node_agent.api.http import BadMessage, Headers, RequestHead, cut_head, parse_request
from node_agent.api.listeners import BACKLOG, Listening, peer_of
from node_agent.api.messages import ApiRequest, ApiResponse, HijackedResponse, PassToEngine, Query, Response, StreamingResponse
from node_agent.api.routing import Route, Router
from node_agent.api.tls import TlsCodec
from node_agent.api.versions import NEWEST, split_version
from node_agent.api.wire import Gone, Hangups, Wire

log = logging.getLogger("shoal.api")

HEAD_TIMEOUT = 60.0  # seconds for a request's head to arrive once it began
OURS = frozenset({"swarm", "nodes", "services", "tasks", "secrets", "configs", "shoal"})  # never the engine's, whatever the path

STATUS: tuple[tuple[type[ShoalError], int], ...] = (
    (OutOfSequence, 500),  # as Docker has it; clients look for the words
    (InvalidArgument, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (NotSupported, 501),
    (Unavailable, 503),
    (ShoalError, 500),
)


class Engine(Protocol):
    """Answers what is not ours; `engine_proxy.EngineProxy` is one."""

    async def pass_on(self, exchange: Exchange, request: ApiRequest, passed: PassToEngine) -> None: ...


class ApiServer:
    """Serves the API on sockets already bound, until cancelled."""

    def __init__(self, routes: Iterable[Route], engine: Engine, *, product: str = "Shoal", ours: frozenset[str] | None = OURS) -> None:
        """`ours`: the first segments of paths that are never the engine's; None for all, so that nothing is passed on but by a route."""
        self._router, self._engine, self._ours = Router(routes), engine, ours
        self._common = (
            ("Api-Version", str(NEWEST)),
            ("Docker-Experimental", "false"),
            ("Ostype", "linux"),
            ("Server", f"{product} (linux)"),
        )

    async def run(self, sockets: Sequence[Listening]) -> None:
        """Every connection is a child of this call and ends with it."""
        loop, hangups, open_wires = asyncio.get_running_loop(), Hangups(), set[Wire]()
        servers: list[asyncio.Server] = []
        is_ending = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as connections:

                def converse(wire: Wire) -> None:
                    if is_ending.is_set():  # it was taken just before the listeners were closed
                        wire.abort()
                        return
                    open_wires.add(wire)
                    connections.create_task(self.converse(wire)).add_done_callback(lambda _: open_wires.discard(wire))

                try:
                    for sock, tls in sockets:
                        make = partial(_make_wire, hangups, converse, tls)
                        if sock.family == socket.AF_UNIX:
                            servers.append(await loop.create_unix_server(make, sock=sock, backlog=BACKLOG))
                        else:
                            servers.append(await loop.create_server(make, sock=sock, backlog=BACKLOG))
                    await loop.create_future()
                finally:
                    is_ending.set()
                    for server in servers:
                        server.close()
        finally:
            for wire in open_wires:
                wire.abort()
            hangups.close()

    async def converse(self, wire: Wire) -> None:
        """Answer on one connection, until it ends."""
        try:
            while (head := await _next_head(wire)) is not None:
                exchange = Exchange(wire, head, common=self._common)
                await self._answer(exchange)
                log.debug("%s %s", head.method, head.target)
                if not await exchange.end():
                    break
        except BadMessage as bad:
            with contextlib.suppress(ConnectionError):
                exchange = Exchange(wire, RequestHead("GET", "/", 0, Headers()), common=self._common)
                exchange.refuse(bad.status, str(bad))
                await exchange.linger()
        except (ConnectionError, TimeoutError):
            pass
        except Exception:  # one connection's trouble is not another's
            log.exception("a connection to the API failed")
        finally:
            wire.close()

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._try_to_answer(exchange)
        except Gone:
            exchange.wire.abort()
            raise
        except ShoalError as refusal:
            _refuse(exchange, next(status for kind, status in STATUS if isinstance(refusal, kind)), str(refusal))
        except BadMessage as bad:
            exchange.keep_alive = False
            _refuse(exchange, bad.status, str(bad))
        except Exception:  # the edge: whatever a handler did, the daemon stays up and the client is told
            log.exception("%s %s failed", exchange.head.method, exchange.head.target)
            _refuse(exchange, 500, "internal error of shoald: its log has the details")

    async def _try_to_answer(self, exchange: Exchange) -> None:
        head = exchange.head
        path, _, query = head.target.partition("?")
        version, path = split_version(path)
        request = ApiRequest(
            method=head.method,
            path=path,
            query=Query(query.partition("#")[0]),
            headers=head.headers,
            version=version,
            peer=peer_of(exchange.wire),
            body=exchange.body,
        )
        match = self._router.find(head.method, path)
        if match is not None:
            request.params = match.params
            response = await match.handler(request)
        elif self._ours is None or path.split("/", 2)[1] in self._ours:
            raise NotFound("page not found")
        else:
            response = PassToEngine()
        await self._send(exchange, request, response)

    async def _send(self, exchange: Exchange, request: ApiRequest, response: Response) -> None:
        match response:
            case ApiResponse(status=status, body=body, content_type=kind, headers=headers):
                exchange.respond(status, body, content_type=kind, fields=headers.items())
                await exchange.wire.drain()
            case StreamingResponse(chunks=chunks, status=status, content_type=kind, headers=headers):
                exchange.start(status, [("Content-Type", kind), *headers.items()])
                async with aclosing(chunks), while_there(exchange.wire):
                    async for data in chunks:
                        await exchange.send(data)
                exchange.finish()
            case HijackedResponse():
                await _talk(exchange, response)
            case PassToEngine():
                await self._engine.pass_on(exchange, request, response)
            case _:
                assert_never(response)


async def _next_head(wire: Wire) -> RequestHead | None:
    while (head := cut_head(wire.buffer)) is None:
        # A connection may idle for as long as it likes between requests, not within one.
        async with asyncio.timeout(HEAD_TIMEOUT if wire.buffer else None):
            if not await wire.fill():
                return None
    return parse_request(head)


async def _talk(exchange: Exchange, response: HijackedResponse) -> None:
    wire = exchange.take_over(*conversation_head(exchange.upgrades, response.content_type))
    async with while_there(wire):
        await response.talk(wire)
        await wire.drain()


def _refuse(exchange: Exchange, status: int, message: str) -> None:
    if exchange.started:  # too late for a status: a cut connection says that what came is not all
        exchange.wire.abort()
        raise Gone
    exchange.refuse(status, message)


def _make_wire(hangups: Hangups, made: Callable[[Wire], None], tls: ssl.SSLContext | None) -> Wire:
    return Wire(hangups, made=made, tls=TlsCodec(tls) if tls else None)
