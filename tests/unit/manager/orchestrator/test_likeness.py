"""What counts as the same task: clients that wait for an update ask for this, and the orchestrator renews what is not."""

from msgspec.structs import replace

from cluster.api.specs import DNSConfig, Limits, Placement, Reservations, Resources, RestartPolicy
from manager.orchestrator.likeness import up_to_date


def current(world) -> list[bool]:
    service = world.now.services["s1"]
    return [up_to_date(world.now, task, service) for task in world.running()]


def test_a_change_that_restarts_nothing_leaves_the_tasks_up_to_date(world, make_web) -> None:
    world.create(make_web(replicas=2))
    world.settle()
    before = world.running()
    world.update(replace(make_web(replicas=2), labels={"team": "a"}))
    world.update(replace(make_web(replicas=2, restart_policy=RestartPolicy(condition="any")), labels={"team": "a"}))
    world.settle()
    assert world.now.services["s1"].template_version > before[0].template_version
    assert [task.id for task in world.running()] == [task.id for task in before]
    assert current(world) == [True, True]


def test_members_that_say_nothing_renew_no_task(world, make_web) -> None:
    world.create(make_web())
    world.settle()
    (before,) = world.running()
    spec = make_web(resources=Resources(limits=Limits(), reservations=Reservations()), placement=Placement())
    template = spec.task_template
    container = replace(template.container_spec, dns_config=DNSConfig())
    world.update(replace(spec, task_template=replace(template, container_spec=container)))
    world.settle()
    assert [task.id for task in world.running()] == [before.id]
    assert current(world) == [True]
    world.update(make_web(resources=Resources(limits=Limits(pids=5))))
    assert current(world) == [False]


def test_tasks_of_another_template_are_out_of_date_until_they_are_renewed(world, make_web) -> None:
    world.create(make_web())
    world.settle()
    world.update(make_web("b"))
    assert current(world) == [False]
    world.settle()
    assert current(world) == [True]
