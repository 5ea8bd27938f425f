"""The RPCs between nodes: typed protocols, each method with the roles whose certificates may call it.

`cluster.rpc` binds them to gRPC and reads the roles from here; nothing else decides who may call what. Beside these there are
two calls made without a certificate, `GET /ca` and `POST /join`, over HTTPS (cluster.rpc.bootstrap).
"""

from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from cluster.api.assignment import Credit, FromNode, LogChunk, LogOrder, Piece, ReachOrder, ToNode
from cluster.api.commands import Outcome
from cluster.api.endpoint import Guest, OverlayNetwork
from cluster.api.ids import Id
from cluster.api.states import Role

Method = TypeVar("Method", bound=Callable[..., object])

MANAGERS = frozenset({Role.MANAGER})
NODES = frozenset({Role.MANAGER, Role.WORKER})


def allow(roles: frozenset[Role]) -> Callable[[Method], Method]:
    """Says who may call a method: the declaration that `cluster.rpc.server` enforces."""

    def declare(method: Method) -> Method:
        method.allowed_roles = roles  # type: ignore[attr-defined]
        return method

    return declare


class Caller(Struct, frozen=True, kw_only=True, gc=False):
    """Who calls, as its certificate proved and the store confirmed."""

    node_id: Id
    role: Role
    peer: str = ""
    """Its address, as the transport shows it."""


class Frame(Struct, frozen=True, gc=False, array_like=True):
    """Opaque bytes of one Raft message (manager.raft.codec)."""

    body: bytes


class Commands(Struct, frozen=True, gc=False, array_like=True):
    """Each is MessagePack of a `Command`. They are for the leader of this term (0: of any), and for no later one."""

    encoded: tuple[bytes, ...]
    term: int = 0


class Answer(Struct, frozen=True, gc=False, array_like=True):
    """What became of one of several commands: its outcome, or the refusal's code (cluster.api.errors) and text."""

    outcome: Outcome | None = None
    code: str = ""
    text: str = ""


class Taken(Struct, frozen=True, gc=False, array_like=True):
    """An acknowledgement that says nothing more."""


class CertificateRequest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    csr: str
    """PEM. Subject and role come from the store, not from the request."""


class IssuedCertificate(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    certificate: str
    roots: str
    """PEM bundle of the roots to trust from now on."""


class AdmissionRequest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A node that wants to join, as the manager it asked passes it on to the leader."""

    node_id: Id
    """Drawn by the joining node: a retry is the same node."""
    secret: str
    """The secret part of a join token."""
    csr: str
    addr: str = ""
    feature_level: int = 1


class Admitted(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    node_id: Id
    role: Role
    cluster_id: Id
    certificate: str
    roots: str


class MemberRequest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    addr: str
    last_index: int = 0
    """Where the asking manager's log ends."""
    feature_level: int = 1
    log_lost: bool = False
    """It had a log and has none: it wants to be no member any more, to become one anew."""


class MemberAnswer(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    cluster_id: Id
    members: dict[Id, str]
    """Node id -> address of the managers, the new one included."""
    data_key: bytes = b""


class ControlAPI(Protocol):
    """Commands, forwarded by the manager that took them to the leader."""

    @allow(MANAGERS)
    async def execute(self, caller: Caller, request: Commands) -> tuple[Answer, ...]:
        """An answer for each, in their order; they are done side by side."""
        ...


class Dispatcher(Protocol):
    """One session a node: assignments and endpoints down, heartbeats and statuses up."""

    @allow(NODES)
    def session(self, caller: Caller, requests: AsyncIterator[FromNode]) -> AsyncIterator[ToNode]: ...


class RaftPeer(Protocol):
    @allow(MANAGERS)
    async def exchange(self, caller: Caller, requests: AsyncIterator[Frame]) -> Taken:
        """The one stream a member keeps to each other: its messages in order."""
        ...


class Membership(Protocol):
    """Managers that come and go; served by the leader."""

    @allow(MANAGERS)
    async def join(self, caller: Caller, request: MemberRequest) -> MemberAnswer: ...

    @allow(NODES)
    async def leave(self, caller: Caller, request: Taken) -> Taken:
        """The calling node leaves the swarm for good."""
        ...


class NodeCA(Protocol):
    @allow(MANAGERS)
    async def admit(self, caller: Caller, request: AdmissionRequest) -> Admitted:
        """Let a node with a valid join token into the swarm; served by the leader."""
        ...

    @allow(NODES)
    async def renew(self, caller: Caller, request: CertificateRequest) -> IssuedCertificate: ...


class AttachRequest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A container on the calling node asks to join a network; see commands.AttachGuest."""

    id: Id
    network: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    address: str = ""


class Attached(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    network: OverlayNetwork
    guest: Guest


class DetachRequest(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    id: Id


class Guests(Protocol):
    """Containers that join attachable networks by themselves; a node speaks for its own."""

    @allow(NODES)
    async def attach(self, caller: Caller, request: AttachRequest) -> Attached: ...

    @allow(NODES)
    async def detach(self, caller: Caller, request: DetachRequest) -> Taken: ...


class Streams(Protocol):
    """Logs, from the node of a task to the manager whose client reads them, never through the leader."""

    @allow(NODES)
    def publish(self, caller: Caller, requests: AsyncIterator[LogChunk]) -> AsyncIterator[Credit]: ...

    @allow(MANAGERS)
    async def order(self, caller: Caller, request: LogOrder) -> Taken:
        """Pass the order down the sessions of the nodes that run these tasks; served by the leader."""
        ...


class Conversations(Protocol):
    """A manager's client and the Engine API of a task's node, about that task's container alone; never through the leader."""

    @allow(NODES)
    def converse(self, caller: Caller, requests: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
        """By the node that was told to, to the manager that asked for it."""
        ...

    @allow(MANAGERS)
    async def reach(self, caller: Caller, request: ReachOrder) -> Taken:
        """Pass the order down the session of the task's node; served by the leader."""
        ...


CONTRACTS: tuple[type, ...] = (ControlAPI, Dispatcher, RaftPeer, Membership, NodeCA, Guests, Streams, Conversations)
