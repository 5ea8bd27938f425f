"""Published ports, as seen from outside, from the nodes themselves and from containers; and what must not get in."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cluster.api.specs import PortConfig
from integration.netlab import Host, why_no_engine
from integration.plane_rig import PORT, Machines, Rig, Task, ask, connect, machines, network, rig

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]

PUBLISHED = 8080
WEB = PortConfig(protocol="tcp", published_port=PUBLISHED, target_port=PORT, publish_mode="ingress")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines("ingress", tmp_path_factory.mktemp("ingress"), hosts=3) as running:
        yield running


@pytest.fixture
async def cluster(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(there, tmp_path) as running:
        yield running


def outside(cluster: Rig) -> Host:
    return cluster.lab.host("world", "10.99.0.9/24")


async def reached(host: Host | Task, address: str, port: int = PUBLISHED, times: int = 40) -> Counter[tuple[str, str]]:
    return Counter([await ask(host.inside, address, port) for _ in range(times)])


@pytest.mark.parametrize("bridge_filter", ["0", "1"])
async def test_a_published_port_answers_on_every_node_and_the_task_sees_the_clients_own_address(cluster: Rig, bridge_filter: str) -> None:
    for node in cluster.nodes:
        node.host.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={bridge_filter}")
    one, two, three = cluster.nodes
    net = network(1)
    cluster.service("web", net, ports=[WEB])
    tasks = [await cluster.run("web", node) for node in (one, two)]
    everyone = {task.id for task in tasks}
    world = outside(cluster)

    for node in (one, two, three):
        answers = await reached(world, node.host.address)
        assert {task for task, _ in answers} == everyone, f"through {node.host.name}"
        assert {seen for _, seen in answers} == {"10.99.0.9"}, "three has no task and forwards all the same"

    for node in (one, three):
        for address in ("127.0.0.1", node.host.address):
            assert {task for task, _ in await reached(node.host, address)} == everyone, f"{address} on {node.host.name}"

    for address in (one.host.address, two.host.address, three.host.address, cluster.vip("web")):
        port = PORT if address == cluster.vip("web") else PUBLISHED
        answers = await reached(tasks[0], address, port)
        assert {task for task, _ in answers} == everyone, f"{address}: a task reaches its own service, itself included, by port and by VIP"


async def test_tasks_on_two_networks_on_an_internal_one_or_on_none_are_published_all_the_same(cluster: Rig) -> None:
    one, two, three = cluster.nodes
    cluster.service("both", network(1), network(2), ports=[WEB])
    cluster.service("inner", network(3, internal=True), ports=[PortConfig(protocol="tcp", published_port=8081, target_port=PORT)])
    cluster.service("alone", ports=[PortConfig(protocol="tcp", published_port=8082, target_port=PORT)])
    tasks = {name: [await cluster.run(name, node) for node in (one, two)] for name in ("both", "inner", "alone")}
    world = outside(cluster)
    for name, port in (("both", 8080), ("inner", 8081), ("alone", 8082)):
        for node in (one, three):
            answers = await reached(world, node.host.address, port)
            assert {task for task, _ in answers} == {task.id for task in tasks[name]}, name
            assert {seen for _, seen in answers} == {"10.99.0.9"}, name


async def test_one_source_port_may_be_used_towards_several_nodes_at_once(cluster: Rig) -> None:
    one, two, three = cluster.nodes
    cluster.service("web", network(1), ports=[WEB])
    task = await cluster.run("web", two)
    world = outside(cluster)

    open_at_once = []
    for node in (one, two, three):
        with world.inside():
            client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("10.99.0.9", 40000))
        async with asyncio.timeout(5):
            await asyncio.get_running_loop().sock_connect(client, (node.host.address, PUBLISHED))
        open_at_once.append(client)
    for number, client in enumerate(open_at_once):
        async with asyncio.timeout(5):
            greeting = await asyncio.get_running_loop().sock_recv(client, 1000)
            assert greeting == f"{task.id} 10.99.0.9\n".encode()
            await asyncio.get_running_loop().sock_sendall(client, b"%d\n" % number)
            assert await asyncio.get_running_loop().sock_recv(client, 1000) == b"%d\n" % number
        client.close()


async def test_nobody_reaches_a_task_but_through_its_network_or_a_published_port(cluster: Rig) -> None:
    one, two, _ = cluster.nodes
    first, second = network(1), network(2)
    cluster.service("first", first)
    cluster.service("second", second)
    target = await cluster.run("first", one)
    friend = await cluster.run("first", two)
    strangers = [await cluster.run("second", node) for node in (one, two)]
    assert (await ask(friend.inside, target.address(first)))[0] == target.id

    world = outside(cluster)
    world.run("ip", "route", "add", first.subnet, "via", one.host.address)
    for inside in (world.inside, *(stranger.inside for stranger in strangers)):
        with pytest.raises((TimeoutError, OSError)):
            await connect(inside, target.address(first), seconds=0.7)


@pytest.mark.parametrize("bridge_filter", ["0", "1"])
async def test_published_tasks_without_a_network_are_kept_apart_but_for_their_ports(cluster: Rig, bridge_filter: str) -> None:
    one, *_ = cluster.nodes
    one.host.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={bridge_filter}")
    cluster.service("left", ports=[WEB])
    cluster.service("right", ports=[PortConfig(protocol="tcp", published_port=8081, target_port=PORT)])
    left, right = [await cluster.run(name, one) for name in ("left", "right")]
    with pytest.raises((TimeoutError, OSError)):
        await connect(left.inside, right.container.addresses["shoal_gw"], seconds=0.7)
    for client in (left, right):
        assert (await ask(client.inside, one.host.address, 8081))[0] == right.id


async def test_a_published_port_53_takes_neither_the_tasks_nor_the_hosts_own_names(cluster: Rig) -> None:
    one, *_ = cluster.nodes
    net = network(1)
    cluster.service("resolver", net, ports=[PortConfig(protocol="tcp", published_port=53, target_port=PORT)])
    task = await cluster.run("resolver", one)
    with one.host.inside():
        local = socket.create_server(("127.0.0.53", 53))
    with local:
        client = await connect(task.inside, net.gateway, 53)
        client.close()
        client = await connect(one.host.inside, "127.0.0.53", 53)
        accepted, _ = local.accept()
        accepted.close()
        client.close()
    assert (await ask(one.host.inside, "127.0.0.1", 53))[0] == task.id
    question = await asyncio.to_thread(one.engine.docker, "exec", task.assigned.name, "nslookup", "-type=a", "resolver")
    assert cluster.vip("resolver") in question


async def test_what_a_node_was_sent_and_has_no_task_for_is_refused_at_once_through_the_node_that_was_asked(cluster: Rig) -> None:
    one, _, three = cluster.nodes
    cluster.service("web", network(1), ports=[WEB])
    task = await cluster.run("web", one)
    world = outside(cluster)
    assert set(await reached(world, three.host.address)) == {(task.id, "10.99.0.9")}
    await one.plane.withdraw(task.id)
    await one.plane.remove(task.id)
    with pytest.raises(ConnectionRefusedError):
        await connect(world.inside, three.host.address, PUBLISHED, seconds=0.9)


@pytest.mark.parametrize("bridge_filter", ["0", "1"])
async def test_connections_on_their_way_to_a_task_that_leaves_arrive_and_to_one_that_left_go_elsewhere(
    cluster: Rig, bridge_filter: str
) -> None:
    """Three has not heard of it yet, and sends everything by node one."""
    one, two, three = cluster.nodes
    for node in cluster.nodes:
        node.host.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-iptables={bridge_filter}")
    cluster.service("web", network(1), ports=[WEB])
    leaving, staying = await cluster.run("web", one), await cluster.run("web", two)
    world = outside(cluster)
    await one.plane.withdraw(leaving.id)
    answers = await reached(world, three.host.address)
    assert {task for task, _ in answers} == {leaving.id, staying.id}, "it takes what others still send"
    assert {task for task, _ in await reached(world, one.host.address)} == {staying.id}, "and nothing from its own node"

    await one.plane.remove(leaving.id)
    for node in (one, three):
        answers = await reached(world, node.host.address)
        assert set(answers) == {(staying.id, "10.99.0.9")}, "by one node more, and still with the client's own address"
    answers = await reached(one.host, two.host.address)
    assert {task for task, _ in answers} == {staying.id}, "even when the client is the node itself, and two is where it came from"


async def test_udp_is_published_and_flows_move_on_when_their_task_goes(cluster: Rig) -> None:
    one, two, three = cluster.nodes
    net = network(1)
    cluster.service("echo", net, ports=[PortConfig(protocol="udp", published_port=5353, target_port=5353)])
    cluster.service("client", net)
    tasks = [await cluster.run("echo", node, serve=False) for node in (one, two)]
    client = await cluster.run("client", one)
    loop = asyncio.get_running_loop()
    for task in tasks:
        await cluster.echo(task, 5353)

    async def which(asker: socket.socket) -> str:
        async with asyncio.timeout(3):
            await loop.sock_sendall(asker, b"?")
            return (await loop.sock_recv(asker, 100)).decode()

    world = outside(cluster)
    for inside, address, port in ((world.inside, three.host.address, 5353), (client.inside, cluster.vip("echo"), 5353)):
        with inside():
            asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.setblocking(False)
        asker.connect((address, port))
        before = await which(asker)
        assert {await which(asker) for _ in range(5)} == {before}, "a flow stays where it is"
        leaving = next(task for task in tasks if task.id == before)
        await cluster.set_ready(leaving, ready=False)
        assert await which(asker) != before
        await cluster.set_ready(leaving, ready=True)

        before = await which(asker)
        await one.stop()
        await one.start()
        assert await which(asker) == before
        await cluster.set_ready(next(task for task in tasks if task.id == before), ready=False)
        assert await which(asker) != before, "a daemon that began after the flow knows of it all the same"
        for task in tasks:
            await cluster.set_ready(task, ready=True)
        asker.close()
