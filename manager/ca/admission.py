"""Who may join, and as what: decisions on join tokens and roles. Pure."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from cluster.api.changes import Change, Put
from cluster.api.contracts import AdmissionRequest
from cluster.api.errors import Conflict, FailedPrecondition, InvalidArgument, NodeRemoved
from cluster.api.features import too_old
from cluster.api.ids import Id, is_id
from cluster.api.objects import Cluster, Node, NodeDescription, NodeStatus
from cluster.api.specs import NodeSpec
from cluster.api.states import NodeState, Role
from cluster.rpc.tokens import same_secret
from manager.store.snapshot import Snapshot


class Decision(Struct, frozen=True, kw_only=True):
    role: Role
    changes: Sequence[Change]


def cluster_of(now: Snapshot) -> Cluster:
    if now.cluster is None:
        raise InvalidArgument("this swarm has no cluster object yet")
    return now.cluster


def role_for(cluster: Cluster, secret: str) -> Role:
    """The role that a token's secret gives. Raises InvalidArgument, as Docker does, for one that is wrong or was rotated away."""
    if same_secret(secret, cluster.join_tokens.manager):
        return Role.MANAGER
    if same_secret(secret, cluster.join_tokens.worker):
        return Role.WORKER
    raise InvalidArgument(
        "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster: this one is wrong or was rotated. "
        "Print the present one on a manager: shoal swarm join-token worker"
    )


def admit(now: Snapshot, request: AdmissionRequest) -> Decision:
    """Let a node in. The same node asking again before it was ever seen is the same request.

    It describes itself as soon as it is seen. Its state says nothing of that: one that got no answer is taken for lost like any other.
    """
    cluster = cluster_of(now)
    role = role_for(cluster, request.secret)
    if not is_id(request.node_id):
        raise InvalidArgument("a node id is 25 characters of 0-9 and a-z")
    if role is Role.MANAGER and request.feature_level < cluster.feature_level:
        raise FailedPrecondition(too_old("this node", request.feature_level, cluster.feature_level))
    known = now.nodes.get(request.node_id)
    if known is not None:
        was_seen = known.status.state is NodeState.READY or known.description != NodeDescription()
        if was_seen or known.certified_role is not role:
            raise Conflict(f"node {request.node_id} is already part of this swarm")
        return Decision(role=role, changes=())
    node = Node(id=request.node_id, spec=NodeSpec(role=role), status=NodeStatus(addr=request.addr), certified_role=role)
    return Decision(role=role, changes=(Put(object=node),))


def renew(now: Snapshot, node_id: Id) -> Decision:
    """The role that a node's next certificate carries: what its spec says, and a demoted manager only once it is no member any more."""
    node = now.nodes.get(node_id)
    if node is None:
        raise NodeRemoved(node_id)
    role = Role.MANAGER if node.member is not None else node.spec.role
    if node.certified_role is role:
        return Decision(role=role, changes=())
    return Decision(role=role, changes=(Put(object=replace(node, certified_role=role), base=node.version),))
