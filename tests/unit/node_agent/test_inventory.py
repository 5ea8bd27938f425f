"""What a node tells of itself, and `/metrics`."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cluster.api.changes import ChangeSet, Put
from cluster.api.errors import InvalidArgument
from cluster.api.objects import Node, NodeStatus
from cluster.api.states import NodeState
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT
from node_agent.config import Config
from node_agent.inventory import describe, generic_resources
from node_agent.metrics import SwarmCollector
from worker.ports import EngineInfo


def test_the_daemons_labels_win_over_the_engines() -> None:
    info = EngineInfo(version="20.10", architecture="x86_64", cpus=2, memory_bytes=1 << 30, labels={"disk": "hdd", "rack": "7"})
    shown = describe(info, Config(labels=("disk=ssd",)), hostname="h1", subnets=("10.0.0.0/24",))
    assert dict(shown.engine.labels) == {"disk": "ssd", "rack": "7"}
    assert (shown.resources.nano_cpus, shown.resources.memory_bytes, shown.subnets) == (2_000_000_000, 1 << 30, ("10.0.0.0/24",))


def test_generic_resources_are_named_or_counted() -> None:
    named, counted = generic_resources(("gpu=UUID1", "ssd=3"))
    assert named.named_resource_spec is not None
    assert (named.named_resource_spec.kind, named.named_resource_spec.value) == ("gpu", "UUID1")
    assert counted.discrete_resource_spec is not None
    assert counted.discrete_resource_spec.value == 3
    with pytest.raises(InvalidArgument, match="KIND=VALUE"):
        generic_resources(("gpu",))


def test_metrics_count_nodes_by_state_and_a_worker_has_none_of_the_swarms() -> None:
    now, _ = apply(EMPTY_SNAPSHOT, 1, ChangeSet(at=1, changes=(Put(object=Node(id="n", status=NodeStatus(state=NodeState.READY))),)))
    registry = CollectorRegistry()
    registry.register(SwarmCollector(lambda: now, lambda: None))
    text = generate_latest(registry).decode()
    assert 'shoal_nodes{state="ready"} 1.0' in text
    assert "shoal_manager 1.0" in text
    worker = CollectorRegistry()
    worker.register(SwarmCollector(lambda: None, lambda: None))
    assert generate_latest(worker).decode().count("\nshoal_") == 1
