"""The engine's events, from JSON lines to values. Pure; docker.py holds the connection."""

import json
from collections.abc import Iterator, Mapping

from worker.ports import EngineEvent

KINDS = frozenset({"start", "die", "oom", "destroy", "pause", "unpause", "health_status"})
"""What may change our mind about a container; exec and attach events, of which there are many, do not."""


class EventStream:
    """Chunks in, events out: the engine writes one JSON object after the other, with a line break or without."""

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._buffer = ""

    def feed(self, received: bytes) -> Iterator[EngineEvent]:
        self._buffer += received.decode(errors="replace")
        while text := self._buffer.lstrip():
            try:
                message, end = self._decoder.raw_decode(text)
            except json.JSONDecodeError:
                return  # the rest of it is still to come
            self._buffer = text[end:]
            event = engine_event(message)
            if event.kind in KINDS:
                yield event


def engine_event(message: Mapping[str, object]) -> EngineEvent:
    """One message of `GET /events`. A health event has its result behind a colon: `health_status: healthy`."""
    actor = message.get("Actor")
    actor = actor if isinstance(actor, Mapping) else {}
    attributes = actor.get("Attributes")
    attributes = attributes if isinstance(attributes, Mapping) else {}
    kind = str(message.get("Action") or message.get("status") or "").partition(":")[0]
    code = attributes.get("exitCode")
    return EngineEvent(
        container_id=str(actor.get("ID") or message.get("id") or ""),
        kind=kind,
        labels={str(key): str(value) for key, value in attributes.items()},
        exit_code=int(code) if isinstance(code, str) and code.lstrip("-").isdigit() else None,
    )
