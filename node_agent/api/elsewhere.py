"""Containers of tasks on other nodes: what this node's engine does not know is asked of the engine that has it.

Only on managers, which know what runs where, and only after the engine here said that it knows no such container. A container is named as
Docker names it: by its id, a prefix of at least twelve digits, or its name SERVICE.SLOT.TASKID. Nothing here ends or removes one.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from cluster.aio.conversation import Conversation
from cluster.api.errors import InvalidArgument, ShoalError, Unavailable
from cluster.api.ids import Id
from cluster.api.objects import Task
from manager.store.snapshot import Snapshot
from manager.switchboard import Call, called
from node_agent.api.door import ABOUT_CONTAINERS, ABOUT_EXECS, wires
from node_agent.api.engine_link import EngineLink
from node_agent.api.messages import ApiRequest, ApiResponse, EngineReply, PassToEngine, json_response
from node_agent.api.versions import NEWEST, OLDEST, EngineVersions
from node_agent.api.wire import Hangups, Wire

HEAR_WITHIN = 1.0
"""Seconds that the other managers have to say what is newest; without them, what is known has to do."""
MOST_EXECS = 10_000
"""Remembered, with the node of each; an engine forgets its own some minutes after they ended."""
_PATH = re.compile(r"/(?P<noun>containers|exec)/(?P<id>[^/]+)(?:/(?P<verb>[a-z]+))?")
_COULD_BE = re.compile(r"[0-9a-f]{12,64}|/?[\w-]+\.[\w-]+\.[\w-]+")
_HEX = re.compile(r"[0-9a-f]{12,64}")
_ELSEWHERE = EngineVersions(newest=NEWEST, oldest=OLDEST, release="", arch="", builder="", experimental="false")
"""A shoald is asked there, which speaks to its engine as that wants it."""

Reply = Callable[[EngineReply], Awaitable[ApiResponse]]


class Nodes(Protocol):
    """What is needed of this node's swarm."""

    @property
    def node_id(self) -> Id: ...

    def latest(self) -> Snapshot | None:
        """None where this is no manager."""
        ...

    async def read(self) -> Snapshot:
        """With every change that was acknowledged before. Raises Unavailable."""
        ...

    async def connect(self, task_id: Id, here: Conversation) -> Call: ...


class RemoteLink(EngineLink):
    """The engine of a task's node, for one request."""

    def __init__(self, nodes: Nodes, task: Task, hangups: Hangups) -> None:
        super().__init__("")
        self._nodes, self._task, self._watching = nodes, task, hangups
        self._call: Call | None = None

    @property
    def failure(self) -> str:
        """Why the conversation ended before everything was said; empty if it did not."""
        return "" if self._call is None else self._call.failure

    async def connect(self) -> Wire:
        ours, theirs = await wires(self._watching)
        try:
            self._call = await self._nodes.connect(self._task.id, theirs)
        except BaseException:
            ours.abort()
            theirs.abort()
            raise
        return ours

    async def versions(self) -> EngineVersions:
        return _ELSEWHERE

    def down(self, cause: str) -> Unavailable:
        return Unavailable(self.failure or f"the node of task {self._task.id}: {cause}")


class _Exec(NamedTuple):
    """One that was made through us. `link`: of its start."""

    task: Task
    link: RemoteLink | None = None


