"""The same rolling update on our nodes and on swarm mode's, over the ports that both can serve here: host-mode ones, a task on each node.

Swarm's own published ports need IPVS, which not every kernel has. A host-mode port is closed while its task is replaced, whoever does it:
what differs is how long, and what becomes of the connections that were open.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from integration.cluster_rig import wait_until
from integration.drain_rig import IMAGE, NODES, Drill, Phase, measured
from integration.netlab import Host, Lab
from integration.traffic import Traffic

Docker = Callable[..., str]
PORT, SERVICE = 8090, "host-ports"


def both(drill: Drill, folder: Path) -> list[Phase]:
    """Ours, then swarm mode's, on one wire, asked by one client."""
    ours = _updated("host-mode ports, shoal", drill.manager.docker, drill.client, drill.addresses)
    docker, addresses = _swarm(drill.cluster.lab, folder)
    return [ours, _updated("host-mode ports, swarm mode", docker, drill.client, addresses)]


def _swarm(lab: Lab, folder: Path) -> tuple[Docker, list[str]]:
    """dockerd in swarm mode on as many hosts, each with the image."""
    hosts = [lab.host(f"peer{number}", f"10.93.0.{200 + number}/24") for number in range(1, NODES + 1)]
    engines = [host.engine(folder / f"peer{number}") for number, host in enumerate(hosts, 1)]
    for engine in engines:
        engine.docker("import", "-c", "ENV PATH=/bin", str(folder / "python.tar"), IMAGE)
    first = engines[0].docker
    first("swarm", "init", "--advertise-addr", hosts[0].address)
    token = first("swarm", "join-token", "-q", "manager")
    for host, engine in zip(hosts[1:], engines[1:], strict=True):
        engine.docker("swarm", "join", "--token", token, "--advertise-addr", host.address, f"{hosts[0].address}:2377")
    return first, [host.address for host in hosts]


def _updated(name: str, docker: Docker, client: Host, addresses: Sequence[str]) -> Phase:
    flags = ("--mode", "global", "--publish", f"mode=host,published={PORT},target=8000", "--stop-grace-period", "10s", "--detach")
    patience = ("--update-parallelism", "1", "--update-delay", "0s", "--update-monitor", "500ms")
    docker("service", "create", "--name", SERVICE, *flags, *patience, IMAGE, "/bin/python", "-I", "-S", "/server.py", "8000", "polite")

    def serve() -> bool:
        return all(client.run("curl", "-sS", "-m", "2", f"http://{address}:{PORT}/") for address in addresses)

    def is_updated() -> bool:
        return docker("service", "inspect", "--format", "{{.UpdateStatus.State}}", SERVICE) == "completed"

    def update() -> None:
        docker("service", "update", "--detach", "--env-add", "CHANGE=1", SERVICE)
        wait_until(is_updated, what=f"the update completes ({name})", seconds=120, every=0.2)

    _patiently(serve, name)
    with Traffic(client, addresses, port=PORT) as traffic:
        phase = measured(traffic, name, update)
    docker("service", "rm", SERVICE)
    return phase


def _patiently(serve: Callable[[], bool], name: str) -> None:
    def answers() -> bool:
        try:
            return serve()
        except RuntimeError:  # curl, of a port that is still closed
            return False

    wait_until(answers, what=f"every node answers ({name})", seconds=60, every=0.2)
