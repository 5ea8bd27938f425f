"""What every engine promises a worker: one suite for the twin and for the real thing.

A rig gives the engine and says how to ask it for a container that does this or that.
"""

import asyncio
from contextlib import aclosing
from typing import Protocol

import pytest

from cluster.api.specs import ContainerSpec
from worker.engine.memory import Behaviour
from worker.plan import CLUSTER_LABEL, TASK_LABEL
from worker.ports import LISTENING, ContainerPlan, ContainerState, Engine, EngineError, EngineEvent, LogLine, NoSuchImage

LABELS = {CLUSTER_LABEL: "contract"}


class EngineRig(Protocol):
    engine: Engine
    image: str

    def doing(self, behaviour: Behaviour) -> ContainerSpec:
        """A spec whose container behaves so."""
        ...

    async def restart_from_outside(self, container_id: str) -> None: ...


def plan(rig: EngineRig, task_id: str, behaviour: Behaviour | None = None, *, name: str = "") -> ContainerPlan:
    spec = rig.doing(behaviour or Behaviour())
    return ContainerPlan(name=name or f"web.1.{task_id}", labels={**LABELS, TASK_LABEL: task_id}, spec=spec)


async def started(rig: EngineRig, task_id: str, behaviour: Behaviour | None = None) -> str:
    container_id = await rig.engine.create(plan(rig, task_id, behaviour))
    await rig.engine.start(container_id)
    return container_id


async def state_of(rig: EngineRig, container_id: str) -> ContainerState:
    state = await rig.engine.inspect(container_id)
    assert state is not None
    return state


async def wait_down(rig: EngineRig, container_id: str) -> ContainerState:
    """Events wake, the state decides: the first event is LISTENING, so nothing is missed."""
    async with asyncio.timeout(20), aclosing(rig.engine.events()) as events:
        async for _ in events:
            if not (state := await state_of(rig, container_id)).running:
                return state
    raise AssertionError("unreachable: events have no end")


async def read(rig: EngineRig, container_id: str, *, tail: int = -1, since: int = 0, follow: bool = False) -> list[LogLine]:
    lines = rig.engine.logs(container_id, follow=follow, tail=tail, since=since, until=0, stdout=True, stderr=True)
    return [line async for line in lines]


