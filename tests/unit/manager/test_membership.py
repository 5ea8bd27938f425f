"""Raft's members follow the nodes: who is demoted or gone is taken out, the leader itself last."""

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.api.changes import ChangeSet, Put
from cluster.api.contracts import Caller, MemberRequest
from cluster.api.errors import NodeRemoved
from cluster.api.objects import Node, RaftMember
from cluster.api.specs import NodeSpec
from cluster.api.states import Role
from manager.membership import MembershipKeeper, plan
from manager.store.apply import apply
from manager.store.memory import MemoryProposer
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from manager.store.store import Store
from tests.sim.raft_cluster import cluster
from tests.sim.virtual_time import run


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


# -- a lost log --------------------------------------------------------------------------------------------------------------------------
def test_a_manager_whose_log_is_lost_is_counted_out_before_it_begins_anew() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            await leader.raft.propose(b"kept")
            lost = next(node for node in group.nodes.values() if node is not leader)
            await lost.stop()
            store = Store(holding(*(manager(name) for name in group.nodes)))
            proposer = MemoryProposer(store, ManualClock())
            keeper = MembershipKeeper(me=leader.id, raft=leader.raft, store=store, proposer=proposer, clock=ManualClock())
            caller = Caller(node_id=lost.id, role=Role.MANAGER)
            for _ in range(2):  # the answer may be lost, and it asks again
                answer = await keeper.join(caller, MemberRequest(addr=lost.address, log_lost=True))
                assert set(answer.members) == set(group.nodes) - {lost.id}
            assert lost.id not in leader.raft.membership.value.voters
            assert store.snapshot.nodes[lost.id].member is None
            anew = group.join(lost.id)
            answer = await keeper.join(caller, MemberRequest(addr=anew.address))
            assert set(answer.members) == set(group.nodes)
            await group.until(lambda: len(leader.raft.membership.value.voters) == 3 and anew.ledger.entries == [b"kept"])

    run(main())


def test_a_removed_node_that_lost_its_log_is_told_that_it_is_none_of_them() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            store = Store(holding(manager(leader.id)))
            proposer = MemoryProposer(store, ManualClock())
            keeper = MembershipKeeper(me=leader.id, raft=leader.raft, store=store, proposer=proposer, clock=ManualClock())
            with pytest.raises(NodeRemoved):
                await keeper.join(Caller(node_id="gone", role=Role.MANAGER), MemberRequest(addr="gone:2377", log_lost=True))

    run(main())
