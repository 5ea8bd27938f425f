"""What HTTP promises and what hijacking needs, said and heard byte by byte, on both event loops."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cluster.api.errors import Conflict, NotFound, OutOfSequence, Unavailable
from integration.proxy.scripted import Stage, on_both_loops
from node_agent.api.messages import ApiRequest, ApiResponse, Conversation, HijackedResponse, PassToEngine, StreamingResponse, json_response
from node_agent.api.routing import Route

ERRORS = {
    "conflict": Conflict("taken"),
    "missing": NotFound("no such"),
    "stale": OutOfSequence("x"),
    "away": Unavailable("later"),
    "bug": KeyError("x"),
}


async def echo(request: ApiRequest) -> ApiResponse:
    return json_response({"version": str(request.version), "body": await request.json(dict[str, Any], at_most=1000), **request.params})


async def fail(request: ApiRequest) -> ApiResponse:
    raise ERRORS[request.params["how"]]


class Ticker:
    """A stream that goes on until its client leaves."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def ticks(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"tick\n"
            await asyncio.get_running_loop().create_future()
        finally:
            self.closed.set()

    async def wait_closed(self, _: ApiRequest) -> ApiResponse:
        await self.closed.wait()
        return ApiResponse()

    async def stream(self, _: ApiRequest) -> StreamingResponse:
        return StreamingResponse(chunks=self.ticks())


async def shout(_: ApiRequest) -> HijackedResponse:
    async def talk(client: Conversation) -> None:
        while data := await client.read():
            await client.send(data.upper())
        await client.send(b"BYE")

    return HijackedResponse(talk=talk)


async def peek(request: ApiRequest) -> PassToEngine:
    await request.json(dict[str, Any])
    return PassToEngine()


TICKER_ROUTE = "/services/x/logs"


def routes() -> list[Route]:
    ticker = Ticker()
    return [
        Route("POST", "/services/{id}/echo", echo),
        Route("GET", "/services/{how}/fail", fail),
        Route("GET", TICKER_ROUTE, ticker.stream),
        Route("GET", "/services/x/closed", ticker.wait_closed),
        Route("POST", "/services/x/attach", shout),
        Route("POST", "/auth", peek),
    ]


@on_both_loops(routes)
async def test_requests_on_one_connection_are_answered_in_their_order(stage: Stage) -> None:
    client = await stage.client()
    for number in range(3):
        client.say(f"POST /v1.30/services/{number}/echo HTTP/1.1\nHost: d\nContent-Length: 7", b'{"a":1}')
    for number in range(3):
        status, head, body = await client.answer()
        assert (status, body) == (200, b'{"version":"1.30","body":{"a":1},"id":"%d"}\n' % number)
        assert "api-version: 1.51" in head
        assert "server: shoal/1 (linux)" in head


@pytest.mark.parametrize(
    ("request_head", "status", "words"),
    [
        ("GET /v1.99/info HTTP/1.1", 400, b"client version 1.99 is too new. Maximum supported API version is 1.51"),
        ("GET /v1.12/info HTTP/1.1", 400, b"client version 1.12 is too old. Minimum supported API version is 1.24"),
        ("GET /services/nonsense/x HTTP/1.1", 404, b"page not found"),
        ("GET /services/conflict/fail HTTP/1.1", 409, b'{"message":"taken"}'),
        ("GET /services/missing/fail HTTP/1.1", 404, b"no such"),
        ("GET /services/stale/fail HTTP/1.1", 500, b"update out of sequence"),
        ("GET /services/away/fail HTTP/1.1", 503, b"later"),
        ("GET /services/bug/fail HTTP/1.1", 500, b"internal error of shoald"),
    ],
)
@on_both_loops(routes)
async def test_errors_are_told_as_docker_tells_them(stage: Stage, request_head: str, status: int, words: bytes) -> None:
    client = await stage.client()
    for _ in range(2):  # and the connection lives on
        got, head, body = await client.ask(request_head)
        assert (got, words in body) == (status, True)
        assert "content-type: application/json" in head


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("nonsense", 400),
        ("GET / HTTP/3.0", 505),
        ("POST / HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked", 400),
        ("POST / HTTP/1.1\nTransfer-Encoding: gzip", 501),
        ("POST / HTTP/1.1\nContent-Length: x", 400),
        ("GET / HTTP/1.1\nX: " + "x" * 1_100_000, 431),
    ],
)
@on_both_loops(routes)
async def test_what_is_not_http_is_refused_and_the_connection_closed(stage: Stage, text: str, status: int) -> None:
    client = await stage.client()
    got, head, _ = await client.ask(text)
    assert (got, "connection: close" in head) == (status, True)
    assert await client.rest() == b""


