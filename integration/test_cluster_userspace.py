"""Daemons without CAP_NET_ADMIN: what they say of it, and that published ports hold what they promise all the same."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cluster_rig import REPOSITORY, CommandFailed, wait_until
from integration.drain_rig import IMAGE, PORT, Drill
from integration.netlab import why_no_engine

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(why_no_engine()), reason=why_no_engine()),
]
WHY = "the daemon runs without CAP_NET_ADMIN"


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    folder = Path(tempfile.mkdtemp(prefix="shoal-user-"))
    with Drill(folder, tag="userit", network="10.89.0", drain_timeout="1s", without="net_admin") as running:
        running.deploy("polite")
        yield running
    shutil.rmtree(folder, ignore_errors=True)


def test_it_says_so_in_the_log_in_info_in_node_inspect_and_to_the_doctor(drill: Drill) -> None:
    manager = drill.manager
    assert f"data plane: userspace, since {WHY}: a process balances published ports" in manager.log.read_text()
    warnings = json.loads(manager.docker("info", "--format", "{{json .Warnings}}"))
    assert any(f"data plane in userspace, since {WHY}" in warning and "no overlay networks" in warning for warning in warnings)
    assert WHY in manager.docker("node", "inspect", "--format", "{{.Status.Message}}", "m2")
    flags = ("-H", manager.url, "--data-root", str(manager.folder / "data"), "--exec-root", str(manager.folder / "run"))
    command = (sys.executable, "-m", "node_agent.main", *flags, "--pidfile", str(manager.folder / "run" / "shoald.pid"))
    command = manager.host.command(*command, "doctor", "--format", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=60)
    found = json.loads(done.stdout)
    assert [one["Text"] for one in found if one["Level"] == "fail"] == []
    (said,) = [one for one in found if one["About"] == "data plane"]
    assert said["Level"] == "warn"
    assert said["Text"].startswith(f"in userspace, since {WHY}")


def test_no_request_fails_through_updates_a_drained_node_fewer_replicas_and_a_killed_daemon(drill: Drill) -> None:
    second = drill.cluster.daemons["m2"]

    def restart() -> None:
        second.kill()
        second.start(without="net_admin")
        wait_until(lambda: second.get("/nodes"), what="it is a manager again")

    with drill.traffic():
        phases = [
            drill.phase("update, the old task stops first", drill.update),
            drill.phase("update, the new task starts first", lambda: drill.update("start-first")),
            drill.phase("daemon killed and started", restart),
            drill.phase("node drained", lambda: drill.drain("m2")),
            drill.phase("six replicas to three", lambda: drill.scale(3)),
        ]
    drill.activate("m2")
    for phase in phases:
        print(phase)
    assert [str(phase) for phase in phases if phase.failures] == []
    assert all(len(phase.samples) > 100 for phase in phases), "there was traffic"


def test_a_killed_task_costs_nothing_once_its_end_is_known(drill: Drill) -> None:
    def kill() -> None:
        task = drill.manager.tasks("web")[0]
        daemon = next(one for one in drill.cluster.daemons.values() if drill.node_id(one.name) == task["NodeID"])
        assert daemon.host_engine is not None
        daemon.host_engine.docker("kill", task["Status"]["ContainerStatus"]["ContainerID"])
        wait_until(lambda: task["ID"] not in {one["ID"] for one in drill.manager.tasks("web")}, what="its end is known")
        drill.manager.wait_running("web", 3)

    with drill.traffic():
        killed = drill.phase("task killed", kill)
        after = drill.phase("afterwards", lambda: None, after=3.0)
    print(killed, after, sep="\n")
    assert after.failures == [], str(after)
    assert len(after.samples) > 100


def test_a_service_on_an_overlay_waits_and_says_why(drill: Drill) -> None:
    manager = drill.manager
    manager.docker("network", "create", "-d", "overlay", "--attachable", "front")
    manager.docker("service", "create", "--name", "shop", "--network", "front", "--detach", IMAGE, "sleep", "1000")

    def waits() -> bool:
        return "no overlay networks on 3 nodes" in manager.docker("service", "ps", "--no-trunc", "--format", "{{.Error}}", "shop")

    wait_until(waits, what="its task says why it waits")
    assert "needs overlay networks; m1 balances in userspace and has none" in manager.shoal("service", "why", "shop")
    with pytest.raises(CommandFailed, match=f"cannot join the cluster's networks on this node, since {WHY}"):
        manager.docker("run", "--rm", "--network", "front", IMAGE, "true")
    manager.docker("service", "rm", "shop")


def test_leaving_frees_the_ports_and_leaves_no_process(drill: Drill) -> None:
    third = drill.cluster.daemons["m3"]
    drill.manager.docker("node", "demote", "m3")
    wait_until(lambda: third.docker("info", "--format", "{{.Swarm.ControlAvailable}}") == "false", what="it is a worker")
    third.docker("swarm", "leave")
    assert f":{PORT} " not in third.host.run("ss", "-Htln")
    assert not (third.folder / "run" / "network" / "balance.sock").exists()
