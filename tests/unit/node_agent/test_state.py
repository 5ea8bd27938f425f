"""The state folder belongs to one daemon, holds an identity whole or not at all, and is empty of the swarm after leaving."""

from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

import pytest

from cluster.api.errors import Conflict, Internal
from cluster.api.states import Role
from cluster.rpc.identity import Identity, new_csr, new_key
from manager.ca.authority import issue, make_root
from manager.raft.opening import open_storage
from node_agent.keylock import WrongUnlockKey, unlock_key
from node_agent.state import NodeFacts, StateFolder, SwarmLocked

NODE = NodeFacts(
    node_id="n" * 25, cluster_id="c" * 25, listen_addr="0.0.0.0:2377", advertise_addr="10.0.0.1:2377", data_path_addr="10.0.0.1"
)


def identity() -> Identity:
    authority = make_root(new_key(), cluster_id=NODE.cluster_id, now=1_700_000_000, serial=1)
    key = new_key()
    certificate = issue(
        authority,
        new_csr(key),
        node_id=NODE.node_id,
        role=Role.MANAGER,
        cluster_id=NODE.cluster_id,
        now=1_700_000_000,
        lifetime=9,
        serial=2,
    )
    return Identity(key=key, certificate=certificate, roots=authority.certificate)


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    first = StateFolder(tmp_path)
    with pytest.raises(Conflict, match="another shoald uses the state folder"):
        StateFolder(tmp_path)
    first.close()
    StateFolder(tmp_path).close()


def test_who_we_are_survives_a_restart_and_is_private(tmp_path: Path) -> None:
    folder, me = StateFolder(tmp_path), identity()
    folder.save_identity(me)
    folder.save(NODE)
    assert folder.load() == (NODE, me)
    assert (tmp_path.stat().st_mode & 0o777, (tmp_path / "swarm/node.key").stat().st_mode & 0o777) == (0o700, 0o600)
    folder.close()


