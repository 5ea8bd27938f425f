"""`/shoal/snapshot`: the whole state of the cluster as one file, streamed. Ours; Docker has nothing like it."""

import asyncio
import datetime
from collections.abc import AsyncGenerator, Sequence

from cluster.api.archive import Manifest, written
from cluster.api.errors import Unavailable
from cluster.api.objects import Cluster
from cluster.api.states import Role
from manager.store import frames
from manager.store.snapshot import Snapshot
from node_agent.api.backend import Swarm
from node_agent.api.messages import ApiRequest, Response, StreamingResponse
from node_agent.api.routing import Route

CONTENT_TYPE = "application/vnd.shoal.snapshot"


class ClusterNoun:
    """The noun's handlers over this node's swarm."""

    def __init__(self, swarm: Swarm, *, product: str) -> None:
        self._swarm = swarm
        self._product = product

    def routes(self) -> Sequence[Route]:
        return (Route("GET", "/shoal/snapshot", self.snapshot),)

    async def snapshot(self, _: ApiRequest) -> Response:
        """As new as every write that was acknowledged before it was asked for."""
        now = await self._swarm.read()
        if now.cluster is None:
            raise Unavailable("this manager has not yet caught up with the swarm: try again in a moment")
        manifest = manifest_of(now, now.cluster, product=self._product, at=datetime.datetime.now(datetime.UTC))
        return StreamingResponse(chunks=_chunks(now, manifest), content_type=CONTENT_TYPE)


async def _chunks(now: Snapshot, manifest: Manifest) -> AsyncGenerator[bytes, None]:
    """A frame is encoded when the one before it is gone; everything else gets its turn in between."""
    for piece in written(manifest, frames.encode(now)):
        yield piece
        await asyncio.sleep(0)


def manifest_of(now: Snapshot, cluster: Cluster, *, product: str, at: datetime.datetime) -> Manifest:
    managers = sum(node.spec.role is Role.MANAGER for node in now.nodes.values())
    return Manifest(
        cluster_id=cluster.id,
        created=at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        product=product,
        raft_index=now.version,
        feature_level=cluster.feature_level,
        counts={
            "managers": managers,
            "workers": len(now.nodes) - managers,
            "services": len(now.services),
            "tasks": len(now.tasks),
            "networks": len(now.networks),
            "secrets": len(now.secrets),
            "configs": len(now.configs),
        },
    )
