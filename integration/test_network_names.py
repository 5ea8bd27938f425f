"""Names as a task asks for them: through the resolv.conf that it finds, at the gateway of its network, over both transports."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from cluster.aio.supervise import background
from cluster.api.specs import ContainerSpec, DNSConfig
from integration.netlab import why_no_engine
from integration.plane_rig import Machines, Rig, Task, eventually, machines, network, rig

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines("names", tmp_path_factory.mktemp("names"), hosts=2) as running:
        yield running


@pytest.fixture
async def cluster(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(there, tmp_path) as running:
        yield running


async def look_up(
    task: Task, name: str, kind: str = "A", *, at: str = "10.50.1.1", stream: bool = False, seconds: float = 9
) -> dns.message.Message:
    """As the task would: from its namespace."""
    question = dns.message.make_query(name, kind)

    def asking() -> dns.message.Message:
        with task.inside():
            ask = dns.query.tcp if stream else dns.query.udp
            return ask(question, at, timeout=seconds)

    return await asyncio.to_thread(asking)


def addresses(answer: dns.message.Message) -> set[str]:
    return {record.to_text() for rrset in answer.answer for record in rrset}


async def test_a_task_finds_services_tasks_and_aliases_by_name_and_nothing_of_networks_it_is_not_on(cluster: Rig) -> None:
    net, other = network(1), network(2)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("shop_web", net, aliases=("web",))
    cluster.service("peers", net, dnsrr=True)
    cluster.service("hidden", other)
    client = await cluster.run("client", one)
    web = [await cluster.run("shop_web", node) for node in (one, two)]
    peers = [await cluster.run("peers", node) for node in (one, two)]
    await cluster.run("hidden", one)

    resolv = await asyncio.to_thread(one.engine.docker, "exec", client.assigned.name, "cat", "/etc/resolv.conf")
    assert resolv.splitlines() == ["nameserver 10.50.1.1", "options ndots:0"]
    seen = await asyncio.to_thread(one.engine.docker, "exec", client.assigned.name, "nslookup", "-type=a", "web")
    assert cluster.vip("shop_web") in seen

    for stream in (False, True):
        for name in ("shop_web", "web", "WEB.", "web.shop_net1"):
            assert addresses(await look_up(client, name, stream=stream)) == {cluster.vip("shop_web")}
        for name in ("tasks.shop_web", "tasks.web"):
            assert addresses(await look_up(client, name, stream=stream)) == {task.address(net) for task in web}
        assert addresses(await look_up(client, "peers", stream=stream)) == {task.address(net) for task in peers}
        assert addresses(await look_up(client, web[1].assigned.name, stream=stream)) == {web[1].address(net)}

    nothing = await look_up(client, "web", "AAAA")
    assert (nothing.rcode(), nothing.answer) == (dns.rcode.NOERROR, [])
    assert (await look_up(client, "hidden")).rcode() == dns.rcode.NXDOMAIN
    reverse = await look_up(client, "200.1.50.10.in-addr.arpa", "PTR")
    assert addresses(reverse) == {"client.shop_net1."}

    await cluster.set_ready(peers[0], ready=False)
    assert addresses(await look_up(client, "peers")) == {peers[1].address(net)}


async def test_an_answer_waits_until_the_vip_works_in_the_callers_namespace(cluster: Rig) -> None:
    net = network(1)
    one, _ = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net)
    await cluster.run("web", one)
    client = await cluster.start("client", one)

    started = asyncio.get_running_loop().time()
    refused = await look_up(client, "web")
    assert refused.rcode() == dns.rcode.SERVFAIL, "never NXDOMAIN: some resolvers take that as final"
    assert 1.5 < asyncio.get_running_loop().time() - started < 4

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(look_up(client, "web"))
        _, waiting = await asyncio.wait([asking], timeout=0.3)
        assert waiting, "no answer while the VIP leads nowhere"
        await one.plane.attach(client.assigned, client.container)
    assert addresses(asking.result()) == {cluster.vip("web")}


async def test_the_world_is_asked_by_the_hosts_servers_or_the_tasks_own_and_not_from_an_internal_network(cluster: Rig) -> None:
    one, _ = cluster.nodes
    inner, outer = network(1, internal=True), network(2)
    world = cluster.lab.host("world", "10.99.0.9/24")
    world.run("ip", "addr", "add", "10.99.0.10/24", "dev", "eth0")
    cluster.service("client", outer)
    cluster.service("chooser", outer)
    cluster.service("inner", inner)
    client = await cluster.run("client", one)
    own = ContainerSpec(dns_config=DNSConfig(nameservers=("10.99.0.10",), search=("example.org",), options=("timeout:1",)))
    chooser = await cluster.run("chooser", one, spec=own)
    secluded = await cluster.run("inner", one)
    resolv = await asyncio.to_thread(one.engine.docker, "exec", chooser.assigned.name, "cat", "/etc/resolv.conf")
    assert resolv.splitlines() == ["nameserver 10.50.2.1", "search example.org", "options timeout:1 ndots:0"]

    assert (await look_up(client, "example.org", at="10.50.2.1")).rcode() == dns.rcode.NXDOMAIN, "there is nobody to ask"
    (one.folder / "resolv.conf").write_text("nameserver 10.99.0.77\nnameserver 10.99.0.9\n")
    with world.inside():
        servers = [upstream("10.99.0.9", "192.0.2.9"), upstream("10.99.0.10", "192.0.2.10")]
    try:
        for stream in (False, True):
            assert addresses(await look_up(client, "example.org", at="10.50.2.1", stream=stream)) == {"192.0.2.9"}, "the first one is dead"
            assert addresses(await look_up(chooser, "example.org", at="10.50.2.1", stream=stream)) == {"192.0.2.10"}
        asked_before = servers[0].asked
        assert addresses(await look_up(client, "EXAMPLE.org", at="10.50.2.1")) == {"192.0.2.9"}
        assert servers[0].asked == asked_before, "it is remembered"
        assert (await look_up(secluded, "example.org")).rcode() == dns.rcode.NXDOMAIN
        assert addresses(await look_up(secluded, "inner")) == {cluster.vip("inner")}
    finally:
        for server in servers:
            server.close()
    assert (await look_up(chooser, "example.net", at="10.50.2.1")).rcode() == dns.rcode.SERVFAIL


class upstream:  # noqa: N801 - reads as what it makes
    """A name server of the world: everything has the same address."""

    def __init__(self, address: str, answer: str) -> None:
        self._answer = answer
        self.asked = 0
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind((address, 53))
        self._streams = socket.create_server((address, 53))
        for serve in (self._serve_datagrams, self._serve_streams):
            threading.Thread(target=serve, daemon=True).start()

    def close(self) -> None:
        for one in (self._datagrams, self._streams):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _respond(self, packet: bytes) -> bytes:
        self.asked += 1
        query = dns.message.from_wire(packet)
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", self._answer))
        return response.to_wire()

    def _serve_datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                packet, asker = self._datagrams.recvfrom(4096)
                if packet:
                    self._datagrams.sendto(self._respond(packet), asker)

    def _serve_streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                asker, _ = self._streams.accept()
                with asker:
                    answer = self._respond(asker.recv(4096)[2:])
                    asker.sendall(len(answer).to_bytes(2, "big") + answer)


async def test_names_are_answered_while_the_daemon_is_away_and_the_next_one_takes_over(cluster: Rig) -> None:
    net = network(1)
    one, _ = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net)
    client = await cluster.run("client", one)
    await one.stop()
    assert addresses(await look_up(client, "web")) == {cluster.vip("web")}

    await one.start()
    cluster.service("late", net)
    await cluster.tell()
    assert addresses(await look_up(client, "late")) == {cluster.vip("late")}

    async with background(one.plane.run):
        os.kill(one.name_server(), signal.SIGKILL)

        async def answers() -> bool:
            with contextlib.suppress(dns.exception.Timeout):
                return addresses(await look_up(client, "late", seconds=0.2)) == {cluster.vip("late")}
            return False

        await eventually(answers, seconds=5)
