"""Names as a task asks for them: through the resolv.conf that it finds, at the gateway of its network, over both transports."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from cluster.aio.supervise import background
from integration.netlab import why_no_engine
from integration.plane_rig import Rig, Task, eventually, network, rig

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]


@pytest.fixture
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with rig("names", tmp_path_factory.mktemp("names"), hosts=2) as running:
        yield running


async def look_up(task: Task, name: str, kind: str = "A", *, stream: bool = False, seconds: float = 5) -> dns.message.Message:
    """As the task would: from its namespace."""
    question = dns.message.make_query(name, kind)

    def asking() -> dns.message.Message:
        with task.inside():
            ask = dns.query.tcp if stream else dns.query.udp
            return ask(question, "10.50.1.1", timeout=seconds)

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
