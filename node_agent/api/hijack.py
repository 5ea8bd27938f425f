"""Connections taken over from HTTP: exec, attach, `run -i`, BuildKit's /session and /grpc.

The rule of `splice`: what one side sent goes to the other side before its end does; a side that ended its direction still listens, a
side that hung up does not, and then the other side is closed too. No timeout on silence: an attach may be idle for days.
"""

import asyncio

from node_agent.api.http import ResponseHead
from node_agent.api.wire import Gone, Wire

LAST_WORDS = 2.0  # seconds in which a client that left has its last input taken (`printf ... | nc -N`), if it is not taken at once
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"


def conversation_head(upgrade: str, content_type: str) -> tuple[int, list[tuple[str, str]]]:
    """How a takeover is answered: 101 to a client that asked for it, 200 to one of the older kind."""
    kind = ("Content-Type", content_type)
    return (101, [kind, ("Connection", "Upgrade"), ("Upgrade", upgrade)]) if upgrade else (200, [kind])


def takes_over(path: str, head: ResponseHead) -> bool:
    """Whether the engine left HTTP with this answer: it said so, or it answered an attach or exec of the older kind."""
    if head.status == 101:
        return True
    return (
        head.status == 200
        and path.endswith(("/attach", "/start"))
        and "content-length" not in head.headers
        and "transfer-encoding" not in head.headers
    )


async def splice(client: Wire, engine: Wire) -> None:
    """Let the two talk until both have ended, or one has left; then close both."""
    loop = asyncio.get_running_loop()
    reprieve: asyncio.TimerHandle | None = None

    def client_left() -> None:
        nonlocal reprieve
        outward.cancel()
        reprieve = loop.call_later(LAST_WORDS, inward.cancel)

    def engine_left() -> None:
        inward.cancel()

    try:
        async with asyncio.TaskGroup() as directions:
            inward = directions.create_task(_pump(client, engine))
            outward = directions.create_task(_pump(engine, client))
            client.on_gone(client_left)
            engine.on_gone(engine_left)
    finally:
        if reprieve is not None:
            reprieve.cancel()
        engine.close()
        client.close()


async def _pump(source: Wire, sink: Wire) -> None:
    try:
        while data := await source.read():
            await sink.send(data)
    except Gone:
        return
    sink.write_eof()
