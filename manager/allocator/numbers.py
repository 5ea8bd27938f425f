"""Node numbers: 1..4094, stable for a node's life. A node's place on the node link, and its part of packet marks. Pure."""

from collections.abc import Iterable

from msgspec.structs import replace

from cluster.api.changes import Change, Put
from cluster.api.ids import Id
from manager.store.snapshot import Snapshot

HIGHEST = 4094
"""The node link is a /20 at least; its last address is the broadcast."""


def plan(now: Snapshot, nodes: Iterable[Id]) -> list[Change]:
    """Numbers for the nodes that have none: the lowest that are free."""
    without = sorted(node_id for node_id in nodes if (node := now.nodes.get(node_id)) is not None and not node.number)
    if not without:
        return []
    taken = {node.number for node in now.nodes.values()}
    free = (number for number in range(1, HIGHEST + 1) if number not in taken)
    return [
        Put(object=replace(now.nodes[node_id], number=number), base=now.nodes[node_id].version)
        for node_id, number in zip(without, free, strict=False)
    ]
