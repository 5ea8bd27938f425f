"""`/events`: what happened to this node's engine and to the swarm, as one stream in order of time.

The engine's part is asked for again from the last event seen whenever its stream breaks, so that an engine's restart loses only what
the engine itself forgets, and doubles nothing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple, Protocol
from urllib.parse import urlencode

import msgspec

from cluster.aio.clock import Clock
from cluster.api.errors import Internal, InvalidArgument, ShoalError
from node_agent.api.alongside import alongside
from node_agent.api.engine_link import EngineLink
from node_agent.api.event_merge import Event, Merge, Stamped
from node_agent.api.filters import Filters
from node_agent.api.http import BadMessage
from node_agent.api.messages import ApiRequest, Response, StreamingResponse
from node_agent.api.moments import SECOND, moment, unix
from node_agent.api.routing import Route

log = logging.getLogger("shoal.api")

SWARM_ONLY = frozenset({"node", "service", "task", "secret", "config"})
SWARM_TYPES = SWARM_ONLY | {"network"}
ACTORS = frozenset({"config", "container", "daemon", "image", "network", "node", "plugin", "secret", "service", "task", "volume"})
FILTERS = ACTORS | {"event", "label", "scope", "type"}
RETRY = 0.5  # seconds between tries to reach an engine that is away
OVERLAP = SECOND  # asked for twice after a reconnection: events of one moment need not be in order
REMEMBERED = 1024  # lines by which what was asked for twice is sent once
GRACE = 0.2  # seconds for a past that ends now to be told
_HELD = 10_000  # events that wait for a slow client
_ENGINE, _SWARM = 0, 1


class SwarmEvents(Protocol):
    """The swarm's events as this manager's applied log tells them; a node that is no manager has none."""

    def since(self, time_nano: int) -> AsyncGenerator[Event, None]:
        """Those after a moment that are still known, then each as it happens, without end."""
        ...


class Asked(NamedTuple):
    """What a client wants to hear of."""

    filters: Filters
    since: int
    until: int | None

    @property
    def engine_too(self) -> bool:
        types, scopes = self.filters.get("type"), self.filters.get("scope")
        return (not types or not set(types) <= SWARM_ONLY) and (not scopes or "local" in scopes)

    @property
    def swarm_too(self) -> bool:
        types, scopes = self.filters.get("type"), self.filters.get("scope")
        return (not types or not SWARM_TYPES.isdisjoint(types)) and (not scopes or "swarm" in scopes)

    def wants(self, event: Event) -> bool:
        """Whether an event of the swarm is asked for."""
        filters, actor = self.filters, event.actor
        if not (filters.exact("type", event.type) and filters.exact("event", event.action) and filters.exact("scope", event.scope)):
            return False
        if not filters.labels(actor.attributes):
            return False
        named = [kind for kind in filters.names if kind in ACTORS]
        return all(
            kind == event.type and (filters.prefix(kind, actor.id) or filters.prefix(kind, actor.attributes.get("name", "")))
            for kind in named
        )


def asked(request: ApiRequest, *, now: int) -> Asked:
    """Read a request for events; raises InvalidArgument."""
    since, until = request.query.get("since"), request.query.get("until")
    filters = request.query.filters(*FILTERS)
    ends = moment(until, now=now, name="until") if until else None
    if not since:
        return Asked(filters, now if ends is None else min(now, ends), ends)  # what is over by now has no events left
    begins = moment(since, now=now, name="since")
    if ends is not None and ends < begins:
        raise InvalidArgument(f"`since` time ({since}) cannot be after `until` time ({until})")
    return Asked(filters, begins, ends)


class Events:
    """The noun's handler.

    `show` translates a line of the engine's for clients, None hides it; `engine_name` is what the engine calls a network of the cluster.
    """

    def __init__(
        self,
        link: EngineLink,
        swarm: SwarmEvents,
        clock: Clock,
        *,
        show: Callable[[bytes], bytes | None] = lambda line: line,
        engine_name: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._link, self._swarm, self._clock = link, swarm, clock
        self._show, self._engine_name = show, engine_name

    def routes(self) -> Sequence[Route]:
        return [Route("GET", "/events", self.stream)]

    async def stream(self, request: ApiRequest) -> Response:
        return StreamingResponse(chunks=self._merged(asked(request, now=self._clock.wall())))

    async def _merged(self, wanted: Asked) -> AsyncGenerator[bytes, None]:
        inbox = _Inbox(self._clock)
        async with alongside(self._hear_engine(wanted, inbox)), alongside(self._hear_swarm(wanted, inbox)):
            while not inbox.merge.ended:
                if ready := inbox.take():
                    yield b"".join(event.line for event in ready)
                await inbox.wait()

    async def _hear_swarm(self, wanted: Asked, inbox: "_Inbox") -> None:
        try:
            async with asyncio.timeout(self._time_left(wanted)), aclosing(self._swarm.since(wanted.since)) as events:
                async for event in events if wanted.swarm_too else _none():
                    if wanted.until is not None and event.time_nano > wanted.until:
                        break
                    if wanted.wants(event):
                        await inbox.put(_SWARM, Stamped(event.time_nano, msgspec.json.encode(event) + b"\n"))
        except TimeoutError:
            pass
        finally:
            inbox.end(_SWARM)

    async def _hear_engine(self, wanted: Asked, inbox: "_Inbox") -> None:
        try:
            if wanted.engine_too:
                await self._hear_engine_until_done(wanted, inbox)
        finally:
            inbox.end(_ENGINE)

    async def _hear_engine_until_done(self, wanted: Asked, inbox: "_Inbox") -> None:
        last, recent = wanted.since, deque[bytes](maxlen=REMEMBERED)
        since, filters = wanted.since, wanted.filters
        if bridges := [bridge for name in filters.get("network") if (bridge := self._engine_name(name)) is not None]:
            filters = filters.plus("network", *bridges)
        while True:
            query = {"since": unix(since), "filters": filters.encode()}
            if wanted.until is not None:
                query["until"] = unix(wanted.until)
            try:
                async with aclosing(self._engine_lines(urlencode(query))) as lines:
                    async for line in lines:
                        if line in recent:
                            continue
                        recent.append(line)
                        last = max(last, msgspec.json.decode(line, type=_Dated).time_nano)
                        if (shown := self._show(line)) is not None:
                            await inbox.put(_ENGINE, Stamped(last, shown))
            except (ShoalError, BadMessage, ConnectionError) as gone:
                log.info("the engine's events broke off: %s", gone)
            if wanted.until is not None and self._clock.wall() >= wanted.until:
                return
            await self._clock.sleep(RETRY)
            since = max(wanted.since, last - OVERLAP)

    async def _engine_lines(self, query: str) -> AsyncGenerator[bytes, None]:
        async with self._link.ask("GET", "/events", query=query) as answer:
            if answer.head.status != 200:
                raise Internal((await answer.whole()).message)
            rest = b""
            while data := await answer.next():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line + b"\n"

    def _time_left(self, wanted: Asked) -> float | None:
        return None if wanted.until is None else max((wanted.until - self._clock.wall()) / SECOND, 0.0) + GRACE


class _Dated(msgspec.Struct):
    time_nano: int = msgspec.field(default=0, name="timeNano")


class _Inbox:
    """Where the two listeners put what they hear."""

    def __init__(self, clock: Clock) -> None:
        self.merge = Merge()
        self._clock = clock
        self._news, self._room = asyncio.Event(), asyncio.Event()

    async def put(self, source: int, event: Stamped) -> None:
        while self.merge.held >= _HELD:
            self._room.clear()
            await self._room.wait()
        self.merge.add(source, event, now=self._clock.monotonic())
        self._news.set()

    def end(self, source: int) -> None:
        self.merge.end(source)
        self._news.set()

    def take(self) -> list[Stamped]:
        ready = self.merge.due(now=self._clock.monotonic())
        self._room.set()
        return ready

    async def wait(self) -> None:
        """Until something arrived, or something that waited may go out."""
        if self.merge.ended:
            return
        try:
            async with asyncio.timeout(self.merge.wait(now=self._clock.monotonic())):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()


async def _none() -> AsyncGenerator[Event, None]:
    """No events."""
    return
    yield
