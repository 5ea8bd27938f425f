"""`/services/{id}/logs` and `/tasks/{id}/logs`: lines of tasks wherever they run, in Docker's frames."""

import re
import struct
from collections.abc import AsyncGenerator, Sequence

from cluster.aio.clock import Clock
from cluster.api.assignment import LogChunk
from cluster.api.errors import InvalidArgument
from cluster.api.objects import Service, Task
from cluster.api.states import Kind
from manager.logbroker.selection import LogRequest, OfService, OfTask, Selection
from manager.store.snapshot import Snapshot
from node_agent.api.backend import Swarm
from node_agent.api.edge import look_up
from node_agent.api.messages import ApiRequest, StreamingResponse
from node_agent.api.moments import moment
from node_agent.api.routing import Route
from node_agent.api.views import timestamp

_TAIL = re.compile(r"-?[0-9]{1,9}")
_RAW = "application/vnd.docker.raw-stream"
_FRAMED = "application/vnd.docker.multiplexed-stream"


class Logs:
    """The handlers over this node's swarm. `now`: wall clock, ns."""

    def __init__(self, swarm: Swarm, clock: Clock) -> None:
        self._swarm = swarm
        self._clock = clock

    def routes(self) -> Sequence[Route]:
        return (Route("GET", "/services/{id}/logs", self.of_service), Route("GET", "/tasks/{id}/logs", self.of_task))

    async def of_service(self, request: ApiRequest) -> StreamingResponse:
        now = await self._swarm.read()
        row: Service = look_up(now, Kind.SERVICE, request.params["id"])
        container = row.spec.task_template.container_spec
        return self._answer(request, self._asked(request, OfService(row.id)), tty=container is not None and container.tty)

    async def of_task(self, request: ApiRequest) -> StreamingResponse:
        now = await self._swarm.read()
        row: Task = look_up(now, Kind.TASK, request.params["id"])
        container = now.template_of(row).spec.container_spec
        return self._answer(request, self._asked(request, OfTask(row.id)), tty=container is not None and container.tty)

    def _asked(self, request: ApiRequest, selection: Selection) -> LogRequest:
        query = request.query
        stdout, stderr = query.flag("stdout"), query.flag("stderr")
        if not (stdout or stderr):
            raise InvalidArgument("Bad parameters: you must choose at least one stream")
        tail = query.get("tail", "all") or "all"
        if tail != "all" and not _TAIL.fullmatch(tail):
            raise InvalidArgument(f'tail value must be a positive integer or "all", not {tail!r}')
        wall = self._clock.wall()
        return LogRequest(
            selection=selection,
            follow=query.flag("follow"),
            tail=-1 if tail == "all" or tail.startswith("-") else int(tail),
            since=moment(query.get("since"), now=wall, name="since") if query.get("since") else 0,
            until=moment(query.get("until"), now=wall, name="until") if query.get("until") else 0,
            stdout=stdout,
            stderr=stderr,
        )

    def _answer(self, request: ApiRequest, asked: LogRequest, *, tty: bool) -> StreamingResponse:
        framed = not tty
        kind = _FRAMED if framed and request.version >= (1, 42) else _RAW
        chunks = self._lines(asked, timestamps=request.query.flag("timestamps"), details=request.query.flag("details"), framed=framed)
        return StreamingResponse(chunks=chunks, content_type=kind)

    async def _lines(self, asked: LogRequest, *, timestamps: bool, details: bool, framed: bool) -> AsyncGenerator[bytes, None]:
        async for chunk in self._swarm.logs(asked):
            line = rendered(chunk, self._swarm.latest(), timestamps=timestamps, details=details)
            if line:
                yield frame(2 if chunk.error else chunk.source, line) if framed else line


def rendered(chunk: LogChunk, now: Snapshot | None, *, timestamps: bool, details: bool) -> bytes:
    """One line as Docker shows it; a node's error becomes a line of its own on stderr."""
    content = f"{chunk.error}\n".encode() if chunk.error else chunk.content
    if not content:
        return b""
    prefix = ""
    if timestamps:
        prefix += timestamp(chunk.timestamp) + " "
    if details:
        task = now.tasks.get(chunk.task_id) if now is not None else None
        labels = {
            "com.docker.swarm.node.id": task.node_id if task else "",
            "com.docker.swarm.service.id": task.service_id if task else "",
            "com.docker.swarm.task.id": chunk.task_id,
        }
        prefix += ",".join(f"{name}={value}" for name, value in labels.items()) + " "
    return prefix.encode() + content


def frame(stream: int, content: bytes) -> bytes:
    """Docker's multiplexed stream: 1 stdout or 2 stderr, three zeros, length, content."""
    return struct.pack(">BxxxI", stream, len(content)) + content