@pytest.mark.parametrize(
    ("fields", "body", "status", "words"),
    [
        ("", b"{", 400, b"invalid JSON"),
        ("", b"", 400, b"got EOF while reading request body"),
        ("", b"[]", 400, b"invalid JSON: Expected `object`, got `array`"),
        ("", b"\xff", 400, b"invalid JSON"),
        ("Content-Type: text/plain\n", b"{}", 400, b"unsupported Content-Type header (text/plain): must be 'application/json'"),
        ("Content-Type: application/json; charset=utf-8\n", b"{}", 200, b"body"),
        ("", b'{"a":"' + b"x" * 1000 + b'"}', 413, b"over the limit of 1000 bytes"),
    ],
)
@on_both_loops(routes)
async def test_bad_bodies_are_refused(stage: Stage, fields: str, body: bytes, status: int, words: bytes) -> None:
    client = await stage.client()
    got, _, said = await client.ask(f"POST /services/x/echo HTTP/1.1\n{fields}Content-Length: {len(body)}", body)
    assert (got, words in said) == (status, True), said


@on_both_loops(routes)
async def test_a_client_that_still_sends_too_much_hears_why(stage: Stage) -> None:
    client = await stage.client()
    client.say("POST /services/x/echo HTTP/1.1\nTransfer-Encoding: chunked")
    for _ in range(100):
        client.writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    status, head, body = await client.answer()
    assert (status, b"over the limit" in body, "connection: close" in head) == (413, True, False)


@on_both_loops(routes)
async def test_a_body_is_asked_for_when_the_client_waits_for_that(stage: Stage) -> None:
    client = await stage.client()
    client.say("POST /services/x/echo HTTP/1.1\nExpect: 100-continue\nContent-Length: 2")
    assert (await client.head())[0] == 100
    client.writer.write(b"{}")
    assert (await client.answer())[0] == 200


@on_both_loops(routes)
async def test_a_client_that_hears_a_no_instead_is_not_asked_for_its_body_after_it(stage: Stage) -> None:
    """Whether the body follows, nobody can know: the connection ends, lest it be taken for a request or a request for it."""
    client = await stage.client()
    client.say("POST /services/x/nowhere HTTP/1.1\nExpect: 100-continue\nContent-Length: 2")
    status, head, _ = await client.answer()
    assert (status, "connection: close" in head) == (404, True)
    assert await client.rest() == b""


@on_both_loops(routes)
async def test_a_client_that_ends_its_direction_still_gets_its_answer(stage: Stage) -> None:
    client = await stage.client()
    client.say("GET /services/missing/fail HTTP/1.1")
    client.writer.write_eof()
    assert (await client.answer())[0] == 404
    client = await stage.client()
    client.say("GET /v1.41/containers/json HTTP/1.1")
    client.writer.write_eof()
    assert (await client.answer())[2] == b"ok"


@on_both_loops(routes)
async def test_a_stream_begins_at_once_and_ends_with_its_client(stage: Stage) -> None:
    client = await stage.client()
    client.say(f"GET {TICKER_ROUTE} HTTP/1.1")
    assert (await client.head())[0] == 200
    assert await client.reader.readexactly(10) == b"5\r\ntick\n\r\n"
    client.hang_up()
    assert (await (await stage.client()).ask("GET /services/x/closed HTTP/1.1"))[0] == 200


@on_both_loops(routes)
async def test_a_client_of_http_1_0_gets_no_chunks(stage: Stage) -> None:
    client = await stage.client()
    client.say(f"GET {TICKER_ROUTE} HTTP/1.0")
    _, head = await client.head()
    assert "chunked" not in head
    assert await client.reader.readexactly(5) == b"tick\n"


@pytest.mark.parametrize(("upgrade", "status"), [("Connection: Upgrade\nUpgrade: tcp", 101), ("X: y", 200)])
@on_both_loops(routes)
async def test_a_handler_may_take_the_connection_over(stage: Stage, upgrade: str, status: int) -> None:
    client = await stage.client()
    client.say(f"POST /services/x/attach HTTP/1.1\n{upgrade}", b"early ")
    got, head = await client.head()
    assert (got, "application/vnd.docker.raw-stream" in head) == (status, True)
    client.writer.write(b"late")
    client.writer.write_eof()
    assert await client.rest() == b"EARLY LATEBYE"


@on_both_loops(routes)
async def test_a_handler_may_look_at_a_body_and_leave_the_answer_to_the_engine(stage: Stage) -> None:
    async def script(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.readexactly(int(head.partition("Content-Length: ")[2].partition("\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    stage.engine.script = script
    client = await stage.client()
    for _ in range(2):
        assert (await client.ask("POST /v1.41/auth HTTP/1.1\nTransfer-Encoding: chunked", b'9\r\n{"a":"b"}\r\n0\r\n\r\n'))[::2] == (
            200,
            b'{"a":"b"}',
        )
