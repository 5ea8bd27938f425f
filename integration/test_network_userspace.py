"""Published ports where the kernel may not be programmed: carried on by a process a node, also between nodes of both kinds."""

import asyncio
import os
import signal
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cluster.api.endpoint import CLIENT_IP
from cluster.api.specs import PortConfig
from integration.netlab import Host, why_no_engine
from integration.plane_rig import PORT, Machines, Rig, Task, ask, connect, eventually, machines, network, rig
from worker.ports import SandboxError

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]

PUBLISHED = 8080
WEB = PortConfig(protocol="tcp", published_port=PUBLISHED, target_port=PORT, publish_mode="ingress")
ECHO = PortConfig(protocol="udp", published_port=5353, target_port=5000, publish_mode="ingress")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines("user", tmp_path_factory.mktemp("user"), hosts=3) as running:
        yield running


@pytest.fixture
async def cluster(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    """None of the nodes may program its kernel."""
    async with rig(there, tmp_path, unlinked=(1, 2, 3)) as running:
        yield running


@pytest.fixture
async def mixed(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    """The first may not, the others may."""
    async with rig(there, tmp_path, unlinked=(1,)) as running:
        yield running


def outside(cluster: Rig, name: str = "world", address: str = "10.99.0.9") -> Host:
    return cluster.lab.host(name, f"{address}/24")


async def reached(host: Host | Task, address: str, port: int = PUBLISHED, times: int = 30) -> Counter[str]:
    return Counter([(await ask(host.inside, address, port))[0] for _ in range(times)])


async def test_every_node_answers_to_all_and_spreads_over_all_ready_tasks(cluster: Rig) -> None:
    one, two, three = cluster.nodes
    cluster.service("web", ports=[WEB])
    tasks = [await cluster.run("web", node) for node in (one, one, two)]
    everyone = {task.id for task in tasks}
    world = outside(cluster)
    for node in (one, two, three):
        answers = await reached(world, node.host.address, times=60)
        assert answers.keys() == everyone, f"through {node.host.name}: three has no task and relays all the same"
        assert max(answers.values()) <= 35, f"a task counts once, wherever it is: {answers}"
    for node in (one, three):
        for address in ("127.0.0.1", node.host.address, two.host.address):
            assert (await reached(node.host, address)).keys() == everyone, f"{address} from {node.host.name}"
    assert (await reached(tasks[0], three.host.address)).keys() == everyone, "a task reaches its own service"


async def test_bulk_goes_both_ways_and_a_half_closed_connection_is_carried_to_its_end(cluster: Rig) -> None:
    one, _, three = cluster.nodes
    cluster.service("web", ports=[WEB])
    await cluster.run("web", one)
    world = outside(cluster)
    for node in (one, three):
        client = await connect(world.inside, node.host.address, PUBLISHED)
        reader, writer = await asyncio.open_connection(sock=client)
        await reader.readline()
        lines = 4000
        sent = b"".join(b"%08d " % number + bytes([65 + number % 26]) * 2000 + b"\n" for number in range(lines))

        async def say(writer: asyncio.StreamWriter = writer, sent: bytes = sent) -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(say())
            heard = group.create_task(reader.read(-1))
        assert heard.result() == sent
        writer.close()


async def test_a_task_that_is_withdrawn_keeps_its_connections_and_gets_no_new_ones(cluster: Rig) -> None:
    one, two, three = cluster.nodes
    cluster.service("web", ports=[WEB])
    leaves, stays = await cluster.run("web", one), await cluster.run("web", two)
    world = outside(cluster)
    kept = []
    while len({task for task, _, _ in kept}) < 2:
        client = await connect(world.inside, three.host.address, PUBLISHED)
        reader, writer = await asyncio.open_connection(sock=client)
        kept.append(((await reader.readline()).decode().split()[0], reader, writer))
    assert await one.plane.open_connections(leaves.id) > 0
    await one.plane.withdraw(leaves.id)
    assert (await reached(world, one.host.address)).keys() == {stays.id}, "at once here, whatever the managers say"
    await cluster.set_ready(leaves, ready=False)
    for node in cluster.nodes:
        assert (await reached(world, node.host.address)).keys() == {stays.id}
    for _, reader, writer in kept:
        writer.write(b"still there\n")
        assert await asyncio.wait_for(reader.readline(), 5) == b"still there\n"
        writer.close()
    await eventually(lambda: _no_connections(one.plane.open_connections(leaves.id)))


async def _no_connections(counted: "asyncio.Future[int] | object") -> bool:
    return await counted == 0  # type: ignore[misc]


async def test_a_task_or_a_node_that_is_gone_costs_no_request_while_another_is_left(cluster: Rig) -> None:
    """Before anybody was told: who does not answer is passed over."""
    one, two, three = cluster.nodes
    cluster.service("web", ports=[WEB])
    dies, far, stays = await cluster.run("web", one), await cluster.run("web", two), await cluster.run("web", one)
    await asyncio.to_thread(one.engine.docker, "kill", dies.assigned.name)
    world = outside(cluster)
    assert (await reached(world, one.host.address)).keys() == {far.id, stays.id}
    cluster.lab.unplug(two.host.name.rsplit("-", 1)[-1])
    try:
        assert (await reached(world, one.host.address)).keys() == {stays.id}
        assert (await reached(world, three.host.address, times=10)).keys() == {stays.id}
    finally:
        cluster.lab.plug(two.host.name.rsplit("-", 1)[-1])


async def test_datagrams_are_answered_from_the_address_that_was_asked_and_find_another_task_when_theirs_goes(cluster: Rig) -> None:
    one, two, three = cluster.nodes
    cluster.service("echo", ports=[ECHO])
    tasks = [await cluster.run("echo", node) for node in (one, two)]
    for task in tasks:
        await cluster.echo(task, 5000)
    world = outside(cluster)
    clients = [(host, node) for node in (one, three) for host in (world, three.host)]
    for host, node in clients:
        assert {await datagram(host, node.host.address, 5353) for _ in range(20)} == {task.id for task in tasks}
    with world.inside():
        steady = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    steady.connect((three.host.address, 5353))
    steady.setblocking(False)
    first = await said(steady)
    assert {await said(steady) for _ in range(10)} == {first}, "a flow stays with its task"
    goes = next(task for task in tasks if task.id == first)
    await cluster.set_ready(goes, ready=False)
    other = next(task for task in tasks if task is not goes)
    await eventually(lambda: _is(steady, other.id))
    steady.close()


async def _is(steady: socket.socket, name: str) -> bool:
    return await said(steady) == name


async def said(client: socket.socket) -> str:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, b"?")
    async with asyncio.timeout(5):
        return (await loop.sock_recv(client, 100)).decode()


async def datagram(host: Host, address: str, port: int) -> str:
    with host.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.setblocking(False)
        client.connect((address, port))
        return await said(client)


async def test_clients_stay_with_their_task_whichever_node_they_ask(cluster: Rig) -> None:
    cluster.service("web", ports=[WEB], affinity=CLIENT_IP)
    for node in cluster.nodes[:2]:
        for _ in range(2):
            await cluster.run("web", node)
    found = set()
    for number in range(20, 28):
        host = outside(cluster, f"c{number}", f"10.99.0.{number}")
        answers = [await reached(host, node.host.address, times=4) for node in cluster.nodes]
        assert len(set().union(*answers)) == 1, "one client, one task"
        found |= answers[0].keys()
    assert len(found) > 1, "not one task for all"


async def test_traffic_goes_on_through_the_end_of_the_daemon_and_ports_come_back_after_that_of_the_balancer(cluster: Rig) -> None:
    one, two, _ = cluster.nodes
    cluster.service("web", ports=[WEB])
    task = await cluster.run("web", two)
    world = outside(cluster)
    client = await connect(world.inside, one.host.address, PUBLISHED)
    reader, writer = await asyncio.open_connection(sock=client)
    await reader.readline()
    before = one.balancer()
    await one.stop()
    assert (await reached(world, one.host.address)).keys() == {task.id}
    await one.start()
    assert one.balancer() == before
    writer.write(b"on\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"on\n"
    writer.close()
    os.kill(before, signal.SIGKILL)
    running = asyncio.get_running_loop().create_task(one.plane.run())
    await eventually(lambda: _answers(world, one.host.address))
    running.cancel()
    assert one.balancer() != before


async def _answers(host: Host, address: str) -> bool:
    try:
        return bool(await ask(host.inside, address, PUBLISHED))
    except OSError:
        return False


async def test_a_port_that_somebody_has_is_said_and_one_that_is_published_no_more_is_free(cluster: Rig) -> None:
    one, two, _ = cluster.nodes
    with one.host.inside():
        squatter = socket.create_server(("127.0.0.1", PUBLISHED))
    cluster.service("web", ports=[WEB])
    task = await cluster.run("web", two)
    mine = f"{Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"
    assert f"port 8080/tcp of service web is not served here: {mine} has it" in one.trouble
    squatter.close()
    await one.plane.repair()  # type: ignore[attr-defined]
    assert len(one.trouble) == 1
    assert (await reached(outside(cluster), one.host.address)).keys() == {task.id}
    cluster.service("web")
    await cluster.tell()
    with one.host.inside():
        socket.create_server(("0.0.0.0", PUBLISHED)).close()


async def test_strangers_can_relay_nothing(cluster: Rig) -> None:
    one = cluster.nodes[0]
    cluster.service("web", ports=[WEB])
    await cluster.run("web", one)
    greeting = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, bytes([1, 2, 3, 4]), bytes(4), 9, PUBLISHED)
    for host, expected in ((outside(cluster), False), (cluster.nodes[1].host, True)):
        client = await connect(host.inside, one.host.address, 4789)
        with client:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, greeting)
            try:
                heard = await asyncio.wait_for(loop.sock_recv(client, 100), 5)
            except ConnectionError:
                heard = b""
        assert bool(heard) is expected, host.name


