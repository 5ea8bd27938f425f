"""The daemon's end of the name server: tells it what changed of the zone."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from node_agent.network.companion import Companion
from node_agent.network.dns.feed import PROTOCOL, Feed, Taken, step
from node_agent.network.dns.zone import Zone


class NameServerGone(Exception):
    """It does not answer; the next feed starts another."""


class NameServer:
    """One at a time may speak: callers serialise."""

    def __init__(self, *, control: Path, namespace: Path | None, resolv_conf: Path) -> None:
        self._process = Companion(
            name="the name server",
            module="node_agent.network.dns",
            protocol=PROTOCOL,
            control=control,
            namespace=namespace,
            arguments=("--resolv-conf", str(resolv_conf)),
        )
        self._held: Zone | None = None
        self._refused: Mapping[str, str] = {}

    async def wait_gone(self) -> None:
        """Until the process that was fed ends; for ever when there is none."""
        await self._process.wait_gone()

    async def feed(self, zone: Zone) -> Mapping[str, str]:
        """Returns once it answers from this zone: the gateways it could not listen at, and why. Raises NameServerGone."""
        for attempt in (1, 2):
            try:
                return await self._feed(zone)
            except (EOFError, OSError, TimeoutError, ValueError) as gone:
                await self.close()
                if attempt == 2:
                    raise NameServerGone(f"the name server does not answer: {gone}") from gone
        raise NameServerGone("the name server does not answer")

    async def _feed(self, zone: Zone) -> Mapping[str, str]:
        if await self._process.connect():
            self._held = None
        change = step(self._held, zone)
        if self._refused and change is None:
            change = Feed()  # try the refused ones again
        if change is not None:
            answer = await self._process.exchange(msgspec.msgpack.encode(change))
            self._refused = msgspec.msgpack.decode(answer, type=Taken).refused
            self._held = zone
        return self._refused

    async def stop(self) -> None:
        """End the process; fine when there is none."""
        await self._process.stop()
        self._held = None

    async def close(self) -> None:
        """Let go; the process goes on answering."""
        await self._process.close()
        self._held = None
