"""What an operator can do when the managers are lost, their disks are to be locked, or the swarm's CA is to be another one.

The tests share one cluster of three managers and a worker and run in the order of this file; each leaves it whole. Through all of it the
containers of one service run on, and its published port answers.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from integration.cluster_rig import REPOSITORY, Cluster, CommandFailed, Daemon, run, wait_until
from integration.external_ca import make_ca
from integration.netlab import why_no_engine
from integration.witness import Running, ask, containers

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]
IMAGE = "shoal-lab"
MANAGERS = ("m1", "m2", "m3")
LOCKED = "Swarm is encrypted and needs to be unlocked before it can be used."


@pytest.fixture(scope="module")
def cluster(archive: Path) -> Iterator[Cluster]:
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-recovery-"))
    with Cluster("recovery", folder, network="10.94.0") as running:
        first = running.bring_up(managers=3, workers=1, archive=archive, image=IMAGE)
        wait_managers(first, *MANAGERS)
        first.docker("swarm", "update", "--dispatcher-heartbeat", "5s")  # a busy machine starts a killed daemon slowly
        first.docker("secret", "create", "password", "-", stdin=b"hunter2")
        first.docker(
            "service", "create", "--detach", "--no-resolve-image", "--name", "web", "--mode", "global", "--publish", "8080:80",
            "--secret", "password", "--stop-grace-period", "1s",
            IMAGE, "sh", "-c", "echo well > /tmp/index.html; exec httpd -f -p 80 -h /tmp",
        )  # fmt: skip
        first.wait_running("web", 4)
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def untouched(request: pytest.FixtureRequest) -> Iterator[None]:
    """No container of the service was ended or made anew, its port answers on every node, and all nodes are ready."""
    if "cluster" not in request.fixturenames:
        yield
        return
    running: Cluster = request.getfixturevalue("cluster")
    before = of_web(running)
    yield
    wait_managers(running.daemons["m1"], *MANAGERS)
    assert of_web(running) == before
    for daemon in running.daemons.values():
        wait_until(lambda: answers(daemon) == "well", what=f"the port answers on {daemon.name}", seconds=10)  # noqa: B023


def of_web(cluster: Cluster) -> set[Running]:
    return set(containers(cluster.daemons.values()))


def answers(daemon: Daemon) -> str:
    return run(daemon.host.command("curl", "-sS", "-m", "2", "http://127.0.0.1:8080/"))


def nodes(asked: Daemon) -> dict[str, dict[str, Any]]:
    return {node["Description"]["Hostname"]: node for node in asked.get("/nodes")}


def wait_managers(asked: Daemon, *names: str) -> None:
    """All nodes are ready, and these are the managers."""

    def stand() -> bool:
        found = nodes(asked)
        reachable = {name for name, node in found.items() if node.get("ManagerStatus", {}).get("Reachability") == "reachable"}
        return reachable == set(names) and all(node["Status"]["State"] == "ready" for node in found.values())

    wait_until(stand, what=f"all nodes are ready, {', '.join(names)} are managers")


def promote(asked: Daemon, *names: str) -> None:
    asked.docker("node", "promote", *names)
    wait_managers(asked, *MANAGERS)


def shoald(daemon: Daemon, *arguments: str) -> str:
    """Work on the state folder of a daemon that does not run."""
    command = (sys.executable, "-m", "node_agent.main", "--data-root", str(daemon.folder / "data"), *arguments)
    return run(daemon.host.command(*command), env={**os.environ, "PYTHONPATH": str(REPOSITORY)})


def restart(daemons: Sequence[Daemon]) -> None:
    for daemon in daemons:
        daemon.start(wait=False)
    for daemon in daemons:
        daemon.wait_ready()


def three(cluster: Cluster) -> tuple[Daemon, Daemon, Daemon]:
    return cluster.daemons["m1"], cluster.daemons["m2"], cluster.daemons["m3"]


# -- a lost quorum -----------------------------------------------------------------------------------------------------------------------
def test_one_command_recovers_a_swarm_that_lost_its_quorum(cluster: Cluster) -> None:
    m1, m2, m3 = three(cluster)
    web = m1.get("/services/web")["ID"]
    m2.kill()
    m3.kill()
    wait_until(lambda: "shoal_raft_is_leader 0.0" in ask(m1, "GET", "/metrics").body, what="there is no leader")
    begun = time.monotonic()
    said = m1.docker("swarm", "init", "--force-new-cluster", "--advertise-addr", m1.address)
    print(f"recovered in {time.monotonic() - begun:.2f} s")
    assert "is now a manager" in said
    found = nodes(m1)
    assert {name: node["Status"]["State"] for name, node in found.items() if name in {"m2", "m3"}} == {"m2": "down", "m3": "down"}
    assert [name for name, node in found.items() if "ManagerStatus" in node] == ["m1"]
    assert m1.get("/services/web")["ID"] == web
    assert [secret["Spec"]["Name"] for secret in m1.get("/secrets")] == ["password"]
    m1.docker("config", "create", "writable", "-", stdin=b"again")
    restart((m2, m3))
    wait_managers(m1, "m1")
    promote(m1, "m2", "m3")
    assert [one["Spec"]["Name"] for one in m3.get("/configs")] == ["writable"]


def test_managers_that_went_on_elsewhere_yield_to_the_forced_cluster(cluster: Cluster) -> None:
    """Forced on a manager that was only cut off: the other two still have a quorum. One history is left, the other is kept aside."""
    m1, m2, m3 = three(cluster)
    cluster.lab.unplug("m1")
    wait_until(lambda: m2.docker("node", "ls"), what="the others go on")
    m2.docker("config", "create", "theirs", "-", stdin=b"x")
    m1.docker("swarm", "init", "--force-new-cluster")
    m1.docker("config", "create", "ours", "-", stdin=b"x")
    cluster.lab.plug("m1")
    wait_managers(m1, "m1")
    for daemon in (m2, m3):
        assert (daemon.folder / "data" / "swarm" / "aside" / "raft").is_dir()
    promote(m1, "m2", "m3")
    for daemon in (m1, m2, m3):
        assert {one["Spec"]["Name"] for one in daemon.get("/configs")} == {"writable", "ours"}


def test_a_daemon_that_does_not_run_is_forced_from_its_folder(cluster: Cluster) -> None:
    m1, m2, m3 = three(cluster)
    with pytest.raises(CommandFailed, match="another shoald uses the state folder"):
        shoald(m2, "force-new-cluster")
    for daemon in (m1, m2, m3):
        daemon.kill()
    assert "is the only manager" in shoald(m2, "force-new-cluster")
    m2.start()
    wait_until(lambda: m2.docker("node", "ls"), what="it leads")
    restart((m1, m3))
    wait_managers(m2, "m2")
    promote(m2, "m1", "m3")


# -- snapshots ----------------------------------------------------------------------------------------------------------------------------
def test_a_snapshot_brings_the_swarm_back_on_an_empty_disk(cluster: Cluster, tmp_path: Path) -> None:
    m1, m2, m3 = three(cluster)
    file = tmp_path / "snapshot"
    assert "3 managers, 1 workers, 1 services" in m2.shoal("cluster", "snapshot", "save", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    shown = m2.shoal("cluster", "snapshot", "inspect", str(file))
    assert f"Cluster ID: {m1.get('/swarm')['ID']}" in shown
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CommandFailed, match="not whole"):
        m2.shoal("cluster", "snapshot", "inspect", str(tmp_path / "cut"))
    m1.docker("config", "create", "later", "-", stdin=b"x")
    token = m1.docker("swarm", "join-token", "-q", "worker")
    for daemon in (m1, m2, m3):
        daemon.kill()
    for name in ("swarm", "worker"):
        shutil.rmtree(m1.folder / "data" / name)
    with pytest.raises(CommandFailed, match="of a node of a swarm already"):
        shoald(m2, "restore", str(file))
    assert "restoring cluster" in shoald(m1, "restore", str(file), "--advertise-addr", m1.address, "--node", "m1")
    m1.start()
    wait_until(lambda: nodes(m1)["w1"]["Status"]["State"] == "ready", what="the worker is back")
    assert {one["Spec"]["Name"] for one in m1.get("/configs")} == {"writable", "ours"}
    assert m1.docker("swarm", "join-token", "-q", "worker") == token
    restart((m2, m3))
    wait_managers(m1, "m1")
    promote(m1, "m2", "m3")


# -- autolock ------------------------------------------------------------------------------------------------------------------------------
def sealed(daemon: Daemon) -> bool:
    folder = daemon.folder / "data" / "swarm"
    found = {(folder / name).read_bytes().startswith(b"SHOAL-SEALED") for name in ("node.key", "raft.key")}
    assert len(found) == 1
    return found.pop()


def local_state(daemon: Daemon) -> str:
    return daemon.docker("info", "--format", "{{.Swarm.LocalNodeState}}")


def test_locked_managers_need_the_key_and_their_containers_do_not(cluster: Cluster) -> None:
    m1, m2, m3 = three(cluster)
    m1.docker("swarm", "update", "--autolock")
    assert sealed(m1)
    first = m2.docker("swarm", "unlock-key", "-q")
    assert first.startswith("SWMKEY-1-")
    wait_until(lambda: sealed(m2) and sealed(m3), what="every manager seals its keys")
    second = m3.docker("swarm", "unlock-key", "--rotate", "-q")
    assert second != first
    for daemon in (m1, m2, m3):
        daemon.kill()
    restart((m1, m2, m3))
    assert [local_state(daemon) for daemon in (m1, m2, m3)] == ["locked"] * 3
    assert "Swarm: locked" in run(("curl", "-sSI", "--unix-socket", str(m1.socket), "http://localhost/_ping"))
    refused = ask(m1, "GET", "/services")
    assert (refused.status, refused.message.startswith(LOCKED)) == (503, True)
    for key in (first, "SWMKEY-1-nonsense", ""):
        refused = ask(m1, "POST", "/swarm/unlock", {"UnlockKey": key})
        assert (refused.status, refused.message) == (401, "swarm could not be unlocked: invalid key provided")
    assert answers(m1) == "well"
    for daemon in (m1, m2, m3):
        daemon.docker("swarm", "unlock", stdin=second.encode() + b"\n")
    wait_managers(m1, *MANAGERS)
    refused = ask(m1, "POST", "/swarm/unlock", {"UnlockKey": second})
    assert (refused.status, refused.message) == (409, "swarm is not locked")
    m2.docker("swarm", "update", "--autolock=false")
    wait_until(lambda: not any(sealed(daemon) for daemon in (m1, m2, m3)), what="every manager unseals its keys")
    m3.kill()
    m3.start()
    assert local_state(m3) in {"active", "pending"}


# -- the CA ------------------------------------------------------------------------------------------------------------------------------
def issuers(asked: Daemon) -> set[str]:
    return {node["Description"]["TLSInfo"]["CertIssuerPublicKey"] for node in nodes(asked).values()}


def in_progress(asked: Daemon) -> bool:
    return bool(asked.get("/swarm")["RootRotationInProgress"])


def test_the_root_is_rotated_under_all_nodes(cluster: Cluster) -> None:
    m1, m2, _ = three(cluster)
    before, token = m1.docker("swarm", "ca"), m1.docker("swarm", "join-token", "-q", "worker")
    begun = time.monotonic()
    m2.docker("swarm", "ca", "--rotate")
    print(f"rotated in {time.monotonic() - begun:.2f} s")
    shown = m1.docker("swarm", "ca")
    assert shown != before
    assert {node["Description"]["TLSInfo"]["TrustRoot"].strip() for node in nodes(m1).values()} == {shown}
    assert issuers(m1) == {m1.get("/swarm")["TLSInfo"]["CertIssuerPublicKey"]}
    assert m1.docker("swarm", "join-token", "-q", "worker") != token


def test_a_rotation_waits_for_the_node_that_is_away(cluster: Cluster) -> None:
    m1, m2, _ = three(cluster)
    worker, old_token = cluster.daemons["w1"], m1.docker("swarm", "join-token", "-q", "worker")
    worker.kill()
    m1.docker("swarm", "ca", "--rotate", "--detach", "--cert-expiry", "48h")
    assert in_progress(m2)
    wait_until(lambda: len(issuers(m1)) == 2, what="the others have followed")
    m2.kill()
    m2.start()
    wait_until(lambda: nodes(m1)["m2"]["Status"]["State"] == "ready", what="a manager can restart meanwhile")
    assert in_progress(m1)
    worker.start()
    wait_until(lambda: not in_progress(m1), what="the rotation is over")
    assert issuers(m1) == {m1.get("/swarm")["TLSInfo"]["CertIssuerPublicKey"]}
    certificate = str(worker.folder / "data" / "swarm" / "node.crt")
    assert (
        subprocess.run(
            ("openssl", "x509", "-checkend", str(49 * 3600), "-noout", "-in", certificate), check=False, capture_output=True
        ).returncode
        == 1
    )
    newcomer = cluster.add("w2").start()
    try:
        with pytest.raises(CommandFailed, match="remote CA does not match fingerprint"):
            newcomer.docker("swarm", "join", "--token", old_token, f"{m1.address}:2377")
    finally:
        cluster.daemons.pop("w2").destroy()


def test_an_authority_outside_signs_for_the_nodes(cluster: Cluster, tmp_path: Path) -> None:
    m1, _, _ = three(cluster)
    outside = cluster.client("ca")
    make_ca(tmp_path)
    command = (sys.executable, "-m", "integration.external_ca", str(tmp_path), outside.address, "8888")
    outside.start(*command, log=tmp_path / "log", env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    url = f"https://{outside.address}:8888/api/v1/cfssl/sign"
    wait_until(lambda: run(m1.host.command("curl", "-sSk", "-o", "/dev/null", "-w", "%{http_code}", url)) == "405", what="the CA answers")
    m1.docker(
        "swarm", "ca", "--rotate", "--quiet", "--ca-cert", str(tmp_path / "ca.pem"),
        "--external-ca", f"protocol=cfssl,url={url},cacert={tmp_path / 'ca.pem'}",
    )  # fmt: skip
    assert m1.docker("swarm", "ca") == (tmp_path / "ca.pem").read_text().strip()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert {line.split('"CN": "')[1][:25] for line in asked} == {node["ID"] for node in nodes(m1).values()}
    demoted = nodes(m1)["m3"]["ID"]
    m1.docker("node", "demote", demoted)
    wait_managers(m1, "m1", "m2")
    promote(m1, "m3")
