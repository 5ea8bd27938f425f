"""Raft's members follow the nodes: who is demoted or gone is taken out, the leader itself last."""

from msgspec.structs import replace

from cluster.api.changes import ChangeSet, Put
from cluster.api.objects import Node, RaftMember
from cluster.api.specs import NodeSpec
from cluster.api.states import Role
from manager.membership import plan
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


def manager(node_id: str) -> Node:
    return Node(id=node_id, spec=NodeSpec(role=Role.MANAGER), certified_role=Role.MANAGER, member=RaftMember(addr=f"{node_id}:2377"))


def holding(*nodes: Node) -> Snapshot:
    now, refusal = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=tuple(Put(object=node) for node in nodes)))
    assert refusal is None
    return now


def demoted(node: Node) -> Node:
    return replace(node, spec=replace(node.spec, role=Role.WORKER))


def test_members_that_are_managers_stay() -> None:
    step = plan(holding(manager("m1"), manager("m2")), ["m1", "m2"], me="m1")
    assert (step.remove, step.clear) == ((), ())


def test_a_removed_node_is_no_member_any_more() -> None:
    assert plan(holding(manager("m1")), ["m1", "m2"], me="m1").remove == ("m2",)


def test_a_demoted_manager_leaves_raft_first_and_loses_its_entry_then() -> None:
    now = holding(manager("m1"), demoted(manager("m2")))
    assert plan(now, ["m1", "m2"], me="m1").remove == ("m2",)
    assert plan(now, ["m1"], me="m1").clear == ("m2",)


def test_a_demoted_leader_goes_after_all_others() -> None:
    now = holding(demoted(manager("m1")), demoted(manager("m2")), manager("m3"))
    assert plan(now, ["m1", "m2", "m3"], me="m1").remove == ("m2",)
    assert plan(now, ["m1", "m3"], me="m1").remove == ("m1",)
