"""One client, one backend: which of the backends a client's address leads to. Pure.

The kernel hashes the client's address into one of `SLOTS`; each slot belongs to the backend that draws the highest number for it
(rendezvous hashing, Thaler and Ravishankar 1998). The numbers follow from slot and backend alone, so all nodes agree without a word, a
backend that goes leaves the slots of the others as they are, and one that comes takes its share from each. The best of all, when it is
among some, is the best of those too: a node that chooses among its own tasks finds the one that the node before it meant.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

SLOTS = 512
CLIENT = f"jhash ip saddr mod {SLOTS} seed 0x5348"
"""The slot, as an nftables expression. The seed is ours to choose, and must be the same on every node."""


def owners(backends: Mapping[str, str]) -> dict[str, str]:
    """From what a backend is known by everywhere -> where it is reached from here: slot -> where. Empty without backends."""
    if not backends:
        return {}
    return {str(slot): backends[owner] for slot, owner in enumerate(_winners(tuple(sorted(backends))))}


def ranked(backends: Iterable[str], client: str) -> list[str]:
    """The backends in the order in which this client is led to them, where no kernel hashes its address: another slot, the same numbers."""
    slot = zlib.crc32(client.encode()) % SLOTS
    return sorted(backends, key=lambda name: (_numbers(name)[slot], name), reverse=True)


@lru_cache(maxsize=1024)
def _winners(ordered: tuple[str, ...]) -> tuple[str, ...]:
    numbers = zip(*(_numbers(name) for name in ordered), strict=True)
    return tuple(max(zip(drawn, ordered, strict=True))[1] for drawn in numbers)


@lru_cache(maxsize=16384)
def _numbers(name: str) -> tuple[int, ...]:
    return struct.unpack(f"!{SLOTS}Q", hashlib.shake_128(name.encode()).digest(8 * SLOTS))
