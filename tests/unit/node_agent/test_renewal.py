"""A node's certificate is renewed in good time, at once when its role changes, and again and again when that fails."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from cluster.aio.clock import ManualClock
from cluster.aio.latest import Latest
from cluster.aio.supervise import background
from cluster.api.errors import NoLeader, ShoalError
from cluster.api.ids import from_bytes
from cluster.api.specs import SECOND
from cluster.api.states import Role
from cluster.rpc.identity import Identity, facts, new_csr, new_key
from manager.ca.authority import issue, make_root
from node_agent.renewal import Renewal, due_at, expired
from node_agent.state import NodeFacts, StateFolder

HOUR = 3600.0
LIFETIME = 48 * HOUR
CLUSTER, NODE = from_bytes(b"cluster-id-bytes"), from_bytes(b"the-node-id-byte")


class Stage:
    """A certificate authority that answers, refuses, or has a disk behind it that is full."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.state = StateFolder(folder)
        self.state.save(NodeFacts(node_id=NODE, cluster_id=CLUSTER, listen_addr="", advertise_addr="", data_path_addr=""))
        self.root = make_root(new_key(), cluster_id=CLUSTER, now=self.now, serial=1)
        self.role = Role.WORKER
        self.refusals: list[ShoalError | OSError] = []
        self.asked: list[float] = []
        self.identity = Latest(self.issue())
        self.renewal = Renewal(identity=self.identity, renew=self.renew, clock=self.clock, rng=Random(1), state=self.state)

    @property
    def now(self) -> float:
        return self.clock.wall() / SECOND

    def issue(self) -> Identity:
        key = new_key()
        certificate = issue(
            self.root, new_csr(key), node_id=NODE, role=self.role, cluster_id=CLUSTER, now=self.now, lifetime=LIFETIME, serial=2
        )
        return Identity(key=key, certificate=certificate, roots=self.root.certificate)

    async def renew(self) -> Identity:
        self.asked.append(self.now)
        if self.refusals:
            raise self.refusals.pop()
        return self.issue()

    @property
    def kept(self) -> Identity:
        loaded = self.state.load()
        assert loaded is not None
        return loaded[1]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    played = Stage(tmp_path)
    async with background(played.renewal.run):
        yield played
    played.state.close()


def test_nodes_that_joined_together_do_not_renew_together(tmp_path: Path) -> None:
    played = Stage(tmp_path)
    said = facts(played.identity.value.certificate)
    moments = [due_at(said, draw / 10) for draw in range(11)]
    lifetime = said.not_after - said.not_before
    assert moments == sorted(moments)
    assert (moments[0], moments[-1]) == pytest.approx((said.not_before + lifetime * 0.5, said.not_before + lifetime * 0.8))
    played.state.close()


async def test_a_certificate_is_renewed_in_its_second_half_well_before_its_end(stage: Stage) -> None:
    begun, first = stage.now, stage.identity.value
    await stage.clock.advance(LIFETIME * 0.45)
    assert stage.asked == []
    await stage.clock.advance(LIFETIME * 0.36)
    assert [LIFETIME * 0.45 < when - begun < LIFETIME * 0.81 for when in stage.asked] == [True]
    assert stage.identity.value != first
    assert stage.kept == stage.identity.value, "a restarted daemon has it too"
    await stage.clock.advance(LIFETIME * 0.81)
    assert len(stage.asked) == 2, "the new one is renewed in its turn"


async def test_a_change_of_role_is_fetched_at_once(stage: Stage) -> None:
    stage.role = Role.MANAGER
    stage.renewal.hurry()
    await stage.clock.advance(0.01)
    assert facts(stage.identity.value.certificate).role is Role.MANAGER
    assert len(stage.asked) == 1


async def test_a_renewal_that_fails_is_tried_again_ever_more_slowly(stage: Stage) -> None:
    first = stage.identity.value
    stage.refusals = [NoLeader(), OSError(28, "No space left on device"), *(NoLeader() for _ in range(10))]
    stage.renewal.hurry()
    await stage.clock.advance(0.01)
    assert stage.identity.value is first
    await stage.clock.advance(HOUR)
    pauses = [later - earlier for earlier, later in zip(stage.asked, stage.asked[1:], strict=False)]
    assert len(stage.asked) == 13
    assert pauses[0] < 0.3
    assert 30 <= pauses[-1] <= 60
    assert stage.kept == stage.identity.value != first


async def test_a_certificate_past_its_end_comes_with_the_way_out(stage: Stage) -> None:
    certificate = stage.identity.value.certificate
    assert expired(certificate, now=stage.clock.wall()) == ""
    end = int(facts(certificate).not_after) * SECOND
    assert "leave the swarm (by force) and join it again" in expired(certificate, now=end + SECOND)
