"""The promise: before a deploy one sees what it would do, in terms of what is there; and waiting for one ends, with the reason."""

from __future__ import annotations

import base64
import json
import textwrap
from typing import Any

import msgspec
import pytest

from cli import extensions
from cli.convergence import TRIES, View, Watch
from cli.errors import ApiError, Unconverged
from cli.progress import follow
from cli.stack_plan import Present, differs, lines, refused, steps
from cluster.api.specs import ServiceSpec
from manager.controlapi.normalize import normalized
from node_agent.api.views import service_spec
from stack_specs import convert, loader

FILE = """
services:
  web:
    image: nginx:1
    networks: [front]
    secrets: [key]
    environment: {A: "1"}
    ports: ["8080:80"]
    volumes: ["data:/data"]
    healthcheck: {test: "true"}
    deploy: {replicas: 2, update_config: {parallelism: 2}, rollback_config: {monitor: 1s}, restart_policy: {condition: on-failure}}
    x-shoal: {restart_backoff: 1m}
  db: {image: postgres}
  once: {image: busybox, deploy: {mode: replicated-job}}
  each: {image: busybox, deploy: {mode: global}}
volumes: {data: {}}
networks:
  front: {}
secrets:
  key: {file: ./key}
configs:
  conf: {file: ./conf}
"""


def requests(text: str = FILE) -> convert.StackRequests:
    files = {"/s/stack.yml": textwrap.dedent(text).encode(), "/s/key": b"k", "/s/conf": b"c"}

    def read(path: str) -> bytes:
        return files[path if path.startswith("/") else f"/s/{path.removeprefix('./')}"]

    loaded = loader.load(["/s/stack.yml"], env={}, read=read, working_dir="/s")
    return convert.plan(loaded, name="shop", env={}, read=read)


def deployed(plan: convert.StackRequests) -> Present:
    """A swarm that holds just this, shown as the daemon shows it."""
    services = {}
    for request in plan.services:
        posted = convert.bind_ids(request, {"shop_key": "s1"}, {})
        spec = service_spec(normalized(msgspec.convert(posted, ServiceSpec)))
        task: Any = spec["TaskTemplate"]
        task["ContainerSpec"]["Image"] += "@sha256:" + "0" * 64
        for network in task["Networks"]:
            network["Target"] = {"shop_front": "n1", "shop_default": "n2"}[network["Target"]]
        extensions = {"RestartBackoff": 60_000_000_000} if request.extensions else {}
        services[request.name] = {"Spec": spec, "Shoal": extensions, "ServiceStatus": {"DesiredTasks": 2}}
    return Present(
        networks={"shop_front": {}, "shop_default": {}},
        secrets={one.name: {"Spec": {key: value for key, value in one.body.items() if key != "Data"}} for one in plan.secrets},
        configs={one.name: {"Spec": dict(one.body)} for one in plan.configs},
        services=services,
        network_names={"n1": "shop_front", "n2": "shop_default"},
    )


NOTHING = Present({}, {}, {}, {}, {})


def verbs(plan: convert.StackRequests, present: Present, *, prune: bool = False) -> dict[str, str]:
    return {f"{step.kind} {step.name}": step.verb for step in steps(plan, present, prune=prune)}


def test_a_first_deploy_creates_everything() -> None:
    assert set(verbs(requests(), NOTHING).values()) == {"create"}
    assert {"service shop_web", "network shop_front", "secret shop_key", "config shop_conf"} <= set(verbs(requests(), NOTHING))


def test_what_was_deployed_from_the_same_files_is_left_alone() -> None:
    found = steps(requests(), deployed(requests()), prune=True)
    assert [step for step in found if step.verb != "keep"] == []
    assert not differs(found)


def test_a_change_is_told_member_by_member_and_whether_it_restarts() -> None:
    before = deployed(requests())
    found = steps(requests(FILE.replace("nginx:1", "nginx:2").replace("replicas: 2", "replicas: 3")), before, prune=False)
    (web,) = [step for step in found if step.name == "shop_web"]
    assert (web.verb, web.tasks) == ("update", 2)
    told = list(lines([web]))
    assert told[0] == "~ service shop_web (restarts 2 tasks)"
    assert "    Mode.Replicated.Replicas: 2 -> 3" in told
    assert "    TaskTemplate.ContainerSpec.Image: nginx:1 -> nginx:2" in told
    assert told[-1] == "0 to create, 1 to update, 0 to remove, 0 unchanged"


def test_scaling_and_shoals_own_wishes_restart_nothing() -> None:
    found = steps(requests(FILE.replace("replicas: 2", "replicas: 3").replace("1m", "2m")), deployed(requests()), prune=False)
    (web,) = [step for step in found if step.verb == "update"]
    assert next(lines([web])) == "~ service shop_web (restarts nothing)"
    assert [change.path for change in web.changes] == ["Mode.Replicated.Replicas", "Shoal.RestartBackoff"]


