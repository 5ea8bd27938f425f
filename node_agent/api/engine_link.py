"""Asking the engine: a connection for each question over its unix socket, and what it said of its versions.

A connection per question, since a kept one may have died with the engine, and a question that is not idempotent must not be asked
twice; over a unix socket it costs 0.1 ms. The engine may die and come back as another version at any time: whatever fails or answers with
another Api-Version makes us learn anew.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import quote

import msgspec

from cluster.api.errors import Internal, TooLarge, Unavailable
from node_agent.api.http import (
    BadMessage,
    Framing,
    ResponseHead,
    cut_head,
    parse_response,
    response_framing,
    write_head,
)
from node_agent.api.messages import EngineReply
from node_agent.api.versions import ApiVersion, EngineVersions
from node_agent.api.wire import Hangups, Wire

MAX_REPLY = 64 * 1024 * 1024  # of an answer that we read whole
Field = tuple[str, str]


class EngineDown(Unavailable):
    """The engine does not answer."""

    def __init__(self, socket_path: str, cause: str) -> None:
        super().__init__(f"cannot connect to the container engine at unix://{socket_path} ({cause}): is it running?")
        self.socket_path, self.cause = socket_path, cause


class EngineAnswer:
    """An answer of the engine on its way."""

    def __init__(self, wire: Wire, head: ResponseHead, *, method: str) -> None:
        self.wire, self.head = wire, head
        self._framing: Framing = response_framing(head, method=method)

    async def next(self) -> bytes:
        """The next piece of the body; empty at its end."""
        while not self._framing.done:
            if data := self._framing.take(self.wire.buffer, eof=self.wire.eof):
                return data
            if not self._framing.done:
                await self.wire.fill()
        return b""

    async def whole(self, *, at_most: int = MAX_REPLY) -> EngineReply:
        parts, size = [], 0
        while data := await self.next():
            size += len(data)
            if size > at_most:
                raise TooLarge(f"the engine's answer is over the limit of {at_most} bytes")
            parts.append(data)
        return EngineReply(status=self.head.status, headers=self.head.headers, body=b"".join(parts))


class EngineLink:
    """The engine behind a unix socket."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self._hangups: Hangups | None = None
        self._versions: EngineVersions | None = None
        self.last_versions: EngineVersions | None = None  # survive the engine, for what is shown while it is down

    async def connect(self) -> Wire:
        if self._hangups is None:
            self._hangups = Hangups()
        loop, hangups = asyncio.get_running_loop(), self._hangups
        try:
            _, wire = await loop.create_unix_connection(lambda: Wire(hangups), self.socket_path)
        except OSError as error:
            self.forget_versions()
            raise EngineDown(self.socket_path, error.strerror or str(error)) from error
        return wire

    def close(self) -> None:
        if self._hangups is not None:
            self._hangups.close()
            self._hangups = None

    async def answer_of(self, wire: Wire, *, method: str) -> EngineAnswer:
        """Wait for the head of the answer to what was written."""
        try:
            while True:
                while (text := cut_head(wire.buffer)) is None:
                    if not await wire.fill():
                        raise self.down("it closed the connection without an answer")
                head = parse_response(text)
                if head.status >= 200 or head.status == 101:
                    break
            self._notice(head)
            return EngineAnswer(wire, head, method=method)
        except BadMessage as bad:
            raise Internal(f"the container engine's answer is not HTTP/1.1: {bad}") from bad

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, *, query: str = "", fields: Iterable[Field] = (), body: bytes = b"", version: ApiVersion | None = None
    ) -> AsyncGenerator[EngineAnswer, None]:
        """Ask, and read the answer as it comes; leaving the block hangs up. Without a version, the engine's newest that we know."""
        spoken = version or (await self.versions()).newest
        async with self.asking(method, f"/v{spoken}{path}", query=query, fields=fields, body=body) as answer:
            yield answer

    @asynccontextmanager
    async def asking(
        self, method: str, path: str, *, query: str = "", fields: Iterable[Field] = (), body: bytes = b""
    ) -> AsyncGenerator[EngineAnswer, None]:
        """The same for a path that is complete."""
        wire = await self.connect()
        try:
            head = [("Host", "docker"), *fields]
            if body or method not in {"GET", "HEAD"}:
                head += [("Content-Length", str(len(body)))]
            wire.write(write_head(f"{method} {path}{'?' + query if query else ''} HTTP/1.1", head) + body)
            yield await self.answer_of(wire, method=method)
        except (BadMessage, ConnectionError) as broken:
            self.forget_versions()
            raise EngineDown(self.socket_path, "it closed the connection within an answer") from broken
        finally:
            wire.abort()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        json: object = None,
        fields: Iterable[Field] = (),
        version: ApiVersion | None = None,
    ) -> EngineReply:
        """Ask, and have the whole answer; a refusal is an answer too."""
        body = b"" if json is None else msgspec.json.encode(json)
        content = [("Content-Type", "application/json")] if body else []
        async with self.ask(method, path, query=query, fields=[*content, *fields], body=body, version=version) as answer:
            return await answer.whole()

    async def versions(self) -> EngineVersions:
        """What the engine speaks; asked once, until there is a reason to ask again."""
        if self._versions is None:
            async with self.asking("GET", "/_ping") as answer:
                ping = (await answer.whole()).headers
            async with self.asking("GET", "/version") as answer:
                reply = await answer.whole()
            if not reply.ok:
                raise EngineDown(self.socket_path, f"it does not tell its version: {reply.message}")
            said = reply.json()
            self._versions = self.last_versions = EngineVersions(
                newest=ApiVersion.parse(said.get("ApiVersion", "")),
                oldest=ApiVersion.parse(said.get("MinAPIVersion") or said.get("ApiVersion", "")),
                release=said.get("Version", ""),
                arch=said.get("Arch", ""),
                builder=ping.get("builder-version"),
                experimental=ping.get("docker-experimental", "false"),
            )
        return self._versions

    def down(self, cause: str) -> Unavailable:
        """The engine did not answer."""
        return EngineDown(self.socket_path, cause)

    def forget_versions(self) -> None:
        self._versions = None

    def _notice(self, head: ResponseHead) -> None:
        """An engine that was replaced says so with each answer."""
        said = head.headers.get("api-version")
        if self._versions is not None and said and said != str(self._versions.newest):
            self.forget_versions()


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")
