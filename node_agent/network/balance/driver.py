"""The daemon's end of the process that balances."""

from pathlib import Path

import msgspec

from node_agent.network.balance.plan import PROTOCOL, BalancePlan, Report
from node_agent.network.companion import Companion

SOCKET = "balance.sock"


class BalancerGone(Exception):
    """It does not answer, and a new one did not either."""


class BalanceDriver:
    """Starts the process when there is none; one that a daemon before us started goes on."""

    def __init__(self, *, control: Path, namespace: Path | None) -> None:
        self._control = control
        self._process = Companion(
            name="the process that balances",
            module="node_agent.network.balance",
            protocol=PROTOCOL,
            control=control,
            namespace=namespace,
        )
        self._told: BalancePlan | None = None
        self._report = Report()

    async def hold(self, plan: BalancePlan, *, recheck: bool) -> Report:
        """Raises BalancerGone."""
        for attempt in (1, 2):
            try:
                if await self._process.connect() or recheck or plan != self._told:
                    answer = await self._process.exchange(msgspec.msgpack.encode(plan))
                    self._report, self._told = msgspec.msgpack.decode(answer, type=Report), plan
                return self._report
            except (EOFError, OSError, TimeoutError, ValueError) as gone:
                self._told = None
                await self._process.close()
                if attempt == 2:
                    raise BalancerGone(f"the process that balances does not answer: {gone}") from gone
        raise AssertionError

    async def wait_gone(self) -> None:
        await self._process.wait_gone()

    async def stop(self) -> None:
        """There is nothing to balance any more."""
        self._told = None
        if self._control.exists():
            await self._process.stop()

    async def close(self) -> None:
        """Let go; it goes on."""
        await self._process.close()


async def stop_left(runtime: Path) -> None:
    """What a daemon that might not program the kernel left here: its ports are taken by one that may."""
    await BalanceDriver(control=runtime / SOCKET, namespace=None).stop()
