"""Going on after the loss of the other managers, or of the machine: work on a state folder that no running node uses. Blocks.

`force` makes the cluster of this folder one of a single manager, with all its state. The log is written first, then who we are: a crash
in between leaves a manager that tells its cluster its address at the next start, as after any change of address.
"""

from msgspec import Struct
from msgspec.structs import replace

from cluster.api.errors import FailedPrecondition
from cluster.api.ids import Id
from cluster.api.objects import Cluster
from cluster.api.specs import SECOND
from cluster.api.states import Role
from cluster.rpc.identity import Identity, facts, new_csr, new_key
from manager.ca.authority import issue
from manager.ca.trust import chain_of, issuer_of, trusted
from manager.raft.opening import holds_log, open_storage
from manager.recovery import cluster_in, go_on_alone, replay
from node_agent import machine
from node_agent.addresses import resolve, split_port
from node_agent.api.backend import InitRequest
from node_agent.state import NodeFacts, StateFolder

USUAL_LISTEN = "0.0.0.0:2377"
NOT_A_MANAGER = "this node holds no state of the swarm: a new cluster can only be forced on a node that was a manager"


class Addresses(Struct, frozen=True, kw_only=True):
    """What shall be other than it was; empty keeps what was."""

    listen: str = ""
    """host:port."""
    advertise: str = ""
    """host:port."""
    data_path: str = ""

    def applied_to(self, node: NodeFacts) -> NodeFacts:
        return replace(
            node,
            listen_addr=self.listen or node.listen_addr,
            advertise_addr=self.advertise or node.advertise_addr,
            data_path_addr=self.data_path or node.data_path_addr,
            managers=(),
        )


def asked_addresses(request: InitRequest, node: NodeFacts) -> Addresses:
    """What `--force-new-cluster` shall change. Clients always send the usual listen address, so that one asks for nothing."""
    listen = "" if request.listen_addr in {"", USUAL_LISTEN} else ":".join(map(str, split_port(request.listen_addr)))
    port = split_port(listen or node.listen_addr)[1]
    host, advertised_port = (
        resolve(request.advertise_addr, what="advertise address", default_port=port) if request.advertise_addr else ("", 0)
    )
    return Addresses(
        listen=listen,
        advertise=f"{host}:{advertised_port}" if host else "",
        data_path=resolve(request.data_path_addr, what="data path address")[0] if request.data_path_addr else host,
    )


def force(state: StateFolder, addresses: Addresses, *, now: int) -> tuple[NodeFacts, Identity]:
    """`now`: the wall clock in ns. Raises SwarmLocked, FailedPrecondition for a folder without a manager's state, StorageDamaged."""
    loaded = state.load()
    if loaded is None:
        raise FailedPrecondition("there is no swarm on this node to force a new cluster from; use swarm init without --force-new-cluster")
    known, identity = loaded
    if not holds_log(state.raft):
        raise FailedPrecondition(NOT_A_MANAGER)
    node = addresses.applied_to(known)
    storage = open_storage(state.raft, key=state.data_key(machine.draw_key()), cluster=node.cluster_id)
    try:
        then = replay(storage)
        cluster = cluster_in(then)
        go_on_alone(storage, then, me=node.node_id, addr=node.advertise_addr, data_path_addr=node.data_path_addr, at=now)
    finally:
        storage.close()
    identity = certified(cluster, node.node_id, now=now) or identity
    if facts(identity.certificate).role is not Role.MANAGER:
        raise FailedPrecondition("this node's certificate is a worker's, and only the cluster's external CA could make it a manager's")
    state.save_identity(identity)
    state.save(node)
    return node, identity


def certified(cluster: Cluster, node_id: Id, *, now: int) -> Identity | None:
    """A fresh manager's identity from the cluster's own CA: the old one may have ended meanwhile. None if the cluster has no CA key."""
    root = issuer_of(cluster)
    if not root.key:
        return None
    key = new_key()
    certificate = issue(
        root,
        new_csr(key),
        node_id=node_id,
        role=Role.MANAGER,
        cluster_id=cluster.id,
        now=now / SECOND,
        lifetime=cluster.spec.ca_config.node_cert_expiry / SECOND,
        serial=machine.draw_serial(),
    )
    return Identity(key=key, certificate=certificate + chain_of(cluster), roots=trusted(cluster))
