"""Which of a service's tasks a connection goes to: evenly, or always the same one for a client, or one nearby."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from cluster.api.specs import PortConfig
from integration.netlab import Host, why_no_engine
from integration.plane_rig import PORT, Machines, Rig, Task, ask, machines, network, rig

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]

WEB = PortConfig(protocol="tcp", published_port=8080, target_port=PORT, publish_mode="ingress")
CONNECTIONS = 10_000
UNLIKELY = 29.9
"""Chi-square that an even choice among eight exceeds once in ten thousand runs."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines("choice", tmp_path_factory.mktemp("choice"), hosts=2) as running:
        yield running


@pytest.fixture
async def cluster(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(there, tmp_path) as running:
        yield running


def count(tasks: Sequence[Task], inside: Callable[[], AbstractContextManager[None]], address: str, port: int) -> list[int]:
    """How many of the connections each task got. They are reset at once: nobody has to say anything on them."""
    counted = [0] * len(tasks)
    with ExitStack() as stack:
        listeners = []
        for task in tasks:
            with task.inside():
                listeners.append(stack.enter_context(socket.create_server(("0.0.0.0", PORT), backlog=1024)))
            listeners[-1].setblocking(False)
        with inside():
            for number in range(CONNECTIONS):
                with socket.socket() as client:
                    client.settimeout(5)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    client.connect((address, port))
                if number % 500 == 499:
                    counted = [before + _accepted(listener) for before, listener in zip(counted, listeners, strict=True)]
    return counted


def _accepted(listener: socket.socket) -> int:
    found = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return found
        found += 1


async def test_connections_spread_evenly_by_vip_and_by_published_port(cluster: Rig) -> None:
    """Published, the choice is made twice: among the nodes by how many tasks they have, and among those."""
    one, two = cluster.nodes
    net = network(1)
    cluster.service("web", net, ports=[WEB])
    cluster.service("client", net)
    client = await cluster.run("client", one, serve=False)
    tasks = [await cluster.run("web", node, serve=False) for node in (one, one, one, two, two, two, two, two)]
    world = cluster.lab.host("world", "10.99.0.9/24")
    for inside, address, port in ((client.inside, cluster.vip("web"), PORT), (world.inside, one.host.address, WEB.published_port)):
        counted = await asyncio.to_thread(count, tasks, inside, address, port)
        expected = CONNECTIONS / len(tasks)
        assert sum(counted) == CONNECTIONS
        assert sum((number - expected) ** 2 / expected for number in counted) < UNLIKELY, counted


# -- affinity --------------------------------------------------------------------------------------------------------------------------
CLIENTS = [f"10.99.0.{number}" for number in range(100, 140)]


async def reached_by(world: Host, address: str) -> dict[str, str]:
    """From each of many addresses -> the task that answered there. Every task sees the client's own address."""
    found = {}
    for source in CLIENTS:
        with world.inside():
            client = socket.socket()
        with client:
            client.setblocking(False)
            client.bind((source, 0))
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().sock_connect(client, (address, WEB.published_port))
                task, seen = (await asyncio.get_running_loop().sock_recv(client, 1000)).decode().split()
        assert seen == source
        found[source] = task
    return found


async def test_a_client_stays_with_its_task_through_any_node_and_only_those_of_a_task_that_goes_move(cluster: Rig) -> None:
    one, two = cluster.nodes
    net = network(1)
    cluster.service("web", net, ports=[WEB], affinity="client-ip")
    cluster.service("client", net)
    tasks = [await cluster.run("web", node) for node in (one, two, two, one)]
    world = cluster.lab.host("world", "10.99.0.9/24")
    for source in CLIENTS:
        world.run("ip", "addr", "add", f"{source}/32", "dev", "eth0")
    client = await cluster.run("client", one)
    assert len({(await ask(client.inside, cluster.vip("web")))[0] for _ in range(30)}) == 1

    before = await reached_by(world, one.host.address)
    assert set(before.values()) == {task.id for task in tasks}
    assert await reached_by(world, two.host.address) == before, "the other node sends each client to the same task"

    leaving = tasks[1]
    await cluster.set_ready(leaving, ready=False)
    after = await reached_by(world, one.host.address)
    assert {source for source in CLIENTS if after[source] != before[source]} == {
        source for source, task in before.items() if task == leaving.id
    }
    await cluster.set_ready(leaving, ready=True)
    assert await reached_by(world, one.host.address) == before, "and they come back to it"


# -- tasks nearby ----------------------------------------------------------------------------------------------------------------------
async def test_tasks_nearby_are_preferred_and_the_others_are_there_when_they_are_not(cluster: Rig) -> None:
    one, two = cluster.nodes
    net = network(1)
    cluster.service("web", net, ports=[WEB], prefer_local=True)
    cluster.service("client", net)
    near, far = [await cluster.run("web", node) for node in (one, two)]
    client = await cluster.run("client", one)
    world = cluster.lab.host("world", "10.99.0.9/24")

    async def answering(host: Task | Host, address: str, port: int) -> set[str]:
        return set(Counter([(await ask(host.inside, address, port))[0] for _ in range(30)]))

    assert await answering(client, cluster.vip("web"), PORT) == {near.id}
    assert await answering(world, one.host.address, 8080) == {near.id}
    assert await answering(world, two.host.address, 8080) == {far.id}
    await near.node.plane.withdraw(near.id)
    assert await answering(client, cluster.vip("web"), PORT) == {far.id}
    assert await answering(world, one.host.address, 8080) == {far.id}
