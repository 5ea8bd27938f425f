"""Any client can ask for what Shoal adds, by labels; ours by a header, which wins."""

import base64

import pytest

from cluster.api.errors import InvalidArgument
from cluster.api.specs import SECOND, Dependency, Device, DeviceRequest, Extensions, Readiness, ServiceSpec
from node_agent.api.extensions import extensions_of


def labelled(**labels: str) -> ServiceSpec:
    return ServiceSpec(labels={f"io.shoal.{name.replace('__', '.').replace('_', '-')}": value for name, value in labels.items()})


@pytest.mark.parametrize(
    ("labels", "extensions"),
    [
        ({"drain_timeout": "500ms"}, Extensions(drain_timeout=SECOND // 2)),
        ({"restart_backoff": "1h"}, Extensions(restart_backoff=3600 * SECOND)),
        ({"restart_backoff": "off"}, Extensions(restart_backoff=0)),
        (
            {"depends_on": "db, migrate:service_completed_successfully"},
            Extensions(depends_on=(Dependency(service="db"), Dependency(service="migrate", condition="service_completed_successfully"))),
        ),
        (
            {"depends_on": '{"db": {"condition": "service_healthy"}}'},
            Extensions(depends_on=(Dependency(service="db", condition="service_healthy"),)),
        ),
        (
            {"devices": "/dev/kvm,/dev/a:/dev/b:r,/dev/c:rw"},
            Extensions(
                devices=(
                    Device(path_on_host="/dev/kvm", path_in_container="/dev/kvm", cgroup_permissions="rwm"),
                    Device(path_on_host="/dev/a", path_in_container="/dev/b", cgroup_permissions="r"),
                    Device(path_on_host="/dev/c", path_in_container="/dev/c", cgroup_permissions="rw"),
                )
            ),
        ),
        ({"gpus": "all"}, Extensions(device_requests=(DeviceRequest(count=-1, capabilities=(("gpu",),)),))),
        ({"gpus": "device=u1;u2"}, Extensions(device_requests=(DeviceRequest(device_ids=("u1", "u2"), capabilities=(("gpu",),)),))),
        ({"publish_on": "8080=10.0.0.1, 53/udp=10.0.0.2"}, Extensions(publish_on={"8080/tcp": "10.0.0.1", "53/udp": "10.0.0.2"})),
        ({"rebalance": "2", "on_disconnect": "stop"}, Extensions(rebalance=2, on_disconnect="stop")),
        (
            {"endpoint_affinity": "client-ip", "endpoint_prefer_local": "true"},
            Extensions(endpoint_affinity="client-ip", endpoint_prefer_local=True),
        ),
        (
            {"readiness__cmd": "test -f /ok", "readiness__interval": "2s", "readiness__retries": "3"},
            Extensions(readiness=Readiness(test=("CMD-SHELL", "test -f /ok"), interval=2 * SECOND, retries=3)),
        ),
        ({"readiness__http": ":80/ok"}, Extensions(readiness=Readiness(test=("HTTP", ":80/ok")))),
        ({"readiness__tcp": "80"}, Extensions(readiness=Readiness(test=("TCP", "80")))),
    ],
)
def test_labels_ask_for_extensions(labels: dict[str, str], extensions: Extensions) -> None:
    assert extensions_of(None, labelled(**labels)) == extensions


@pytest.mark.parametrize(
    "labels",
    [
        {"drain_timeout": "soon"},
        {"rebalance": "many"},
        {"readiness__interval": "1s"},
        {"readiness__tcp": "1", "readiness__cmd": "a"},
        {"gpus": "some"},
        {"depends_on": "{"},
        {"endpoint_prefer_local": "yes"},
    ],
)
def test_a_label_that_cannot_be_read_is_named(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=r"labels? io\.shoal\."):
        extensions_of(None, labelled(**labels))


def test_other_labels_say_nothing_and_the_header_wins() -> None:
    assert extensions_of(None, ServiceSpec(labels={"a": "b"})) is None
    header = base64.b64encode(b'{"Rebalance": 1, "Unknown": 2}').decode()
    assert extensions_of(header, labelled(rebalance="5")) == Extensions(rebalance=1)
    with pytest.raises(InvalidArgument, match="X-Shoal-Extensions"):
        extensions_of("!", ServiceSpec())
