"""What a daemon killed at any moment still knows when it is back."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from cluster.aio.clock import ManualClock
from cluster.api.endpoint import OverlayNetwork
from cluster.api.objects import TaskStatus
from cluster.api.states import TaskState
from tests.unit.worker.worker_values import assigned
from worker import journal as module
from worker.journal import Header, Journal, JournalUnreadable
from worker.lifecycle import LocalTask

NET = OverlayNetwork(network_id="net1", name="n", subnet="10.0.1.0/24", gateway="10.0.1.1", vni=4097)


def opened(folder: Path, *, node: str = "node1", cluster: str = "c1") -> Journal:
    return Journal(folder, node_id=node, cluster_id=cluster, clock=ManualClock())


def record(task_id: str, state: TaskState = TaskState.RUNNING) -> LocalTask:
    return LocalTask(task_id=task_id, status=TaskStatus(state=state), container_id=f"c-{task_id}")


def test_tasks_records_and_networks_come_back(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.assign(assigned("t1"))
    journal.record(record("t1"))
    journal.networks({"net1": NET})
    kept = opened(tmp_path).kept  # without a close, as after kill -9
    assert (dict(kept.tasks), dict(kept.known), dict(kept.networks)) == ({"t1": assigned("t1")}, {"t1": record("t1")}, {"net1": NET})


def test_the_latest_record_counts_and_forgotten_tasks_stay_forgotten(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for task_id in ("t1", "t2"):
        journal.assign(assigned(task_id))
        journal.record(record(task_id, TaskState.STARTING))
    journal.record(record("t2", TaskState.RUNNING))
    journal.forget("t1")
    journal.networks({"net1": NET})
    journal.networks({})
    kept = opened(tmp_path).kept
    assert (list(kept.tasks), kept.known["t2"].state, dict(kept.networks)) == (["t2"], TaskState.RUNNING, {})


@pytest.mark.parametrize("cut", [1, 5, 9, 40])
def test_a_torn_tail_costs_the_last_record_only(tmp_path: Path, cut: int) -> None:
    journal = opened(tmp_path)
    journal.record(record("t1"))
    journal.record(record("t2"))
    file = tmp_path / "tasks.journal"
    file.write_bytes(file.read_bytes()[:-cut])
    again = opened(tmp_path)
    assert list(again.kept.known) == ["t1"]
    again.record(record("t3"))
    assert list(opened(tmp_path).kept.known) == ["t1", "t3"]


def test_a_damaged_record_hides_what_follows_and_nothing_before(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.record(record("t1"))
    size = (tmp_path / "tasks.journal").stat().st_size
    journal.record(record("t2"))
    journal.record(record("t3"))
    content = bytearray((tmp_path / "tasks.journal").read_bytes())
    content[size + 20] ^= 0xFF
    (tmp_path / "tasks.journal").write_bytes(content)
    assert list(opened(tmp_path).kept.known) == ["t1"]


def test_credentials_for_a_registry_are_not_written(tmp_path: Path) -> None:
    opened(tmp_path).assign(replace(assigned("t1"), registry_auth="c2VjcmV0"))
    assert b"c2VjcmV0" not in (tmp_path / "tasks.journal").read_bytes()
    assert opened(tmp_path).kept.tasks["t1"].registry_auth == ""


def test_the_file_is_the_daemons_alone(tmp_path: Path) -> None:
    opened(tmp_path)
    assert (tmp_path / "tasks.journal").stat().st_mode & 0o777 == 0o600


def test_what_another_cluster_left_is_not_ours(tmp_path: Path) -> None:
    opened(tmp_path).record(record("t1"))
    assert dict(opened(tmp_path, cluster="c2").kept.known) == {}


def test_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "tasks.journal").write_bytes(module._framed(Header(format=99, node_id="node1", cluster_id="c1")))
    with pytest.raises(JournalUnreadable, match=r"format 99.*start the newer one, or move the file away"):
        opened(tmp_path)


def test_the_file_does_not_grow_with_the_number_of_changes(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for number in range(20_000):
        journal.record(LocalTask(task_id="t1", status=TaskStatus(state=TaskState.RUNNING, timestamp=number), container_id="c" * 64))
    assert (tmp_path / "tasks.journal").stat().st_size < 2 << 20
    assert opened(tmp_path).kept.known["t1"].status.timestamp == 19_999


def test_a_full_disk_stops_no_task_and_what_is_written_afterwards_can_be_read(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.record(record("t1"))
    journal._fail(OSError(28, "No space left on device"))
    journal.record(record("t2"))
    assert list(opened(tmp_path).kept.known) == ["t1", "t2"]
