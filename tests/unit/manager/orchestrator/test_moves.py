"""Rebalancing and drains that start replacements first: the successor serves before its predecessor stops."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cluster.api.changes import Put
from cluster.api.objects import Rebalance
from cluster.api.specs import Extensions
from cluster.api.states import Availability, NodeState, TaskState

ORDER = {"io.shoal.drain-order": "start-first"}


def rebalance(world, at_once: int = 1, left: int = 50) -> None:
    service = world.now.services["s1"]
    world.do(Put(object=replace(service, rebalance=Rebalance(at_once=at_once, left=left)), base=service.version))


def places(world) -> dict[str, int]:
    return dict(Counter(task.node_id for task in world.running()))


def watched(world) -> list[tuple[int, int]]:
    """From now on: how many tasks run, and how many are wanted, after each step."""
    seen = []
    act = world.do

    def do(*changes) -> None:
        act(*changes)
        seen.append((len(world.running()), len(world.wanted())))

    world.do = do
    return seen


def test_tasks_move_to_a_node_that_joined_and_none_is_missing_meanwhile(make_world, make_web) -> None:
    world = make_world(nodes=1)
    world.create(make_web(replicas=6))
    world.settle()
    world.add_node("n2")
    world.add_node("n3")
    world.settle()
    assert places(world) == {"n1": 6}
    seen = watched(world)
    rebalance(world, at_once=2)
    world.settle()
    assert places(world) == {"n1": 2, "n2": 2, "n3": 2}
    assert min(running for running, _ in seen) == 6
    assert max(wanted for _, wanted in seen) <= 8
    assert world.now.services["s1"].rebalance is None


def test_what_is_even_already_is_left_alone(world, make_web) -> None:
    world.create(make_web(replicas=4))
    world.settle()
    before = [task.id for task in world.running()]
    rebalance(world)
    world.settle()
    assert [task.id for task in world.running()] == before
    assert world.now.services["s1"].rebalance is None


def test_a_service_that_asks_for_it_is_rebalanced_when_a_node_joins(make_world, make_web) -> None:
    world = make_world(nodes=1)
    world.create(make_web(replicas=4), extensions=Extensions(rebalance=1))
    world.create(make_web(name="other", replicas=4), "s2")
    world.settle()
    world.add_node("n2")
    world.soft.note_joined(world.now)
    world.settle()
    assert places(world) == {"n1": 2, "n2": 2}
    assert {task.node_id for task in world.running("s2")} == {"n1"}


def test_the_cluster_may_ask_for_it_for_all_services_that_say_nothing(make_world, make_web) -> None:
    world = make_world(nodes=1)
    cluster = world.now.cluster
    world.do(Put(object=replace(cluster, spec=replace(cluster.spec, labels={"io.shoal.rebalance": "2"})), base=cluster.version))
    world.create(make_web(replicas=4))
    world.settle()
    world.add_node("n2")
    world.soft.note_joined(world.now)
    world.settle()
    assert places(world) == {"n1": 2, "n2": 2}


def test_a_rebalancing_that_no_node_has_room_for_gives_up(make_world, make_web, only) -> None:
    world = make_world(nodes=1)
    world.create(make_web(replicas=4))
    world.settle()
    world.add_node("n2")
    node = world.now.nodes["n2"]
    rebalance(world)
    world.orchestrate()
    world.do(Put(object=replace(node, status=replace(node.status, state=NodeState.DOWN)), base=node.version))
    world.settle()
    assert places(world) == {"n1": 4}
    assert len(world.wanted()) == 4
    assert world.now.services["s1"].rebalance is None


def test_an_update_comes_before_a_rebalancing(make_world, make_web) -> None:
    world = make_world(nodes=1)
    world.create(make_web("a", replicas=4))
    world.settle()
    world.add_node("n2")
    world.update(make_web("b", replicas=4), rebalance=Rebalance(at_once=1, left=4))
    world.settle()
    world.wait(60)
    assert world.images() == ["b"] * 4
    assert places(world) == {"n1": 2, "n2": 2}


def test_a_drain_may_start_the_replacements_first(world, make_web) -> None:
    world.create(make_web(replicas=6))
    world.settle()
    seen = watched(world)
    world.change_node("n1", availability=Availability.DRAIN, **ORDER)
    world.settle()
    assert places(world) == {"n2": 3, "n3": 3}
    assert min(running for running, _ in seen) == 6


def test_a_drain_keeps_what_has_nowhere_to_go(make_world, make_web, only) -> None:
    world = make_world(nodes=2)
    world.create(make_web(placement=only("node.hostname==n1")))
    world.settle()
    world.change_node("n1", availability=Availability.DRAIN, **ORDER)
    world.settle()
    assert places(world) == {"n1": 1}
    assert sorted((task.state for task in world.wanted()), reverse=True) == [TaskState.RUNNING, TaskState.PENDING]


def test_replacements_that_fail_are_tried_again_later_while_the_old_task_stays(world, make_web, at_once) -> None:
    world.create(make_web(restart_policy=at_once))
    world.settle()
    (old,) = world.running()
    world.script = lambda task: None if task.id == old.id else TaskState.FAILED
    world.change_node(old.node_id, availability=Availability.DRAIN, **ORDER)
    world.wait(20)
    assert [task.id for task in world.running()] == [old.id]
    assert len([task for task in world.tasks() if task.state is TaskState.FAILED]) < 8


def test_a_node_that_dies_while_it_is_drained_is_not_waited_for(world, make_web) -> None:
    world.create(make_web(replicas=3))
    world.settle()
    world.change_node("n1", availability=Availability.DRAIN, **ORDER)
    world.orchestrate()
    world.change_node("n1", state=NodeState.DOWN)
    world.settle()
    assert set(places(world)) == {"n2", "n3"}
    assert len(world.running()) == 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 9), st.integers(1, 4), st.data())
def test_rebalancing_ends_even_and_is_never_below_what_is_desired(make_world, make_web, replicas, nodes, data) -> None:
    world = make_world(nodes=1)
    world.create(make_web(replicas=replicas))
    world.settle()
    for number in range(nodes):
        world.add_node(f"x{number}")
    if data.draw(st.booleans()):
        world.change_node("x0", availability=Availability.PAUSE)
    at_once = data.draw(st.integers(1, 3))
    seen = watched(world)
    rebalance(world, at_once, left=replicas)
    world.settle()
    counts = [places(world).get(node.id, 0) for node in world.now.nodes.values() if node.spec.availability is Availability.ACTIVE]
    assert max(counts) - min(counts) <= 1
    assert min(running for running, _ in seen) == replicas
    assert max(wanted for _, wanted in seen) <= replicas + at_once
    assert world.now.services["s1"].rebalance is None
