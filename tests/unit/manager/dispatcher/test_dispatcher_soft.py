"""Who is missed, what the store should say of nodes, and which reports are news."""

from cluster.api.assignment import Hello
from cluster.api.changes import Change, ChangeSet, Put, TaskChange
from cluster.api.features import ABSENCES
from cluster.api.objects import Cluster, Node, NodeDescription, NodeStatus, RaftMember, Service, Task, TaskStatus
from cluster.api.specs import NodeSpec, ServiceSpec
from cluster.api.states import Availability, NodeState, Role, TaskState
from manager.dispatcher.liveness import Liveness
from manager.dispatcher.nodes import absences, departure, node_changes, orphans, role_of
from manager.dispatcher.statuses import BATCH, LONGEST_TEXT, Reports, status_changes
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


def put(now: Snapshot, *changes: Change) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=7, changes=changes))
    assert refusal is None, refusal
    return now


# -- liveness --------------------------------------------------------------------------------------------------------------------------
def test_a_node_is_missed_after_a_whole_silent_window() -> None:
    liveness = Liveness(window=3.0)
    assert liveness.missed(["n1"], at=100.0) == []
    liveness.heard("n1", at=102.0)
    assert liveness.missed(["n1"], at=104.9) == []
    assert liveness.next_missed(after=104.9) == 105.0
    assert liveness.missed(["n1"], at=105.0) == ["n1"]


def test_a_new_leader_gives_every_node_time_to_notice_that_the_last_one_is_gone() -> None:
    liveness = Liveness(window=3.0)
    assert liveness.missed(["n1", "n2"], at=100.0) == []
    liveness.heard("n2", at=102.0)
    assert liveness.missed(["n1", "n2"], at=104.4) == []
    assert liveness.missed(["n1", "n2"], at=104.5) == ["n1"]


def test_a_node_that_joins_later_has_that_time_too() -> None:
    liveness = Liveness(window=3.0)
    assert liveness.missed(["n9"], at=500.0) == []
    assert liveness.missed(["n9"], at=504.5) == ["n9"]


def test_an_announced_restart_is_waited_for_and_ends_with_the_return() -> None:
    liveness = Liveness(window=3.0)
    liveness.away("n1", at=100.0, seconds=30.0)
    liveness.heard("n1", at=100.1)
    assert liveness.missed(["n1"], at=129.9) == []
    assert liveness.missed(["n1"], at=130.0) == ["n1"]
    liveness.away("n1", at=200.0, seconds=30.0)
    liveness.returned("n1", at=202.0)
    assert liveness.missed(["n1"], at=205.0) == ["n1"]


def test_nobody_is_missed_for_a_time_in_which_the_leader_did_not_listen() -> None:
    liveness = Liveness(window=3.0)
    liveness.heard("n1", at=100.0)
    liveness.begin_anew(at=110.0)
    assert liveness.missed(["n1"], at=112.9) == []
    liveness.forget("n1")
    assert liveness.next_missed(after=0.0) is None


# -- nodes -----------------------------------------------------------------------------------------------------------------------------
HELLO = Hello(description=NodeDescription(hostname="h"), addr="10.0.0.1", data_path_addr="10.1.0.1", availability="drain")


def test_nobody_is_missed_while_a_crowd_comes_back() -> None:
    """Whoever is behind hundreds of others is not lost, but in a queue; and when it is gone, who did not come is."""
    liveness, nodes = Liveness(window=3.0), [f"n{number:03}" for number in range(100)]
    assert liveness.missed(nodes, at=100.0) == []
    for number, node_id in enumerate(nodes[:90]):
        liveness.returned(node_id, at=101.0 + number * 0.04)
    assert liveness.missed(nodes[60:], at=104.6) == []
    for node_id in nodes[:90]:
        liveness.heard(node_id, at=105.0)
    assert liveness.missed(nodes, at=105.6) == nodes[90:]


def test_when_most_nodes_are_away_at_once_the_fault_is_not_theirs_for_a_while() -> None:
    liveness, nodes = Liveness(window=3.0), [f"n{number:03}" for number in range(100)]
    for node_id in nodes:
        liveness.heard(node_id, at=100.0)
    assert liveness.missed(nodes, at=103.0) == []
    assert liveness.missed(nodes, at=132.9) == []
    assert liveness.missed(nodes, at=133.0) == nodes


def test_the_loss_of_half_a_rack_is_no_crowd() -> None:
    liveness, nodes = Liveness(window=3.0), [f"n{number:03}" for number in range(100)]
    for node_id in nodes:
        liveness.heard(node_id, at=100.0 if node_id < "n040" else 101.0)
    assert liveness.missed(nodes, at=103.0) == nodes[:40]


def test_a_small_swarm_that_loses_most_of_its_nodes_does_not_wait() -> None:
    liveness, nodes = Liveness(window=3.0), [f"n{number:03}" for number in range(10)]
    for node_id in nodes:
        liveness.returned(node_id, at=100.0)
    assert liveness.missed(nodes, at=103.0) == nodes


def test_an_announced_absence_stands_until_the_node_is_back_or_taken_for_lost() -> None:
    now = put(EMPTY_SNAPSHOT, Put(object=Cluster(id="c", feature_level=ABSENCES.level)), Put(object=Node(id="n1")))
    assert absences(now) == {}
    gone = put(now, *departure(now, "n1", seconds=30.0))
    assert absences(gone) == {"n1": 30.0}
    assert departure(gone, "n1", seconds=30.0) == []
    assert departure(gone, "unknown", seconds=30.0) == []
    assert absences(put(gone, *node_changes(gone, {"n1": HELLO}, []))) == {}
    assert absences(put(gone, *node_changes(gone, {}, ["n1"]))) == {}


