"""Read the `deploy` part of a service: mode, rollouts, resources, restarts, placement."""

from stack_specs import units
from stack_specs.fields import Fields
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


def read_deploy(fields: Fields | None) -> Deploy:
    """The deploy part; all of it is optional."""
    if fields is None:
        return Deploy()
    return Deploy(
        mode=fields.text("mode"),
        replicas=fields.optional_count("replicas"),
        labels=fields.labels("labels"),
        update_config=_rollout(fields.child("update_config")),
        rollback_config=_rollout(fields.child("rollback_config")),
        resources=_resources(fields.child("resources")),
        restart_policy=_restart_policy(fields.child("restart_policy")),
        placement=_placement(fields.child("placement")),
        endpoint_mode=fields.text("endpoint_mode"),
    )


def _rollout(fields: Fields | None) -> Rollout | None:
    if fields is None:
        return None
    return Rollout(
        parallelism=fields.optional_count("parallelism"),
        delay=fields.duration("delay"),
        failure_action=fields.text("failure_action"),
        monitor=fields.duration("monitor"),
        max_failure_ratio=units.single_precision(fields.number("max_failure_ratio")),
        order=fields.text("order"),
    )


def _resources(fields: Fields | None) -> Resources:
    if fields is None:
        return Resources()
    limits, reservations = fields.child("limits"), fields.child("reservations")
    return Resources(
        limits=None if limits is None else Limits(cpus=limits.text("cpus"), memory=limits.size("memory"), pids=limits.integer("pids")),
        reservations=None
        if reservations is None
        else Reservations(
            cpus=reservations.text("cpus"),
            memory=reservations.size("memory"),
            generic_resources=tuple(_generic(item) for item in reservations.children("generic_resources")),
        ),
    )


def _generic(fields: Fields) -> GenericResource:
    spec = fields.child("discrete_resource_spec")
    return GenericResource(
        discrete_resource_spec=None if spec is None else DiscreteResource(kind=spec.text("kind"), value=spec.integer("value"))
    )


def _restart_policy(fields: Fields | None) -> RestartPolicy | None:
    if fields is None:
        return None
    return RestartPolicy(
        condition=fields.text("condition"),
        delay=fields.optional_duration("delay"),
        max_attempts=fields.optional_count("max_attempts"),
        window=fields.optional_duration("window"),
    )


def _placement(fields: Fields | None) -> Placement:
    if fields is None:
        return Placement()
    return Placement(
        constraints=fields.texts("constraints"),
        preferences=tuple(Preference(spread=item.text("spread")) for item in fields.children("preferences")),
        max_replicas_per_node=fields.count("max_replicas_per_node"),
    )
