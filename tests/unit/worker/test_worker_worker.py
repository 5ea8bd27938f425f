"""What a node does with its tasks, on twins: run, end, restart, lose its engine, forget."""

import asyncio
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from cluster.api.assignment import AssignedSecret
from cluster.api.specs import SECOND, ContainerSpec, FileTarget, SecretReference
from cluster.api.states import TaskState
from tests.unit.worker.worker_stage import Stage
from tests.unit.worker.worker_values import assigned
from worker.engine.memory import Behaviour

SHUTDOWN, REMOVE, READY = TaskState.SHUTDOWN, TaskState.REMOVE, TaskState.READY


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def container(stage: Stage, task_id: str = "t1") -> str:
    found = stage.engine.container_of(task_id)
    assert found is not None
    return found.id


# -- the walk ------------------------------------------------------------------------------------------------------------------------------
async def test_a_task_is_brought_to_running_and_each_state_is_told(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
    assert stage.states("t1")[-1] == "running"
    assert stage.engine.calls == ["create web.1.t1", "start web.1.t1"]
    assert stage.last("t1").container is not None


async def test_a_task_wanted_ready_waits_with_its_container_created(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned(desired=READY))
        assert stage.states("t1")[-1] == "ready"
        assert stage.engine.calls == ["create web.1.t1"]
        await daemon.step(assigned())
    assert stage.states("t1")[-1] == "running"


async def test_a_stopped_task_keeps_its_container_until_it_is_removed(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
        await daemon.step(assigned(desired=SHUTDOWN))
        assert stage.states("t1")[-1] == "shutdown"
        assert stage.engine.container_of("t1") is not None
        await daemon.step(gone=["t1"])
        assert stage.engine.container_of("t1") is None
        assert daemon.worker.live_tasks == ()
    assert stage.engine.calls[-2:] == ["stop web.1.t1", "remove web.1.t1"]


async def test_a_task_told_to_be_removed_leaves_no_container(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
        await daemon.step(assigned(desired=REMOVE))
    assert stage.states("t1")[-1] == "shutdown"
    assert stage.engine.container_of("t1") is None


async def test_a_job_that_ends_with_0_is_complete(tmp_path: Path) -> None:
    stage = Stage(tmp_path, behave=lambda _: Behaviour(exits_with=0))
    async with stage.daemon() as daemon:
        await daemon.complete(assigned(desired=TaskState.COMPLETE))
    assert (stage.last("t1").state, stage.last("t1").message) == (TaskState.COMPLETE, "finished")


async def test_an_exit_we_did_not_ask_for_fails_the_task_with_its_code(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
        stage.engine.exit(container(stage), 137)
        await stage.clock.advance(1)
    assert (stage.last("t1").state, stage.last("t1").err) == (TaskState.FAILED, "task: non-zero exit (137)")


async def test_a_missing_image_is_rejected_with_the_engines_words_and_the_node(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned(spec=ContainerSpec(image="nosuch:1")))
    assert (stage.last("t1").state, stage.last("t1").err) == (TaskState.REJECTED, "No such image: nosuch:1 (on node h1)")


async def test_a_container_that_cannot_start_fails_as_docker_words_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, behave=lambda _: Behaviour(start_error="exec: nosuch: not found"))
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
    assert stage.last("t1").err == "starting container failed: exec: nosuch: not found"
    assert stage.states("t1")[-2:] == ["starting", "failed"] or stage.states("t1")[-1] == "failed"


async def test_a_sandbox_that_refuses_rejects_the_task_with_its_reason(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        daemon.sandbox.refusals["t1"] = "subnet 10.0.1.0/24 meets this host's network eth0"
        await daemon.complete(assigned())
    assert (stage.last("t1").state, stage.last("t1").err) == (TaskState.REJECTED, "subnet 10.0.1.0/24 meets this host's network eth0")


async def test_an_unhealthy_task_is_stopped_and_fails(tmp_path: Path) -> None:
    stage = Stage(tmp_path, behave=lambda _: Behaviour(has_health=True))
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
        assert stage.states("t1")[-1] == "starting"
        stage.engine.health(container(stage), "healthy")
        await stage.clock.advance(1)
        assert stage.states("t1")[-1] == "running"
        stage.engine.health(container(stage), "unhealthy", log="no answer")
        await stage.clock.advance(1)
    assert stage.last("t1").err == "unhealthy container: no answer"
    found = stage.engine.container_of("t1")
    assert found is not None
    assert not found.running


# -- traffic first -------------------------------------------------------------------------------------------------------------------------
CONNECTED = assigned(connected=True)
STOPPING = assigned(connected=True, desired=SHUTDOWN, endpoint_version=40)


async def test_a_stop_waits_until_every_node_sends_no_more_and_says_running_meanwhile(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        daemon.worker.reach(leader=True)
        await daemon.complete(CONNECTED)
        await daemon.step(STOPPING, settle=0.5)
        assert daemon.sandbox.calls[-1] == "withdraw t1"
        assert stage.states("t1")[-1] == "running"
        daemon.worker.settle(39)
        await stage.clock.advance(0.5)
        assert stage.states("t1")[-1] == "running"
        daemon.worker.settle(40)
        await stage.clock.advance(0.1)
        assert stage.states("t1")[-1] == "shutdown"


async def test_no_node_can_hold_a_stop_for_more_than_two_seconds(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        daemon.worker.reach(leader=True)
        await daemon.complete(CONNECTED)
        await daemon.step(STOPPING, settle=1.9)
        assert stage.states("t1")[-1] == "running"
        await stage.clock.advance(0.2)
        assert stage.states("t1")[-1] == "shutdown"


async def test_without_a_leader_no_stop_waits_for_one(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        daemon.worker.reach(leader=True)
        await daemon.complete(CONNECTED)
        await daemon.step(STOPPING, settle=0.1)
        daemon.worker.reach(leader=False)
        await stage.clock.advance(0.1)
        assert stage.states("t1")[-1] == "shutdown"


async def test_open_connections_may_end_within_the_drain_timeout(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(CONNECTED)
        daemon.sandbox.connections["t1"] = 2
        await daemon.step(STOPPING, settle=3)
        assert stage.states("t1")[-1] == "running"
        daemon.sandbox.connections["t1"] = 0
        await stage.clock.advance(0.2)
        assert stage.states("t1")[-1] == "shutdown"


async def test_a_published_task_gets_traffic_once_it_listens(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        daemon.sandbox.ports["t1"] = frozenset()
        await daemon.complete(assigned(connected=True, listens=(80,)))
        assert (stage.last("t1").state, stage.last("t1").ready) == (TaskState.RUNNING, False)
        daemon.sandbox.ports["t1"] = frozenset({80})
        await stage.clock.advance(0.2)
        assert stage.last("t1").ready


async def test_connections_that_stay_open_are_cut_after_the_drain_timeout(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(CONNECTED)
        daemon.sandbox.connections["t1"] = 2
        await daemon.step(replace(STOPPING, drain_timeout=5 * SECOND), settle=4.9)
        assert stage.states("t1")[-1] == "running"
        await stage.clock.advance(0.3)
        assert stage.states("t1")[-1] == "shutdown"


# -- others meddle -------------------------------------------------------------------------------------------------------------------------
async def test_a_restart_by_somebody_else_fails_the_task_and_is_stopped(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
        stage.engine.exit(container(stage), 0)
        stage.engine.foreign_start(container(stage))
        await stage.clock.advance(1)
    assert stage.last("t1").state == TaskState.FAILED
    found = stage.engine.container_of("t1")
    assert found is not None
    assert not found.running


async def test_a_start_of_an_ended_task_by_somebody_else_is_stopped_again(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
        await daemon.step(assigned(desired=SHUTDOWN))
        stage.engine.foreign_start(container(stage))
        await stage.clock.advance(1)
    found = stage.engine.container_of("t1")
    assert found is not None
    assert not found.running
    assert stage.states("t1")[-1] == "shutdown"


async def test_a_container_removed_by_somebody_else_fails_its_task(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
        stage.engine.take_away(container(stage))
        await stage.clock.advance(1)
    assert stage.last("t1").state == TaskState.FAILED


# -- restarts ------------------------------------------------------------------------------------------------------------------------------
async def test_a_killed_daemon_finds_its_containers_and_starts_none_again(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned("t1"), assigned("t2"))
    before = list(stage.engine.calls)
    async with stage.daemon() as daemon:
        assert set(daemon.worker.live_tasks) == {"t1", "t2"}
        assert daemon.worker.assignment_version == 0
        assert set(daemon.sandbox.attached) == {"t1", "t2"}
        await daemon.complete(assigned("t1"), assigned("t2"))
        assert stage.states("t1")[-1] == "running"
    assert stage.engine.calls == before


async def test_an_exit_while_the_daemon_was_away_is_told_with_its_code(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
    stage.engine.exit(container(stage), 5)
    async with stage.daemon():
        await stage.clock.advance(1)
    assert stage.last("t1").err == "task: non-zero exit (5)"


async def test_a_last_status_that_nobody_acknowledged_is_told_after_a_restart(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
        stage.engine.exit(container(stage), 3)
        await stage.clock.advance(1)
    stage.told.clear()
    async with stage.daemon():
        await stage.clock.advance(1)
    assert stage.last("t1").err == "task: non-zero exit (3)"


async def test_with_its_journal_lost_a_daemon_adopts_by_label(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned())
    (stage.folder / "worker" / "tasks.journal").unlink()
    before = list(stage.engine.calls)
    async with stage.daemon() as daemon:
        await daemon.complete(assigned(state=TaskState.RUNNING))
        assert set(daemon.sandbox.attached) == {"t1"}
    assert stage.engine.calls == before


async def test_what_is_not_in_the_first_complete_set_goes(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned("t1"), assigned("t2"))
    async with stage.daemon() as daemon:
        assert stage.engine.container_of("t2") is not None
        await daemon.complete(assigned("t1"))
        assert stage.engine.container_of("t2") is None
    (stage.folder / "worker" / "tasks.journal").unlink()
    async with stage.daemon() as daemon:  # nor does a container go unnoticed that not even the journal knows
        await daemon.complete(settle=40)
        assert stage.engine.container_of("t1") is None


# -- the engine ----------------------------------------------------------------------------------------------------------------------------
async def test_tasks_wait_for_an_engine_that_is_gone_and_none_fails_for_it(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned("t1"))
        stage.engine.die()
        await daemon.step(assigned("t2"), settle=60)
        assert not daemon.worker.engine_in_reach.value
        assert stage.states("t1")[-1] == "running"
        stage.engine.revive()
        await stage.clock.advance(10)
        assert daemon.worker.engine_in_reach.value
    assert (stage.states("t1")[-1], stage.states("t2")[-1]) == ("running", "running")


async def test_a_daemon_that_starts_without_its_engine_goes_on_when_it_comes(stage: Stage) -> None:
    stage.engine.die()
    async with stage.daemon() as daemon:
        await daemon.complete(assigned(), settle=30)
        assert stage.states("t1") == []
        stage.engine.revive()
        await stage.clock.advance(10)
    assert stage.states("t1")[-1] == "running"


# -- secrets -------------------------------------------------------------------------------------------------------------------------------
def with_secret(task_id: str = "t1", **more: TaskState) -> object:
    file = FileTarget(name="pw", mode=0o400)
    return assigned(
        task_id, spec=ContainerSpec(image="app", secrets=(SecretReference(secret_id="x1", secret_name="db", file=file),)), **more
    )


def _content(path: str) -> str | None:
    return Path(path).read_text() if Path(path).exists() else None


SECRET = AssignedSecret(id="x1", version=1, name="db", data=b"hush")


async def test_a_secret_is_on_the_node_as_long_as_a_task_uses_it(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(with_secret(), secrets=[SECRET])
        plan = stage.engine.plan_of(container(stage))
        (path, target, read_only), *_ = plan.files
        assert (target, read_only, _content(path)) == ("/run/secrets/pw", True, "hush")
        await daemon.step(with_secret(desired=SHUTDOWN))
        assert _content(path) is None
    assert b"hush" not in (stage.folder / "worker" / "tasks.journal").read_bytes()


async def test_a_restarted_daemon_keeps_the_files_of_what_runs_and_creates_nothing_without_its_secret(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(with_secret("t1"), secrets=[SECRET])
    path = stage.engine.plan_of(container(stage)).files[0][0]
    async with stage.daemon() as daemon:
        assert _content(path) == "hush"
        os.unlink(path)
        await daemon.complete(with_secret("t1"), with_secret("t2"), secrets=[SECRET])
        assert _content(path) == "hush"
        assert stage.states("t2")[-1] == "running"
    assert stage.states("t1")[-1] == "running"


# -- many ----------------------------------------------------------------------------------------------------------------------------------
async def test_a_hundred_tasks_come_and_go(stage: Stage) -> None:
    tasks = [assigned(f"t{number}", slot=number + 1) for number in range(100)]
    async with stage.daemon() as daemon:
        await daemon.complete(*tasks, settle=5)
        assert {stage.states(task.id)[-1] for task in tasks} == {"running"}
        await daemon.complete(settle=60)
        assert daemon.worker.live_tasks == ()
    assert await stage.engine.list({}) == []


async def test_leaving_takes_everything_down(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned("t1"), assigned("t2"))
        await daemon.worker.leave()
    assert await stage.engine.list({}) == []


async def test_leaving_before_the_engine_answered_takes_down_what_an_earlier_daemon_began(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(assigned("t1"))
    stage.engine.die()
    async with stage.daemon() as daemon, asyncio.TaskGroup() as group:
        leaving = group.create_task(daemon.worker.leave())
        await stage.clock.advance(1)
        assert not leaving.done()
        stage.engine.revive()
        await stage.clock.advance(10)
        assert leaving.done()
    assert await stage.engine.list({}) == []
