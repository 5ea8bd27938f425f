"""One machine's daemon, through everything that can keep it from its place in a swarm: it lives, says why, and takes its place when it can.

Two hosts: `one` founds swarms, `two` joins them. Each test begins and ends with both outside of any swarm.
"""

import json
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from integration.cluster_rig import Cluster, CommandFailed, Daemon, wait_until
from integration.netlab import why_no_engine
from integration.witness import ask, containers, left_behind

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(90)]
IMAGE = "shoal-lab"
FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done")
NOWHERE = "SWMTKN-1-3pu6hszjas19xyp7ghgosyx9k8atbfcr8p2is99znpy26u2lkl-1awxwuwd3z9j1z3puu7rcgdbx"


@pytest.fixture(scope="module")
def cluster(archive: Path) -> Iterator[Cluster]:
    if reason := why_no_engine():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="shoal-life-"))
    with Cluster("life", folder, network="10.97.1") as running:
        for daemon in [running.add(name).start(wait=False) for name in ("one", "two")]:
            daemon.wait_ready()
            daemon.import_image(IMAGE, archive, "ENV PATH=/bin")
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def one(cluster: Cluster) -> Iterator[Daemon]:
    yield cluster.daemons["one"]
    outside(cluster.daemons["one"])


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Daemon]:
    yield cluster.daemons["two"]
    outside(cluster.daemons["two"])


@pytest.fixture
def founded(one: Daemon) -> Daemon:
    one.docker("swarm", "init", "--advertise-addr", one.address)
    return one


def outside(daemon: Daemon) -> None:
    if daemon.process is None or daemon.process.poll() is not None:
        daemon.start()
    with suppress(CommandFailed):
        daemon.docker("swarm", "leave", "--force")
    assert left_behind(daemon) == []


def swarm_of(daemon: Daemon) -> dict[str, object]:
    shown: dict[str, object] = json.loads(daemon.docker("info", "--format", "{{json .Swarm}}"))
    return shown


def is_in(daemon: Daemon, state: str, *, because: str = "") -> bool:
    shown = swarm_of(daemon)
    return shown["LocalNodeState"] == state and because in str(shown["Error"])


def run_forever(manager: Daemon, on: str) -> None:
    manager.docker(
        *("service", "create", "--detach", "--no-resolve-image", "--name", "web", "--constraint", f"node.hostname=={on}"), IMAGE, *FOREVER
    )
    manager.wait_running("web", 1)