def test_a_wish_that_the_files_no_longer_have_is_taken_back() -> None:
    found = steps(requests(FILE.replace("    x-shoal: {restart_backoff: 1m}\n", "")), deployed(requests()), prune=False)
    (web,) = [step for step in found if step.verb == "update"]
    assert [str(change) for change in web.changes] == ["Shoal.RestartBackoff: 60000000000 -> (none)"]
    assert deployed_header({}, {}, {"RestartBackoff": 1}) == {}
    assert deployed_header({}, {}, {"PendingReason": "x"}) is None
    assert deployed_header({}, {"io.shoal.gpus": "1"}, {"DeviceRequests": []}) is None
    assert deployed_header({"rebalance": 1}, {}, None) == {"Rebalance": 1}


def deployed_header(written: dict[str, Any], labels: dict[str, str], current: dict[str, Any] | None) -> Any:
    """What the header of a deploy says; None for no header."""
    headers = extensions.deployed(written, "web", labels, current)
    return json.loads(base64.b64decode(headers[extensions.HEADER])) if headers else None


def test_what_the_files_no_longer_name_goes_only_with_prune() -> None:
    text = FILE.replace("  db: {image: postgres}\n", "")
    assert verbs(requests(text), deployed(requests()))["service shop_db"] == "keep"
    assert verbs(requests(text), deployed(requests()), prune=True)["service shop_db"] == "remove"


def test_the_content_of_a_config_is_compared_and_not_shown() -> None:
    present = deployed(requests())
    present.configs["shop_conf"]["Spec"]["Data"] = "b3RoZXI="
    (conf,) = [step for step in steps(requests(), present, prune=False) if step.verb != "keep"]
    assert list(lines([conf]))[1] == "    Data: (content) -> (other content)"


def test_what_the_daemon_will_refuse_is_said_beforehand() -> None:
    present = deployed(requests())
    present.configs["shop_conf"]["Spec"]["Data"] = "b3RoZXI="
    present.secrets["shop_key"]["Spec"]["Labels"] = {"a": "b"}
    found = [step for step in steps(requests(), present, prune=False) if step.verb != "keep"]
    assert [(step.name, step.verb) for step in found] == [("shop_key", "update"), ("shop_conf", "refused")]
    assert (refused(found), refused(found[:1])) == (True, False)
    told = list(lines(found))
    assert "! config shop_conf: only labels of a config can change; give what is new another name" in told
    assert told[-1] == "0 to create, 1 to update, 0 to remove, 0 unchanged, 1 that would be refused"


# -- waiting -----------------------------------------------------------------------------------------------------------------------------
def task(state: str, number: int, err: str = "") -> dict[str, Any]:
    status = {"State": state, "Timestamp": f"2026-01-01T00:00:0{number}Z", "Err": err}
    return {"ID": f"t{number}", "Slot": 1, "Status": status, "DesiredState": "shutdown" if number < TRIES else "ready"}


def test_a_replica_that_keeps_failing_ends_the_wait_with_its_reason() -> None:
    view, service = View((), (), converged=False), {"ID": "s", "Spec": {}}
    failed = [task("rejected", number, "No such image: x") for number in range(1, TRIES + 1)]
    assert not Watch("s").seen(service, view, failed[1:], now=0).failure
    assert Watch("s").seen(service, view, failed, now=0).failure == f"replica 1 keeps failing (task t{TRIES}: No such image: x)"
    failed[-1]["Status"]["Err"] = "No such image: x:\n" + "y" * 300
    assert Watch("s").seen(service, view, failed, now=0).failure.endswith(f"No such image: x: {'y' * 300})"), "the end tells it whole"
    running = [*failed, task("running", 9)]
    assert not Watch("s").seen(service, view, running, now=0).failure


class Daemon:
    """A service whose one task waits for ever; one that can say why, or cannot."""

    def __init__(self, *, says_why: bool) -> None:
        self._says_why = says_why

    def get(self, path: str) -> Any:
        if path.endswith("/why"):
            if not self._says_why:
                raise ApiError(404, "page not found")
            tasks = [{"Name": "web.1", "Reasons": ["no suitable node"]}]
            return {"RunningTasks": 0, "DesiredTasks": 1, "Reasons": ["start order: waiting for db"], "Tasks": tasks}
        return {"ID": "s", "Spec": {"Mode": {"Replicated": {"Replicas": 1}}}}

    def list(self, path: str, filters: object = None) -> list[Any]:
        return []


class Here:
    def __init__(self, daemon: Daemon) -> None:
        self.client = daemon


@pytest.mark.parametrize(
    ("says_why", "reason"),
    [(True, "0 of 1 tasks serve; start order: waiting for db; web.1: no suitable node"), (False, "0 out of 1 tasks")],
)
def test_a_wait_that_takes_too_long_ends_with_two_and_the_reason(says_why: bool, reason: str) -> None:
    times = iter(range(100))
    with pytest.raises(Unconverged) as late:
        follow(
            Here(Daemon(says_why=says_why)),  # type: ignore[arg-type] # all that a wait needs of a session
            "s",
            quiet=True,
            deadline=5,
            clock=lambda: float(next(times)),
            pause=lambda _: None,
        )
    assert late.value.code == 2
    assert late.value.message == f"it did not converge in time: {reason}"
