"""Carrying out a stack: what its files ask for, against what the swarm already has under the stack's label.

The order is Docker's: externals are checked first, then networks, secrets, configs and services are made or updated, each said in a line.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from cli import extensions, images, lookup, registry
from cli.client import Json
from cli.errors import ApiError, CliError
from cli.session import Session
from cli.stack_plan import Present
from stack_specs import convert

NAMESPACE = "com.docker.stack.namespace"
IMAGE = "com.docker.stack.image"


class Choices(NamedTuple):
    """How to deploy: the flags of `stack deploy`."""

    stack: str
    resolve_image: str
    prune: bool
    registry_auth: bool


def deploy(session: Session, plan: convert.StackRequests, how: Choices) -> list[str]:
    """Make the swarm hold the stack; the ids of its services."""
    _check_externals(session, plan.external_networks)
    if how.prune:
        _prune(session, plan, how.stack)
    _create_networks(session, plan, how.stack)
    for kind, requests in (("secret", plan.secrets), ("config", plan.configs)):
        for request in requests:
            _put_file(session, kind, request)
    existing = {one["Spec"]["Name"]: one for one in labelled(session, "/services", how.stack)}
    return [_put_service(session, service, existing.get(service.name), how) for service in plan.services]


def labelled(session: Session, path: str, stack: str, **query: object) -> list[Json]:
    """The stack's own services, secrets, configs, networks or tasks."""
    return session.client.list(path, {"label": [f"{NAMESPACE}={stack}"]}, **query)


def present(session: Session, stack: str) -> Present:
    """What the swarm has of the stack now."""
    networks = session.client.list("/networks", {"scope": ["swarm"]})
    own = {str(one["Name"]): one for one in networks if (one.get("Labels") or {}).get(NAMESPACE) == stack}
    secrets, configs = labelled(session, "/secrets", stack), labelled(session, "/configs", stack)
    services = labelled(session, "/services", stack, status=True)
    return Present(
        networks=own,
        secrets={str(one["Spec"]["Name"]): one for one in secrets},
        configs={str(one["Spec"]["Name"]): one for one in configs},
        services={str(one["Spec"]["Name"]): one for one in services},
        network_names={str(one["Id"]): str(one["Name"]) for one in networks},
    )


def _check_externals(session: Session, names: Iterable[str]) -> None:
    for name in names:
        try:
            network = session.client.get(f"/networks/{name}")
        except ApiError as refused:
            if refused.status != 404:
                raise
            raise CliError(
                f'network "{name}" is declared as external, but could not be found. '
                f"Create it first: shoal network create --driver overlay {name}"
            ) from refused
        if (scope := network.get("Scope")) != "swarm":
            raise CliError(f'network "{name}" is declared as external, but it is not in the right scope: "{scope}" instead of "swarm"')


def _prune(session: Session, plan: convert.StackRequests, stack: str) -> None:
    wanted = {request.name for request in plan.services}
    remove(session, "service", [one for one in labelled(session, "/services", stack) if one["Spec"]["Name"] not in wanted])


def _create_networks(session: Session, plan: convert.StackRequests, stack: str) -> None:
    existing = {network["Name"] for network in labelled(session, "/networks", stack)}
    for request in plan.networks:
        if request.name not in existing:
            session.say(f"Creating network {request.name}")
            _posted(session, "/networks/create", request.body, failing=f"failed to create network {request.name}")


def _put_file(session: Session, kind: str, request: convert.Request) -> None:
    """Create a secret or config; one that is there already has its labels brought up to date."""
    try:
        found = session.client.get(f"/{kind}s/{request.name}")
    except ApiError as refused:
        if refused.status != 404:
            raise
        session.say(f"Creating {kind} {request.name}")
        _posted(session, f"/{kind}s/create", request.body, failing=f"failed to create {kind} {request.name}")
        return
    path, version = f"/{kind}s/{found['ID']}/update", {"version": found["Version"]["Index"]}
    _posted(session, path, request.body, version, failing=f"failed to update {kind} {request.name}")