def hang_up_after(daemon: Daemon, path: str, body: dict[str, object]) -> None:
    """Ask for something and leave before there is an answer."""
    content = json.dumps(body).encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        client.sendall(b"POST %s HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(content), content))


@contextmanager
def taken(daemon: Daemon, port: int) -> Iterator[None]:
    """Another process listens on this port of the host."""
    with daemon.host.inside():
        listener = socket.create_server((daemon.address, port))
    try:
        yield
    finally:
        listener.close()


# -- founding, joining, leaving ----------------------------------------------------------------------------------------------------------
def test_a_client_that_hangs_up_stops_neither_founding_nor_joining_half_way(one: Daemon, two: Daemon) -> None:
    hang_up_after(one, "/swarm/init", {"AdvertiseAddr": one.address, "ListenAddr": "0.0.0.0:2377"})
    wait_until(lambda: is_in(one, "active"), what="the swarm is founded")
    token = one.docker("swarm", "join-token", "-q", "worker")
    hang_up_after(two, "/swarm/join", {"JoinToken": token, "RemoteAddrs": [f"{one.address}:2377"], "AdvertiseAddr": two.address})
    wait_until(lambda: is_in(two, "active"), what="it joined")
    wait_until(lambda: sorted(node["Status"]["State"] for node in one.get("/nodes")) == ["ready", "ready"], what="both are ready")


def test_a_failed_join_leaves_the_node_outside_and_clean(founded: Daemon, two: Daemon) -> None:
    token = founded.docker("swarm", "join-token", "-q", "worker")
    for remote, secret, words in (
        (f"{founded.address}:2377", NOWHERE, "remote CA does not match fingerprint"),
        (f"{founded.address}:2377", token[:-5] + "aaaaa", "A valid join token is necessary"),
        (f"{founded.address}:2999", token, "cannot reach manager"),
        (f"{founded.address}:2377", "SWMTKN-1-short", "invalid join token"),
    ):
        with pytest.raises(CommandFailed, match=words):
            two.docker("swarm", "join", "--advertise-addr", two.address, "--token", secret, remote)
        assert is_in(two, "inactive")
        assert left_behind(two) == []
    with taken(two, 2377), pytest.raises(CommandFailed, match="cannot listen on"):
        two.docker("swarm", "join", "--advertise-addr", two.address, "--token", token, f"{founded.address}:2377")
    two.docker("swarm", "join", "--advertise-addr", two.address, "--token", token, f"{founded.address}:2377")
    with pytest.raises(CommandFailed, match="already part of a swarm"):
        two.docker("swarm", "join", "--advertise-addr", two.address, "--token", token, f"{founded.address}:2377")


def test_the_last_manager_stays_one(founded: Daemon) -> None:
    with pytest.raises(CommandFailed, match="attempting to demote the last manager of the swarm"):
        founded.docker("node", "demote", "one")
    with pytest.raises(CommandFailed, match="Removing the last manager erases all current state of the swarm"):
        founded.docker("swarm", "leave")
    run_forever(founded, "one")
    assert len(containers([founded])) == 1
    founded.docker("swarm", "leave", "--force")
    assert is_in(founded, "inactive")
    assert left_behind(founded) == []


# -- what keeps a node from its place ----------------------------------------------------------------------------------------------------
def test_a_manager_whose_port_is_taken_says_so_and_takes_its_place_once_it_is_free(founded: Daemon) -> None:
    run_forever(founded, "one")
    before = containers([founded])
    founded.stop()
    with taken(founded, 2377):
        founded.start()
        wait_until(lambda: is_in(founded, "error", because="cannot listen on"), what="it says what is wrong")
        with pytest.raises(CommandFailed, match=r"This manager is still starting: .*cannot listen on"):
            founded.docker("node", "ls")
        assert founded.docker("ps", "-q") != "", "the engine's part of the API is there"
    wait_until(lambda: is_in(founded, "active"), what="it takes its place")
    founded.wait_running("web", 1)
    assert containers([founded]) == before


def test_a_damaged_log_ends_nothing_and_comes_with_instructions(founded: Daemon) -> None:
    run_forever(founded, "one")
    before = containers([founded])
    founded.stop()
    log = founded.folder / "data" / "swarm" / "raft" / "log" / "data.mdb"
    log.write_bytes(b"x" * len(log.read_bytes()))
    founded.start()
    wait_until(lambda: is_in(founded, "error", because="Do not delete it yet"), what="it says what to do")
    assert containers([founded]) == before
    with pytest.raises(CommandFailed, match="participating as a manager"):
        founded.docker("swarm", "leave")
    founded.docker("swarm", "leave", "--force")
    assert left_behind(founded) == []


def test_a_worker_without_managers_waits_says_why_and_its_task_goes_on(founded: Daemon, two: Daemon) -> None:
    Cluster.join(two, founded, "worker")
    run_forever(founded, "two")
    before = containers([two])
    founded.kill()
    two.stop()
    two.start()
    wait_until(lambda: is_in(two, "pending", because=f"manager {founded.address}:2377 cannot be reached"), what="it says what it waits for")
    assert containers([two]) == before
    founded.start()
    wait_until(lambda: is_in(two, "active") and not swarm_of(two)["Error"], what="it is one again")
    founded.wait_running("web", 1)
    assert containers([two]) == before


def test_a_worker_leaves_by_itself_when_no_manager_answers(founded: Daemon, two: Daemon) -> None:
    Cluster.join(two, founded, "worker")
    run_forever(founded, "two")
    founded.kill()
    two.docker("swarm", "leave")
    assert left_behind(two) == []


# -- a socket that outlives the daemon ---------------------------------------------------------------------------------------------------
def test_a_socket_that_systemd_holds_works_for_containers_through_restarts(one: Daemon) -> None:
    one.stop()
    one.socket.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(one.socket))
        held.listen(64)
        one.start(activated=held)
        one.docker("run", "-d", "--name", "watcher", "-v", "/var/run/docker.sock:/var/run/docker.sock", IMAGE, "sleep", "1000")
        inside = Path(f"/proc/{one.engine('inspect', '--format', '{{.State.Pid}}', 'watcher')}/root/var/run/docker.sock")
        assert ask(one, "GET", "/_ping", via=inside).body == "OK"
        one.kill()
        one.start(activated=held, wait=False)
        assert ask(one, "GET", "/_ping", via=inside, timeout=30).body == "OK", "who asked meanwhile is answered"
        assert one.stop() <= 15
        one.start(activated=held)
        assert ask(one, "GET", "/_ping", via=inside).body == "OK"
        one.docker("rm", "-f", "watcher")
        one.stop()
        assert one.socket.is_socket(), "whoever made the socket takes it away"
    one.start()


def test_a_socket_that_no_address_names_is_refused(one: Daemon, tmp_path: Path) -> None:
    one.stop()
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(tmp_path / "other.sock"))
        held.listen()
        one.start(activated=held, wait=False)
        assert one.process is not None
        assert one.process.wait(30) == 1
        assert "which no -H names: change ListenStream= in shoald.socket, or -H" in one.tail(1)
    began = time.monotonic()
    one.start()
    print(f"a daemon answers {time.monotonic() - began:.1f} s after its start, its engine running")
