"""Published ports are held on every node: others cannot take them, and what others have is not taken."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from cluster.aio.supervise import background
from cluster.api.specs import PortConfig
from integration.netlab import Host, why_no_engine
from integration.plane_rig import PORT, Machines, Rig, ask, connect, machines, network, rig

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]

WEB = PortConfig(protocol="tcp", published_port=8080, target_port=PORT, publish_mode="ingress")
UDP = PortConfig(protocol="udp", published_port=5300, target_port=5300, publish_mode="ingress")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines("ports", tmp_path_factory.mktemp("ports"), hosts=2) as running:
        yield running


@pytest.fixture
async def cluster(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(there, tmp_path) as running:
        yield running


def listen(host: Host, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    with host.inside():
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    if kind is socket.SOCK_STREAM:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, port))
        if kind is socket.SOCK_STREAM:
            made.listen()
    except OSError:
        made.close()
        raise
    return made


@pytest.mark.parametrize(
    ("address", "port", "kind"),
    [
        ("0.0.0.0", 8080, socket.SOCK_STREAM),
        ("127.0.0.1", 8080, socket.SOCK_STREAM),
        ("::", 8080, socket.SOCK_STREAM),
        ("0.0.0.0", 5300, socket.SOCK_DGRAM),
    ],
    ids=["tcp", "tcp on 127.0.0.1", "tcp by IPv6", "udp"],
)
async def test_nobody_else_can_take_a_published_port_until_it_is_given_up(
    cluster: Rig, address: str, port: int, kind: socket.SocketKind
) -> None:
    one, two = cluster.nodes
    cluster.service("web", network(1), ports=[WEB, UDP])
    await cluster.run("web", two)
    with pytest.raises(OSError, match="in use") as refused:
        listen(one.host, address, port, kind)
    assert refused.value.errno == errno.EADDRINUSE
    assert ":8080 " in one.host.run("ss", "-ltnH")

    cluster.services.clear()
    await cluster.tell()
    listen(one.host, address, port, kind).close()


async def test_a_port_that_is_held_and_has_no_task_refuses_at_once(cluster: Rig) -> None:
    one, _ = cluster.nodes
    cluster.service("web", network(1), ports=[WEB])
    await cluster.tell()
    world = cluster.lab.host("world", "10.99.0.9/24")
    for inside, address in ((world.inside, one.host.address), (one.host.inside, "127.0.0.1")):
        with pytest.raises(ConnectionRefusedError):
            await connect(inside, address, 8080)


async def test_traffic_of_a_program_that_was_there_first_is_not_taken_and_said_to_be_so(
    cluster: Rig, request: pytest.FixtureRequest
) -> None:
    one, two = cluster.nodes
    first = listen(one.host, "0.0.0.0", 8080)
    request.addfinalizer(first.close)
    cluster.service("web", network(1), ports=[WEB])
    task = await cluster.run("web", two)
    world = cluster.lab.host("world", "10.99.0.9/24")
    client = await connect(world.inside, one.host.address, 8080)
    first.accept()[0].close()
    client.close()
    assert len(one.trouble) == 1
    assert one.trouble[0].startswith("port 8080/tcp of service web is not served here: ")
    assert "(process " in one.trouble[0]
    assert (await ask(world.inside, two.host.address, 8080))[0] == task.id

    first.close()
    await one.plane.repair()
    assert one.trouble == ()
    assert (await ask(world.inside, one.host.address, 8080))[0] == task.id, "taken over once it is free"


async def test_a_program_at_one_address_keeps_that_one(cluster: Rig) -> None:
    one, two = cluster.nodes
    first = listen(one.host, "127.0.0.1", 8080)
    cluster.service("web", network(1), ports=[WEB])
    task = await cluster.run("web", two)
    client = await connect(one.host.inside, "127.0.0.1", 8080)
    first.accept()[0].close()
    client.close()
    assert (await ask(one.host.inside, one.host.address, 8080))[0] == task.id
    first.close()


async def test_a_port_published_on_one_address_is_there_and_nowhere_else(cluster: Rig) -> None:
    one, two = cluster.nodes
    chosen = msgspec.structs.replace(WEB, host_ip=one.host.address)
    cluster.service("web", network(1), ports=[chosen])
    task = await cluster.run("web", two)
    world = cluster.lab.host("world", "10.99.0.9/24")
    assert (await ask(world.inside, one.host.address, 8080))[0] == task.id
    for inside, address in ((one.host.inside, "127.0.0.1"), (world.inside, two.host.address)):
        with pytest.raises(ConnectionRefusedError):
            await connect(inside, address, 8080)
    assert f"{one.host.address}:8080 " in one.host.run("ss", "-ltnH")
    assert (one.trouble, two.trouble) == ((), ()), "that the other node lacks the address is no fault"


async def test_a_published_port_answers_by_ipv6(cluster: Rig) -> None:
    one, two = cluster.nodes
    cluster.service("web", network(1), ports=[WEB])
    task = await cluster.run("web", two)
    loop = asyncio.get_running_loop()
    async with background(one.plane.run):
        with one.host.inside():
            client = socket.socket(socket.AF_INET6)
        client.setblocking(False)
        with client:
            async with asyncio.timeout(10):
                await loop.sock_connect(client, ("::1", 8080))
                assert (await loop.sock_recv(client, 100)).decode().split()[0] == task.id
                await loop.sock_sendall(client, b"there and back\n")
                assert await loop.sock_recv(client, 100) == b"there and back\n"
