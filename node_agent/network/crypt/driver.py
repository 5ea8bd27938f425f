"""How the traffic of encrypted networks is sealed on this node: a port, what is behind it here, and what the plane needs of it.

A driver is chosen at start and announced. There is one so far, which needs nothing of the kernel but TAP devices; why, and what one for the
kernel's ESP or WireGuard would have to keep, is in docs/adr/0005. Whatever it is: what cannot be sealed is dropped, never sent.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import replace

from cluster.api.endpoint import DataKey, EndpointUpdate
from cluster.api.ids import Id
from node_agent.network.companion import Companion
from node_agent.network.crypt.plan import PROTOCOL, CryptPlan, Report
from node_agent.network.crypt.tap import why_not


class Driver(Protocol):
    name: str

    async def hold(self, plan: CryptPlan) -> Report:
        """Seal and open so from now on; keys that are None are as before."""
        ...

    async def wait_gone(self) -> None:
        """Until what seals has ended by itself."""
        ...

    async def stop(self) -> None:
        """There is nothing to seal any more."""
        ...

    async def close(self) -> None:
        """Let go; what seals goes on."""
        ...


def choose(*, control: Path, namespace: Path | None) -> Driver:
    """The best driver that works on this host."""
    return NoDriver(reason) if (reason := why_not()) else UserspaceDriver(control=control, namespace=namespace)


def driver_name() -> str:
    """What `choose` comes to here, for those who only want to know."""
    return NoDriver.name if why_not() else UserspaceDriver.name


def announcement() -> str:
    """The same with why, and what to do about it where there is none."""
    if reason := why_not():
        return f"{NoDriver.name} here, {reason}"
    return f"{UserspaceDriver.name}, AES-256-GCM by a process (there is no driver for the kernel's ESP or WireGuard: docs/adr/0005)"


class UserspaceDriver:
    """A process of its own (`__main__`), which goes on while the daemon is away."""

    name = "userspace"

    def __init__(self, *, control: Path, namespace: Path | None) -> None:
        self._control = control
        self._process = Companion(
            name="the process that seals packets",
            module="node_agent.network.crypt",
            protocol=PROTOCOL,
            control=control,
            namespace=namespace,
        )
        self._keys: tuple[DataKey, ...] | None = None

    async def hold(self, plan: CryptPlan) -> Report:
        for attempt in (1, 2):
            try:
                return await self._hold(plan)
            except (EOFError, OSError, TimeoutError, ValueError) as gone:
                await self._process.close()
                if attempt == 2:
                    why = f"the process that seals its packets does not answer: {gone}"
                    return Report(refused={network.network_id: why for network in plan.networks})
        raise AssertionError

    async def _hold(self, plan: CryptPlan) -> Report:
        self._keys = plan.keys if plan.keys is not None else self._keys
        if await self._process.connect():  # a new one has no keys; one that a daemon before us started has those that it had
            plan = replace(plan, keys=self._keys)
        answer = await self._process.exchange(msgspec.msgpack.encode(plan))
        return msgspec.msgpack.decode(answer, type=Report)

    async def wait_gone(self) -> None:
        await self._process.wait_gone()

    async def stop(self) -> None:
        if self._control.exists():
            await self._process.stop()

    async def close(self) -> None:
        await self._process.close()


class NoDriver:
    """A host that cannot: its tasks on encrypted networks are told why, and go elsewhere."""

    name = "none"

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def hold(self, plan: CryptPlan) -> Report:
        return Report(refused={network.network_id: f"this host cannot encrypt: {self._reason}" for network in plan.networks})

    async def wait_gone(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        return

    async def close(self) -> None:
        return


class Encryption:
    """What the plane sees: a driver, the keys it was told last, and what is wrong."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._keys: tuple[DataKey, ...] | None = None
        self._told: CryptPlan | None = None
        self._report = Report()
        self._silent: frozenset[Id] = frozenset()
        self.trouble: tuple[str, ...] = ()

    def learn(self, update: EndpointUpdate) -> None:
        self._keys = update.data_keys if update.data_keys is not None else self._keys

    async def hold(self, plan: CryptPlan | None, *, recheck: bool) -> Mapping[Id, str]:
        """Returns the networks that cannot be served, and why."""
        if plan is None:
            if self._told is not None or recheck:
                await self._driver.stop()
            self._told, self.trouble = None, ()
            return {}
        plan = replace(plan, keys=self._keys)
        if recheck or plan != self._told or self._report.refused:
            self._report = await self._driver.hold(plan)
            self._told = plan
        if recheck:
            self._look(plan)
        return self._report.refused

    def _look(self, plan: CryptPlan) -> None:
        """What keeps on being wrong from one look to the next. A node that has just got its first task there is silent for a moment."""
        trouble = []
        if not self._report.keys:
            trouble.append("encrypted networks carry nothing here: no manager has told this node the keys")
        silent = frozenset(self._report.silent)
        for peer in plan.peers:
            if peer.node_id in silent & self._silent and self._report.keys:
                where = f"{peer.address}:{plan.port}/udp"
                trouble.append(f"encrypted traffic to node {peer.node_id} is dropped: it does not answer at {where}")
        self._silent, self.trouble = silent, tuple(trouble)

    @property
    def counts(self) -> Mapping[str, int]:
        """Frames, as of the last look: `sealed`, `opened`, and the dropped ones by reason."""
        return self._report.counts

    @property
    def silent(self) -> tuple[Id, ...]:
        """Nodes that did not answer yet, as of the last look."""
        return self._report.silent

    async def wait_gone(self) -> None:
        await self._driver.wait_gone()

    async def stop(self) -> None:
        self._told = None
        await self._driver.stop()

    async def close(self) -> None:
        await self._driver.close()
