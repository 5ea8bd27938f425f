"""The promise: progress says what is there and what is missing, ends when the service has converged, and fails when its update has."""

from __future__ import annotations

import io
from typing import Any

import pytest

from cli.convergence import Bar, Verdict, View, Watch, look
from cli.progress import Lines, redraw

NODES = frozenset({"node1", "node2"})


def service(mode: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {"ID": "svc", "Spec": {"Mode": mode or {"Replicated": {"Replicas": 2}}, **members.pop("spec", {})}, **members}


def task(slot: int = 1, state: str = "running", desired: str = "running", node: str = "node1", **members: Any) -> dict[str, Any]:
    status = {
        "State": state,
        "Timestamp": members.pop("at", "2026-01-01T00:00:00Z"),
        **({"Err": members.pop("err")} if "err" in members else {}),
    }
    return {"ID": f"task{slot}", "Slot": slot, "NodeID": node, "DesiredState": desired, "Status": status, **members}


def test_replicas_are_counted_and_drawn_slot_by_slot() -> None:
    view = look(service(), [task(2, "preparing"), task(5, "running")], NODES)
    assert view.overall == (Bar("overall progress", "1 out of 2 tasks"),)
    assert view.bars == (Bar("1/2", "preparing", 6, 9), Bar("2/2", "running", 9, 9))
    assert not view.converged


def test_a_slot_without_a_task_has_an_empty_line() -> None:
    assert look(service(), [task(1)], NODES).bars == (Bar("1/2", "running", 9, 9), Bar("2/2", ""))


def test_of_several_tasks_in_a_slot_the_one_that_is_to_go_on_counts() -> None:
    view = look(service(), [task(1, "running"), task(1, "failed", "shutdown"), task(2, "running")], NODES)
    assert view.converged
    assert not look(service(), [task(1, "running"), task(1, "starting"), task(2, "running")], NODES).converged


def test_a_task_on_a_node_that_is_down_does_not_count() -> None:
    assert not look(service(), [task(1), task(2, node="gone")], NODES).converged


def test_a_failure_is_shown_in_its_replicas_line() -> None:
    view = look(service(), [task(1, "pending", err="no suitable node\n(1 node not available)"), task(2)], NODES)
    assert view.bars[0] == Bar("1/2", "no suitable node (1 node not available)")


def test_more_than_twenty_replicas_are_only_counted() -> None:
    view = look(service({"Replicated": {"Replicas": 21}}), [task(n) for n in range(1, 22)], NODES)
    assert (view.bars, view.converged) == ((), True)


def test_a_service_of_no_replicas_has_converged() -> None:
    assert look(service({"Replicated": {"Replicas": 0}}), [], NODES).converged


def test_a_global_service_has_converged_when_every_node_that_has_a_task_runs_it() -> None:
    mode = {"Global": {}}
    assert look(service(mode), [], NODES).overall == (Bar("overall progress", "waiting for new tasks"),)
    tasks = [task(0, node="node1"), task(0, "starting", node="node2")]
    assert look(service(mode), tasks, NODES).overall[0].text == "1 out of 2 tasks"
    assert look(service(mode), [task(0, node="node1")], NODES).converged


def test_a_job_is_done_when_all_its_completions_are() -> None:
    job = service({"ReplicatedJob": {"TotalCompletions": 3, "MaxConcurrent": 2}}, JobStatus={"JobIteration": {"Index": 7}})
    now = {"JobIteration": {"Index": 7}}
    tasks = [task(0, "complete", "complete", **now), task(1, "running", "complete", **now), task(2, "complete", "complete")]
    view = look(job, tasks, NODES)
    assert [bar.text for bar in view.overall] == ["1 out of 3 complete", "0 out of 2 tasks"]
    assert not view.converged
    done = [task(slot, "complete", "complete", **now) for slot in range(3)]
    assert look(job, done, NODES).converged
    assert look(service({"GlobalJob": {}}), [task(0, "complete", "complete")], NODES).converged


def test_a_rollback_is_said_in_the_count() -> None:
    rolling = service(UpdateStatus={"State": "rollback_started"})
    assert look(rolling, [task(1)], NODES).overall[0].text == "rolling back update: 1 out of 2 tasks"


CONVERGED = View((Bar("overall progress", "2 out of 2 tasks"),), (), converged=True)
UNDERWAY = View((Bar("overall progress", "1 out of 2 tasks"),), (), converged=False)


def notes(watch: Watch, of: dict[str, Any], steps: list[tuple[float, View]]) -> list[str]:
    said = []
    for now, view in steps:
        verdict = watch.seen(of, view, [], now=now)
        said.append(verdict.failure or (verdict.note.text if verdict.note else "") + (" DONE" if verdict.done else ""))
    return said


def test_convergence_must_hold_for_the_monitor_time() -> None:
    steps = [(0.0, UNDERWAY), (1.0, CONVERGED), (3.5, CONVERGED), (6.0, CONVERGED)]
    assert notes(Watch("svc"), service(), steps) == [
        "",
        "Waiting 5 seconds to verify that tasks are stable...",
        "Waiting 3 seconds to verify that tasks are stable...",
        "Service svc converged DONE",
    ]


def test_a_failure_while_waiting_starts_the_wait_again() -> None:
    monitored = service(spec={"UpdateConfig": {"Monitor": 2_000_000_000}})
    steps = [(0.0, CONVERGED), (1.0, UNDERWAY), (2.0, CONVERGED), (3.0, CONVERGED), (4.0, CONVERGED)]
    assert notes(Watch("svc"), monitored, steps) == [
        "Waiting 2 seconds to verify that tasks are stable...",
        "Detected task failure",
        "Waiting 2 seconds to verify that tasks are stable...",
        "Waiting 1 seconds to verify that tasks are stable...",
        "Service svc converged DONE",
    ]


def test_a_job_needs_no_watching_once_it_is_complete() -> None:
    assert notes(Watch("svc"), service(), [(0.0, CONVERGED._replace(job=True))]) == ["job complete DONE"]


def test_a_paused_update_fails_with_the_tasks_own_reason() -> None:
    paused = service(UpdateStatus={"State": "paused", "Message": "update paused due to failure"})
    failed = [task(1, "failed", err="exit 1", at="2026-01-01T00:00:01Z"), task(2, "failed", err="exit 2", at="2026-01-01T00:00:02Z")]
    verdict = Watch("svc").seen(paused, UNDERWAY, failed, now=0.0)
    assert verdict.failure == "service update paused: update paused due to failure (task task2: exit 2)"


@pytest.mark.parametrize(
    ("asked", "outcome"), [(False, "service svc was rolled back: rollback completed"), (True, "Service svc converged DONE")]
)
def test_a_rollback_that_nobody_asked_for_is_a_failure(asked: bool, outcome: str) -> None:
    rolled = service(UpdateStatus={"State": "rollback_completed", "Message": "rollback completed"})
    assert notes(Watch("svc", asked_to_roll_back=asked), rolled, [(0.0, CONVERGED), (6.0, CONVERGED)])[-1] == outcome


ONCE_FAILED = task(1, "failed", "shutdown", err="exit 3")


@pytest.mark.parametrize(
    ("mode", "tasks", "failure"),
    [
        ({"Replicated": {}}, [ONCE_FAILED], "replica 1 failed and is not started again (task task1: exit 3)"),
        ({"ReplicatedJob": {}}, [ONCE_FAILED], "replica 2 failed and is not started again (task task1: exit 3)"),
        ({"GlobalJob": {}}, [{**ONCE_FAILED, "Slot": 0}], "the task of node node1 failed and is not started again (task task1: exit 3)"),
        ({"Replicated": {}}, [ONCE_FAILED, task(1, "pending", "ready", node="")], ""),
        ({"ReplicatedJob": {}}, [{**ONCE_FAILED, "Slot": 0}, task(0, "running", "complete", node="node2")], ""),
        ({"Replicated": {}}, [{**ONCE_FAILED, "DesiredState": "running"}], ""),
    ],
)
def test_a_replica_that_nobody_starts_again_ends_the_wait(mode: dict[str, Any], tasks: list[dict[str, Any]], failure: str) -> None:
    of = service(mode)
    assert Watch("svc").seen(of, look(of, tasks, NODES), tasks, now=0.0).failure == failure


def test_a_roll_back_that_is_under_way_is_waited_for() -> None:
    rolling = service(UpdateStatus={"State": "rollback_started", "Message": "update rolled back"})
    assert not Watch("svc").seen(rolling, UNDERWAY, [ONCE_FAILED], now=0.0).failure


def test_what_ran_to_its_end_as_its_policy_allows_counts() -> None:
    assert look(service({"Replicated": {"Replicas": 1}}), [task(1, "complete", "shutdown")], NODES).converged
    assert not look(service({"Replicated": {"Replicas": 1}}), [task(1, "complete")], NODES).converged


def test_a_rollback_is_announced_once() -> None:
    rolling = service(UpdateStatus={"State": "rollback_started", "Message": "update rolled back"})
    assert notes(Watch("svc"), rolling, [(0.0, UNDERWAY), (1.0, UNDERWAY)]) == ["update rolled back", ""]


def test_in_a_pipe_each_line_is_written_once() -> None:
    out = io.StringIO()
    lines = Lines(out)
    waiting = Bar("verify", "Waiting 5 seconds to verify that tasks are stable...")
    for verdict in (
        Verdict(UNDERWAY._replace(bars=(Bar("1/2", "running", 9, 9), Bar("2/2", "no suitable node")))),
        Verdict(UNDERWAY),
        Verdict(CONVERGED, waiting),
        Verdict(CONVERGED, waiting._replace(text="Waiting 4 seconds to verify that tasks are stable...")),
        Verdict(CONVERGED, Bar("verify", "Service svc converged"), done=True),
    ):
        lines.paint(verdict)
    assert out.getvalue().splitlines() == [
        "overall progress: 1 out of 2 tasks",
        "2/2: no suitable node",
        "overall progress: 2 out of 2 tasks",
        "verify: Waiting 5 seconds to verify that tasks are stable...",
        "verify: Service svc converged",
    ]


def test_on_a_terminal_lines_are_drawn_over_the_old_ones() -> None:
    assert redraw(0, ["a", "b"]) == "\x1b[2K\ra\n\x1b[2K\rb\n"
    assert redraw(2, ["c"]) == "\x1b[2A\x1b[2K\rc\n\x1b[2K\n\x1b[1A"
