"""What the data plane needs of the engine: bridge networks that task containers are created on."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Protocol

from cluster.api.values import Value


class BridgeNetwork(Value, frozen=True, kw_only=True):
    """A bridge network as the engine is to make it, or has it."""

    name: str
    bridge: str
    """The interface's name."""
    subnet: str = ""
    """Empty in a request: the engine chooses one that is free on the host."""
    gateway: str = ""
    mtu: int = 0
    labels: Mapping[str, str] = {}
    internal: bool = False
    isolated: bool = False
    """Its containers cannot reach one another."""


class Member(Value, frozen=True, kw_only=True):
    """A container that is no task, on bridges of ours."""

    container_id: str
    pid: int = 0
    """0 while it does not run."""
    addresses: Mapping[str, str] = {}
    """Engine network -> the address that it was created with."""


class EngineNetworks(Protocol):
    """Every method raises worker.ports.EngineError with the engine's words, or EngineGone."""

    async def create_network(self, wanted: BridgeNetwork) -> BridgeNetwork:
        """See that it is there; returns it as it is. One of this name that is there already is taken as it is."""
        ...

    async def remove_network(self, name: str) -> bool:
        """False: a container still uses it. One that is gone is fine."""
        ...

    async def list_networks(self, label: str) -> Sequence[BridgeNetwork]:
        """Every network that carries the label."""
        ...

    async def has_network(self, name: str) -> bool:
        """Whether the engine itself has a network of this name or id."""
        ...

    async def list_members(self, networks: Collection[str]) -> Sequence[Member]:
        """The containers on these networks, running or not, that are no tasks."""
        ...

    def changes(self) -> AsyncGenerator[None, None]:
        """Something yields whenever a container that may be a member came, ended or went; first once the subscription stands."""
        ...
