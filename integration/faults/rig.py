"""What the tests of this folder ask of their cluster: who is up, who manages, what runs where."""

from typing import Any

from integration.cluster_rig import Cluster, Daemon
from integration.witness import Running, containers

IMAGE = "shoal-lab"
FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done")
MANAGERS = ("m1", "m2", "m3")


def patience(manager: Daemon, heartbeat: str) -> None:
    """A node is lost after three heartbeats: a busy machine may need more than three seconds to start a killed daemon again."""
    manager.docker("swarm", "update", "--dispatcher-heartbeat", heartbeat)


def nodes(asked: Daemon) -> dict[str, dict[str, Any]]:
    """By host name; of a name that several nodes have, the one that is not down."""
    rows = sorted(asked.get("/nodes"), key=lambda node: node["Status"]["State"] != "down")
    return {node["Description"]["Hostname"]: node for node in rows}


def states(asked: Daemon) -> dict[str, str]:
    return {node["ID"]: node["Status"]["State"] for node in asked.get("/nodes")}


def state_of(asked: Daemon, name: str) -> str:
    return str(nodes(asked)[name]["Status"]["State"])


def reachable(asked: Daemon) -> list[str]:
    return [name for name, node in nodes(asked).items() if node.get("ManagerStatus", {}).get("Reachability") == "reachable"]


def create(manager: Daemon, name: str, *flags: str, command: tuple[str, ...] = FOREVER) -> None:
    manager.docker(
        "service", "create", "--detach", "--no-resolve-image", "--name", name, "--stop-grace-period", "1s", *flags, IMAGE, *command
    )


def managers_but(cluster: Cluster, lost: Daemon) -> list[Daemon]:
    return [cluster.daemons[name] for name in MANAGERS if cluster.daemons[name] is not lost]


def running(cluster: Cluster) -> set[Running]:
    return containers(cluster.daemons.values())


def local_state(daemon: Daemon) -> str:
    return daemon.docker("info", "--format", "{{.Swarm.LocalNodeState}}")
