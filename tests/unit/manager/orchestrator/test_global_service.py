"""Global services: a task on every node that takes one, and on no other."""

from cluster.api.specs import GlobalMode, ServiceMode, UpdateConfig
from cluster.api.states import Availability, NodeState, TaskState

GLOBAL = ServiceMode(global_=GlobalMode())


def places(world) -> list[str]:
    return sorted(task.node_id for task in world.running())


def test_every_ready_node_gets_a_task(world, make_web) -> None:
    world.create(make_web(mode=GLOBAL))
    world.settle()
    assert places(world) == ["n1", "n2", "n3"]
    assert {task.slot for task in world.running()} == {0}
    assert world.want().changes == []


def test_a_node_that_joins_gets_a_task(world, make_web) -> None:
    world.create(make_web(mode=GLOBAL))
    world.settle()
    world.add_node("n4")
    world.settle()
    assert places(world) == ["n1", "n2", "n3", "n4"]


def test_constraints_choose_the_nodes_also_when_labels_change(world, make_web, only) -> None:
    world.create(make_web(mode=GLOBAL, placement=only("node.labels.disk==ssd")))
    world.settle()
    assert places(world) == []
    world.change_node("n2", disk="ssd")
    world.settle()
    assert places(world) == ["n2"]
    world.change_node("n2", disk="hdd")
    world.settle()
    assert places(world) == []
    assert [task.state for task in world.tasks()] == [TaskState.SHUTDOWN]


def test_a_drained_node_gives_its_task_up_and_gets_another_when_active_again(world, make_web) -> None:
    world.create(make_web(mode=GLOBAL))
    world.settle()
    world.change_node("n1", availability=Availability.DRAIN)
    world.settle()
    assert places(world) == ["n2", "n3"]
    world.change_node("n1", availability=Availability.ACTIVE)
    world.settle()
    assert places(world) == ["n1", "n2", "n3"]


def test_a_node_that_was_down_keeps_its_task(world, make_web) -> None:
    world.create(make_web(mode=GLOBAL))
    world.settle()
    before = {task.id for task in world.running()}
    world.change_node("n1", state=NodeState.DOWN)
    world.settle()
    world.change_node("n1", state=NodeState.READY)
    world.settle()
    assert {task.id for task in world.running()} == before
    assert len(world.tasks()) == 3


def test_a_node_that_was_down_during_an_update_gets_the_new_task_when_it_is_back(world, make_web) -> None:
    quick = UpdateConfig(parallelism=1, monitor=0)
    world.create(make_web("a", mode=GLOBAL, update_config=quick))
    world.settle()
    world.change_node("n1", state=NodeState.DOWN)
    world.update(make_web("b", mode=GLOBAL, update_config=quick))
    world.settle()
    assert world.status()[0] == "completed"
    world.change_node("n1", state=NodeState.READY)
    world.settle()
    assert world.images() == ["b", "b", "b"]
    assert places(world) == ["n1", "n2", "n3"]


def test_tasks_of_a_removed_node_are_forgotten(world, make_web) -> None:
    world.create(make_web(mode=GLOBAL))
    world.settle()
    world.remove_node("n3")
    world.settle()
    assert places(world) == ["n1", "n2"]
    assert {task.node_id for task in world.tasks()} == {"n1", "n2"}


def test_a_failed_task_is_followed_on_its_own_node(world, make_web, at_once) -> None:
    world.create(make_web(mode=GLOBAL, restart_policy=at_once))
    world.settle()
    failed = next(task for task in world.running() if task.node_id == "n2")
    world.report(failed.id, TaskState.FAILED)
    world.settle()
    assert places(world) == ["n1", "n2", "n3"]
    assert len(world.tasks()) == 4


def test_a_global_update_goes_node_by_node(world, make_web) -> None:
    quick = UpdateConfig(parallelism=1, monitor=0)
    world.create(make_web("a", mode=GLOBAL, update_config=quick))
    world.settle()
    world.update(make_web("b", mode=GLOBAL, update_config=quick))
    world.orchestrate()
    assert sorted(world.image(task) for task in world.wanted()) == ["a", "a", "b"]
    world.settle()
    assert world.images() == ["b", "b", "b"]
    assert world.status()[0] == "completed"


def test_a_node_that_new_constraints_leave_out_gives_its_task_up(world, make_web, only) -> None:
    quick = UpdateConfig(parallelism=1, monitor=0)
    world.create(make_web("a", mode=GLOBAL, update_config=quick))
    world.settle()
    world.update(make_web("b", mode=GLOBAL, update_config=quick, placement=only("node.id!=n2")))
    world.settle()
    assert places(world) == ["n1", "n3"]
    assert world.images() == ["b", "b"]
    assert world.status()[0] == "completed"
