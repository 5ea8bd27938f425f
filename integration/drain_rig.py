"""What the drain test and the drain benchmark do: traffic over every node while tasks come and go, and what became of it.

with Drill(folder, tag="drain") as drill:
    drill.deploy("polite")
    print(drill.phase("rolling update", drill.update))
"""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from integration.cluster_rig import Cluster, Daemon, run, wait_until
from integration.images import python_archive
from integration.traffic import Sample, Traffic
from integration.wrk import Wrk

SERVER = Path(__file__).with_name("polite_server.py")
IMAGE = "shoal-server"
SERVICE = "web"
PORT = 8080
NODES = 3


class Phase(NamedTuple):
    """What happened to the traffic between two moments."""

    name: str
    begun: float
    ended: float
    samples: list[Sample]

    @property
    def failures(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.failed]

    def failed(self, *, kept: bool) -> int:
        return sum(sample.kept is kept for sample in self.failures)

    def __str__(self) -> str:
        kinds = {True: "kept", False: "new"}
        why = Counter((f"{sample.failed} by {sample.via}", kinds[sample.kept]) for sample in self.failures)
        slowest = max((sample.seconds for sample in self.samples), default=0.0)
        told = f"{self.name}: {len(self.samples)} requests in {self.ended - self.begun:.1f} s, {len(self.failures)} failed"
        return f"{told}, slowest {slowest:.2f} s" + "".join(f"\n    {count} x {kind}: {what}" for (what, kind), count in why.items())


def measured(traffic: Traffic, name: str, change: Callable[[], None], *, after: float = 1.0) -> Phase:
    """Make a change under traffic, wait until it is done and a while longer; what the clients saw meanwhile."""
    begun = time.monotonic()
    change()
    time.sleep(after)
    ended = time.monotonic()
    return Phase(name, begun, ended, traffic.between(begun, ended))


