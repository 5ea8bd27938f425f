"""Restarts: Docker's condition, delay, attempts and window; on the leader's own clock."""

import pytest

from cluster.api.specs import SECOND, Extensions, RestartPolicy
from cluster.api.states import NodeState, TaskState


def fail(world, state: TaskState = TaskState.FAILED) -> None:
    for task in world.running():
        world.report(task.id, state)


def test_a_failed_task_is_followed_after_five_seconds_unless_said_otherwise(world, make_web) -> None:
    world.create(make_web())
    world.settle()
    (first,) = world.running()
    fail(world)
    world.settle()
    (second,) = world.wanted()
    assert (second.desired_state, second.state, second.restarts) == (TaskState.READY, TaskState.READY, 1)
    assert world.now.tasks[first.id].desired_state is TaskState.SHUTDOWN
    world.wait(4.5)
    assert world.running() == []
    world.wait(0.5)
    assert [task.id for task in world.running()] == [second.id]


def test_without_delay_the_next_task_starts_at_once(world, make_web, at_once) -> None:
    world.create(make_web(restart_policy=at_once))
    world.settle()
    fail(world)
    world.settle()
    assert len(world.running()) == 1


@pytest.mark.parametrize(
    ("condition", "end", "again"),
    [
        ("any", TaskState.COMPLETE, True),
        ("any", TaskState.FAILED, True),
        ("", TaskState.COMPLETE, True),
        ("on-failure", TaskState.COMPLETE, False),
        ("on-failure", TaskState.FAILED, True),
        ("on-failure", TaskState.REJECTED, True),
        ("none", TaskState.FAILED, False),
        ("none", TaskState.COMPLETE, False),
    ],
)
def test_the_condition_decides_whether_there_is_a_next_task(world, make_web, condition: str, end: TaskState, again: bool) -> None:
    world.create(make_web(restart_policy=RestartPolicy(condition=condition, delay=0)))
    world.settle()
    fail(world, end)
    world.settle()
    world.wait(31)
    assert len(world.running()) == again
    assert len(world.tasks()) == 1 + again


def test_a_slot_that_ended_as_it_may_counts_as_a_replica(world, make_web) -> None:
    policy = RestartPolicy(condition="on-failure", delay=0)
    world.create(make_web(replicas=2, restart_policy=policy))
    world.settle()
    world.report(world.running()[0].id, TaskState.COMPLETE)
    world.settle()
    assert len(world.running()) == 1
    world.scale(3)
    world.settle()
    assert [task.slot for task in world.running()] == [2, 3]


def test_a_changed_template_gives_an_ended_slot_its_next_task(world, make_web) -> None:
    policy = RestartPolicy(condition="none")
    world.create(make_web("a", restart_policy=policy))
    world.settle()
    fail(world)
    world.settle()
    world.update(make_web("b", restart_policy=policy))
    world.settle()
    assert world.images() == ["b"]


def test_attempts_are_counted_and_then_it_stays_ended(world, make_web) -> None:
    world.create(make_web(restart_policy=RestartPolicy(delay=0, max_attempts=2)))
    for _ in range(5):
        world.settle()
        fail(world)
    world.settle()
    assert len(world.tasks()) == 3
    assert world.wanted() == []


def test_attempts_within_a_window_start_over_when_it_has_passed(world, make_web) -> None:
    world.create(make_web(restart_policy=RestartPolicy(delay=0, max_attempts=1, window=10 * SECOND)))
    world.settle()
    fail(world)
    world.settle()
    assert len(world.running()) == 1
    world.wait(11)
    fail(world)
    world.settle()
    assert len(world.running()) == 1
    fail(world)
    world.settle()
    assert world.running() == []


def test_a_lost_node_is_no_failure_and_waits_for_no_delay(world, make_web) -> None:
    world.create(make_web(restart_policy=RestartPolicy(condition="none", delay=60 * SECOND)))
    world.settle()
    (task,) = world.running()
    world.change_node(task.node_id, state=NodeState.DOWN)
    world.settle()
    assert len(world.running()) == 1


def test_of_each_slot_as_many_tasks_are_kept_as_the_cluster_says(make_world, make_web, at_once) -> None:
    world = make_world(history=3)
    world.create(make_web(replicas=2, restart_policy=at_once), extensions=Extensions(restart_backoff=0))
    for _ in range(6):
        world.settle()
        fail(world)
        world.time += 1
    world.settle()
    assert len(world.tasks()) == 6
    assert len(world.running()) == 2


def test_the_task_that_ended_a_slot_outlives_the_history_limit(make_world, make_web) -> None:
    world = make_world(history=0)
    world.create(make_web(restart_policy=RestartPolicy(condition="on-failure", delay=0)))
    world.settle()
    fail(world, TaskState.FAILED)
    world.settle()
    fail(world, TaskState.COMPLETE)
    world.settle()
    world.wait(60, step=30)
    assert [task.state for task in world.tasks()] == [TaskState.COMPLETE]


def test_a_task_that_cannot_be_made_ready_is_not_replaced_before_its_delay_is_over(world, make_web) -> None:
    world.script = lambda task: TaskState.REJECTED if task.state < TaskState.READY else None
    world.create(make_web())
    world.settle()
    assert len(world.tasks()) == 2, "the second was made ready ahead of its start, and rejected too"
    world.wait(4.5)
    assert len(world.tasks()) == 2
    world.wait(0.5)
    assert len(world.tasks()) == 3


def test_what_is_rejected_every_time_is_tried_ever_more_slowly(world, make_web, at_once) -> None:
    world.script = lambda task: TaskState.REJECTED if task.state < TaskState.READY else None
    for service_id, policy in (("s1", None), ("s2", at_once)):
        world.create(make_web(name=service_id, restart_policy=policy), service_id)
    tries = dict.fromkeys(("s1", "s2"), 0)
    for _ in range(600):
        world.wait(0.5)
        tries |= {service_id: max(task.restarts for task in world.tasks(service_id)) for service_id in tries}
    assert 6 < tries["s1"] < 12, "in five minutes, with delays of 5 s on each of three nodes, then of 10, 20, 40 ..."
    assert tries["s2"] < 20, "no delay was asked for, and yet it does not spin"


def test_a_rejected_task_that_a_good_image_follows_starts_without_the_long_delay(world, make_web) -> None:
    world.script = lambda task: TaskState.REJECTED if task.state < TaskState.READY else None
    world.create(make_web())
    world.wait(100)
    del world.script
    world.script = type(world)().script
    world.update(make_web("b"))
    world.wait(6)
    assert world.images() == ["b"]
