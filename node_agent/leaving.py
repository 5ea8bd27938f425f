"""What a node that left the swarm must not leave behind, also when no worker ran that could end its tasks one by one."""

import logging
import shutil

from cluster.api.ids import Id
from node_agent.network.plane import STATE_FILE
from node_agent.parts import NodeParts
from worker.plan import CLUSTER_LABEL
from worker.ports import Engine
from worker.tmpfs import drop_tmpfs

log = logging.getLogger(__name__)


async def clear(parts: NodeParts, cluster_id: Id) -> None:
    """Secrets, the worker's journal, containers that nobody ended, the data plane. Raises EngineError, OSError."""
    drop_tmpfs(parts.runtime / "secrets")
    shutil.rmtree(parts.state.root / "worker", ignore_errors=True)
    await remove_containers(parts.engine, cluster_id)
    network = parts.runtime / "network"
    if (network / STATE_FILE).exists():  # a plane that ran to the end has taken it away
        async with parts.data_plane.plane(node_id="", runtime=network, engine=parts.networks, clock=parts.clock) as plane:
            await plane.clear()


async def remove_containers(engine: Engine, cluster_id: Id) -> None:
    """Kill and remove every container of this cluster's tasks. Raises EngineError."""
    for container in await engine.list({CLUSTER_LABEL: cluster_id}):
        log.info("removing container %s of the swarm that this node leaves", container.name)
        await engine.stop(container.id, grace=0, signal="")
        await engine.remove(container.id)
