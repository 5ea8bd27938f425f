"""`make demo`: five machines on this one, a swarm, a stack, and two murders. Exit 0 only if every claim held.

Each machine is a network namespace with a daemon of its own, which starts an engine of its own; a sixth one plays the outside world and
sends requests all the while. Everything is gone afterwards.
"""

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from integration.cluster_rig import REPOSITORY, Cluster, CommandFailed, Daemon, busybox_archive, wait_until
from integration.load import TIMEOUT, Load
from integration.netlab import why_no_engine

STACK = REPOSITORY / "stack_specs" / "examples" / "demo.yml"
IMAGE = "shoal/demo:latest"
PORT = 8080
REPLICAS = 6
SECRET = "the fish swim at dawn"
OUTSIDE = "10.99.0.106"


class Story:
    """What is told, and which claims held."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.claims: list[tuple[str, str, bool]] = []
        self.begun = time.monotonic()

    def chapter(self, title: str, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{title}", align="left")
        self.console.print(text, style="dim")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        with Progress(
            SpinnerColumn(finished_text="[green]ok[/]"), TextColumn("{task.description}"), TimeElapsedColumn(), console=self.console
        ) as progress:
            task = progress.add_task(text, total=1)
            yield
            progress.update(task, completed=1)

    def claim(self, what: str, shown: str, *, held: bool) -> None:
        self.claims.append((what, shown, held))
        mark = "[green]held[/]" if held else "[red]did not hold[/]"
        self.console.print(f"  {mark}  {what}: [bold]{shown}")

    def run(self, command: str, output: str) -> None:
        self.console.print(f"[bold cyan]$ {command}")
        self.console.print(Text(output))

    @property
    def held(self) -> bool:
        return bool(self.claims) and all(held for _, _, held in self.claims)


def main() -> int:
    if reason := why_no_engine():
        print(f"make demo: {reason}", file=sys.stderr)
        return 1
    story = Story()
    folder = Path(tempfile.mkdtemp(prefix="shoal-demo-"))
    try:
        with Cluster("demo", folder) as cluster:
            tell(story, cluster, folder)
    except (CommandFailed, TimeoutError, RuntimeError) as failed:
        story.console.print(f"[red]The demo failed: {failed}")
        story.claim("the story was told to its end", str(failed).splitlines()[0][:120], held=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    end(story)
    return 0 if story.held else 1


def tell(story: Story, cluster: Cluster, folder: Path) -> None:
    first = five_machines(story, cluster, folder)
    deploy(story, first)
    outside = cluster.client("world")
    with Load(outside, [daemon.address for daemon in cluster.daemons.values()], port=PORT) as load:
        spread(story, cluster, load)
        inside(story, cluster, first)
        lose_a_worker(story, cluster, load)
        lose_the_leader(story, cluster, load)
        settle(story, load)


def five_machines(story: Story, cluster: Cluster, folder: Path) -> Daemon:
    story.chapter(
        "Five machines", "Three managers and two workers: a namespace, a shoald and an engine each. Nothing is shared but the wire."
    )
    with story.step("an image from busybox, since there is no registry"):
        archive = busybox_archive(folder, install_web)
    with story.step("five daemons, five engines"):
        daemons = [cluster.add(name).start(wait=False) for name in ("m1", "m2", "m3", "w1", "w2")]
        for daemon in daemons:
            daemon.wait_ready()
            daemon.import_image(IMAGE, archive, "ENV PATH=/bin")
    first = daemons[0]
    with story.step("swarm init on m1, swarm join on the others"):
        first.shoal("swarm", "init", "--advertise-addr", first.address)
        for daemon in daemons[1:]:
            cluster.join(daemon, first, "manager" if daemon.name.startswith("m") else "worker")
        wait_until(lambda: sum(node["Status"]["State"] == "ready" for node in first.get("/nodes")) == 5, what="five nodes are ready")
        wait_until(
            lambda: sum(node.get("ManagerStatus", {}).get("Reachability") == "reachable" for node in first.get("/nodes")) == 3,
            what="three managers agree",
        )
    story.run("shoal node ls", nodes(first))
    return first


def nodes(asked: Daemon) -> str:
    return asked.shoal("node", "ls", "--format", "table {{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}")


def install_web(root: Path) -> None:
    program = root / "bin" / "demo-web"
    shutil.copy(REPOSITORY / "integration" / "demo_web.sh", program)
    program.chmod(0o755)


def deploy(story: Story, first: Daemon) -> None:
    story.chapter(
        "A stack", f"{STACK.relative_to(REPOSITORY)}: a web service of {REPLICAS} replicas on port {PORT}, a secret, an overlay network."
    )
    first.shoal("secret", "create", "greeting", "-", stdin=SECRET.encode())
    begun = time.monotonic()
    with story.step("shoal stack deploy -c demo.yml demo"):
        first.shoal("stack", "deploy", "-c", str(STACK), "demo")
        first.wait_running("demo_web", REPLICAS, seconds=90)
    story.claim("the stack runs", f"{REPLICAS} of {REPLICAS} replicas after {time.monotonic() - begun:.1f} s", held=True)
    story.run(
        "shoal service ps demo_web", first.shoal("service", "ps", "--format", "table {{.Name}}\t{{.Node}}\t{{.CurrentState}}", "demo_web")
    )


def spread(story: Story, cluster: Cluster, load: Load) -> None:
    story.chapter(
        "Requests", "The outside world asks every machine in turn on port 8080, also those that run no replica. New connection each time."
    )
    with story.step("a thousand requests"):
        wait_until(lambda: load.served() >= 1000, what="1,000 requests are answered", seconds=60)
    answers = load.answers()
    tasks = Counter(answer.task for answer in answers)
    table = Table("replica", "machine", "requests", "", box=None, header_style="bold")
    nodes = {answer.task: answer.node for answer in answers}
    most = max(tasks.values())
    for task, count in sorted(tasks.items()):
        table.add_row(task.rsplit(".", 1)[0], nodes[task], str(count), "█" * round(30 * count / most))
    story.console.print(table)
    story.claim("every replica serves", f"{len(tasks)} of {REPLICAS}", held=len(tasks) == REPLICAS)
    story.claim(
        "every machine answers", f"{len(load.entered())} of {len(cluster.daemons)}", held=len(load.entered()) == len(cluster.daemons)
    )
    clients = {answer.client for answer in answers}
    story.claim("the client's own address arrives", ", ".join(sorted(clients)), held=clients == {OUTSIDE})
    story.claim("the secret is there", "in all of them", held=all(answer.secret == SECRET for answer in answers))


def inside(story: Story, cluster: Cluster, first: Daemon) -> None:
    story.chapter("Inside", "A client in the same network asks for `web` by name: one virtual address, every replica behind it.")
    (task,) = first.wait_running("demo_client", 1)
    node = next(one for one in first.get("/nodes") if one["ID"] == task["NodeID"])
    home = cluster.daemons[node["Description"]["Hostname"]]
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    script = "for i in $(seq 60); do printf 'GET /cgi-bin/who HTTP/1.0\\r\\n\\r\\n' | nc -w 3 web 8000 | grep task=; done"
    lines = [line for line in home.docker("exec", container, "sh", "-c", script).splitlines() if line.startswith("task=")]
    seen = Counter(line.split()[0] for line in lines)
    name = home.docker("exec", container, "nslookup", "web").split()
    story.console.print(
        f"  web is {name[-1]}; 60 requests reached {len(seen)} replicas: {', '.join(str(count) for count in seen.values())}"
    )
    story.claim(
        "the virtual address spreads",
        f"{len(seen)} of {REPLICAS} replicas, {len(lines)} of 60 answered",
        held=len(seen) == REPLICAS and len(lines) == 60,
    )


def lose_a_worker(story: Story, cluster: Cluster, load: Load) -> None:
    story.chapter("A worker dies", "w2 loses its power: daemon killed with -9, its cable pulled. Requests go on.")
    alive = cluster.daemons["m1"]
    victim = cluster.daemons["w2"]
    load.avoid(victim.address)
    begun = time.monotonic()
    victim.kill()
    cluster.lab.unplug("w2")
    with story.step("until the swarm says that it is down"):
        wait_until(lambda: node_state(alive, "w2") == "down", what="w2 is down", seconds=30)
    down = time.monotonic() - begun
    with story.step(f"until {REPLICAS} replicas run on the other machines"):
        wait_until(lambda: len(elsewhere(alive, "w2")) == REPLICAS, what="all replicas run elsewhere", seconds=60)
    recovered = time.monotonic() - begun
    story.claim(
        "its tasks run elsewhere",
        f"noticed after {down:.1f} s, {REPLICAS} of {REPLICAS} again after {recovered:.1f} s",
        held=recovered <= 15,
    )
    load.note("worker killed", begun, begun + recovered)


def node_state(asked: Daemon, name: str) -> str:
    return next(str(node["Status"]["State"]) for node in asked.get("/nodes") if node["Description"]["Hostname"] == name)


def elsewhere(asked: Daemon, name: str) -> list[str]:
    """Running tasks of the web service that are not on the named machine."""
    lost = next(node["ID"] for node in asked.get("/nodes") if node["Description"]["Hostname"] == name)
    return [task["ID"] for task in asked.tasks("demo_web") if task["NodeID"] != lost]


def lose_the_leader(story: Story, cluster: Cluster, load: Load) -> None:
    leader = cluster.leader()
    survivors = [daemon for name, daemon in cluster.daemons.items() if name.startswith("m") and daemon is not leader]
    story.chapter("The leader dies", f"{leader.name} leads. kill -9. The containers on it go on; so do the requests.")
    before = {task["ID"] for task in survivors[0].tasks("demo_web")}
    there = containers(leader)
    begun = time.monotonic()
    leader.kill()
    with story.step("until a write through a survivor is acknowledged"):
        wrote = wait_until(
            lambda: survivors[0].docker("config", "create", "after-the-leader", "-", stdin=b"x", timeout=20), what="a write", seconds=30
        )
    took = time.monotonic() - begun
    new = cluster.leader(survivors)
    story.claim("another manager leads", f"{new.name}, first write after {took:.2f} s", held=bool(wrote) and took <= 5)
    after = {task["ID"] for task in new.tasks("demo_web")}
    untouched = containers(leader) == there
    story.claim("no container noticed", f"{len(before & after)} of {REPLICAS} tasks are the same", held=before == after and untouched)
    leader.start()
    wait_until(lambda: node_state(new, leader.name) == "ready", what=f"{leader.name} is back", seconds=30)
    wait_until(lambda: "Unreachable" not in nodes(new), what=f"{leader.name} follows the new leader", seconds=30)
    load.note("leader killed", begun, begun + took)
    story.run("shoal node ls", nodes(new))


def containers(daemon: Daemon) -> str:
    """What runs on a machine, by its own engine: which containers, since when."""
    return daemon.engine("ps", "--no-trunc", "--format", "{{.ID}} {{.CreatedAt}}")


def settle(story: Story, load: Load) -> None:
    """Some seconds of peace: nothing may fail any more; and nothing may have failed but while a machine was dying."""
    before = load.failed()
    time.sleep(3)
    story.claim("afterwards nothing fails", f"{load.failed() - before} failures in 3 s", held=load.failed() == before)
    load.stop()
    failures = load.failures()
    unexcused = [at for at, _, _ in failures if not any(begun - TIMEOUT <= at <= ended for _, begun, ended in load.notes)]
    shown = f"{load.served():,} requests served; {len(failures)} failed, {len(unexcused)} of them while no machine was dying"
    story.claim("nothing fails without a reason", shown, held=not unexcused)


def end(story: Story) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2))
    for what, shown, held in story.claims:
        table.add_row("[green]✓[/]" if held else "[red]✗[/]", what, f"[bold]{shown}")
    seconds = time.monotonic() - story.begun
    story.console.print()
    story.console.print(
        Panel(table, title="[bold]Shoal", subtitle=f"{seconds:.0f} seconds", expand=False, border_style="green" if story.held else "red")
    )


if __name__ == "__main__":
    sys.exit(main())
