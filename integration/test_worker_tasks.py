"""A worker on a real dockerd: tasks run, end and leave nothing; a daemon killed with -9 finds all of them again."""

import asyncio
import base64
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from cluster.api.assignment import AssignedConfig, AssignedSecret, AssignedTask, Assignments, ReportedStatus
from cluster.api.objects import TaskStatus
from cluster.api.specs import (
    SECOND,
    ConfigReference,
    ContainerSpec,
    FileTarget,
    HealthConfig,
    Limits,
    Resources,
    SecretReference,
    TaskSpec,
)
from cluster.api.states import TaskState
from integration.worker_rig import IMAGE, Rig, dockerd, needs_engine, start

pytestmark = [pytest.mark.engine, pytest.mark.root, needs_engine]
ROOT = Path(__file__).parent.parent


class Daemon:
    """One worker process; `kill` is kill -9."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "integration.worker_process", rig.address, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._told: queue.Queue[ReportedStatus] = queue.Queue()
        self.statuses: list[ReportedStatus] = []
        self._ear = threading.Thread(target=self._listen)
        self._ear.start()

    def assign(self, message: Assignments) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(base64.b64encode(msgspec.msgpack.encode(message)).decode() + "\n")
        self._process.stdin.flush()

    def wait(self, task_id: str, state: TaskState, *, within: float = 20) -> TaskStatus:
        """Until the task is reported in this state (or a later one, which fails)."""
        deadline = time.monotonic() + within
        while not (reached := self._last(task_id)) or reached.state < state:
            try:
                self.statuses.append(self._told.get(timeout=max(0, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"task {task_id} did not become {state.wire} within {within} s: {self.statuses}") from None
        assert reached.state == state, reached
        return reached

    def _last(self, task_id: str) -> TaskStatus | None:
        return next((one.status for one in reversed(self.statuses) if one.task_id == task_id), None)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(msgspec.json.decode(line, type=ReportedStatus))

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._ear.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with dockerd("shoal-wk-tasks") as machine:
        yield machine


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    subprocess.run(["umount", str(tmp_path / "secrets")], check=False, capture_output=True)


@pytest.fixture
def begin(rig: Rig, folder: Path) -> Iterator[Callable[[], Daemon]]:
    """Starts daemons on the same folder, one after the other."""
    begun: list[Daemon] = []

    def another() -> Daemon:
        begun.append(Daemon(rig, folder))
        return begun[-1]

    yield another
    for daemon in begun:
        daemon.kill()
    rig.remove_containers()


def task(
    task_id: str, *command: str, desired: TaskState = TaskState.RUNNING, resources: Resources | None = None, **more: object
) -> AssignedTask:
    spec = ContainerSpec(image=IMAGE, args=command or ("sleep", "600"), stop_grace_period=SECOND, **more)  # type: ignore[arg-type]
    return AssignedTask(
        id=task_id,
        service_id="s1",
        service_name="web",
        slot=1,
        node_id="node1",
        spec=TaskSpec(container_spec=spec, resources=resources),
        desired_state=desired,
    )


def complete(
    *tasks: AssignedTask, version: int = 1, secrets: Sequence[AssignedSecret] = (), configs: Sequence[AssignedConfig] = ()
) -> Assignments:
    return Assignments(version=version, complete=True, tasks=tasks, secrets=tuple(secrets), configs=tuple(configs))


def container(rig: Rig, task_id: str, template: str) -> str:
    return rig.docker("inspect", "-f", template, f"web.1.{task_id}")


def wait_until(holds: Callable[[], bool], *, within: float = 20) -> None:
    """Look again until it holds; each look takes a while by itself, as it asks an engine."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"


# -- lives and ends ------------------------------------------------------------------------------------------------------------------------
def test_a_task_runs_is_labelled_and_stops(rig: Rig, begin: Callable[[], Daemon]) -> None:
    daemon = begin()
    daemon.assign(complete(task("t1")))
    status = daemon.wait("t1", TaskState.RUNNING)
    assert status.container is not None
    assert container(rig, "t1", "{{.State.Pid}} {{.HostConfig.RestartPolicy.Name}}") == f"{status.container.pid} no"
    assert container(rig, "t1", '{{index .Config.Labels "com.docker.swarm.task.name"}}') == "web.1.t1"
    assert container(rig, "t1", '{{index .Config.Labels "shoal.cluster"}}') == "c1"
    daemon.assign(Assignments(version=2, applies_to=1, tasks=(task("t1", desired=TaskState.SHUTDOWN),)))
    daemon.wait("t1", TaskState.SHUTDOWN)
    assert container(rig, "t1", "{{.State.Running}}") == "false"
    daemon.assign(Assignments(version=3, applies_to=2, tasks=(task("t2", "true"),), gone_tasks=("t1",)))
    daemon.wait("t2", TaskState.COMPLETE)
    assert rig.docker("ps", "-a", "--format", "{{.Names}}") == "web.1.t2"


