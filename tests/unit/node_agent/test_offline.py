"""A state folder is worked on only while no daemon has it, and only if what is asked makes sense there."""

import os
from pathlib import Path

from click.testing import CliRunner, Result

from cluster.api.assignment import ManagerAddr
from cluster.api.specs import ClusterSpec, EncryptionConfig
from cluster.api.states import Role
from cluster.rpc.identity import facts
from manager.raft.opening import open_storage
from manager.recovery import replay
from node_agent.api.backend import InitRequest
from node_agent.config import Config
from node_agent.founding import Founded, found, write_founding
from node_agent.offline import COMMANDS
from node_agent.state import StateFolder

NOW = 1_700_000_000 * 10**9


def founded(root: Path, *, locked: bool = False) -> Founded:
    folder = StateFolder(root)
    spec = ClusterSpec(encryption_config=EncryptionConfig(auto_lock_managers=locked))
    made = found(InitRequest(spec=spec), listen="0.0.0.0:2377", advertise="10.0.0.1:2377", data_path="10.0.0.1", subnets=(), now=NOW)
    write_founding(folder, made)
    folder.close()
    return made


def shoald(root: Path, command: str, *arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(COMMANDS[command], arguments, obj=Config(data_root=str(root)), input=given)


def test_a_forced_cluster_has_its_state_a_new_address_and_a_fresh_certificate(tmp_path: Path) -> None:
    made = founded(tmp_path)
    done = shoald(tmp_path, "force-new-cluster", "--advertise-addr", "10.0.0.7")
    assert (done.exit_code, f"Node {made.facts.node_id} is the only manager" in done.output) == (0, True)
    folder = StateFolder(tmp_path)
    loaded = folder.load()
    assert loaded is not None
    node, identity = loaded
    assert (node.node_id, node.cluster_id, node.advertise_addr) == (made.facts.node_id, made.facts.cluster_id, "10.0.0.7:2377")
    assert facts(identity.certificate).role is Role.MANAGER
    assert identity.certificate != made.identity.certificate
    storage = open_storage(folder.raft, key=folder.data_key(os.urandom(32)), cluster=node.cluster_id)
    now = replay(storage)
    storage.close()
    assert now.nodes[node.node_id].member is not None
    assert now.nodes[node.node_id].member.addr == "10.0.0.7:2377"  # type: ignore[union-attr]
    folder.close()


def test_a_locked_manager_asks_for_its_key(tmp_path: Path) -> None:
    made = founded(tmp_path, locked=True)
    wrong = shoald(tmp_path, "force-new-cluster", given="SWMKEY-1-wrong\n")
    assert (wrong.exit_code, "invalid key provided" in wrong.output) == (1, True)
    right = shoald(tmp_path, "force-new-cluster", given=made.founding.unlock_key + "\n")
    assert right.exit_code == 0, right.output
    assert made.founding.unlock_key not in right.output
    folder = StateFolder(tmp_path)
    assert folder.is_locked
    folder.close()


def test_a_folder_outside_of_any_swarm_and_one_in_use_are_refused(tmp_path: Path) -> None:
    for command, *arguments in (("force-new-cluster",), ("rejoin", "10.0.0.1")):
        assert "not part of a swarm" in shoald(tmp_path, command, *arguments).output
    folder = StateFolder(tmp_path)
    refused = shoald(tmp_path, "force-new-cluster")
    assert (refused.exit_code, "another shoald uses the state folder" in refused.output) == (1, True)
    folder.close()


def test_a_node_is_told_where_its_managers_are(tmp_path: Path) -> None:
    founded(tmp_path)
    assert shoald(tmp_path, "rejoin", "10.0.0.8", "10.0.0.9:2400").exit_code == 0
    folder = StateFolder(tmp_path)
    known = folder.load_facts()
    assert known is not None
    assert known.managers == (ManagerAddr(node_id="", addr="10.0.0.8:2377"), ManagerAddr(node_id="", addr="10.0.0.9:2400"))
    folder.close()


def test_a_node_whose_address_changed_says_the_new_one_and_keeps_its_managers(tmp_path: Path) -> None:
    founded(tmp_path)
    assert shoald(tmp_path, "rejoin", "10.0.0.8").exit_code == 0
    assert shoald(tmp_path, "rejoin", "--advertise-addr", "10.0.0.44").exit_code == 0
    folder = StateFolder(tmp_path)
    known = folder.load_facts()
    assert known is not None
    assert (known.advertise_addr, known.data_path_addr, known.listen_addr) == ("10.0.0.44:2377", "10.0.0.44", "0.0.0.0:2377")
    assert known.managers == (ManagerAddr(node_id="", addr="10.0.0.8:2377"),)
    folder.close()
    assert "name an address of a manager" in shoald(tmp_path, "rejoin").output
