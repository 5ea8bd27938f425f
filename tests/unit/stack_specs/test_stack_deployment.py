"""The deploy part of a service is read whole."""

from stack_specs.model import (
    Deploy,
    DiscreteResource,
    GenericResource,
    Limits,
    Placement,
    Preference,
    Reservations,
    Resources,
    RestartPolicy,
    Rollout,
)
from stack_specs.units import Bytes, Duration
from tests.unit.stack_specs.stack_files import service

SECOND = 10**9


def test_everything_is_optional() -> None:
    assert service("deploy: ").deploy == service("deploy: {}").deploy == Deploy()


def test_what_is_written_but_empty_is_not_what_is_left_out() -> None:
    deploy = service("deploy: {update_config: {}, restart_policy: {}, resources: {limits: {}}}").deploy
    assert deploy.update_config == Rollout()
    assert deploy.restart_policy == RestartPolicy()
    assert deploy.resources == Resources(limits=Limits())
    assert deploy.rollback_config is None


def test_all_of_it() -> None:
    deploy = service(
        """
        deploy:
          mode: replicated
          replicas: 6
          endpoint_mode: dnsrr
          labels: [a=b]
          update_config: {parallelism: 3, delay: 10s, failure_action: continue, monitor: 1m, max_failure_ratio: 0.3, order: start-first}
          rollback_config: {parallelism: 0}
          resources:
            limits: {cpus: '0.5', memory: 50M, pids: 100}
            reservations: {cpus: '0.1', memory: 20M, generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]}
          restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}
          placement: {constraints: [node.role==manager], preferences: [{spread: node.labels.az}], max_replicas_per_node: 5}
        """
    ).deploy
    assert deploy == Deploy(
        mode="replicated",
        replicas=6,
        endpoint_mode="dnsrr",
        labels={"a": "b"},
        update_config=Rollout(
            parallelism=3,
            delay=Duration(10 * SECOND),
            failure_action="continue",
            monitor=Duration(60 * SECOND),
            max_failure_ratio=0.3,
            order="start-first",
        ),
        rollback_config=Rollout(parallelism=0),
        resources=Resources(
            limits=Limits(cpus="0.5", memory=Bytes(50 * 2**20), pids=100),
            reservations=Reservations(
                cpus="0.1",
                memory=Bytes(20 * 2**20),
                generic_resources=(GenericResource(discrete_resource_spec=DiscreteResource(kind="gpu", value=2)),),
            ),
        ),
        restart_policy=RestartPolicy(condition="on-failure", delay=Duration(5 * SECOND), max_attempts=3, window=Duration(120 * SECOND)),
        placement=Placement(
            constraints=("node.role==manager",), preferences=(Preference(spread="node.labels.az"),), max_replicas_per_node=5
        ),
    )
