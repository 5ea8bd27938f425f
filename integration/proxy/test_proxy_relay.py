"""What passes to the engine and back: untouched, at the pace of the slower side, and no longer than both are there."""

import asyncio

import pytest

from integration.proxy.scripted import Stage, on_both_loops


def length_of(head: str) -> int:
    return int(head.partition("Content-Length: ")[2].partition("\r\n")[0])


Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
RAW = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
ATTACH = "POST /v1.41/containers/c/attach HTTP/1.1\nHost: d"
UPGRADE = f"{ATTACH}\nConnection: Upgrade\nUpgrade: tcp"


@on_both_loops()
async def test_the_version_is_one_that_the_engine_speaks(stage: Stage) -> None:
    client = await stage.client()
    for path in ("/v1.51/a?x=%2F", "/v1.30/b", "/c"):
        assert (await client.ask(f"GET {path} HTTP/1.1\nHost: d"))[2] == b"ok"
    lines = [head.split("\r\n")[0] for head in stage.engine.requests]
    assert lines == ["GET /v1.41/a?x=%2F HTTP/1.1", "GET /v1.30/b HTTP/1.1", "GET /v1.41/c HTTP/1.1"]


@on_both_loops()
async def test_headers_pass_except_those_of_the_connection(stage: Stage) -> None:
    client = await stage.client()

    async def script(_: str, __: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 203 Odd\r\nServer: Docker/1\r\nApi-Version: 1.41\r\nX-Docker: y\r\n")
        writer.write(b"Content-Length: 0\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")

    stage.engine.script = script
    status, head, _ = await client.ask("GET /x HTTP/1.1\nHost: d\nX-Registry-Auth: abc\nKeep-Alive: 5\nConnection: keep-alive")
    assert "X-Registry-Auth: abc" in stage.engine.requests[0]
    assert "keep-alive" not in stage.engine.requests[0].lower()
    assert head.startswith("http/1.1 203 odd\r\n")
    assert "x-docker: y" in head
    assert "x-hop" not in head
    assert head.count("server:") == 1
    assert status == 203


@pytest.mark.parametrize(
    ("answer", "method", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", (204, b"")),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "POST", (304, b"")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "GET", (200, b"abc")),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", "GET", (200, b"to the end")),
        (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "GET", (200, b"x")),
    ],
)
@on_both_loops()
async def test_every_kind_of_answer_comes_back_whole(stage: Stage, answer: bytes, method: str, expected: tuple[int, bytes]) -> None:
    async def script(_: str, __: Reader, writer: Writer) -> None:
        writer.write(answer)

    stage.engine.script = script
    client = await stage.client()
    for _ in range(2):
        status, _, body = await client.ask(f"{method} /x HTTP/1.1\nHost: d\nContent-Length: 0")
        assert (status, body) == expected


@on_both_loops()
async def test_a_head_request_has_a_length_and_no_body(stage: Stage) -> None:
    async def script(_: str, __: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nX-Docker-Container-Path-Stat: e30=\r\n\r\n")

    stage.engine.script = script
    client = await stage.client()
    for _ in range(2):
        client.say("HEAD /containers/c/archive?path=/x HTTP/1.1\nHost: d")
        status, head = await client.head()
        assert (status, "content-length: 99" in head, "path-stat: e30=" in head) == (200, True, True)


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
@on_both_loops()
async def test_a_body_passes_as_it_comes(stage: Stage, chunked: bool) -> None:
    async def script(head: str, reader: Reader, writer: Writer) -> None:
        size = 0
        if "Transfer-Encoding: chunked" in head:
            while length := int(await reader.readline(), 16):
                size += len(await reader.readexactly(length + 2)) - 2
        else:
            size = len(await reader.readexactly(length_of(head)))
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(str(size))}\r\n\r\n{size}".encode())

    stage.engine.script = script
    client, block = await stage.client(), b"x" * 100_000
    client.say("POST /build HTTP/1.1\nHost: d\n" + ("Transfer-Encoding: chunked" if chunked else f"Content-Length: {50 * len(block)}"))
    for _ in range(50):
        client.writer.write(b"186a0\r\n" + block + b"\r\n" if chunked else block)
        await client.writer.drain()
    if chunked:
        client.writer.write(b"0\r\n\r\n")
    assert (await client.answer())[2] == b"5000000"
    assert (await client.ask("GET /x HTTP/1.1\nHost: d\nContent-Length: 0"))[2] == b"0"


