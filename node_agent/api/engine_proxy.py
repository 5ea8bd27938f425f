"""What is not ours goes to the engine, untouched but for its version prefix and what the engine's version lacks.

Bodies are streamed both ways at the pace of the slower side; a connection that the engine takes over is spliced (`hijack`); a
client that leaves takes the engine's connection with it at once, as it would have without us.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from node_agent.api.engine_link import EngineAnswer, EngineLink
from node_agent.api.exchange import Exchange, while_there
from node_agent.api.hijack import splice, takes_over
from node_agent.api.http import BadMessage, Length, chunk, write_head
from node_agent.api.messages import ApiRequest, PassToEngine
from node_agent.api.wire import Gone, Wire

STATED_BY_US = frozenset({"server", "api-version", "docker-experimental", "ostype"})


class EngineProxy:
    """Passes requests on to the engine."""

    def __init__(self, link: EngineLink) -> None:
        self._link = link

    async def pass_on(self, exchange: Exchange, request: ApiRequest, passed: PassToEngine) -> None:
        """Ask the engine and send its answer."""
        versions = await self._link.versions()
        path = request.path if passed.path is None else passed.path
        query = request.query.text if passed.query is None else passed.query
        target = f"/v{versions.spoken(request.version)}{path}" + (f"?{query}" if query else "")
        engine = await self._link.connect()
        try:
            async with while_there(exchange.wire), _body_on_its_way(exchange, engine, target, passed.body):
                answer = await self._link.answer_of(engine, method=exchange.head.method)
                taken_over = takes_over(path, answer.head)
                if passed.reply is not None:
                    ready = await passed.reply(await answer.whole())
                    exchange.respond(ready.status, ready.body, content_type=ready.content_type, fields=ready.headers.items())
                elif not taken_over:
                    await _send_on(exchange, answer)
            if taken_over:
                await _hand_over(exchange, answer)
        finally:
            engine.abort()


@asynccontextmanager
async def _body_on_its_way(exchange: Exchange, engine: Wire, target: str, body: bytes | None) -> AsyncGenerator[None, None]:
    """Write the request; what is still to come of its body is sent beside the block, for as long as the block lasts."""
    if body is not None:
        await exchange.body.discard(1 << 62)  # whoever replaced it has read it
    with contextlib.suppress(Gone):  # the missing answer will tell
        engine.write(_request_head(exchange, target, body) + (body or b""))
    if exchange.body.done:
        yield
        return
    async with _alongside(_send_body(exchange, engine)):
        yield


def _request_head(exchange: Exchange, target: str, body: bytes | None) -> bytes:
    head = exchange.head
    fields = head.headers.end_to_end()
    framing = exchange.body.framing
    if body is not None:
        fields.append(("Content-Length", str(len(body))))
    elif not isinstance(framing, Length):
        fields.append(("Transfer-Encoding", "chunked"))
    elif "content-length" in head.headers or framing.left:
        fields.append(("Content-Length", str(framing.left)))
    if exchange.upgrades:
        fields += [("Connection", "Upgrade"), ("Upgrade", exchange.upgrades)]
    return write_head(f"{head.method} {target} HTTP/1.1", fields)


async def _send_body(exchange: Exchange, engine: Wire) -> None:
    body = exchange.body
    chunked = not isinstance(body.framing, Length)
    try:
        while data := await body.next():
            await engine.send(chunk(data) if chunked else data)
        if chunked:
            engine.write(chunk(b""))
    except Gone:
        return  # the engine has heard enough; its answer says why
    except BadMessage:
        engine.abort()  # what came is no whole body: the engine must not take it for one
        raise


async def _send_on(exchange: Exchange, answer: EngineAnswer) -> None:
    head = answer.head
    fields = head.headers.end_to_end(without=STATED_BY_US)
    length = head.headers.get("content-length")
    exchange.start(head.status, fields, reason=head.reason, length=int(length) if length.isdecimal() else None)
    try:
        while data := await answer.next():
            await exchange.send(data)
    except BadMessage as cut:
        raise Gone from cut  # the engine died within its answer; ours must not look whole
    exchange.finish()


async def _hand_over(exchange: Exchange, answer: EngineAnswer) -> None:
    head = answer.head
    fields = head.headers.end_to_end()
    if head.status == 101:
        fields += [("Connection", "Upgrade"), ("Upgrade", head.headers.get("upgrade", exchange.upgrades))]
    await splice(exchange.take_over(head.status, fields, reason=head.reason), answer.wire)


@asynccontextmanager
async def _alongside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
    """Run something beside the block, which ends it; if it failed by itself, that is the block's error too."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (failed := task.exception()) is not None:
            raise failed
