"""From a task to the container that is asked for."""

import pytest
from msgspec.structs import replace

from cluster.api.assignment import AssignedConfig, AssignedSecret
from cluster.api.specs import ConfigReference, ContainerSpec, FileTarget, Mount, RuntimeTarget, SecretReference
from tests.unit.worker.worker_values import HOST, assigned
from worker.plan import UnusableTask, container_labels, container_plan, missing_files, wanted_files
from worker.ports import SandboxPlan

SECRET = AssignedSecret(id="x1", version=1, name="db", data=b"hush")
CONFIG = AssignedConfig(id="f1", version=1, name="conf", data=b'slot={{.Task.Slot}} pass={{secret "pw"}} {{env "A"}}', templated=True)
SPEC = ContainerSpec(
    image="app",
    env=("A={{.Node.Hostname}}",),
    hostname="{{.Service.Name}}-{{.Task.Slot}}",
    secrets=(SecretReference(secret_id="x1", secret_name="db", file=FileTarget(name="pw", uid="1000", gid="1001", mode=0o400)),),
    configs=(ConfigReference(config_id="f1", config_name="conf", file=FileTarget(name="app.conf", mode=0o444)),),
)
TASK = assigned(spec=SPEC)


def test_containers_carry_the_labels_that_tools_key_on() -> None:
    task = assigned(spec=ContainerSpec(image="app", labels={"mine": "1", "shoal.cluster": "forged"}))
    assert container_labels(task, HOST) == {
        "mine": "1",
        "com.docker.swarm.node.id": "node1",
        "com.docker.swarm.service.id": "s1",
        "com.docker.swarm.service.name": "web",
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": "t1",
        "com.docker.swarm.task.name": "web.1.t1",
        "shoal.cluster": "c1",
    }


def test_the_name_has_the_slot_or_for_global_services_the_node() -> None:
    assert container_plan(assigned(), HOST, SandboxPlan(), ()).name == "web.1.t1"
    assert container_plan(assigned(slot=0), HOST, SandboxPlan(), ()).name == "web.node1.t1"


def test_environment_hostname_and_mounts_are_templates() -> None:
    task = assigned(spec=replace(SPEC, mounts=(Mount(type="volume", source="data-{{.Task.Slot}}", target="/d"),)))
    plan = container_plan(task, HOST, SandboxPlan(), ())
    assert (plan.hostname, plan.spec.env, plan.spec.mounts[0].source) == ("web-1", ("A=h1",), "data-1")


@pytest.mark.parametrize("source", ["/var/run/docker.sock", "/run/docker.sock"])
def test_a_mounted_engine_socket_becomes_ours(source: str) -> None:
    task = assigned(spec=ContainerSpec(image="app", mounts=(Mount(type="bind", source=source, target="/var/run/docker.sock"),)))
    ours = container_plan(task, replace(HOST, socket="/run/shoal/shoal.sock"), SandboxPlan(), ())
    assert (ours.spec.mounts[0].source, ours.spec.mounts[0].target) == ("/run/shoal/shoal.sock", "/var/run/docker.sock")
    assert container_plan(task, HOST, SandboxPlan(), ()).spec.mounts[0].source == source


def test_secrets_and_configs_become_files_with_owner_and_mode() -> None:
    secret, config = wanted_files(TASK, HOST, {"x1": SECRET}, {"f1": CONFIG})
    assert (secret.target, secret.content, secret.uid, secret.gid, secret.mode) == ("/run/secrets/pw", b"hush", 1000, 1001, 0o400)
    assert (config.target, config.content) == ("/app.conf", b"slot=1 pass=hush h1")


def test_an_absolute_target_is_kept() -> None:
    spec = ContainerSpec(image="app", secrets=(SecretReference(secret_id="x1", secret_name="db", file=FileTarget(name="/etc/key")),))
    assert wanted_files(assigned(spec=spec), HOST, {"x1": SECRET}, {})[0].target == "/etc/key"


def test_what_has_not_come_is_named() -> None:
    assert missing_files(TASK, {}, {}) == ("secret db", "config conf")
    runtime = ContainerSpec(image="app", configs=(ConfigReference(config_id="f9", config_name="cred", runtime=RuntimeTarget()),))
    assert missing_files(assigned(spec=runtime), {}, {}) == ()


def test_an_owner_that_is_not_a_number_is_refused() -> None:
    spec = ContainerSpec(image="app", secrets=(SecretReference(secret_id="x1", secret_name="db", file=FileTarget(name="pw", uid="app")),))
    with pytest.raises(UnusableTask, match="UID 'app' of file pw is not a number"):
        wanted_files(assigned(spec=spec), HOST, {"x1": SECRET}, {})
