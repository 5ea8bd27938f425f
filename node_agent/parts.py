"""What the daemon gives each part of its swarm node: ports and folders, all made by the composition root."""

from pathlib import Path
from random import Random

from msgspec import Struct

from cluster.aio.clock import Clock
from cluster.api.features import LEVEL
from node_agent.inventory import Inventory
from node_agent.network.data_plane import Choice
from node_agent.network.ports import EngineNetworks
from node_agent.state import StateFolder
from worker.conversations import Door
from worker.ports import Engine


class NodeParts(Struct, frozen=True, kw_only=True):
    state: StateFolder
    engine: Engine
    networks: EngineNetworks
    door: Door
    """To this node's Engine API, for clients of other nodes."""
    data_plane: Choice
    inventory: Inventory
    clock: Clock
    rng: Random
    runtime: Path
    """Folder for what a reboot may take."""
    socket: str
    """Our API's socket, for tasks that mount docker.sock; empty leaves them the engine's."""
    rotate_keys_after: float
    """Seconds between two keys of encrypted networks, while this node leads."""
    feature_level: int = LEVEL
    """That this daemon announces and keeps to."""
