"""From a saved snapshot comes a cluster of one manager with the same state, identity and CA."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from msgspec.structs import replace

from cluster.api.archive import DamagedArchive, written
from cluster.api.changes import ChangeSet, Put
from cluster.api.errors import FailedPrecondition, NotFound
from cluster.api.ids import from_bytes
from cluster.api.objects import NodeDescription, Secret
from cluster.api.specs import SECOND, SecretSpec
from cluster.api.states import NodeState, Role
from cluster.rpc.identity import facts, new_key
from manager.ca.authority import Root, make_root
from manager.ca.founding import Founding, founding_changes
from manager.raft.memory import MemoryStorage
from manager.recovery import replay
from manager.store import frames
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from node_agent.api.cluster import manifest_of
from node_agent.restoring import AHEAD, Place, found_from, read_archive, restore
from node_agent.state import StateFolder

CLUSTER, MANAGER, INGRESS, SECRET, NEW = (from_bytes(bytes([number]) * 16) for number in range(1, 6))
AT = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
NOW = int(AT.timestamp()) * SECOND
HERE = Place(listen="0.0.0.0:2377", advertise="10.0.0.7:2377", data_path="10.0.0.7")


@pytest.fixture(scope="module")
def authority() -> Root:
    return make_root(new_key(), cluster_id=CLUSTER, now=NOW / SECOND, serial=1)


def state(authority: Root) -> Snapshot:
    founding = Founding(
        cluster_id=CLUSTER,
        node_id=MANAGER,
        ingress_id=INGRESS,
        root=authority,
        worker_secret="w" * 25,
        manager_secret="m" * 25,
        addr="10.0.0.1:2377",
        data_path_addr="10.0.0.1",
    )
    secret = Put(object=Secret(id=SECRET, spec=SecretSpec(name="password", data=b"hunter2")))
    now, refusal = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=(*founding_changes(founding), secret)))
    assert refusal is None
    named = described(now, hostname="m1")
    now, refusal = apply(now, 2, ChangeSet(at=2, changes=(named,)))
    assert refusal is None
    return now


def described(now: Snapshot, *, hostname: str) -> Put:
    node = now.nodes[MANAGER]
    return Put(object=replace(node, description=NodeDescription(hostname=hostname)), base=node.version)


def saved(now: Snapshot, path: Path) -> Path:
    assert now.cluster is not None
    path.write_bytes(b"".join(written(manifest_of(now, now.cluster, product="0.1.0", at=AT), frames.encode(now))))
    return path


def test_the_file_says_what_is_in_it(authority: Root, tmp_path: Path) -> None:
    manifest, _, then = read_archive(saved(state(authority), tmp_path / "file"))
    assert (manifest.cluster_id, manifest.created, manifest.raft_index) == (CLUSTER, "2026-01-02T00:00:00Z", 2)
    assert manifest.counts == {"managers": 1, "workers": 0, "services": 0, "tasks": 0, "networks": 1, "secrets": 1, "configs": 0}
    assert then.secrets[SECRET].spec.data == b"hunter2"


def test_the_state_comes_back_ahead_of_all_that_was_said_since(authority: Root) -> None:
    now, disk = state(authority), MemoryStorage()
    found_from(disk, now, list(frames.encode(now)), me=NEW, place=HERE, at=NOW)
    then = replay(disk)
    assert then.version == now.version + AHEAD + 2
    assert then.secrets == now.secrets
    assert then.cluster is not None
    assert (then.cluster.join_tokens, then.cluster.root_ca) == (now.cluster.join_tokens, now.cluster.root_ca)  # type: ignore[union-attr]
    assert (then.nodes[MANAGER].status.state, then.nodes[MANAGER].spec.role) == (NodeState.DOWN, Role.WORKER)
    assert then.nodes[NEW].member is not None
    assert disk.load().snapshot.membership.voters == (NEW,)


def test_the_new_manager_has_a_certificate_of_the_same_authority(authority: Root, tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "data")
    node = restore(folder, saved(state(authority), tmp_path / "file"), HERE, now=NOW)
    loaded = folder.load()
    assert loaded is not None
    assert loaded[0] == node
    said = facts(loaded[1].certificate)
    assert (said.node_id, said.cluster_id, said.role) == (node.node_id, CLUSTER, Role.MANAGER)
    assert node.node_id not in {MANAGER, ""}
    certificate = x509.load_pem_x509_certificate(loaded[1].certificate.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate.encode()))
    folder.close()


def test_it_can_be_one_of_the_nodes_again(authority: Root, tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "data")
    place = Place(listen=HERE.listen, advertise=HERE.advertise, data_path=HERE.data_path, node="m1")
    assert restore(folder, saved(state(authority), tmp_path / "file"), place, now=NOW).node_id == MANAGER
    folder.close()


def test_a_folder_in_use_a_missing_file_and_a_damaged_one_are_refused(authority: Root, tmp_path: Path) -> None:
    folder, file = StateFolder(tmp_path / "data"), saved(state(authority), tmp_path / "file")
    with pytest.raises(NotFound, match="cannot be read: No such file"):
        restore(folder, tmp_path / "none", HERE, now=NOW)
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedArchive, match="not whole"):
        restore(folder, tmp_path / "cut", HERE, now=NOW)
    with pytest.raises(NotFound):
        restore(folder, file, Place(listen="", advertise="10.0.0.7:2377", data_path="", node="nobody"), now=NOW)
    assert folder.load() is None
    restore(folder, file, HERE, now=NOW)
    with pytest.raises(FailedPrecondition, match="of a node of a swarm already"):
        restore(folder, file, HERE, now=NOW)
    folder.close()
