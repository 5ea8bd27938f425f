"""Which tasks a connection to a published port may be carried on to, in the order of trial. Pure, but for the randomness passed in.

The rules are those of the kernel's tables (`ingress`): a task counts once, wherever it is; what another node sent is for tasks of this one.
"""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from node_agent.network.affinity import ranked
from node_agent.network.ingress import Published


class Place(NamedTuple):
    address: str
    is_here: bool
    """A task's own address on this node; else that of the node that it is on."""


def places(port: Published, client: str, *, arriving: bool, rng: Random) -> list[Place]:
    here = [Place(address, is_here=True) for address in (port.arriving if arriving else port.local)]
    away = {} if arriving else {Place(address, is_here=False): weight for address, weight in port.remote.items()}
    if port.clients:
        there = {place.address: place for place in (*here, *away)}
        meant = [port.clients[task] for task in ranked(port.clients, client)]
        chosen = list(dict.fromkeys(there.pop(address) for address in meant if address in there))
        found = [*chosen, *there.values()]
    else:
        found = _drawn({**dict.fromkeys(here, 1), **away}, rng)
    return sorted(found, key=lambda place: not place.is_here) if port.near_first else found


def _drawn(weights: Mapping[Place, int], rng: Random) -> list[Place]:
    """All of them, each the likelier to be first the more it weighs (Efraimidis and Spirakis 2006)."""
    keys = {place: rng.random() ** (1 / weight) for place, weight in sorted(weights.items())}
    return sorted(keys, key=lambda place: keys[place], reverse=True)
