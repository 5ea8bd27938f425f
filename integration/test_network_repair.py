"""What the data plane keeps through changes, restarts and other people's hands, and what it leaves behind: nothing."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest

from cluster.aio.supervise import background
from cluster.api.endpoint import EndpointUpdate
from cluster.api.specs import NetworkAttachmentConfig, PortConfig, TaskSpec
from integration.netlab import Host, why_no_engine
from integration.plane_rig import (
    INGRESS_SUBNET,
    PORT,
    Machines,
    Node,
    Rig,
    Task,
    ask,
    connect,
    eventually,
    machines,
    network,
    rig,
    state_of,
)
from worker.ports import EngineNetwork, SandboxError

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]

PUBLISHED = 8080
WEB = PortConfig(protocol="tcp", published_port=PUBLISHED, target_port=PORT, publish_mode="ingress")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines("repair", tmp_path_factory.mktemp("repair"), hosts=2) as running:
        yield running


@pytest.fixture
async def cluster(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(there, tmp_path) as running:
        yield running


class Talk:
    """A connection that is kept open, and used now and then."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    async def still_works(self) -> bool:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            await loop.sock_sendall(self._client, b"again\n")
            return await loop.sock_recv(self._client, 100) == b"again\n"

    def close(self) -> None:
        self._client.close()


async def talk(client: Host | Task, address: str, port: int) -> tuple[Talk, str]:
    """An open connection, and the task at the other end."""
    opened = await connect(client.inside, address, port)
    async with asyncio.timeout(5):
        greeting = await asyncio.get_running_loop().sock_recv(opened, 1000)
    return Talk(opened), greeting.decode().split()[0]


async def test_no_connection_fails_while_backends_come_and_go_and_open_ones_stay_where_they_are(cluster: Rig) -> None:
    net = network(1)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net, ports=[WEB])
    client = await cluster.run("client", one)
    tasks = [await cluster.run("web", node) for node in (one, two, two)]
    kept = [await talk(client, cluster.vip("web"), PORT) for _ in range(12)]
    kept += [await talk(one.host, two.host.address, PUBLISHED) for _ in range(12)]
    assert {task for _, task in kept} == {task.id for task in tasks}

    stop = asyncio.Event()
    answered = 0

    async def hammer(inside: Host | Task, address: str, port: int) -> None:
        nonlocal answered
        while not stop.is_set():
            await ask(inside.inside, address, port)
            answered += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(hammer(client, cluster.vip("web"), PORT))
        group.create_task(hammer(two.host, one.host.address, PUBLISHED))
        for number in range(30):
            await cluster.set_ready(tasks[number % 3], ready=False)
            await cluster.set_ready(tasks[number % 3], ready=True)
        stop.set()
    assert answered > 100
    assert all([await opened.still_works() for opened, _ in kept])

    before = await one.plane.open_connections(tasks[0].id)
    assert before == sum(task == tasks[0].id for _, task in kept)
    await one.plane.withdraw(tasks[0].id)
    left = {task for task, _ in [await ask(client.inside, cluster.vip("web")) for _ in range(30)]}
    assert left == {tasks[1].id, tasks[2].id}, "a node takes its own task out without being told by a manager"
    assert all([await opened.still_works() for opened, _ in kept])
    for opened, _ in kept:
        opened.close()


async def test_a_restarted_daemon_takes_up_what_is_there_and_breaks_no_connection(cluster: Rig) -> None:
    net = network(1)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net, ports=[WEB])
    client = await cluster.run("client", one)
    remote = await cluster.run("web", two)
    kept = [(await talk(client, cluster.vip("web"), PORT))[0], (await talk(two.host, one.host.address, PUBLISHED))[0]]

    await one.stop()
    assert (await ask(client.inside, cluster.vip("web")))[0] == remote.id, "traffic does not need the daemon"
    await one.start()
    local = await cluster.run("web", one)
    await cluster.set_ready(remote, ready=False)
    assert (await ask(client.inside, cluster.vip("web")))[0] == local.id, "the client's namespace is still known"
    assert all([await opened.still_works() for opened in kept])

    await one.stop()
    (one.folder / "run" / "network.state").unlink()
    await one.start()
    await cluster.tell()
    await one.plane.serve([net])
    for task in (client, local):
        await one.plane.attach(task.assigned, task.container)
    await cluster.set_ready(remote, ready=True)
    assert {(await ask(client.inside, cluster.vip("web")))[0] for _ in range(20)} == {local.id, remote.id}
    assert all([await opened.still_works() for opened in kept]), "even when all that it knew is lost"
    for opened in kept:
        opened.close()


