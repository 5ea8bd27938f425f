"""What an external CA gives is believed only if it is just what was asked for."""

import json

import pytest

from cluster.api.errors import InvalidArgument
from cluster.api.ids import from_bytes
from cluster.api.objects import Cluster, RootCA, RootRotation
from cluster.api.specs import CAConfig, ClusterSpec, ExternalCA
from cluster.api.states import Role
from cluster.rpc.identity import new_csr, new_key
from manager.ca.authority import Root, issue, make_root
from manager.ca.external import certificate_in, endpoints, request_for

CLUSTER, NODE, OTHER = (from_bytes(bytes([number]) * 16) for number in range(1, 4))
NOW = 1_700_000_000.0


def root() -> Root:
    return make_root(new_key(), cluster_id=CLUSTER, now=NOW, serial=1)


@pytest.fixture(scope="module")
def ours() -> Root:
    return root()


def cluster(ours: Root, *externals: ExternalCA, rotation: RootRotation | None = None) -> Cluster:
    spec = ClusterSpec(ca_config=CAConfig(external_cas=externals))
    return Cluster(id=CLUSTER, root_ca=RootCA(cert=ours.certificate), spec=spec, root_rotation=rotation)


def signed(by: Root, csr: str, *, node_id: str = NODE, role: Role = Role.WORKER, cluster_id: str = CLUSTER) -> str:
    return issue(by, csr, node_id=node_id, role=role, cluster_id=cluster_id, now=NOW, lifetime=60, serial=2)


def said(certificate: str) -> bytes:
    return json.dumps({"success": True, "result": {"certificate": certificate}, "errors": [], "messages": []}).encode()


def test_it_is_asked_for_subject_and_names_as_the_cluster_decided() -> None:
    assert request_for("CSR", node_id=NODE, role=Role.MANAGER, cluster_id=CLUSTER) == {
        "certificate_request": "CSR",
        "hosts": ["swarm-manager", NODE],
        "subject": {"CN": NODE, "names": [{"OU": "swarm-manager", "O": CLUSTER}]},
    }


def test_the_certificate_that_was_asked_for_is_taken(ours: Root) -> None:
    csr = new_csr(new_key())
    certificate = signed(ours, csr)
    assert certificate_in(said(certificate.rstrip()), cluster(ours), csr, node_id=NODE, role=Role.WORKER) == certificate


def test_anything_else_is_refused(ours: Root) -> None:
    csr = new_csr(new_key())
    for answer, words in (
        (b"<html>", "not CFSSL's"),
        (json.dumps({"success": False, "errors": [{"code": 1, "message": "bad day"}]}).encode(), "it refused: bad day"),
        (json.dumps({"success": True, "result": {}}).encode(), "without a reason"),
        (said("rubbish"), "not the certificate of a swarm node"),
        (said(signed(ours, csr, node_id=OTHER)), "another node or role"),
        (said(signed(ours, csr, role=Role.MANAGER)), "another node or role"),
        (said(signed(ours, csr, cluster_id=OTHER)), "another node or role"),
        (said(signed(ours, new_csr(new_key()))), "another key"),
        (said(signed(root(), csr)), "not of the cluster's root"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            certificate_in(answer, cluster(ours), csr, node_id=NODE, role=Role.WORKER)


def test_endpoints_for_another_root_are_not_asked(ours: Root) -> None:
    new = root()
    named, other, unnamed = (
        ExternalCA(url="https://a", ca_cert=ours.certificate),
        ExternalCA(url="https://b", ca_cert=new.certificate),
        ExternalCA(url="https://c"),
    )
    externals = (named, other, unnamed, ExternalCA(url="https://d", ca_cert="rubbish"))
    assert endpoints(cluster(ours, *externals)) == [named, unnamed]
    assert endpoints(cluster(ours, *externals, rotation=RootRotation(cert=new.certificate))) == [other, unnamed]
