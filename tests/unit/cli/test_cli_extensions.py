"""The promise: each of Shoal's own wishes can be said by a flag and in a stack file, and what cannot be meant is refused by name."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cli import extensions
from cli.commands.node import _ordered
from cli.commands.service_history import rows
from cli.commands.why import service_lines
from cli.difference import Change, changes, restarts
from cli.errors import ApiError, CliError
from cli.flags.grammar import Flags, read
from cli.flags.service import CREATE, UPDATE
from cli.tasks import explain

SECOND = 1_000_000_000


def asked(*words: str, current: dict[str, Any] | None = None, update: bool = False) -> dict[str, Any]:
    headers = extensions.of_flags(read(words, UPDATE if update else CREATE).flags, current)
    found: dict[str, Any] = json.loads(base64.b64decode(headers[extensions.HEADER]))
    return found


@pytest.mark.parametrize(
    ("words", "stack", "members"),
    [
        (["--restart-backoff", "1m"], {"restart_backoff": "1m"}, {"RestartBackoff": 60 * SECOND}),
        (["--restart-backoff", "0"], {"restart_backoff": "off"}, {"RestartBackoff": 0}),
        (["-p", "10.0.0.1:8080:80"], {"publish_on": {8080: "10.0.0.1"}}, {"PublishOn": {"8080/tcp": "10.0.0.1"}}),
        (
            ["-p", "10.0.0.1:53-54:53-54/udp"],
            {"publish_on": {"53/udp": "10.0.0.1", "54/udp": "10.0.0.1"}},
            {"PublishOn": {"53/udp": "10.0.0.1", "54/udp": "10.0.0.1"}},
        ),
        (
            ["--publish", "target=80,published=8080,address=10.0.0.1,mode=host"],
            {"publish_on": {"8080/tcp": "10.0.0.1"}},
            {"PublishOn": {"8080/tcp": "10.0.0.1"}},
        ),
        (["--rebalance", "2"], {"rebalance": 2}, {"Rebalance": 2}),
        (["--on-disconnect=stop"], {"on_disconnect": "stop"}, {"OnDisconnect": "stop"}),
        (["--endpoint-affinity", "client-ip"], {"endpoint_affinity": "client-ip"}, {"EndpointAffinity": "client-ip"}),
        (["--endpoint-prefer-local"], {"endpoint_prefer_local": True}, {"EndpointPreferLocal": True}),
        (["--endpoint-prefer-local=false"], {"endpoint_prefer_local": False}, {"EndpointPreferLocal": False}),
        (
            ["--readiness-cmd", "test -f /ok", "--readiness-interval", "2s", "--readiness-retries", "4"],
            {"readiness": {"test": "test -f /ok", "interval": "2s", "retries": 4}},
            {"Readiness": {"Test": ["CMD-SHELL", "test -f /ok"], "Interval": 2 * SECOND, "Retries": 4}},
        ),
        (
            ["--readiness-http", "8080/healthz", "--readiness-timeout", "1s"],
            {"readiness": {"http": "8080/healthz", "timeout": "1s"}},
            {"Readiness": {"Test": ["HTTP", "8080/healthz"], "Timeout": SECOND}},
        ),
        (["--readiness-tcp", "5432"], {"readiness": {"tcp": 5432}}, {"Readiness": {"Test": ["TCP", "5432"]}}),
        (
            ["--depends-on", "db", "--depends-on", "job:service_completed_successfully"],
            {"depends_on": {"db": None, "job": {"condition": "service_completed_successfully"}}},
            {"DependsOn": [{"Service": "db"}, {"Service": "job", "Condition": "service_completed_successfully"}]},
        ),
        (
            ["--device", "/dev/kvm:r", "--device", "/dev/a:/dev/b"],
            {"devices": ["/dev/kvm:r", "/dev/a:/dev/b"]},
            {
                "Devices": [
                    {"PathOnHost": "/dev/kvm", "PathInContainer": "/dev/kvm", "CgroupPermissions": "r"},
                    {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rwm"},
                ]
            },
        ),
        (["--gpus", "all"], {"gpus": "all"}, {"DeviceRequests": [{"Capabilities": [["gpu"]], "Count": -1}]}),
        (
            ["--gpus", "device=u1,u2"],
            {"gpus": "device=u1,u2"},
            {"DeviceRequests": [{"Capabilities": [["gpu"]], "DeviceIDs": ["u1", "u2"]}]},
        ),
    ],
)
def test_flags_and_stack_files_ask_for_the_same(words: list[str], stack: dict[str, Any], members: dict[str, Any]) -> None:
    assert asked(*words) == members
    assert extensions.members_of_stack(stack, "web") == members


def test_an_update_keeps_what_it_does_not_name() -> None:
    current = {"Rebalance": 1, "Readiness": {"Test": ["CMD", "a"], "Interval": 1}, "PendingReason": "x", "Rebalancing": {}}
    assert asked("--readiness-retries", "2", current=current, update=True) == {
        "Rebalance": 1,
        "Readiness": {"Test": ["CMD", "a"], "Interval": 1, "Retries": 2},
    }
    assert asked("--no-readiness", current=current, update=True) == {"Rebalance": 1, "Readiness": None}
    assert asked("--depends-on", "", current={"DependsOn": [1]}, update=True) == {"DependsOn": []}


@pytest.mark.parametrize(
    "words",
    [
        ["--device", "kvm"],
        ["--gpus", "some"],
        ["--depends-on", ":x"],
        ["--readiness-interval", "1s"],
        ["--readiness-tcp", "1", "--readiness-cmd", "x"],
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused(words: list[str]) -> None:
    with pytest.raises(CliError):
        extensions.of_flags(read(words, CREATE).flags)


@pytest.mark.parametrize(
    "written",
    [
        {"readiness": "x"},
        {"readiness": {}},
        {"readiness": {"test": "a", "x": 1}},
        {"readiness": {"test": "a", "tcp": 1}},
        {"gpus": "x"},
        {"devices": 5},
        {"depends_on": 5},
        {"endpoint_prefer_local": "yes"},
    ],
)
def test_a_stack_files_wish_that_cannot_be_meant_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(CliError, match="service web: x-shoal"):
        extensions.members_of_stack(written, "web")


def test_nothing_asked_is_nothing_sent() -> None:
    assert extensions.of_flags(Flags({"name": "web"})) == {}


# -- the order of a drain ----------------------------------------------------------------------------------------------------------------
def test_the_order_of_a_drain_is_a_label_for_as_long_as_it_lasts() -> None:
    assert _ordered({"a": "b"}, "start-first", availability="drain") == {"a": "b", "io.shoal.drain-order": "start-first"}
    assert _ordered({"io.shoal.drain-order": "start-first"}, "", availability="active") == {}
    for order, availability in (("start-first", "active"), ("sideways", "drain")):
        with pytest.raises(CliError):
            _ordered({}, order, availability=availability)


# -- why ---------------------------------------------------------------------------------------------------------------------------------
def test_an_answer_is_shown_service_task_and_node_by_node() -> None:
    nodes = [{"Refused": [f"memory: needs 2 GiB; n{number} has 1 GiB free of 4 GiB"]} for number in range(3)]
    task = {"ID": "t" * 25, "Name": "web.2", "State": "pending", "DesiredState": "running", "Reasons": ["no suitable node"], "Nodes": nodes}
    answer = {"Name": "web", "RunningTasks": 1, "DesiredTasks": 2, "Reasons": ["update: paused: x"], "Tasks": [task]}
    assert list(service_lines(answer, nodes=2)) == [
        "web: 1 of 2 tasks serve",
        "  update: paused: x",
        "  web.2 (tttttttttttt), pending, wanted running:",
        "    no suitable node",
        "      memory: needs 2 GiB; n0 has 1 GiB free of 4 GiB",
        "      memory: needs 2 GiB; n1 has 1 GiB free of 4 GiB",
        "      and 1 more nodes (--nodes 0 shows them)",
    ]


# -- differences and history -------------------------------------------------------------------------------------------------------------
def spec(image: str = "a", **members: Any) -> dict[str, Any]:
    return {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": image}}, "Mode": {"Replicated": {"Replicas": 1}}, **members}


def test_what_the_daemon_fills_in_is_no_difference() -> None:
    filled = {
        **spec(),
        "TaskTemplate": {"ContainerSpec": {"Image": "a", "Isolation": "default", "Env": []}, "Runtime": "container", "ForceUpdate": 3},
        "EndpointSpec": {"Mode": "vip"},
        "Labels": {},
    }
    assert changes(spec(), filled) == []


def test_entries_are_known_by_name_not_by_place() -> None:
    networks = [{"Target": "a"}, {"Target": "b", "Aliases": ["x", "y"]}]
    before, after = spec(TaskTemplate={"Networks": networks}), spec(TaskTemplate={"Networks": networks[::-1]})
    assert changes(before, after) == []
    gone = changes(before, spec(TaskTemplate={"Networks": networks[:1]}))
    assert [str(one) for one in gone] == [
        "TaskTemplate.Networks[b].Aliases: x y -> (none)",
        "TaskTemplate.Networks[b].Target: b -> (none)",
    ]


def test_only_the_template_and_a_tasks_own_ports_and_devices_restart() -> None:
    assert restarts(changes(spec("a"), spec("b")))
    assert not restarts(changes(spec(), spec(Labels={"x": "y"}, Mode={"Replicated": {"Replicas": 5}})))
    host = {"Ports": [{"TargetPort": 80, "PublishMode": "host"}]}
    assert restarts(changes(spec(), spec(EndpointSpec=host)))
    assert not restarts(changes(spec(), spec(EndpointSpec={"Ports": [{"TargetPort": 80, "PublishedPort": 80}]})))
    assert restarts([Change("Shoal.Devices[0].PathOnHost", "", "/dev/kvm")])


def test_history_tells_what_each_version_changed() -> None:
    specs = [
        {"Version": {"Index": 9}, "ReplacedAt": "0001-01-01T00:00:00Z", "Spec": spec("b"), "Shoal": {"Rebalance": 1}},
        {"Version": {"Index": 4}, "ReplacedAt": "2026-01-01T00:00:00Z", "Spec": spec("a")},
    ]
    found = rows(specs, whole=True)
    assert [(row["Version"], row["Image"]) for row in found] == [("9", "b"), ("4", "a")]
    assert found[0]["Replaced"] == ""
    assert found[0]["Changes"] == "Shoal.Rebalance: (none) -> 1; TaskTemplate.ContainerSpec.Image: a -> b"


class Explains:
    """A daemon that knows why, or one that does not know the question."""

    def __init__(self, *, knows: bool) -> None:
        self._knows = knows

    def get(self, path: str) -> Any:
        if not self._knows:
            raise ApiError(404, "page not found")
        return {"Nodes": [{"Refused": [f"cpu: needs 9; n{number} has 1 free of 4"]} for number in range(5)]}


@pytest.mark.parametrize(
    ("knows", "said"),
    [
        (
            True,
            "no suitable node; "
            + "; ".join(f"cpu: needs 9; n{number} has 1 free of 4" for number in range(3))
            + "; and 2 more nodes: shoal task why t1",
        ),
        (False, "no suitable node"),
    ],
)
def test_a_waiting_task_in_full_tells_what_the_nearest_nodes_lack(knows: bool, said: str) -> None:
    waiting = {"ID": "t1", "Status": {"State": "pending", "Err": "no suitable node"}}
    running = {"ID": "t2", "Status": {"State": "running"}}
    explain(Explains(knows=knows), [waiting, running])  # type: ignore[arg-type] # all that is asked of a client
    assert (waiting["Status"]["Err"], running["Status"]) == (said, {"State": "running"})


def test_a_port_that_is_published_anew_has_the_address_of_then() -> None:
    current = {"PublishOn": {"8080/tcp": "10.0.0.1", "53/udp": "10.0.0.1"}}
    moved = asked("--publish-add", "10.0.0.2:8080:80", current=current, update=True)
    assert moved["PublishOn"] == {"8080/tcp": "10.0.0.2", "53/udp": "10.0.0.1"}
    assert asked("--publish-add", "8080:80", current=current, update=True)["PublishOn"] == {"53/udp": "10.0.0.1"}
    assert extensions.of_flags(read(["--publish-add", "81:81"], UPDATE).flags, current) == {}


@pytest.mark.parametrize("text", ["10.0.0.1::80", "::1:80:80", "host:80:80", "target=80,address=10.0.0.1"])
def test_an_address_needs_a_published_port_and_is_one(text: str) -> None:
    with pytest.raises(CliError, match="address"):
        asked("-p", text)
