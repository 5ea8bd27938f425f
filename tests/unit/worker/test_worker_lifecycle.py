"""What is done next for a task, case by case."""

import pytest
from msgspec.structs import replace

from cluster.api.objects import InvalidTransition, TaskStatus
from cluster.api.specs import SECOND, ContainerSpec, Limits, Resources
from cluster.api.states import TaskState
from tests.unit.worker.worker_values import assigned
from worker.lifecycle import (
    Attach,
    Clean,
    Create,
    Doom,
    Drain,
    Facts,
    Forget,
    Listen,
    LocalTask,
    Nothing,
    Pull,
    RemoveContainer,
    Report,
    Settle,
    Start,
    Stop,
    Winding,
    Withdraw,
    adopted,
    corrected,
    first_record,
    next_action,
    status_of,
    takes_connections,
)
from worker.ports import ContainerState

CREATED = ContainerState(id="c1", created_only=True)
RUNNING = ContainerState(id="c1", running=True, pid=7, started_at="start 1")
ATTACHED = Facts(attached_pid=7)
HERE = Facts()


def known(state: TaskState, **more: object) -> LocalTask:
    record = LocalTask(task_id="t1", status=TaskStatus(state=state, message="before"))
    return replace(record, **more)


def exited(code: int, **more: object) -> ContainerState:
    return replace(ContainerState(id="c1", exit_code=code, started_at="start 1"), **more)


RUNS = known(TaskState.RUNNING, container_id="c1", start_asked=True, started_at="start 1", pulled=True)
STARTS = replace(RUNS, status=TaskStatus(state=TaskState.STARTING, message="starting"))


# -- towards running ------------------------------------------------------------------------------------------------------------------
def test_a_new_task_is_accepted_then_prepared() -> None:
    assert next_action(assigned(), known(TaskState.ASSIGNED), None, HERE) == Report(state=TaskState.ACCEPTED, message="accepted")
    assert next_action(assigned(), known(TaskState.ACCEPTED), None, HERE) == Report(state=TaskState.PREPARING, message="preparing")


def test_preparing_is_pull_then_create_then_ready() -> None:
    assert next_action(assigned(), known(TaskState.PREPARING), None, HERE) == Pull()
    assert next_action(assigned(), known(TaskState.PREPARING, pulled=True), None, HERE) == Create()
    done = known(TaskState.PREPARING, pulled=True, container_id="c1")
    assert next_action(assigned(), done, CREATED, HERE) == Report(state=TaskState.READY, message="prepared")


def test_a_container_is_not_created_before_its_secrets_are_here() -> None:
    assert next_action(assigned(), known(TaskState.PREPARING, pulled=True), None, Facts(files_here=False)) == Nothing()


def test_a_restarted_daemon_begins_nothing_before_it_heard_a_manager() -> None:
    unheard = Facts(told=False)
    assert next_action(assigned(), known(TaskState.PREPARING), None, unheard) == Nothing()
    assert next_action(assigned(), known(TaskState.PREPARING, pulled=True), None, unheard) == Nothing()
    assert next_action(assigned(), STARTS, CREATED, unheard) == Nothing()


def test_an_end_that_the_record_lacks_is_taken_from_the_manager() -> None:
    record = corrected(RUNS, assigned(state=TaskState.ORPHANED), now=1)
    assert record.state == TaskState.ORPHANED
    assert next_action(assigned(), record, RUNNING, ATTACHED) == Stop(grace=3 * SECOND)
    assert corrected(RUNS, assigned(state=TaskState.RUNNING), now=1) is RUNS


def test_a_task_wanted_ready_is_created_and_not_started() -> None:
    ready = known(TaskState.READY, pulled=True, container_id="c1")
    assert next_action(assigned(desired=TaskState.READY), ready, CREATED, HERE) == Nothing()
    assert next_action(assigned(), ready, CREATED, HERE) == Report(state=TaskState.STARTING, message="starting")


def test_a_started_container_is_attached_before_it_counts_as_running() -> None:
    assert next_action(assigned(), replace(STARTS, start_asked=False), CREATED, HERE) == Start()
    assert next_action(assigned(), STARTS, RUNNING, HERE) == Attach(pid=7)
    assert next_action(assigned(), STARTS, RUNNING, ATTACHED) == Report(state=TaskState.RUNNING, message="started")
    assert next_action(assigned(), RUNS, RUNNING, ATTACHED) == Nothing()


def test_a_task_with_a_health_check_runs_once_it_is_healthy() -> None:
    assert next_action(assigned(), STARTS, replace(RUNNING, health="starting"), ATTACHED) == Nothing()
    healthy = next_action(assigned(), STARTS, replace(RUNNING, health="healthy"), ATTACHED)
    assert healthy == Report(state=TaskState.RUNNING, message="started")


def test_a_published_task_runs_at_once_and_takes_traffic_once_it_listens() -> None:
    web = assigned(connected=True, listens=(80,))
    assert next_action(web, STARTS, RUNNING, ATTACHED) == Report(state=TaskState.RUNNING, message="started", ready=False)
    unready = replace(RUNS, status=TaskStatus(state=TaskState.RUNNING, message="started", ready=False))
    assert next_action(web, unready, RUNNING, ATTACHED) == Listen()
    assert next_action(web, RUNS, RUNNING, ATTACHED) == Nothing()


