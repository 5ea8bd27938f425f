"""Following a service until it has converged: a loop that looks, and a painter that shows what changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

from cli.client import Client, Json
from cli.convergence import Bar, Verdict, Watch, look
from cli.errors import ApiError, Unconverged
from cli.session import Session

PAUSE = 0.2
STATE_WIDTH = 9


class Painter(Protocol):
    def paint(self, verdict: Verdict) -> None: ...


def follow(
    session: Session,
    service_id: str,
    *,
    quiet: bool = False,
    asked_to_roll_back: bool = False,
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Return when the service has converged; raise Unconverged when it fails, or not by `deadline`. Ctrl-C stops the looking alone."""
    painter: Painter = Nothing() if quiet else Terminal(session.out) if session.out.isatty() else Lines(session.out)
    watch = Watch(service_id, asked_to_roll_back=asked_to_roll_back)
    try:
        while True:
            verdict = _look(session.client, watch, service_id, now=clock())
            painter.paint(verdict)
            if verdict.failure:
                raise Unconverged(verdict.failure)
            if verdict.done:
                return
            if deadline is not None and clock() >= deadline:
                raise Unconverged(f"it did not converge in time: {'; '.join(_reasons(session.client, service_id, verdict))}")
            pause(PAUSE)
    except KeyboardInterrupt:
        session.say("Operation continuing in background.")
        session.say(f"Use `shoal service ps {service_id}` to check progress.")


def failure_of(client: Client, service_id: str) -> str:
    """Why the service will not converge, as one look shows; empty if it may, or has."""
    return _look(client, Watch(service_id), service_id, now=0.0).failure


def _reasons(client: Client, service_id: str, verdict: Verdict) -> list[str]:
    """Why it is not as it should be, in the daemon's words; a daemon that cannot say so leaves what was counted."""
    try:
        answer = client.get(f"/shoal/services/{service_id}/why")
    except ApiError:
        return [bar.text for bar in verdict.view.overall]
    tasks = [f"{task['Name']}: {reason}" for task in answer["Tasks"][:3] for reason in task["Reasons"][:2]]
    return [standing(answer), *answer["Reasons"], *tasks]


def standing(answer: Json) -> str:
    """How far a service is, from the daemon's own explanation."""
    done = answer.get("CompletedTasks")
    how = f"{answer['RunningTasks']} of {answer['DesiredTasks']} tasks serve"
    return how if done is None else f"{done} of {answer['DesiredTasks']} tasks completed"


def _look(client: Client, watch: Watch, service_id: str, *, now: float) -> Verdict:
    service = client.get(f"/services/{service_id}")
    tasks = client.list("/tasks", {"service": [service["ID"]], "_up-to-date": ["true"]})
    view = look(service, tasks, _active_nodes(client))
    state = str((service.get("UpdateStatus") or {}).get("State") or "")
    # the reason of a failed update is in the tasks of the version that failed, which after a rollback are not up to date
    failed = client.list("/tasks", {"service": [service["ID"]]}) if state.startswith(("rollback", "paused")) else tasks
    return watch.seen(service, view, failed, now=now)


def _active_nodes(client: Client) -> frozenset[str]:
    return frozenset(str(node["ID"]) for node in client.list("/nodes") if _node_state(node) != "down")


def _node_state(node: Json) -> str:
    return str((node.get("Status") or {}).get("State") or "")


class Nothing:
    """For --quiet."""

    def paint(self, verdict: Verdict) -> None:
        pass


class Lines:
    """For a pipe or a file: each line once, when it is new; never the bars' every step."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._said: dict[str, str] = {}

    def paint(self, verdict: Verdict) -> None:
        notes = [verdict.note] if verdict.note else []
        for bar in (*verdict.view.overall, *(bar for bar in verdict.view.bars if bar.text and not bar.steps), *notes):
            text = _settled(bar)
            if self._said.get(bar.label) != text:
                self._said[bar.label] = text
                self._out.write(_line(bar.label, bar.text) + "\n")
        self._out.flush()


class Terminal:
    """For a person: all lines in place, redrawn as they change."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn = 0

    def paint(self, verdict: Verdict) -> None:
        width = shutil.get_terminal_size((80, 24)).columns
        lines = [_line(bar.label, bar.text) for bar in verdict.view.overall]
        lines += [_drawn(bar, width) for bar in verdict.view.bars]
        lines += [_line(verdict.note.label, verdict.note.text)] if verdict.note else []
        self._out.write(redraw(self._drawn, [line[: width - 1] for line in lines]))
        self._out.flush()
        self._drawn = len(lines)


def redraw(before: int, lines: Sequence[str]) -> str:
    """The control sequences that put these lines where `before` lines stood."""
    up = f"\x1b[{before}A" if before else ""
    gone = before - len(lines)
    below = "\x1b[2K\n" * gone + f"\x1b[{gone}A" if gone > 0 else ""
    return up + "".join(f"\x1b[2K\r{line}\n" for line in lines) + below


def _drawn(bar: Bar, width: int) -> str:
    if not bar.steps:
        return _line(bar.label, bar.text)
    room = max(min(width - len(bar.label) - STATE_WIDTH - 8, 50), 10)
    full = room * bar.step // bar.steps
    inside = "=" * (full - 1) + ">" if full else ""
    return f"{bar.label}: {bar.text:<{STATE_WIDTH}} [{inside:<{room}}]"


def _line(label: str, text: str) -> str:
    return f"{label}: {text}" if label else text


def _settled(bar: Bar) -> str:
    """The text under which a line counts as said: the seconds that are left do not make it new."""
    return "Waiting" if bar.text.startswith("Waiting ") else bar.text