def _put_service(session: Session, request: convert.ServiceRequest, existing: Json, how: Choices) -> str:
    spec = _bound(session, request)
    auth = registry.header(session.config_dir, request.image) if how.registry_auth else None
    wishes = extensions.deployed(request.extensions, request.stack_name, spec.get("Labels") or {}, (existing or {}).get("Shoal"))
    headers = {**wishes, **({"X-Registry-Auth": auth} if auth else {})}
    ask = how.resolve_image != "never"
    if existing is None:
        session.say(f"Creating service {request.name}")
        path, query, verb = "/services/create", None, "create"
    else:
        session.say(f"Updating service {request.name} (id: {existing['ID']})")
        path, query, verb = f"/services/{existing['ID']}/update", {"version": existing["Version"]["Index"]}, "update"
        ask = _carry_over(spec, request.image, existing, how)
    warning = images.pin(session.client, spec, auth, ask=ask)
    answer = _posted(session, path, spec, query, headers, failing=f"failed to {verb} service {request.name}")
    for said in [*(answer.get("Warnings") or []), *([warning] if warning else [])]:
        session.warn(said)
    return str((existing or answer)["ID"])


def _bound(session: Session, request: convert.ServiceRequest) -> dict[str, Any]:
    """The service's spec with the ids of the secrets and configs that it names."""
    container: Json = copy.deepcopy(request.body)["TaskTemplate"]
    container = container.get("ContainerSpec") or {}
    secrets = lookup.ids(session.client, "/secrets", _named(container.get("Secrets"), "SecretName"))
    configs = lookup.ids(session.client, "/configs", _named(container.get("Configs"), "ConfigName"))
    return copy.deepcopy(dict(convert.bind_ids(request, secrets, configs)))


def _named(references: Sequence[Mapping[str, Any]] | None, member: str) -> list[str]:
    return [str(one[member]) for one in references or ()]


def _carry_over(spec: dict[str, Any], image: str, existing: Json, how: Choices) -> bool:
    """Keep what the last deploy found out about an image that is the same; whether to ask the registry anew."""
    task, before = spec["TaskTemplate"], existing["Spec"]["TaskTemplate"]
    task["ForceUpdate"] = before.get("ForceUpdate") or 0
    unchanged = image == (existing["Spec"].get("Labels") or {}).get(IMAGE)
    if how.resolve_image == "always":
        return True
    if unchanged:
        task["ContainerSpec"]["Image"] = before["ContainerSpec"]["Image"]
        return False
    return how.resolve_image == "changed"


def _posted(
    session: Session,
    path: str,
    body: Json,
    query: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    failing: str,
) -> Mapping[str, Any]:
    try:
        return session.client.post(path, body, query, headers=headers) or {}
    except CliError as refused:
        raise CliError(f"{failing}: {refused.message}") from refused


def remove(session: Session, kind: str, objects: Sequence[Json]) -> bool:
    """Remove them all; whether all could be."""
    done = True
    for one in sorted(objects, key=lambda found: _name(kind, found)):
        session.say(f"Removing {kind} {_name(kind, one)}")
        path = f"/{kind}s/{one['Id' if kind == 'network' else 'ID']}"
        try:
            once_free(partial(session.client.delete, path))
        except CliError as refused:
            done = False
            session.warn(f"Failed to remove {kind} {_name(kind, one)}: {refused.message}")
    return done


def once_free(
    act: Callable[[], object],
    *,
    patience: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Do it as soon as the tasks that are on their way out let go: a stack's networks are removed right after its services."""
    deadline = clock() + patience
    while True:
        try:
            act()
        except ApiError as refused:
            if "in use by task" not in refused.said or clock() >= deadline:
                raise
        else:
            return
        pause(0.2)


def _name(kind: str, one: Json) -> str:
    return str(one["Name"] if kind == "network" else one["Spec"]["Name"])
