"""Two ends that are far apart talk as if they were side by side: in order, each direction for itself, neither beyond what is read."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cluster.aio.clock import ManualClock
from cluster.aio.conversation import CHUNK, LAST_WORDS, WINDOW, BrokenOff, relay
from cluster.aio.conversation_pair import End, pair
from cluster.api.assignment import Piece
from cluster.api.errors import TooLarge


class Side:
    """One end of the stream of pieces, with the party there."""

    def __init__(self, clock: ManualClock) -> None:
        self.party, self.here = pair()
        self.clock = clock
        self.pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        self.sent: list[Piece] = []
        self.other: Side | None = None
        self.outcome: asyncio.Future[None] | None = None

    async def send(self, piece: Piece) -> None:
        self.sent.append(piece)
        if self.other is not None:
            self.other.pieces.put_nowait(piece)

    async def received(self) -> AsyncIterator[Piece]:
        while (piece := await self.pieces.get()) is not None:
            yield piece

    async def finish(self) -> None:
        if self.other is not None:
            self.other.pieces.put_nowait(None)

    def begin(self, *, patience: float = float("inf")) -> None:
        self.outcome = asyncio.ensure_future(self._run(patience))

    async def _run(self, patience: float) -> None:
        try:
            await relay(self.here, send=self.send, received=self.received(), finish=self.finish, clock=self.clock, patience=patience)
        finally:
            self.here.close()
            await self.finish()

    async def over(self) -> None:
        assert self.outcome is not None
        await asyncio.wait_for(self.outcome, 5)

    @property
    def said(self) -> int:
        return sum(len(piece.content) for piece in self.sent)


def far_apart() -> tuple[Side, Side]:
    clock = ManualClock()
    one, other = Side(clock), Side(clock)
    one.other, other.other = other, one
    one.begin()
    other.begin(patience=LAST_WORDS)
    return one, other


async def all_of(end: End) -> bytes:
    parts = []
    while part := await end.read():
        parts.append(part)
    return b"".join(parts)


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_what_is_said_is_heard_in_order_and_each_direction_ends_by_itself() -> None:
    client, node = far_apart()
    await client.party.send(b"one ")
    await client.party.send(b"two")
    client.party.write_eof()
    assert await all_of(node.party) == b"one two"
    await node.party.send(b"an answer after the question ended")
    node.party.write_eof()
    assert await all_of(client.party) == b"an answer after the question ended"
    await client.over()
    await node.over()


async def test_much_is_cut_into_pieces_and_arrives_whole() -> None:
    client, node = far_apart()
    much = bytes(range(256)) * (20 * WINDOW // 256)

    async def ask() -> None:
        await client.party.send(much)
        client.party.write_eof()

    asking = asyncio.ensure_future(ask())
    assert await all_of(node.party) == much
    await asking
    assert max(len(piece.content) for piece in client.sent) == CHUNK


async def test_a_reader_that_stands_still_holds_the_speaker_back_and_not_the_other_direction() -> None:
    client, node = far_apart()
    speaking = asyncio.ensure_future(client.party.send(bytes(4 * WINDOW)))
    await settle()
    assert client.said == WINDOW + CHUNK, "no more is under way than there is credit for, beside what the reader's own buffer took"
    await node.party.send(b"meanwhile")
    assert await client.party.read() == b"meanwhile"
    heard = 0
    while heard < 4 * WINDOW:
        heard += len(await node.party.read())
    assert heard == 4 * WINDOW
    await speaking


async def test_who_leaves_is_gone_on_the_other_side_too_with_his_last_words_said() -> None:
    client, node = far_apart()
    await client.party.send(b"bye")
    client.party.close()
    assert await all_of(node.party) == b"bye"
    gone = asyncio.Event()
    node.party.on_gone(gone.set)
    await asyncio.wait_for(gone.wait(), 5)
    await client.over()


async def test_a_reader_who_takes_nothing_does_not_hold_a_conversation_whose_other_side_left() -> None:
    client, node = far_apart()
    await client.party.send(bytes(WINDOW))
    await settle()
    client.party.close()
    await settle()
    assert node.outcome is not None
    assert not node.outcome.done()
    await client.clock.advance(LAST_WORDS)
    await node.over()


async def test_a_side_that_breaks_off_is_not_taken_for_one_that_has_said_everything() -> None:
    alone = Side(ManualClock())
    alone.begin()
    alone.pieces.put_nowait(Piece(content=b"half a"))
    alone.pieces.put_nowait(None)
    with pytest.raises(BrokenOff):
        await alone.over()


async def test_a_side_that_sends_beyond_its_credit_is_cut_off() -> None:
    alone = Side(ManualClock())
    alone.begin()
    for _ in range(WINDOW // CHUNK + 4):
        alone.pieces.put_nowait(Piece(content=bytes(CHUNK)))
    with pytest.raises(TooLarge, match="more than it was given credit for"):
        await alone.over()
