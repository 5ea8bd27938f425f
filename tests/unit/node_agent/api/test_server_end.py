"""The API's server comes to its end while clients come."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from node_agent.api.exchange import Exchange
from node_agent.api.listeners import bind_unix
from node_agent.api.messages import ApiRequest, PassToEngine
from node_agent.api.server import ApiServer


class NoEngine:
    async def pass_on(self, exchange: Exchange, request: ApiRequest, passed: PassToEngine) -> None:
        raise AssertionError("nobody asks for the engine")


@pytest.mark.timeout(10)
async def test_a_client_that_comes_while_it_ends_is_turned_away_without_a_word(tmp_path: Path) -> None:
    loop, troubles = asyncio.get_running_loop(), list[Any]()
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    path = str(tmp_path / "api.sock")
    running = loop.create_task(ApiServer([], NoEngine()).run([bind_unix(path)]))
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /swarm HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"404" in await reader.readuntil(b"}")
    late = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    late.connect(path)  # in the backlog: it is accepted in the turn in which the connections are being ended
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with suppress(ConnectionError):
        assert not (await reader.read()).strip()
    assert troubles == []
    writer.close()
    late.close()
