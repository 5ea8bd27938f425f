"""What a node that leaves the swarm must not leave behind, where no worker runs that could end its tasks one by one."""

import logging
import shutil

from cluster.api.ids import Id
from node_agent.parts import NodeParts
from worker.plan import CLUSTER_LABEL
from worker.ports import Engine
from worker.tmpfs import drop_tmpfs

log = logging.getLogger(__name__)


async def clear(parts: NodeParts, cluster_id: Id) -> None:
    """After leaving: secrets, the worker's journal, containers that nobody ended. Raises EngineError."""
    drop_tmpfs(parts.runtime / "secrets")
    shutil.rmtree(parts.state.root / "worker", ignore_errors=True)
    await remove_containers(parts.engine, cluster_id)


async def remove_containers(engine: Engine, cluster_id: Id) -> None:
    """Kill and remove every container of this cluster's tasks. Raises EngineError."""
    for container in await engine.list({CLUSTER_LABEL: cluster_id}):
        log.info("removing container %s of the swarm that this node leaves", container.name)
        await engine.stop(container.id, grace=0, signal="")
        await engine.remove(container.id)