async def test_a_task_that_needs_an_overlay_is_refused_with_the_reason(cluster: Rig) -> None:
    cluster.service("shop", network(1))
    with pytest.raises(SandboxError, match="network shop_net1 cannot be set up on this node, since the test wants it so"):
        await cluster.run("shop", cluster.nodes[0])


async def test_nodes_of_both_kinds_reach_each_others_tasks(mixed: Rig) -> None:
    user, kernel, other = mixed.nodes
    mixed.service("web", ports=[WEB])
    mixed.service("echo", ports=[ECHO])
    tasks = [await mixed.run("web", node) for node in (user, kernel)]
    echoes = [await mixed.run("echo", node) for node in (user, kernel)]
    for task in echoes:
        await mixed.echo(task, 5000)
    world = outside(mixed)
    for node in (user, kernel, other):
        assert (await reached(world, node.host.address)).keys() == {task.id for task in tasks}, node.host.name
        assert {await datagram(world, node.host.address, 5353) for _ in range(20)} == {task.id for task in echoes}, node.host.name
    assert (await reached(user.host, kernel.host.address)).keys() == {task.id for task in tasks[1:]}, (
        "a node's own clients count as relayed"
    )
    assert (await reached(kernel.host, kernel.host.address)).keys() == {task.id for task in tasks}
