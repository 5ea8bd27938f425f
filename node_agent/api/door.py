"""The door to this node's Engine API for clients of other nodes: it leads to one container, and to nothing that ends or removes it.

An API server of its own for each conversation, over a pair of sockets, with the few routes that are let through. So what a client gets is
what it would get here: versions translated, connections taken over, a client that leaves noticed.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from cluster.api.errors import NotFound
from node_agent.api.engine_link import EngineLink, segment
from node_agent.api.engine_proxy import EngineProxy
from node_agent.api.messages import ApiRequest, PassToEngine, Response
from node_agent.api.routing import Route
from node_agent.api.server import ApiServer
from node_agent.api.wire import Hangups, Wire

ABOUT_CONTAINERS = (
    ("GET", "json"),
    ("GET", "logs"),
    ("GET", "top"),
    ("GET", "stats"),
    ("POST", "exec"),
    ("POST", "attach"),
    ("POST", "resize"),
)
ABOUT_EXECS = (("GET", "json"), ("POST", "start"), ("POST", "resize"))
LEAVE_WITHIN = 3.0
"""Seconds that the engine has to take the last words of a client that left."""


class Door:
    """Is a `worker.conversations.Door`."""

    def __init__(self, link: EngineLink) -> None:
        self._link = link
        self._hangups: Hangups | None = None

    @asynccontextmanager
    async def __call__(self, container_id: str) -> AsyncIterator[Wire]:
        """The client's end of a connection. Leaving the block hangs up."""
        server = ApiServer(Visit(self._link, container_id).routes(), EngineProxy(self._link), ours=None)
        outside, inside = await wires(self._watching())
        answering = asyncio.ensure_future(server.converse(inside))
        try:
            yield outside
        finally:
            outside.close()
            try:
                await asyncio.wait([answering], timeout=LEAVE_WITHIN)
            finally:
                answering.cancel()
                await asyncio.wait([answering])

    def _watching(self) -> Hangups:
        self._hangups = self._hangups or Hangups()
        return self._hangups


async def wires(hangups: Hangups) -> tuple[Wire, Wire]:
    """Two ends of one connection within this process."""
    loop, made = asyncio.get_running_loop(), list[Wire]()
    for end in socket.socketpair():
        end.setblocking(False)
        _, wire = await loop.create_unix_connection(partial(Wire, hangups), sock=end)
        made.append(wire)
    return made[0], made[1]


class Visit:
    """The routes of one conversation."""

    def __init__(self, link: EngineLink, container_id: str) -> None:
        self._link = link
        self._container_id = container_id

    def routes(self) -> Sequence[Route]:
        return [
            *(Route(method, f"/containers/{{id}}/{verb}", self._about_container) for method, verb in ABOUT_CONTAINERS),
            *(Route(method, f"/exec/{{id}}/{verb}", self._about_exec) for method, verb in ABOUT_EXECS),
        ]

    async def _about_container(self, request: ApiRequest) -> Response:
        if not self._container_id or request.params["id"] != self._container_id:
            raise NotFound(f"No such container: {request.params['id']}")
        return PassToEngine()

    async def _about_exec(self, request: ApiRequest) -> Response:
        """One that was made in this container."""
        exec_id = request.params["id"]
        reply = await self._link.call("GET", f"/exec/{segment(exec_id)}/json")
        if not reply.ok or not self._container_id or reply.json().get("ContainerID") != self._container_id:
            raise NotFound(f"No such exec instance: {exec_id}")
        return PassToEngine()
