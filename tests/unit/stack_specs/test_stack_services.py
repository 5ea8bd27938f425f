"""A service is read with its short syntaxes written out, its environment filled in and its paths made absolute."""

import pytest

from stack_specs.errors import StackError
from stack_specs.model import CredentialSpec, FileReference, HealthCheck, Logging, Mount, ServiceNetwork, TmpfsOptions, Ulimit
from stack_specs.ports import Port
from tests.unit.stack_specs.stack_files import loaded, service, stack_of


def refusal(lines: str) -> str:
    with pytest.raises(StackError) as caught:
        loaded(stack_of(lines))
    return str(caught.value)


def test_a_service_without_keys_has_nothing_set() -> None:
    plain = service("")
    assert (plain.name, plain.image, plain.command, plain.deploy.replicas, plain.init) == ("web", "nginx", (), None, None)


@pytest.mark.parametrize(
    ("written", "command"),
    [
        ("command: sh -c 'a b'", ("sh", "-c", "a b")),
        ("command: [sh, -c, 'a b', '']", ("sh", "-c", "a b", "")),
        ("command: []", ()),
        ("command: ''", ()),
    ],
)
def test_a_command_is_a_line_or_a_list(written: str, command: tuple[str, ...]) -> None:
    assert service(written).command == command


def test_an_open_quote_in_a_command_is_refused_with_its_line() -> None:
    assert refusal("command: 'echo \"hi'") == "stack1.yml:4: services.web.command: a double quote is not closed"


def test_variables_without_a_value_come_from_the_client() -> None:
    read = service("environment: {A: , B: '', C: x, D: }", env={"A": "a", "B": "b", "C": "c"})
    assert read.environment == {"A": "a", "B": "b", "C": "x", "D": None}


def test_a_list_of_variables_is_a_mapping() -> None:
    assert service("environment: [A=1, B=x=y, C, D=]").environment == {"A": "1", "B": "x=y", "C": None, "D": ""}


def test_numbers_in_variables_become_text() -> None:
    assert service("environment: {A: 1.50, B: 0x10, C: 1e3, D: ~}").environment == {"A": "1.5", "B": "16", "C": "1000", "D": None}


def test_variables_come_from_files_first_and_from_the_service_last() -> None:
    read = service("env_file: [one.env, two.env]\nenvironment: {B: mine}", one__env="A=1\nB=1\nC=1", two__env="C=2\nD=$A")
    assert read.environment == {"A": "1", "B": "mine", "C": "2", "D": "$A"}
    assert read.env_file == ("one.env", "two.env")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "services.web.env_file.0: cannot read /srv/one.env: No such file or directory"),
        ("A B=1", "services.web.env_file.0: /srv/one.env: line 1: the variable name 'A B' contains whitespace"),
    ],
)
def test_a_bad_env_file_is_refused_at_the_line_that_names_it(content: str | None, says: str) -> None:
    with pytest.raises(StackError, match=f"stack1.yml:5: {says}"):
        service("env_file:\n  - one.env", **({"one__env": content} if content else {}))


@pytest.mark.parametrize(
    ("written", "hosts"),
    [
        ("extra_hosts: ['a:1.1.1.1', 'b=2.2.2.2', 'c:::1', 'd:[::1]', nothing]", ("a:1.1.1.1", "b:2.2.2.2", "c:::1", "d:::1")),
        ("extra_hosts: {b: 2.2.2.2, a: '::1', c: }", ("a:::1", "b:2.2.2.2")),
    ],
)
def test_hosts_keep_the_order_of_a_list_and_are_sorted_from_a_mapping(written: str, hosts: tuple[str, ...]) -> None:
    assert service(written).extra_hosts == hosts


def test_ports_have_a_short_and_a_long_form() -> None:
    read = service("ports: [80, '8080:81/udp', {target: 82, published: 90, mode: host, protocol: tcp}, {target: 83}]")
    assert read.ports == (
        Port(mode="ingress", target=80, protocol="tcp"),
        Port(mode="ingress", target=81, published=8080, protocol="udp"),
        Port(mode="host", target=82, published=90, protocol="tcp"),
        Port(target=83),
    )


def test_an_address_to_publish_on_is_kept_and_one_that_is_ignored_is_warned_of() -> None:
    read = loaded(stack_of("ports: ['127.0.0.1:80-81:80-81', '0.0.0.0:82:82']"))
    assert (read.warnings, [port.address for port in read.services[0].ports]) == ((), ["127.0.0.1", "127.0.0.1", ""])
    assert loaded(stack_of("ports: ['[::1]:80:80', '127.0.0.1::81']")).warnings == (
        "ignoring IP-address ([::1]:80:80/tcp) service will listen on '0.0.0.0'",
        "ignoring IP-address (127.0.0.1::81/tcp) service will listen on '0.0.0.0'",
    )


