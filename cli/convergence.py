"""Has a service become what was asked for? One look at its tasks gives a view; a watch of views gives the answer. Pure.

A service has converged when every task that it should have runs its latest specification, and stays so for the monitor time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

STATES = ("", "new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running")
AFTER = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")
RANK = {state: at for at, state in enumerate((*STATES, *AFTER))}
MOST_BARS = 20
DEFAULT_MONITOR = 5.0
_FAILED = frozenset({"failed", "rejected"})
TRIES = 3
"""Failures of a replica after which it counts as failed for good."""

Task = Mapping[str, Any]


class Bar(NamedTuple):
    """One replica's line: how far it is, of how many steps, or what is wrong with it."""

    label: str
    text: str
    step: int = 0
    steps: int = 0


class View(NamedTuple):
    """One look at a service."""

    overall: tuple[Bar, ...]
    bars: tuple[Bar, ...]
    converged: bool
    job: bool = False


class Verdict(NamedTuple):
    """What is known after a look: go on, done, or failed and why."""

    view: View
    note: Bar | None = None
    done: bool = False
    failure: str = ""


def look(service: Mapping[str, Any], tasks: Sequence[Task], active_nodes: frozenset[str]) -> View:
    """The service's state, from its up-to-date tasks."""
    mode = service["Spec"].get("Mode") or {}
    rolling_back = str((service.get("UpdateStatus") or {}).get("State") or "").startswith("rollback")
    if mode.get("ReplicatedJob") is not None:
        return _replicated_job(service, mode["ReplicatedJob"], tasks)
    if mode.get("GlobalJob") is not None:
        return _global_job(service, tasks, active_nodes)
    if mode.get("Global") is not None:
        return _global(tasks, active_nodes, rolling_back=rolling_back)
    return _replicated(int((mode.get("Replicated") or {}).get("Replicas", 1)), tasks, active_nodes, rolling_back=rolling_back)


def _replicated(wanted: int, tasks: Sequence[Task], active_nodes: frozenset[str], *, rolling_back: bool) -> View:
    by_slot = _foremost((task.get("Slot", 0), task) for task in tasks if not task.get("NodeID") or task["NodeID"] in active_nodes)
    shown = [by_slot[slot] for slot in sorted(by_slot)]
    running = sum(_runs(task) or _is_finished(task) for task in shown)
    labels = [f"{at}/{wanted}" for at in range(1, wanted + 1)]
    bars = [_bar(label, task) for label, task in zip(labels, shown, strict=False)]
    bars += [Bar(label, "") for label in labels[len(shown) :]]
    return View((_overall(running, wanted, rolling_back=rolling_back),), _few(bars), running == wanted)


def _global(tasks: Sequence[Task], active_nodes: frozenset[str], *, rolling_back: bool) -> View:
    by_node = _foremost((task.get("NodeID", ""), task) for task in tasks)
    if not by_node:
        return View((Bar("overall progress", "waiting for new tasks"),), (), converged=False)
    shown = [by_node[node] for node in sorted(by_node) if node in active_nodes]
    running = sum(_runs(task) or _is_finished(task) for task in shown)
    bars = [_bar(str(task["NodeID"])[:12], task) for task in shown]
    return View((_overall(running, len(by_node), rolling_back=rolling_back),), _few(bars), running == len(by_node))


def _replicated_job(service: Mapping[str, Any], job: Mapping[str, Any], tasks: Sequence[Task]) -> View:
    total = int(job.get("TotalCompletions") or 1)
    at_once = int(job.get("MaxConcurrent") or total)
    by_slot = _foremost((task.get("Slot", 0), task) for task in _of_iteration(service, tasks))
    done = sum(_state(task) == "complete" for task in by_slot.values())
    active = sum(RANK[_state(task)] <= RANK["running"] and not _over(task.get("DesiredState")) for task in by_slot.values())
    bars = [_job_bar(f"{slot + 1}/{total}", by_slot[slot]) for slot in sorted(by_slot)]
    overall = (
        Bar("job progress", f"{done} out of {total} complete", done, total),
        Bar("active tasks", f"{active} out of {min(at_once, total - done)} tasks"),
    )
    return View(overall, _few(bars), done == total, job=True)


