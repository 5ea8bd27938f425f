"""Requests as real clients send them: nulls for absent, member names in any case, free-form maps untouched."""

import pytest

from cluster.api.errors import InvalidArgument
from cluster.api.specs import NetworkSpec, ServiceSpec
from node_agent.api.edge import as_value


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
