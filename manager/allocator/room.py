"""How full the networks are: said while there is still room, and before a service asks for more than there is. Pure."""

from collections.abc import Iterator

from cluster.api.objects import Network
from cluster.api.specs import Mode, ServiceSpec, mode_of, replicas_of
from cluster.api.states import Kind
from manager.allocator.addresses import pool_of
from manager.allocator.desk import attached
from manager.store.snapshot import Snapshot

CROWDED = 0.8
"""The part of a network's addresses from which on it is worth a warning."""


def crowded(now: Snapshot) -> Iterator[str]:
    """One line for each network that has given away most of its addresses."""
    for network in sorted(now.networks.values(), key=lambda one: one.spec.name):
        pool = pool_of(network, now.addresses(network.id))
        if pool is not None and pool.used >= CROWDED * pool.usable:
            full = f"network {network.spec.name} ({network.subnet}) has {pool.used} of {pool.usable} addresses in use"
            yield f"{full}: tasks will wait for one when it is full; move services to another network, or remove what is not used"


def short_of(now: Snapshot, spec: ServiceSpec) -> Iterator[str]:
    """One line for each network that has no room for what a new or changed spec wants more than its service has."""
    wanted = 1 + (replicas_of(spec) if mode_of(spec) is Mode.REPLICATED else len(now.nodes))
    known = now.named(Kind.SERVICE, spec.name)
    if known is not None:
        wanted -= 1 + sum(not task.state.ended for task in now.tasks_of(known.id).values())
    for target in attached(spec.task_template, spec.networks):
        network = now.networks.get(target.target) or now.named(Kind.NETWORK, target.target)
        pool = pool_of(network, now.addresses(network.id)) if isinstance(network, Network) else None
        if pool is not None and wanted > (left := max(0, pool.usable - pool.used)):
            free = f"network {pool.network.spec.name} ({pool.subnet}) has {left} of {pool.usable} addresses left"
            yield f"{free}, and service {spec.name} wants {wanted} more: some of its tasks will wait"