class EnginePromises:
    """Subclasses give the fixture `rig`; containers carry LABELS, the rig removes them."""

    async def test_it_says_what_it_is(self, rig: EngineRig) -> None:
        facts = await rig.engine.info()
        assert (facts.cpus > 0, facts.memory_bytes > 0, facts.architecture, facts.in_swarm_mode) == (True, True, "x86_64", False)
        assert facts.id

    async def test_an_image_that_is_here_needs_no_registry(self, rig: EngineRig) -> None:
        await rig.engine.pull(rig.image, registry_auth="")

    async def test_a_missing_image_is_told_apart(self, rig: EngineRig) -> None:
        with pytest.raises(NoSuchImage, match=r"No such image: nosuch\.invalid/x:1"):
            await rig.engine.pull("nosuch.invalid/x:1", registry_auth="")

    async def test_a_container_is_created_started_stopped_and_removed(self, rig: EngineRig) -> None:
        container_id = await rig.engine.create(plan(rig, "t1"))
        created = await state_of(rig, container_id)
        assert (created.created_only, created.running, created.started_at, created.name) == (True, False, "", "web.1.t1")
        await rig.engine.start(container_id)
        running = await state_of(rig, container_id)
        assert (running.running, running.created_only, running.pid > 0, running.started_at != "") == (True, False, True, True)
        assert running.labels.items() >= LABELS.items()
        await rig.engine.stop(container_id, grace=5, signal="")
        ended = await state_of(rig, container_id)
        assert (ended.running, ended.created_only, ended.pid) == (False, False, 0)
        await rig.engine.remove(container_id)
        assert await rig.engine.inspect(container_id) is None

    async def test_a_running_container_is_removed_too(self, rig: EngineRig) -> None:
        container_id = await started(rig, "t1")
        await rig.engine.remove(container_id)
        assert await rig.engine.inspect(container_id) is None

    async def test_stopping_and_removing_what_is_gone_is_fine(self, rig: EngineRig) -> None:
        container_id = await started(rig, "t1", Behaviour(exits_with=0))
        await wait_down(rig, container_id)
        await rig.engine.stop(container_id, grace=1, signal="")
        await rig.engine.remove(container_id)
        await rig.engine.stop(container_id, grace=1, signal="")
        await rig.engine.remove(container_id)

    async def test_what_ignores_the_signal_is_killed_after_the_grace(self, rig: EngineRig) -> None:
        container_id = await started(rig, "t1", Behaviour(ignores_term=True))
        await rig.engine.stop(container_id, grace=1, signal="")
        assert (await state_of(rig, container_id)).exit_code == 137

    async def test_the_exit_code_is_shown(self, rig: EngineRig) -> None:
        container_id = await started(rig, "t1", Behaviour(exits_with=7))
        ended = await wait_down(rig, container_id)
        assert (ended.exit_code, ended.created_only, ended.oom_killed) == (7, False, False)

    async def test_a_container_that_cannot_start_says_why_and_never_ran(self, rig: EngineRig) -> None:
        container_id = await rig.engine.create(plan(rig, "t1", Behaviour(start_error="executable file not found")))
        with pytest.raises(EngineError, match="executable file not found"):
            await rig.engine.start(container_id)
        assert (await state_of(rig, container_id)).created_only

    @pytest.mark.parametrize("code", [0, 3])
    async def test_a_command_inside_says_how_it_ended_and_what_it_said(self, rig: EngineRig, code: int) -> None:
        container_id = await started(rig, "t1", Behaviour(answers=code))
        result = await rig.engine.exec(container_id, ("sh", "-c", f"echo not yet; exit {code}"))
        assert (result.exit_code, result.output) == (code, "not yet")

    async def test_a_command_cannot_be_run_in_what_does_not_run(self, rig: EngineRig) -> None:
        container_id = await rig.engine.create(plan(rig, "t1"))
        with pytest.raises(EngineError):
            await rig.engine.exec(container_id, ("true",))

    async def test_containers_are_found_by_label_running_or_not(self, rig: EngineRig) -> None:
        await rig.engine.create(plan(rig, "t1"))
        await started(rig, "t2")
        found = {state.labels[TASK_LABEL]: state for state in await rig.engine.list(LABELS)}
        assert {task_id: (state.running, state.created_only) for task_id, state in found.items()} == {
            "t1": (False, True),
            "t2": (True, False),
        }
        assert [state.name for state in await rig.engine.list({**LABELS, TASK_LABEL: "t2"})] == ["web.1.t2"]
        assert list(await rig.engine.list({CLUSTER_LABEL: "another"})) == []

    async def test_a_leftover_of_the_same_task_is_replaced(self, rig: EngineRig) -> None:
        first = await rig.engine.create(plan(rig, "t1"))
        second = await rig.engine.create(plan(rig, "t1"))
        assert first != second
        assert await rig.engine.inspect(first) is None

    async def test_a_name_that_another_has_is_not_taken_from_it(self, rig: EngineRig) -> None:
        first = await rig.engine.create(plan(rig, "t1"))
        with pytest.raises(EngineError, match="already in use"):
            await rig.engine.create(plan(rig, "t2", name="web.1.t1"))
        assert await rig.engine.inspect(first) is not None

    async def test_a_restart_by_somebody_else_shows(self, rig: EngineRig) -> None:
        container_id = await started(rig, "t1")
        before = await state_of(rig, container_id)
        await rig.restart_from_outside(container_id)
        after = await state_of(rig, container_id)
        assert (after.running, after.started_at != before.started_at, after.pid != before.pid) == (True, True, True)

    async def test_events_tell_of_start_and_end_and_whose_they_are(self, rig: EngineRig) -> None:
        seen: list[EngineEvent] = []
        container_id = ""
        async with asyncio.timeout(20), aclosing(rig.engine.events()) as events:
            async for event in events:
                if event.kind == LISTENING:
                    container_id = await started(rig, "t1", Behaviour(exits_with=3))
                elif event.container_id == container_id:
                    seen.append(event)
                    if event.kind == "die":
                        break
        assert [event.kind for event in seen if event.kind in ("start", "die")] == ["start", "die"]
        assert (seen[-1].exit_code, seen[-1].labels[TASK_LABEL]) == (3, "t1")

    async def test_logs_keep_lines_their_order_and_times(self, rig: EngineRig) -> None:
        container_id = await started(rig, "t1", Behaviour(says=(b"one\n", b"two\n", b"three\n"), exits_with=0))
        await wait_down(rig, container_id)
        lines = await read(rig, container_id)
        assert [(line.source, line.line) for line in lines] == [(1, b"one\n"), (1, b"two\n"), (1, b"three\n")]
        times = [line.timestamp for line in lines]
        assert times == sorted(times)
        assert times[0] > 1_600_000_000_000_000_000
        assert [line.line for line in await read(rig, container_id, tail=1)] == [b"three\n"]
        assert [line.line for line in await read(rig, container_id, tail=0)] == []
        assert await read(rig, container_id, since=times[-1] + 10**9) == []

    async def test_a_followed_log_ends_with_its_container(self, rig: EngineRig) -> None:
        container_id = await started(rig, "t1", Behaviour(says=(b"one\n",)))

        async def stop_after_a_while() -> None:
            await asyncio.sleep(0.3)
            await rig.engine.stop(container_id, grace=1, signal="")

        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            reading = group.create_task(read(rig, container_id, follow=True))
            group.create_task(stop_after_a_while())
        assert [line.line for line in reading.result()] == [b"one\n"]

    async def test_the_log_of_nothing_is_an_error(self, rig: EngineRig) -> None:
        with pytest.raises(EngineError, match="No such container"):
            await read(rig, "f" * 64)
