"""Jobs: so many completions, so many at a time; on every node once; anew with each iteration."""

from cluster.api.objects import JobStatus
from cluster.api.specs import SECOND, GlobalJobMode, ReplicatedJobMode, RestartPolicy, ServiceMode
from cluster.api.states import NodeState, TaskState


def job(total: int, at_a_time: int) -> ServiceMode:
    return ServiceMode(replicated_job=ReplicatedJobMode(max_concurrent=at_a_time, total_completions=total))


def completed(world) -> list[int]:
    return sorted(task.slot for task in world.tasks() if task.state is TaskState.COMPLETE)


def completes(task):
    if task.desired_state > TaskState.COMPLETE:
        return TaskState.SHUTDOWN
    return TaskState.COMPLETE if task.state is TaskState.RUNNING else TaskState.RUNNING


def test_a_job_runs_until_it_completed_so_often(world, make_web) -> None:
    world.script = completes
    world.create(make_web(mode=job(5, 2)))
    world.settle()
    assert completed(world) == [1, 2, 3, 4, 5]
    assert len(world.tasks()) == 5
    assert {task.desired_state for task in world.tasks()} == {TaskState.COMPLETE}


def test_no_more_than_so_many_run_at_a_time(world, make_web) -> None:
    world.script = completes
    world.create(make_web(mode=job(7, 3)))
    for _ in range(40):
        world.orchestrate()
        world.equip()
        world.place()
        assert sum(not task.state.ended for task in world.tasks()) <= 3
        world.work()
    assert len(completed(world)) == 7


def test_a_failed_task_of_a_job_is_tried_again_in_its_slot(world, make_web, at_once) -> None:
    world.create(make_web(mode=job(1, 1), restart_policy=at_once))
    world.settle()
    (first,) = world.tasks()
    world.report(first.id, TaskState.FAILED)
    world.script = completes
    world.settle()
    assert [(task.slot, task.state) for task in world.tasks()] == [(1, TaskState.FAILED), (1, TaskState.COMPLETE)]


def test_a_slot_that_failed_for_good_leaves_the_job_open(world, make_web) -> None:
    world.create(make_web(mode=job(2, 1), restart_policy=RestartPolicy(condition="none")))
    world.settle()
    world.report(world.tasks()[0].id, TaskState.FAILED)
    world.script = completes
    world.settle()
    world.wait(60, step=30)
    assert [task.state for task in world.tasks()] == [TaskState.FAILED, TaskState.COMPLETE]


def test_a_jobs_task_is_replaced_when_its_node_is_lost(world, make_web) -> None:
    world.create(make_web(mode=job(1, 1), restart_policy=RestartPolicy(delay=60 * SECOND)))
    world.settle()
    (task,) = world.tasks()
    world.change_node(task.node_id, state=NodeState.DOWN)
    world.script = completes
    world.settle()
    assert len(completed(world)) == 1


def test_a_new_iteration_removes_the_last_and_runs_again(world, make_web) -> None:
    world.script = completes
    world.create(make_web(mode=job(2, 2)), job_status=JobStatus(job_iteration=1))
    world.settle()
    before = {task.id for task in world.tasks()}
    world.update(make_web(mode=job(2, 2), force_update=1), job_status=JobStatus(job_iteration=2))
    world.settle()
    assert len(completed(world)) == 2
    assert not before & {task.id for task in world.tasks()}
    assert {task.job_iteration for task in world.tasks()} == {2}


def test_a_global_job_completes_once_on_every_node(world, make_web) -> None:
    world.script = completes
    world.create(make_web(mode=ServiceMode(global_job=GlobalJobMode())))
    world.settle()
    assert sorted(task.node_id for task in world.tasks() if task.state is TaskState.COMPLETE) == ["n1", "n2", "n3"]
    world.add_node("n4")
    world.settle()
    assert len(world.tasks()) == 4
    world.change_node("n1", state=NodeState.DOWN)
    world.change_node("n1", state=NodeState.READY)
    world.settle()
    assert len(world.tasks()) == 4


def test_nothing_is_left_to_do_once_a_job_is_done(world, make_web) -> None:
    world.script = completes
    world.create(make_web(mode=job(3, 1)))
    world.settle()
    world.wait(60, step=30)
    assert world.want().changes == []
