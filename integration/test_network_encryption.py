"""Encrypted overlays between real hosts: what a client sees is as on any other, what is between the hosts sees nothing."""

import asyncio
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cluster.api.endpoint import OverlayNetwork
from integration.netlab import why_no_engine
from integration.plane_rig import Machines, Node, Rig, Task, ask, connect, data_key, eventually, machines, network, rig
from integration.wiretap import Wiretap, put_on_the_wire

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]

MARK = b"the-payload-that-nobody-may-read"
OPEN_MARK = b"the-payload-that-everybody-reads"
SEALED_PORT = 4790
VXLAN_PORT = 4789


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines("encrypt", tmp_path_factory.mktemp("encrypt"), hosts=2) as running:
        yield running


@pytest.fixture
async def cluster(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(there, tmp_path) as running:
        yield running


class Talk:
    """A connection that is kept open; what is sent on it comes back."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    async def echoes(self, line: bytes, seconds: float = 10) -> bool:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._client, line + b"\n")
        answer = b""
        async with asyncio.timeout(seconds):
            while len(answer) < len(line) + 1:
                answer += await loop.sock_recv(self._client, 1 << 16)
        return answer == line + b"\n"

    def close(self) -> None:
        self._client.close()


async def talk(client: Task, address: str) -> Talk:
    opened = await connect(client.inside, address)
    async with asyncio.timeout(5):
        await asyncio.get_running_loop().sock_recv(opened, 1000)
    return Talk(opened)


async def pair(cluster: Rig, net: OverlayNetwork) -> tuple[Task, Task]:
    """A client on the first node, and a task of `web` on the second."""
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net)
    client, web = await cluster.run("client", one), await cluster.run("web", two)
    await met(cluster)
    return client, web


async def met(cluster: Rig) -> None:
    async def all_met() -> bool:
        for node in cluster.nodes:
            await node.plane.repair()
        return not any(node.plane.encryption.silent for node in cluster.nodes)

    await eventually(all_met)


def counts(node: Node) -> dict[str, int]:
    return dict(node.plane.encryption.counts)


async def test_tasks_reach_one_another_and_the_wire_shows_nothing_of_it(cluster: Rig) -> None:
    net, open_net = network(1, encrypted=True), network(2)
    client, web = await pair(cluster, net)
    cluster.service("plain", open_net)
    cluster.service("asker", open_net)
    plain, asker = await cluster.run("plain", cluster.nodes[1]), await cluster.run("asker", cluster.nodes[0])
    with Wiretap(cluster.lab) as tap:
        assert await ask(client.inside, web.address(net)) == (web.id, client.address(net))
        assert (await ask(client.inside, cluster.vip("web")))[0] == web.id
        hidden = await talk(client, cluster.vip("web"))
        assert await hidden.echoes(MARK)
        assert await hidden.echoes(MARK * 1000), "what the kernel hands over uncut arrives whole"
        hidden.close()
        shown = await talk(asker, plain.address(open_net))
        assert await shown.echoes(OPEN_MARK)
        shown.close()
        await eventually(_reached(lambda: tap.saw(OPEN_MARK) > 0))  # on a network that is not encrypted it is read by anyone
        assert tap.saw(MARK) == 0
        assert len(tap.datagrams(to=cluster.nodes[1].host.address, port=SEALED_PORT)) > 5


async def test_a_rotation_loses_no_packet_however_late_a_node_hears_of_it(cluster: Rig) -> None:
    client, web = await pair(cluster, network(1, encrypted=True))
    kept = await talk(client, cluster.vip("web"))
    stop, answered = asyncio.Event(), 0

    async def hammer() -> None:
        nonlocal answered
        while not stop.is_set():
            assert (await ask(client.inside, cluster.vip("web")))[0] == web.id
            assert await kept.echoes(MARK)
            answered += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(hammer())
        for number in range(3, 9):
            seen = answered
            cluster.keys = (*cluster.keys, data_key(number))[-3:]
            for node in cluster.nodes if number % 2 else reversed(cluster.nodes):
                await cluster.tell(node)
                until = answered + 5
                await eventually(_reached(lambda until=until: answered >= until))  # type: ignore[misc]
            assert answered > seen
        stop.set()
    kept.close()
    assert all(not counts(node).get(why) for node in cluster.nodes for why in ("unknown key", "forged", "replayed", "peer silent"))


def _reached(condition):  # type: ignore[no-untyped-def]
    async def holds() -> bool:
        return bool(condition())

    return holds


async def test_connections_outlive_the_daemon_and_the_process_that_seals(cluster: Rig) -> None:
    client, web = await pair(cluster, network(1, encrypted=True))
    kept = await talk(client, web.address(network(1)))
    one, two = cluster.nodes
    sealing = one.sealer()
    await one.stop()
    assert await kept.echoes(b"nobody is there to tell anything")
    await one.start()
    assert one.sealer() == sealing, "the new daemon found the process of the one before"
    assert await kept.echoes(b"the new daemon knows no key yet, and takes none away")
    await cluster.tell()
    for node in (one, two):
        os.kill(node.sealer(), signal.SIGKILL)
        await node.plane.repair()
        assert await kept.echoes(b"it was killed, and the daemon started another")
    assert one.sealer() != sealing
    kept.close()


async def test_a_node_without_keys_says_so_and_sends_nothing(cluster: Rig) -> None:
    net = network(1, encrypted=True)
    cluster.keys, keys = (), cluster.keys
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net)
    with Wiretap(cluster.lab) as tap:
        client, web = await cluster.run("client", one), await cluster.run("web", two)
        with pytest.raises(TimeoutError):
            await connect(client.inside, web.address(net), seconds=1)
        await one.plane.repair()
        assert counts(one)["no key yet"] > 0
        assert "no manager has told this node the keys" in one.trouble[0]
        assert not [frame for frame in tap.frames if MARK in frame or socket.inet_aton(web.address(net)) in frame]
    cluster.keys = keys
    await cluster.tell()
    await met(cluster)
    assert (await ask(client.inside, web.address(net)))[0] == web.id
    assert not one.trouble


async def test_a_peer_with_other_keys_is_not_spoken_to(cluster: Rig) -> None:
    """A node that was away for two rotations: until it is told the new ones, it and the others only greet one another in vain."""
    net = network(1, encrypted=True)
    client, web = await pair(cluster, net)
    one, two = cluster.nodes
    cluster.keys = (data_key(7), data_key(8), data_key(9))
    await cluster.tell(one)
    with pytest.raises(TimeoutError):
        await connect(client.inside, web.address(net), seconds=1)
    await one.plane.repair()
    await one.plane.repair()
    assert f"encrypted traffic to node {two.id} is dropped" in one.trouble[0]
    await cluster.tell(two)
    await met(cluster)
    assert (await ask(client.inside, web.address(net)))[0] == web.id


async def test_a_packet_that_comes_again_or_was_changed_is_dropped(cluster: Rig) -> None:
    net = network(1, encrypted=True)
    client, web = await pair(cluster, net)
    two = cluster.nodes[1]
    with web.inside():
        taking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client.inside():
        giving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    loop = asyncio.get_running_loop()
    with taking, giving, Wiretap(cluster.lab) as tap:
        taking.bind((web.address(net), 7000))
        for each in (taking, giving):
            each.setblocking(False)
        tap.frames.clear()
        await loop.sock_sendto(giving, b"once", (web.address(net), 7000))
        async with asyncio.timeout(5):
            assert await loop.sock_recv(taking, 100) == b"once"
        await eventually(_reached(lambda: tap.datagrams(to=two.host.address, port=SEALED_PORT)))
        sealed = tap.datagrams(to=two.host.address, port=SEALED_PORT)
        before = counts(two)
        for frame in sealed:
            put_on_the_wire(cluster.lab, frame, towards="h2")
            put_on_the_wire(cluster.lab, frame[:-1] + bytes((frame[-1] ^ 1,)), towards="h2")
            newer = (int.from_bytes(frame[50:58], "big") + 1).to_bytes(8, "big")
            put_on_the_wire(cluster.lab, frame[:50] + newer + frame[58:], towards="h2")
        await eventually(_dropped(two, before, "replayed", "forged"))
        with pytest.raises(BlockingIOError):
            taking.recv(100)
        os.kill(two.sealer(), signal.SIGKILL)  # nor after a restart, which remembers no numbers
        await two.plane.repair()
        await met(cluster)
        for frame in sealed:
            put_on_the_wire(cluster.lab, frame, towards="h2")
        await eventually(_dropped(two, {}, "forged"))
        with pytest.raises(BlockingIOError):
            taking.recv(100)


def _dropped(node: Node, before: dict[str, int], *reasons: str):  # type: ignore[no-untyped-def]
    async def holds() -> bool:
        await node.plane.repair()
        return all(counts(node).get(why, 0) > before.get(why, 0) for why in reasons)

    return holds


async def test_what_comes_in_the_clear_for_an_encrypted_network_is_dropped(cluster: Rig) -> None:
    net, open_net = network(1, encrypted=True), network(2)
    client, web = await pair(cluster, net)
    cluster.service("plain", open_net)
    plain = await cluster.run("plain", cluster.nodes[1])
    one, two = cluster.nodes
    loop = asyncio.get_running_loop()
    taking = []
    for task, on in ((web, net), (plain, open_net)):
        with task.inside():
            taking.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        taking[-1].bind((task.address(on), 7000))
        taking[-1].setblocking(False)
    with one.host.inside():
        forging = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with taking[0], taking[1], forging:
        for task, on in ((web, net), (plain, open_net)):
            forging.sendto(vxlan(on, to=task.address(on)), (two.host.address, VXLAN_PORT))
        async with asyncio.timeout(5):
            assert await loop.sock_recv(taking[1], 100) == MARK, "a network that is not encrypted takes it"
        with pytest.raises(BlockingIOError):
            taking[0].recv(100)
    assert (await ask(client.inside, web.address(net)))[0] == web.id


def vxlan(net: OverlayNetwork, *, to: str) -> bytes:
    """A VXLAN packet with a datagram in it, from an address that nobody has."""
    source, target = socket.inet_aton(net.subnet.replace(".0/24", ".250")), socket.inet_aton(to)
    udp = struct.pack("!4H", 7001, 7000, 8 + len(MARK), 0) + MARK
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + source + target
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    ethernet = b"\x02\x42" + target + b"\x02\x42" + source + b"\x08\x00"
    return struct.pack("!BxxxI", 8, net.vni << 8) + ethernet + head + udp


async def test_nothing_is_left_of_an_encrypted_network(cluster: Rig) -> None:
    net = network(1, encrypted=True)
    client, web = await pair(cluster, net)
    one, _ = cluster.nodes
    assert "sc-" in one.host.run("ip", "-o", "link")
    for task in (client, web):
        await cluster.end(task)
    assert "sc-" not in one.host.run("ip", "-o", "link")
    with pytest.raises(AssertionError):
        one.sealer()


async def test_a_device_that_somebody_removed_comes_back(cluster: Rig) -> None:
    net = network(1, encrypted=True)
    client, web = await pair(cluster, net)
    kept = await talk(client, web.address(net))
    one = cluster.nodes[0]
    device = next(word for word in one.host.run("ip", "-o", "link").split() if word.startswith("sc-")).rstrip(":")
    one.host.run("ip", "link", "del", device)
    await one.plane.repair()
    assert await kept.echoes(MARK)
    kept.close()