def test_volumes_have_a_short_and_a_long_form() -> None:
    read = service(
        "volumes: [data:/db, {type: tmpfs, target: /t, tmpfs: {size: 100}}, {type: bind, source: ./x, target: /y, read_only: true}]"
    )
    assert read.volumes == (
        Mount(type="volume", source="data", target="/db"),
        Mount(type="tmpfs", target="/t", tmpfs=TmpfsOptions(size=100)),
        Mount(type="bind", source="/srv/x", target="/y", read_only=True),
    )


@pytest.mark.parametrize(
    ("source", "absolute"),
    [(".", "/srv"), ("../a", "/a"), ("~/a", "/home/me/a"), ("~", "/home/me"), ("/a/../b", "/a/../b"), ("C:\\a", "C:\\a")],
)
def test_a_bound_path_is_absolute(source: str, absolute: str) -> None:
    assert service(f"volumes: ['{source}:/x']", env={"HOME": "/home/me"}).volumes[0].source == absolute


def test_without_a_home_there_is_a_warning() -> None:
    stack = loaded(stack_of("volumes: ['~/a:/x']"))
    assert stack.services[0].volumes[0].source == "/srv/~/a"
    assert stack.warnings == ("cannot expand '~', because the environment lacks HOME",)


def test_networks_are_names_or_a_mapping() -> None:
    assert service("networks: [a, b]").networks == {"a": None, "b": None}
    read = service("networks: {a: , b: {aliases: [x], driver_opts: {k: 1}, ipv4_address: 10.0.0.5}}")
    assert read.networks == {"a": None, "b": ServiceNetwork(aliases=("x",), driver_opts={"k": "1"}, ipv4_address="10.0.0.5")}


def test_secrets_are_names_or_mappings() -> None:
    read = service("secrets: [a, {source: b, target: c, uid: '1', gid: '2', mode: 0440}]")
    assert read.secrets == (FileReference(source="a"), FileReference(source="b", target="c", uid="1", gid="2", mode=0o440))


def test_a_health_check_is_a_line_or_a_list() -> None:
    assert service("healthcheck: {test: curl -f x || exit 1, interval: 1m, retries: 2.9}").healthcheck == HealthCheck(
        test=("CMD-SHELL", "curl -f x || exit 1"), interval=service("stop_grace_period: 1m").stop_grace_period, retries=2
    )
    check = service("healthcheck: {test: [CMD, x]}").healthcheck
    assert check is not None
    assert check.test == ("CMD", "x")


def test_limits_are_one_number_or_two() -> None:
    assert service("ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}").ulimits == {
        "nproc": Ulimit(single=5),
        "nofile": Ulimit(soft=1, hard=2),
    }


def test_small_parts_are_read() -> None:
    read = service(
        """
        dns: 1.1.1.1
        tmpfs: [/a, /b]
        expose: [80, '81-82']
        labels: [a=b, c]
        sysctls: {net.core.somaxconn: 1024}
        logging: {driver: json-file, options: {max-file: 3}}
        credential_spec: {registry: r}
        init: false
        x-own: {a: 1}
        """
    )
    assert (read.dns, read.tmpfs, read.expose) == (("1.1.1.1",), ("/a", "/b"), ("80", "81-82"))
    assert (read.labels, read.sysctls) == ({"a": "b", "c": ""}, {"net.core.somaxconn": "1024"})
    assert read.logging == Logging(driver="json-file", options={"max-file": "3"})
    assert read.credential_spec == CredentialSpec(registry="r")
    assert read.init is False
    assert read.extras == {"x-own": {"a": 1}}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("hostname: 2001-12-14", "hostname: must be a string, but is a moment in time; put it in quotes"),
        ("labels: [2001-12-14]", "labels.0: must be a string"),
        ("deploy: {replicas: -1}", "deploy.replicas: must not be negative, but is -1"),
        ("configs: [{source: a, mode: -1}]", "configs.0.mode: must not be negative"),
        ("ports: [80.5]", "ports.0: must be a whole number or a string"),
        ("ports: [{target: 99999999999}]", "ports.0.target: 99999999999 is not a valid port"),
        ("ulimits: {nofile: 5.0}", "ulimits.nofile: must be a whole number"),
        ("volumes: ['']", "volumes.0: a volume must not be empty"),
        ("volumes: [{type: bind, target: /x}]", "volumes.0: a bind mount needs a source"),
        ("shm_size: 64", "shm_size: must be a string"),
        ("deploy: {resources: {limits: {memory: 5x}}}", "deploy.resources.limits.memory: '5x' has an unknown unit"),
    ],
)
def test_what_only_reading_finds_out_is_refused_with_its_line(lines: str, says: str) -> None:
    assert f"stack1.yml:4: services.web.{says}" in refusal(lines)
