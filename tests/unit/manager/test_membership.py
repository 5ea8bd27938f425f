"""Raft's members follow the nodes that should be managers, one change at a time, the leader last."""

from cluster.api.changes import ChangeSet, Put
from cluster.api.objects import Node, NodeStatus, RaftMember
from cluster.api.specs import NodeSpec
from cluster.api.states import Availability, NodeState, Role
from manager.membership import Step, gone, plan
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

MEMBERS = ("m1", "m2", "m3")


def node(node_id: str, *, role: Role = Role.MANAGER, member: bool = True) -> Node:
    return Node(id=node_id, spec=NodeSpec(role=role), member=RaftMember(addr=f"{node_id}:2377") if member else None)


def swarm(*nodes: Node) -> Snapshot:
    now, refusal = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=tuple(Put(object=one) for one in nodes)))
    assert refusal is None
    return now


def test_members_that_are_as_they_should_be_stay() -> None:
    assert plan(swarm(node("m1"), node("m2"), node("m3"), node("w1", role=Role.WORKER, member=False)), MEMBERS, me="m1") == Step()


def test_a_demoted_or_forgotten_node_is_taken_out() -> None:
    assert plan(swarm(node("m1"), node("m2", role=Role.WORKER), node("m3")), MEMBERS, me="m1") == Step(remove=("m2",))
    assert plan(swarm(node("m1"), node("m3")), MEMBERS, me="m1") == Step(remove=("m2",))


def test_the_leader_goes_last() -> None:
    now = swarm(node("m1", role=Role.WORKER), node("m2", role=Role.WORKER), node("m3"))
    assert plan(now, MEMBERS, me="m1").remove == ("m2",)
    assert plan(now, ("m1", "m3"), me="m1").remove == ("m1",)


def test_a_node_that_is_out_of_raft_gets_a_workers_certificate_next() -> None:
    """It keeps its entry as a member, and with it its role, until Raft goes on without it."""
    now = swarm(node("m1"), node("m2", role=Role.WORKER))
    assert plan(now, ("m1", "m2"), me="m1").clear == ()
    assert plan(now, ("m1",), me="m1") == Step(clear=("m2",))


def test_a_manager_that_is_about_to_join_is_not_taken_for_one_that_left() -> None:
    assert plan(swarm(node("m1"), node("m2")), ("m1",), me="m1") == Step()


def test_who_left_for_good_is_a_worker_that_is_down_so_that_it_can_be_removed() -> None:
    left = gone(
        Node(
            id="m2",
            spec=NodeSpec(role=Role.MANAGER, availability=Availability.DRAIN),
            status=NodeStatus(state=NodeState.READY, addr="10.0.0.2"),
            member=RaftMember(addr="m2:2377"),
        )
    )
    assert (left.member, left.spec.role, left.spec.availability) == (None, Role.WORKER, Availability.DRAIN)
    assert left.status == NodeStatus(state=NodeState.DOWN, message="node left the swarm", addr="10.0.0.2")
