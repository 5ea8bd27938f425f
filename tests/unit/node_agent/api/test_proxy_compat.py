"""Each row of the table of what older engines lack: refused, rewritten, emulated or harmless, never dropped."""

import re
from typing import Any

import pytest

from cluster.api.errors import InvalidArgument
from node_agent.api.engine_call import Call
from node_agent.api.engine_compat import TABLE, Adapted, Emulate, Harmless, Refuse, Rewrite, adapt, reads_body, rows_for
from node_agent.api.messages import Query
from node_agent.api.versions import NEWEST, ApiVersion, EngineVersions

OLD = EngineVersions(ApiVersion(1, 41), ApiVersion(1, 12), "20.10.24", "amd64", "1", "false")


def adapted(
    method: str,
    path: str,
    *,
    query: str = "",
    body: dict[str, Any] | None = None,
    client: ApiVersion = NEWEST,
    engine: EngineVersions = OLD,
) -> Adapted:
    rows = rows_for(TABLE, method=method, path=path, client=client, engine=engine)
    return adapt(Call(method=method, path=path, query=Query(query), body=body), rows, engine)


def create(client: ApiVersion = NEWEST, **members: Any) -> dict[str, Any]:
    return dict(adapted("POST", "/containers/create", body=members, client=client).call.json)


def mount(**members: Any) -> dict[str, Any]:
    return {"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/s", "Target": "/t", **members}]}}


def endpoints(**settings: Any) -> dict[str, Any]:
    return {"NetworkingConfig": {"EndpointsConfig": settings}}


REFUSED_CREATES: dict[str, dict[str, Any]] = {
    "Annotations": {"HostConfig": {"Annotations": {"a": "b"}}},
    "ReadOnlyForceRecursive": mount(ReadOnly=True, BindOptions={"ReadOnlyForceRecursive": True}),
    "StartInterval": {"Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 5_000_000_000}},
    "Subpath": mount(Type="volume", VolumeOptions={"Subpath": "sub"}),
    "TmpfsOptions.Options": mount(Type="tmpfs", TmpfsOptions={"Options": [["noexec"]]}),
    "endpoint.sysctls": endpoints(a={"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.x=1"}}),
    "endpoint.ifname": endpoints(a={"DriverOpts": {"com.docker.network.endpoint.ifname": "eth7"}}),
    "the mount of an image": mount(Type="image"),
    "GwPriority": endpoints(a={"GwPriority": 1}),
    "a MAC address for network b": endpoints(a={}, b={"MacAddress": "02:00:00:00:00:01"}),
}


@pytest.mark.parametrize("thing", REFUSED_CREATES)
def test_what_a_container_cannot_have_on_an_older_engine_is_refused(thing: str) -> None:
    with pytest.raises(
        InvalidArgument, match=rf"{re.escape(thing)}.* needs a container engine with API version 1\.4\d or newer; .* 20\.10\.24 has 1\.41"
    ):
        create(**REFUSED_CREATES[thing])


@pytest.mark.parametrize("thing", REFUSED_CREATES)
def test_a_client_of_the_engines_age_is_left_to_the_engine(thing: str) -> None:
    assert create(ApiVersion(1, 41), **REFUSED_CREATES[thing]) == REFUSED_CREATES[thing]


@pytest.mark.parametrize(
    ("method", "path", "query", "thing"),
    [
        ("POST", "/images/a/b/push", "platform={}", "platform"),
        ("GET", "/images/a/history", "platform={}", "platform"),
        ("GET", "/images/a/get", "platform={}", "platform"),
        ("GET", "/images/get", "names=a&platform={}", "platform"),
        ("POST", "/images/load", "platform={}", "platform"),
        ("GET", "/images/a/json", "platform={}", "platform"),
        ("DELETE", "/images/a", "platforms={}", "platforms"),
        ("POST", "/images/create", "fromSrc=-&platform=linux/arm64", "architecture"),
        ("POST", "/build/prune", "max-used-space=1", "max-used-space"),
        ("POST", "/build/prune", "min-free-space=1", "min-free-space"),
    ],
)
def test_parameters_that_an_older_engine_would_ignore_are_refused(method: str, path: str, query: str, thing: str) -> None:
    with pytest.raises(InvalidArgument, match=thing):
        adapted(method, path, query=query)
    adapted(method, path, query=query, client=ApiVersion(1, 41))
    adapted(method, path, query="stdin=1&stdout=1&stderr=1" if "attach" in path else "")


@pytest.mark.parametrize(
    ("path", "body", "thing"),
    [
        ("/networks/create", {"Name": "n", "EnableIPv4": False}, "EnableIPv4"),
        ("/networks/n/connect", {"Container": "c", "EndpointConfig": {"MacAddress": "02:00:00:00:00:01"}}, "MacAddress"),
        ("/networks/n/connect", {"Container": "c", "EndpointConfig": {"GwPriority": 3}}, "GwPriority"),
        ("/networks/n/connect", {"EndpointConfig": {"DriverOpts": {"com.docker.network.endpoint.sysctls": "x"}}}, "sysctls"),
        ("/networks/n/connect", {"EndpointConfig": {"DriverOpts": {"com.docker.network.endpoint.ifname": "x"}}}, "ifname"),
        ("/volumes/create", {"Name": "v", "ClusterVolumeSpec": {"Group": "g"}}, "ClusterVolumeSpec"),
    ],
)
def test_networks_and_volumes_of_a_newer_kind_are_refused(path: str, body: dict[str, Any], thing: str) -> None:
    with pytest.raises(InvalidArgument, match=thing):
        adapted("POST", path, body=body)


