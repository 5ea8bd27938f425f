"""Logs and snapshots of every release are read by each later one, and mean the same."""

from pathlib import Path

import pytest

from cluster.api.objects import Attachment
from cluster.api.states import Role, TaskState
from manager.store.snapshot import Snapshot
from manager.store.store import Store

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.txt"))


def lines(path: Path, kind: str) -> list[bytes]:
    found = [line.split(" ", 1) for line in path.read_text().splitlines() if line.startswith(kind)]
    return [bytes.fromhex(hexadecimal) for _, hexadecimal in found]


def check(now: Snapshot) -> None:
    assert now.version == 4
    assert now.cluster is not None
    assert now.cluster.spec_version == 1
    assert now.nodes["n1"].spec.role is Role.MANAGER
    assert now.networks["w1"].vni == 4097
    assert now.secrets["x1"].spec.data == b"s"
    assert len(now.configs) == 0
    assert now.services["s1"].template_version == 2
    task = now.tasks["t1"]
    assert (task.created_at, task.updated_at, task.node_id, task.desired_state) == (3000, 4000, "n1", TaskState.SHUTDOWN)
    assert (task.state, task.status.timestamp, task.status.message) == (TaskState.ASSIGNED, 4000, "m")
    assert task.attachments == (Attachment(network_id="w1", address="10.0.1.2/24"),)
    assert now.template_of(task).service_name == "web"
    assert now.request("r1") == "s1"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_old_log_and_an_old_snapshot_lead_to_the_same_state(path: Path) -> None:
    replayed, restored = Store(), Store()
    for index, entry in enumerate(lines(path, "entry"), start=1):
        assert replayed.apply(index, entry) is None
    restored.restore(lines(path, "frame"))
    check(replayed.snapshot)
    check(restored.snapshot)
    assert replayed.snapshot.indexes == restored.snapshot.indexes
