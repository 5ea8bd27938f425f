"""Rolling updates: so many at a time, in the order asked for, stopped or turned round when the new template fails."""

import pytest
from msgspec.structs import replace

from cluster.api.objects import UpdateStatus
from cluster.api.specs import SECOND, EndpointSpec, PortConfig, RestartPolicy, ServiceSpec, UpdateConfig
from cluster.api.states import NodeState, TaskState, UpdateState
from manager.orchestrator.soft import Soft
from manager.why import short_of_room

QUICK = UpdateConfig(parallelism=1, monitor=0)


def live(world) -> int:
    """Containers that run or may run."""
    return sum(TaskState.STARTING <= task.state <= TaskState.RUNNING for task in world.tasks())


def step(world) -> None:
    """One turn of everybody, unlike `settle`."""
    world.orchestrate()
    world.equip()
    world.place()
    world.work()


def test_an_update_replaces_every_task_and_says_so(world, make_web) -> None:
    world.create(make_web("a", replicas=4, update_config=QUICK))
    world.settle()
    world.update(make_web("b", replicas=4, update_config=QUICK))
    world.orchestrate()
    assert world.status() == ("updating", "update in progress")
    world.settle()
    assert world.images() == ["b"] * 4
    assert world.status() == ("completed", "update completed")
    status = world.now.services["s1"].update_status
    assert 0 < status.started_at <= status.completed_at


def test_creating_and_scaling_are_no_updates(world, make_web) -> None:
    world.create(make_web(replicas=2))
    world.settle()
    world.scale(4)
    world.settle()
    assert world.status() == ("", "")


def test_labels_and_update_rules_restart_nothing(world, make_web) -> None:
    world.create(make_web(replicas=2))
    world.settle()
    before = {task.id for task in world.running()}
    world.update(make_web(replicas=2, labels={"a": "b"}, update_config=QUICK))
    world.settle()
    assert {task.id for task in world.running()} == before
    assert world.status() == ("", "")


def test_force_restarts_though_nothing_else_changed(world, make_web) -> None:
    world.create(make_web(replicas=2, update_config=QUICK))
    world.settle()
    before = {task.id for task in world.running()}
    world.update(make_web(replicas=2, update_config=QUICK, force_update=1))
    world.settle()
    assert not before & {task.id for task in world.running()}


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_stop_first_never_takes_more_than_so_many_down(world, make_web, parallelism: int) -> None:
    config = UpdateConfig(parallelism=parallelism, monitor=0)
    world.create(make_web("a", replicas=6, update_config=config))
    world.settle()
    world.update(make_web("b", replicas=6, update_config=config))
    fewest = 6
    for _ in range(100):
        step(world)
        fewest = min(fewest, len([task for task in world.tasks() if task.state is TaskState.RUNNING]))
        assert live(world) <= 6
    assert fewest == 6 - parallelism
    assert world.images() == ["b"] * 6


def test_start_first_never_falls_below_the_replicas(world, make_web) -> None:
    config = UpdateConfig(parallelism=2, order="start-first", monitor=0)
    world.create(make_web("a", replicas=4, update_config=config))
    world.settle()
    world.update(make_web("b", replicas=4, update_config=config))
    for _ in range(100):
        step(world)
        assert len([task for task in world.tasks() if task.state is TaskState.RUNNING]) >= 4
        assert len(world.wanted()) <= 4 + 2
    assert world.images() == ["b"] * 4


def test_parallelism_zero_updates_all_at_once(world, make_web) -> None:
    config = UpdateConfig(parallelism=0, monitor=0)
    world.create(make_web("a", replicas=5, update_config=config))
    world.settle()
    world.update(make_web("b", replicas=5, update_config=config))
    world.orchestrate()
    assert sorted(world.image(task) for task in world.wanted()) == ["b"] * 5


def test_the_delay_passes_between_one_slot_and_the_next(world, make_web) -> None:
    config = UpdateConfig(parallelism=1, delay=10 * SECOND, monitor=0)
    world.create(make_web("a", replicas=3, update_config=config))
    world.settle()
    world.update(make_web("b", replicas=3, update_config=config))
    world.settle()
    assert world.images() == ["a", "a", "b"]
    world.wait(9)
    assert world.images() == ["a", "a", "b"]
    world.wait(1.5)
    assert world.images() == ["a", "b", "b"]
    world.wait(25)
    assert world.images() == ["b", "b", "b"]
    assert world.status()[0] == "completed"


def test_an_update_is_complete_only_when_the_last_task_was_monitored(world, make_web) -> None:
    config = UpdateConfig(parallelism=0, monitor=5 * SECOND)
    world.create(make_web("a", replicas=2, update_config=config))
    world.settle()
    world.update(make_web("b", replicas=2, update_config=config))
    world.wait(4)
    assert world.status()[0] == "updating"
    world.wait(2)
    assert world.status()[0] == "completed"