def test_a_mounts_options_must_be_of_its_type() -> None:
    with pytest.raises(InvalidArgument, match="invalid mount config for type 'bind': field TmpfsOptions must not be specified"):
        create(**mount(TmpfsOptions={"SizeBytes": 1}))


def test_an_unknown_wait_condition_is_refused() -> None:
    with pytest.raises(InvalidArgument, match='invalid condition: "never"'):
        adapted("POST", "/containers/c/wait", query="condition=never")
    for condition in ("", "not-running", "next-exit", "removed"):
        adapted("POST", "/containers/c/wait", query=f"condition={condition}")


def test_kernel_memory_is_taken_out_for_clients_that_know_it_means_nothing() -> None:
    assert create(HostConfig={"KernelMemory": 1, "Memory": 2}) == {"HostConfig": {"Memory": 2}}
    assert adapted("POST", "/containers/c/update", body={"KernelMemory": 1, "Memory": 2}).call.body == {"Memory": 2}
    assert create(ApiVersion(1, 41), HostConfig={"KernelMemory": 1}) == {"HostConfig": {"KernelMemory": 1}}


def test_a_bind_whose_source_is_to_be_made_becomes_one_of_the_older_kind() -> None:
    plain = {"Type": "tmpfs", "Target": "/x"}
    asked = {
        "Mounts": [
            plain,
            {
                "Type": "bind",
                "Source": "/s",
                "Target": "/t",
                "ReadOnly": True,
                "BindOptions": {"CreateMountpoint": True, "Propagation": "rslave"},
            },
        ]
    }
    assert create(HostConfig=asked)["HostConfig"] == {"Mounts": [plain], "Binds": ["/s:/t:ro,rslave"]}
    with pytest.raises(InvalidArgument, match="CreateMountpoint of the mount at /t together with NonRecursive"):
        create(**mount(BindOptions={"CreateMountpoint": True, "NonRecursive": True}))
    with pytest.raises(InvalidArgument, match="a path that has a colon"):
        create(**mount(Source="/a:b", BindOptions={"CreateMountpoint": True}))
    unchanged = mount(BindOptions={"CreateMountpoint": False})
    assert create(**unchanged) == unchanged


def test_read_only_without_recursion_is_what_older_engines_do() -> None:
    changed = create(**mount(ReadOnly=True, BindOptions={"ReadOnlyNonRecursive": True, "Propagation": "private"}))
    assert changed["HostConfig"]["Mounts"][0]["BindOptions"] == {"Propagation": "private"}


def test_the_mac_address_of_the_only_network_is_the_containers() -> None:
    changed = create(**endpoints(a={"MacAddress": "02:00:00:00:00:01", "Aliases": ["x"]}))
    assert changed == {"MacAddress": "02:00:00:00:00:01", "NetworkingConfig": {"EndpointsConfig": {"a": {"Aliases": ["x"]}}}}


def test_network_names_are_unique_for_clients_that_expect_it() -> None:
    assert adapted("POST", "/networks/create", body={"Name": "n"}).call.json["CheckDuplicate"] is True
    assert adapted("POST", "/networks/create", body={"Name": "n"}, client=ApiVersion(1, 43)).call.body == {"Name": "n"}


def test_reserved_space_goes_by_its_older_name() -> None:
    assert adapted("POST", "/build/prune", query="reserved-space=5&all=1").call.query.text == "all=1&keep-storage=5"


EMULATED = [
    ("POST", "/containers/create"),
    ("POST", "/containers/c/start"),
    ("POST", "/containers/c/stop"),
    ("POST", "/containers/c/restart"),
    ("POST", "/containers/c/attach"),
    ("GET", "/containers/c/logs"),
    ("POST", "/exec/e/start"),
    ("POST", "/volumes/prune"),
    ("GET", "/images/json"),
    ("GET", "/system/df"),
]


@pytest.mark.parametrize(("method", "path"), EMULATED)
def test_what_takes_several_calls_is_emulated_for_newer_clients_only(method: str, path: str) -> None:
    assert len(adapted(method, path).emulations) == 1
    assert not adapted(method, path, client=ApiVersion(1, 41)).emulations


def test_nothing_is_changed_for_an_engine_that_knows_it_all() -> None:
    newest = OLD._replace(newest=NEWEST)
    for row in TABLE:
        path = row.path.replace("[^/]+", "x").replace(".+", "x").replace("(", "").replace(")", "")
        assert not rows_for(TABLE, method=row.method, path=path, client=NEWEST, engine=newest)


def test_every_row_is_for_a_version_that_we_speak_and_an_older_engine_lacks() -> None:
    assert all(OLD.newest < row.since <= NEWEST for row in TABLE)
    assert {type(row.how) for row in TABLE} == {Refuse, Rewrite, Emulate, Harmless}
    assert all(row.how.because for row in TABLE if isinstance(row.how, Harmless))


def test_only_small_bodies_are_looked_at() -> None:
    assert reads_body("POST", "/containers/create")
    assert reads_body("POST", "/networks/a/b/connect")
    for path in ("/build", "/images/load", "/images/create", "/containers/c/attach", "/session", "/containers/x/archive"):
        assert not reads_body("POST", path)
    assert not reads_body("PUT", "/containers/c/archive")
