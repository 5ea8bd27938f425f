"""Whatever happens, in whatever order: the plans come to rest, keep their promises meanwhile, and end where the specs say."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.api.changes import Change, Put
from cluster.api.objects import JobStatus, Task, TaskStatus
from cluster.api.specs import (
    SECOND,
    Dependency,
    DiscreteResource,
    EndpointSpec,
    Extensions,
    GenericResource,
    GlobalMode,
    NetworkAttachmentConfig,
    Placement,
    PortConfig,
    ReplicatedJobMode,
    ReplicatedMode,
    Reservations,
    Resources,
    RestartPolicy,
    ServiceMode,
    UpdateConfig,
    replicas_of,
)
from cluster.api.states import Availability, NodeState, TaskState
from manager.orchestrator.soft import Soft
from manager.store.snapshot import EMPTY_SNAPSHOT

NODES = ["n1", "n2", "n3", "n4"]

replicated = st.integers(0, 6).map(lambda count: ServiceMode(replicated=ReplicatedMode(replicas=count)))
jobs = st.tuples(st.integers(1, 5), st.integers(1, 3)).map(
    lambda job: ServiceMode(replicated_job=ReplicatedJobMode(total_completions=job[0], max_concurrent=job[1]))
)
updates = st.builds(
    UpdateConfig,
    parallelism=st.integers(0, 3),
    delay=st.sampled_from([0, SECOND]),
    monitor=st.sampled_from([0, SECOND]),
    order=st.sampled_from(["", "stop-first", "start-first"]),
    failure_action=st.just("continue"),
)

HOST_PORT = EndpointSpec(ports=(PortConfig(protocol="tcp", target_port=80, published_port=8080, publish_mode="host"),))
ONE_GPU = Resources(
    reservations=Reservations(generic_resources=(GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=1)),))
)
WAITS_FOR_B = Extensions(depends_on=(Dependency(service="b", condition="service_healthy"),))

step = st.one_of(
    st.tuples(st.just("fail"), st.integers(0, 20), st.sampled_from([TaskState.FAILED, TaskState.COMPLETE, TaskState.REJECTED])),
    st.tuples(st.just("state"), st.sampled_from(NODES), st.sampled_from([NodeState.DOWN, NodeState.READY])),
    st.tuples(st.just("availability"), st.sampled_from(NODES), st.sampled_from(list(Availability))),
    st.tuples(st.just("label"), st.sampled_from(NODES), st.sampled_from(["ssd", "hdd"])),
    st.tuples(st.just("scale"), st.just("a"), st.integers(0, 6)),
    st.tuples(st.just("scale"), st.just("b"), st.integers(0, 3)),  # a node fewer than ports: start-first needs room beside the old
    st.tuples(st.just("update"), st.sampled_from(["a", "b", "g"]), st.integers(0, 99)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 7.0]), st.none()),
    st.tuples(st.just("turn"), st.integers(1, 3), st.none()),
    st.tuples(st.just("leader"), st.none(), st.none()),
    st.tuples(st.just("node"), st.sampled_from(NODES), st.none()),
)


class Life:
    """Steps on a world, with what must hold after each of them."""

    def __init__(self, world, make_web, config: UpdateConfig) -> None:
        self.world = world
        self.web = make_web
        self.config = config
        self.states: dict[str, TaskState] = {}
        self.desired: dict[str, TaskState] = {}
        self._act, world.do = world.do, self._do
        for service_id, count in (("a", 3), ("b", 2)):
            mode = ServiceMode(replicated=ReplicatedMode(replicas=count))
            world.create(self.spec(service_id, "1", mode), service_id, extensions=WAITS_FOR_B if service_id == "a" else Extensions())
        world.create(self.spec("g", "1", ServiceMode(global_=GlobalMode())), "g")

    def _do(self, *changes: Change) -> None:
        self._act(*changes)
        self.slots_hold()

    def spec(self, service_id: str, image: str, mode: ServiceMode):
        own = {
            "a": {"placement": Placement(constraints=("node.labels.disk!=hdd",)), "resources": ONE_GPU},
            "b": {"networks": (NetworkAttachmentConfig(target="net1"),), "endpoint_spec": HOST_PORT},
            "g": {},
        }[service_id]
        return self.web(image, name=service_id, mode=mode, update_config=self.config, restart_policy=RestartPolicy(delay=SECOND), **own)

    def take(self, what: str, one, other) -> None:  # noqa: C901 - one case a step
        world = self.world
        match what:
            case "fail":
                running = [task for service_id in "abg" for task in world.running(service_id)]
                if running:
                    world.report(running[one % len(running)].id, other)
            case "state" if one in world.now.nodes:
                world.change_node(one, state=other)
            case "availability" if one in world.now.nodes:
                world.change_node(one, availability=other)
            case "label" if one in world.now.nodes:
                world.change_node(one, disk=other)
            case "node":
                if one in world.now.nodes:
                    world.remove_node(one)
                else:
                    world.add_node(one)
            case "scale":
                world.scale(other, one)
            case "update":
                world.update(self.spec(one, str(other), world.now.services[one].spec.mode), one)
            case "wait":
                world.wait(one)
            case "turn":
                for _ in range(one):
                    world.orchestrate()
                    self.check()
                    world.equip()
                    world.place()
                    world.work()
            case "leader":
                world.soft = Soft(since=world.time)
                world._alarms = []
                world._seen = EMPTY_SNAPSHOT

    def slots_hold(self) -> None:
        """After every single change set, also one that the next would put right: nodes may have seen it."""
        extra = 1 if self.config.order == "start-first" else 0
        for service_id in "abg":
            held = Counter((task.slot, "" if task.slot else task.node_id) for task in self.world.wanted(service_id))
            assert max(held.values(), default=0) <= 1 + extra, f"two tasks in a slot of {service_id}"

    def check(self) -> None:
        """What holds whenever the orchestrator has had its turn."""
        now = self.world.now
        for service_id in "ab":
            slots = {task.slot for task in self.world.wanted(service_id)}
            assert len(slots) <= replicas_of(now.services[service_id].spec)
        addresses = [one.address for task in now.tasks.values() if not task.state.ended for one in task.attachments]
        addresses += [vip.addr for service in now.services.values() if service.endpoint for vip in service.endpoint.virtual_ips]
        assert len(addresses) == len(set(addresses))
        gpus, ports = ([task for task in self.world.tasks(one) if task.node_id and not task.state.ended] for one in "ab")
        assert len(ports) == len({task.node_id for task in ports}), "a host port was given twice"
        assert len(gpus) == len({(task.node_id, gpu.value) for task in gpus for gpu in task.resources}), "a named resource was given twice"
        for task in now.tasks.values():
            assert task.state >= self.states.get(task.id, task.state)
            assert task.desired_state >= self.desired.get(task.id, task.desired_state)
            self.states[task.id], self.desired[task.id] = task.state, task.desired_state

    def unfit_nodes_are_empty(self) -> None:
        """Nobody is wanted on a node that is drained, or, in a service that can move, on one that is down or gone."""
        for service_id in ("a", "b", "g"):
            for task in self.world.wanted(service_id):
                node = self.world.now.nodes.get(task.node_id)
                assert not task.node_id or node is not None
                if node is not None:
                    assert node.spec.availability is not Availability.DRAIN or node.status.state is NodeState.DOWN
                    assert node.status.state is not NodeState.DOWN or service_id == "g"
                    assert service_id != "a" or node.spec.labels.get("disk") != "hdd"

    def heal(self) -> None:
        for node_id in NODES:
            if node_id not in self.world.now.nodes:
                self.world.add_node(node_id)
            self.world.change_node(node_id, state=NodeState.READY, availability=Availability.ACTIVE, disk="ssd")
        self.world.wait(40, step=1.0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, max_size=25), config=updates)
def test_once_failures_stop_desired_equals_observed(make_world, make_web, steps, config) -> None:
    life = Life(make_world(nodes=4), make_web, config)
    life.world.network()
    for one in steps:
        life.take(*one)
        life.check() if one[0] == "turn" else None
    life.heal()
    world = life.world
    for service_id in ("a", "b"):
        service = world.now.services[service_id]
        running = world.running(service_id)
        assert len(running) == replicas_of(service.spec) == len({task.slot for task in running})
        assert world.images(service_id) == [service.spec.task_template.container_spec.image] * len(running)
    assert sorted(task.node_id for task in world.running("g")) == NODES
    assert not [task for task in world.now.tasks.values() if task.desired_state > TaskState.COMPLETE and not task.state.ended]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, max_size=15), config=updates)
def test_hints_are_enough_and_a_plan_that_was_made_is_done(make_world, make_web, steps, config) -> None:
    """After everything settled by looking at what changed only, looking at everything finds nothing."""
    life = Life(make_world(nodes=4), make_web, config)
    for one in steps:
        life.take(*one)
        life.world.settle()
        life.check()
        assert life.world.want().changes == []
        life.unfit_nodes_are_empty()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job=jobs, failures=st.lists(st.integers(0, 10), max_size=6))
def test_a_job_completes_exactly_as_often_as_asked(make_world, make_web, job, failures) -> None:
    world = make_world(nodes=2)
    world.create(make_web(mode=job, restart_policy=RestartPolicy(delay=0)), job_status=JobStatus(job_iteration=1))
    for which in failures:
        world.settle()
        running = world.running()
        if running:
            world.report(running[which % len(running)].id, TaskState.FAILED)
    world.script = lambda task: TaskState.COMPLETE if task.state is TaskState.RUNNING else TaskState.RUNNING
    world.settle()
    done = [task for task in world.tasks() if task.state is TaskState.COMPLETE]
    assert len(done) == job.replicated_job.total_completions == len({task.slot for task in done})


STATES = [one for one in TaskState if one is not TaskState.REMOVE]
GOALS = [TaskState.READY, TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE]
left_behind = st.tuples(st.integers(1, 5), st.sampled_from(STATES), st.sampled_from(GOALS), st.sampled_from(NODES))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tasks=st.lists(left_behind, max_size=8), replicas=st.integers(0, 4), config=updates, updated=st.booleans())
def test_from_any_state_the_plans_come_to_rest_where_the_spec_says(make_world, make_web, *, tasks, replicas, config, updated) -> None:
    """Whatever tasks another program, version or fault has left: several in a slot, of no use, on nodes that are gone."""
    world = make_world(nodes=3)
    world.create(make_web(replicas=replicas, update_config=config, restart_policy=RestartPolicy(delay=0)))
    version = world.now.services["s1"].template_version
    for number, (slot, state, desired, node_id) in enumerate(tasks):
        place = node_id if state >= TaskState.ASSIGNED else ""
        status = TaskStatus(state=state)
        fields = {"service_id": "s1", "template_version": version, "slot": slot, "node_id": place, "desired_state": desired}
        world.do(Put(object=Task(id=f"x{number}", status=status, **fields)))
    if updated:
        world.update(make_web("b", replicas=replicas, update_config=config, restart_policy=RestartPolicy(delay=0)))
    world.wait(30, step=1.0)
    assert world.images() == ["b" if updated else "a"] * replicas
    assert len(world.wanted()) == replicas == len({task.slot for task in world.wanted()})
    assert not [task for task in world.tasks() if task.desired_state > TaskState.COMPLETE and not task.state.ended]
    assert world.want().changes == []