def breaks(world, image: str):
    """Tasks of that image fail as soon as they run."""

    def script(task):
        if task.desired_state > TaskState.COMPLETE:
            return TaskState.SHUTDOWN
        if world.image(task) == image and task.state is TaskState.RUNNING:
            return TaskState.FAILED
        return TaskState.READY if task.desired_state is TaskState.READY else TaskState.RUNNING

    return script


def broken_update(world, make_web, config: UpdateConfig, **fields) -> None:
    policy = RestartPolicy(delay=60 * SECOND)
    world.create(make_web("good", replicas=4, update_config=config, restart_policy=policy, **fields))
    world.settle()
    world.script = breaks(world, "bad")
    world.update(make_web("bad", replicas=4, update_config=config, restart_policy=policy, **fields))
    world.settle()


def test_a_failing_update_pauses_and_leaves_the_rest_alone(world, make_web) -> None:
    broken_update(world, make_web, UpdateConfig(parallelism=1, delay=SECOND, monitor=5 * SECOND))
    state, message = world.status()
    assert state == "paused"
    assert message.startswith("update paused due to failure or early termination of task t")
    world.wait(30)
    assert world.images() == ["good"] * 3


def test_a_paused_update_goes_on_when_the_service_is_updated_again(world, make_web) -> None:
    broken_update(world, make_web, UpdateConfig(parallelism=1, delay=SECOND, monitor=5 * SECOND))
    world.update(make_web("fixed", replicas=4, update_config=QUICK))
    world.wait(10)
    assert world.images() == ["fixed"] * 4
    assert world.status()[0] == "completed"


def test_a_failing_update_continues_when_told_to(world, make_web) -> None:
    broken_update(world, make_web, UpdateConfig(parallelism=1, monitor=SECOND, failure_action="continue"))
    world.wait(10)
    assert world.status()[0] == "completed"
    assert {world.image(task) for task in world.wanted()} == {"bad"}


def test_a_failing_update_rolls_back_to_what_ran_before(world, make_web) -> None:
    config = UpdateConfig(parallelism=1, delay=SECOND, monitor=5 * SECOND, failure_action="rollback")
    broken_update(world, make_web, config, rollback_config=UpdateConfig(parallelism=0, monitor=SECOND))
    assert world.status()[0] == "rollback_started"
    assert world.status()[1].startswith("update rolled back due to failure or early termination of task t")
    world.wait(10)
    assert world.images() == ["good"] * 4
    assert world.status() == ("rollback_completed", "rollback completed")
    assert world.now.services["s1"].spec.task_template.container_spec.image == "good"


def test_a_rollback_touches_only_what_was_updated(world, make_web) -> None:
    config = UpdateConfig(parallelism=1, delay=SECOND, monitor=5 * SECOND, failure_action="rollback")
    world.create(make_web("good", replicas=4, update_config=config))
    world.settle()
    before = {task.id for task in world.running()}
    world.script = breaks(world, "bad")
    world.update(make_web("bad", replicas=4, update_config=config))
    world.wait(20)
    assert len(before & {task.id for task in world.running()}) == 3


def test_a_rollback_that_fails_too_is_paused(world, make_web) -> None:
    config = UpdateConfig(parallelism=1, delay=SECOND, monitor=5 * SECOND, failure_action="rollback")
    world.create(make_web("good", replicas=2, update_config=config))
    world.settle()
    world.script = breaks(world, "bad")
    world.update(make_web("bad", replicas=2, update_config=config))
    world.settle()
    world.script = breaks(world, "good")
    world.wait(20)
    state, message = world.status()
    assert state == "rollback_paused"
    assert message.startswith("rollback paused due to failure or early termination of task t")


def test_failures_up_to_the_ratio_are_borne(world, make_web) -> None:
    config = UpdateConfig(parallelism=1, monitor=SECOND, max_failure_ratio=0.5)
    world.create(make_web("a", replicas=4, update_config=config))
    world.settle()
    world.script = lambda task: (
        TaskState.SHUTDOWN
        if task.desired_state > TaskState.COMPLETE
        else TaskState.FAILED
        if task.slot == 2 and task.state is TaskState.RUNNING and world.image(task) == "b"
        else TaskState.READY
        if task.desired_state is TaskState.READY
        else TaskState.RUNNING
    )
    world.update(make_web("b", replicas=4, update_config=config))
    world.wait(10)
    assert world.status()[0] == "completed"


def test_a_manual_rollback_uses_its_own_rules_and_words(world, make_web) -> None:
    world.create(make_web("a", replicas=3, update_config=QUICK))
    world.settle()
    world.update(make_web("b", replicas=3, update_config=QUICK))
    world.settle()
    requested = UpdateStatus(state=UpdateState.ROLLBACK_STARTED, message="manually requested rollback")
    world.update(make_web("a", replicas=3, rollback_config=UpdateConfig(parallelism=0, monitor=0)), update_status=requested)
    world.orchestrate()
    assert sorted(world.image(task) for task in world.wanted()) == ["a"] * 3
    world.settle()
    assert world.status() == ("rollback_completed", "rollback completed")


