"""Requests as real clients send them: nulls for absent, member names in any case, free-form maps untouched."""

import pytest

from cluster.api.errors import InvalidArgument
from cluster.api.specs import Extensions, NetworkSpec, NodeSpec, SecretSpec, ServiceSpec
from cluster.api.states import Availability, Role
from manager.controlapi.validate_names import check_name
from node_agent.api.edge import as_value
from node_agent.api.extensions import extensions_of
from node_agent.api.http import Headers
from node_agent.api.made_up_names import made_up_name
from node_agent.api.messages import ApiRequest, Peer, Query
from node_agent.api.nodes import spec_from as node_spec
from node_agent.api.versions import NEWEST


def test_docker_py_writes_modes_in_lower_case() -> None:
    spec = as_value({"Name": "web", "Mode": {"replicated": {"Replicas": 3}}}, ServiceSpec)
    assert spec.mode.replicated is not None
    assert spec.mode.replicated.replicas == 3


def test_nulls_are_absent_and_unknown_members_are_ignored() -> None:
    spec = as_value({"Name": "web", "Labels": None, "Bogus": 1, "TaskTemplate": {"ContainerSpec": {"Env": None}}}, ServiceSpec)
    assert spec.labels == {}


def test_keys_of_labels_keep_their_case() -> None:
    assert as_value({"labels": {"Name": "x", "NAME": "y"}}, NetworkSpec).labels == {"Name": "x", "NAME": "y"}


def test_lists_of_members_are_spelled_too() -> None:
    spec = as_value({"EndpointSpec": {"ports": [{"targetport": 80}]}}, ServiceSpec)
    assert spec.endpoint_spec is not None
    assert spec.endpoint_spec.ports[0].target_port == 80


def test_a_wrong_type_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidArgument, match=r"Replicas"):
        as_value({"Mode": {"Replicated": {"Replicas": "three"}}}, ServiceSpec)


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        as_value({"Bogus": deep}, ServiceSpec)


def test_a_number_that_no_log_could_hold_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="does not fit into 64 bits"):
        as_value({"Mode": {"Replicated": {"Replicas": 10**23}}}, ServiceSpec)


@pytest.mark.parametrize("spec", [{}, {"Role": "worker"}, {"Availability": "active"}, {"Role": "boss", "Availability": "active"}])
def test_a_node_spec_must_say_role_and_availability(spec: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid (Role|Availability)"):
        node_spec(spec)


def test_a_node_spec_is_read_in_any_case() -> None:
    assert node_spec({"role": "Manager", "Availability": "DRAIN"}) == NodeSpec(role=Role.MANAGER, availability=Availability.DRAIN)


def test_a_made_up_name_is_the_same_for_the_same_id_and_a_name_in_dns() -> None:
    drawn = "0123456789abcdefghijklmno"
    assert made_up_name(drawn) == made_up_name(drawn) != made_up_name(drawn[::-1])
    check_name(made_up_name(drawn))
    check_name(made_up_name(drawn, taken=True))
    assert made_up_name(drawn, taken=True) != made_up_name(drawn)


def test_an_unknown_label_of_ours_is_not_passed_over() -> None:
    with pytest.raises(InvalidArgument, match=r"io\.shoal\.drain-timout means nothing .* it knows .*io\.shoal\.drain-timeout"):
        extensions_of(None, ServiceSpec(labels={"io.shoal.drain-timout": "5s"}))
    assert extensions_of(None, ServiceSpec(labels={"io.shoal.drain-timeout": "1.5s"})) == Extensions(drain_timeout=1_500_000_000)


def request() -> ApiRequest:
    return ApiRequest(
        method="POST",
        path="/",
        query=Query(""),
        headers=Headers(),
        version=NEWEST,
        peer=Peer(),
        body=None,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("text", "at"), [("I'm not base64", 1), ("aGVs bG8=", 4), ("abc", 3), ("%", 0)])
def test_where_data_is_not_base64_is_said_as_go_says_it(text: str, at: int) -> None:
    with pytest.raises(InvalidArgument, match=f"illegal base64 data at input byte {at} - at `.*Data`"):
        as_value({"Name": "s", "Data": text}, SecretSpec)
