"""A container of another node is found by the names that Docker has for it; the door there leads to that container alone."""

import asyncio
import json

import pytest

from cluster.api.changes import ChangeSet, Put
from cluster.api.errors import InvalidArgument, NoLeader
from cluster.api.objects import ContainerStatus, Node, NodeDescription, Service, Task, TaskStatus
from cluster.api.specs import ServiceSpec
from cluster.api.states import TaskState
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from node_agent.api.door import Door
from node_agent.api.elsewhere import Elsewhere, find_task
from node_agent.api.engine_link import EngineLink
from node_agent.api.messages import ApiResponse, PassToEngine

ID = "0123456789ab" + "c" * 52


def task(task_id: str, node_id: str, container: str, *, slot: int = 1) -> Task:
    status = TaskStatus(state=TaskState.RUNNING, container=ContainerStatus(container_id=container) if container else None)
    return Task(id=task_id, service_id="s1", template_version=1, slot=slot, node_id=node_id, status=status)


def swarm(*tasks: Task) -> Snapshot:
    node = Node(id="n2", description=NodeDescription(hostname="w2"))
    known = (Service(id="s1", spec=ServiceSpec(name="web")), node, *tasks)
    now, refusal = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=tuple(Put(object=one) for one in known)))
    assert refusal is None, refusal
    return now


@pytest.mark.parametrize("name", [ID, ID[:12], ID[:40], "web.1.t1", "/web.1.t1"])
def test_a_container_elsewhere_goes_by_its_id_a_prefix_or_its_name(name: str) -> None:
    found = find_task(swarm(task("t1", "n2", ID)), name, here="n1")
    assert found is not None
    assert found.id == "t1"


@pytest.mark.parametrize("name", [ID[:11], "web", "web.1", "t1", "web.2.t1", "other.1.t1", "web.1.t9", "f" * 64, ID + "0", ""])
def test_nothing_else_is_a_name(name: str) -> None:
    assert find_task(swarm(task("t1", "n2", ID)), name, here="n1") is None


def test_what_is_here_or_has_no_container_is_not_elsewhere() -> None:
    assert find_task(swarm(task("t1", "n1", ID)), ID, here="n1") is None
    assert find_task(swarm(task("t1", "n2", "")), "web.1.t1", here="n1") is None


def test_a_global_task_has_its_node_for_a_slot() -> None:
    assert find_task(swarm(task("t1", "n2", ID, slot=0)), "web.n2.t1", here="n1") is not None


def test_a_prefix_of_two_is_refused_as_docker_does() -> None:
    two = swarm(task("t1", "n2", ID), task("t2", "n2", ID[:12] + "d" * 52, slot=2))
    with pytest.raises(InvalidArgument, match=f"multiple IDs found with provided prefix: {ID[:12]}"):
        find_task(two, ID[:12], here="n1")


class Manager:
    node_id = "n1"

    def __init__(self, now: Snapshot | None, newest: Snapshot | None = None) -> None:
        self.now = now
        self.newest = newest

    def latest(self) -> Snapshot | None:
        return self.now

    async def read(self) -> Snapshot:
        if self.newest is None:
            raise NoLeader
        return self.newest

    async def connect(self, task_id: str, here: object) -> object:
        raise AssertionError


async def test_what_would_end_a_container_is_refused_with_its_place() -> None:
    elsewhere = Elsewhere(Manager(swarm(task("t1", "n2", ID))))  # type: ignore[arg-type]
    for method, path in (("POST", f"/containers/{ID}/kill"), ("DELETE", f"/containers/{ID}"), ("POST", f"/containers/{ID}/update")):
        refused = await elsewhere.instead(method, path, PassToEngine())
        assert isinstance(refused, ApiResponse)
        assert refused.status == 404
        assert json.loads(refused.body)["message"].startswith(f"No such container: {ID} (it is a container of task web.1.t1 on node w2:")
    passed = await elsewhere.instead("GET", "/containers/web.1.t1/logs", PassToEngine(query="tail=3"))
    assert isinstance(passed, PassToEngine)
    assert (passed.path, passed.query) == (f"/containers/{ID}/logs", "tail=3")


async def test_a_container_that_another_manager_told_of_a_moment_ago_is_found() -> None:
    elsewhere = Elsewhere(Manager(swarm(), newest=swarm(task("t1", "n2", ID))))  # type: ignore[arg-type]
    assert isinstance(await elsewhere.instead("GET", f"/containers/{ID}/json", PassToEngine()), PassToEngine)
    alone = Elsewhere(Manager(swarm()))  # type: ignore[arg-type]
    assert await alone.instead("GET", f"/containers/{ID}/json", PassToEngine()) is None, "without a quorum, what is known has to do"


async def test_a_worker_knows_nothing_of_other_nodes() -> None:
    assert await Elsewhere(Manager(None)).instead("GET", f"/containers/{ID}/json", PassToEngine()) is None  # type: ignore[arg-type]


async def test_an_exec_that_was_not_made_through_us_is_nowhere() -> None:
    elsewhere = Elsewhere(Manager(swarm(task("t1", "n2", ID))))  # type: ignore[arg-type]
    assert await elsewhere.instead("POST", f"/exec/{'e' * 64}/start", PassToEngine()) is None


@pytest.mark.parametrize(
    ("request_line", "refusal"),
    [
        ("GET /v1.51/images/json", "page not found"),
        ("GET /v1.51/swarm", "page not found"),
        ("POST /v1.51/containers/create", "page not found"),
        (f"POST /v1.51/containers/{ID}/kill", "page not found"),
        (f"DELETE /v1.51/containers/{ID}", "page not found"),
        (f"PUT /v1.51/containers/{ID}/archive", "page not found"),
        (f"GET /v1.51/containers/{'f' * 64}/json", f"No such container: {'f' * 64}"),
        (f"GET /v1.51/containers/{ID[:12]}/json", f"No such container: {ID[:12]}"),
        (f"GET /v1.51/containers/{ID}%2F..%2Fother/json", f"No such container: {ID}/../other"),
    ],
)
async def test_the_door_leads_to_one_container(request_line: str, refusal: str) -> None:
    async with Door(EngineLink("/nowhere/docker.sock"))(ID) as visitor:
        await visitor.send(f"{request_line} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while part := await asyncio.wait_for(visitor.read(), 5):
            said += part
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert json.loads(body)["message"] == refusal


async def test_a_task_without_a_container_has_a_door_to_nothing() -> None:
    async with Door(EngineLink("/nowhere/docker.sock"))("") as visitor:
        await visitor.send(f"GET /containers/{ID}/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n".encode())
        assert b"No such container" in await asyncio.wait_for(visitor.read(), 5)
