"""Of a swarm that lost its quorum everything stays but the other managers, who are workers and down until they come back."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import ChangeSet, Put, encode_entry
from cluster.api.errors import FailedPrecondition
from cluster.api.ids import Id, from_bytes
from cluster.api.objects import Cluster, Node, NodeStatus, RaftMember, Secret
from cluster.api.specs import NodeSpec, SecretSpec
from cluster.api.states import Availability, NodeState, Role
from manager.raft.core.membership import Member, MemberId
from manager.raft.driver import bootstrap
from manager.raft.memory import MemoryStorage
from manager.recovery import founder_changes, go_on_alone, is_fenced, replay, without_fence
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

CLUSTER, ME, LOST, DEMOTED, WORKER, NEW = (from_bytes(bytes([number]) * 16) for number in range(1, 7))


def node(node_id: Id, role: Role, *, addr: str = "", availability: Availability = Availability.ACTIVE) -> Node:
    return Node(
        id=node_id,
        spec=NodeSpec(role=role, availability=availability),
        status=NodeStatus(state=NodeState.READY, addr="10.0.0.9"),
        certified_role=role,
        member=RaftMember(addr=addr) if addr else None,
    )


OBJECTS = (
    Cluster(id=CLUSTER),
    node(ME, Role.MANAGER, addr="10.0.0.1:2377", availability=Availability.DRAIN),
    node(LOST, Role.MANAGER, addr="10.0.0.2:2377"),
    node(DEMOTED, Role.WORKER, addr="10.0.0.3:2377"),
    node(WORKER, Role.WORKER),
    Secret(id=from_bytes(b"secret-id-bytes!"), spec=SecretSpec(name="password", data=b"hunter2")),
)
FOUNDED = encode_entry(ChangeSet(at=1, changes=tuple(Put(object=one) for one in OBJECTS)))


def storage() -> MemoryStorage:
    disk = MemoryStorage()
    bootstrap(disk, [Member(id=MemberId(ME), address="10.0.0.1:2377"), Member(id=MemberId(LOST), address="10.0.0.2:2377")], [FOUNDED])
    return disk


def after(now: Snapshot, me: Id, addr: str) -> Snapshot:
    changes = founder_changes(now, me=me, addr=addr, data_path_addr="10.0.0.7")
    then, refusal = apply(now, now.version + 1, ChangeSet(at=2, changes=changes))
    assert refusal is None
    return then


def test_the_others_lose_their_place_and_are_removable_and_fenced() -> None:
    then = after(replay(storage()), ME, "10.0.0.1:2377")
    for lost in (LOST, DEMOTED):
        row = then.nodes[lost]
        assert (row.member, row.spec.role, row.status.state) == (None, Role.WORKER, NodeState.DOWN)
        assert "forced" in row.status.message
    assert then.nodes[LOST].certified_role is Role.MANAGER, "its certificate still says so, with which it can get another one"
    assert then.cluster is not None
    assert set(then.cluster.fenced) == {LOST, DEMOTED}


def test_workers_secrets_and_our_own_settings_stay_as_they_are() -> None:
    now = replay(storage())
    then = after(now, ME, "10.0.0.7:2377")
    assert then.nodes[WORKER] == now.nodes[WORKER]
    assert then.secrets == now.secrets
    mine = then.nodes[ME]
    assert (mine.spec.availability, mine.member, mine.data_path_addr) == (Availability.DRAIN, RaftMember(addr="10.0.0.7:2377"), "10.0.0.7")


def test_a_new_machine_takes_over_and_all_managers_of_before_are_lost() -> None:
    then = after(replay(storage()), NEW, "10.0.0.7:2377")
    assert (then.nodes[NEW].spec.role, then.nodes[NEW].certified_role) == (Role.MANAGER, Role.MANAGER)
    assert then.cluster is not None
    assert set(then.cluster.fenced) == {ME, LOST, DEMOTED}


def test_a_manager_that_is_forced_after_it_was_fenced_is_so_no_more() -> None:
    then = after(after(replay(storage()), NEW, "10.0.0.7:2377"), ME, "10.0.0.1:2377")
    assert then.cluster is not None
    assert set(then.cluster.fenced) == {NEW, LOST, DEMOTED}


def test_a_fence_stands_until_the_node_is_a_member_anew_and_is_lifted_then() -> None:
    then = after(replay(storage()), ME, "10.0.0.1:2377")
    assert is_fenced(then, LOST)
    assert not is_fenced(then, WORKER)
    row = then.nodes[LOST]
    lift = without_fence(then, LOST)
    assert lift is not None
    member = Put(object=replace(row, member=RaftMember(addr="10.0.0.2:2377")), base=row.version)
    joined, refusal = apply(then, then.version + 1, ChangeSet(at=3, changes=(member,)))
    assert refusal is None
    assert not is_fenced(joined, LOST)
    lifted, refusal = apply(joined, joined.version + 1, ChangeSet(at=3, changes=(lift,)))
    assert refusal is None
    assert lifted.cluster is not None
    assert lifted.cluster.fenced == (DEMOTED,)
    assert without_fence(lifted, LOST) is None


def test_what_was_written_is_what_the_next_start_reads() -> None:
    disk = storage()
    now = replay(disk)
    go_on_alone(disk, now, me=ME, addr="10.0.0.7:2377", data_path_addr="10.0.0.7", at=5)
    then = replay(disk)
    assert then.nodes[ME].member == RaftMember(addr="10.0.0.7:2377")
    assert then.nodes[LOST].member is None
    assert then.secrets == now.secrets


def test_a_manager_that_has_nothing_yet_cannot_go_on() -> None:
    with pytest.raises(FailedPrecondition, match="has not received the swarm's state"):
        founder_changes(EMPTY_SNAPSHOT, me=ME, addr="10.0.0.1:2377", data_path_addr="")
