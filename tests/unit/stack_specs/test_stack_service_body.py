"""A service's body is what the docker CLI sends for it."""

import pytest

from stack_specs.errors import StackError
from stack_specs.values import Json
from tests.unit.stack_specs.stack_files import container, planned, service_body, stack_of

SECOND = 10**9


def task(lines: str, rest: str = "") -> dict[str, Json]:
    body = service_body(lines, rest)["TaskTemplate"]
    assert isinstance(body, dict)
    return body


def refusal(lines: str, rest: str = "") -> str:
    with pytest.raises(StackError) as caught:
        planned(stack_of(lines, rest))
    return str(caught.value)


def test_the_least_that_is_sent() -> None:
    assert service_body("") == {
        "Name": "shop_web",
        "Labels": {"com.docker.stack.namespace": "shop", "com.docker.stack.image": "nginx"},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "nginx:latest",
                "Labels": {"com.docker.stack.namespace": "shop"},
                "Privileges": {"NoNewPrivileges": False},
            },
            "Resources": {},
            "Placement": {},
            "Networks": [{"Target": "shop_default", "Aliases": ["web"]}],
            "ForceUpdate": 0,
        },
        "Mode": {"Replicated": {}},
        "EndpointSpec": {},
    }


@pytest.mark.parametrize(
    ("lines", "member", "value"),
    [
        ("command: a b", "Args", ["a", "b"]),
        ("entrypoint: [a]", "Command", ["a"]),
        ("hostname: '{{.Node.Hostname}}'", "Hostname", "{{.Node.Hostname}}"),
        ("extra_hosts: ['a:1.1.1.1', 'b:::1']", "Hosts", ["1.1.1.1 a", "::1 b"]),
        ("dns: 1.1.1.1\ndns_search: x", "DNSConfig", {"Nameservers": ["1.1.1.1"], "Search": ["x"]}),
        ("dns_search: [x]", "DNSConfig", {"Search": ["x"]}),
        ("environment: {Z: 1, A: , B: ''}", "Env", ["A", "B=", "Z=1"]),
        ("labels: {a: b}", "Labels", {"a": "b", "com.docker.stack.namespace": "shop"}),
        ("working_dir: /x", "Dir", "/x"),
        ("user: '1:1'", "User", "1:1"),
        ("stop_signal: SIGINT", "StopSignal", "SIGINT"),
        ("stop_grace_period: 0s", "StopGracePeriod", 0),
        ("stop_grace_period: 1m30s", "StopGracePeriod", 90 * SECOND),
        ("tty: true", "TTY", True),
        ("stdin_open: true", "OpenStdin", True),
        ("read_only: true", "ReadOnly", True),
        ("init: false", "Init", False),
        ("isolation: process", "Isolation", "process"),
        ("sysctls: {a: 1}", "Sysctls", {"a": "1"}),
        ("cap_add: [net_admin, CAP_SYS_TIME, ' sys_time ']", "CapabilityAdd", ["CAP_NET_ADMIN", "CAP_SYS_TIME"]),
        ("cap_add: [a]\ncap_drop: [ALL, a]", "CapabilityDrop", ["ALL"]),
        ("cap_add: [a]\ncap_drop: [b, a]", "CapabilityDrop", ["CAP_B"]),
        ("ulimits: {b: 5, a: {soft: 1, hard: 2}}", "Ulimits", [{"Name": "a", "Soft": 1, "Hard": 2}, {"Name": "b", "Soft": 5, "Hard": 5}]),
        ("healthcheck: {disable: true}", "Healthcheck", {"Test": ["NONE"]}),
        ("healthcheck: {}", "Healthcheck", {}),
        (
            "healthcheck: {test: x, interval: 1s, timeout: 2s, retries: 3, start_period: 4s, start_interval: 5s}",
            "Healthcheck",
            {
                "Test": ["CMD-SHELL", "x"],
                "Interval": SECOND,
                "Timeout": 2 * SECOND,
                "Retries": 3,
                "StartPeriod": 4 * SECOND,
                "StartInterval": 5 * SECOND,
            },
        ),
    ],
)
def test_a_member_of_the_container(lines: str, member: str, value: Json) -> None:
    assert container(lines)[member] == value


@pytest.mark.parametrize(
    "member",
    ["Args", "Command", "Hosts", "DNSConfig", "Env", "Mounts", "Secrets", "Configs", "TTY", "Init", "CapabilityAdd", "Healthcheck"],
)
def test_what_is_not_written_is_not_sent(member: str) -> None:
    assert member not in container("")


