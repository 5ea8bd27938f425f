"""However an update goes: interrupted by others, by leaders, at any pace of the nodes, it never takes down more than it may."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.api.objects import Task
from cluster.api.specs import SECOND, GlobalMode, ReplicatedMode, ServiceMode, UpdateConfig
from cluster.api.states import NodeState, TaskState
from manager.orchestrator.soft import Soft
from manager.store.snapshot import EMPTY_SNAPSHOT
from tests.unit.manager.orchestrator.conftest import runs

NODES = 4

update, leader = st.tuples(st.just("update"), st.integers(0, 9)), st.tuples(st.just("leader"), st.none())
turn, wait = st.tuples(st.just("turn"), st.integers(0, 2)), st.tuples(st.just("wait"), st.sampled_from([0.5, 1.5]))
losses = st.tuples(st.sampled_from(["lose", "lose", "regain"]), st.integers(1, NODES))
steps = st.lists(st.one_of(update, turn, turn, wait, leader), min_size=1, max_size=40)
OF_OTHERS = ("update", "lose", "regain")
modes = st.one_of(
    st.integers(1, 7).map(lambda count: ServiceMode(replicated=ReplicatedMode(replicas=count))),
    st.just(ServiceMode(global_=GlobalMode())),
)
calm = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Rollout:
    """A service that is updated again and again, and how many of its tasks serve after every single change."""

    def __init__(self, world, make_web, mode: ServiceMode, config: UpdateConfig) -> None:
        self.world = world
        self.config = config
        self.spec = lambda image: make_web(image, mode=mode, update_config=config)
        self.size = NODES if mode.global_ is not None else mode.replicated.replicas
        world.create(self.spec("0"))
        world.settle()
        self.image = "0"
        self.serving = [self.size]
        self.wanted = [self.size]
        self._act, world.do = world.do, self._do

    def _do(self, *changes) -> None:
        self._act(*changes)
        nodes = self.world.now.nodes
        serving = [task for task in self.world.running() if task.status.ready and nodes[task.node_id].status.state is NodeState.READY]
        self.serving.append(len({(task.slot, "" if task.slot else task.node_id) for task in serving}))
        self.wanted.append(len(self.world.wanted()))

    def take(self, what: str, how) -> None:
        world = self.world
        match what:
            case "update":
                self.image = str(how)
                world.update(self.spec(self.image))
            case "turn":
                world.orchestrate()
                world.equip()
                world.place()
                world.script = lambda task: _some(task, how)
                world.work()
                world.script = runs
            case "wait":
                world.wait(how)
            case "lose" | "regain":
                world.change_node(f"n{how}", state=NodeState.DOWN if what == "lose" else NodeState.READY)
            case "leader":
                world.soft = Soft(since=world.time)
                world._alarms = []
                world._seen = EMPTY_SNAPSHOT

    def finish(self) -> None:
        self.world.wait(60, step=1.0)
        assert self.world.images() == [self.image] * self.size
        assert len(self.world.wanted()) == self.size

    @property
    def at_once(self) -> int:
        return self.config.parallelism or self.size


def _some(task: Task, one: int) -> TaskState | None:
    """A third of the nodes' tasks goes a step, the others not yet."""
    return runs(task) if int(task.id[1:]) % 3 == one else None


@calm
@given(steps=steps, mode=modes, parallelism=st.integers(0, 3), delay=st.sampled_from([0, SECOND]))
def test_stop_first_never_takes_more_than_parallelism_down(make_world, make_web, *, steps, mode, parallelism, delay) -> None:
    rollout = Rollout(make_world(NODES), make_web, mode, UpdateConfig(parallelism=parallelism, delay=delay, monitor=0, order="stop-first"))
    for one in steps:
        rollout.take(*one)
    rollout.finish()
    assert rollout.size - min(rollout.serving) <= rollout.at_once
    assert max(rollout.wanted) <= rollout.size


@calm
@given(steps=steps, mode=modes, parallelism=st.integers(0, 3), delay=st.sampled_from([0, SECOND]))
def test_start_first_never_falls_below_the_replicas(make_world, make_web, *, steps, mode, parallelism, delay) -> None:
    rollout = Rollout(make_world(NODES), make_web, mode, UpdateConfig(parallelism=parallelism, delay=delay, monitor=0, order="start-first"))
    for one in steps:
        rollout.take(*one)
    rollout.finish()
    assert min(rollout.serving) == rollout.size
    assert max(rollout.wanted) <= rollout.size + min(rollout.at_once, rollout.size)


@calm
@given(
    replicas=st.integers(1, 7),
    parallelism=st.integers(1, 3),
    order=st.sampled_from(["stop-first", "start-first"]),
    steps=st.lists(st.one_of(update, update, losses, losses, turn, wait), min_size=4, max_size=40),
)
def test_what_is_lost_counts_against_what_an_update_may_take_down(make_world, make_web, *, replicas, parallelism, order, steps) -> None:
    """Nodes come and go meanwhile: the update ends no task that serves unless no more than parallelism are down afterwards."""
    config = UpdateConfig(parallelism=parallelism, monitor=0, order=order, failure_action="continue")
    rollout = Rollout(make_world(NODES), make_web, ServiceMode(replicated=ReplicatedMode(replicas=replicas)), config)
    least = replicas - (parallelism if order == "stop-first" else 0)
    for what, how in steps:
        if what in OF_OTHERS:  # counted before the orchestrator has seen it
            rollout.take(what, how)
        else:
            before, seen = rollout.serving[-1], len(rollout.serving)
            rollout.world.orchestrate()
            rollout.take(what, how)
            assert min(rollout.serving[seen:], default=before) >= min(before, least)
    for number in range(1, NODES + 1):
        rollout.take("regain", number)
    rollout.finish()
