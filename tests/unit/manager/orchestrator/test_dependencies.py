"""A service starts once what it depends on is there, at the first deploy and after failures; nothing waits in a circle."""

import pytest

from cluster.api.specs import Dependency, Extensions, ReplicatedJobMode, RestartPolicy, ServiceMode
from cluster.api.states import NodeState, TaskState
from manager.orchestrator.dependencies import unmet


def after(*dependencies: str) -> Extensions:
    """`db` or `db:service_healthy`."""
    pairs = [one.partition(":") for one in dependencies]
    return Extensions(depends_on=tuple(Dependency(service=name, condition=condition) for name, _, condition in pairs))


def reason(world, service_id: str = "s1") -> str:
    return unmet(world.now, world.now.services[service_id])


def test_a_service_waits_for_one_that_comes_later_with_its_tasks_made_ready(world, make_web) -> None:
    world.create(make_web(), extensions=after("db"))
    world.settle()
    assert [(task.state, task.desired_state) for task in world.tasks()] == [(TaskState.READY, TaskState.READY)]
    assert reason(world) == "waiting for service db, which does not exist"
    world.create(make_web(name="db"), "s2")
    world.settle()
    assert len(world.running()) == 1
    assert reason(world) == ""


def test_started_is_less_than_healthy(world, make_web) -> None:
    world.script = lambda task: TaskState.STARTING if task.service_id == "s2" and task.state < TaskState.STARTING else _runs(task)
    world.create(make_web(name="db"), "s2")
    world.create(make_web(), extensions=after("db"))
    world.create(make_web(name="app"), "s3", extensions=after("db:service_healthy"))
    world.settle()
    assert len(world.running("s1")) == 1
    assert world.running("s3") == []
    assert reason(world, "s3") == "waiting for service db to be healthy (0 of 1 tasks so far)"
    (database,) = world.tasks("s2")
    world.report(database.id, TaskState.RUNNING)
    world.settle()
    assert len(world.running("s3")) == 1


def _runs(task) -> TaskState | None:
    if task.service_id == "s2":
        return None
    goal = TaskState.READY if task.desired_state is TaskState.READY else TaskState.RUNNING
    return goal if task.state < goal else None


def test_a_task_that_is_not_ready_is_not_healthy_either(world, make_web) -> None:
    world.create(make_web(name="db"), "s2")
    world.settle()
    world.report(world.running("s2")[0].id, TaskState.RUNNING, ready=False)
    world.create(make_web(), extensions=after("db:service_healthy"))
    world.settle()
    assert world.running() == []
    world.report(world.running("s2")[0].id, TaskState.RUNNING, ready=True)
    world.settle()
    assert len(world.running()) == 1


@pytest.mark.parametrize("job", [True, False])
def test_a_job_is_waited_for_until_it_has_completed(world, make_web, job: bool) -> None:
    mode = {"mode": ServiceMode(replicated_job=ReplicatedJobMode(max_concurrent=1, total_completions=2))} if job else {"replicas": 2}
    world.create(make_web(name="migrate", restart_policy=RestartPolicy(condition="on-failure", delay=0), **mode), "s2")
    world.create(make_web(), extensions=after("migrate:service_completed_successfully"))
    world.settle()
    for _ in range(2):
        assert world.running() == []
        task = next(task for task in world.tasks("s2") if task.state is TaskState.RUNNING)
        world.report(task.id, TaskState.COMPLETE)
        world.settle()
    assert len(world.running()) == 1


def test_what_runs_stays_when_its_dependency_fails_and_what_fails_waits_for_it(world, make_web, at_once) -> None:
    world.create(make_web(name="db", restart_policy=RestartPolicy()), "s2")
    world.create(make_web(replicas=2, restart_policy=at_once), extensions=after("db:service_healthy"))
    world.settle()
    world.report(world.running("s2")[0].id, TaskState.FAILED)
    world.settle()
    assert len(world.running()) == 2
    world.report(world.running()[0].id, TaskState.FAILED)
    world.settle()
    assert len(world.running()) == 1
    world.wait(5)
    assert (len(world.running()), len(world.running("s2"))) == (2, 1)


def test_after_the_loss_of_every_node_all_comes_back(world, make_web) -> None:
    world.create(make_web(name="db"), "s2")
    world.create(make_web(replicas=3), extensions=after("db:service_healthy"))
    world.settle()
    for node_id in ("n1", "n2", "n3"):
        world.change_node(node_id, state=NodeState.DOWN)
    world.settle()
    assert world.running() == []
    world.change_node("n2", state=NodeState.READY)
    world.settle()
    assert (len(world.running()), len(world.running("s2"))) == (3, 1)


def test_a_circle_that_came_about_all_the_same_stops_nobody(world, make_web) -> None:
    world.create(make_web(name="a"), "s1", extensions=after("b:service_healthy"))
    world.create(make_web(name="b"), "s2", extensions=after("c"))
    world.create(make_web(name="c"), "s3", extensions=after("a:service_healthy"))
    world.settle()
    assert [len(world.running(one)) for one in ("s1", "s2", "s3")] == [1, 1, 1]


def test_a_service_scaled_to_nothing_is_not_waited_for(world, make_web) -> None:
    world.create(make_web(name="db", replicas=0), "s2")
    world.create(make_web(), extensions=after("db"))
    world.settle()
    assert len(world.running()) == 1


def test_a_removed_dependency_holds_only_what_starts_anew(world, make_web, at_once) -> None:
    world.create(make_web(name="db"), "s2")
    world.create(make_web(restart_policy=at_once), extensions=after("db"))
    world.settle()
    world.remove("s2")
    world.settle()
    assert len(world.running()) == 1
    world.report(world.running()[0].id, TaskState.FAILED)
    world.settle()
    assert world.running() == []