def test_an_update_interrupted_by_another_ends_at_the_last(world, make_web) -> None:
    for order in ("stop-first", "start-first"):
        config = UpdateConfig(parallelism=1, delay=SECOND, monitor=0, order=order)
        service_id = f"s-{order}"
        world.create(make_web("a", replicas=4, update_config=config, name=order), service_id)
        world.settle()
        world.update(make_web("b", replicas=4, update_config=config, name=order), service_id)
        world.wait(1.5)
        world.update(make_web("c", replicas=4, update_config=config, name=order), service_id)
        world.wait(20)
        assert world.images(service_id) == ["c"] * 4
        assert world.now.services[service_id].update_status.state is UpdateState.COMPLETED


def test_an_update_goes_on_under_a_new_leader(world, make_web) -> None:
    config = UpdateConfig(parallelism=1, delay=2 * SECOND, monitor=0)
    world.create(make_web("a", replicas=3, update_config=config))
    world.settle()
    world.update(make_web("b", replicas=3, update_config=config))
    world.wait(1)
    world.soft = Soft(since=world.time)
    world._alarms = []
    world.orchestrate()
    world.do(*world.want().changes)
    assert world.images() == ["a", "a", "b"]
    world._alarms = world.want().alarms
    world.wait(10)
    assert world.images() == ["b"] * 3
    assert world.status()[0] == "completed"


def test_an_update_goes_on_when_the_node_of_a_new_task_is_lost(world, make_web) -> None:
    config = UpdateConfig(parallelism=1, delay=SECOND, monitor=0)
    world.create(make_web("a", replicas=4, update_config=config))
    world.settle()
    world.update(make_web("b", replicas=4, update_config=config))
    world.settle()
    (new,) = [task for task in world.running() if world.image(task) == "b"]
    world.change_node(new.node_id, state=NodeState.DOWN)
    world.wait(20)
    assert world.images() == ["b"] * 4
    assert world.status()[0] == "completed"


def test_scaling_while_updating_ends_with_that_many_new_ones(world, make_web) -> None:
    config = UpdateConfig(parallelism=1, delay=SECOND, monitor=0)
    world.create(make_web("a", replicas=3, update_config=config))
    world.settle()
    world.update(make_web("b", replicas=3, update_config=config))
    world.wait(1.5)
    status = world.now.services["s1"].update_status
    world.update(replace(make_web("b", replicas=5, update_config=config)), update_status=status)
    world.wait(20)
    assert world.images() == ["b"] * 5


def test_new_constraints_move_tasks_no_faster_than_the_update_may(world, make_web, only) -> None:
    world.change_node("n1", disk="ssd")
    config = UpdateConfig(parallelism=1, delay=SECOND, monitor=0)
    world.create(make_web("a", replicas=6, update_config=config))
    world.settle()
    world.update(make_web("a", replicas=6, update_config=config, placement=only("node.labels.disk==ssd")))
    world.orchestrate()
    assert len(world.running()) == 5
    world.wait(20)
    assert [task.node_id for task in world.running()] == ["n1"] * 6


def test_defaults_that_a_client_spells_out_restart_nothing(world, make_web) -> None:
    """docker-py asks for a spec with its defaults and posts them back when it scales."""
    world.create(make_web("a"))
    world.settle()
    before = world.running()
    spelled = RestartPolicy(condition="any", delay=5 * SECOND, max_attempts=0)
    world.update(make_web("a", replicas=2, restart_policy=spelled))
    world.settle()
    world.wait(20)
    assert [task.id for task in world.running()][:1] == [task.id for task in before]
    assert len(world.running()) == 2
    world.update(make_web("a", replicas=2, restart_policy=RestartPolicy(delay=SECOND)))
    world.wait(20)
    assert before[0].id not in {task.id for task in world.running()}, "what means something else is another template"


def test_start_first_waits_where_only_the_old_task_has_room_and_goes_on_when_that_may_go_first(world, make_web) -> None:
    def spec(image: str, order: str) -> ServiceSpec:
        ports = EndpointSpec(ports=(PortConfig(protocol="tcp", target_port=80, published_port=80, publish_mode="host"),))
        return make_web(image, replicas=3, endpoint_spec=ports, update_config=UpdateConfig(parallelism=1, order=order, monitor=0))

    world.create(spec("a", "start-first"))
    world.settle()
    world.update(spec("b", "start-first"))
    world.wait(60)
    assert sorted(world.image(task) for task in world.tasks() if task.state is TaskState.RUNNING) == ["a"] * 3
    assert short_of_room(world.now, world.now.services["s1"]) == (
        "1 new task has no room beside the old, which start-first keeps until the new one serves (host port: 80/tcp on n1 is in use by "
        "service web); make room on another node, or let the old go first: service update --update-order stop-first web"
    )
    world.update(spec("b", "stop-first"))
    for _ in range(60):
        step(world)
        assert len([task for task in world.tasks() if task.state is TaskState.RUNNING]) >= 2
    assert world.images() == ["b"] * 3
    assert short_of_room(world.now, world.now.services["s1"]) == ""
