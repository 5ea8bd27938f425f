"""`shoald restore FILE`: from a snapshot to a cluster of one manager, on an empty state folder. Blocks; no daemon uses the folder.

The cluster is the same one: its id, its CA, its join tokens, so that nodes which still look for it find it again. The state's Raft index
jumps ahead, past all that the lost managers may have told nodes after the snapshot was taken.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from cluster.api.archive import DamagedArchive, Manifest, Reader
from cluster.api.changes import ChangeSet, encode_entry
from cluster.api.errors import FailedPrecondition, NotFound
from cluster.api.ids import Id
from cluster.api.states import Kind
from cluster.rpc.identity import Identity
from manager.raft.core.entries import HardState, SnapshotMeta
from manager.raft.core.membership import Member, MemberId, Membership
from manager.raft.opening import open_storage
from manager.raft.ports import Storage
from manager.raft.recovery import go_alone
from manager.recovery import cluster_in, founder_changes
from manager.store.frames import DamagedSnapshot, Restoration
from manager.store.snapshot import Snapshot
from node_agent import machine
from node_agent.api.edge import look_up
from node_agent.recovery import certified
from node_agent.state import NodeFacts, StateFolder

AHEAD = 1_000_000
"""How far the index jumps."""


class Place(Struct, frozen=True, kw_only=True):
    """Where the new manager is. `node`: the id or name of one of the snapshot's nodes that this one shall be again; empty for a new one."""

    listen: str
    advertise: str
    data_path: str
    node: str = ""


def read_archive(path: Path) -> tuple[Manifest, Sequence[bytes], Snapshot]:
    """What is in the file. Raises DamagedArchive before any of it is used, if it is not whole."""
    try:
        with path.open("rb") as file:
            reader = Reader(file.read)
            frames = list(reader.frames())
    except OSError as missing:
        raise NotFound(f"the snapshot {path} cannot be read: {missing.strerror}") from missing
    restoration = Restoration()
    try:
        for frame in frames:
            restoration.feed(frame)
        return reader.manifest, frames, restoration.finish()
    except (DamagedSnapshot, ValueError) as wrong:
        raise DamagedArchive(f"the snapshot cannot be read by this version of Shoal: {wrong}") from wrong


def restore(state: StateFolder, path: Path, place: Place, *, now: int, say: Callable[[str], None] = lambda _: None) -> NodeFacts:
    """`now`: the wall clock in ns. Who we are is written last: a restore that was broken off can be done again."""
    if state.load_facts() is not None:
        raise FailedPrecondition(
            f"the state folder {state.root} is of a node of a swarm already: leave it first, or name another --data-root"
        )
    manifest, frames, then = read_archive(path)
    cluster = cluster_in(then)
    node_id = look_up(then, Kind.NODE, place.node).id if place.node else machine.draw_id()
    identity = certified(cluster, node_id, now=now)
    if identity is None:
        raise FailedPrecondition("the cluster's certificates are signed by an external CA, whose key the snapshot does not hold")
    say(f"restoring cluster {manifest.cluster_id} as of {manifest.created}, index {manifest.raft_index}")
    state.forget_swarm()
    node = NodeFacts(
        node_id=node_id,
        cluster_id=cluster.id,
        listen_addr=place.listen,
        advertise_addr=place.advertise,
        data_path_addr=place.data_path,
        data_path_port=cluster.data_path_port,
    )
    storage = open_storage(state.raft, key=state.data_key(machine.draw_key()), cluster=node.cluster_id)
    try:
        found_from(storage, then, frames, me=node_id, place=place, at=now)
    finally:
        storage.close()
    _identify(state, node, identity)
    return node


def found_from(storage: Storage, then: Snapshot, frames: Sequence[bytes], *, me: Id, place: Place, at: int) -> None:
    """On an empty storage: the snapshot, then the entry that makes `me` its only manager."""
    alone = Membership(members=(Member(id=MemberId(me), address=place.advertise),))
    sink = storage.begin_snapshot(SnapshotMeta(index=then.version + AHEAD, term=1, membership=alone))
    for frame in frames:
        sink.add(frame)
    storage.install_snapshot(sink, HardState(term=1))
    changes = founder_changes(then, me=me, addr=place.advertise, data_path_addr=place.data_path)
    addition = go_alone(storage.load(), MemberId(me), place.advertise, [encode_entry(ChangeSet(at=at, changes=changes))])
    storage.write(addition.hard, addition.entries, addition.commit)
    storage.sync()


def _identify(state: StateFolder, node: NodeFacts, identity: Identity) -> None:
    state.save_identity(identity)
    state.save(node)