def test_ends_are_told_in_dockers_words(rig: Rig, begin: Callable[[], Daemon]) -> None:
    memory = Resources(limits=Limits(memory_bytes=16 << 20))
    sick = HealthConfig(test=("CMD-SHELL", "echo down; exit 1"), interval=SECOND // 2, retries=1)
    # The engine begins to watch the memory a moment after the start, and hears of an end and of its cause from two sources.
    hungry = "sleep 1; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 1; exit 137"
    daemon = begin()
    daemon.assign(
        complete(
            task("t1", "sh", "-c", "exit 3"),
            task("t2", "sh", "-c", hungry, resources=memory),
            task("t3", "nosuch"),
            replace(task("t4"), spec=TaskSpec(container_spec=ContainerSpec(image="nosuch:1"))),
            task("t5", healthcheck=sick),
            task("t6", "true", desired=TaskState.COMPLETE),
        )
    )
    assert daemon.wait("t1", TaskState.FAILED).err == "task: non-zero exit (3)"
    assert daemon.wait("t2", TaskState.FAILED).err == "task: non-zero exit (137): out of memory (the limit is 16MiB)"
    failed = daemon.wait("t3", TaskState.FAILED).err
    assert failed.startswith("starting container failed: ")
    assert 'exec: "nosuch": executable file not found in $PATH' in failed
    rejected = daemon.wait("t4", TaskState.REJECTED).err
    assert rejected.startswith("No such image: nosuch:1")
    assert rejected.endswith("(on node h1)")
    assert daemon.wait("t5", TaskState.FAILED).err == "unhealthy container: down"
    daemon.wait("t6", TaskState.COMPLETE)
    assert container(rig, "t5", "{{.State.Running}}") == "false"


@pytest.mark.parametrize(("verb", "err"), [("kill", "non-zero exit (137)"), ("rm -f", ""), ("restart -t 0", "")])
def test_what_somebody_does_to_a_container_fails_its_task_and_leaves_nothing_running(
    rig: Rig, begin: Callable[[], Daemon], verb: str, err: str
) -> None:
    daemon = begin()
    daemon.assign(complete(task("t1")))
    daemon.wait("t1", TaskState.RUNNING)
    rig.docker(*verb.split(), "web.1.t1")
    assert err in daemon.wait("t1", TaskState.FAILED).err
    wait_until(lambda: rig.docker("ps", "-q", "--filter", "name=web.1.t1") == "")


def test_a_task_started_again_by_somebody_is_stopped_again(rig: Rig, begin: Callable[[], Daemon]) -> None:
    daemon = begin()
    daemon.assign(complete(task("t1")))
    daemon.wait("t1", TaskState.RUNNING)
    daemon.assign(Assignments(version=2, applies_to=1, tasks=(task("t1", desired=TaskState.SHUTDOWN),)))
    daemon.wait("t1", TaskState.SHUTDOWN)
    rig.docker("start", "web.1.t1")
    wait_until(lambda: container(rig, "t1", "{{.State.Running}}") == "false")


# -- kill -9 -------------------------------------------------------------------------------------------------------------------------------
def test_a_killed_daemon_adopts_what_runs_and_tells_what_ended_meanwhile(rig: Rig, begin: Callable[[], Daemon]) -> None:
    tasks = (task("t1"), task("t2", "sh", "-c", "sleep 2; exit 5"), task("t3"))
    daemon = begin()
    daemon.assign(complete(*tasks))
    for one in tasks:
        daemon.wait(one.id, TaskState.RUNNING)
    before = {one.id: container(rig, one.id, "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}") for one in tasks}
    daemon.kill()
    assert rig.docker("wait", "web.1.t2") == "5"
    again = begin()
    assert again.wait("t2", TaskState.FAILED).err == "task: non-zero exit (5)"  # before any manager was heard
    again.wait("t1", TaskState.RUNNING)
    again.assign(complete(tasks[0], tasks[1], task("t4")))
    again.wait("t4", TaskState.RUNNING)
    assert container(rig, "t1", "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}") == before["t1"]
    wait_until(lambda: "web.1.t3" not in rig.docker("ps", "-a", "--format", "{{.Names}}").split())


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.5, 0.8])
def test_a_daemon_killed_in_the_middle_of_starting_goes_on_and_starts_nothing_twice(
    rig: Rig, begin: Callable[[], Daemon], after: float
) -> None:
    tasks = [task(f"t{number}", "sh", "-c", "echo begun; sleep 600") for number in range(4)]
    daemon = begin()
    daemon.assign(complete(*tasks))
    daemon.wait("t0", TaskState.PREPARING) if after < 0.1 else time.sleep(after)
    daemon.kill()
    again = begin()
    again.assign(complete(*tasks))
    for one in tasks:
        again.wait(one.id, TaskState.RUNNING)
        wait_until(lambda name=f"web.1.{one.id}": rig.docker("logs", name) == "begun")
    assert len(rig.docker("ps", "-aq").split()) == 4