async def test_what_somebody_else_removed_is_put_back(cluster: Rig) -> None:
    net = network(1)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net, ports=[WEB])
    client = await cluster.run("client", one)
    task = await cluster.run("web", two)
    rules_before = one.host.run("ip", "rule")
    device = f"sv-{net.network_id[:12]}"

    async def works() -> bool:
        try:
            async with asyncio.timeout(1):
                by_vip = (await ask(client.inside, cluster.vip("web")))[0] == task.id
            async with asyncio.timeout(1):
                return by_vip and (await ask(one.host.inside, one.host.address, PUBLISHED))[0] == task.id
        except (OSError, TimeoutError):
            return False

    sandbox = f"--net=/proc/{client.container.pid}/ns/net"
    damages = [
        ("nft", "flush", "ruleset"),
        ("nft", "delete", "table", "ip", "shoal"),
        ("nsenter", sandbox, "nft", "flush", "ruleset"),
        ("ip", "link", "del", device),
        ("ip", "link", "del", "shoal_link"),
        ("bridge", "fdb", "flush", "dev", device),
        ("ip", "link", "set", device, "nomaster"),
    ]
    assert await works()
    one.host.run("iptables", "-F", "DOCKER-USER")
    await one.plane.repair()
    assert "connmark match" in one.host.run("iptables", "-L", "DOCKER-USER", "-n")
    for damage in damages:
        one.host.run(*damage)
        assert not await works(), damage
        await one.plane.repair()
        assert await works(), damage
    neighbours = one.host.run("ip", "neigh", "show", "dev", device)  # the client still remembers what they said
    one.host.run("ip", "neigh", "flush", "dev", device, "nud", "all")
    one.host.run("ip", "rule", "del", "pref", "5348")
    await one.plane.repair()
    assert one.host.run("ip", "rule") == rules_before
    assert task.address(net) in neighbours
    assert one.host.run("ip", "neigh", "show", "dev", device) == neighbours
    await asyncio.to_thread(one.engine.restart)  # the first damage took Docker's own rules too


async def test_a_bridge_that_somebody_removed_is_back_with_its_tasks_on_it_and_open_connections_go_on(cluster: Rig) -> None:
    """By us at once, or by an engine that starts again, which puts nobody back on it."""
    net = network(1)
    one, two = cluster.nodes
    bridge = f"sb-{net.network_id[:12]}"
    await asyncio.to_thread(one.engine.restart, "--live-restore")
    cluster.service("client", net)
    cluster.service("web", net, ports=[WEB])
    client = await cluster.run("client", one)
    tasks = [await cluster.run("web", node) for node in (one, two)]
    kept = [(await talk(client, cluster.vip("web"), PORT))[0] for _ in range(6)]
    kept += [(await talk(two.host, one.host.address, PUBLISHED))[0] for _ in range(6)]
    before = one.host.run("ip", "-4", "-o", "addr", "show", "dev", bridge).split()[3]

    async def all_serve() -> bool:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                asked = [await ask(two.host.inside, one.host.address, PUBLISHED) for _ in range(12)]
                asked += [await ask(client.inside, cluster.vip("web")) for _ in range(12)]
                return {task for task, _ in asked} == {task.id for task in tasks}
        return False

    def engine_makes_it() -> None:
        one.host.run("ip", "link", "del", bridge)
        one.engine.restart("--live-restore")

    async with background(one.plane.run):
        for damage in (lambda: one.host.run("ip", "link", "del", bridge), engine_makes_it):
            await asyncio.to_thread(damage)
            damaged = asyncio.get_running_loop().time()
            await eventually(all_serve, seconds=8)
            assert asyncio.get_running_loop().time() - damaged < 5, "the regular look comes every ten seconds"
            assert all([await opened.still_works() for opened in kept])
    assert one.host.run("ip", "-4", "-o", "addr", "show", "dev", bridge).split()[3] == before
    for opened in kept:
        opened.close()
    await asyncio.to_thread(one.engine.restart)


