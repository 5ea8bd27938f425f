"""The promises of the engine's networks, kept by the twin and by dockerd alike."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integration.netlab import Lab, why_no_engine
from node_agent.network.engine_networks import DockerNetworks
from node_agent.network.memory_networks import MemoryNetworks
from node_agent.network.ports import BridgeNetwork, EngineNetworks
from worker.ports import EngineError, EngineGone

WANTED = BridgeNetwork(
    name="shoal-contract",
    bridge="sb-contract",
    subnet="10.50.1.0/24",
    gateway="10.50.1.1",
    mtu=1400,
    labels={"shoal.network": "contract"},
    internal=True,
)
needs_engine = pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine())


@pytest.fixture(params=["memory", pytest.param("dockerd", marks=[pytest.mark.root, pytest.mark.engine, needs_engine])])
async def networks(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EngineNetworks]:
    if request.param == "memory":
        yield MemoryNetworks()
        return
    with Lab("contract") as lab:
        engine = lab.host("one", "10.99.0.1/24").engine(tmp_path / "engine")
        async with DockerNetworks(engine.socket) as docker:
            yield docker


async def test_a_network_is_there_as_wanted_listed_by_its_label_and_gone_when_removed(networks: EngineNetworks) -> None:
    assert await networks.create_network(WANTED) == WANTED
    assert await networks.create_network(BridgeNetwork(name=WANTED.name, bridge="other")) == WANTED, "one that is there is taken as it is"
    plain = await networks.create_network(BridgeNetwork(name="plain", bridge="plain", isolated=True))
    assert plain.isolated
    assert plain.subnet, "the engine chose one"
    assert plain.gateway
    assert list(await networks.list_networks("shoal.network")) == [WANTED]
    assert await networks.remove_network(WANTED.name)
    assert await networks.remove_network(WANTED.name), "one that is gone is fine"
    assert list(await networks.list_networks("shoal.network")) == []


@pytest.mark.root
@pytest.mark.engine
@needs_engine
async def test_dockerd_says_why_it_refuses_and_that_it_is_gone(tmp_path: Path) -> None:
    with Lab("contract") as lab:
        engine = lab.host("one", "10.99.0.1/24").engine(tmp_path / "engine")
        async with DockerNetworks(engine.socket) as docker:
            await docker.create_network(WANTED)
            with pytest.raises(EngineError, match=r"(?i)overlap"):
                await docker.create_network(BridgeNetwork(name="again", bridge="again", subnet=WANTED.subnet, gateway=WANTED.gateway))
            engine.import_image()
            engine.docker("run", "-d", "--network", WANTED.name, "shoal-lab", "sleep", "100")
            assert not await docker.remove_network(WANTED.name), "a container is on it"
            engine.docker("rm", "-f", engine.docker("ps", "-q"))
            engine.stop()
            with pytest.raises(EngineGone):
                await docker.list_networks("shoal.network")
