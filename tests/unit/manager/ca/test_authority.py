"""Certificates say what the cluster decided, not what was asked for."""

import pytest
from cryptography import x509

from cluster.api.changes import ChangeSet, Put
from cluster.api.contracts import AdmissionRequest
from cluster.api.errors import Conflict, InvalidArgument, Unauthorized
from cluster.api.features import LEVEL
from cluster.api.ids import from_bytes
from cluster.api.objects import Network, Node, NodeDescription, NodeStatus, RaftMember
from cluster.api.specs import NodeSpec
from cluster.api.states import NodeState, Role
from cluster.rpc.identity import facts, new_csr, new_key
from cluster.rpc.tokens import parse
from manager.allocator.plan import plan
from manager.ca.admission import admit, renew
from manager.ca.authority import Root, issue, make_root
from manager.ca.founding import Founding, founding_changes
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot

NOW = 1_700_000_000.0
CLUSTER = from_bytes(b"cluster-id-bytes")
MANAGER = from_bytes(b"manager-id-bytes")
NEWCOMER = from_bytes(b"newcomer-id-byte")


def root() -> Root:
    return make_root(new_key(), cluster_id=CLUSTER, now=NOW, serial=1)


def founded(authority: Root) -> Snapshot:
    founding = Founding(
        cluster_id=CLUSTER,
        node_id=MANAGER,
        ingress_id=from_bytes(b"ingress-id-bytes"),
        root=authority,
        worker_secret="w" * 25,
        manager_secret="m" * 25,
        addr="10.0.0.1:2377",
        data_path_addr="10.0.0.1",
        subnets=("10.0.0.0/16",),
    )
    now, refusal = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=tuple(founding_changes(founding))))
    assert refusal is None
    return now


def with_node(now: Snapshot, node: Node) -> Snapshot:
    known = now.nodes.get(node.id)
    after, refusal = apply(now, now.version + 1, ChangeSet(at=2, changes=(Put(object=node, base=known.version if known else 0),)))
    assert refusal is None
    return after


def test_subject_and_role_are_the_clusters_word() -> None:
    pem = issue(root(), new_csr(new_key()), node_id=NEWCOMER, role=Role.WORKER, cluster_id=CLUSTER, now=NOW, lifetime=3600, serial=2)
    said = facts(pem)
    assert (said.node_id, said.role, said.cluster_id) == (NEWCOMER, Role.WORKER, CLUSTER)
    names = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NEWCOMER, "swarm-worker"]


def test_a_certificate_is_back_dated_an_hour_and_renewed_well_before_its_end() -> None:
    pem = issue(root(), new_csr(new_key()), node_id=NEWCOMER, role=Role.WORKER, cluster_id=CLUSTER, now=NOW, lifetime=86_400, serial=2)
    said = facts(pem)
    assert said.not_before == NOW - 3600
    earliest, latest = said.renewal_window()
    assert said.not_before < earliest < latest < said.not_after


def test_a_request_that_does_not_verify_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        issue(root(), "nonsense", node_id=NEWCOMER, role=Role.WORKER, cluster_id=CLUSTER, now=NOW, lifetime=1, serial=2)


@pytest.mark.parametrize(("secret", "role"), [("w" * 25, Role.WORKER), ("m" * 25, Role.MANAGER)])
def test_the_token_decides_the_role(secret: str, role: Role) -> None:
    decision = admit(founded(root()), AdmissionRequest(node_id=NEWCOMER, secret=secret, csr="", feature_level=LEVEL))
    assert decision.role is role
    (put,) = decision.changes
    assert isinstance(put, Put)
    assert isinstance(put.object, Node)
    assert put.object.spec.role is put.object.certified_role is role


def test_the_tokens_of_a_new_cluster_carry_its_roots_digest() -> None:
    now = founded(root())
    assert now.cluster is not None
    assert parse(now.cluster.join_tokens.worker).secret == "w" * 25


def test_a_wrong_or_rotated_secret_is_refused_with_the_cure() -> None:
    with pytest.raises(InvalidArgument, match="join-token"):
        admit(founded(root()), AdmissionRequest(node_id=NEWCOMER, secret="x" * 25, csr=""))


@pytest.mark.parametrize("state", [NodeState.UNKNOWN, NodeState.DOWN])
def test_asking_twice_before_one_was_ever_seen_is_one_node(state: NodeState) -> None:
    """However late: one whose answer was lost is taken for down like any other node that is not heard of."""
    admitted = Node(id=NEWCOMER, spec=NodeSpec(role=Role.WORKER), certified_role=Role.WORKER, status=NodeStatus(state=state))
    now = with_node(founded(root()), admitted)
    assert admit(now, AdmissionRequest(node_id=NEWCOMER, secret="w" * 25, csr="")).changes == ()


@pytest.mark.parametrize("state", [NodeState.READY, NodeState.DOWN])
def test_nobody_takes_the_id_of_a_node_that_was_seen(state: NodeState) -> None:
    description = NodeDescription(hostname="a")
    seen = Node(id=NEWCOMER, certified_role=Role.WORKER, status=NodeStatus(state=state), description=description)
    with pytest.raises(Conflict, match="already part"):
        admit(with_node(founded(root()), seen), AdmissionRequest(node_id=NEWCOMER, secret="w" * 25, csr=""))


def test_a_promoted_worker_renews_into_a_manager() -> None:
    now = with_node(founded(root()), Node(id=NEWCOMER, spec=NodeSpec(role=Role.MANAGER), certified_role=Role.WORKER))
    assert renew(now, NEWCOMER).role is Role.MANAGER


def test_a_demoted_manager_stays_one_until_raft_has_let_it_go() -> None:
    member = Node(id=NEWCOMER, spec=NodeSpec(role=Role.WORKER), certified_role=Role.MANAGER, member=RaftMember(addr="10.0.0.2:2377"))
    now = with_node(founded(root()), member)
    assert renew(now, NEWCOMER).role is Role.MANAGER


def test_a_removed_node_gets_no_certificate() -> None:
    with pytest.raises(Unauthorized, match="not part of this swarm"):
        renew(founded(root()), NEWCOMER)


def test_the_first_network_of_a_new_swarm_keeps_off_the_networks_of_its_founder() -> None:
    given = [change.object for change in plan(founded(root())).changes if isinstance(change, Put) and isinstance(change.object, Network)]
    assert [network.subnet for network in given] == ["10.1.0.0/20"]
