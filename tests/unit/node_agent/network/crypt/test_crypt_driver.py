"""What the plane sees of encryption: problems by network at once, and what keeps on being wrong as the node's trouble."""

import asyncio
from collections.abc import Mapping

from msgspec.structs import replace

from cluster.api.endpoint import EndpointUpdate
from cluster.api.ids import Id
from node_agent.network.crypt.driver import Encryption, NoDriver
from node_agent.network.crypt.peering import End
from node_agent.network.crypt.plan import CryptPlan, EncryptedNetwork, Report
from tests.unit.node_agent.network.crypt.two_ends import key

NET = EncryptedNetwork(network_id="net1", device="sc-net1", vni=4097, entries={"10.0.1.3": "192.0.2.2"})
ME, PEER = (End(node_id=f"node{n}", number=n, address=f"192.0.2.{n}") for n in (1, 2))
PLAN = CryptPlan(me=ME, port=4790, mtu=1500, peers=(PEER,), networks=(NET,))
KEYS = EndpointUpdate(version=1, data_keys=(key(1), key(2)))


class Scripted:
    """A driver that remembers what it was told and answers what a test wants."""

    name = "scripted"

    def __init__(self) -> None:
        self.told: list[CryptPlan] = []
        self.refused: Mapping[Id, str] = {}
        self.silent: tuple[Id, ...] = ()
        self.stops = 0
        self.held: tuple[int, ...] = ()

    async def hold(self, plan: CryptPlan) -> Report:
        self.told.append(plan)
        self.held = self.held if plan.keys is None else tuple(one.id for one in plan.keys)
        return Report(refused=self.refused, silent=self.silent, keys=self.held)

    async def wait_gone(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        self.stops += 1

    async def close(self) -> None:
        return


async def test_a_daemon_that_was_told_no_keys_yet_takes_none_away() -> None:
    driver = Scripted()
    encryption = Encryption(driver)
    await encryption.hold(PLAN, recheck=True)
    assert driver.told[-1].keys is None
    encryption.learn(KEYS)
    encryption.learn(EndpointUpdate(version=2))
    await encryption.hold(PLAN, recheck=False)
    assert driver.told[-1].keys == KEYS.data_keys
    encryption.learn(EndpointUpdate(version=3, data_keys=()))
    await encryption.hold(PLAN, recheck=False)
    assert driver.told[-1].keys == ()


async def test_the_driver_is_asked_when_something_changed_or_was_wrong_and_at_each_look() -> None:
    driver = Scripted()
    encryption = Encryption(driver)
    for _ in range(3):
        await encryption.hold(PLAN, recheck=False)
    assert len(driver.told) == 1
    driver.refused = {"net1": "device sc-net1: busy"}
    assert await encryption.hold(replace(PLAN, mtu=1400), recheck=False) == driver.refused
    driver.refused = {}
    assert await encryption.hold(replace(PLAN, mtu=1400), recheck=False) == {}
    assert len(driver.told) == 3
    await encryption.hold(replace(PLAN, mtu=1400), recheck=True)
    assert len(driver.told) == 4


async def test_what_stays_wrong_is_the_nodes_trouble() -> None:
    driver = Scripted()
    encryption = Encryption(driver)
    driver.silent = ("node2",)
    await encryption.hold(PLAN, recheck=True)
    assert encryption.trouble == ("encrypted networks carry nothing here: no manager has told this node the keys",)
    encryption.learn(KEYS)
    await encryption.hold(PLAN, recheck=True)
    assert encryption.trouble == ("encrypted traffic to node node2 is dropped: it does not answer at 192.0.2.2:4790/udp",)
    driver.silent = ()
    await encryption.hold(PLAN, recheck=True)
    assert encryption.trouble == ()
    driver.silent = ("node2",)
    await encryption.hold(PLAN, recheck=True)
    assert encryption.trouble == (), "silent for a moment is nothing"


async def test_with_the_last_encrypted_network_what_seals_ends() -> None:
    driver = Scripted()
    encryption = Encryption(driver)
    await encryption.hold(PLAN, recheck=False)
    await encryption.hold(None, recheck=False)
    await encryption.hold(None, recheck=False)
    assert driver.stops == 1


async def test_a_host_that_cannot_says_why_for_each_network() -> None:
    driver = NoDriver("/dev/net/tun: No such file or directory (modprobe tun)")
    refused = (await driver.hold(PLAN)).refused
    assert refused == {"net1": "this host cannot encrypt: /dev/net/tun: No such file or directory (modprobe tun)"}