async def test_nothing_is_left_after_the_last_task_and_after_leaving(cluster: Rig) -> None:
    one, two = cluster.nodes

    def traces(node: Node) -> dict[str, str]:
        links = "\n".join(line.split(":")[1].split("@")[0] for line in node.host.run("ip", "-o", "link").splitlines())
        return {
            "links": links,
            "rules": node.host.run("ip", "rule"),
            "routes": node.host.run("ip", "-4", "route", "show", "table", "all"),
            "networks": node.engine.docker("network", "ls", "--format", "{{.Name}}"),
        }

    cluster.service("idle", network(9))
    await cluster.tell()
    idle = [traces(node) for node in cluster.nodes]
    descriptors = len(os.listdir("/proc/self/fd"))
    cluster.service("web", network(1), network(2), ports=[WEB])
    cluster.service("alone", ports=[PortConfig(protocol="tcp", published_port=8081, target_port=PORT)])
    for _ in range(2):
        tasks = [await cluster.run(name, node, serve=False) for name in ("web", "alone") for node in (one, two)]
        for task in tasks:
            await cluster.end(task)
    for node, before in zip(cluster.nodes, idle, strict=True):
        for kind, there in traces(node).items():
            assert there == before[kind], kind
    for name in ("web", "alone"):
        del cluster.services[name]
    await cluster.tell()  # with the services go the sockets that held their ports
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 4  # to each name server a connection, and one to its process

    for node in cluster.nodes:
        name_server = node.name_server()
        await node.plane.clear()
        left = traces(node)
        assert "shoal" not in "".join(left.values())
        assert "shoal" not in node.host.run("nft", "list", "tables")
        assert "connmark" not in node.host.run("iptables-save")
        assert not Path(f"/proc/{name_server}").exists()
        assert {path.name for path in (node.folder / "run").rglob("*") if path.is_file()} <= {"dns.log"}


async def test_a_network_that_would_cut_the_node_off_is_refused_by_name(cluster: Rig) -> None:
    one, _ = cluster.nodes
    bad = msgspec.structs.replace(network(1), name="shop_bad", subnet="10.99.0.0/24", gateway="10.99.0.1")
    cluster.networks[bad.network_id] = bad
    cluster.service("web", bad)
    await cluster.tell()
    with pytest.raises(SandboxError, match=r"shop_bad \(10.99.0.0/24\) meets this host's own route 10.99.0.0/24 on eth0"):
        await one.plane.prepare(cluster.assign("web", one))
    assert "shoal-" not in one.engine.docker("network", "ls")


async def test_a_node_link_that_would_cut_the_node_off_is_not_made_until_it_would_not(cluster: Rig) -> None:
    one, _ = cluster.nodes
    one.host.run("ip", "route", "add", "10.96.3.0/24", "via", "10.99.0.77")
    update = EndpointUpdate(version=1, complete=True, peers=tuple(node.peer for node in cluster.nodes), ingress_subnet=INGRESS_SUBNET)
    assert await one.plane.update(update) == 0, "not held, so not acknowledged"
    assert "shoal_link" not in one.host.run("ip", "link")
    one.host.run("ip", "route", "del", "10.96.3.0/24")
    await one.plane.repair()
    assert "shoal_link" in one.host.run("ip", "link")


async def test_a_node_whose_address_went_says_so_until_it_is_back(cluster: Rig) -> None:
    one, _ = cluster.nodes
    await cluster.tell()
    for gone in ("del", "add"):
        one.host.run("ip", "addr", gone, f"{one.host.address}/24", "dev", "eth0")
        await one.plane.repair()
        said = f"other nodes do not reach the tasks here: {one.host.address} is no address of this host any more"
        assert any(text.startswith(said) for text in one.trouble) is (gone == "del")


async def test_tasks_on_the_engines_own_networks_are_left_alone(cluster: Rig) -> None:
    one, _ = cluster.nodes
    cluster.service("plain")
    plain = cluster.assign("plain", one)
    assert (await one.plane.prepare(plain)).networks == (EngineNetwork(name="bridge"),)
    for name in ("host", "none", "bridge"):
        task = msgspec.structs.replace(plain, spec=TaskSpec(networks=(NetworkAttachmentConfig(target=name),)))
        plan = await one.plane.prepare(task)
        assert (plan.networks, plan.binds) == ((EngineNetwork(name=name),), ())
        await one.plane.remove(task.id)


# -- while traffic goes on -----------------------------------------------------------------------------------------------------------------
async def test_flushed_rules_are_back_at_once_and_no_open_connection_is_lost(cluster: Rig) -> None:
    net = network(1)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net, ports=[WEB])
    client = await cluster.run("client", one)
    task = await cluster.run("web", two)
    kept = [(await talk(client, cluster.vip("web"), PORT))[0], (await talk(two.host, one.host.address, PUBLISHED))[0]]

    async def works() -> bool:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(0.3):
                return (await ask(two.host.inside, one.host.address, PUBLISHED))[0] == task.id
        return False

    loop = asyncio.get_running_loop()
    async with background(one.plane.run):
        for _ in range(3):
            one.host.run("nft", "flush", "ruleset")
            flushed = loop.time()
            await eventually(works, seconds=5)
            assert loop.time() - flushed < 2, "the regular look comes every ten seconds"
            assert all([await opened.still_works() for opened in kept])
    for opened in kept:
        opened.close()
    await asyncio.to_thread(one.engine.restart)  # Docker's own rules went too


