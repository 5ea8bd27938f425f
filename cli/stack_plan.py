"""What a deploy of a stack would do: made, changed (which members, does it restart tasks), removed, left alone. Pure.

The requests of the files are held against what the swarm has under the stack's label; nothing is sent.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cli import extensions, images
from cli.client import Json
from cli.difference import Change, changes, restarts
from stack_specs import convert

CREATE, UPDATE, REMOVE, KEEP, REFUSED = "create", "update", "remove", "keep", "refused"
SIGNS = {CREATE: "+", UPDATE: "~", REMOVE: "-", KEEP: "=", REFUSED: "!"}
IMAGE = "com.docker.stack.image"


class Present(NamedTuple):
    """What the swarm has of the stack: objects by name."""

    networks: Mapping[str, Json]
    secrets: Mapping[str, Json]
    configs: Mapping[str, Json]
    services: Mapping[str, Json]
    network_names: Mapping[str, str]
    """Of every network of the swarm, by id: specs name networks by their ids."""


class Step(NamedTuple):
    kind: str
    name: str
    verb: str
    changes: tuple[Change, ...] = ()
    tasks: int = 0
    """How many tasks are made anew."""
    note: str = ""


def steps(plan: convert.StackRequests, present: Present, *, prune: bool) -> list[Step]:
    """In the order in which a deploy goes about it."""
    wanted = {request.name for request in plan.services}
    gone = [name for name in sorted(present.services) if name not in wanted]
    note = "" if prune else "not in the files; --prune removes it"
    found = [Step("service", name, REMOVE if prune else KEEP, note=note) for name in gone]
    found += [Step("network", one.name, KEEP if one.name in present.networks else CREATE) for one in plan.networks]
    for kind, requests, existing in (("secret", plan.secrets, present.secrets), ("config", plan.configs, present.configs)):
        found += [_file(kind, request, existing.get(request.name)) for request in requests]
    return [*found, *(_service(request, present) for request in plan.services)]


def lines(found: Sequence[Step]) -> Iterator[str]:
    """For people: a sign, what, and below it what changes."""
    for step in found:
        restarted = f" (restarts {step.tasks} task{'' if step.tasks == 1 else 's'})" if step.tasks else ""
        unrestarted = " (restarts nothing)" if step.verb == UPDATE and step.kind == "service" and not step.tasks else ""
        yield f"{SIGNS[step.verb]} {step.kind} {step.name}{restarted or unrestarted}{f': {step.note}' if step.note else ''}"
        for change in step.changes:
            yield f"    {change}"
    counts = {verb: sum(step.verb == verb for step in found) for verb in SIGNS}
    told = f"{counts[CREATE]} to create, {counts[UPDATE]} to update, {counts[REMOVE]} to remove, {counts[KEEP]} unchanged"
    yield f"{told}, {counts[REFUSED]} that would be refused" if counts[REFUSED] else told


def differs(found: Sequence[Step]) -> bool:
    return any(step.verb != KEEP for step in found)


def refused(found: Sequence[Step]) -> bool:
    """A deploy would get no further than to one of them."""
    return any(step.verb == REFUSED for step in found)


def _file(kind: str, request: convert.Request, existing: Json) -> Step:
    if existing is None:
        return Step(kind, request.name, CREATE)
    before = {key: value for key, value in existing["Spec"].items() if key != "Data" or kind == "config"}
    after = {key: value for key, value in request.body.items() if key != "Data" or kind == "config"}
    found = tuple(_hidden(change) for change in changes(before, after))
    if any(change.path != "Name" and not change.path.startswith("Labels") for change in found):
        return Step(kind, request.name, REFUSED, found, note=f"only labels of a {kind} can change; give what is new another name")
    note = "its content is never shown, so not compared" if kind == "secret" and not found else ""
    return Step(kind, request.name, UPDATE if found else KEEP, found, note=note)


def _hidden(change: Change) -> Change:
    """A config's content is too long to show, and is nobody's business in a terminal."""
    return Change(change.path, "(content)", "(other content)") if change.path == "Data" else change


def _service(request: convert.ServiceRequest, present: Present) -> Step:
    existing = present.services.get(request.name)
    if existing is None:
        return Step("service", request.name, CREATE)
    wished = extensions.members_of_stack(request.extensions, request.stack_name)
    before = _comparable(existing["Spec"], present.network_names)
    after = _comparable(request.body, present.network_names)
    if request.image == (existing["Spec"].get("Labels") or {}).get(IMAGE):
        _same_image(before, after)
    has = {key: value for key, value in (existing.get("Shoal") or {}).items() if key not in extensions.OBSERVED}
    labelled = not wished and any(label.startswith(extensions.LABELS) for label in after.get("Labels") or ())
    found = tuple(changes({**before, "Shoal": has}, {**after, "Shoal": has if labelled else wished}))
    return Step("service", request.name, UPDATE if found else KEEP, found, _tasks(existing) if restarts(list(found)) else 0)


def _comparable(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The spec with networks by name, without a digest that a registry gave, and without addresses, which the extensions say."""
    found = copy.deepcopy(dict(spec))
    for port in (found.get("EndpointSpec") or {}).get("Ports") or ():
        port.pop("HostIP", None)
    task = found.get("TaskTemplate") or {}
    for network in task.get("Networks") or ():
        network["Target"] = names.get(network.get("Target"), network.get("Target"))
    mode = found["Mode"] = found.get("Mode") or {"Replicated": {}}
    if mode.get("Replicated") is not None:
        mode["Replicated"].setdefault("Replicas", 1)
    if (job := mode.get("ReplicatedJob")) is not None:
        job["TotalCompletions"] = job.get("TotalCompletions") or job.get("MaxConcurrent") or 1
        job["MaxConcurrent"] = job.get("MaxConcurrent") or 1
    container = task.get("ContainerSpec") or {}
    if container.get("Image"):
        container["Image"] = images.bare(container["Image"])
    return found


def _same_image(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The files name the same image as the last time: what it was resolved to stays, however it is spelled."""
    (after["TaskTemplate"].get("ContainerSpec") or {})["Image"] = (before["TaskTemplate"].get("ContainerSpec") or {}).get("Image")


def _tasks(existing: Json) -> int:
    return int((existing.get("ServiceStatus") or {}).get("DesiredTasks") or 0) or 1
