"""Carrying out a stack: what its files ask for, against what the swarm already has under the stack's label.

The order is Docker's: externals are checked first, then networks, secrets, configs and services are made or updated, each said in a line.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cli import images, lookup, registry
from cli.client import Json
from cli.errors import ApiError, CliError
from cli.session import Session
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
    for kind, requests in (("secret", plan.secrets), ("config", plan.configs)):
        for request in requests:
            _put_file(session, kind, request.name, request.body)
    _create_networks(session, plan, how.stack)
    existing = {one["Spec"]["Name"]: one for one in labelled(session, "/services", how.stack)}
    return [
        _put_service(session, request.name, _bound(session, request.body), existing.get(request.name), how) for request in plan.services
    ]


def labelled(session: Session, path: str, stack: str, **query: object) -> list[Json]:
    """The stack's own services, secrets, configs, networks or tasks."""
    return session.client.list(path, {"label": [f"{NAMESPACE}={stack}"]}, **query)


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
        if network.get("Scope") != "swarm":
            raise CliError(
                f'network "{name}" is declared as external, but it is not in the right scope: "{network.get("Scope")}" instead of "swarm"'
            )


def _prune(session: Session, plan: convert.StackRequests, stack: str) -> None:
    wanted = {request.name for request in plan.services}
    remove(session, "service", [one for one in labelled(session, "/services", stack) if one["Spec"]["Name"] not in wanted])


def _put_file(session: Session, kind: str, name: str, body: Json) -> None:
    """Create a secret or config; one that is there already has its labels brought up to date."""
    client = session.client
    try:
        found = client.get(f"/{kind}s/{name}")
    except ApiError as refused:
        if refused.status != 404:
            raise
        found = None
    verb = "update" if found else "create"
    try:
        if found:
            client.post(f"/{kind}s/{found['ID']}/update", body, {"version": found["Version"]["Index"]})
        else:
            session.say(f"Creating {kind} {name}")
            client.post(f"/{kind}s/create", body)
    except CliError as refused:
        raise CliError(f"failed to {verb} {kind} {name}: {refused.message}") from refused


def _create_networks(session: Session, plan: convert.StackRequests, stack: str) -> None:
    existing = {network["Name"] for network in labelled(session, "/networks", stack)}
    for request in plan.networks:
        if request.name in existing:
            continue
        session.say(f"Creating network {request.name}")
        try:
            session.client.post("/networks/create", request.body)
        except CliError as refused:
            raise CliError(f"failed to create network {request.name}: {refused.message}") from refused


def _bound(session: Session, body: Json) -> dict[str, Any]:
    """The service with the ids of the secrets and configs that it names."""
    container = (body.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    secrets = lookup.ids(session.client, "/secrets", _named(container.get("Secrets"), "SecretName"))
    configs = lookup.ids(session.client, "/configs", _named(container.get("Configs"), "ConfigName"))
    return dict(convert.bind_ids(body, secrets, configs))


def _named(references: Sequence[Mapping[str, Any]] | None, member: str) -> list[str]:
    return [str(one[member]) for one in references or ()]


def _put_service(session: Session, name: str, body: dict[str, Any], existing: Json, how: Choices) -> str:
    spec = copy.deepcopy(body)
    image = spec["TaskTemplate"]["ContainerSpec"]["Image"]
    auth = registry.header(session.config_dir, image) if how.registry_auth else None
    headers = {"X-Registry-Auth": auth} if auth else None
    if existing is None:
        session.say(f"Creating service {name}")
        warning = images.pin(session.client, spec, auth, ask=how.resolve_image != "never")
        answer = _posted(session, "/services/create", spec, {}, headers, f"failed to create service {name}")
        service_id = str(answer["ID"])
    else:
        service_id = str(existing["ID"])
        session.say(f"Updating service {name} (id: {service_id})")
        ask = _carry_over(spec, existing, how)
        warning = images.pin(session.client, spec, auth, ask=ask)
        query = {"version": existing["Version"]["Index"]}
        answer = _posted(session, f"/services/{service_id}/update", spec, query, headers, f"failed to update service {name}")
    for said in [*(answer.get("Warnings") or []), *([warning] if warning else [])]:
        session.warn(said)
    return service_id


def _carry_over(spec: dict[str, Any], existing: Json, how: Choices) -> bool:
    """Keep what the last deploy found out about an image that is the same; whether to ask the registry anew."""
    task, before = spec["TaskTemplate"], existing["Spec"]["TaskTemplate"]
    task["ForceUpdate"] = before.get("ForceUpdate") or 0
    unchanged = task["ContainerSpec"]["Image"] == (existing["Spec"].get("Labels") or {}).get(IMAGE)
    if how.resolve_image == "always":
        return True
    if unchanged:
        task["ContainerSpec"]["Image"] = before["ContainerSpec"]["Image"]
        return False
    return how.resolve_image == "changed"


def _posted(
    session: Session, path: str, body: Json, query: Mapping[str, object], headers: Mapping[str, str] | None, failing: str
) -> Mapping[str, Any]:
    try:
        return session.client.post(path, body, query, headers=headers) or {}
    except CliError as refused:
        raise CliError(f"{failing}: {refused.message}") from refused


def remove(session: Session, kind: str, objects: Sequence[Json]) -> bool:
    """Remove them all; whether all could be."""
    done = True
    for one in sorted(objects, key=lambda found: str(_name(kind, found))):
        session.say(f"Removing {kind} {_name(kind, one)}")
        try:
            session.client.delete(f"/{kind}s/{one['Id' if kind == 'network' else 'ID']}")
        except CliError as refused:
            done = False
            session.warn(f"Failed to remove {kind} {_name(kind, one)}: {refused.message}")
    return done


def _name(kind: str, one: Json) -> str:
    return str(one["Name"] if kind == "network" else one["Spec"]["Name"])