def test_a_lost_journal_costs_no_container(rig: Rig, begin: Callable[[], Daemon], folder: Path) -> None:
    daemon = begin()
    daemon.assign(complete(task("t1")))
    daemon.wait("t1", TaskState.RUNNING)
    before = container(rig, "t1", "{{.State.Pid}}")
    daemon.kill()
    (folder / "worker" / "tasks.journal").unlink()
    again = begin()
    again.assign(complete(replace(task("t1"), state=TaskState.RUNNING)))
    again.wait("t1", TaskState.RUNNING)
    assert container(rig, "t1", "{{.State.Pid}}") == before


def test_tasks_outlive_an_engine_that_is_killed_and_restarted(rig: Rig, begin: Callable[[], Daemon]) -> None:
    daemon = begin()
    daemon.assign(complete(task("t1"), task("t2", "sh", "-c", "sleep 1; exit 9")))
    daemon.wait("t1", TaskState.RUNNING)
    daemon.wait("t2", TaskState.RUNNING)
    before = container(rig, "t1", "{{.State.Pid}}")
    os.kill(int((rig.launcher.socket.parent / "dockerd.pid").read_text()), signal.SIGKILL)
    time.sleep(1.5)
    asyncio.run(start(rig.launcher))
    assert daemon.wait("t2", TaskState.FAILED, within=30).err == "task: non-zero exit (9)"
    daemon.assign(Assignments(version=2, applies_to=1, tasks=(task("t3", "true"),)))
    daemon.wait("t3", TaskState.COMPLETE)
    assert container(rig, "t1", "{{.State.Pid}}") == before
    assert [one.status.state for one in daemon.statuses if one.task_id == "t1"][-1] == TaskState.RUNNING


# -- secrets and configs -------------------------------------------------------------------------------------------------------------------
SECRET = AssignedSecret(id="x1", version=1, name="db", data=b"swordfish-4711\n")
CONFIG = AssignedConfig(id="f1", version=1, name="conf", data=b"#!/bin/sh\necho {{.Task.Slot}} {{.Node.Hostname}}\n", templated=True)


def with_files(task_id: str, script: str, desired: TaskState = TaskState.RUNNING) -> AssignedTask:
    secret = SecretReference(secret_id="x1", secret_name="db", file=FileTarget(name="pw", uid="1000", gid="1001", mode=0o440))
    config = ConfigReference(config_id="f1", config_name="conf", file=FileTarget(name="/entry.sh", uid="0", gid="0", mode=0o555))
    return task(task_id, "sh", "-c", script, desired=desired, secrets=(secret,), configs=(config,))


def test_secrets_are_in_the_container_with_owner_and_mode_and_nowhere_afterwards(
    rig: Rig, begin: Callable[[], Daemon], folder: Path
) -> None:
    show = "stat -c '%u %g %a' /run/secrets/pw; cat /run/secrets/pw; /entry.sh; echo x >/run/secrets/pw || echo sealed; sleep 600"
    daemon = begin()
    daemon.assign(complete(with_files("t1", show), secrets=[SECRET], configs=[CONFIG]))
    daemon.wait("t1", TaskState.RUNNING)
    wait_until(lambda: "sealed" in rig.docker("logs", "web.1.t1"))
    logs = rig.docker("logs", "web.1.t1")
    assert [line for line in logs.splitlines() if "Read-only" not in line] == ["1000 1001 440", "swordfish-4711", "1 h1", "sealed"]
    assert (
        subprocess.run(["stat", "-f", "-c", "%T", str(folder / "secrets")], capture_output=True, text=True, check=True).stdout == "tmpfs\n"
    )

    daemon.kill()
    assert (folder / "secrets" / "t1" / "0").read_bytes() == b"swordfish-4711\n"
    again = begin()
    again.assign(complete(with_files("t1", show), secrets=[SECRET], configs=[CONFIG]))
    again.wait("t1", TaskState.RUNNING)
    again.assign(Assignments(version=2, applies_to=1, tasks=(with_files("t1", show, TaskState.SHUTDOWN),), gone_secrets=("x1",)))
    again.wait("t1", TaskState.SHUTDOWN)
    wait_until(lambda: list((folder / "secrets").iterdir()) == [])
    found = subprocess.run(
        ["grep", "-rls", "swordfish-4711", str(folder / "worker"), str(rig.folder / "state")], capture_output=True, text=True, check=False
    )
    # the container printed it, so its log has it; nothing else does
    assert all("-json.log" in name for name in found.stdout.split()), found.stdout
