"""What users notice when a machine is lost: how long writes and reads through a surviving manager wait, when tasks run elsewhere.

make bench-failover          three managers and two workers; writes bench/results/failover.json

About ten minutes; one fault at a time with `python -m bench.failover --only kill`.

The peer's column is Docker Swarm 20.10.24 on a machine of the same kind, five daemons in namespaces as here, taken once: killed leader
14.1 s [9.5 - 23.6], lost worker 18.3 s [17.7 - 19.9]. Ours are killed with kill -9 while clients write and read without pause.
"""

import argparse
import datetime
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench.client import Client
from bench.report import Figure, publish, publish_part, show
from integration.cluster_rig import Cluster, Daemon, busybox_archive, run, wait_until
from integration.witness import ask

IMAGE = "bench"
REPLICAS = 10
PEER_KILL, PEER_WORKER = (9.54, 11.5, 14.1, 22.7, 23.6), (18.3,)
SETTLES = 0.3
"""Seconds that clients work before and after the fault."""

Samples = dict[str, list[float]]


def managers(cluster: Cluster) -> list[Daemon]:
    return [daemon for name, daemon in cluster.daemons.items() if name.startswith("m")]


def others(cluster: Cluster, lost: Daemon) -> list[Daemon]:
    return [daemon for daemon in cluster.daemons.values() if daemon is not lost]


def wait_whole(cluster: Cluster) -> None:
    """Five nodes are ready, three managers reach each other, and every one of them answers."""

    def whole() -> bool:
        rows = [daemon.get("/nodes") for daemon in managers(cluster)]
        ready = all(node["Status"]["State"] == "ready" for row in rows for node in row)
        reachable = [node for node in rows[0] if node.get("ManagerStatus", {}).get("Reachability") == "reachable"]
        return ready and len(reachable) == 3

    wait_until(whole, what="the cluster is whole", seconds=60)
    time.sleep(SETTLES)


def lose_leader(cluster: Cluster, lose: Callable[[Daemon], object], restore: Callable[[Daemon], object]) -> Samples:
    """One round: clients write and read through both survivors while the leader goes."""
    leader = cluster.leader()
    survivors = [daemon for daemon in managers(cluster) if daemon is not leader]
    with Client.writing(survivors[0]) as one, Client.writing(survivors[1]) as two, Client.reading(survivors[0]) as reader:
        time.sleep(SETTLES)
        lost_at, lost_on = time.monotonic(), time.time()
        lose(leader)
        wait_until(lambda: one.done_after(lost_at) and two.done_after(lost_at), what="both survivors write", every=0.01)
        sessions = wait_until(lambda: _sessions(others(cluster, leader), since=lost_on), what="all nodes have a session", every=0.1)
        time.sleep(SETTLES)
    failed = [answer for client in (one, two, reader) for answer in client.answers if answer.status >= 400]
    if failed:
        print(f"    {len(failed)} refused, first: {failed[0].said}")
    restore(leader)
    wait_whole(cluster)
    return {
        "first_write": [min(one.done_after(lost_at), two.done_after(lost_at)) - lost_at],
        "write_stall": [one.longest(), two.longest()],
        "read_stall": [reader.longest()],
        "sessions": [max(0.0, sessions - lost_on)],
        "refused": [len(failed)],
    }


def _sessions(daemons: list[Daemon], *, since: float) -> float | None:
    """When the last of them had a session with a manager again, by the daemons' own logs; None while one has none."""
    moments = []
    for daemon in daemons:
        news = [line for line in daemon.tail(200).splitlines() if " session with manager " in line and _moment(line) >= since]
        if not news or " info " not in news[-1]:
            return None
        moments.append(_moment(news[-1]))
    return max(moments)


def _moment(line: str) -> float:
    return datetime.datetime.fromisoformat(line.split(" ", 1)[0]).timestamp()


def kill(cluster: Cluster) -> Samples:
    return lose_leader(cluster, Daemon.kill, Daemon.start)


def stop(cluster: Cluster) -> Samples:
    """SIGTERM, as an upgrade does it. The write that waits longest counts, not the first: the leaving leader still takes some."""

    def leave(leader: Daemon) -> None:
        assert leader.process is not None
        leader.process.send_signal(signal.SIGTERM)
        leader.process.wait(30)

    return lose_leader(cluster, leave, Daemon.start)


def vanish(cluster: Cluster) -> Samples:
    """No power, no network: no connection is closed."""
    lab = cluster.lab
    return lose_leader(cluster, lambda leader: lab.unplug(leader.name), lambda leader: lab.plug(leader.name))


