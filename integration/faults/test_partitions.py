"""What the tasks of cut off nodes can reach, and what is as before once they are back."""

import time

import pytest

from integration.cluster_rig import Cluster, Daemon, wait_until
from integration.faults.rig import IMAGE, MANAGERS, nodes, running, states

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]
SERVER = ("sh", "-c", "hostname >/index.html; exec httpd -f -p 8000 -h /")
FLAGS = ("--detach", "--no-resolve-image", "--network", "net", "--constraint", "node.role==worker", "--stop-grace-period", "1s")


def container_on(manager: Daemon, service: str, name: str) -> str:
    node = nodes(manager)[name]["ID"]
    return next(str(task["Status"]["ContainerStatus"]["ContainerID"]) for task in manager.tasks(service) if task["NodeID"] == node)


def answers(daemon: Daemon, client: str, count: int) -> set[str]:
    """Which tasks answered `count` new connections to the service, from inside the client; every one must be answered."""
    ask = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 web 8000 | tail -n 1"
    script = f"for i in $(seq {count}); do said=$({ask}); echo ${{said:-failed}}; done"
    return set(daemon.engine("exec", client, "sh", "-c", script).split())


def test_nodes_cut_off_without_a_quorum_serve_what_they_have_and_skip_what_is_silent(cluster: Cluster) -> None:
    manager, here, there = (cluster.daemons[name] for name in ("m1", "w1", "w2"))
    manager.docker("network", "create", "-d", "overlay", "net")
    manager.docker("service", "create", "--name", "web", "--replicas", "4", "--replicas-max-per-node", "2", *FLAGS, IMAGE, *SERVER)
    manager.docker("service", "create", "--name", "client", "--mode", "global", *FLAGS, IMAGE, "sleep", "1000")
    manager.wait_running("web", 4)
    manager.wait_running("client", 2)
    clients = {daemon: container_on(manager, "client", daemon.name) for daemon in (here, there)}
    everybody = answers(here, clients[here], 40)
    assert len(everybody) == 4
    before = running(cluster)
    for name in MANAGERS:
        cluster.daemons[name].kill()
    cluster.lab.unplug("w2")
    begun = time.monotonic()
    split = {
        daemon: wait_until(lambda daemon=daemon: skipped(daemon, clients[daemon]), what="the silent node is skipped") for daemon in clients
    }
    print(f"silent nodes skipped after {time.monotonic() - begun:.1f} s")
    assert split[here] | split[there] == everybody
    assert not split[here] & split[there], "each side has its own"
    there.engine("kill", next(iter(split[there])))
    wait_until(lambda: len(left := answers(there, clients[there], 20)) == 1 and left < split[there], what="its dead task is out", seconds=5)
    cluster.lab.plug("w2")
    for name in MANAGERS:
        cluster.daemons[name].start(wait=False)
    wait_until(lambda: set(states(manager).values()) == {"ready"}, what="all is whole again")
    manager.wait_running("web", 4)
    assert len(before - running(cluster)) == 1, "nothing was restarted but the task that was killed"
    for daemon, client in clients.items():
        wait_until(lambda daemon=daemon, client=client: len(answers(daemon, client, 40)) == 4, what="both sides reach all four again")
    manager.docker("service", "rm", "web", "client")
    wait_until(lambda: manager.docker("network", "rm", "net"), what="the network can go")


def skipped(daemon: Daemon, client: str) -> set[str]:
    """The tasks that answer once every connection is answered by one of two."""
    found = answers(daemon, client, 12)
    return found if len(found) == 2 and "failed" not in found else set()
