"""`service logs`, and what `task logs` shares with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import BinaryIO

from cli import logs
from cli.client import Json, frames
from cli.command import ONE, Verb
from cli.errors import ApiError, CliError
from cli.flags.grammar import SWITCH, TEXT, Flag, Flags, Words
from cli.flags.moments import timestamp
from cli.http import Response
from cli.session import Session
from cli.tasks import Names

FLAGS = (
    Flag("details", SWITCH, "Show the details that the logging driver adds"),
    Flag("follow", SWITCH, "Go on as lines are written", short="f"),
    Flag("no-resolve", SWITCH, "Show IDs in place of names"),
    Flag("no-task-ids", SWITCH, "Leave out the tasks' IDs"),
    Flag("no-trunc", SWITCH, "Cut nothing short"),
    Flag("raw", SWITCH, "Show the lines alone"),
    Flag("since", TEXT, "Only lines since then: 2013-01-02T13:23:37Z, or 42m for as long ago"),
    Flag("tail", TEXT, "Lines to show from the end of each task's log", short="n", default='"all"'),
    Flag("timestamps", SWITCH, "Show when each line was written", short="t"),
)


def _logs(session: Session, words: Words) -> None:
    name = words.args[0]
    service = _found(session, f"/services/{name}")
    if service is not None:
        replicas = ((service["Spec"].get("Mode") or {}).get("Replicated") or {}).get("Replicas") or 1
        follow(session, words.flags, f"/services/{service['ID']}/logs", service["Spec"]["TaskTemplate"], width=len(str(replicas)))
        return
    task = _found(session, f"/tasks/{name}")
    if task is None:
        raise CliError(f"no such task or service: {name}")
    follow_task(session, words.flags, task)


def follow_task(session: Session, flags: Flags, task: Json) -> None:
    follow(session, flags, f"/tasks/{task['ID']}/logs", task.get("Spec") or {}, width=len(str(task.get("Slot") or "")))


def _found(session: Session, path: str) -> Json:
    try:
        return session.client.get(path)
    except ApiError as refused:
        if refused.status == 404:
            return None
        raise


def follow(session: Session, flags: Flags, path: str, task_spec: Json, *, width: int) -> None:
    """Show the log; `width` is that of the largest slot number, for which the smaller ones are padded."""
    tty, raw = bool((task_spec.get("ContainerSpec") or {}).get("TTY")), flags.on("raw")
    if tty and not raw:
        raise CliError("tty service logs only supported with --raw")
    query: dict[str, object] = {"stdout": True, "stderr": True, "tail": flags.text("tail", "all")}
    query |= {name: True for name in ("follow", "timestamps") if flags.on(name)}
    if not raw or flags.on("details"):
        query["details"] = True
    if since := flags.text("since"):
        query["since"] = _since(since)
    response = session.client.stream(path, query)
    session.out.flush()
    try:
        if tty:
            _copy(response, sys.stdout.buffer)
        elif raw:
            for stream, piece in frames(response):
                _put(stream, piece)
        else:
            _show(session, flags, response, width=width)
    except KeyboardInterrupt:
        pass
    finally:
        response.close()


def _since(text: str) -> str:
    try:
        return timestamp(text, now=datetime.now().astimezone())
    except ValueError as wrong:
        raise CliError(f'invalid value for "since": {wrong}') from None


def _show(session: Session, flags: Flags, response: Response, *, width: int) -> None:
    sources = Sources(session, flags, width=width)
    for stream, line in logs.lines(frames(response)):
        if not line.strip():
            continue
        if line.startswith(b"error from daemon in stream:"):
            _put(2, line + b"\n")
            continue
        taken = logs.taken_apart(line, stamped=flags.on("timestamps"))
        _put(stream, logs.shown(taken, source=sources.of(taken), details=flags.on("details")) + b"\n")


class Sources:
    """Who wrote a line: NAME.SLOT.TASKID@NODE, each looked up once."""

    def __init__(self, session: Session, flags: Flags, *, width: int) -> None:
        self._session, self._flags, self._width = session, flags, width
        self._names = Names(session.client, resolve=not flags.on("no-resolve"))
        self._known: dict[str, str] = {}

    def of(self, line: logs.Line) -> str:
        task_id = line.details[logs.TASK]
        if task_id not in self._known:
            self._known[task_id] = self._described(line.details)
        return self._known[task_id]

    def _described(self, details: Mapping[str, str]) -> str:
        task_id, node_id = details[logs.TASK], details[logs.NODE]
        slot = int((_found(self._session, f"/tasks/{task_id}") or {}).get("Slot") or 0)
        most = None if self._flags.on("no-trunc") else 12

        def short(full: str) -> str:
            return full[:most]

        if self._flags.on("no-resolve"):
            service, node = short(details[logs.SERVICE]), short(node_id)
        else:
            service, node = self._names.service(details[logs.SERVICE]), self._names.node_name(node_id)
        place = str(slot) if slot else short(node_id)
        task = "" if self._flags.on("no-task-ids") else f".{short(task_id)}"
        return f"{service}.{place}{task}@{node}" + " " * (self._width - len(str(slot)) if slot else 0)


def _put(stream: int, piece: bytes) -> None:
    target = sys.stderr.buffer if stream == 2 else sys.stdout.buffer
    target.write(piece)
    target.flush()


def _copy(response: Response, target: BinaryIO) -> None:
    while piece := response.read1():
        target.write(piece)
        target.flush()


logs_verb = Verb(
    "logs",
    _logs,
    help="Show the logs of a service or of one task",
    arguments="SERVICE|TASK",
    arity=ONE,
    flags=FLAGS,
    complete="service",
)
