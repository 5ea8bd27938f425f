"""What Shoal adds to services is admitted whole or refused with its cure; the past of a service can be gone back to."""

import pytest
from msgspec.structs import replace

from cluster.api.changes import ChangeSet, Put
from cluster.api.commands import Command, CreateNetwork, CreateService, RebalanceService, UpdateService
from cluster.api.errors import InvalidArgument, NotFound
from cluster.api.objects import Rebalance, UpdateStatus
from cluster.api.specs import (
    ContainerSpec,
    Dependency,
    Device,
    EndpointSpec,
    Extensions,
    GlobalMode,
    NetworkSpec,
    PortConfig,
    Readiness,
    ReplicatedMode,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
)
from cluster.api.states import UpdateState
from manager.controlapi.admit import admit
from manager.store.apply import PAST_BYTES, PAST_SPECS, apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot


def done(now: Snapshot, command: Command) -> Snapshot:
    now, refusal = apply(now, now.version + 1, ChangeSet(at=now.version + 1, changes=admit(now, command).changes))
    assert refusal is None, refusal
    return now


def spec(name: str = "web", image: str = "a", **fields: object) -> ServiceSpec:
    return ServiceSpec(**{"name": name, "task_template": TaskSpec(container_spec=ContainerSpec(image=image)), **fields})


def after(*names: str) -> Extensions:
    return Extensions(depends_on=tuple(Dependency(service=name) for name in names))


def create(now: Snapshot, name: str, extensions: Extensions = Extensions()) -> Snapshot:  # noqa: B008 - a frozen value
    return done(now, CreateService(id=f"id-{name}", spec=spec(name), extensions=extensions))


def update(now: Snapshot, image: str, **fields: object) -> Snapshot:
    present = now.services["id-web"]
    wish: dict[str, object] = {"spec": spec(image=image), "version": present.spec_version, **fields}
    return done(now, UpdateService(request_id=f"r{now.version}", id="id-web", **wish))


def images(now: Snapshot) -> list[str]:
    return [past.spec.task_template.container_spec.image for past in now.services["id-web"].history]


# -- start order -----------------------------------------------------------------------------------------------------------------------
def test_a_circle_is_refused_and_shown() -> None:
    now = create(create(EMPTY_SNAPSHOT, "b", after("c")), "a", after("B"))
    with pytest.raises(InvalidArgument, match="depends_on goes round in a circle: c -> a -> B -> c"):
        create(now, "c", after("a"))
    with pytest.raises(InvalidArgument, match="web -> web"):
        create(now, "web", after("web"))


def test_an_update_can_close_a_circle_too() -> None:
    now = create(create(EMPTY_SNAPSHOT, "web"), "a", after("web"))
    with pytest.raises(InvalidArgument, match="circle: web -> a -> web"):
        update(now, "b", extensions=after("a"))


def test_a_service_may_depend_on_what_does_not_exist_yet() -> None:
    assert "id-web" in create(EMPTY_SNAPSHOT, "web", after("db")).services