class Elsewhere:
    """Is an `engine_proxy.OtherEngines`."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._execs: OrderedDict[str, _Exec] = OrderedDict()
        self._hangups: Hangups | None = None

    def may_know(self, request: ApiRequest) -> bool:
        found = _PATH.fullmatch(request.path)
        return found is not None and self._nodes.latest() is not None and _is_let_through(request.method, found["noun"], found["verb"])

    async def instead(self, method: str, path: str, passed: PassToEngine) -> PassToEngine | ApiResponse | None:
        """Raises InvalidArgument for a prefix of several ids."""
        found, now = _PATH.fullmatch(path), self._nodes.latest()
        if found is None or now is None:
            return None
        name = unquote(found["id"])
        if found["noun"] == "exec":
            return self._ask_exec(name, method, found["verb"], passed)
        task = find_task(now, name, here=self._nodes.node_id)
        if task is None and _COULD_BE.fullmatch(name):
            now = await self._newest() or now
            task = find_task(now, name, here=self._nodes.node_id)
        if task is None:
            return None
        if not _is_let_through(method, "containers", found["verb"]):
            return _refusal(now, task, name)
        container = task.status.container.container_id if task.status.container is not None else ""
        link = self._link(task)
        reply: Reply | None = partial(self._learn, task) if found["verb"] == "exec" else passed.reply
        return replace(passed, through=link, path=f"/containers/{container}/{found['verb']}", reply=reply)

    async def _newest(self) -> Snapshot | None:
        """Another manager may have told the client of a container that we have not heard of yet."""
        with suppress(TimeoutError, ShoalError):
            async with asyncio.timeout(HEAR_WITHIN):
                return await self._nodes.read()
        return None

    def _ask_exec(self, exec_id: str, method: str, verb: str, passed: PassToEngine) -> PassToEngine | None:
        known = self._execs.get(exec_id)
        if known is None or not _is_let_through(method, "exec", verb):
            return None
        link = self._link(known.task)
        if verb == "start":
            self._execs[exec_id] = known._replace(link=link)
        reply: Reply | None = partial(self._tell, known) if verb == "json" else passed.reply
        return replace(passed, through=link, reply=reply)

    async def _learn(self, task: Task, reply: EngineReply) -> ApiResponse:
        """Where an exec is, which its id does not say."""
        if reply.ok:
            self._execs[reply.json()["Id"]] = _Exec(task)
            while len(self._execs) > MOST_EXECS:
                self._execs.popitem(last=False)
        return reply.respond()

    async def _tell(self, known: _Exec, reply: EngineReply) -> ApiResponse:
        """How an exec is doing. One whose stream broke has not ended well only because its client asks what became of it."""
        failure = "" if known.link is None else known.link.failure
        if failure and reply.ok and reply.json().get("Running"):
            raise Unavailable(failure)
        return reply.respond()

    def _link(self, task: Task) -> RemoteLink:
        self._hangups = self._hangups or Hangups()
        return RemoteLink(self._nodes, task, self._hangups)


def _is_let_through(method: str, noun: str, verb: str | None) -> bool:
    return (method, verb) in (ABOUT_EXECS if noun == "exec" else ABOUT_CONTAINERS)


def find_task(now: Snapshot, name: str, *, here: Id) -> Task | None:
    """The task on another node whose container goes by this name. Raises InvalidArgument for a prefix of several. Pure."""
    if _HEX.fullmatch(name):
        found = [task for task in now.tasks.values() if task.node_id != here and _container_of(task).startswith(name)]
        if len(found) > 1:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {name}")
        return found[0] if found else None
    task = now.tasks.get(name.rpartition(".")[2])
    is_it = task is not None and task.node_id != here and bool(_container_of(task)) and name.removeprefix("/") == name_of(now, task)
    return task if is_it else None


def _container_of(task: Task) -> str:
    return task.status.container.container_id if task.status.container is not None else ""


def name_of(now: Snapshot, task: Task) -> str:
    """The name of a task's container; global tasks have their node for the slot."""
    service = now.services.get(task.service_id)
    return f"{'' if service is None else service.spec.name}.{task.slot or task.node_id}.{task.id}"


def _refusal(now: Snapshot, task: Task, name: str) -> ApiResponse:
    """In Docker's words, which clients look for, and where it is."""
    there = f"it is a container of task {name_of(now, task)} on node {called(now, task.node_id)}"
    cure = "only exec, attach, logs, top, stats and inspect reach other nodes, services are changed by `docker service`"
    return json_response({"message": f"No such container: {name} ({there}: {cure})"}, status=404)