async def test_a_task_that_clears_its_own_rules_gets_them_back_and_harms_nobody_else(cluster: Rig) -> None:
    """It has CAP_NET_ADMIN in its namespace, and nothing else."""
    net = network(1)
    one, two = cluster.nodes
    for name in ("wild", "tame"):
        cluster.service(name, net)
    cluster.service("web", net, ports=[WEB])
    wild, tame = await cluster.run("wild", one), await cluster.run("tame", one)
    task = await cluster.run("web", two)
    kept = (await talk(tame, cluster.vip("web"), PORT))[0]
    elsewhere = [rules_of(one, tame), one.host.run("nft", "list", "table", "ip", "shoal")]

    as_itself = ("nsenter", f"--net=/proc/{wild.container.pid}/ns/net", "setpriv", "--bounding-set", "-all,+net_admin", "--")
    for command in (("nft", "flush", "ruleset"), ("nft", "delete", "table", "ip", "shoal"), ("ip", "neigh", "flush", "all")):
        before = rules_of(one, wild)
        one.host.run(*as_itself, *command)
        assert (await ask(tame.inside, cluster.vip("web")))[0] == task.id
        assert (await ask(one.host.inside, "127.0.0.1", PUBLISHED))[0] == task.id
        await one.plane.repair()
        assert rules_of(one, wild) == before
        assert (await ask(wild.inside, cluster.vip("web")))[0] == task.id
    assert await kept.still_works()
    kept.close()
    assert [rules_of(one, tame), one.host.run("nft", "list", "table", "ip", "shoal")] == elsewhere


def rules_of(node: Node, task: Task) -> list[str]:
    """Ours in its namespace; the engine's are the engine's."""
    listing = ("nsenter", f"--net=/proc/{task.container.pid}/ns/net", "nft", "list", "table", "ip")
    return [node.host.run(*listing, name) for name in ("shoal", "shoal_anchor")]


async def test_a_restarted_engine_has_its_bridges_and_tasks_again_and_those_elsewhere_go_on(cluster: Rig) -> None:
    net = network(1)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net, ports=[WEB])
    client = await cluster.run("client", two)
    stays = await cluster.run("web", two)
    ends = await cluster.run("web", one)
    kept = (await talk(client, stays.address(net), PORT))[0]
    await asyncio.to_thread(one.engine.restart)  # without live-restore its containers have ended
    await cluster.set_ready(ends, ready=False)
    await one.plane.repair()
    assert await kept.still_works()
    assert {(await ask(two.host.inside, one.host.address, PUBLISHED))[0] for _ in range(8)} == {stays.id}

    await asyncio.to_thread(one.engine.docker, "start", ends.assigned.name)
    again = Task(one, ends.assigned, state_of(one.engine, ends.assigned.name), ends.plan)
    await one.plane.attach(again.assigned, again.container)
    await cluster.serve(again)
    await cluster.set_ready(again, ready=True)
    assert {(await ask(client.inside, cluster.vip("web")))[0] for _ in range(20)} == {stays.id, ends.id}
    assert {(await ask(two.host.inside, one.host.address, PUBLISHED))[0] for _ in range(20)} == {stays.id, ends.id}
    kept.close()


async def test_an_underlay_whose_mtu_shrinks_under_running_tasks_still_carries_large_answers(cluster: Rig) -> None:
    net = network(1)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net, ports=[WEB])
    client = await cluster.run("client", one)
    task = await cluster.run("web", two)
    large = (b"x" * 9_999 + b"\n") * 20

    async def carries(inside: Callable[[], AbstractContextManager[None]], address: str, port: int) -> bool:
        """There and back, in full-sized packets."""
        opened = await connect(inside, address, port)
        reader, writer = await asyncio.open_connection(sock=opened)
        try:
            async with asyncio.timeout(5):
                await reader.readline()
                writer.write(large)
                return await reader.readexactly(len(large)) == large
        finally:
            writer.close()

    ways = ((client.inside, cluster.vip("web"), PORT), (client.inside, task.address(net), PORT), (one.host.inside, "127.0.0.1", PUBLISHED))
    for mtu in ("1500", "1400", "1280"):
        for node in cluster.nodes:
            node.host.run("ip", "link", "set", "eth0", "mtu", mtu)
            await node.plane.repair()
        for inside, address, port in ways:
            assert await carries(inside, address, port), f"{address}:{port} over an underlay of {mtu}"
    for node in cluster.nodes:
        node.host.run("ip", "link", "set", "eth0", "mtu", "1500")