def test_an_absence_is_not_logged_where_an_older_manager_would_drop_it() -> None:
    now = put(EMPTY_SNAPSHOT, Put(object=Cluster(id="c", feature_level=ABSENCES.level - 1)), Put(object=Node(id="n1")))
    assert departure(now, "n1", seconds=30.0) == []


def test_a_node_becomes_ready_as_it_says_it_is() -> None:
    now = put(EMPTY_SNAPSHOT, Put(object=Node(id="n1")))
    now = put(now, *node_changes(now, {"n1": HELLO}, []))
    node = now.nodes["n1"]
    assert (node.status, node.description, node.data_path_addr) == (
        NodeStatus(state=NodeState.READY, addr="10.0.0.1"),
        HELLO.description,
        "10.1.0.1",
    )
    assert node.spec.availability is Availability.DRAIN
    assert node_changes(now, {"n1": HELLO}, []) == []


def test_only_a_first_hello_sets_the_availability() -> None:
    seen = Node(id="n1", status=NodeStatus(state=NodeState.DOWN))
    now = put(EMPTY_SNAPSHOT, Put(object=seen))
    now = put(now, *node_changes(now, {"n1": HELLO}, []))
    assert now.nodes["n1"].spec.availability is Availability.ACTIVE


def test_a_missed_node_is_down_unless_it_is_back_and_keeps_its_address() -> None:
    now = put(EMPTY_SNAPSHOT, Put(object=Node(id="n1", status=NodeStatus(state=NodeState.READY, addr="a"))))
    now = put(now, *node_changes(now, {}, ["n1"]))
    assert now.nodes["n1"].status == NodeStatus(state=NodeState.DOWN, message="heartbeat failure", addr="a")
    assert node_changes(now, {}, ["n1", "gone"]) == []
    back = put(now, *node_changes(now, {"n1": HELLO}, ["n1"]))
    assert back.nodes["n1"].status.state is NodeState.READY


def test_a_demoted_manager_keeps_its_certificate_until_it_is_no_member() -> None:
    assert role_of(Node(id="n", spec=NodeSpec(role=Role.WORKER), member=RaftMember())) is Role.MANAGER
    assert role_of(Node(id="n", spec=NodeSpec(role=Role.WORKER))) is Role.WORKER
    assert role_of(Node(id="n", spec=NodeSpec(role=Role.MANAGER))) is Role.MANAGER


def test_tasks_of_a_node_that_stays_away_are_given_up_a_batch_at_a_time() -> None:
    now = put(EMPTY_SNAPSHOT, Put(object=Service(id="s", spec=ServiceSpec(name="s"))))
    tasks = [Task(id=f"t{one}", service_id="s", template_version=1, slot=one + 1, node_id="n1") for one in range(5)]
    now = put(now, *(Put(object=task) for task in tasks))
    now = put(now, *orphans(now, ["n1"], at_most=3))
    assert sum(task.state is TaskState.ORPHANED for task in now.tasks.values()) == 3
    now = put(now, *orphans(now, ["n1"], at_most=3))
    assert orphans(now, ["n1"], at_most=3) == []


# -- reports ---------------------------------------------------------------------------------------------------------------------------
def running(message: str = "") -> TaskStatus:
    return TaskStatus(state=TaskState.RUNNING, timestamp=1, message=message)


def one_task() -> Snapshot:
    now = put(EMPTY_SNAPSHOT, Put(object=Service(id="s", spec=ServiceSpec(name="s"))))
    status = TaskStatus(state=TaskState.STARTING)
    return put(now, Put(object=Task(id="t", service_id="s", template_version=1, slot=1, node_id="n1", status=status)))


def test_a_node_speaks_for_its_own_tasks_and_only_forward() -> None:
    now = one_task()
    assert status_changes(now, {"t": ("n1", running())}) == [TaskChange(id="t", status=running())]
    for node_id, task_id, state in (
        ("n2", "t", TaskState.RUNNING),
        ("n1", "other", TaskState.RUNNING),
        ("n1", "t", TaskState.READY),
        ("n1", "t", TaskState.ASSIGNED),
        ("n1", "t", TaskState.ORPHANED),
    ):
        assert status_changes(now, {task_id: (node_id, TaskStatus(state=state))}) == []
    now = put(now, *status_changes(now, {"t": ("n1", running())}))
    assert status_changes(now, {"t": ("n1", running())}) == []
    assert status_changes(now, {"t": ("n1", running("healthy"))}) != []


def test_an_engines_words_are_kept_within_bounds() -> None:
    [change] = status_changes(one_task(), {"t": ("n1", running("x" * 100_000))})
    assert isinstance(change, TaskChange)
    assert change.status == running("x" * LONGEST_TEXT)


def test_reports_are_taken_oldest_first_and_the_latest_of_each_counts() -> None:
    reports = Reports()
    for number in range(BATCH + 10):
        reports.add("n1", f"t{number}", running())
    reports.add("n1", "t0", running("later"))
    taken = reports.take()
    assert len(taken) == BATCH
    assert taken["t0"] == ("n1", running("later"))
    assert len(reports) == 10
    reports.add("n1", "t1", running("newest"))
    reports.put_back(taken)
    assert len(reports) == BATCH + 10
    assert reports.take()["t1"] == ("n1", running("newest"))