# -- extensions by themselves ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        (Extensions(restart_backoff=-1), "restart-backoff"),
        (Extensions(rebalance=-1), "rebalance"),
        (Extensions(on_disconnect="panic"), "use keep or stop"),
        (Extensions(endpoint_affinity="cookie"), "use none or client-ip"),
        (Extensions(readiness=Readiness(test=("true",))), "CMD-SHELL"),
        (Extensions(readiness=Readiness(test=("CMD", "true"), interval=-1)), "negative"),
        (Extensions(readiness=Readiness(test=("HTTP", "/healthz"))), "begins with no port"),
        (Extensions(readiness=Readiness(test=("HTTP", "80/a b"))), "without a space"),
        (Extensions(readiness=Readiness(test=("TCP", "80/a"))), "a port and nothing more"),
        (Extensions(readiness=Readiness(test=("TCP", "65536"))), "begins with no port"),
        (Extensions(depends_on=(Dependency(service=""),)), "names no service"),
        (Extensions(depends_on=(Dependency(service="db", condition="ready"),)), "service_healthy"),
        (Extensions(devices=(Device(path_on_host="kvm"),)), "absolute path"),
        (Extensions(devices=(Device(path_on_host="/dev/kvm", cgroup_permissions="rx"),)), "r, w and m"),
        (Extensions(devices=(Device(path_on_host="/dev/kvm"),) * 65), "at most 64"),
        (Extensions(publish_on={"8080": "10.0.0.1"}), "written like 8080/tcp"),
        (Extensions(publish_on={"8080/tcp": "::1"}), "no IPv4 address"),
        (Extensions(publish_on={"8080/tcp": "0.0.0.0"}), "no IPv4 address"),
    ],
)
def test_nonsense_is_refused(extensions: Extensions, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        create(EMPTY_SNAPSHOT, "web", extensions)


def test_devices_are_part_of_what_tasks_are_made_from_and_readiness_is_not() -> None:
    now = create(EMPTY_SNAPSHOT, "web")
    version = now.services["id-web"].template_version
    now = update(now, "a", extensions=Extensions(readiness=Readiness(test=("CMD", "true"))))
    assert now.services["id-web"].template_version == version
    now = update(now, "a", extensions=Extensions(devices=(Device(path_on_host="/dev/kvm"),)))
    assert now.services["id-web"].template_version != version


# -- addresses of published ports ----------------------------------------------------------------------------------------------------
def published(*ports: PortConfig) -> EndpointSpec:
    return EndpointSpec(ports=ports)


def addresses(now: Snapshot) -> list[str]:
    endpoint = now.services["id-web"].spec.endpoint_spec
    return [] if endpoint is None else [port.host_ip for port in endpoint.ports]


def test_a_port_keeps_its_address_though_clients_post_its_spec_back_without_it() -> None:
    web, dns = PortConfig(published_port=8080, target_port=80), PortConfig(published_port=53, target_port=53, protocol="UDP")
    wish = Extensions(publish_on={"8080/tcp": "10.0.0.1", "53/udp": "10.0.0.2"})
    command = CreateService(id="id-web", spec=spec(endpoint_spec=published(web, dns)), extensions=wish)
    ingress = CreateNetwork(id="id-ingress", spec=NetworkSpec(name="ingress", ingress=True))
    now = done(done(EMPTY_SNAPSHOT, ingress), command)
    assert addresses(now) == ["10.0.0.1", "10.0.0.2"]
    now = update(now, "b", spec=spec(image="b", endpoint_spec=published(web, dns)))
    assert addresses(now) == ["10.0.0.1", "10.0.0.2"]
    posted_back = update(now, "c", spec=now.services["id-web"].spec)
    assert addresses(posted_back) == ["10.0.0.1", "10.0.0.2"]
    without_dns = update(now, "b", spec=spec(image="b", endpoint_spec=published(web)))
    assert without_dns.services["id-web"].extensions.publish_on == {"8080/tcp": "10.0.0.1"}, "what is published anew later is a new wish"
    opened = update(now, "b", spec=spec(image="b", endpoint_spec=published(web, dns)), extensions=Extensions())
    assert addresses(opened) == ["", ""]


def test_an_address_in_the_spec_alone_is_refused_for_the_next_client_would_lose_it() -> None:
    port = PortConfig(published_port=8080, target_port=80, host_ip="10.0.0.1")
    with pytest.raises(InvalidArgument, match=r"io\.shoal\.publish-on=8080/tcp=10\.0\.0\.1"):
        done(EMPTY_SNAPSHOT, CreateService(id="id-web", spec=spec(endpoint_spec=published(port))))


# -- rebalancing -----------------------------------------------------------------------------------------------------------------------
def test_a_rebalancing_may_make_as_many_moves_as_there_are_tasks() -> None:
    mode = ServiceMode(replicated=ReplicatedMode(replicas=7))
    now = done(EMPTY_SNAPSHOT, CreateService(id="id-web", spec=spec(mode=mode)))
    now = done(now, RebalanceService(request_id="r", id="id-web", at_once=2))
    assert now.services["id-web"].rebalance == Rebalance(at_once=2, left=7)
    assert admit(now, RebalanceService(request_id="r", id="id-web", at_once=2)).changes == ()


def test_only_replicated_services_can_be_rebalanced() -> None:
    now = done(EMPTY_SNAPSHOT, CreateService(id="id-web", spec=spec(mode=ServiceMode(global_=GlobalMode()))))
    with pytest.raises(InvalidArgument, match="service web is global"):
        admit(now, RebalanceService(request_id="r", id="id-web"))


# -- history ---------------------------------------------------------------------------------------------------------------------------
def test_earlier_specs_are_kept_newest_first_and_bounded() -> None:
    now = create(EMPTY_SNAPSHOT, "web")
    for number in range(PAST_SPECS + 3):
        now = update(now, f"i{number}")
    assert images(now) == [f"i{number}" for number in reversed(range(2, PAST_SPECS + 2))]


def test_large_specs_are_kept_as_long_as_there_is_room() -> None:
    now = create(EMPTY_SNAPSHOT, "web")
    for number in range(6):
        now = update(now, "a", spec=spec(labels={"big": "x" * (PAST_BYTES // 3), "n": str(number)}))
    assert len(now.services["id-web"].history) == 2


def test_no_change_carries_the_history() -> None:
    now = update(create(EMPTY_SNAPSHOT, "web"), "b")
    wish = UpdateService(request_id="r", id="id-web", version=now.services["id-web"].spec_version, spec=spec(image="c"))
    puts = [change.object for change in admit(now, wish).changes if hasattr(change, "object")]
    assert [put.history for put in puts] == [()]


def test_a_roll_back_goes_to_any_version_of_the_history_with_its_extensions() -> None:
    old = Extensions(restart_backoff=7)
    now = create(EMPTY_SNAPSHOT, "web", old)
    first = now.services["id-web"].spec_version
    now = update(update(now, "b", extensions=Extensions(restart_backoff=9)), "c")
    now = update(now, "", rollback=True, rollback_to=first)
    service = now.services["id-web"]
    assert service.spec.task_template.container_spec.image == "a"
    assert service.extensions == old
    assert images(now) == ["c", "b", "a"]


def test_a_version_that_is_not_kept_is_refused_with_those_that_are() -> None:
    now = update(create(EMPTY_SNAPSHOT, "web"), "b")
    with pytest.raises(NotFound, match="service web has no version 99 in its history; there is 1"):
        update(now, "", rollback=True, rollback_to=99)


def test_a_plain_roll_back_brings_the_previous_extensions_back_too() -> None:
    device = Extensions(devices=(Device(path_on_host="/dev/kvm"),))
    now = update(create(EMPTY_SNAPSHOT, "web"), "a", extensions=device)
    now = update(now, "", rollback=True)
    assert now.services["id-web"].extensions == Extensions()


def test_a_change_of_extensions_alone_is_taken_back_too() -> None:
    now = update(create(EMPTY_SNAPSHOT, "web"), "a", extensions=Extensions(endpoint_prefer_local=True))
    now = update(now, "", rollback=True)
    assert now.services["id-web"].extensions == Extensions()


def test_an_update_that_goes_on_goes_back_to_what_was_before_it() -> None:
    now = update(create(EMPTY_SNAPSHOT, "web"), "b")
    going_on = replace(now.services["id-web"], update_status=UpdateStatus(state=UpdateState.UPDATING), history=())
    now, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=(Put(object=going_on, base=going_on.version),)))
    assert refusal is None
    before = now.services["id-web"].previous_spec
    now = update(now, "b", extensions=Extensions(endpoint_prefer_local=True))
    assert now.services["id-web"].previous_spec == before
