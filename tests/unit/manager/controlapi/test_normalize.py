"""A client that posts back what it read changes nothing: no template, so no restart."""

import msgspec
import pytest

from cluster.api.specs import ServiceSpec
from manager.controlapi.normalize import canonical, normalized
from manager.store.apply import template_from

POSTED = {
    "Name": "web",
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "nginx",
            "Init": False,
            "DNSConfig": {},
            "Privileges": {},
            "Configs": [{"ConfigID": "c", "Runtime": {}}],
        },
        "Resources": {"Limits": {}, "Reservations": {}},
        "Placement": {},
        "RestartPolicy": {},
        "ForceUpdate": 0,
    },
}


def spec(**more: object) -> ServiceSpec:
    return normalized(msgspec.convert({**POSTED, **more}, ServiceSpec))


def test_empty_members_count_as_absent_but_a_runtime_target_and_what_docker_gives_back_stay() -> None:
    template = spec().task_template
    shown = msgspec.to_builtins(template)
    assert (shown["Resources"], shown["Placement"], shown["ContainerSpec"]["DNSConfig"]) == ({"Limits": {}, "Reservations": {}}, {}, {})
    assert "RestartPolicy" not in shown
    assert template.container_spec is not None
    assert template.container_spec.privileges is None, "members of members too"
    assert template.container_spec.configs[0].runtime is not None
    assert template.container_spec.init is False


def test_what_docker_shows_for_nothing_asked_is_nothing_asked() -> None:
    shown = msgspec.to_builtins(spec())
    shown["TaskTemplate"]["Runtime"] = "container"
    shown["TaskTemplate"]["ContainerSpec"]["Isolation"] = "default"
    again = normalized(msgspec.convert(shown, ServiceSpec))
    assert template_from(again) == template_from(spec())


@pytest.mark.parametrize("owner", ["", "0"])
def test_no_owner_is_root(owner: str) -> None:
    secrets = [{"SecretID": "s", "SecretName": "s", "File": {"Name": "s", "UID": owner, "GID": owner, "Mode": 292}}]
    container = canonical(
        msgspec.convert({"ContainerSpec": {"Image": "nginx", "Secrets": secrets}}, type(spec().task_template))
    ).container_spec
    assert container is not None
    assert container.secrets[0].file is not None
    assert (container.secrets[0].file.uid, container.secrets[0].file.gid) == ("0", "0")