def lose_worker(cluster: Cluster) -> Samples:
    """kill -9 of its daemon, and its network is gone: until all replicas run on the others."""
    manager, lost = cluster.leader(), cluster.daemons["w2"]
    replicas = ("service", "create", "--detach", "--no-resolve-image", "--name", "web", "--replicas", str(REPLICAS))
    manager.docker(*replicas, "--stop-grace-period", "1ms", IMAGE, "sleep", "100000")
    manager.wait_running("web", REPLICAS)
    gone = next(node["ID"] for node in manager.get("/nodes") if node["Description"]["Hostname"] == "w2")
    begun = time.monotonic()
    lost.kill()
    cluster.lab.unplug("w2")

    def elsewhere() -> bool:
        return sum(task["NodeID"] != gone for task in manager.tasks("web")) == REPLICAS

    wait_until(elsewhere, what="all replicas run elsewhere", every=0.02)
    took = time.monotonic() - begun
    cluster.lab.plug("w2")
    lost.start()
    manager.docker("service", "rm", "web")
    wait_until(lambda: manager.get("/tasks") == [], what="all tasks are gone")
    wait_whole(cluster)
    return {"worker": [took]}


def lose_quorum(cluster: Cluster) -> Samples:
    """Both other managers are killed: when the one that is left says so, and when it says so again."""
    left = cluster.leader()
    for daemon in managers(cluster):
        if daemon is not left:
            daemon.kill()
    times = []
    for number in range(2):
        begun = time.monotonic()
        refused = ask(left, "POST", "/configs/create", {"Name": f"minority-{begun}-{number}", "Data": "eA=="}, timeout=60)
        times.append(time.monotonic() - begun)
        if refused.status != 503:
            raise RuntimeError(f"a manager without a quorum answered {refused}")
    print(f"    {refused.message}")
    for daemon in managers(cluster):
        if daemon is not left:
            daemon.start(wait=False)
    wait_whole(cluster)
    return {"quorum_first": times[:1], "quorum_next": times[1:]}


FAULTS: dict[str, tuple[Callable[[Cluster], Samples], int]] = {
    "kill": (kill, 20),
    "stop": (stop, 10),
    "vanish": (vanish, 5),
    "worker": (lose_worker, 3),
    "quorum": (lose_quorum, 3),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--only", choices=FAULTS, help="this fault alone; the results of the others stay")
    options.add_argument("--rounds", type=int, help="of each fault; with this nothing is written to bench/results")
    chosen = options.parse_args()
    taken: dict[str, Samples] = {}
    folder = Path(tempfile.mkdtemp(prefix="shoal-failover-"))
    with Cluster("failover", folder, network="10.94.0") as cluster:
        cluster.bring_up(managers=3, workers=2, archive=busybox_archive(folder), image=IMAGE)
        wait_whole(cluster)
        for name, (fault, rounds) in FAULTS.items():
            if chosen.only in (None, name):
                taken[name] = _rounds(name, fault, cluster, chosen.rounds or rounds)
    run(("rm", "-rf", str(folder)))
    write = show if chosen.rounds else publish_part if chosen.only else publish
    write("failover", figures(taken))


def _rounds(name: str, fault: Callable[[Cluster], Samples], cluster: Cluster, count: int) -> Samples:
    samples: Samples = defaultdict(list)
    for number in range(1, count + 1):
        found = fault(cluster)
        print(f"{name} {number}: " + ", ".join(f"{key} {max(values):.3f}" for key, values in found.items()), flush=True)
        for key, values in found.items():
            samples[key] += values
    return samples


def figures(taken: dict[str, Samples]) -> list[Figure]:
    rows = (
        ("leader_kill_s", "kill", "first_write", PEER_KILL, "<= 1.0, max <= 2.0"),
        ("leader_kill_write_stall_s", "kill", "write_stall", (), ""),
        ("leader_kill_read_stall_s", "kill", "read_stall", (), ""),
        ("leader_kill_sessions_s", "kill", "sessions", (), ""),
        ("leader_stop_s", "stop", "write_stall", (), "<= 0.3"),
        ("leader_stop_read_stall_s", "stop", "read_stall", (), ""),
        ("leader_vanish_s", "vanish", "first_write", (), ""),
        ("leader_vanish_read_stall_s", "vanish", "read_stall", (), ""),
        ("leader_vanish_sessions_s", "vanish", "sessions", (), ""),
        ("worker_loss_s", "worker", "worker", PEER_WORKER, "<= 6"),
        ("no_quorum_first_answer_s", "quorum", "quorum_first", (), ""),
        ("no_quorum_next_answer_s", "quorum", "quorum_next", (), ""),
    )
    return [Figure(f"failover.{name}", "s", taken[fault][key], peer, target) for name, fault, key, peer, target in rows if fault in taken]


if __name__ == "__main__":
    main()
