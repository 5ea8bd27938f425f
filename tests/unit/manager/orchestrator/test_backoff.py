"""A crash loop is tried ever more slowly, a task that ran for a while is not in one."""

from cluster.api.specs import SECOND, Extensions, RestartPolicy
from cluster.api.states import TaskState
from manager.orchestrator.restart import backoff_of
from manager.why import held_back


def crash(world, times: int) -> list[float]:
    """Each failure's distance to the next start, in seconds."""
    pauses = []
    for _ in range(times):
        (task,) = world.running()
        world.report(task.id, TaskState.FAILED)
        begun = world.time
        world.settle()
        while not world.running():
            world.wait(0.5)
        pauses.append(world.time - begun)
    return pauses


def test_from_the_third_quick_failure_on_the_pause_doubles_up_to_the_cap(world, make_web) -> None:
    extensions = Extensions(restart_backoff=30 * SECOND)
    world.create(make_web(restart_policy=RestartPolicy(delay=2 * SECOND)), extensions=extensions)
    world.settle()
    assert crash(world, 7) == [2, 2, 4, 8, 16, 30, 30]


def test_a_task_that_ran_for_a_while_starts_the_count_anew(world, make_web) -> None:
    world.create(make_web(restart_policy=RestartPolicy(delay=1 * SECOND)))
    world.settle()
    assert crash(world, 3) == [1, 1, 2]
    world.wait(11)
    assert crash(world, 1) == [1]


def test_without_delay_there_is_a_pause_all_the_same(world, make_web, at_once) -> None:
    world.create(make_web(restart_policy=at_once))
    world.settle()
    assert crash(world, 4) == [0, 0, 2, 4]


def test_it_can_be_turned_off(world, make_web, at_once) -> None:
    world.create(make_web(restart_policy=at_once), extensions=Extensions(restart_backoff=0))
    world.settle()
    assert crash(world, 6) == [0] * 6


def test_the_waiting_task_says_so(world, make_web, at_once) -> None:
    world.create(make_web(restart_policy=at_once))
    world.settle()
    crash(world, 2)
    world.report(world.running()[0].id, TaskState.FAILED)
    world.settle()
    (waiting,) = world.wanted()
    assert held_back(world.now, waiting) == "back-off after 3 quick failures in a row: starts 2s after it was created"


def test_a_new_template_has_a_clean_slate(world, make_web, at_once) -> None:
    world.create(make_web("a", restart_policy=at_once))
    world.settle()
    crash(world, 4)
    world.update(make_web("b", restart_policy=at_once))
    world.settle()
    assert crash(world, 1) == [0]


def test_the_pause_never_overflows() -> None:
    assert backoff_of(RestartPolicy(), None, 10_000) == 300 * SECOND
