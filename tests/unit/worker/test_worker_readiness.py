"""A task that is not ready keeps running out of traffic; one cut off from the managers runs on, unless its service says otherwise."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from cluster.api.assignment import AssignedTask
from cluster.api.specs import (
    SECOND,
    ContainerSpec,
    Device,
    DeviceRequest,
    DiscreteResource,
    GenericResource,
    NamedResource,
    Readiness,
    Reservations,
    Resources,
    TaskSpec,
)
from cluster.api.states import TaskState
from tests.unit.worker.worker_stage import Stage
from tests.unit.worker.worker_values import HOST, assigned
from worker.engine.docker_create import Unsupported, create_body
from worker.engine.memory import Behaviour
from worker.plan import container_plan
from worker.ports import ExecResult, SandboxPlan
from worker.readiness import Pulse, command, felt, pause, problem_of

READINESS = Readiness(test=("CMD", "check", "me"), interval=4 * SECOND, timeout=2 * SECOND, retries=2)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def answer(stage: Stage, code: int = 0, *, silent: bool = False) -> None:
    stage.engine.behave = lambda _: Behaviour(answers=code, silent=silent)


def watched(**fields: object) -> AssignedTask:
    return replace(assigned(connected=True), **{"readiness": READINESS, **fields})


# -- readiness -----------------------------------------------------------------------------------------------------------------------------
async def test_it_is_asked_until_it_is_ready_and_says_why_it_is_not(stage: Stage) -> None:
    answer(stage, 1)
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=3)
        status = stage.last("t1")
        assert (status.state, status.ready, status.err) == (TaskState.RUNNING, False, "readiness: exit 1: not yet")
        assert stage.engine.execs[0] == ("web.1.t1", ("check", "me"))
        answer(stage)
        await stage.clock.advance(1.5)
        assert (stage.last("t1").ready, stage.last("t1").err) == (True, "")
    assert stage.states("t1")[-1] == "running"


async def test_a_ready_task_loses_traffic_after_several_failures_and_gets_it_back_after_one_success(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=2)
        assert stage.last("t1").ready
        answer(stage, 1)
        await stage.clock.advance(4.5)
        assert stage.last("t1").ready
        await stage.clock.advance(4.5)
        assert not stage.last("t1").ready
        answer(stage)
        await stage.clock.advance(1.5)
        assert stage.last("t1").ready
        assert stage.engine.calls == ["create web.1.t1", "start web.1.t1"]


@pytest.mark.parametrize(
    ("test", "first", "problem", "then"),
    [
        (("HTTP", "8080/ok"), b"HTTP/1.1 503 Service Unavailable\r", "GET /ok on port 8080: 503 Service Unavailable", b"HTTP/1.0 204\r"),
        (("HTTP", ":8080"), b"SSH-2.0-x", "port 8080 does not speak HTTP", b"HTTP/1.1 302 Found"),
        (("TCP", "8080"), ConnectionRefusedError(111, "Connection refused"), "port 8080: connection refused", b""),
        (("TCP", "8080"), None, "no answer within 2 s", b""),
    ],
)
async def test_a_port_says_whether_it_is_ready(
    stage: Stage, test: tuple[str, ...], first: bytes | OSError | None, problem: str, then: bytes
) -> None:
    async with stage.daemon() as daemon:
        daemon.sandbox.answers[8080] = first
        await daemon.complete(watched(readiness=replace(READINESS, test=test)), settle=2.5)
        assert (stage.last("t1").ready, stage.last("t1").err) == (False, f"readiness: {problem}")
        daemon.sandbox.answers[8080] = then
        await stage.clock.advance(3.5)
        assert stage.last("t1").ready
        path = {":8080": b"GET / ", "8080/ok": b"GET /ok "}.get(test[1], b"")
        assert daemon.sandbox.asked[-1][2].startswith(path)
    assert stage.engine.execs == []


async def test_its_node_takes_it_out_at_once_and_lets_it_in_again(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=2)
        daemon.sandbox.calls.clear()
        answer(stage, 1)
        await stage.clock.advance(9)
        assert daemon.sandbox.calls == ["withdraw t1"]
        answer(stage)
        await stage.clock.advance(1.5)
        assert daemon.sandbox.calls == ["withdraw t1", "admit t1"]


async def test_a_daemon_that_starts_anew_leaves_out_what_the_one_before_took_out(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=2)
        answer(stage, 1)
        await stage.clock.advance(9)
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=2)
        assert daemon.sandbox.calls[-1] == "withdraw t1"
        answer(stage)
        await stage.clock.advance(1.5)
        assert daemon.sandbox.calls[-1] == "admit t1"


async def test_no_answer_in_time_counts_as_a_no(stage: Stage) -> None:
    answer(stage, silent=True)
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=2.5)
        assert stage.last("t1").err == "readiness: no answer within 2 s"
        await daemon.step(replace(watched(), desired_state=TaskState.SHUTDOWN))
        assert stage.states("t1")[-1] == "shutdown"


async def test_a_restarted_daemon_asks_on_and_leaves_a_ready_task_in_traffic(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=2)
    told = len(stage.told)
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=10)
    assert all(status.ready for _, status in stage.told[told:])
    assert len(stage.engine.execs) > 2


async def test_an_end_is_seen_between_two_questions(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        await daemon.complete(watched(), settle=2)
        found = stage.engine.container_of("t1")
        assert found is not None
        stage.engine.exit(found.id, 3)
        await stage.clock.advance(0.1)
        assert stage.last("t1").state is TaskState.FAILED


def test_what_the_answers_add_up_to() -> None:
    pulse = felt(Pulse(), READINESS, "readiness: exit 1")
    assert pulse == Pulse(failures=1, err="readiness: exit 1")
    assert felt(pulse, READINESS, "") == Pulse(ready=True)
    assert felt(Pulse(ready=True), READINESS, "no") == Pulse(ready=True, failures=1)
    assert felt(Pulse(ready=True, failures=1), READINESS, "no") == Pulse(failures=2, err="no")
    assert (pause(READINESS, Pulse()), pause(READINESS, Pulse(ready=True))) == (1, 4)
    assert command(Readiness(test=("CMD-SHELL", "a | b"))) == ("/bin/sh", "-c", "a | b")
    assert problem_of(ExecResult(exit_code=0, output="fine")) == ""


# -- cut off -------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("wish", "state"), [("", "running"), ("keep", "running"), ("stop", "failed")])
async def test_a_task_that_no_manager_can_see_goes_by_its_service(stage: Stage, wish: str, state: str) -> None:
    async with stage.daemon() as daemon:
        daemon.worker.reach(leader=True)
        await daemon.complete(watched(on_disconnect=wish, readiness=None))
        for _ in range(8):  # a session says so at every try that fails
            daemon.worker.reach(leader=False)
            await stage.clock.advance(1)
        assert stage.states("t1")[-1] == "running"
        daemon.worker.reach(leader=False)
        await stage.clock.advance(4)
        assert stage.states("t1")[-1] == state


async def test_a_short_absence_of_managers_stops_nothing(stage: Stage) -> None:
    async with stage.daemon() as daemon:
        daemon.worker.reach(leader=True)
        await daemon.complete(watched(on_disconnect="stop", readiness=None))
        for _ in range(3):
            daemon.worker.reach(leader=False)
            await stage.clock.advance(8)
            daemon.worker.reach(leader=True)
            await stage.clock.advance(1)
        assert stage.states("t1")[-1] == "running"


# -- devices and named resources -----------------------------------------------------------------------------------------------------------
def gpu_task(**fields: object) -> AssignedTask:
    wish = GenericResource(discrete_resource_spec=DiscreteResource(kind="ssd", value=3))
    spec = TaskSpec(
        container_spec=ContainerSpec(image="app", env=("A=1",)),
        resources=Resources(reservations=Reservations(generic_resources=(wish,))),
    )
    return replace(assigned(), spec=spec, **fields)


def test_devices_and_gpus_reach_the_engine_those_given_by_name_as_names() -> None:
    request = DeviceRequest(count=2, capabilities=(("gpu",),))
    names = (NamedResource(kind="gpu", value="u1"), NamedResource(kind="gpu", value="u2"))
    task = gpu_task(devices=(Device(path_on_host="/dev/kvm"),), device_requests=(request,), resources=names)
    plan = container_plan(task, HOST, SandboxPlan(), ())
    host = create_body(plan, (1, 41))["HostConfig"]
    assert host["Devices"] == [{"PathOnHost": "/dev/kvm", "PathInContainer": "/dev/kvm", "CgroupPermissions": "rwm"}]
    assert (host["DeviceRequests"][0]["Count"], host["DeviceRequests"][0]["DeviceIDs"]) == (0, ["u1", "u2"])
    assert plan.spec.env == ("A=1", "DOCKER_RESOURCE_GPU=u1,u2", "DOCKER_RESOURCE_SSD=3")
    with pytest.raises(Unsupported, match=r"1\.40"):
        create_body(plan, (1, 39))


def test_a_number_of_gpus_stays_one_where_they_have_no_names() -> None:
    request = DeviceRequest(count=1, capabilities=(("gpu",),))
    plan = container_plan(gpu_task(device_requests=(request,)), HOST, SandboxPlan(), ())
    assert plan.device_requests == (request,)
