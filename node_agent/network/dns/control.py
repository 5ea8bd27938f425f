"""The name server's word on what the daemon tells it: the zone as it is now (`feed.py` has the messages)."""

import msgspec

from node_agent.network.companion import Stop
from node_agent.network.dns.feed import Feed, Taken, after
from node_agent.network.dns.server import Server
from node_agent.network.dns.zone import Zone

_decoder = msgspec.msgpack.Decoder(Feed | Stop)


class ZoneKeeper:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._zone = Zone()

    async def answer(self, content: bytes) -> bytes | None:
        """See `ControlSocket`."""
        message: Feed | Stop = _decoder.decode(content)
        if isinstance(message, Stop):
            return None
        self._zone = after(self._zone, message)
        return msgspec.msgpack.encode(Taken(refused=await self._server.hold(self._zone)))
