"""What is not ours goes to the engine, untouched but for its version prefix and what the engine's version lacks.

Bodies are streamed both ways at the pace of the slower side; a connection that the engine takes over is spliced (`hijack`); a
client that leaves takes the engine's connection with it at once, as it would have without us.
"""

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import msgspec

from node_agent.api.alongside import alongside
from node_agent.api.engine_call import Call, Json
from node_agent.api.engine_compat import TABLE, adapt, reads_body, rows_for
from node_agent.api.engine_link import EngineAnswer, EngineLink
from node_agent.api.exchange import Exchange, while_there
from node_agent.api.hijack import splice, takes_over
from node_agent.api.http import BadMessage, Length, chunk, write_head
from node_agent.api.messages import ApiRequest, ApiResponse, EngineReply, PassToEngine, Query
from node_agent.api.versions import ApiVersion
from node_agent.api.wire import Gone, Wire

STATED_BY_US = frozenset({"server", "api-version", "docker-experimental", "ostype"})


class OtherEngines(Protocol):
    """Who knows what the engine here does not; `elsewhere.Elsewhere` is one."""

    def may_know(self, request: ApiRequest) -> bool:
        """Whether a request could be asked of another node."""
        ...

    async def instead(self, method: str, path: str, passed: PassToEngine) -> PassToEngine | ApiResponse | None:
        """What to do about something that the engine here does not know; None if nobody knows better."""
        ...


class EngineProxy:
    """Passes requests on to the engine."""

    def __init__(self, link: EngineLink, elsewhere: OtherEngines | None = None) -> None:
        """`elsewhere`: what this node's engine does not know may be on another node."""
        self._link, self._elsewhere = link, elsewhere

    async def pass_on(self, exchange: Exchange, request: ApiRequest, passed: PassToEngine) -> None:
        """Ask the engine and send its answer."""
        if self._elsewhere is not None and self._elsewhere.may_know(request) and request.method == "POST":
            await request.read()  # it may have to be said again, elsewhere
        link = self._link if passed.through is None else passed.through
        async with while_there(exchange.wire):
            ready = await self._ready(request, passed, link)
        if isinstance(ready, EngineReply):
            _respond(exchange, await passed.reply(ready) if passed.reply is not None else ready.respond())
            return
        async with while_there(exchange.wire):
            engine = await link.connect()
        try:
            instead = await self._relay(exchange, engine, ready, passed, link)
        finally:
            engine.abort()
        if instead is not None:
            await self.pass_on(exchange, request, instead)

    async def _ready(self, request: ApiRequest, passed: PassToEngine, link: EngineLink) -> "_Outgoing | EngineReply":
        """The request in the engine's words (`engine_compat`), or the answer where several calls had to be made for it."""
        versions = await link.versions()
        call = Call(
            method=request.method,
            path=request.path if passed.path is None else passed.path,
            query=request.query if passed.query is None else Query(passed.query),
        )
        body, spoken = request.body.kept if passed.body is None else passed.body, versions.spoken(request.version)
        rows = rows_for(TABLE, method=call.method, path=call.path, client=request.version, engine=versions)
        if not rows:
            return _Outgoing(call, spoken, body)
        if reads_body(call.method, call.path):
            body = await request.read() if body is None else body
            call = replace(call, body=_object(body))
        seen = call.body
        adapted = adapt(call, rows, versions)
        call = adapted.call
        for emulation in adapted.emulations:
            result = await emulation.run(call, link)
            if isinstance(result, EngineReply):
                return result
            call = result or call
        return _Outgoing(call, spoken, body if call.body is seen else msgspec.json.encode(call.body))

    async def _relay(
        self, exchange: Exchange, engine: Wire, sent: "_Outgoing", passed: PassToEngine, link: EngineLink
    ) -> PassToEngine | None:
        """Send the answer; or nothing yet, if another engine is to be asked."""
        call = sent.call
        async with while_there(exchange.wire), _body_on_its_way(exchange, engine, sent):
            answer = await link.answer_of(engine, method=exchange.head.method)
            taken_over = takes_over(call.path, answer.head)
            if answer.head.status == 404 and passed.through is None and self._elsewhere is not None:
                instead = await self._elsewhere.instead(exchange.head.method, call.path, passed)
                if isinstance(instead, ApiResponse):
                    _respond(exchange, instead)
                    return None
                if instead is not None:
                    return instead
            if passed.reply is not None:
                _respond(exchange, await passed.reply(await answer.whole()))
            elif not taken_over:
                if call.then is not None and answer.head.status < 300:
                    await call.then(link)
                await _send_on(exchange, answer, call.media_type)
        if taken_over:
            async with alongside(call.then(link) if call.then is not None else _nothing()):
                await _hand_over(exchange, answer, call.media_type)
        return None


def _respond(exchange: Exchange, answer: ApiResponse) -> None:
    exchange.respond(answer.status, answer.body, content_type=answer.content_type, fields=answer.headers.items())


class _Outgoing(NamedTuple):
    """What is sent to the engine; a body that is None comes from the client as it is."""

    call: Call
    version: ApiVersion
    body: bytes | None

    @property
    def target(self) -> str:
        query = self.call.query.text
        return f"/v{self.version}{self.call.path}" + (f"?{query}" if query else "")


def _object(body: bytes) -> Json | None:
    """The JSON of a body; None for what is none, which the engine then refuses in its own words."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


@asynccontextmanager
async def _body_on_its_way(exchange: Exchange, engine: Wire, sent: _Outgoing) -> AsyncGenerator[None, None]:
    """Write the request; what is still to come of its body is sent beside the block, for as long as the block lasts."""
    body = sent.body
    if body is not None:
        await exchange.body.discard(1 << 62)  # whoever replaced it has read it
    with contextlib.suppress(Gone):  # the missing answer will tell
        engine.write(_request_head(exchange, sent.target, body) + (body or b""))
    if exchange.body.done:
        yield
        return
    async with alongside(_send_body(exchange, engine)):
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


async def _send_on(exchange: Exchange, answer: EngineAnswer, media_type: str) -> None:
    head = answer.head
    fields = _fields(answer, media_type, without=STATED_BY_US)
    length = head.headers.get("content-length")
    exchange.start(head.status, fields, reason=head.reason, length=int(length) if length.isdecimal() else None)
    try:
        while data := await answer.next():
            await exchange.send(data)
    except BadMessage as cut:
        raise Gone from cut  # the engine died within its answer; ours must not look whole
    exchange.finish()


async def _hand_over(exchange: Exchange, answer: EngineAnswer, media_type: str) -> None:
    head = answer.head
    fields = _fields(answer, media_type)
    if head.status == 101:
        fields += [("Connection", "Upgrade"), ("Upgrade", head.headers.get("upgrade", exchange.upgrades))]
    await splice(exchange.take_over(head.status, fields, reason=head.reason), answer.wire)


def _fields(answer: EngineAnswer, media_type: str, *, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    if not media_type or answer.head.status >= 300:
        return answer.head.headers.end_to_end(without=without)
    return [("Content-Type", media_type), *answer.head.headers.end_to_end(without=without | {"content-type"})]


async def _nothing() -> None:
    return
