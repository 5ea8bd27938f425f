"""Nothing is logged that a manager of an older version could not apply; the swarm's level rises with its last manager, and never falls."""

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.api.changes import ChangeSet, Put, encode_entry
from cluster.api.commands import UpdateNode
from cluster.api.contracts import AdmissionRequest
from cluster.api.endpoint import Guest
from cluster.api.errors import FailedPrecondition
from cluster.api.features import ABSENCES, ADDRESSES, AFFINITY, ENCRYPTION, GUESTS, LEVEL, Feature, needed
from cluster.api.objects import Cluster, JoinTokens, Network, Node, NodeDescription, NodeStatus, Object, RaftMember, Service
from cluster.api.specs import Extensions, NetworkSpec, NodeSpec
from cluster.api.states import Role
from manager.ca.admission import admit
from manager.controlapi.nodes import update
from manager.features import GatedProposer, NotYet, plan
from manager.raft.proposer import StoreMachine, SwarmIsNewer
from manager.store.apply import apply
from manager.store.memory import MemoryProposer
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from manager.store.store import Store

OLD, NEW = LEVEL - 1, LEVEL


def node(name: str, level: int, role: Role = Role.MANAGER) -> Node:
    member = RaftMember(addr=f"{name}:2377") if role is Role.MANAGER else None
    return Node(id=name, spec=NodeSpec(role=role), member=member, description=NodeDescription(hostname=name, feature_level=level))


def swarm(level: int, *nodes: Node) -> Snapshot:
    cluster = Cluster(id="c", feature_level=level, join_tokens=JoinTokens(worker="SWMTKN-1-d-w", manager="SWMTKN-1-d-m"))
    now, refusal = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=tuple(Put(object=one) for one in (cluster, *nodes))))
    assert refusal is None
    return now


def raised(now: Snapshot) -> int | None:
    put = plan(now)
    if put is None:
        return None
    assert isinstance(put.object, Cluster)
    return put.object.feature_level


def test_the_level_rises_once_the_last_manager_announces_it() -> None:
    assert raised(swarm(OLD, node("m1", NEW), node("m2", NEW), node("m3", OLD))) is None
    assert raised(swarm(OLD, node("m1", NEW), node("m2", NEW), node("m3", NEW))) == NEW


def test_workers_do_not_count_but_who_is_about_to_be_a_manager_does() -> None:
    assert raised(swarm(OLD, node("m1", NEW), node("w1", OLD, Role.WORKER))) == NEW
    promoted = Node(id="w1", spec=NodeSpec(role=Role.MANAGER))
    assert raised(swarm(OLD, node("m1", NEW), promoted)) is None


def test_the_level_never_falls() -> None:
    assert raised(swarm(NEW, node("m1", NEW), node("m2", OLD))) is None


GUEST = Guest(id="g", node_id="m1", address="10.0.0.9")
WITH_GUEST = Put(object=Network(id="n", spec=NetworkSpec(name="net"), subnet="10.0.0.0/24", guests=(GUEST,)))
WITHOUT = Put(object=Network(id="n", spec=NetworkSpec(name="net")))


@pytest.mark.parametrize(
    ("value", "feature"),
    [
        (WITH_GUEST.object, GUESTS),
        (Network(id="n", spec=NetworkSpec(name="net", options={"encrypted": ""})), ENCRYPTION),
        (Service(id="s", extensions=Extensions(endpoint_affinity="client-ip")), AFFINITY),
        (Service(id="s", extensions=Extensions(endpoint_prefer_local=True)), AFFINITY),
        (Service(id="s", extensions=Extensions(publish_on={"80/tcp": "10.0.0.1"})), ADDRESSES),
        (Node(id="n", status=NodeStatus(away=1)), ABSENCES),
    ],
)
def test_what_a_change_takes_is_known(value: Object, feature: Feature) -> None:
    assert needed([WITHOUT]) is None
    assert needed([WITHOUT, Put(object=value)]) == feature


async def test_what_an_older_manager_would_drop_is_refused_and_says_whom_to_upgrade() -> None:
    store = Store(swarm(OLD, node("m1", NEW), node("m2", OLD), node("m3", OLD)))
    gated = GatedProposer(MemoryProposer(store, ManualClock()), store)
    with pytest.raises(NotYet, match=f"takes feature level {NEW} of every manager, and this swarm is at {OLD}: upgrade m2, m3, then"):
        await gated.propose([WITH_GUEST])
    assert store.snapshot.networks.get("n") is None
    await gated.propose([WITHOUT])
    assert store.snapshot.networks.get("n") is not None


async def test_it_passes_once_the_swarm_is_there() -> None:
    store = Store(swarm(NEW, node("m1", NEW)))
    await GatedProposer(MemoryProposer(store, ManualClock()), store).propose([WITH_GUEST])
    assert store.snapshot.networks["n"].guests == (GUEST,)


@pytest.mark.parametrize("secret", ["m", "w"])
def test_an_older_version_cannot_join_as_a_manager_but_as_a_worker(secret: str) -> None:
    now = swarm(NEW, node("m1", NEW))
    request = AdmissionRequest(node_id="n" * 25, secret=secret, csr="", feature_level=OLD)
    if secret == "w":
        assert admit(now, request).role is Role.WORKER
        return
    with pytest.raises(FailedPrecondition, match=f"feature level {OLD} .* is at level {NEW}: install the version of the other managers"):
        admit(now, request)


def test_a_worker_of_an_older_version_is_not_promoted() -> None:
    now = swarm(NEW, node("m1", NEW), node("w1", OLD, Role.WORKER))
    worker = now.nodes["w1"]
    wanted = replace(worker.spec, role=Role.MANAGER)
    with pytest.raises(FailedPrecondition, match="node w1 runs a version of feature level"):
        update(now, UpdateNode(request_id="r", id="w1", version=worker.version, spec=wanted))


def test_an_older_version_stops_where_the_log_goes_beyond_it() -> None:
    store = Store(swarm(OLD, node("m1", NEW)))
    machine = StoreMachine(store, level=OLD)
    change = plan(store.snapshot)
    assert change is not None
    with pytest.raises(SwarmIsNewer, match="install the version of the other managers"):
        machine.apply(2, encode_entry(ChangeSet(at=2, changes=(change,))))
    restoration = StoreMachine(Store(), level=OLD).restoration()
    for frame in store.capture():
        restoration.feed(frame)
    with pytest.raises(SwarmIsNewer):
        restoration.finish()
