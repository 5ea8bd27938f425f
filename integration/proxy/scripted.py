"""A scripted engine behind a unix socket and a raw client before ours: for what a real engine does too seldom to wait for."""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cluster.aio.supervise import background
from node_agent.api.engine_link import EngineLink
from node_agent.api.engine_proxy import EngineProxy
from node_agent.api.listeners import Listening, bind_unix
from node_agent.api.routing import Route
from node_agent.api.server import ApiServer

Script = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ScriptedEngine:
    """Answers ping and version by itself; each other request is the script's, with the connection."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.version = "1.41"
        self.script: Script = answer_ok
        self.requests: list[str] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            Path(self.path).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith(("GET /_ping", "GET /version")):
                body = f'{{"ApiVersion":"{self.version}","MinAPIVersion":"1.12","Version":"20.10.24","Arch":"amd64"}}'
                writer.write(f"HTTP/1.1 200 OK\r\nBuilder-Version: 1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            else:
                self.requests.append(head)
                await self.script(head, reader, writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def answer_ok(_: str, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Client:
    """A connection to us on which a test says exactly what it means."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, text: str, body: bytes = b"") -> tuple[int, str, bytes]:
        self.say(text, body)
        return await self.answer()

    def say(self, text: str, body: bytes = b"") -> None:
        if " HTTP/1.1" in text and "\nHost:" not in text:
            text = text.replace(" HTTP/1.1", " HTTP/1.1\nHost: d", 1)
        self.writer.write(text.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    async def head(self) -> tuple[int, str]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        return int(head.split(" ")[1]), head.lower()

    async def answer(self) -> tuple[int, str, bytes]:
        """Status, head in lower case, body by whatever framing."""
        status, head = await self.head()
        if "content-length: " in head:
            body = await self.reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        elif "transfer-encoding: chunked" in head:
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            body = b"" if status in {204, 304} else await self.reader.read()
        return status, head, body

    async def rest(self) -> bytes:
        return await self.reader.read()

    def hang_up(self) -> None:
        self.writer.transport.abort()


class Stage:
    """Our server between the two."""

    def __init__(self, engine: ScriptedEngine, socket_path: str) -> None:
        self.engine, self.socket_path = engine, socket_path
        self._clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(self.socket_path))
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.writer.close()


@asynccontextmanager
async def staged(home: Path, routes: Sequence[Route] = (), *, more: Sequence[Listening] = ()) -> AsyncGenerator[Stage, None]:
    engine = ScriptedEngine(str(home / "engine.sock"))
    await engine.start()
    link = EngineLink(engine.path)
    server = ApiServer(routes, EngineProxy(link), product="Shoal/1")
    stage = Stage(engine, str(home / "our.sock"))
    sockets = [bind_unix(stage.socket_path), *more]
    try:
        async with asyncio.timeout(20), background(lambda: server.run(sockets)):
            yield stage
    finally:
        stage.close()
        link.close()
        await engine.stop()


def on_both_loops(routes: Callable[[], Sequence[Route]] = tuple) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Have a test played on a stage of its own, once on asyncio's event loop and once on uvloop."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def play(tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], **given: Any) -> None:
            async def perform() -> None:
                async with staged(tmp_path, routes()) as stage:
                    await test(stage, **given)

            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(perform())

        wanted = [parameter for name, parameter in inspect.signature(test).parameters.items() if name != "stage"]
        own = [
            parameter
            for name, parameter in inspect.signature(play, follow_wrapped=False).parameters.items()
            if name in {"tmp_path", "loop"}
        ]
        play.__signature__ = inspect.Signature([*own, *wanted])  # type: ignore[attr-defined]
        return pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])(play)

    return decorate
