"""What the noun modules need of this node's swarm; the composition root implements it."""

import enum
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from msgspec import Struct

from cluster.api.assignment import LogChunk
from cluster.api.commands import Command, Outcome
from cluster.api.ids import Id
from cluster.api.specs import ClusterSpec
from manager.logbroker.selection import LogRequest
from manager.store.snapshot import Snapshot


class LocalState(enum.StrEnum):
    """`Swarm.LocalNodeState` of /info."""

    INACTIVE = "inactive"
    PENDING = "pending"
    ACTIVE = "active"
    ERROR = "error"
    LOCKED = "locked"


class ManagerView(Struct, frozen=True, kw_only=True):
    """What the managers know of each other right now: soft state."""

    addr: str
    leader: bool = False
    reachable: bool = True


class InitRequest(Struct, frozen=True, kw_only=True):
    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    default_addr_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    force_new_cluster: bool = False
    availability: str = ""
    spec: ClusterSpec = ClusterSpec()


class JoinRequest(Struct, frozen=True, kw_only=True):
    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    remote_addrs: tuple[str, ...] = ()
    join_token: str = ""
    availability: str = ""


class Swarm(Protocol):
    """This node's place in a swarm, or outside of one."""

    @property
    def state(self) -> LocalState: ...

    @property
    def node_id(self) -> Id:
        """Empty outside a swarm."""
        ...

    @property
    def node_addr(self) -> str: ...

    @property
    def is_manager(self) -> bool: ...

    @property
    def error(self) -> str:
        """Why the state is `error`, or what keeps a pending node waiting."""
        ...

    def remote_managers(self) -> Mapping[Id, str]:
        """Node id -> address, as last heard; works on workers too."""
        ...

    def managers(self) -> Mapping[Id, ManagerView]:
        """On managers: the members as they see each other now."""
        ...

    async def read(self) -> Snapshot:
        """A snapshot at least as new as every acknowledged write. Raises Unavailable, in Docker's words, if this is no manager."""
        ...

    def latest(self) -> Snapshot | None:
        """This manager's own snapshot, however old; None elsewhere."""
        ...

    async def execute(self, command: Command) -> Outcome:
        """Have the leader do it; committed when this returns, and visible to `read`."""
        ...

    def draw_id(self) -> Id: ...

    def draw_secret(self) -> str:
        """The secret part of a new join token."""
        ...

    def draw_unlock_key(self) -> str:
        """A new key for locked managers, SWMKEY-1-... ."""
        ...

    async def init(self, request: InitRequest) -> Id: ...

    async def join(self, request: JoinRequest) -> None: ...

    async def leave(self, *, force: bool) -> None: ...

    async def unlock(self, key: str) -> None:
        """Raises Conflict if nothing is locked, WrongUnlockKey (401)."""
        ...

    def logs(self, request: LogRequest) -> AsyncIterator[LogChunk]: ...
