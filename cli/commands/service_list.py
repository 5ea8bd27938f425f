"""`service ls`, and the table of services that stacks show too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cli import images
from cli.client import Json
from cli.command import NONE, Verb
from cli.flags.entries import FILTER, filters
from cli.flags.grammar import Flag, Words
from cli.render import FORMAT, QUIET, Listing, form_of, natural, short_id, show
from cli.session import Session

HEADERS = {"ID": "ID", "Name": "NAME", "Mode": "MODE", "Replicas": "REPLICAS", "Image": "IMAGE", "Ports": "PORTS"}
LISTING = Listing(HEADERS, tuple(HEADERS))
FLAG_FILTER = Flag("filter", FILTER, "Show only what fits, as in name=web or mode=global", short="f")


def _ls(session: Session, words: Words) -> None:
    services = session.client.list("/services", filters(words.flags.many("filter")), status=True)
    show_services(session, services, form_of(words.flags), quiet=words.flags.on("quiet"))


def show_services(session: Session, services: list[Json], form: str, *, quiet: bool) -> None:
    """The table of services, by name."""
    rows = [row(service) for service in sorted(services, key=lambda one: natural(one["Spec"]["Name"]))]
    show(session, LISTING, rows, form, quiet=quiet)


def row(service: Json) -> Mapping[str, Any]:
    spec = service["Spec"]
    return {
        "ID": short_id(service["ID"]),
        "Name": spec["Name"],
        "Mode": mode(spec.get("Mode") or {}),
        "Replicas": replicas(service),
        "Image": images.bare(((spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Image") or ""),
        "Ports": published((service.get("Endpoint") or {}).get("Ports") or ()),
    }


def mode(spec: Mapping[str, Any]) -> str:
    words = {"Replicated": "replicated", "Global": "global", "ReplicatedJob": "replicated job", "GlobalJob": "global job"}
    return next((word for member, word in words.items() if spec.get(member) is not None), "")


def replicas(service: Json) -> str:
    """Running and wanted, and for a job how much of it is done."""
    status, spec = service.get("ServiceStatus") or {}, service["Spec"]
    running, desired, done = status.get("RunningTasks", 0), status.get("DesiredTasks", 0), status.get("CompletedTasks", 0)
    shown = f"{running}/{desired}"
    job = (spec.get("Mode") or {}).get("ReplicatedJob")
    most = ((spec.get("TaskTemplate") or {}).get("Placement") or {}).get("MaxReplicas")
    if job is not None:
        return f"{shown} ({done}/{job.get('TotalCompletions', 0)} completed)"
    if (spec.get("Mode") or {}).get("GlobalJob") is not None:
        return f"{shown} ({done}/{desired + done} completed)"
    if most and (spec.get("Mode") or {}).get("Replicated") is not None:
        return f"{shown} (max {most} per node)"
    return shown


def published(ports: Iterable[Mapping[str, Any]]) -> str:
    """Ports as *:8080->80/tcp, on one address as 10.0.0.1:8080->80/tcp; neighbours that go up by one are drawn together."""
    runs: list[list[Mapping[str, Any]]] = []
    for port in sorted(ports, key=lambda one: (str(one.get("Protocol")), one.get("TargetPort", 0), one.get("PublishedPort", 0))):
        if port.get("PublishMode", "ingress") != "ingress":
            continue
        if runs and _follows(runs[-1][-1], port):
            runs[-1].append(port)
        else:
            runs.append([port])
    return ", ".join(
        f"{run[0].get('HostIP') or '*'}:{_span(run, 'PublishedPort')}->{_span(run, 'TargetPort')}/{run[0]['Protocol']}" for run in runs
    )


def _follows(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["Protocol"], one.get("HostIP")) == (other["Protocol"], other.get("HostIP")) and all(
        other.get(member, 0) == one.get(member, 0) + 1 for member in ("PublishedPort", "TargetPort")
    )


def _span(run: list[Mapping[str, Any]], member: str) -> str:
    first, last = run[0].get(member, 0), run[-1].get(member, 0)
    return str(first) if first == last else f"{first}-{last}"


ls = Verb("ls", _ls, help="List services", arity=NONE, flags=(FLAG_FILTER, FORMAT, QUIET), aliases=("list",))
