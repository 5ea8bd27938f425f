"""Events of a real engine and of a scripted swarm as one stream, across an engine's death."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cluster.aio.clock import SystemClock
from cluster.aio.supervise import background
from integration.proxy.conftest import CLIS, Docker, Dockerd, docker_at
from node_agent.api.engine_link import EngineLink
from node_agent.api.engine_proxy import EngineProxy
from node_agent.api.event_merge import Actor, Event
from node_agent.api.events import Events
from node_agent.api.listeners import bind_unix
from node_agent.api.server import ApiServer

pytestmark = [pytest.mark.root, pytest.mark.engine]


class ScriptedSwarm:
    """Tells the events it was given, then those that come."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self._more = asyncio.Event()

    def happen(self, action: str, *, at: int | None = None, kind: str = "service") -> None:
        moment = time.time_ns() if at is None else at
        self.told.append(
            Event(type=kind, action=action, actor=Actor(id="s1", attributes={"name": "web"}), time_nano=moment, time=moment // 10**9)
        )
        self._more.set()

    async def since(self, time_nano: int) -> AsyncGenerator[Event, None]:
        told = 0
        while True:
            for event in self.told[told:]:
                if event.time_nano >= time_nano:
                    yield event
            told = len(self.told)
            self._more.clear()
            await self._more.wait()


class Listener:
    """A client of /events."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def next(self) -> dict[str, Any]:
        """The next event; each comes as one chunk or several in one."""
        while True:
            line = await self._reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"{"):
                return dict(json.loads(line))

    async def all(self) -> list[dict[str, Any]]:
        """Those to the end of the stream."""
        rest = await self._reader.readuntil(b"0\r\n\r\n")
        return [json.loads(line) for line in rest.splitlines() if line.startswith(b"{")]


@asynccontextmanager
async def listening(engine: Dockerd, swarm: ScriptedSwarm, home: Path, query: str = "") -> AsyncGenerator[Listener, None]:
    link, path = EngineLink(engine.socket), str(home / "events.sock")
    server = ApiServer(Events(link, swarm, SystemClock()).routes(), EngineProxy(link))
    sockets = [bind_unix(path)]
    async with asyncio.timeout(40), background(lambda: server.run(sockets)):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(f"GET /v1.51/events?{query} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head, head + await reader.read(1000)
        try:
            yield Listener(reader)
        finally:
            writer.close()
    link.close()


def create(engine: Dockerd, name: str) -> None:
    made = docker_at(engine.socket, CLIS["cli20"], "create", "--name", name, "bb", "true")
    assert made.returncode == 0, made.stderr
    docker_at(engine.socket, CLIS["cli20"], "rm", name)


def filters(**asked: Sequence[str]) -> str:
    return "filters=" + quote(json.dumps({name: dict.fromkeys(values, True) for name, values in asked.items()}))


async def test_the_past_of_both_is_told_in_order_of_time(engine: Dockerd, tmp_path: Path) -> None:
    swarm, since = ScriptedSwarm(), time.time_ns() // 10**9
    swarm.happen("create")
    await asyncio.to_thread(create, engine, "past-one")
    swarm.happen("update")
    await asyncio.to_thread(create, engine, "past-two")
    swarm.happen("remove")
    until = time.time_ns() / 10**9
    async with listening(engine, swarm, tmp_path, f"since={since}&until={until:.6f}&{filters(type=['container', 'service'])}") as client:
        told = [event for event in await client.all() if event["Actor"]["Attributes"]["name"] in {"web", "past-one", "past-two"}]
    assert [(event["Type"], event["Action"], event["scope"]) for event in told] == [
        ("service", "create", "swarm"),
        *[("container", action, "local") for action in ("create", "destroy")],
        ("service", "update", "swarm"),
        *[("container", action, "local") for action in ("create", "destroy")],
        ("service", "remove", "swarm"),
    ]
    assert [event["timeNano"] for event in told] == sorted(event["timeNano"] for event in told)


async def test_filters_choose_between_the_two(engine: Dockerd, tmp_path: Path) -> None:
    swarm = ScriptedSwarm()
    async with listening(engine, swarm, tmp_path, filters(service=["web"], event=["update"])) as client:
        await asyncio.to_thread(create, engine, "unheard")
        swarm.happen("create")
        swarm.happen("update")
        assert (await client.next())["Action"] == "update"


async def test_an_engine_that_dies_costs_no_event_of_the_swarm_and_doubles_none(engine: Dockerd, tmp_path: Path) -> None:
    swarm = ScriptedSwarm()
    async with listening(engine, swarm, tmp_path, filters(type=["container", "service"])) as client:
        await asyncio.to_thread(create, engine, "before")
        assert [(await client.next())["Action"] for _ in range(2)] == ["create", "destroy"]
        await asyncio.to_thread(engine.stop)
        swarm.happen("create")
        assert (await client.next())["Action"] == "create"
        await asyncio.to_thread(engine.start)
        await asyncio.to_thread(create, engine, "after")
        told = [await client.next() for _ in range(2)]
    assert [(event["Action"], event["Actor"]["Attributes"]["name"]) for event in told] == [("create", "after"), ("destroy", "after")]


def test_the_daemon_answers_while_the_engine_is_dead_and_goes_on_when_it_is_back(engine: Dockerd, newest: Docker) -> None:
    engine.stop()
    try:
        assert "cannot connect to the container engine at unix://" in newest.refused("ps")
        assert "cannot connect to the container engine" in newest("version", "--format", "{{.Server.Platform.Name}}")
        assert newest("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
        assert "WARNING: cannot connect to the container engine" in newest("info", "--format", '{{join .Warnings "\\n"}}')
    finally:
        engine.start()
    assert newest("run", "--rm", "bb", "echo", "again") == "again"