class Drill:
    """A cluster of three managers and a client outside; one service at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        tag: str = "drain",
        network: str = "10.93.0",
        replicas: int = 6,
        drain_timeout: str = "5s",
        without: str = "",
    ) -> None:
        """`without`: a capability that the daemons lack. Without net_admin they balance in userspace, and the service is on no overlay."""
        self.cluster = Cluster(tag, folder, network=network)
        self._folder = folder
        self._replicas = replicas
        self._drain_timeout = drain_timeout
        self._without = without
        self._traffic: Traffic | None = None
        self._changes = 0
        self.dead: set[str] = set()

    def __enter__(self) -> "Drill":
        self.cluster.__enter__()
        try:
            archive = python_archive(self._folder, SERVER)
            self.cluster.bring_up(managers=NODES, workers=0, archive=archive, image=IMAGE, without=self._without)
            self.client = self.cluster.client()
        except BaseException:
            self.cluster.destroy()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.cluster.destroy()

    @property
    def manager(self) -> Daemon:
        return next(daemon for daemon in self.cluster.daemons.values() if daemon.name not in self.dead)

    def deploy(self, manners: str) -> None:
        """The service anew, its server with these manners."""
        flags = ("--replicas", str(self._replicas), "-p", f"{PORT}:8000", "--stop-grace-period", "10s")
        flags += ("--label", f"io.shoal.drain-timeout={self._drain_timeout}")
        patience = ("--update-parallelism", "2", "--update-delay", "0s", "--update-monitor", "500ms", "--detach")
        if not self._without:
            flags += ("--network", "front")
        if not self._without and "front" not in self.manager.docker("network", "ls", "--format", "{{.Name}}").split():
            self.manager.docker("network", "create", "--driver", "overlay", "front")
        command = (IMAGE, "/bin/python", "-I", "-S", "/server.py", "8000", manners)
        self.manager.docker("service", "create", "--name", SERVICE, *flags, *patience, *command)
        self.manager.wait_running(SERVICE, self._replicas)
        wait_until(self._answers_everywhere, what="every node answers for every task", seconds=60, every=0.2)

    def _answers_everywhere(self) -> bool:
        seen = {address: set[str]() for address in self.addresses}
        for address, tasks in seen.items():
            for _ in range(8 * self._replicas):
                tasks.add(run(self.client.command("curl", "-sS", "-m", "2", f"http://{address}:{PORT}/")))
        return all(len(tasks) == self._replicas for tasks in seen.values())

    def remove(self) -> None:
        self.manager.docker("service", "rm", SERVICE)

    # -- traffic -----------------------------------------------------------------------------------------------------------------------
    def traffic(self) -> Traffic:
        """Over every node that lives, from outside."""
        self._traffic = Traffic(self.client, self.addresses, port=PORT)
        return self._traffic

    def wrk(self, seconds: int) -> Wrk:
        """As fast as they answer, over every node that lives."""
        return Wrk(self.client, self.addresses, port=PORT, seconds=seconds)

    @property
    def addresses(self) -> list[str]:
        """Of the nodes that live."""
        return [daemon.address for daemon in self.cluster.daemons.values() if daemon.name not in self.dead]

    def phase(self, name: str, change: Callable[[], None], *, after: float = 1.0) -> Phase:
        """See `measured`."""
        assert self._traffic is not None
        return measured(self._traffic, name, change, after=after)

    # -- changes -----------------------------------------------------------------------------------------------------------------------
    def update(self, order: str = "stop-first") -> None:
        """Every task replaced by a new one."""
        self.begin_update(order)
        self.wait_updated()

    def begin_update(self, order: str = "stop-first") -> None:
        self._changes += 1
        self._manager_said("service", "update", "--detach", "--update-order", order, "--env-add", f"CHANGE={self._changes}", SERVICE)

    def wait_updated(self) -> None:
        def done() -> bool:
            status = self.manager.get(f"/services/{SERVICE}").get("UpdateStatus", {})
            return status.get("State") == "completed" and not self._leaving()

        wait_until(done, what="the update completes", seconds=180, every=0.2)

    def drain(self, name: str) -> None:
        self.manager.docker("node", "update", "--availability", "drain", name)
        self._wait_replaced(lambda task: task["NodeID"] != self.node_id(name))

    def activate(self, name: str) -> None:
        self.manager.docker("node", "update", "--availability", "active", name)

    def scale(self, replicas: int) -> None:
        self._manager_said("service", "scale", "--detach", f"{SERVICE}={replicas}")
        self._replicas = replicas
        self._wait_replaced(lambda _: True)

    def kill_leader(self) -> None:
        """kill -9 of its daemon; clients go to the other machines from now on."""
        leader = self.cluster.leader([self.manager])
        self.dead.add(leader.name)
        if self._traffic is not None:
            self._traffic.avoid(leader.address)
        leader.kill()

    def node_id(self, name: str) -> str:
        return self.manager.docker("node", "inspect", "--format", "{{.ID}}", name)

    def _wait_replaced(self, fits: Callable[[dict[str, object]], bool]) -> None:
        def done() -> bool:
            tasks = self.manager.tasks(SERVICE)
            return len(tasks) == self._replicas and all(map(fits, tasks)) and not self._leaving()

        wait_until(done, what=f"{self._replicas} tasks run where they should", seconds=120, every=0.2)

    def _leaving(self) -> bool:
        """Tasks that were told to stop and still run."""
        return any(
            task["DesiredState"] in ("shutdown", "remove") and task["Status"]["State"] == "running"
            for task in self.manager.get("/tasks")
            if task["NodeID"] not in {self._ids.get(name) for name in self.dead}
        )

    @property
    def _ids(self) -> dict[str, str]:
        return {node["Description"]["Hostname"]: node["ID"] for node in self.manager.get("/nodes")}

    def _manager_said(self, *arguments: str) -> str:
        return self.manager.docker(*arguments)
