"""What callers of a member can count on; real drivers on virtual time, with in-memory disks and network."""

import asyncio
from random import Random

import msgspec
import pytest

from manager.raft.config import RaftConfig
from manager.raft.core.membership import MemberId, Standing
from manager.raft.core.state import Settings
from manager.raft.driver import bootstrap
from manager.raft.errors import MembershipRefused, NotLeader, ProposalLost, ProposalTooLarge, StorageFull, StorageStalled, TooBusy
from manager.raft.proposals import GATHER_MOMENTS
from tests.sim.raft_cluster import CONFIG, Ledger, Node, cluster
from tests.sim.virtual_time import run


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_single_member_leads_at_once_and_answers_with_what_apply_gave() -> None:
    async def main() -> None:
        async with cluster("a") as group:
            began = now()
            leader = await group.leader()
            assert now() - began < 0.2
            assert await leader.raft.propose(b"x") == (3, b"x")

    run(main())


def test_each_of_many_callers_gets_its_own_result_and_all_members_apply_the_same() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            payloads = [b"%d" % number for number in range(500)]
            results = await asyncio.gather(*(leader.raft.propose(payload) for payload in payloads))
            assert [result[1] for result in results] == payloads  # type: ignore[index]
            await group.until(lambda: all(len(node.ledger.entries) == 500 for node in group.nodes.values()))
            assert {tuple(node.ledger.entries) for node in group.nodes.values()} == {tuple(leader.ledger.entries)}

    run(main())


def test_a_follower_says_who_leads() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            follower = next(node for node in group.nodes.values() if node is not leader)
            await group.until(lambda: follower.raft.leadership.value.leader is not None)
            with pytest.raises(NotLeader) as refused:
                await follower.raft.propose(b"x")
            assert refused.value.leader == leader.id

    run(main())


def test_a_leader_that_is_cut_off_says_that_the_outcome_is_unknown_and_another_takes_over() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            old = await group.leader()
            group.network.cut(old.id)
            began = now()
            with pytest.raises(ProposalLost):
                await old.raft.propose(b"lost")
            new = await group.leader(among={node for node in group.nodes if group.nodes[node] is not old})
            assert now() - began < 3.0
            await new.raft.propose(b"kept")
            group.network.heal()
            await group.until(lambda: all(node.ledger.entries == [b"kept"] for node in group.nodes.values()))

    run(main())


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_leader_is_replaced_within_two_seconds(seed: int) -> None:
    async def main() -> None:
        async with cluster("a", "b", "c", seed=seed) as group:
            old = await group.leader()
            await old.raft.propose(b"x")
            await old.stop()
            began = now()
            new = await group.leader(among={node for node in group.nodes if group.nodes[node] is not old})
            assert await new.raft.propose(b"y")
            assert now() - began < 2.0

    run(main())


def test_a_suspected_leader_is_replaced_sooner() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            old = await group.leader()
            others = [node for node in group.nodes.values() if node is not old]
            await old.raft.propose(b"x")
            await group.until(lambda: all(other.ledger.entries == [b"x"] for other in others))  # its term is settled with them
            await old.stop()
            began = now()
            for other in others:
                other.raft.suspect(old.id)
            await group.leader(among={str(other.id) for other in others})
            assert now() - began < 0.5

    run(main())


def test_a_read_on_a_follower_sees_all_that_was_acknowledged_before() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            follower = next(node for node in group.nodes.values() if node is not leader)
            for number in range(20):
                await leader.raft.propose(b"%d" % number)
                await follower.raft.read_barrier()
                assert len(follower.ledger.entries) == number + 1

    run(main())


def test_a_read_that_the_dead_leader_was_asked_is_answered_as_soon_as_another_leads() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            old = await group.leader()
            await old.raft.propose(b"x")
            others = [node for node in group.nodes.values() if node is not old]
            await old.stop()
            reads = [asyncio.ensure_future(node.raft.read_barrier()) for node in others]
            await asyncio.sleep(0.01)  # the questions are on their way to nobody
            for other in others:
                other.raft.suspect(old.id)
            new = await group.leader(among={str(other.id) for other in others})
            began = now()
            await new.raft.propose(b"y")
            await asyncio.gather(*reads)
            assert now() - began < 0.1, "two ticks, not the patience with a question that was lost"

    run(main())


