"""Virtual clusters, for what needs no machines: nodes that are ready and have room for everything, services, changes in batches."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from cluster.api.changes import Change, Put
from cluster.api.ids import Id, from_bytes
from cluster.api.objects import Network, Node, NodeDescription, NodeStatus, Service
from cluster.api.specs import (
    SECOND,
    ContainerSpec,
    NetworkAttachmentConfig,
    NetworkSpec,
    ReplicatedMode,
    Reservations,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import NodeState
from manager.store.proposer import Proposer

ROOMY = Reservations(nano_cpus=1_000 * SECOND, memory_bytes=1 << 50)
rng = Random(1)


def draw_id() -> Id:
    return from_bytes(rng.randbytes(16))


def described(number: int) -> NodeDescription:
    return NodeDescription(hostname=f"host-{number}", resources=ROOMY)


def ready_nodes(ids: Iterable[Id]) -> Iterator[Change]:
    for number, node_id in enumerate(ids):
        yield Put(object=Node(id=node_id, description=described(number), status=NodeStatus(state=NodeState.READY, addr="127.0.0.1")))


def services(count: int, *, tasks: int) -> Iterator[Change]:
    """Each with a network of its own, as a stack has it."""
    for number in range(count):
        network = Network(id=draw_id(), spec=NetworkSpec(name=f"net-{number}"))
        container = ContainerSpec(image=f"registry.example/app-{number}:1")
        template = TaskSpec(container_spec=container, networks=(NetworkAttachmentConfig(target=network.id),))
        mode = ServiceMode(replicated=ReplicatedMode(replicas=tasks))
        yield Put(object=network)
        yield Put(object=Service(id=draw_id(), spec=ServiceSpec(name=f"service-{number}", task_template=template, mode=mode)))


async def fill(proposer: Proposer, changes: Iterator[Change], *, batch: int = 2_000) -> None:
    while some := list(itertools.islice(changes, batch)):
        await proposer.propose(some)


def memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
