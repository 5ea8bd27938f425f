"""Replicated services: as many as asked for, replaced when lost, gone when removed."""

from collections import Counter

import pytest
from msgspec.structs import replace

from cluster.api.changes import Put
from cluster.api.states import Availability, NodeState, TaskState


def test_a_service_gets_its_replicas_running_spread_over_the_nodes(world, make_web) -> None:
    world.create(make_web(replicas=6))
    world.settle()
    assert [task.slot for task in world.running()] == [1, 2, 3, 4, 5, 6]
    assert Counter(task.node_id for task in world.running()) == {"n1": 2, "n2": 2, "n3": 2}


def test_nothing_is_left_to_do_once_it_is_done(world, make_web) -> None:
    world.create(make_web(replicas=4))
    world.settle()
    assert world.want().changes == []


def test_scaling_up_keeps_what_runs(world, make_web) -> None:
    world.create(make_web(replicas=2))
    world.settle()
    before = {task.id for task in world.running()}
    world.scale(5)
    world.settle()
    assert len(world.running()) == 5
    assert before < {task.id for task in world.running()}


def test_scaling_down_takes_what_does_not_run_first(world, make_web) -> None:
    world.script = lambda task: None if task.slot in (2, 3) and task.desired_state <= TaskState.RUNNING else TaskState.RUNNING
    world.create(make_web(replicas=4))
    world.settle()
    world.scale(2)
    world.orchestrate()
    assert [task.slot for task in world.wanted()] == [1, 4]


def test_scaling_down_takes_from_the_fullest_node_so_the_spread_stays(world, make_web) -> None:
    world.create(make_web(replicas=9))
    world.settle()
    world.scale(4)
    world.settle()
    assert sorted(Counter(task.node_id for task in world.running()).values()) == [1, 1, 2]


def test_scaling_down_leaves_no_history_of_the_slots_that_went(world, make_web) -> None:
    world.create(make_web(replicas=3))
    world.settle()
    world.scale(1)
    world.settle()
    assert {task.slot for task in world.tasks()} == {task.slot for task in world.wanted()}


def test_tasks_of_a_lost_node_are_replaced_at_once(world, make_web) -> None:
    world.create(make_web(replicas=3))
    world.settle()
    lost = [task for task in world.running() if task.node_id == "n1"]
    world.change_node("n1", state=NodeState.DOWN)
    world.settle()  # no time passes: a lost node is no failure
    assert len(world.running()) == 3
    assert all(task.node_id != "n1" and task.restarts == 0 for task in world.running())
    assert world.now.tasks[lost[0].id].desired_state is TaskState.SHUTDOWN


def test_a_node_that_comes_back_keeps_what_runs_elsewhere(world, make_web) -> None:
    world.create(make_web(replicas=3))
    world.settle()
    world.change_node("n1", state=NodeState.DOWN)
    world.settle()
    running = {task.id for task in world.running()}
    world.change_node("n1", state=NodeState.READY)
    world.settle()
    assert {task.id for task in world.running()} == running
    assert all(task.state.ended for task in world.now.tasks_on("n1").values())


def test_a_drained_node_is_left_and_its_tasks_stop_before_their_successors_start(world, make_web) -> None:
    world.create(make_web(replicas=3))
    world.settle()
    world.change_node("n2", availability=Availability.DRAIN)
    world.orchestrate()
    leaving = next(task for task in world.tasks() if task.node_id == "n2")
    successor = next(task for task in world.wanted() if task.slot == leaving.slot)
    assert (leaving.desired_state, successor.desired_state) == (TaskState.SHUTDOWN, TaskState.READY)
    world.settle()
    assert {task.node_id for task in world.running()} == {"n1", "n3"}
    assert len(world.running()) == 3


def test_a_paused_node_keeps_its_tasks_and_gets_no_more(world, make_web) -> None:
    world.create(make_web(replicas=3))
    world.settle()
    world.change_node("n1", availability=Availability.PAUSE)
    world.scale(9)
    world.settle()
    assert Counter(task.node_id for task in world.running()) == {"n1": 1, "n2": 4, "n3": 4}


def test_tasks_leave_a_node_that_no_longer_meets_the_constraints(make_world, make_web, only) -> None:
    world = make_world(nodes=0)
    world.add_node("n1", disk="ssd")
    world.add_node("n2", disk="ssd")
    world.create(make_web(replicas=2, placement=only("node.labels.disk==ssd")))
    world.settle()
    world.change_node("n1", disk="hdd")
    world.settle()
    assert [task.node_id for task in world.running()] == ["n2", "n2"]


def test_tasks_of_a_node_that_was_removed_are_orphaned_and_replaced(world, make_web) -> None:
    world.create(make_web(replicas=3))
    world.settle()
    world.remove_node("n3")
    world.settle()
    assert len(world.running()) == 3
    assert [task.state for task in world.tasks() if task.node_id == "n3"] == [TaskState.ORPHANED]


def test_removing_a_service_stops_and_forgets_its_tasks(world, make_web) -> None:
    world.create(make_web(replicas=3))
    world.settle()
    world.remove()
    world.orchestrate()
    assert {task.desired_state for task in world.tasks()} == {TaskState.REMOVE}
    world.settle()
    assert world.tasks() == []
    assert not world.now.templates


def test_removing_a_service_that_was_never_placed_forgets_it_too(make_world, make_web) -> None:
    world = make_world(nodes=0)
    world.create(make_web(replicas=3))
    world.settle()
    assert {task.state for task in world.tasks()} == {TaskState.PENDING}
    world.remove()
    world.settle()
    assert world.tasks() == []


def test_a_large_change_is_made_in_rounds(world, make_web) -> None:
    world.create(make_web(replicas=50))
    wanted = world.want(limit=10)
    assert len(wanted.changes) <= 12
    assert wanted.again == ["s1"]
    world.orchestrate(limit=10)
    assert len(world.wanted()) == 50


def test_a_second_task_that_is_wanted_in_one_slot_is_stopped(world, make_web) -> None:
    world.create(make_web(replicas=1))
    world.settle()
    twin = world.running()[0]
    world.do(Put(object=replace(twin, id="twin", version=0)))
    world.settle()
    assert len(world.wanted()) == 1


@pytest.mark.parametrize("slots_first", [True, False])
def test_a_slot_and_its_service_in_one_round_change_a_task_once(world, make_web, slots_first: bool) -> None:
    """Twice would be refused as a whole, and asked for again in the same order for as long as the leader leads."""
    world.create(make_web(replicas=2))
    world.settle()
    world.remove()
    world.orchestrate()
    for task in world.tasks():
        assert task.desired_state is TaskState.REMOVE
        world.report(task.id, TaskState.SHUTDOWN)
    slots = [("s1", number, "") for number in (1, 2)]
    world.do(*world.want([*slots, "s1"] if slots_first else ["s1", *slots]).changes)
    assert world.tasks() == []
