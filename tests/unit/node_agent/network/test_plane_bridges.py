"""Engine bridges come with a network's first task and go with its last."""

import asyncio
from collections.abc import Mapping

import pytest

from cluster.api.endpoint import OverlayNetwork
from node_agent.network.bridges import Bridges
from node_agent.network.memory_networks import MemoryNetworks
from node_agent.network.ports import BridgeNetwork
from node_agent.network.routes import Route
from worker.ports import SandboxError

NET = OverlayNetwork(network_id="net1".ljust(25, "0"), name="shop", subnet="10.0.1.0/24", gateway="10.0.1.1", vni=4097, internal=True)
NAME = "shoal-net100000000"


def bridges(engine: MemoryNetworks, *routes: Route) -> Bridges:
    async def host_routes() -> tuple[list[Route], Mapping[int, str]]:
        return list(routes), {2: "eth0", 7: "sb-net100000000"}

    return Bridges(engine, host_routes)


async def test_a_network_is_made_as_the_cluster_has_it_and_once() -> None:
    engine = MemoryNetworks()
    held = bridges(engine)
    await asyncio.gather(held.need(NET, 1450), held.need(NET, 1450))
    assert engine.networks == {
        NAME: BridgeNetwork(
            name=NAME,
            bridge="sb-net100000000",
            subnet="10.0.1.0/24",
            gateway="10.0.1.1",
            mtu=1450,
            labels={"shoal.network": NET.network_id},
            internal=True,
        )
    }
    assert held.gateways == {NET.network_id: "10.0.1.1"}


async def test_the_gateway_bridge_keeps_its_containers_apart_and_lets_the_engine_choose_its_subnet() -> None:
    engine = MemoryNetworks()
    held = bridges(engine)
    assert held.gateway is None
    assert [await held.need_gateway(1500), await held.need_gateway(1500)] == [True, False], "it says when it was made"
    assert engine.networks["shoal_gw"].isolated
    assert held.gateway == engine.networks["shoal_gw"]


async def test_a_subnet_that_would_cut_the_node_off_is_refused_with_both_names_and_nothing_is_made() -> None:
    engine = MemoryNetworks()
    held = bridges(engine, Route(destination="10.0.0.0/16", device=2))
    with pytest.raises(SandboxError, match=r"network shop \(10.0.1.0/24\) meets this host's own route 10.0.0.0/16 on eth0"):
        await held.need(NET, 1450)
    assert not engine.networks
    await bridges(engine, Route(destination="10.0.1.0/24", device=7)).need(NET, 1450)


async def test_another_network_of_the_name_is_not_taken_for_ours() -> None:
    engine = MemoryNetworks()
    engine.networks[NAME] = BridgeNetwork(name=NAME, bridge="other", subnet="10.9.0.0/24")
    with pytest.raises(SandboxError, match=f"docker network rm {NAME}"):
        await bridges(engine).need(NET, 1450)


async def test_what_the_engine_refuses_is_said_in_its_words() -> None:
    engine = MemoryNetworks()
    engine.refusal = "Pool overlaps with other one on this address space"
    with pytest.raises(SandboxError, match="Pool overlaps"):
        await bridges(engine).need(NET, 1450)


async def test_the_last_user_takes_it_away_and_one_that_comes_meanwhile_keeps_it() -> None:
    engine = MemoryNetworks()
    held = bridges(engine)
    await held.need(NET, 1450)
    assert not await held.leave(NET.network_id, still_used=lambda: True)
    engine.busy.add(NAME)
    assert not await held.leave(NET.network_id, still_used=lambda: False), "a container of somebody else is on it"
    engine.busy.clear()
    assert await held.leave(NET.network_id, still_used=lambda: False)
    assert (engine.networks, held.gateways) == ({}, {})


async def test_what_a_killed_daemon_left_is_swept_and_what_is_used_stays() -> None:
    engine = MemoryNetworks()
    before = bridges(engine)
    await before.need(NET, 1450)
    await before.need_gateway(1500)
    held = bridges(engine)
    await held.look()
    assert await held.sweep(lambda key: key == NET.network_id) == []
    assert set(engine.networks) == {NAME}
    engine.busy.add(NAME)
    assert await held.sweep(lambda _: False) == [NET.network_id]


async def test_an_engine_whose_rules_were_flushed_is_to_be_restarted_and_that_is_said_in_a_line() -> None:
    engine = MemoryNetworks()
    engine.refusal = "Failed to Setup IP tables: iptables: No chain/target/match by that name.\n (exit status 1))"
    with pytest.raises(SandboxError) as refused:
        await bridges(engine).need(NET, 1450)
    assert str(refused.value) == (
        f"the engine refused the bridge of network {NAME}: its own firewall rules were flushed, restart it: "
        "Failed to Setup IP tables: iptables: No chain/target/match by that name. (exit status 1))"
    )


async def test_only_the_bridge_of_a_network_that_is_still_there_is_made_again() -> None:
    engine = MemoryNetworks()
    held = bridges(engine)
    await held.need(NET, 1450)
    await held.need_gateway(1500)
    wanted, gateway = held.there
    made: list[str] = []

    async def make(one: BridgeNetwork) -> None:
        made.append(one.bridge)

    await held.leave(NET.network_id, still_used=lambda: False)
    await held.mend(wanted, make)
    await held.mend(gateway, make)
    assert made == ["shoal_gw"]
