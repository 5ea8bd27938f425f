"""What a newer client may ask of an older engine, tried on that engine; and docker-py, which asks in our newest version."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import docker as docker_py
import pytest

from integration.proxy.conftest import Docker, Dockerd, Front, wait_until

pytestmark = [pytest.mark.root, pytest.mark.engine]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Api:
    """The API as a client of its own version speaks it."""

    def __init__(self, path: str, version: str = "1.51") -> None:
        self.path, self.version = path, version

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, str]:
        connection = UnixConnection(self.path)
        try:
            encoded = None if body is None else json.dumps(body)
            connection.request(method, f"/v{self.version}{path}", encoded, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            raw, kind = answer.read(), answer.headers.get("Content-Type", "")
            return answer.status, json.loads(raw) if raw.strip() and "json" in kind else raw, kind
        finally:
            connection.close()

    def create(self, **members: Any) -> str:
        status, said, _ = self.ask("POST", "/containers/create", {"Image": "bb", "Cmd": ["sleep", "100"], **members})
        assert status == 201, said
        return str(said["Id"])

    def start(self, container: str) -> str:
        assert self.ask("POST", f"/containers/{container}/start")[0] == 204
        return container

    def inspect(self, container: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/containers/{container}/json")[1])


@pytest.fixture
def api(front: Front, direct: Docker) -> Iterator[Api]:
    yield Api(front.socket)
    direct.run("container", "prune", "-f")
    for container in direct("ps", "-q").split():
        direct("rm", "-f", container)


@pytest.fixture
def networks(direct: Docker) -> Iterator[tuple[str, str]]:
    direct("network", "create", "first")
    direct("network", "create", "second")
    yield ("first", "second")
    direct("network", "rm", "first", "second")


def test_a_container_on_several_networks_is_connected_to_each(api: Api, networks: tuple[str, str], direct: Docker) -> None:
    asked = {"EndpointsConfig": {"first": {"Aliases": ["a"]}, "second": {"Aliases": ["b"]}}}
    container = api.create(HostConfig={"NetworkMode": "second"}, NetworkingConfig=asked)
    shown = api.inspect(container)["NetworkSettings"]["Networks"]
    assert {name: settings["Aliases"][0] for name, settings in shown.items()} == {"first": "a", "second": "b"}
    direct("rm", container)


def test_a_container_that_cannot_have_all_its_networks_is_not_made(api: Api, networks: tuple[str, str], direct: Docker) -> None:
    asked = {"EndpointsConfig": {"first": {}, "second": {"IPAMConfig": {"IPv4Address": "nonsense"}}}}
    status, said, _ = api.ask("POST", "/containers/create?name=half", {"Image": "bb", "Cmd": ["true"], "NetworkingConfig": asked})
    assert (status, "user specified IP address" in said["message"]) == (400, True), said
    assert direct("ps", "-aq") == ""


def test_a_stop_sends_the_signal_asked_for(api: Api) -> None:
    container = api.start(api.create(Cmd=["sh", "-c", "trap 'exit 3' USR1; while true; do sleep 0.05; done"]))
    time.sleep(0.2)  # until the trap is set
    assert api.ask("POST", f"/containers/{container}/stop?signal=SIGUSR1&t=5")[0] == 204
    assert api.inspect(container)["State"]["ExitCode"] == 3
    assert api.ask("POST", f"/containers/{container}/stop?signal=SIGUSR1")[0] == 304
    assert api.ask("POST", "/containers/missing/stop?signal=SIGUSR1")[0] == 404


def test_a_signal_that_is_not_heeded_is_followed_by_a_kill(api: Api) -> None:
    container = api.start(api.create())  # a process 1 without a handler ignores it
    begun = time.monotonic()
    assert api.ask("POST", f"/containers/{container}/stop?signal=SIGUSR1&t=1")[0] == 204
    assert 0.9 < time.monotonic() - begun < 5
    assert api.inspect(container)["State"]["ExitCode"] == 137
    assert api.ask("POST", f"/containers/{api.start(container)}/stop?signal=SIGNONSENSE")[0] == 400


def test_a_restart_sends_the_signal_asked_for(api: Api) -> None:
    container = api.start(api.create(Cmd=["sh", "-c", "echo begun; trap 'echo heard; exit 0' USR1; while true; do sleep 0.05; done"]))
    time.sleep(0.2)
    assert api.ask("POST", f"/containers/{container}/restart?signal=SIGUSR1&t=5")[0] == 204
    wait_until(lambda: api.ask("GET", f"/containers/{container}/logs?stdout=1")[1].count(b"begun") == 2, "it began twice")
    assert b"heard" in api.ask("GET", f"/containers/{container}/logs?stdout=1")[1]
    assert api.inspect(container)["State"]["Running"]


def test_a_terminal_begins_with_the_size_asked_for(api: Api) -> None:
    container = api.start(api.create(Tty=True, HostConfig={"ConsoleSize": [31, 97]}, Cmd=["sh", "-c", "sleep 0.3; stty -a; sleep 9"]))
    wait_until(lambda: b"rows 31; columns 97;" in api.ask("GET", f"/containers/{container}/logs?stdout=1")[1], "the size shows")
    status, made, _ = api.ask(
        "POST", f"/containers/{container}/exec", {"Cmd": ["sh", "-c", "sleep 0.3; stty -a"], "Tty": True, "AttachStdout": True}
    )
    assert status == 201
    _, said, _ = api.ask("POST", f"/exec/{made['Id']}/start", {"Tty": True, "ConsoleSize": [32, 98]})
    assert b"rows 32; columns 98;" in said


@pytest.mark.parametrize(("tty", "kind"), [(False, "multiplexed"), (True, "raw")])
def test_a_stream_says_whether_it_is_multiplexed(api: Api, tty: bool, kind: str) -> None:
    container = api.start(api.create(Tty=tty, Cmd=["sh", "-c", "echo out; sleep 0.2"]))
    _, made, _ = api.ask("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "x"], "Tty": tty, "AttachStdout": True})
    expected = f"application/vnd.docker.{kind}-stream"
    assert api.ask("POST", f"/exec/{made['Id']}/start", {"Tty": tty})[2] == expected
    assert api.ask("GET", f"/containers/{container}/logs?stdout=1")[2] == expected
    assert api.ask("POST", f"/containers/{container}/attach?stream=1&stdout=1")[2] == expected
    assert "multiplexed" not in Api(api.path, "1.41").ask("GET", f"/containers/{container}/logs?stdout=1")[2]


def test_a_bind_whose_source_is_to_be_made_is_made(api: Api, engine: Dockerd) -> None:
    source = engine.home / "made" / "deep"
    mount = {"Type": "bind", "Source": str(source), "Target": "/t", "ReadOnly": True, "BindOptions": {"CreateMountpoint": True}}
    container = api.create(HostConfig={"Mounts": [mount]})
    api.start(container)
    assert source.is_dir()
    assert [(shown["Destination"], shown["RW"]) for shown in api.inspect(container)["Mounts"]] == [("/t", False)]


def test_a_mac_address_is_had_and_others_are_refused(api: Api, networks: tuple[str, str]) -> None:
    container = api.create(NetworkingConfig={"EndpointsConfig": {"bridge": {"MacAddress": "02:42:00:00:00:77"}}})
    api.start(container)
    assert api.inspect(container)["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == "02:42:00:00:00:77"
    status, said, _ = api.ask(
        "POST", "/networks/first/connect", {"Container": container, "EndpointConfig": {"MacAddress": "02:42:00:00:00:78"}}
    )
    assert (status, "MacAddress for network" in said["message"]) == (400, True)


def test_what_the_engine_cannot_do_is_refused_in_one_clear_line(api: Api) -> None:
    status, said, _ = api.ask("POST", "/containers/create", {"Image": "bb", "HostConfig": {"Annotations": {"a": "b"}}})
    assert status == 400
    assert said["message"].startswith(
        "HostConfig.Annotations needs a container engine with API version 1.43 or newer; this node's engine 20.10"
    )
    assert api.ask("POST", "/containers/create", {"Image": "bb", "Cmd": ["true"], "HostConfig": {"KernelMemory": 4194304}})[0] == 201


def test_malformed_json_is_refused_and_nothing_is_made(api: Api, front: Front, direct: Docker) -> None:
    connection = UnixConnection(front.socket)
    connection.request("POST", "/v1.51/containers/create", b'{"Image":', {"Content-Type": "application/json"})
    assert connection.getresponse().status == 400
    connection.close()
    assert direct("ps", "-aq") == ""


def test_an_unknown_wait_condition_is_refused(api: Api) -> None:
    assert api.ask("POST", f"/containers/{api.create()}/wait?condition=never")[0] == 400


def test_a_network_name_is_given_once(api: Api, networks: tuple[str, str]) -> None:
    assert api.ask("POST", "/networks/create", {"Name": "first"})[0] == 409


def test_disk_usage_of_one_type_shows_only_that(api: Api) -> None:
    assert set(api.ask("GET", "/system/df?type=volume")[1]) == {"Volumes"}
    assert set(api.ask("GET", "/system/df?type=image&type=container")[1]) == {"Images", "LayersSize", "Containers"}
    assert api.ask("GET", "/system/df?type=nonsense")[0] == 400
    assert "BuildCache" in api.ask("GET", "/system/df")[1]


def test_shared_sizes_are_computed_when_asked_for(api: Api) -> None:
    assert all(image["SharedSize"] >= 0 for image in api.ask("GET", "/images/json?shared-size=1")[1])
    assert all(image["SharedSize"] == -1 for image in api.ask("GET", "/images/json")[1])


def test_volume_prune_means_what_the_clients_version_means(api: Api, direct: Docker) -> None:
    prune = "/volumes/prune?filters=%7B%22label%22%3A%5B%22a%22%5D%7D"
    anonymous = [api.ask("POST", "/volumes/create", {"Labels": labels})[1]["Name"] for labels in ({}, {"a": ""})]
    api.ask("POST", "/volumes/create", {"Name": "named", "Labels": {"a": ""}})
    assert api.ask("POST", prune)[1] == {"VolumesDeleted": [anonymous[1]], "SpaceReclaimed": 0}
    assert api.ask("POST", "/volumes/prune?filters=%7B%22nme%22%3A%5B%22a%22%5D%7D")[0] == 400
    assert Api(api.path, "1.41").ask("POST", prune)[1]["VolumesDeleted"] == ["named"]
    direct("volume", "rm", anonymous[0])


def test_a_container_that_mounts_the_engines_socket_gets_ours(api: Api, front: Front) -> None:
    mount = {"Type": "bind", "Source": "/run/docker.sock", "Target": "/other.sock"}
    container = api.create(HostConfig={"Binds": ["/var/run/docker.sock:/var/run/docker.sock:ro"], "Mounts": [mount]})
    shown = {(bound["Destination"], bound["Source"], bound["RW"]) for bound in api.inspect(container)["Mounts"]}
    assert shown == {("/var/run/docker.sock", front.socket, False), ("/other.sock", front.socket, True)}


def test_docker_py_works_in_our_newest_version(front: Front) -> None:
    client = docker_py.DockerClient(base_url=f"unix://{front.socket}", version="auto")
    try:
        assert client.version()["ApiVersion"] == "1.51"
        assert client.ping()
        container = client.containers.run("bb", ["sh", "-c", "read x; echo got $x; sleep 100"], detach=True, stdin_open=True)
        attached = container.attach_socket(params={"stdin": 1, "stream": 1})
        attached._sock.sendall(b"word\n")
        attached._sock.close()
        attached.close()
        wait_until(lambda: container.logs() == b"got word\n", "what was typed is in the log")
        assert container.exec_run("echo exec", demux=True) == (0, (b"exec\n", None))
        stats = container.stats(stream=False)
        assert stats["id"] == container.id
        chunks, stat = container.get_archive("/bin/busybox")
        assert len(b"".join(chunks)) > stat["size"]
        assert container.name in [each.name for each in client.containers.list()]
        container.stop(timeout=0)
        assert container.wait()["StatusCode"] == 137
        container.remove()
        assert "bb:latest" in [tag for image in client.images.list() for tag in image.tags]
        assert client.df()["Images"]
        assert [network.name for network in client.networks.list(names=["bridge"])] == ["bridge"]
    finally:
        client.close()