def _global_job(service: Mapping[str, Any], tasks: Sequence[Task], active_nodes: frozenset[str]) -> View:
    by_node = _foremost((task.get("NodeID", ""), task) for task in _of_iteration(service, tasks))
    if not by_node:
        return View((Bar("job progress", "waiting for new tasks"),), (), converged=False, job=True)
    shown = [by_node[node] for node in sorted(by_node) if node in active_nodes]
    done = sum(_state(task) == "complete" for task in shown)
    bars = [_job_bar(str(task["NodeID"])[:12], task) for task in shown]
    return View((Bar("job progress", f"{done} out of {len(shown)} complete", done, len(shown)),), _few(bars), done == len(shown), job=True)


def _of_iteration(service: Mapping[str, Any], tasks: Iterable[Task]) -> list[Task]:
    now = _iteration(service.get("JobStatus"))
    return [task for task in tasks if _iteration(task) == now]


def _iteration(status: Mapping[str, Any] | None) -> int:
    return int(((status or {}).get("JobIteration") or {}).get("Index") or 0)


def _foremost(keyed: Iterable[tuple[Any, Task]]) -> dict[Any, Task]:
    """The task that stands for each slot or node: of several, the one that is to go on, and of those the one that is least far."""
    found: dict[Any, Task] = {}
    for key, task in keyed:
        if _state(task) not in RANK or task.get("DesiredState") not in RANK:
            continue
        other = found.get(key)
        if other is None or _order(task) < _order(other):
            found[key] = task
    return found


def _order(task: Task) -> tuple[int, int]:
    return RANK[task.get("DesiredState") or ""], RANK[_state(task)]


def _state(task: Task) -> str:
    return str((task.get("Status") or {}).get("State") or "")


def _over(state: str | None) -> bool:
    return RANK.get(state or "", 0) > RANK["running"]


def _runs(task: Task) -> bool:
    return _state(task) == "running" and not _over(task.get("DesiredState"))


def _is_finished(task: Task) -> bool:
    """It ran to its end, and its restart policy is content with that: where the foremost task of a slot is such a one, no other follows."""
    return _state(task) == "complete" and _over(task.get("DesiredState"))


def _overall(running: int, wanted: int, *, rolling_back: bool) -> Bar:
    said = f"{running} out of {wanted} tasks"
    return Bar("overall progress", f"rolling back update: {said}" if rolling_back else said)


def _bar(label: str, task: Task) -> Bar:
    error = (task.get("Status") or {}).get("Err")
    if error:
        return Bar(label, _one_line(error))
    if _over(_state(task)) or _over(task.get("DesiredState")):
        return Bar(label, "")
    return Bar(label, _state(task), RANK[_state(task)], RANK["running"])


def _job_bar(label: str, task: Task) -> Bar:
    error = (task.get("Status") or {}).get("Err")
    if error and _state(task) != "complete":
        return Bar(label, _one_line(error))
    return Bar(label, _state(task), min(RANK[_state(task)], RANK["complete"]), RANK["complete"])


def _flat(error: str) -> str:
    return " ".join(error.split())


def _one_line(error: str) -> str:
    """As much of it as a bar has room for."""
    flat = _flat(error)
    return flat if len(flat) <= 75 else flat[:74] + "…"


def _few(bars: Sequence[Bar]) -> tuple[Bar, ...]:
    return tuple(bars) if len(bars) <= MOST_BARS else ()


