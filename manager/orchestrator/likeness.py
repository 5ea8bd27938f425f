"""Whether a task is still what its service asks for: a newer template that makes the same containers restarts nothing. Pure."""

from typing import TypeVar

from msgspec.structs import replace

from cluster.api.objects import Service, Task, Template
from cluster.api.specs import SECOND, Resources, RestartPolicy
from cluster.api.values import Value
from manager.orchestrator.restart import ANY, delay_of
from manager.store.snapshot import Snapshot

Member = TypeVar("Member", bound=Value)

STOP_GRACE = 10 * SECOND
"""What workers give a container that does not say how long it needs."""


def up_to_date(now: Snapshot, task: Task, service: Service) -> bool:
    """The task is what the service's present template makes; that may differ from the task's own in the service's labels."""
    if task.template_version == service.template_version:
        return True
    present = now.templates.get((service.id, service.template_version))
    return present is not None and alike(now.template_of(task), present)


def alike(one: Template, other: Template) -> bool:
    return _bare(one) == _bare(other)


def _bare(template: Template) -> Template:
    """What tasks are made of, with the defaults spelled out: clients that ask for them post them back with the next update."""
    spec, policy = template.spec, template.spec.restart_policy or RestartPolicy()
    policy = replace(
        policy,
        condition=policy.condition or ANY,
        delay=delay_of(policy),
        max_attempts=policy.max_attempts or 0,
        window=policy.window or 0,
    )
    container, asked = spec.container_spec, spec.resources or Resources()
    if container is not None:
        grace = STOP_GRACE if container.stop_grace_period is None else container.stop_grace_period
        container = replace(container, stop_grace_period=grace, dns_config=_said(container.dns_config))
    spec = replace(
        spec,
        restart_policy=policy,
        container_spec=container,
        placement=_said(spec.placement),
        resources=Resources(limits=_said(asked.limits), reservations=_said(asked.reservations)),
    )
    return replace(template, service_name="", service_labels={}, spec=spec)


def _said(member: Member | None) -> Member | None:
    """A member that says nothing is as good as none."""
    return None if member is None or member == type(member)() else member
