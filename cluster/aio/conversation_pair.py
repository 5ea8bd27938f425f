"""The in-memory twin of a `Conversation`: two ends that hear each other, with room for so many bytes each way."""

import asyncio
from collections.abc import Callable

from cluster.aio.latest import Latest


class _Way:
    """One direction: what was said and not yet heard."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.has_ended = False
        self.on_gone: Callable[[], None] | None = None
        """Of who speaks here."""
        self.is_abandoned = False
        """Nobody listens any more."""
        self.changes = Latest(0)

    def stir(self) -> None:
        self.changes.set(self.changes.value + 1)

    async def wait(self) -> None:
        await self.changes.wait_change(self.changes.revision)


class End:
    """Says on one way, hears on the other."""

    def __init__(self, hears: _Way, says: _Way, room: int) -> None:
        self._hears, self._says, self._room = hears, says, room

    async def read(self) -> bytes:
        way = self._hears
        while not (way.content or way.has_ended):
            await way.wait()
        heard = bytes(way.content)
        way.content.clear()
        way.stir()
        return heard

    async def send(self, data: bytes) -> None:
        way = self._says
        way.content += data
        way.stir()
        while len(way.content) > self._room and not way.is_abandoned:
            await way.wait()
        if way.is_abandoned:
            raise ConnectionError("the other end is closed")

    def write_eof(self) -> None:
        self._says.has_ended = True
        self._says.stir()

    def on_gone(self, call: Callable[[], None] | None) -> None:
        self._says.on_gone = call
        if call is not None and self._says.is_abandoned:
            call()

    def close(self) -> None:
        way = self._hears
        if not way.is_abandoned:
            way.is_abandoned = True
            way.stir()
            self.write_eof()
            if way.on_gone is not None:
                asyncio.get_running_loop().call_soon(way.on_gone)


def pair(room: int = 1 << 16) -> tuple[End, End]:
    there, back = _Way(), _Way()
    return End(back, there, room), End(there, back, room)