class Watch:
    """What the looks at a service add up to. Fed with the time of each look; holds when the service first converged."""

    def __init__(self, service_id: str, *, asked_to_roll_back: bool = False) -> None:
        self._id = service_id
        self._asked_to_roll_back = asked_to_roll_back
        self._since: float | None = None
        self._was_rolling_back = False

    def seen(self, service: Mapping[str, Any], view: View, tasks: Sequence[Task], *, now: float) -> Verdict:
        update = service.get("UpdateStatus") or {}
        state, message = str(update.get("State") or ""), str(update.get("Message") or "")
        if state in {"paused", "rollback_paused"}:
            what = "service update paused" if state == "paused" else "service rollback paused"
            return Verdict(view, failure=f"{what}: {message}{_reason(tasks)}")
        if failure := "" if view.converged else _hopeless(service, view, tasks):
            return Verdict(view, failure=failure)
        if not view.converged:
            lost, self._since = self._since is not None, None
            return Verdict(view, Bar("verify", "Detected task failure") if lost else self._rollback_note(state, message))
        if view.job:
            return Verdict(view, Bar("", "job complete"), done=True)
        self._since = now if self._since is None else self._since
        left = _monitor(service) - (now - self._since)
        if left > 0:
            return Verdict(view, Bar("verify", f"Waiting {ceil(left)} seconds to verify that tasks are stable..."))
        if state.startswith("rollback") and not self._asked_to_roll_back:
            return Verdict(view, failure=f"service {self._id} was rolled back: {message}{_reason(tasks)}")
        return Verdict(view, Bar("verify", f"Service {self._id} converged"), done=True)

    def _rollback_note(self, state: str, message: str) -> Bar | None:
        before, self._was_rolling_back = self._was_rolling_back, state == "rollback_started"
        return Bar("rollback", message) if self._was_rolling_back and not before and message else None


def _hopeless(service: Mapping[str, Any], view: View, tasks: Sequence[Task]) -> str:
    """A replica for which waiting longer shows nothing new, and why. A roll-back under way still renews those that were given up."""
    rolling_back = str((service.get("UpdateStatus") or {}).get("State") or "").startswith("rollback")
    for name, found in _replicas(service, tasks):
        failed = [task for task in found if _state(task) in _FAILED]
        if failed and not rolling_back and _is_given_up(found):
            return f"{name} failed and is not started again{_reason(failed)}"
        if len(failed) >= TRIES and not view.job and not any(_state(task) == "running" for task in found):
            return f"{name} keeps failing{_reason(failed)}"
    return ""


def _is_given_up(tasks: Sequence[Task]) -> bool:
    """The restart policy leaves it at the last task's failure: with one that shall follow there would be a task that is wanted."""
    last = max(tasks, key=lambda task: (str(task.get("CreatedAt", "")), str(task["ID"])))
    return _state(last) in _FAILED and all(RANK.get(task.get("DesiredState") or "", 0) > RANK["complete"] for task in tasks)


def _replicas(service: Mapping[str, Any], tasks: Sequence[Task]) -> list[tuple[str, list[Task]]]:
    """Each replica's tasks, in order. Docker counts the slots of jobs from 0."""
    mode = service["Spec"].get("Mode") or {}
    by_node = mode.get("Global") is not None or mode.get("GlobalJob") is not None
    first = 0 if mode.get("ReplicatedJob") is None else 1
    found: dict[tuple[int, str], list[Task]] = {}
    for task in tasks:
        key = (0, str(task.get("NodeID") or "")) if by_node else (int(task.get("Slot") or 0) + first, "")
        found.setdefault(key, []).append(task)
    return [(f"the task of node {node[:12]}" if by_node else f"replica {slot}", found[slot, node]) for slot, node in sorted(found)]


def _monitor(service: Mapping[str, Any]) -> float:
    nanoseconds = (service["Spec"].get("UpdateConfig") or {}).get("Monitor") or 0
    return nanoseconds / 1e9 if nanoseconds else DEFAULT_MONITOR


def _reason(tasks: Sequence[Task]) -> str:
    """The newest failure's own words, which say more than that there was one."""
    failed = [task for task in tasks if (task.get("Status") or {}).get("Err")]
    if not failed:
        return ""
    last = max(failed, key=lambda task: str(task["Status"].get("Timestamp", "")))
    return f" (task {str(last['ID'])[:12]}: {_flat(last['Status']['Err'])})"