@pytest.mark.parametrize(
    ("deploy", "mode"),
    [
        ("{}", {"Replicated": {}}),
        ("{replicas: 0}", {"Replicated": {"Replicas": 0}}),
        ("{mode: replicated, replicas: 3}", {"Replicated": {"Replicas": 3}}),
        ("{mode: global}", {"Global": {}}),
        ("{mode: replicated-job}", {"ReplicatedJob": {}}),
        ("{mode: replicated-job, replicas: 4}", {"ReplicatedJob": {"MaxConcurrent": 4, "TotalCompletions": 4}}),
        ("{mode: global-job}", {"GlobalJob": {}}),
    ],
)
def test_the_mode(deploy: str, mode: Json) -> None:
    assert service_body(f"deploy: {deploy}")["Mode"] == mode


def test_a_rollout() -> None:
    assert service_body("deploy: {update_config: {}}")["UpdateConfig"] == {"Parallelism": 1, "MaxFailureRatio": 0.0, "Order": ""}
    body = service_body(
        "deploy: {rollback_config: {parallelism: 0, delay: 5s, monitor: 1s, failure_action: pause,"
        " order: stop-first, max_failure_ratio: 0.3}}"
    )
    assert body["RollbackConfig"] == {
        "Parallelism": 0,
        "MaxFailureRatio": 0.3,
        "Order": "stop-first",
        "Delay": 5 * SECOND,
        "FailureAction": "pause",
        "Monitor": SECOND,
    }
    assert "UpdateConfig" not in body


def test_resources() -> None:
    body = task(
        """
        deploy:
          resources:
            limits: {cpus: '0.5', memory: 1k, pids: 7}
            reservations: {memory: 512, generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]}
        """.replace("memory: 512", "memory: '512'")
    )
    assert body["Resources"] == {
        "Limits": {"NanoCPUs": SECOND // 2, "MemoryBytes": 1024, "Pids": 7},
        "Reservations": {"MemoryBytes": 512, "GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}]},
    }


def test_placement() -> None:
    body = task("deploy: {placement: {constraints: [a==b], preferences: [{spread: x}, {}], max_replicas_per_node: 2}}")
    assert body["Placement"] == {
        "Constraints": ["a==b"],
        "Preferences": [{"Spread": {"SpreadDescriptor": "x"}}, {"Spread": {"SpreadDescriptor": ""}}],
        "MaxReplicas": 2,
    }


def test_logging() -> None:
    assert task("logging: {driver: syslog, options: {a: 1}}")["LogDriver"] == {"Name": "syslog", "Options": {"a": "1"}}
    assert task("logging: {}")["LogDriver"] == {}
    assert "LogDriver" not in task("")


def test_ports_are_sorted_by_what_is_published() -> None:
    assert service_body("ports: ['90:9', '80:8/udp', {target: 7, mode: host}]\ndeploy: {endpoint_mode: DNSRR}")["EndpointSpec"] == {
        "Mode": "dnsrr",
        "Ports": [
            {"TargetPort": 7, "PublishMode": "host"},
            {"Protocol": "udp", "TargetPort": 8, "PublishedPort": 80, "PublishMode": "ingress"},
            {"Protocol": "tcp", "TargetPort": 9, "PublishedPort": 90, "PublishMode": "ingress"},
        ],
    }


def test_networks_are_targeted_by_name_and_sorted() -> None:
    rest = "networks: {zoo: , out: {external: true, name: a-net}, here: {name: real}, host: {external: true}}"
    body = task("networks: {zoo: {aliases: [z], driver_opts: {k: v}}, out: , here: , host: }", rest)
    assert body["Networks"] == [
        {"Target": "a-net", "Aliases": ["web"]},
        {"Target": "host"},
        {"Target": "real", "Aliases": ["web"]},
        {"Target": "shop_zoo", "Aliases": ["z", "web"], "DriverOpts": {"k": "v"}},
    ]


def test_the_default_network_can_be_described() -> None:
    assert task("", "networks: {default: {external: true, name: own}}")["Networks"] == [{"Target": "own", "Aliases": ["web"]}]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("networks: [nope]", 'services.web.networks.nope: undefined network "nope"'),
        ("deploy: {mode: daemonset}", "services.web.deploy.mode: Unknown mode: daemonset; use replicated, global"),
        ("deploy: {mode: global, replicas: 2}", "services.web.deploy.replicas: replicas can only be used with replicated"),
        ("deploy: {resources: {limits: {cpus: lots}}}", "services.web.deploy.resources.limits.cpus: 'lots' is not a number of CPUs"),
        ("healthcheck: {disable: true, test: x}", "services.web.healthcheck.disable: test and disable can't be set at the same time"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_line(lines: str, says: str) -> None:
    assert refusal(lines).startswith("stack1.yml:4: ")
    assert says in refusal(lines)
