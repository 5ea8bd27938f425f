"""What a daemon tells the name server of its zone, step by step, over the socket of `companion`."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from cluster.api.ids import Id
from node_agent.network.dns.zone import Caller, Names, NetworkZone, Zone
from node_agent.network.shards import Shards, difference

PROTOCOL = 2
T = TypeVar("T")


class Patch(msgspec.Struct, frozen=True, kw_only=True):
    """The services of a network whose names changed."""

    network_id: Id
    services: Mapping[str, Names] = {}
    gone: tuple[str, ...] = ()


class Feed(msgspec.Struct, frozen=True, kw_only=True, tag="feed"):
    """A step of the zone; `complete` replaces all of it, `networks` are whole ones."""

    complete: bool = False
    networks: tuple[NetworkZone, ...] = ()
    patches: tuple[Patch, ...] = ()
    gone: tuple[Id, ...] = ()
    callers: tuple[Caller, ...] | None = None


class Taken(msgspec.Struct, frozen=True, kw_only=True, tag="taken"):
    """Answered to each Feed once it is in force."""

    refused: Mapping[str, str] = {}


# -- steps: pure -----------------------------------------------------------------------------------------------------------------------
def after(zone: Zone, feed: Feed) -> Zone:
    """The zone after this step."""
    networks = {} if feed.complete else {key: network for key, network in zone.networks.items() if key not in feed.gone}
    networks |= {network.network_id: network for network in feed.networks}
    for patch in feed.patches:
        if patch.network_id in networks:
            networks[patch.network_id] = _patched(networks[patch.network_id], patch)
    callers = feed.callers if feed.callers is not None else () if feed.complete else zone.callers
    return Zone(networks=networks, callers=callers)


def _patched(network: NetworkZone, patch: Patch) -> NetworkZone:
    had = network.services if isinstance(network.services, Shards) else Shards(network.services)
    return msgspec.structs.replace(network, services=had.but(patch.services, patch.gone))


def step(before: Zone | None, wanted: Zone) -> Feed | None:
    """What to tell a name server that holds `before`; None when that is all there is to know."""
    if before is None:
        return Feed(complete=True, networks=tuple(map(_whole, wanted.networks.values())), callers=wanted.callers)
    whole, patches = [], []
    for key, network in wanted.networks.items():
        had = before.networks.get(key)
        if had is None or _frame(had) != _frame(network):
            whole.append(_whole(network))
        elif (patch := _patch(had, network)) is not None:
            patches.append(patch)
    gone = tuple(key for key in before.networks if key not in wanted.networks)
    callers = None if before.callers == wanted.callers else wanted.callers
    if not whole and not patches and not gone and callers is None:
        return None
    return Feed(networks=tuple(whole), patches=tuple(patches), gone=gone, callers=callers)


def _whole(network: NetworkZone) -> NetworkZone:
    """As it can be written."""
    return msgspec.structs.replace(network, services=dict(network.services))


def _frame(network: NetworkZone) -> tuple[str, str, str, bool]:
    return network.name, network.subnet, network.gateway, network.told


def _patch(before: NetworkZone, after: NetworkZone) -> Patch | None:
    services, gone = changes(before.services, after.services)
    if not (services or gone):
        return None
    return Patch(network_id=after.network_id, services=services, gone=gone)


def changes(before: Mapping[str, T], after: Mapping[str, T]) -> tuple[dict[str, T], tuple[str, ...]]:
    """What is new or another value, and what is gone."""
    changed, gone = difference(before, after)
    return {key: value for key, value in changed.items() if before.get(key) != value}, gone
