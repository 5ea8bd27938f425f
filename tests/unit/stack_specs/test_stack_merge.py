"""Several files lie over one another as docker lays them, service keys by rules, everything else whole."""

import pytest

from stack_specs.model import Service
from tests.unit.stack_specs.stack_files import loaded, stack_of


def merged(base: str, over: str) -> Service:
    return loaded(stack_of(base), stack_of(over)).services[0]


@pytest.mark.parametrize(
    ("key", "base", "over", "value"),
    [
        ("hostname", "hostname: a", "hostname: b", "b"),
        ("hostname", "hostname: a", "hostname: ''", "a"),
        ("tty", "tty: true", "tty: false", True),
        ("init", "init: true", "init: false", True),
        ("init", "", "init: false", False),
        ("init", "init: false", "init: true", True),
        ("dns", "dns: [a, b]", "dns: b", ("a", "b", "b")),
        ("cap_add", "cap_add: [A]", "cap_add: [B]", ("A", "B")),
        ("command", "command: [a, b]", "command: c", ("c",)),
        ("command", "command: [a, b]", "command: []", ("a", "b")),
        ("entrypoint", "", "entrypoint: x y", ("x", "y")),
        ("labels", "labels: {a: 1, b: 2}", "labels: {a: '', c: 3}", {"a": "", "b": "2", "c": "3"}),
        (
            "environment",
            "environment: {A: 1, B: , C: ''}",
            "environment: {A: '', B: 2, C: , D: }",
            {"A": "1", "B": "2", "C": None, "D": None},
        ),
        ("stop_grace_period", "stop_grace_period: 5s", "stop_grace_period: 0s", 5 * 10**9),
        ("extra_hosts", "extra_hosts: ['a:1.1.1.1']", "extra_hosts: {b: 2.2.2.2}", ("a:1.1.1.1", "b:2.2.2.2")),
        ("extras", "x-a: {l: [1], m: {p: 1}}", "x-a: {l: [2], m: {q: 2}}\nx-b: 1", {"x-a": {"l": [1, 2], "m": {"p": 1, "q": 2}}, "x-b": 1}),
    ],
)
def test_a_key_of_a_service(key: str, base: str, over: str, value: object) -> None:
    assert getattr(merged(base, over), key) == value


def test_deploy_is_merged_key_by_key() -> None:
    deploy = merged(
        "deploy: {replicas: 3, labels: {a: 1}, update_config: {parallelism: 2, delay: 5s}, resources: {limits: {cpus: '1', memory: 5m}}}",
        "deploy: {replicas: 0, labels: {b: 2}, update_config: {parallelism: 0}, resources: {limits: {memory: 6m}},"
        " placement: {constraints: [x==y]}}",
    ).deploy
    assert (deploy.replicas, deploy.labels, deploy.placement.constraints) == (0, {"a": "1", "b": "2"}, ("x==y",))
    assert deploy.update_config is not None
    assert (deploy.update_config.parallelism, deploy.update_config.delay) == (0, 5 * 10**9)
    assert deploy.resources.limits is not None
    assert (deploy.resources.limits.cpus, deploy.resources.limits.memory) == ("1", 6 * 2**20)


def test_a_health_check_is_appended_to() -> None:
    check = merged("healthcheck: {test: [CMD, a], retries: 3}", "healthcheck: {test: [CMD, b], retries: 0}").healthcheck
    assert check is not None
    assert (check.test, check.retries) == (("CMD", "a", "CMD", "b"), 0)


def test_ports_are_sorted_and_a_published_port_replaces_the_one_before() -> None:
    ports = merged("ports: ['443:443', '80:80']", "ports: ['80:81/udp']").ports
    assert [(port.published, port.target, port.protocol) for port in ports] == [(80, 81, "udp"), (443, 443, "tcp")]


def test_a_later_file_with_the_service_is_enough_to_sort() -> None:
    assert [mount.target for mount in merged("volumes: ['bb:/b', 'aa:/a', 'cc:/b']", "hostname: x").volumes] == ["/a", "/b"]
    assert [mount.source for mount in merged("volumes: ['bb:/b', 'cc:/b']", "hostname: x").volumes] == ["cc"]


def test_the_first_list_keeps_its_order() -> None:
    assert [mount.target for mount in merged("", "volumes: ['bb:/b', 'aa:/a']").volumes] == ["/b", "/a"]


def test_secrets_are_keyed_by_their_source() -> None:
    secrets = merged("secrets: [b, a]", "secrets: [{source: a, target: z}]").secrets
    assert [(secret.source, secret.target) for secret in secrets] == [("a", "z"), ("b", "")]


@pytest.mark.parametrize(
    ("base", "over", "driver", "options"),
    [
        ("{driver: a, options: {x: 1}}", "{options: {x: 2, y: 3}}", "a", {"x": "2", "y": "3"}),
        ("{driver: a, options: {x: 1}}", "{driver: b}", "b", None),
        ("{options: {x: 1}}", "{driver: b, options: {z: 1}}", "b", {"x": "1", "z": "1"}),
        ("{driver: a}", "{options: {x: 2}}", "a", None),
    ],
)
def test_logging_options_belong_to_a_driver(base: str, over: str, driver: str, options: dict[str, str] | None) -> None:
    logging = merged(f"logging: {base}", f"logging: {over}").logging
    assert logging is not None
    assert (logging.driver, logging.options) == (driver, options)


def test_networks_of_a_service_keep_their_options() -> None:
    networks = merged(
        "networks: {a: {aliases: [x], driver_opts: {k: v}, ipv4_address: 10.0.0.1}, b: }",
        "networks: {a: {aliases: [y]}, b: {aliases: [z]}, c: }",
    ).networks
    assert networks["a"] is not None
    assert (networks["a"].aliases, networks["a"].driver_opts, networks["a"].ipv4_address) == (("y",), {"k": "v"}, "10.0.0.1")
    assert networks["b"] is not None
    assert networks["b"].aliases == ("z",)
    assert networks["c"] is None


def test_ulimits_are_replaced_one_by_one() -> None:
    limits = merged("ulimits: {a: 1, b: {soft: 1, hard: 2}}", "ulimits: {b: 5}").ulimits
    assert {name: (limit.single, limit.soft) for name, limit in limits.items()} == {"a": (1, 0), "b": (5, 0)}


def test_other_objects_are_replaced_whole_and_services_are_added() -> None:
    stack = loaded(
        "x-a: 1\nservices: {web: {image: a}}\nnetworks: {n: {driver: x, labels: {a: b}}, m: }",
        "x-b: 1\nservices: {db: {image: b}}\nnetworks: {n: {attachable: true}}",
    )
    assert [service.name for service in stack.services] == ["web", "db"]
    assert (stack.networks["n"].driver, stack.networks["n"].attachable) == ("", True)
    assert sorted(stack.networks) == ["m", "n"]
    assert stack.extras == {"x-a": 1}