def test_a_read_waits_for_a_leader_and_for_nothing_else() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            index = await group.nodes["a"].raft.read_barrier()
            assert index >= 1
            group.network.cut(MemberId("a"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await group.nodes["a"].raft.read_barrier()
            assert await group.nodes["b"].raft.read_barrier() >= index

    run(main())


def test_what_is_too_much_is_refused_and_what_was_accepted_is_done() -> None:
    async def main() -> None:
        config = RaftConfig(core=Settings(max_entry_bytes=1000), max_waiting=10)
        async with cluster("a", config=config) as group:
            leader = await group.leader()
            accepted = [asyncio.ensure_future(leader.raft.propose(b"%d" % number)) for number in range(10)]
            await asyncio.sleep(0)
            with pytest.raises(TooBusy):
                await leader.raft.propose(b"one too many")
            with pytest.raises(ProposalTooLarge):
                await leader.raft.propose(bytes(1001))
            assert len(await asyncio.gather(*accepted)) == 10

    run(main())


def test_a_proposal_waits_for_company_no_longer_than_a_moment() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            group.network.cut(leader.id)  # nothing is committed any more
            before = leader.raft.status().last_index
            lost = [asyncio.ensure_future(leader.raft.propose(b"first"))]
            await asyncio.sleep(0.001)
            lost += [asyncio.ensure_future(leader.raft.propose(b"%d" % number)) for number in range(2)]
            await asyncio.sleep(0.001)
            assert leader.raft.status().last_index == before + 1
            await asyncio.sleep(leader.raft.config.moment_seconds * (GATHER_MOMENTS + 1))
            assert leader.raft.status().last_index == before + 3
            assert all(isinstance(one, ProposalLost) for one in await asyncio.gather(*lost, return_exceptions=True))

    run(main())


def test_leadership_is_handed_over_within_a_moment() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            old = await group.leader()
            began = now()
            target = next(node for node in group.nodes.values() if node is not old)
            assert await old.raft.transfer_leadership(target.id)
            assert await group.leader() is target
            assert now() - began < 0.3
            with pytest.raises(NotLeader):
                await old.raft.transfer_leadership()

    run(main())


def test_a_leader_that_steps_down_names_its_reason_and_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            old = await group.leader()
            old.raft.step_down(because=RuntimeError("a loop died"))
            await group.until(lambda: not old.raft.leadership.value.is_me)
            assert (await group.leader()) is not old

    run(main())
    assert "a loop died" in caplog.text


def test_a_new_member_becomes_a_voter_once_it_has_caught_up() -> None:
    async def main() -> None:
        async with cluster("a") as group:
            leader = await group.leader()
            for number in range(5):
                await leader.raft.propose(b"%d" % number)
            joined = group.join("b")
            await leader.raft.add_member(joined.id, joined.address, learner=False)
            await group.until(lambda: leader.raft.membership.value.voters == ("a", "b"))
            await group.until(lambda: joined.ledger.entries == leader.ledger.entries)
            assert joined.raft.status().is_member
            assert {member.id: member.address for member in joined.raft.membership.value.members} == {"a": "a:2377", "b": "b:2377"}

    run(main())


def test_a_learner_stays_one_until_it_is_promoted() -> None:
    async def main() -> None:
        async with cluster("a") as group:
            leader = await group.leader()
            joined = group.join("b")
            await leader.raft.add_member(joined.id, joined.address)
            await group.until(lambda: joined.raft.leadership.value.leader == leader.id)
            await asyncio.sleep(3)
            assert leader.raft.membership.value.voters == ("a",)
            await leader.raft.promote(joined.id)
            assert leader.raft.membership.value.voters == ("a", "b")
            await leader.raft.demote(joined.id)
            assert leader.raft.membership.value.voters == ("a",)

    run(main())


def test_a_new_member_far_behind_gets_a_snapshot_whatever_is_lost_on_the_way() -> None:
    async def main() -> None:
        async with cluster("a") as group:
            leader = await group.leader()
            for number in range(400):
                await leader.raft.propose(b"%d" % number)
            await group.until(lambda: leader.raft.status().snapshot_index > 300)
            rng = Random(3)
            group.network._loses = lambda *_: rng.random() < 0.3
            joined = group.join("b")
            await leader.raft.add_member(joined.id, joined.address, learner=False)
            await group.until(lambda: joined.ledger.entries == leader.ledger.entries)
            assert joined.raft.status().snapshot_index > 300
            await group.until(lambda: leader.raft.membership.value.voters == ("a", "b"))

    run(main())


def test_a_follower_that_was_away_for_long_catches_up() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            away = next(node for node in group.nodes.values() if node is not leader)
            await away.stop()
            for number in range(200):
                await leader.raft.propose(b"%d" % number)
            away.start()
            await group.until(lambda: away.ledger.entries == leader.ledger.entries)

    run(main())


def test_a_member_that_moved_is_told_to_the_others() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            moved = next(node for node in group.nodes.values() if node is not leader)
            await moved.stop()
            moved.address = "elsewhere:2377"
            moved.start()
            await leader.raft.add_member(moved.id, moved.address, learner=False)
            member = leader.raft.membership.value.find(moved.id)
            assert member is not None
            assert (member.address, member.standing) == ("elsewhere:2377", Standing.VOTER)
            await leader.raft.propose(b"x")
            await group.until(lambda: moved.ledger.entries == [b"x"])

    run(main())


def test_a_member_is_removed_only_while_a_majority_of_the_rest_answers() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            first, second = (node for node in group.nodes.values() if node is not leader)
            group.network.cut(first.id)
            await asyncio.sleep(3)
            with pytest.raises(MembershipRefused, match="loss of quorum"):
                await leader.raft.remove(second.id)
            await leader.raft.remove(first.id)
            assert leader.raft.membership.value.voters == tuple(sorted((leader.id, second.id)))

    run(main())


def test_a_member_that_was_removed_and_comes_back_with_an_empty_disk_is_not_taken_for_what_it_was() -> None:
    """At once, while the leader still tells the former member that it was removed."""

    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            await leader.raft.propose(b"kept")
            gone, other = (node for node in group.nodes.values() if node is not leader)
            await gone.stop()
            await leader.raft.remove(gone.id)
            anew = group.join(gone.id)
            group.network.cut(anew.id)
            await leader.raft.add_member(anew.id, anew.address, learner=False)
            await asyncio.sleep(2)
            assert leader.raft.membership.value.voters == tuple(sorted((leader.id, other.id))), "it has nothing of the log yet"
            group.network.heal()
            await group.until(lambda: anew.ledger.entries == [b"kept"])
            await group.until(lambda: len(leader.raft.membership.value.voters) == 3)

    run(main())


def test_a_leader_that_is_to_go_hands_over_first() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            old = await group.leader()
            with pytest.raises(NotLeader):
                await old.raft.remove(old.id)
            new = await group.leader()
            assert new is not old
            await new.raft.remove(old.id)
            await group.until(lambda: not old.raft.status().is_member)

    run(main())


def test_the_last_voter_cannot_be_removed() -> None:
    async def main() -> None:
        async with cluster("a") as group:
            leader = await group.leader()
            with pytest.raises(MembershipRefused, match="only voter"):
                await leader.raft.remove(leader.id)

    run(main())


def test_a_restarted_member_shows_its_state_before_there_is_a_leader() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            for number in range(120):
                await leader.raft.propose(b"%d" % number)
            for node in group.nodes.values():
                await node.stop()
            leader.start()
            await asyncio.sleep(0.05)
            assert len(leader.ledger.entries) > 100

    run(main())


def test_a_full_disk_gives_leadership_up_and_loses_nothing() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c", config=msgspec.structs.replace(CONFIG, snapshot_entries=10_000)) as group:
            old = await group.leader()
            await old.raft.propose(b"before")
            old.storage.max_entries = len(old.storage.load().entries)
            with pytest.raises((ProposalLost, StorageFull)):
                await old.raft.propose(b"unknown")
            new = await group.leader(among={node for node in group.nodes if group.nodes[node] is not old})
            await new.raft.propose(b"after")
            with pytest.raises(StorageFull, match="free disk space"):
                await old.raft.propose(b"refused")
            assert "no room" in (old.raft.status().storage_problem or "")
            old.storage.max_entries = None
            await group.until(lambda: old.ledger.entries == new.ledger.entries)
            assert old.raft.status().storage_problem is None

    run(main())


def test_a_leader_whose_disk_hangs_without_a_word_hands_over_and_comes_back_as_a_follower(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            old = await group.leader()
            await old.raft.propose(b"before")
            old.writer.hang()
            began = now()
            with pytest.raises(ProposalLost):
                await old.raft.propose(b"unknown")
            new = await group.leader(among={node for node in group.nodes if group.nodes[node] is not old})
            assert now() - began < CONFIG.disk_ticks * CONFIG.tick_seconds + 0.6  # our patience, and an election timeout
            await new.raft.propose(b"after")
            with pytest.raises(StorageStalled, match="has not finished a write"):
                await old.raft.propose(b"refused")
            await asyncio.sleep(10)
            assert new.raft.leadership.value.is_established
            old.writer.thaw()
            await group.until(lambda: old.ledger.entries == new.ledger.entries)
            assert {b"before", b"after"} <= set(new.ledger.entries)
            assert (old.raft.leadership.value.is_me, old.raft.status().storage_problem) == (False, None)

    run(main())
    assert "stepping down as leader" in caplog.text
    assert "has not finished a write for 1." in caplog.text


def test_a_leader_does_not_hand_over_to_a_disk_that_is_no_better() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            for node in group.nodes.values():
                node.writer.seconds = 3.0 if node is leader else 2.5
            await leader.raft.propose(b"slowly")
            assert leader.raft.leadership.value.is_established

    run(main())


def test_a_single_manager_whose_disk_hangs_refuses_what_is_new_and_does_what_it_took() -> None:
    async def main() -> None:
        async with cluster("a") as group:
            leader = await group.leader()
            leader.writer.hang()
            taken = asyncio.ensure_future(leader.raft.propose(b"taken"))
            await asyncio.sleep(2)
            assert "has not finished a write for 2." in (leader.raft.status().storage_problem or "")
            with pytest.raises(StorageStalled):
                await leader.raft.propose(b"refused")
            leader.writer.thaw()
            await taken
            assert leader.ledger.entries == [b"taken"]

    run(main())


def test_who_cannot_write_does_not_stand_for_election() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            hung = next(node for node in group.nodes.values() if node is not leader)
            hung.writer.hang()
            await leader.raft.propose(b"x")
            await asyncio.sleep(2)
            await leader.stop()
            term = hung.raft.status().term
            await asyncio.sleep(5)
            assert (hung.raft.status().role, hung.raft.status().term) == ("follower", term)

    run(main())


def test_an_entry_that_cannot_be_applied_ends_the_member() -> None:
    class Broken(Ledger):
        def apply(self, index: int, payload: bytes) -> object:
            raise ValueError("cannot be decoded")

    async def ended(node: Node) -> BaseException | None:
        with pytest.raises(ProposalLost):
            await node.raft.propose(b"x")
        return await node.stop()

    async def main() -> None:
        async with cluster("a", make_machine=Broken) as group:
            failure = await ended(await group.leader())
            assert isinstance(failure, ExceptionGroup)
            assert isinstance(failure.exceptions[0], ValueError)

    run(main())


def test_callers_who_wait_are_told_when_a_member_stops() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            group.network.cut(leader.id)
            waiting = [asyncio.ensure_future(leader.raft.propose(b"x")), asyncio.ensure_future(leader.raft.read_barrier())]
            await asyncio.sleep(0.01)
            await leader.stop()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [ProposalLost, NotLeader]

    run(main())


def test_frames_that_are_garbled_or_for_somebody_else_are_ignored() -> None:
    async def main() -> None:
        async with cluster("a", "b", "c") as group:
            leader = await group.leader()
            leader.raft.receive(MemberId("b"), b"\xff garbage")
            leader.raft.receive(MemberId("b"), b"")
            assert await leader.raft.propose(b"x")

    run(main())


def test_a_storage_in_use_is_not_founded_again() -> None:
    async def main() -> None:
        async with cluster("a") as group:
            with pytest.raises(ValueError, match="in use"):
                bootstrap(group.nodes["a"].storage, [])

    run(main())
