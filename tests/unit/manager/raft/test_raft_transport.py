"""One stream a peer: in order while it lasts, made again when it breaks, and never a queue without end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

from cluster.aio.supervise import background
from manager.raft.core.membership import MemberId
from manager.raft.transport import PeerStreams
from tests.sim.virtual_time import run

B = MemberId("b")


class Wire:
    """Where dialled connections lead. `broken` makes both dialling and sending fail; `stuck` makes sending wait."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, bytes]] = []
        self.dialled: list[str] = []
        self.closed = 0
        self.broken = False
        self.stuck: asyncio.Event | None = None
        self.hang_up: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def dial(self, address: str, ended: Callable[[], None]) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        self.dialled.append(address)
        self.hang_up = ended
        if self.broken:
            raise ConnectionRefusedError(address)

        async def send(frame: bytes) -> None:
            if self.broken:
                raise ConnectionResetError(address)
            if self.stuck is not None:
                await self.stuck.wait()
            self.arrived.append((address, frame))

        try:
            yield send
        finally:
            self.closed += 1


def with_streams(check: Callable[[Wire, PeerStreams], Awaitable[None]], **options: float) -> None:
    async def main() -> None:
        wire = Wire()
        streams = PeerStreams(wire.dial, rng=Random(1), **options)  # type: ignore[arg-type]
        async with background(streams.run):
            await check(wire, streams)

    run(main())


def test_frames_arrive_in_order_on_one_connection() -> None:
    async def check(wire: Wire, streams: PeerStreams) -> None:
        streams.send(B, "here", [b"1", b"2"])
        streams.send(B, "here", [b"3"])
        await asyncio.sleep(0.1)
        assert wire.arrived == [("here", b"1"), ("here", b"2"), ("here", b"3")]
        assert wire.dialled == ["here"]

    with_streams(check)


def test_what_was_sent_before_it_runs_is_not_forgotten() -> None:
    async def main() -> None:
        wire = Wire()
        streams = PeerStreams(wire.dial, rng=Random(1))
        streams.send(B, "here", [b"early"])
        async with background(streams.run):
            await asyncio.sleep(0.1)
        assert wire.arrived == [("here", b"early")]

    run(main())


def test_a_broken_connection_is_made_again_and_the_loss_is_reported() -> None:
    async def check(wire: Wire, streams: PeerStreams) -> None:
        dropped: list[MemberId] = []
        streams.report_drops_to(dropped.append)
        streams.send(B, "here", [b"1"])
        await asyncio.sleep(0.1)
        wire.broken = True
        streams.send(B, "here", [b"lost"])
        await asyncio.sleep(0.01)
        assert dropped == [B]
        wire.broken = False
        await asyncio.sleep(2)
        streams.send(B, "here", [b"2"])
        await asyncio.sleep(0.1)
        assert wire.arrived == [("here", b"1"), ("here", b"2")]

    with_streams(check)


def test_an_unreachable_peer_is_tried_again_and_again_with_pauses() -> None:
    async def check(wire: Wire, streams: PeerStreams) -> None:
        wire.broken = True
        for _ in range(200):
            streams.send(B, "here", [b"heartbeat"])
            await asyncio.sleep(0.1)
        assert 15 < len(wire.dialled) < 60

    with_streams(check)


def test_what_waits_for_a_peer_that_takes_nothing_is_bounded() -> None:
    async def check(wire: Wire, streams: PeerStreams) -> None:
        dropped: list[MemberId] = []
        streams.report_drops_to(dropped.append)
        wire.stuck = asyncio.Event()
        for _ in range(20):
            streams.send(B, "here", [bytes(100)])
            await asyncio.sleep(0)
        assert len(dropped) >= 9
        wire.stuck.set()
        await asyncio.sleep(0.1)
        assert 10 <= len(wire.arrived) <= 11

    with_streams(check, max_queued_bytes=1000)


def test_a_peer_that_moved_is_found_at_its_new_address() -> None:
    async def check(wire: Wire, streams: PeerStreams) -> None:
        streams.send(B, "here", [b"1"])
        await asyncio.sleep(0.1)
        streams.send(B, "there", [b"2"])
        await asyncio.sleep(0.1)
        assert wire.arrived == [("here", b"1"), ("there", b"2")]
        assert wire.closed == 1

    with_streams(check)


def test_a_connection_that_nobody_uses_is_closed_and_opened_when_needed() -> None:
    async def check(wire: Wire, streams: PeerStreams) -> None:
        streams.send(B, "here", [b"1"])
        await asyncio.sleep(20)
        assert wire.closed == 1
        streams.send(B, "here", [b"2"])
        await asyncio.sleep(0.1)
        assert len(wire.arrived) == 2

    with_streams(check, idle_seconds=10.0)


def test_a_connection_that_ended_while_there_was_nothing_to_say_loses_nothing() -> None:
    """A peer that was restarted must hear the first request for its vote."""

    async def check(wire: Wire, streams: PeerStreams) -> None:
        dropped: list[MemberId] = []
        streams.report_drops_to(dropped.append)
        streams.send(B, "here", [b"1"])
        await asyncio.sleep(0.1)
        wire.hang_up()
        await asyncio.sleep(0.1)
        assert (wire.closed, wire.dialled) == (1, ["here"]), "there is nothing to say yet"
        streams.send(B, "here", [b"2"])
        await asyncio.sleep(0.01)
        assert wire.arrived == [("here", b"1"), ("here", b"2")]
        assert (wire.dialled, dropped) == (["here", "here"], [])

    with_streams(check)