def test_a_health_check_says_more_than_a_listening_port() -> None:
    healthy = replace(RUNNING, health="healthy")
    assert next_action(assigned(listens=(80,)), STARTS, healthy, ATTACHED) == Report(state=TaskState.RUNNING, message="started")


@pytest.mark.parametrize(
    ("listening", "waited", "since_first", "ready"),
    [
        (frozenset({80, 443}), 0.0, 0.0, True),
        (frozenset({80}), 0.5, 0.5, False),
        (frozenset({80}), 2.0, 1.0, True),
        (frozenset({9000}), 9.0, 0.0, False),
        (frozenset[int](), 10.0, 0.0, True),
        (None, 0.0, 0.0, True),
    ],
    ids=["on all ports", "not yet on all", "long on some", "elsewhere only", "nowhere, for long", "nobody can tell"],
)
def test_when_a_task_takes_connections(listening: frozenset[int] | None, waited: float, since_first: float, ready: bool) -> None:
    assert takes_connections((80, 443), listening, waited=waited, since_first=since_first) is ready


def test_a_daemon_that_finds_its_container_running_attaches_it_again_and_does_not_start_it() -> None:
    assert next_action(assigned(), RUNS, RUNNING, Facts(attached_pid=0)) == Attach(pid=7)


def test_a_start_that_was_asked_for_just_before_the_daemon_died_is_made_if_it_was_not() -> None:
    assert next_action(assigned(), STARTS, CREATED, HERE) == Start()


def test_a_job_runs_while_it_is_wanted_complete() -> None:
    assert next_action(assigned(desired=TaskState.COMPLETE), STARTS, RUNNING, HERE) == Attach(pid=7)


# -- ends by itself -------------------------------------------------------------------------------------------------------------------
def test_exit_0_is_complete() -> None:
    assert next_action(assigned(), RUNS, exited(0), ATTACHED) == Report(state=TaskState.COMPLETE, message="finished")


def test_another_exit_code_is_a_failure_in_dockers_words() -> None:
    failed = next_action(assigned(), RUNS, exited(137), ATTACHED)
    assert failed == Report(state=TaskState.FAILED, message="before", err="task: non-zero exit (137)", exit_code=137)


def test_out_of_memory_names_the_limit() -> None:
    task = assigned()
    task = replace(task, spec=replace(task.spec, resources=Resources(limits=Limits(memory_bytes=64 << 20))))
    failed = next_action(task, RUNS, exited(137, oom_killed=True), ATTACHED)
    assert isinstance(failed, Report)
    assert failed.err == "task: non-zero exit (137): out of memory (the limit is 64MiB)"


def test_an_unhealthy_container_is_taken_down_and_then_fails_with_what_the_probe_said() -> None:
    sick = replace(RUNNING, health="unhealthy", health_log="no route\nto db\n")
    assert next_action(assigned(), RUNS, sick, ATTACHED) == Doom(state=TaskState.FAILED, err="unhealthy container: no route to db")
    doomed = replace(RUNS, ending=TaskStatus(state=TaskState.FAILED, message="started", err="unhealthy container"))
    assert next_action(assigned(), doomed, sick, ATTACHED) == Stop(grace=3 * SECOND)
    down = next_action(assigned(), doomed, exited(143), ATTACHED)
    assert down == Report(state=TaskState.FAILED, message="started", err="unhealthy container", exit_code=143)


def test_a_container_that_somebody_removed_fails_its_task() -> None:
    gone = next_action(assigned(), RUNS, None, ATTACHED)
    assert isinstance(gone, Report)
    assert (gone.state, "somebody else removed it" in gone.err) == (TaskState.FAILED, True)


def test_a_container_that_somebody_restarted_is_stopped_and_fails() -> None:
    restarted = replace(RUNNING, started_at="start 2", pid=8)
    doom = next_action(assigned(), RUNS, restarted, ATTACHED)
    assert isinstance(doom, Doom)
    assert "restarted by somebody else" in doom.err


def test_a_start_not_made_by_us_is_stopped_again() -> None:
    ready = known(TaskState.READY, pulled=True, container_id="c1")
    doom = next_action(assigned(desired=TaskState.READY), ready, RUNNING, HERE)
    assert isinstance(doom, Doom)
    ended = known(TaskState.COMPLETE, container_id="c1", cleaned=True)
    assert next_action(assigned(), ended, RUNNING, HERE) == Stop(grace=3 * SECOND)


# -- told to end ----------------------------------------------------------------------------------------------------------------------
STOPPING = assigned(desired=TaskState.SHUTDOWN, connected=True)


def test_traffic_leaves_before_the_process_does() -> None:
    steps = [next_action(STOPPING, replace(RUNS, winding=winding), RUNNING, ATTACHED) for winding in Winding]
    assert steps == [Withdraw(), Settle(), Drain(), Stop(grace=3 * SECOND)]