def test_a_crash_between_key_and_facts_is_no_identity(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save_identity(identity())
    assert folder.load() is None
    folder.close()


def test_a_damaged_identity_is_named(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save_identity(identity())
    folder.save(NODE)
    (tmp_path / "swarm/node.json").write_text("{")
    with pytest.raises(Internal, match="cannot be read"):
        folder.load()
    folder.close()


def test_after_leaving_nothing_of_the_swarm_stays(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save_identity(identity())
    folder.save(NODE)
    key = folder.data_key(b"k" * 32)
    assert folder.data_key(b"x" * 32) == key
    folder.forget_swarm()
    assert folder.load() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["format", "lock"]
    folder.close()


def test_the_state_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    StateFolder(tmp_path).close()
    (tmp_path / "format").write_text("99")
    with pytest.raises(Internal, match="format 99"):
        StateFolder(tmp_path)


# -- the log -----------------------------------------------------------------------------------------------------------------------------
def has_log(folder: StateFolder) -> None:
    open_storage(folder.raft, key=folder.data_key(b"d" * 32), cluster=NODE.cluster_id).close()


def test_a_manager_knows_that_its_log_was_taken_away(tmp_path: Path) -> None:
    folder, _ = manager(tmp_path)
    assert not folder.has_lost_log, "there never was one"
    has_log(folder)
    folder.log_begins()
    assert not folder.has_lost_log
    data = folder.raft / "log" / "data.mdb"
    data.write_bytes(b"")
    assert folder.has_lost_log
    rmtree(folder.raft)
    folder = restarted(folder)
    assert folder.has_lost_log
    snapshots = folder.raft / "snapshots"
    snapshots.mkdir(parents=True)
    folder.begin_log_anew()
    assert not folder.has_lost_log
    assert not folder.raft.exists(), "a snapshot that outlived its log is nothing to begin from"
    folder.close()


@pytest.mark.parametrize("gives_up", [StateFolder.forget_raft, StateFolder.set_raft_aside, StateFolder.forget_swarm])
def test_a_log_that_was_given_up_is_not_missed(tmp_path: Path, gives_up: Callable[[StateFolder], None]) -> None:
    folder, _ = manager(tmp_path)
    has_log(folder)
    folder.log_begins()
    gives_up(folder)
    assert not folder.has_lost_log
    folder.close()


# -- the lock ----------------------------------------------------------------------------------------------------------------------------
KEY, OTHER = unlock_key(bytes(range(32))), unlock_key(bytes(32))


def manager(root: Path) -> tuple[StateFolder, Identity]:
    folder, me = StateFolder(root), identity()
    folder.save_identity(me)
    folder.save(NODE)
    assert folder.data_key(b"d" * 32) == b"d" * 32
    return folder, me


def restarted(folder: StateFolder) -> StateFolder:
    folder.close()
    return StateFolder(folder.root)


def test_a_locked_managers_keys_are_on_no_disk_in_the_clear(tmp_path: Path) -> None:
    folder, me = manager(tmp_path)
    folder.lock(KEY)
    for file in (tmp_path / "swarm").iterdir():
        assert b"PRIVATE KEY" not in file.read_bytes()
        assert b"d" * 32 not in file.read_bytes()
    assert not folder.is_locked, "this daemon was given the key"
    assert (folder.load(), folder.data_key(b"")) == ((NODE, me), b"d" * 32)
    folder.close()


def test_a_restarted_manager_is_locked_until_the_key_is_given(tmp_path: Path) -> None:
    folder, me = manager(tmp_path)
    folder.lock(KEY)
    folder = restarted(folder)
    assert folder.is_locked
    assert folder.load_facts() == NODE
    assert folder.role() is Role.MANAGER
    for refused in (
        folder.load,
        lambda: folder.data_key(b""),
        lambda: folder.save_identity(me),
        lambda: folder.lock(OTHER),
        folder.remove_lock,
    ):
        with pytest.raises(SwarmLocked):
            refused()
    with pytest.raises(WrongUnlockKey):
        folder.unlock(OTHER)
    assert folder.is_locked
    folder.unlock(KEY)
    assert (folder.is_locked, folder.load(), folder.data_key(b"")) == (False, (NODE, me), b"d" * 32)
    folder.close()


def test_another_unlock_key_takes_the_place_of_the_first(tmp_path: Path) -> None:
    folder, me = manager(tmp_path)
    folder.lock(KEY)
    folder.lock(OTHER)
    assert (folder.is_locked_with(KEY), folder.is_locked_with(OTHER), folder.is_locked_with("")) == (False, True, False)
    folder = restarted(folder)
    with pytest.raises(WrongUnlockKey):
        folder.unlock(KEY)
    folder.unlock(OTHER)
    assert folder.load() == (NODE, me)
    folder.close()


def test_without_a_lock_everything_is_as_it_was(tmp_path: Path) -> None:
    folder, me = manager(tmp_path)
    folder.lock(KEY)
    folder.remove_lock()
    assert folder.is_locked_with("")
    folder = restarted(folder)
    assert not folder.is_locked
    assert (folder.load(), folder.data_key(b"")) == ((NODE, me), b"d" * 32)
    folder.close()


@pytest.mark.parametrize("left", [(), ("node.key",), ("node.key", "raft.key")])
def test_a_crash_while_locking_is_made_good(tmp_path: Path, left: tuple[str, ...]) -> None:
    folder, me = manager(tmp_path)
    clear = {name: (tmp_path / "swarm" / name).read_bytes() for name in ("node.key", "raft.key")}
    folder.lock(KEY)
    for name in left:
        (tmp_path / "swarm" / name).write_bytes(clear[name])
    folder = restarted(folder)
    folder.unlock(KEY)
    assert (folder.load(), folder.data_key(b"")) == ((NODE, me), b"d" * 32)
    assert folder.is_locked_with(KEY) is not bool(left)
    folder.lock(KEY)
    assert folder.is_locked_with(KEY)
    folder.close()


def test_a_renewed_key_is_sealed_too(tmp_path: Path) -> None:
    folder, _ = manager(tmp_path)
    folder.lock(KEY)
    renewed = identity()
    folder.save_identity(renewed)
    assert b"PRIVATE KEY" not in (tmp_path / "swarm/node.key").read_bytes()
    folder = restarted(folder)
    folder.unlock(KEY)
    assert folder.load() == (NODE, renewed)
    folder.close()


def test_a_crash_while_renewing_leaves_a_certificate_with_its_key(tmp_path: Path) -> None:
    folder, before = manager(tmp_path)
    after = identity()
    both = after.key + before.key
    for certificate, wanted in ((before.certificate, before.key), (after.certificate, after.key)):
        (tmp_path / "swarm/node.key").write_text(both)
        (tmp_path / "swarm/node.crt").write_text(certificate)
        loaded = folder.load()
        assert loaded is not None
        assert loaded[1].key == wanted
    folder.close()


def test_a_worker_has_no_lock(tmp_path: Path) -> None:
    folder, me = manager(tmp_path)
    folder.lock(KEY)
    folder.forget_raft()
    folder = restarted(folder)
    assert folder.load() == (NODE, me)
    folder.close()


def test_a_log_that_is_set_aside_keeps_its_keys(tmp_path: Path) -> None:
    folder, _ = manager(tmp_path)
    folder.raft.mkdir()
    (folder.raft / "log").write_bytes(b"log")
    folder.lock(KEY)
    folder.set_raft_aside()
    assert {path.name for path in (tmp_path / "swarm/aside").iterdir()} == {"raft", "raft.key", "lock"}
    assert folder.data_key(b"n" * 32) == b"n" * 32
    folder.close()
