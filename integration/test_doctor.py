"""`shoald doctor` on real hosts, and `shoald purge`, after which it has nothing to say."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster_rig import REPOSITORY, Cluster, Daemon, wait_until
from integration.netlab import why_no_engine

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(180)]
IMAGE = "shoal-lab"


@pytest.fixture(scope="module")
def pair(archive: Path) -> Iterator[Cluster]:
    """A manager and a worker with a published service."""
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-doctor-"))
    with Cluster("doctor", folder, network="10.91.0") as cluster:
        manager = cluster.bring_up(managers=1, workers=1, archive=archive, image=IMAGE)
        for daemon in cluster.daemons.values():  # 1 in a new namespace, and worth a warning wherever it is
            daemon.host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")
        manager.docker("network", "create", "-d", "overlay", "front")
        command = ("sleep", "1000")
        manager.docker(
            *(
                "service",
                "create",
                "--name",
                "web",
                "--mode",
                "global",
                "--network",
                "front",
                "-p",
                "8080:8000",
                "--detach",
                IMAGE,
                *command,
            )
        )
        manager.wait_running("web", 2)
        yield cluster
    shutil.rmtree(folder, ignore_errors=True)


def shoald(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The daemon's binary on its host, with its folders."""
    flags = ("-H", daemon.url, "--data-root", str(daemon.folder / "data"), "--exec-root", str(daemon.folder / "run"))
    command = (sys.executable, "-m", "node_agent.main", *flags, "--pidfile", str(daemon.folder / "run" / "shoald.pid"), *arguments)
    return subprocess.run(daemon.host.command(*command), capture_output=True, text=True, check=False, timeout=120, cwd=REPOSITORY)


def wrong(daemon: Daemon) -> tuple[int, dict[str, str]]:
    """The exit status, and what fails: about -> text."""
    done = shoald(daemon, "doctor", "--format", "json")
    found = json.loads(done.stdout)
    return done.returncode, {one["About"]: one["Text"] for one in found if one["Level"] == "fail"}


def test_a_healthy_manager_and_worker_have_no_complaint(pair: Cluster) -> None:
    for daemon in pair.daemons.values():
        assert wrong(daemon) == (0, {})
    said = shoald(pair.daemons["w1"], "doctor").stdout
    assert "agrees with manager 10.91.0.1:2377" in said
    assert "3 kinds of our traffic pass it" in said, "VXLAN, names and a published port"


@pytest.mark.parametrize(
    ("tool", "rule", "what"),
    [
        (
            "iptables",
            ("INPUT", "-p", "udp", "--dport", "4789", "-j", "DROP"),
            "VXLAN from 10.91.0.1 (4789/udp) is dropped (iptables: -A INPUT",
        ),
        (
            "iptables-legacy",
            ("FORWARD", "-i", "eth0", "-j", "REJECT"),
            "traffic of service web's port 8080/tcp is dropped (iptables-legacy: ",
        ),
        ("nft", ("udp", "dport", "53", "drop"), "tasks' questions for names (53/udp) is dropped (nft table inet strict: "),
    ],
    ids=["iptables", "iptables-legacy", "nft"],
)
def test_a_rule_that_eats_our_traffic_is_named(pair: Cluster, tool: str, rule: tuple[str, ...], what: str) -> None:
    worker = pair.daemons["w1"]
    if tool == "nft":
        worker.host.run("nft", "add table inet strict; add chain inet strict in { type filter hook input priority 5; }")
        worker.host.run("nft", "add", "rule", "inet", "strict", "in", *rule)
    else:
        worker.host.run(tool, "-A", *rule)
    try:
        status, found = wrong(worker)
        assert status == 1
        assert found["firewall"].startswith(what)
    finally:
        worker.host.run(*(("nft", "delete", "table", "inet", "strict") if tool == "nft" else (tool, "-D", *rule)))
    assert wrong(worker) == (0, {})


def test_a_route_that_came_later_and_a_port_that_another_program_has_are_found(pair: Cluster) -> None:
    worker, manager = pair.daemons["w1"], pair.daemons["m1"]
    subnet = json.loads(manager.docker("network", "inspect", "front"))[0]["IPAM"]["Config"][0]["Subnet"]
    worker.host.run("ip", "route", "add", subnet, "via", manager.address, "metric", "50")
    try:
        assert wrong(worker)[1]["subnets"] == f"network front ({subnet}) meets this host's own route {subnet} on eth0"
    finally:
        worker.host.run("ip", "route", "del", subnet, "via", manager.address)


def test_a_purge_with_and_without_a_daemon_leaves_nothing(pair: Cluster, archive: Path) -> None:
    manager = pair.daemons["m1"]
    for name, dead in (("w7", False), ("w8", True)):
        extra = pair.add(name).start()
        extra.import_image(IMAGE, archive, "ENV PATH=/bin")
        pair.join(extra, manager, "worker")
        wait_until(lambda extra=extra: extra.engine("ps", "-q"), what="a task runs here")  # type: ignore[misc]
        before = extra.engine_pid
        if dead:
            extra.kill()
            (status, found) = wrong(extra)
            assert (status, found["daemon"]) == (1, "this node is a member of a swarm and its daemon does not run")
        refused = shoald(extra, "purge")  # nobody answers the question
        assert (refused.returncode, extra.engine_pid) == (1, before)
        done = shoald(extra, "purge", "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("Shoal is gone from this host.\n")
        assert not (extra.folder / "data").exists()
        assert not (extra.folder / "run").exists()
        links = extra.host.run("ip", "-br", "link")
        assert not any(word in links for word in ("sb-", "sv-", "shoal"))
        assert "shoal" not in extra.host.run("nft", "list", "ruleset")
        assert "5348" not in extra.host.run("ip", "rule")
        assert not any(str(extra.folder) in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
        assert wrong(extra) == (0, {})
        assert processes_of(extra) == []


def processes_of(daemon: Daemon) -> list[str]:
    """Command lines that name the daemon's folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{daemon.folder}/" in line:
            found.append(line)
    return found
