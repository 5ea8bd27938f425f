"""Secrets and configs are files for as long as a task uses them."""

import os
from pathlib import Path

from cluster.api.assignment import AssignedConfig, AssignedSecret
from cluster.api.specs import ConfigReference, ContainerSpec, FileTarget, SecretReference
from tests.unit.worker.worker_values import HOST, assigned
from worker.dependencies import Dependencies
from worker.tmpfs import in_memory

OWN = {"uid": str(os.geteuid()), "gid": str(os.getegid())}
SECRET = AssignedSecret(id="x1", version=1, name="db", data=b"hush")
CONFIG = AssignedConfig(id="f1", version=1, name="conf", data=b"a=1")
TASK = assigned(
    spec=ContainerSpec(
        image="app",
        secrets=(SecretReference(secret_id="x1", secret_name="db", file=FileTarget(name="pw", mode=0o400, **OWN)),),
        configs=(ConfigReference(config_id="f1", config_name="conf", file=FileTarget(name="/etc/app", mode=0o555, **OWN)),),
    )
)


def supplied(folder: Path) -> Dependencies:
    dependencies = Dependencies(folder)
    dependencies.supply({"x1": SECRET}, {"f1": CONFIG})
    return dependencies


def test_each_becomes_a_read_only_file_with_its_mode(tmp_path: Path) -> None:
    (secret, at, _), (config, where, read_only) = supplied(tmp_path).write(TASK, HOST)
    assert (at, where, read_only) == ("/run/secrets/pw", "/etc/app", True)
    assert (Path(secret).read_bytes(), Path(secret).stat().st_mode & 0o777) == (b"hush", 0o400)
    assert (Path(config).read_bytes(), Path(config).stat().st_mode & 0o777) == (b"a=1", 0o555)


def test_nobody_else_on_the_host_can_look_into_the_folder(tmp_path: Path) -> None:
    supplied(tmp_path).write(TASK, HOST)
    assert (tmp_path / "t1").stat().st_mode & 0o777 == 0o700


def test_the_files_go_with_their_task(tmp_path: Path) -> None:
    dependencies = supplied(tmp_path)
    dependencies.write(TASK, HOST)
    dependencies.release("t1")
    assert list(tmp_path.iterdir()) == []


def test_files_of_tasks_that_nobody_knows_go(tmp_path: Path) -> None:
    dependencies = supplied(tmp_path)
    dependencies.write(TASK, HOST)
    (tmp_path / "stray").mkdir()
    dependencies.keep_only({"t1"})
    assert [folder.name for folder in tmp_path.iterdir()] == ["t1"]


def test_a_restarted_daemon_mends_a_file_in_place_as_the_container_has_it_bound(tmp_path: Path) -> None:
    dependencies = supplied(tmp_path)
    path = Path(dependencies.write(TASK, HOST)[0][0])
    inode = path.stat().st_ino
    path.chmod(0o600)
    path.write_bytes(b"changed")
    dependencies.verify(TASK, HOST)
    assert (path.read_bytes(), path.stat().st_ino, path.stat().st_mode & 0o777) == (b"hush", inode, 0o400)


def test_what_the_node_may_not_know_any_more_is_missing(tmp_path: Path) -> None:
    dependencies = supplied(tmp_path)
    assert dependencies.missing(TASK) == ()
    dependencies.supply({}, {"f1": CONFIG})
    assert dependencies.missing(TASK) == ("secret db",)


def test_memory_is_told_from_disks() -> None:
    assert in_memory(Path("/dev/shm"))
    assert not in_memory(Path("/usr/bin"))
