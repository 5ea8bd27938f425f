"""What the name server of a node knows, as it is told over its control socket. Pure values."""

from collections.abc import Mapping

from cluster.api.ids import Id
from cluster.api.values import Value


class Name(Value, frozen=True, kw_only=True):
    """What one name stands for on one network."""

    vips: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    """The ready tasks: the answer when there is no VIP, and for callers whose VIPs are not ours to program."""


class Names(Value, frozen=True, kw_only=True):
    """What one service, or the guests of a network, are called on a network."""

    names: Mapping[str, Name] = {}
    """In lower case."""
    pointers: Mapping[str, str] = {}
    """address -> name; the network's own name is put behind it."""


class NetworkZone(Value, frozen=True, kw_only=True):
    network_id: Id
    name: str
    subnet: str = ""
    gateway: str = ""
    """Where its containers find the name server on this node."""
    services: Mapping[str, Names] = {}
    """By service, so that one which changed is told and indexed without a look at the others. Those that share a name share its answer."""
    told: bool = True
    """False: a task is on it, and the managers have not yet said who else is. Nothing can be denied."""


class Caller(Value, frozen=True, kw_only=True):
    """A task of this node, known by the address that it asks from."""

    addresses: tuple[str, ...]
    networks: tuple[Id, ...] = ()
    """In the order in which they are searched."""
    held: bool = False
    """Its VIPs are not programmed: an answer with one would send it nowhere."""
    outbound: bool = True
    """It may ask about the world: it has a network that leads out of the node."""
    upstreams: tuple[str, ...] = ()
    """Its own name servers; the host's when empty."""


class Zone(Value, frozen=True, kw_only=True):
    networks: Mapping[Id, NetworkZone] = {}
    callers: tuple[Caller, ...] = ()
