"""A stack becomes requests, in the order in which they are made."""

import base64

import pytest

from stack_specs.convert import plan
from stack_specs.errors import StackError
from tests.unit.stack_specs.stack_files import loaded, planned, reader, stack_of


def refusal(text: str, **files: str) -> str:
    with pytest.raises(StackError) as caught:
        planned(text, **files)
    return str(caught.value)


def test_only_networks_in_use_are_made() -> None:
    requests = planned("services: {a: {image: x, networks: [n]}, b: {image: y}}\nnetworks: {n: , unused: }")
    assert [network.name for network in requests.networks] == ["shop_n", "shop_default"]


def test_a_network_s_body() -> None:
    settings = "driver_opts: {encrypted: ''}, attachable: true, internal: true, labels: [a=b], ipam: {config: [{subnet: 10.1.0.0/16}, {}]}"
    (network,) = planned(stack_of("networks: [n]", f"networks: {{n: {{name: real, {settings}}}}}")).networks
    assert network.body == {
        "Name": "real",
        "Driver": "overlay",
        "Scope": "",
        "Internal": True,
        "Attachable": True,
        "Ingress": False,
        "ConfigOnly": False,
        "Labels": {"a": "b", "com.docker.stack.namespace": "shop"},
        "Options": {"encrypted": ""},
        "IPAM": {"Driver": "", "Config": [{"Subnet": "10.1.0.0/16"}, {}]},
    }


def test_external_networks_are_only_listed_and_local_ones_not_even_that() -> None:
    rest = "networks: {a: {external: true, name: front}, b: {external: true, name: front}, host: {external: true}}"
    requests = planned(stack_of("networks: [a, b, host]", rest))
    assert requests.external_networks == ("front",)
    assert requests.networks == ()


def test_every_secret_and_config_is_made_used_or_not() -> None:
    requests = planned(
        "secrets: {a: {file: ./f, labels: [x]}, b: {external: true}, c: {driver: vault, driver_opts: {p: q}, name: real}}\n"
        "configs: {d: {file: ./f, template_driver: golang}}",
        f=b"\x00\xff",
    )
    data = base64.b64encode(b"\x00\xff").decode()
    assert [(secret.name, secret.body) for secret in requests.secrets] == [
        ("shop_a", {"Name": "shop_a", "Labels": {"x": "", "com.docker.stack.namespace": "shop"}, "Data": data}),
        ("real", {"Name": "real", "Labels": {"com.docker.stack.namespace": "shop"}, "Driver": {"Name": "vault", "Options": {"p": "q"}}}),
    ]
    assert [(config.name, config.body) for config in requests.configs] == [
        (
            "shop_d",
            {"Name": "shop_d", "Labels": {"com.docker.stack.namespace": "shop"}, "Templating": {"Name": "golang"}, "Data": data},
        )
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("secrets:\n  a:\n    file: ./nope", "stack1.yml:3: secrets.a.file: cannot read /srv/nope: No such file or directory"),
        ("configs:\n  a:\n    name: x", "stack1.yml:2: configs.a.file: cannot read /srv: Is a directory; name a file with `file:`"),
        (
            "services:\n  web:\n    build: .",
            "stack1.yml:2: services.web.image: invalid image reference for service web: no image specified",
        ),
        ("services:\n  web:\n    image: FOO", "stack1.yml:3: services.web.image: invalid image reference for service web: repository name"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_its_line(text: str, says: str) -> None:
    assert refusal(text).startswith(says)


@pytest.mark.parametrize("name", ["", " ", "''", '" "'])
def test_a_stack_needs_a_name(name: str) -> None:
    with pytest.raises(StackError, match="invalid stack name"):
        plan(loaded("services: {}"), name=name, env={}, read=reader({}))


def test_shoal_s_own_keys_are_kept_beside_the_body() -> None:
    text = """
    x-shoal: {readiness: {http: /ready, since: 2001-01-01}, order: [1, 2.5, ~]}
    """
    (service,) = planned(stack_of(text)).services
    assert service.extensions == {
        "readiness": {"http": "/ready", "since": "2001-01-01T00:00:00Z"},
        "order": [1, 2.5, None],
    }
    assert service.body == planned(stack_of("")).services[0].body


def test_conditions_of_a_dependency_are_shoal_s_own() -> None:
    (service,) = planned(stack_of("depends_on: [db]\nx-shoal: {depends_on: {db: {condition: service_healthy}}}")).services
    assert service.extensions == {"depends_on": {"db": {"condition": "service_healthy"}}}


def services(*lines: str) -> str:
    return "services:\n" + "".join(f"  {line.partition(' ')[0]}: {{image: i, {line.partition(' ')[2]}}}\n" for line in lines)


def test_dependencies_have_the_names_of_the_swarm_and_come_first() -> None:
    planned_services = planned(services("web depends_on: [db, gone]", "db depends_on: [disk]", "disk")).services
    assert [one.name for one in planned_services] == ["shop_disk", "shop_db", "shop_web"]
    assert planned_services[2].extensions == {"depends_on": {"shop_db": {"condition": "service_started"}}}


def test_services_without_dependencies_stay_in_their_order() -> None:
    assert [one.stack_name for one in planned(services("z", "a", "m")).services] == [
        one.name for one in loaded(services("z", "a", "m")).services
    ]


def test_a_service_of_another_stack_is_waited_for_by_its_own_name() -> None:
    (service,) = planned(stack_of("x-shoal: {depends_on: [other_db]}")).services
    assert service.extensions == {"depends_on": {"other_db": {"condition": "service_started"}}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (services("a depends_on: [b]", "b depends_on: [c]", "c depends_on: [a]"), "goes round in a circle: a -> b -> c -> a"),
        (services("a depends_on: [a]"), "a -> a"),
        (stack_of("x-shoal: {depends_on: {db: {condition: ready}}}"), "unknown condition 'ready'; use service_started"),
        (stack_of("x-shoal: {depends_on: 5}"), "must be a list or a mapping"),
    ],
)
def test_a_start_order_that_cannot_be_kept_is_refused(text: str, says: str) -> None:
    assert says in refusal(text)


def test_a_service_says_where_it_is_written() -> None:
    (service,) = planned(stack_of("")).services
    assert (service.file, service.line, service.image, service.stack_name) == ("stack1.yml", 2, "nginx", "web")


def test_what_a_stack_does_without_is_said_in_docker_s_words() -> None:
    requests = planned(stack_of("restart: always\nbuild: .\ncontainer_name: x\nexpose: [80]"))
    assert requests.warnings == (
        "Ignoring unsupported options: build, restart\n",
        (
            "Ignoring deprecated options:\n\n"
            "container_name: Setting the container name is not supported.\n\n"
            "expose: Exposing ports is unnecessary - services on the same network can access each other's containers on any port.\n"
        ),
    )


def test_a_key_that_docker_drops_silently_is_not_silent_here() -> None:
    requests = planned(stack_of("oom_score_adj: 5"))
    assert requests.warnings == ("oom_score_adj is ignored: docker accepts it in a stack and does not send it",)
    assert requests.services[0].body == planned(stack_of("")).services[0].body