@on_both_loops()
async def test_an_answer_before_the_bodys_end_is_an_answer(stage: Stage) -> None:
    async def script(_: str, __: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad")

    stage.engine.script = script
    client = await stage.client()
    client.say("POST /images/load HTTP/1.1\nHost: d\nContent-Length: 99999999", b"x" * 1_000_000)
    status, _, body = await client.answer()
    assert (status, body) == (400, b"bad")
    assert await client.rest() == b""


@on_both_loops()
async def test_a_slow_client_slows_the_engine_down(stage: Stage) -> None:
    sent = 0

    async def script(_: str, __: Reader, writer: Writer) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    stage.engine.script = script
    client = await stage.client()
    client.say("GET /images/get HTTP/1.1\nHost: d")
    await client.head()
    seen = -1
    while seen != sent:  # until it stands still
        seen = sent
        await asyncio.sleep(0.1)
    assert 0 < sent < 8 * 1024 * 1024
    client.hang_up()


@on_both_loops()
async def test_a_slow_engine_slows_the_client_down(stage: Stage) -> None:
    held = asyncio.Event()

    async def script(_: str, __: Reader, ___: Writer) -> None:
        await held.wait()

    stage.engine.script = script
    client, sent = await stage.client(), 0
    client.say("POST /images/load HTTP/1.1\nHost: d\nContent-Length: 99999999")
    try:
        async with asyncio.timeout(0.5):
            while True:
                client.writer.write(b"x" * 65536)
                await client.writer.drain()
                sent += 65536
    except TimeoutError:
        held.set()
    assert 0 < sent < 8 * 1024 * 1024
    client.hang_up()


@pytest.mark.parametrize("body", [0, 20_000_000], ids=["silent", "in the middle of a body"])
@on_both_loops()
async def test_a_client_that_vanishes_takes_the_engines_connection_with_it(stage: Stage, body: int) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(_: str, reader: Reader, ___: Writer) -> None:
        asked.set()
        if not body:
            assert await reader.read() == b""
        else:
            while not reader.at_eof():
                await asyncio.sleep(0.05)
                await reader.read(1_000_000)
        left.set()

    stage.engine.script = script
    client = await stage.client()
    client.say(f"POST /containers/c/wait HTTP/1.1\nHost: d\nContent-Length: {body}", b"x" * (body // 4))
    await asked.wait()
    client.hang_up()
    async with asyncio.timeout(2):
        await left.wait()


@pytest.mark.parametrize(("request_head", "answer", "status"), [(ATTACH, RAW, 200), (UPGRADE, UPGRADED, 101)], ids=["200", "101"])
@on_both_loops()
async def test_each_direction_of_a_hijacked_connection_ends_by_itself(stage: Stage, request_head: str, answer: bytes, status: int) -> None:
    async def script(_: str, reader: Reader, writer: Writer) -> None:
        writer.write(answer)
        heard = await reader.read()  # to the client's end
        writer.write(b"heard " + heard)
        writer.write_eof()

    stage.engine.script = script
    client = await stage.client()
    client.say(request_head, b"early ")
    got, head = await client.head()
    assert (got, "raw-stream" in head) == (status, True)
    client.writer.write(b"late")
    client.writer.write_eof()
    assert await client.rest() == b"heard early late"


@on_both_loops()
async def test_a_client_listens_on_after_the_engine_has_ended_its_direction(stage: Stage) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(_: str, reader: Reader, writer: Writer) -> None:
        writer.write(UPGRADED + b"all I say")
        writer.write_eof()
        heard.set_result(await reader.read())

    stage.engine.script = script
    client = await stage.client()
    client.say(UPGRADE)
    await client.head()
    assert await client.rest() == b"all I say"
    client.writer.write(b"and I")
    client.writer.write_eof()
    assert await heard == b"and I"


@on_both_loops()
async def test_all_that_the_engine_said_arrives_before_its_hangup(stage: Stage) -> None:
    async def script(_: str, __: Reader, writer: Writer) -> None:
        writer.write(UPGRADED + b"x" * 3_000_000)

    stage.engine.script = script
    client = await stage.client()
    client.say(UPGRADE)
    await client.head()
    assert len(await client.rest()) == 3_000_000


@on_both_loops()
async def test_the_last_words_of_a_client_arrive_before_its_hangup(stage: Stage) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(_: str, reader: Reader, writer: Writer) -> None:
        writer.write(UPGRADED)
        heard.set_result(await reader.read())

    stage.engine.script = script
    client = await stage.client()
    client.say(UPGRADE)
    await client.head()
    client.writer.write(b"y" * 100_000)
    client.writer.close()
    async with asyncio.timeout(2):
        assert await heard == b"y" * 100_000


@on_both_loops()
async def test_a_refused_upgrade_is_an_answer_like_others(stage: Stage) -> None:
    async def script(_: str, __: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone")

    stage.engine.script = script
    client = await stage.client()
    for _ in range(2):
        assert (await client.ask(UPGRADE))[::2] == (404, b"none")


@on_both_loops()
async def test_an_engine_that_is_away_is_named_and_may_come_back_as_another(stage: Stage) -> None:
    client = await stage.client()
    assert (await client.ask("GET /x HTTP/1.1\nHost: d"))[0] == 200
    await stage.engine.stop()
    status, _, body = await client.ask("GET /x HTTP/1.1\nHost: d")
    assert status == 503
    assert b"cannot connect to the container engine at unix://" in body
    assert b"is it running?" in body
    stage.engine.version = "1.45"
    await stage.engine.start()
    assert (await client.ask("GET /y HTTP/1.1\nHost: d"))[0] == 200
    assert stage.engine.requests[-1].startswith("GET /v1.45/y ")


@on_both_loops()
async def test_an_engine_that_is_replaced_between_two_requests_is_asked_anew(stage: Stage) -> None:
    async def script(_: str, __: Reader, writer: Writer) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nApi-Version: {stage.engine.version}\r\nContent-Length: 0\r\n\r\n".encode())

    stage.engine.script = script
    client = await stage.client()
    for version in ("1.41", "1.45", "1.45"):
        stage.engine.version = version
        await client.ask("GET /x HTTP/1.1\nHost: d")
    assert [head.split("/")[1] for head in stage.engine.requests] == ["v1.41", "v1.41", "v1.45"]


@on_both_loops()
async def test_an_engine_that_dies_before_its_answer_is_named(stage: Stage) -> None:
    async def script(_: str, __: Reader, ___: Writer) -> None:
        return

    stage.engine.script = script
    client = await stage.client()
    status, _, body = await client.ask("GET /x HTTP/1.1\nHost: d")
    assert (status, b"it closed the connection without an answer" in body) == (503, True)


@pytest.mark.parametrize("begun", [b"Content-Length: 9\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"])
@on_both_loops()
async def test_an_answer_that_breaks_off_does_not_look_whole(stage: Stage, begun: bytes) -> None:
    async def script(_: str, __: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + begun)

    stage.engine.script = script
    client = await stage.client()
    client.say("GET /x HTTP/1.1\nHost: d")
    await client.head()
    try:
        rest = await client.rest()
    except ConnectionError:
        return
    assert b"half" in rest
    assert not rest.endswith(b"0\r\n\r\n")
