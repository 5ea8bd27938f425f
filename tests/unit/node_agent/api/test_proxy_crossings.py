"""Where both worlds meet: sockets, networks, and what is shown of our bridges."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from cluster.api.errors import Forbidden
from node_agent.api.crossings import (
    EngineEndpoint,
    NoCrossings,
    ShownNetwork,
    is_shadow,
    shown_container,
    shown_event,
    shown_refusal,
    with_engine_networks,
    with_our_socket,
)
from node_agent.api.messages import EngineReply, Headers

OURS = "/run/shoal/shoal.sock"


@pytest.mark.parametrize(
    ("bind", "becomes"),
    [
        ("/var/run/docker.sock:/var/run/docker.sock", f"{OURS}:/var/run/docker.sock"),
        ("/run/docker.sock:/x:ro", f"{OURS}:/x:ro"),
        ("/var/run//./docker.sock:/x", f"{OURS}:/x"),
        ("/var/run/docker.sock.bak:/x", "/var/run/docker.sock.bak:/x"),
        ("docker.sock:/var/run/docker.sock", "docker.sock:/var/run/docker.sock"),
        ("/var/run:/var/run", "/var/run:/var/run"),
    ],
)
def test_a_bind_of_the_engines_socket_is_one_of_ours(bind: str, becomes: str) -> None:
    assert with_our_socket({"Binds": ["/a:/b", bind]}, socket_path=OURS) == {"Binds": ["/a:/b", becomes]}


def test_so_is_a_mount_of_it() -> None:
    asked = {
        "Mounts": [{"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/d"}, {"Type": "volume", "Source": "/run/docker.sock"}],
        "Init": True,
    }
    changed = with_our_socket(asked, socket_path=OURS)
    assert changed == {
        "Mounts": [{"Type": "bind", "Source": OURS, "Target": "/d"}, {"Type": "volume", "Source": "/run/docker.sock"}],
        "Init": True,
    }


def test_other_containers_are_left_alone() -> None:
    asked = {"Binds": None, "Mounts": None}
    assert with_our_socket(asked, socket_path=OURS) is asked


class OneNetwork:
    """A node with one network of the cluster, `web`."""

    def __init__(self, nameserver: str = "") -> None:
        self.nameserver = nameserver
        self.asked_for: list[Mapping[str, Any]] = []
        self.withdrawn: list[EngineEndpoint] = []

    async def endpoint(self, network: str, settings: Mapping[str, Any], *, container: Mapping[str, Any]) -> EngineEndpoint | None:
        self.asked_for.append(container)
        if network == "locked":
            raise Forbidden("network locked is not attachable")
        if network != "web":
            return None
        given = {**settings, "IPAMConfig": {"IPv4Address": "10.0.1.9"}}
        return EngineEndpoint("shoal-0123456789ab", given, nameserver=self.nameserver)

    async def withdraw(self, endpoints: Sequence[EngineEndpoint]) -> None:
        self.withdrawn += endpoints

    async def joined(self) -> None:
        return

    def engine_name(self, network: str) -> str | None:
        return "shoal-0123456789ab" if network == "web" else None

    def shown(self, bridge: str) -> ShownNetwork | None:
        return ShownNetwork("netid", "web") if bridge == "shoal-0123456789ab" else None


async def test_a_network_of_the_cluster_goes_by_the_engines_name_and_gets_our_address() -> None:
    body, made = await with_engine_networks({"Image": "x", "HostConfig": {"NetworkMode": "web", "Init": True}}, OneNetwork())
    settings = {"IPAMConfig": {"IPv4Address": "10.0.1.9"}}
    assert body == {
        "Image": "x",
        "HostConfig": {"NetworkMode": "shoal-0123456789ab", "Init": True},
        "NetworkingConfig": {"EndpointsConfig": {"shoal-0123456789ab": settings}},
    }
    assert made == [EngineEndpoint("shoal-0123456789ab", settings)]


async def test_such_a_container_asks_for_names_where_the_network_answers_them() -> None:
    node = OneNetwork(nameserver="10.0.1.1")
    body, _ = await with_engine_networks({"HostConfig": {"NetworkMode": "web", "Dns": ["9.9.9.9"]}}, node, name="box")
    assert body["HostConfig"]["Dns"] == ["10.0.1.1"]
    assert node.asked_for == [{"Name": "box", "HostConfig": {"NetworkMode": "web", "Dns": ["9.9.9.9"]}}]


async def test_what_was_made_ready_is_given_back_when_another_network_refuses() -> None:
    node = OneNetwork()
    asked = {"HostConfig": {"NetworkMode": "web"}, "NetworkingConfig": {"EndpointsConfig": {"web": {}, "locked": {}}}}
    with pytest.raises(Forbidden):
        await with_engine_networks(asked, node)
    assert [endpoint.network for endpoint in node.withdrawn] == ["shoal-0123456789ab"]


async def test_the_settings_of_an_endpoint_and_other_networks_are_kept() -> None:
    asked = {
        "HostConfig": {"NetworkMode": "local"},
        "NetworkingConfig": {"EndpointsConfig": {"local": {"Aliases": ["a"]}, "web": {"Aliases": ["b"]}}},
    }
    body, _ = await with_engine_networks(asked, OneNetwork())
    assert body["NetworkingConfig"]["EndpointsConfig"] == {
        "local": {"Aliases": ["a"]},
        "shoal-0123456789ab": {"Aliases": ["b"], "IPAMConfig": {"IPv4Address": "10.0.1.9"}},
    }
    assert body["HostConfig"] == {"NetworkMode": "local"}


@pytest.mark.parametrize("mode", ["", "default", "bridge", "host", "none", "container:abc", "local"])
async def test_networks_of_the_engine_are_left_alone(mode: str) -> None:
    asked = {"HostConfig": {"NetworkMode": mode}}
    assert await with_engine_networks(asked, OneNetwork()) == (asked, ())
    assert await with_engine_networks(asked, NoCrossings()) == (asked, ())


async def test_a_refusal_reaches_the_client() -> None:
    with pytest.raises(Forbidden):
        await with_engine_networks({"HostConfig": {"NetworkMode": "locked"}}, OneNetwork())


def test_a_container_shows_the_clusters_names() -> None:
    shown = shown_container(
        {
            "Id": "c",
            "HostConfig": {"NetworkMode": "shoal-0123456789ab"},
            "NetworkSettings": {
                "Ports": {},
                "Networks": {"shoal-0123456789ab": {"NetworkID": "engine", "IPAddress": "10.0.1.9"}, "bridge": {"NetworkID": "b"}},
            },
        },
        OneNetwork(),
    )
    assert shown == {
        "Id": "c",
        "HostConfig": {"NetworkMode": "web"},
        "NetworkSettings": {
            "Ports": {},
            "Networks": {"web": {"NetworkID": "netid", "IPAddress": "10.0.1.9"}, "bridge": {"NetworkID": "b"}},
        },
    }


def test_a_shadow_is_known_by_label_or_name() -> None:
    assert is_shadow({"Name": "x", "Labels": {"shoal.network": "n"}})
    assert is_shadow({"Name": "shoal-0123456789ab", "Labels": None})
    assert not is_shadow({"Name": "shoal-mine", "Labels": {}})
    assert not is_shadow({"Name": "shoal", "Labels": {}})


def network_event(action: str, name: str) -> bytes:
    return b'{"Type":"network","Action":"%b","Actor":{"ID":"e","Attributes":{"container":"c","name":"%b","type":"bridge"}}}\n' % (
        action.encode(),
        name.encode(),
    )


def test_an_event_of_a_bridge_of_ours_is_one_of_the_clusters_network() -> None:
    shown = shown_event(network_event("connect", "shoal-0123456789ab"), OneNetwork())
    assert shown is not None
    assert msgspec.json.decode(shown)["Actor"] == {"ID": "netid", "Attributes": {"container": "c", "name": "web", "type": "overlay"}}


def test_the_coming_and_going_of_a_bridge_of_ours_is_not_told() -> None:
    assert shown_event(network_event("create", "shoal-0123456789ab"), OneNetwork()) is None
    assert shown_event(network_event("connect", "shoal-ffffffffffff"), OneNetwork()) is None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("endpoint with name g1 already exists in network shoal-0123456789ab", "endpoint with name g1 already exists in network web"),
        ("container c1 is not connected to network shoal-0123456789ab", "container c1 is not connected to network web"),
        ("network shoal-ffffffffffff not found", "network shoal-ffffffffffff not found"),
        ("image my-shoal-0123456789abc is not here", "image my-shoal-0123456789abc is not here"),
    ],
)
def test_what_the_engine_says_of_a_bridge_of_ours_is_said_of_the_clusters_network(said: str, shown: str) -> None:
    answer = shown_refusal(EngineReply(status=403, headers=Headers(), body=msgspec.json.encode({"message": said})), OneNetwork())
    assert (answer.status, msgspec.json.decode(answer.body)) == (403, {"message": shown})


def test_other_events_are_told_as_they_are() -> None:
    for line in (
        network_event("connect", "bridge"),
        network_event("create", "shoal-mine"),
        b'{"Type":"container","x":"shoal-0123456789ab"}\n',
    ):
        assert shown_event(line, OneNetwork()) == line
