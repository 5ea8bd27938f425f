"""How full networks are said to be, before anything waits."""

from msgspec.structs import replace

from cluster.api.changes import TaskChange
from cluster.api.objects import TaskStatus
from cluster.api.specs import ReplicatedMode, ServiceMode, ServiceSpec
from cluster.api.states import TaskState
from manager.allocator.room import crowded, short_of
from manager.store.snapshot import Snapshot
from tests.unit.manager.allocator.test_allocator_plan import after, cluster, equipped, network, service, tasks


def small() -> Snapshot:
    """Thirteen addresses, one of them the service's."""
    return equipped(after(cluster(), network("front", subnet="10.5.0.0/28"), service("web", "front")))


def asking(now: Snapshot, replicas: int, name: str = "web") -> ServiceSpec:
    return replace(now.services["web"].spec, name=name, mode=ServiceMode(replicated=ReplicatedMode(replicas=replicas)))


def test_a_network_is_crowded_from_four_fifths_on_and_no_more_once_tasks_have_ended() -> None:
    nine = equipped(tasks(small(), 9, "web"))
    assert list(crowded(nine)) == []
    ten = equipped(tasks(nine, 1, "web", first=10))
    assert [said.split(":")[0] for said in crowded(ten)] == ["network front (10.5.0.0/28) has 11 of 13 addresses in use"]
    fewer = after(TaskChange(id="web-t0001", status=TaskStatus(state=TaskState.FAILED)), now=ten)
    assert list(crowded(fewer)) == []


def test_a_service_that_wants_more_than_is_left_is_told_before_it_waits() -> None:
    now = equipped(tasks(small(), 4, "web"))
    assert list(short_of(now, asking(now, 12))) == []
    assert list(short_of(now, asking(now, 13))) == [
        "network front (10.5.0.0/28) has 8 of 13 addresses left, and service web wants 9 more: some of its tasks will wait"
    ]
    assert list(short_of(now, asking(now, 7, name="other"))) == [], "seven tasks and an address of its own"
    assert len(list(short_of(now, asking(now, 8, name="other")))) == 1


def test_a_network_without_a_subnet_is_another_matter() -> None:
    bare = after(cluster(), network("front"), service("web", "front"))
    assert list(short_of(bare, asking(bare, 500))) == []
    assert list(crowded(bare)) == []
