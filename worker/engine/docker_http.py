"""The connection to a Docker Engine API: address, negotiated version, and whose fault an error is."""

import json
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiodocker import Docker
from aiodocker.exceptions import DockerError

from worker.engine.docker_create import ApiVersion, parse_version
from worker.ports import EngineError, EngineGone

NEWEST_API: ApiVersion = (1, 51)
"""The newest version that we speak; an engine that is newer is spoken to in this one."""

_UNREACHABLE = 900  # aiodocker's own status for a connection that failed
_STOPPING = (
    "transport is closing",
    "server is shutting down",
    "shutdown in progress",
    "containerd is not running",
    "use of closed network connection",
)
"""What an engine that is on its way down answers to calls: it is gone, the call did not fail by the task's fault."""


class RefusedCall(EngineError):
    """The engine's answer, with the status that tells the cases apart."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@contextmanager
def engine_words(where: str) -> Iterator[None]:
    """Translate what aiodocker and aiohttp raise: RefusedCall with the engine's words, or EngineGone."""
    try:
        yield
    except DockerError as error:
        words = str(error.message)
        if error.status == _UNREACHABLE or (error.status >= 500 and any(sign in words for sign in _STOPPING)):
            raise EngineGone(f"the engine at {where} does not answer: {words}") from error
        raise RefusedCall(error.status, words.strip()) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise EngineGone(f"the engine at {where} does not answer: {str(error) or type(error).__name__}") from error


class DockerLink:
    """One client of one engine; close it with `close`. To be made inside a running event loop."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._connector, base = _connector(address)
        # aiohttp's usual limit of 100 connections would let long polls (logs, events) starve every other call
        self._docker = Docker(url=base, connector=self._connector, api_version="v1.24", timeout=aiohttp.ClientTimeout(sock_connect=5))
        self._api: ApiVersion | None = None

    async def close(self) -> None:
        await self._docker.close()
        await self._connector.close()

    async def docker(self) -> Docker:
        """The client, speaking the newest version that both sides know."""
        if self._api is None:
            await self.negotiate()
        return self._docker

    async def api(self) -> ApiVersion:
        return self._api or await self.negotiate()

    async def negotiate(self) -> ApiVersion:
        """Ask again: the engine may have been upgraded while it was away."""
        answer = await self._version()
        self._api = min(parse_version(str(answer["ApiVersion"])), NEWEST_API)
        self._docker.api_version = "v{}.{}".format(*self._api)
        return self._api

    async def version(self) -> Mapping[str, Any]:
        await self.negotiate()
        return await self._version()

    async def _version(self) -> Mapping[str, Any]:
        with engine_words(self.address):
            async with self._docker.session.get(f"{self._docker.docker_host}/version") as response:
                if response.status != 200:
                    raise EngineGone(f"the engine at {self.address} answers its version with status {response.status}")
                answer: Mapping[str, Any] = await response.json(content_type=None)
                return answer

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, query: Mapping[str, str], headers: Mapping[str, str] | None = None, patience: float | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """A raw streaming call, for what aiodocker decodes with loss. `patience`: seconds until the first byte."""
        docker = await self.docker()
        url = f"{docker.docker_host}/{docker.api_version}/{path}"
        unlimited = aiohttp.ClientTimeout(sock_connect=5, sock_read=patience)
        async with docker.session.request(method, url, params=query, headers=headers, timeout=unlimited) as response:
            if response.status >= 400:
                raise RefusedCall(response.status, _message(await response.read()))
            yield response.content


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()


def _connector(address: str) -> tuple[aiohttp.BaseConnector, str]:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return aiohttp.UnixConnector(parts.path, limit=0), "unix://localhost"
    if parts.scheme in ("tcp", "http", "https"):
        context = _client_tls() if parts.scheme == "https" or os.environ.get("DOCKER_TLS_VERIFY") else None
        base = f"{'https' if context else 'http'}://{parts.netloc}"
        return aiohttp.TCPConnector(limit=0, ssl=context or True), base
    raise EngineError(f"engine address {address!r}: use unix:///path/to/docker.sock or tcp://host:port")


def _client_tls() -> ssl.SSLContext:
    """As the docker CLI does: the three files in DOCKER_CERT_PATH."""
    folder = Path(os.environ.get("DOCKER_CERT_PATH", "") or Path.home() / ".docker")
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
