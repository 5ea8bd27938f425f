"""VIPs and overlays between real hosts with real engines: every claim of the data plane that a client can see from a container."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from integration.netlab import why_no_engine
from integration.plane_rig import Machines, Rig, ask, connect, machines, network, rig

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines("vip", tmp_path_factory.mktemp("vip"), hosts=2) as running:
        yield running


@pytest.fixture
async def cluster(there: Machines, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(there, tmp_path) as running:
        yield running


async def test_a_container_reaches_the_tasks_of_a_service_on_every_host_by_its_vip(cluster: Rig) -> None:
    net = network(1)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net)
    client = await cluster.run("client", one)
    backends = [await cluster.run("web", node) for node in (one, two, two)]

    direct = await ask(client.inside, backends[1].address(net))
    assert direct == (backends[1].id, client.address(net))

    answers = Counter([await ask(client.inside, cluster.vip("web")) for _ in range(90)])
    assert {task for task, _ in answers} == {task.id for task in backends}
    assert {seen for _, seen in answers} == {client.address(net)}, "a task sees the client's own address"
    assert min(answers.values()) > 10


async def test_an_internal_network_spans_hosts_and_leads_nowhere_else(cluster: Rig) -> None:
    net = network(2, internal=True)
    one, two = cluster.nodes
    cluster.service("web", net)
    client = await cluster.run("web", one)
    backend = await cluster.run("web", two)
    assert (await ask(client.inside, backend.address(net)))[0] == backend.id
    assert {(await ask(client.inside, cluster.vip("web")))[0] for _ in range(20)} == {client.id, backend.id}
    with pytest.raises(OSError):
        await connect(client.inside, two.host.address)


async def test_a_service_without_a_ready_task_refuses_at_once_and_serves_as_soon_as_one_is(cluster: Rig) -> None:
    net = network(1)
    one, two = cluster.nodes
    cluster.service("client", net)
    cluster.service("web", net)
    client = await cluster.run("client", one)
    backend = await cluster.run("web", two, ready=False)
    with pytest.raises(ConnectionRefusedError):
        await connect(client.inside, cluster.vip("web"), seconds=0.5)
    await cluster.set_ready(backend, ready=True)
    assert (await ask(client.inside, cluster.vip("web")))[0] == backend.id
