"""Secrets and configs are referred to by name, and get their ids later."""

import pytest

from stack_specs.convert import bind_ids
from stack_specs.errors import StackError
from stack_specs.values import Json
from tests.unit.stack_specs.stack_files import container, planned, stack_of

CONFIGS = "configs: {a: {file: ./f}, b: {file: ./f, name: real}, out: {external: true}}"
SECRETS = "secrets: {a: {file: ./f}, b: {file: ./f, name: real}, out: {external: true}}"


def file(name: str, uid: str = "0", gid: str = "0", mode: int = 0o444) -> dict[str, Json]:
    return {"Name": name, "UID": uid, "GID": gid, "Mode": mode}


def refusal(lines: str, rest: str) -> str:
    with pytest.raises(StackError) as caught:
        planned(stack_of(lines, rest), f="x")
    return str(caught.value)


def test_secrets_are_sorted_by_their_name_in_the_swarm() -> None:
    spec = container("secrets: [a, {source: b, target: /x, uid: '1', gid: '2', mode: 0400}, out]", SECRETS, f="x")
    assert spec["Secrets"] == [
        {"File": file("out"), "SecretID": "", "SecretName": "out"},
        {"File": file("/x", "1", "2", 0o400), "SecretID": "", "SecretName": "real"},
        {"File": file("a"), "SecretID": "", "SecretName": "shop_a"},
    ]


def test_one_config_can_be_used_twice_under_two_names() -> None:
    spec = container("configs: [a, {source: a, target: x}]", CONFIGS, f="x")
    assert spec["Configs"] == [
        {"File": file("a"), "ConfigID": "", "ConfigName": "shop_a"},
        {"File": file("x"), "ConfigID": "", "ConfigName": "shop_a"},
    ]


def test_a_credential_spec_may_be_a_config_that_is_no_file() -> None:
    spec = container("credential_spec: {config: a}", CONFIGS, f="x")
    assert spec["Configs"] == [{"ConfigID": "", "ConfigName": "shop_a", "Runtime": {}}]
    assert spec["Privileges"] == {"NoNewPrivileges": False, "CredentialSpec": {"Config": "shop_a", "File": "", "Registry": ""}}


def test_a_credential_spec_may_come_from_elsewhere() -> None:
    spec = container("credential_spec: {registry: r}")
    assert spec["Privileges"] == {"NoNewPrivileges": False, "CredentialSpec": {"Config": "", "File": "", "Registry": "r"}}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("secrets: [nope]", 'services.web.secrets.0: undefined secret "nope"; declare it under the top-level `secrets:`'),
        ("configs: [nope]", 'services.web.configs.0: undefined config "nope"'),
        ("configs: [a, {source: b, target: a}]", "services.web.configs.1: duplicate config target for real not allowed"),
        ("credential_spec: {config: nope}", 'services.web.credential_spec.config: undefined config "nope"'),
        ("credential_spec: {config: b}", "spec specifies config b, but no such config can be found"),
        ("credential_spec: {config: a, file: x}", 'cannot specify both "Config" and "File"'),
    ],
)
def test_a_bad_reference_is_refused_with_its_line(lines: str, says: str) -> None:
    said = refusal(lines, CONFIGS)
    assert said.startswith("stack1.yml:4: services.web.")
    assert says in said


def test_ids_are_put_in_without_touching_the_plan() -> None:
    rest = f"{CONFIGS}\n{SECRETS}"
    (service,) = planned(stack_of("secrets: [out]\nconfigs: [b]\ncredential_spec: {config: a}", rest), f="x").services
    before = repr(service.body)
    body = bind_ids(service, {"out": "s1"}, {"real": "c1", "shop_a": "c2"})
    spec = body["TaskTemplate"]
    assert isinstance(spec, dict)
    assert isinstance(spec["ContainerSpec"], dict)
    assert spec["ContainerSpec"]["Secrets"] == [{"File": file("out"), "SecretID": "s1", "SecretName": "out"}]
    assert spec["ContainerSpec"]["Configs"] == [
        {"File": file("b"), "ConfigID": "c1", "ConfigName": "real"},
        {"ConfigID": "c2", "ConfigName": "shop_a", "Runtime": {}},
    ]
    assert spec["ContainerSpec"]["Privileges"] == {
        "NoNewPrivileges": False,
        "CredentialSpec": {"Config": "c2", "File": "", "Registry": ""},
    }
    assert repr(service.body) == before


def test_a_secret_that_the_cluster_does_not_have_is_named() -> None:
    (service,) = planned(stack_of("secrets: [out]", SECRETS), f="x").services
    with pytest.raises(
        StackError, match=r"stack1\.yml:2: services\.web: secret not found: out; create it first: shoal secret create out FILE"
    ):
        bind_ids(service, {}, {})
