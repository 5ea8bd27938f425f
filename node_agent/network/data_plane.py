"""The data plane as the rest of the node sees it: one port, two planes behind it, chosen here at start.

`plane` has the kernel do everything. Where the daemon may not program it there is `userspace`: published ports, by a process of ours.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct

from cluster.aio.clock import Clock
from cluster.api.endpoint import EndpointUpdate, OverlayNetwork
from cluster.api.ids import Id
from node_agent.network.permitted import why_not
from node_agent.network.plane import Plane
from node_agent.network.ports import EngineNetworks
from node_agent.network.userspace import MISSING, UserPlane
from node_agent.network.view import Known, LocalTask
from worker.ports import Sandbox

KERNEL, USERSPACE = "nftables", "userspace"
NAME_FILE = "plane"
"""In the runtime folder: what was chosen, for who looks at the host without the daemon."""


class DataPlane(Sandbox, Protocol):
    """Use as `async with`, with `run` beside it; `clear` and `close` need no opening."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    async def close(self) -> None:
        """Let go. What was made goes on as it is; the next daemon takes up from there."""
        ...

    async def run(self) -> None:
        """Look whether everything is still as it should be, for ever."""
        ...

    async def update(self, update: EndpointUpdate, *, more: bool = False) -> int:
        """Returns the version that holds on this node by now. With `more`, the update goes on in the next call."""
        ...

    async def clear(self) -> None:
        """The node leaves the cluster: take everything of ours off it. Tasks must be gone by now."""
        ...

    async def skip(self, silent: frozenset[Id]) -> None:
        """Send nothing new to the tasks of these nodes while others are left."""
        ...

    @property
    def known(self) -> Known: ...

    async def welcome(self, guest: LocalTask, networks: Sequence[OverlayNetwork]) -> str:
        """A container is about to join networks by itself; returns where it shall ask for names. Raises SandboxError."""
        ...

    async def seat(self, guests: Mapping[Id, LocalTask]) -> None:
        """How the guests are now: by id, each with its addresses and its process."""
        ...


class Choice(Struct, frozen=True):
    """Which plane this daemon has, for as long as it runs."""

    reason: str = ""
    """Why it is not the kernel's; empty when it is."""

    @property
    def name(self) -> str:
        return USERSPACE if self.reason else KERNEL

    @property
    def warnings(self) -> tuple[str, ...]:
        """For `docker info`."""
        return (f"WARNING: data plane in {self.announcement}",) if self.reason else ()

    @property
    def announcement(self) -> str:
        """One line for an operator."""
        return f"{USERSPACE}, since {self.reason}: {MISSING}" if self.reason else KERNEL

    def plane(
        self,
        *,
        node_id: Id,
        runtime: Path,
        engine: EngineNetworks,
        clock: Clock,
        on_trouble: Callable[[tuple[str, ...]], None] = lambda _: None,
    ) -> DataPlane:
        runtime.mkdir(parents=True, exist_ok=True)
        (runtime / NAME_FILE).write_text(self.announcement)
        if self.reason:
            return UserPlane(node_id=node_id, runtime=runtime, engine=engine, clock=clock, reason=self.reason, on_trouble=on_trouble)
        return Plane(node_id=node_id, runtime=runtime, engine=engine, clock=clock, on_trouble=on_trouble)


def choose() -> Choice:
    """The kernel's, wherever it can be had."""
    return Choice(why_not())
