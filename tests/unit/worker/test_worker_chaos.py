"""Whatever happens around a worker, in any order: no state goes back, nothing is started twice, and nothing is left in the end.

The seed is in the test's name and replays exactly.
"""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from cluster.api.assignment import AssignedSecret, AssignedTask
from cluster.api.specs import SECOND, ContainerSpec, FileTarget, SecretReference
from cluster.api.states import TaskState
from tests.unit.worker.worker_stage import Daemon, Stage
from tests.unit.worker.worker_values import assigned
from worker.engine.memory import Behaviour
from worker.plan import TASK_LABEL

SECRET = AssignedSecret(id="x1", version=1, name="db", data=b"hush")
SPEC = ContainerSpec(
    image="app",
    stop_grace_period=2 * SECOND,
    secrets=(SecretReference(secret_id="x1", secret_name="db", file=FileTarget(name="pw", mode=0o400)),),
)


class Chaos:
    """A manager, people with a docker CLI, and bad luck."""

    def __init__(self, stage: Stage, rng: Random) -> None:
        self.stage = stage
        self.rng = rng
        self.tasks: dict[str, AssignedTask] = {}
        self.made = 0
        self.torn = False

    async def act(self, daemon: Daemon) -> None:
        deeds = [
            self.more,
            self.more,
            self.wish,
            self.wish,
            self.drop,
            self.exit,
            self.meddle,
            self.remove,
            self.sicken,
            self.engine,
            self.journal,
        ]
        self.rng.choice(deeds)()
        await self.tell(daemon)
        await self.stage.clock.advance(self.rng.choice([0, 0.001, 0.05, 0.5, 3]))

    async def tell(self, daemon: Daemon) -> None:
        await daemon.complete(*map(self.as_the_leader_knows, self.tasks.values()), secrets=[SECRET], settle=0)

    def as_the_leader_knows(self, task: AssignedTask) -> AssignedTask:
        told = [status.state for task_id, status in self.stage.told if task_id == task.id]
        return replace(task, state=max(told, default=TaskState.ASSIGNED))

    def more(self) -> None:
        self.made += 1
        desired = self.rng.choice([TaskState.READY, TaskState.RUNNING, TaskState.RUNNING, TaskState.COMPLETE])
        connected = self.rng.random() < 0.5
        self.tasks[f"t{self.made}"] = assigned(f"t{self.made}", slot=self.made, spec=SPEC, desired=desired, connected=connected)

    def wish(self) -> None:
        if self.tasks:
            task = self.rng.choice(list(self.tasks.values()))
            later = [state for state in (TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE) if state >= task.desired_state]
            self.tasks[task.id] = replace(task, desired_state=self.rng.choice(later))

    def drop(self) -> None:
        if self.tasks:
            del self.tasks[self.rng.choice(list(self.tasks))]

    def _some(self, *, running: bool) -> str | None:
        found = [state.id for state in self.stage.engine.containers() if state.running == running and not state.created_only]
        return self.rng.choice(found) if found else None

    def exit(self) -> None:
        if container_id := self._some(running=True):
            self.stage.engine.exit(container_id, self.rng.choice([0, 1, 137]))

    def meddle(self) -> None:
        if container_id := self._some(running=False):
            self.stage.engine.foreign_start(container_id)

    def remove(self) -> None:
        if container_id := self._some(running=True):
            self.stage.engine.take_away(container_id)

    def sicken(self) -> None:
        if container_id := self._some(running=True):
            self.stage.engine.health(container_id, self.rng.choice(["healthy", "unhealthy"]))

    def engine(self) -> None:
        self.rng.choice([self.stage.engine.die, self.stage.engine.revive])()

    def journal(self) -> None:
        """A power loss tears the last record."""
        file = self.stage.folder / "worker" / "tasks.journal"
        if self.rng.random() < 0.2 and file.stat().st_size > 200:
            self.torn = True
            file.write_bytes(file.read_bytes()[:-7])


@pytest.mark.parametrize("seed", range(25))
async def test_nothing_goes_back_nothing_is_started_twice_and_nothing_is_left(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    stage = Stage(tmp_path, behave=lambda plan: Behaviour(ignores_term=plan.name < "web.3", has_health=plan.name > "web.7"))
    chaos = Chaos(stage, rng)
    for _ in range(6):
        async with stage.daemon() as daemon:
            for _ in range(rng.randrange(1, 15)):
                await chaos.act(daemon)
    stage.engine.revive()
    async with stage.daemon() as daemon:
        await chaos.tell(daemon)
        await stage.clock.advance(60)
        if not chaos.torn:  # else a restarted daemon may tell an older state until it hears the manager, who knows better
            check_states(stage)
        wanted = {task.id for task in chaos.tasks.values() if task.desired_state <= TaskState.COMPLETE}
        running = {state.labels[TASK_LABEL] for state in stage.engine.containers() if state.running}
        assert running <= wanted
        chaos.tasks.clear()
        await chaos.tell(daemon)
        await stage.clock.advance(90)
        assert daemon.worker.live_tasks == ()
    assert stage.engine.containers() == []
    assert list((tmp_path / "secrets").glob("*")) == []
    starts = Counter(call for call in stage.engine.calls if call.startswith("start "))
    creates = Counter(call.removeprefix("create ") for call in stage.engine.calls if call.startswith("create "))
    assert all(count <= creates[call.removeprefix("start ")] for call, count in starts.items())

    for task_id, calls in stage.ended_at.items():
        late = [call for call in stage.engine.calls[calls:] if call.startswith("start ") and call.endswith(f".{task_id}")]
        assert late == [], f"{task_id} had ended"


def check_states(stage: Stage) -> None:
    """After its end a task is told again only as ended."""
    ended: dict[str, TaskState] = {}
    for task_id, status in stage.told:
        if status.state.ended and task_id in ended:
            assert ended[task_id].ended
        elif status.state.ended:
            ended[task_id] = status.state
        else:
            assert task_id not in ended, f"{task_id} ended as {ended[task_id].wire} and then was {status.state.wire}"
