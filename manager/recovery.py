"""Recovery from a lost quorum: the state that one manager's disk holds, and what changes in it when that manager goes on alone.

The functions are pure but for reading the storage; `node_agent.recovery` calls them while no daemon uses the disk.
"""

from msgspec.structs import replace

from cluster.api.changes import Change, ChangeSet, Put, encode_entry
from cluster.api.errors import FailedPrecondition
from cluster.api.ids import Id
from cluster.api.objects import Cluster, Node, NodeStatus, RaftMember
from cluster.api.specs import NodeSpec
from cluster.api.states import NodeState, Role
from manager.raft.core.entries import Command
from manager.raft.core.membership import MemberId
from manager.raft.ports import Storage
from manager.raft.proposer import StoreMachine
from manager.raft.recovery import go_alone
from manager.store.snapshot import Snapshot
from manager.store.store import Store

SET_ASIDE = "no longer a manager: the swarm went on without it when a new cluster was forced"


def replay(storage: Storage) -> Snapshot:
    """The state after every entry that is there, committed or not: see manager.raft.recovery for why all of them count."""
    store = Store()
    machine = StoreMachine(store)
    stored = storage.load()
    reader = storage.open_snapshot()
    if reader is not None:
        try:
            store.restore(reader.read(number) for number in range(reader.count))
        finally:
            reader.close()
    for entry in stored.entries:
        if entry.index > stored.snapshot.index and isinstance(entry, Command):
            machine.apply(entry.index, entry.payload)
    return store.snapshot


def founder_changes(now: Snapshot, *, me: Id, addr: str, data_path_addr: str) -> tuple[Change, ...]:
    """`me`, known so far or not, is the only manager, at `addr` (host:port); the others are workers that are down, until they come back.

    They are fenced: what they kept of the log leads another history now, so nothing they say as managers counts until they join anew.
    """
    cluster = cluster_in(now)
    lost = [node for node in now.nodes.values() if node.id != me and (node.member is not None or node.spec.role is Role.MANAGER)]
    lost.sort(key=lambda node: node.id)
    fenced = sorted({*cluster.fenced, *(node.id for node in lost)} - {me})
    return (
        Put(object=replace(cluster, fenced=tuple(fenced)), base=cluster.version),
        _manager(now.nodes.get(me), me, addr, data_path_addr),
        *(Put(object=_set_aside(node), base=node.version) for node in lost),
    )


def is_fenced(now: Snapshot, node_id: Id) -> bool:
    """Whether what a node says as a manager is of another history; no more once it is a member anew, with an empty log."""
    node = now.nodes.get(node_id)
    return now.cluster is not None and node_id in now.cluster.fenced and (node is None or node.member is None)


def without_fence(now: Snapshot, node_id: Id) -> Put | None:
    """What lifts it, if it stands."""
    cluster = now.cluster
    if cluster is None or node_id not in cluster.fenced:
        return None
    return Put(object=replace(cluster, fenced=tuple(one for one in cluster.fenced if one != node_id)), base=cluster.version)


def cluster_in(now: Snapshot) -> Cluster:
    if now.cluster is None:
        raise FailedPrecondition(
            "this manager has not received the swarm's state yet, so there is nothing to go on from: use another manager, or a snapshot"
        )
    return now.cluster


def go_on_alone(storage: Storage, now: Snapshot, *, me: Id, addr: str, data_path_addr: str, at: int) -> None:
    """Write it: durable, whole or not at all, when this returns. `now` is what `replay` gave, `at` the wall clock in ns."""
    changes = founder_changes(now, me=me, addr=addr, data_path_addr=data_path_addr)
    addition = go_alone(storage.load(), MemberId(me), addr, [encode_entry(ChangeSet(at=at, changes=changes))])
    storage.write(addition.hard, addition.entries, addition.commit)
    storage.sync()


def _manager(known: Node | None, node_id: Id, addr: str, data_path_addr: str) -> Put:
    member, host = RaftMember(addr=addr), addr.rpartition(":")[0]
    if known is None:
        node = Node(
            id=node_id,
            spec=NodeSpec(role=Role.MANAGER),
            status=NodeStatus(addr=host),
            certified_role=Role.MANAGER,
            data_path_addr=data_path_addr,
            member=member,
        )
        return Put(object=node)
    node = replace(
        known,
        spec=replace(known.spec, role=Role.MANAGER),
        status=replace(known.status, addr=host),
        certified_role=Role.MANAGER,
        data_path_addr=data_path_addr or known.data_path_addr,
        member=member,
    )
    return Put(object=node, base=known.version)


def _set_aside(node: Node) -> Node:
    status = NodeStatus(state=NodeState.DOWN, message=SET_ASIDE, addr=node.status.addr)
    return replace(node, spec=replace(node.spec, role=Role.WORKER), member=None, status=status)
