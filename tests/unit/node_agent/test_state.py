"""The state folder belongs to one daemon, holds an identity whole or not at all, and is empty of the swarm after leaving."""

from pathlib import Path

import pytest

from cluster.api.errors import Conflict, Internal
from cluster.api.states import Role
from cluster.rpc.identity import Identity, new_csr, new_key
from manager.ca.authority import issue, make_root
from node_agent.state import NodeFacts, StateFolder

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