def test_a_task_without_networks_and_ports_is_stopped_at_once() -> None:
    assert next_action(assigned(desired=TaskState.SHUTDOWN), RUNS, RUNNING, ATTACHED) == Stop(grace=3 * SECOND)


def test_the_grace_period_is_dockers_ten_seconds_unless_given() -> None:
    task = assigned(desired=TaskState.SHUTDOWN, spec=ContainerSpec(image="app", stop_signal="SIGINT"))
    assert next_action(task, RUNS, RUNNING, ATTACHED) == Stop(grace=10 * SECOND, signal="SIGINT")
    task = assigned(desired=TaskState.SHUTDOWN, spec=ContainerSpec(image="app", stop_grace_period=0))
    assert next_action(task, RUNS, RUNNING, ATTACHED) == Stop(grace=0)


def test_a_stopped_task_is_shut_down_whatever_its_exit_code() -> None:
    assert next_action(STOPPING, RUNS, exited(137), ATTACHED) == Report(state=TaskState.SHUTDOWN, message="shutdown", exit_code=137)


def test_a_task_told_to_stop_before_it_has_a_container_is_shut_down() -> None:
    preparing = known(TaskState.PREPARING)
    assert next_action(STOPPING, preparing, None, HERE) == Report(state=TaskState.SHUTDOWN, message="shutdown")


def test_an_ended_task_gives_back_its_sandbox_and_files_and_keeps_its_container() -> None:
    ended = known(TaskState.FAILED, container_id="c1")
    assert next_action(assigned(), ended, exited(1), HERE) == Clean()
    assert next_action(assigned(desired=TaskState.SHUTDOWN), replace(ended, cleaned=True), exited(1), HERE) == Nothing()


def test_a_container_is_removed_once_the_task_shall_be() -> None:
    ended = known(TaskState.SHUTDOWN, container_id="c1", cleaned=True)
    task = assigned(desired=TaskState.REMOVE)
    assert next_action(task, ended, exited(0), HERE) == RemoveContainer()
    assert next_action(task, replace(ended, removed=True), None, HERE) == Nothing()


def test_nothing_is_left_of_a_task_that_is_assigned_no_more() -> None:
    assert next_action(assigned(), RUNS, RUNNING, ATTACHED, gone=True) == Stop(grace=3 * SECOND)
    ended = known(TaskState.SHUTDOWN, container_id="c1", cleaned=True)
    assert next_action(assigned(), ended, exited(0), HERE, gone=True) == RemoveContainer()
    assert next_action(assigned(), replace(ended, removed=True), None, HERE, gone=True) == Forget()


def test_an_end_is_final_even_if_the_manager_still_wants_it_running() -> None:
    ended = known(TaskState.COMPLETE, container_id="c1", cleaned=True)
    assert next_action(assigned(desired=TaskState.RUNNING), ended, exited(0), HERE) == Nothing()


# -- records --------------------------------------------------------------------------------------------------------------------------
def test_a_state_never_goes_back() -> None:
    with pytest.raises(InvalidTransition, match="running and cannot become preparing"):
        RUNS.advance(TaskStatus(state=TaskState.PREPARING))


def test_a_node_that_lost_its_journal_does_not_run_an_ended_task_again() -> None:
    record = first_record(assigned(state=TaskState.COMPLETE), None, now=1)
    assert next_action(assigned(), record, None, HERE) == Clean()


def test_a_node_that_lost_its_journal_adopts_the_container_it_finds() -> None:
    record = first_record(assigned(state=TaskState.RUNNING), RUNNING, now=1)
    assert (record.state, record.container_id, record.start_asked) == (TaskState.RUNNING, "c1", True)
    assert next_action(assigned(), record, RUNNING, HERE) == Attach(pid=7)


def test_a_running_task_of_which_nothing_is_left_fails() -> None:
    record = first_record(assigned(state=TaskState.RUNNING), None, now=1)
    assert (record.state, "lost its record" in record.status.err) == (TaskState.FAILED, True)


def test_a_container_found_after_a_restart_counts_as_started_by_us() -> None:
    record = adopted(known(TaskState.READY, pulled=True), RUNNING)
    assert (record.state, record.started_at) == (TaskState.STARTING, "start 1")
    assert next_action(assigned(), record, RUNNING, ATTACHED) == Report(state=TaskState.RUNNING, message="started")


def test_an_exit_while_the_daemon_was_away_is_reported_with_its_code() -> None:
    record = adopted(STARTS, exited(5))
    report = next_action(assigned(), record, exited(5), HERE)
    assert isinstance(report, Report)
    assert (report.state, report.exit_code) == (TaskState.FAILED, 5)


def test_a_status_shows_the_container_and_its_process_while_it_runs() -> None:
    running = status_of(Report(state=TaskState.RUNNING, message="started"), RUNS, RUNNING, now=3)
    assert running.container is not None
    assert (running.container.container_id, running.container.pid, running.timestamp) == ("c1", 7, 3)
    ended = status_of(Report(state=TaskState.FAILED, err="e", exit_code=9), RUNS, exited(9), now=3)
    assert ended.container is not None
    assert (ended.container.pid, ended.container.exit_code) == (0, 9)
