"""VIPs and overlays between real hosts with real engines: every claim of the data plane that a client can see from a container."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from integration.netlab import why_no_engine
from integration.plane_rig import Rig, ask, network, rig

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())]


@pytest.fixture
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with rig("vip", tmp_path_factory.mktemp("vip"), hosts=2) as running:
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
