"""`service inspect`, as JSON or for people."""

from __future__ import annotations

from typing import Any

from cli import human
from cli.client import Json
from cli.command import ONE_OR_MORE, Verb
from cli.commands.service_list import mode
from cli.errors import ApiError, CliError
from cli.flags.grammar import Words
from cli.inspection import FLAGS, inspect_each
from cli.session import Session


def _inspect(session: Session, words: Words) -> None:
    def fetch(name: str) -> Json:
        try:
            return session.client.get(f"/services/{name}", {"insertDefaults": "true"})
        except ApiError as refused:
            if refused.status == 404:
                raise CliError(f"Error: no such service: {name}") from refused
            raise

    networks: dict[str, str] = {}
    if words.flags.on("pretty"):
        networks = {one["Id"]: one["Name"] for one in session.client.list("/networks")}
    inspect_each(session, words, fetch, pretty=lambda service: pretty(service, networks))


def pretty(service: Json, networks: dict[str, str]) -> str:
    """The facts of a service, one a line."""
    spec = service["Spec"]
    task = spec.get("TaskTemplate") or {}
    lines = ["", f"ID:\t\t{service['ID']}", f"Name:\t\t{spec['Name']}"]
    lines += _block("Labels:", [f" {key}={value}" for key, value in sorted((spec.get("Labels") or {}).items())])
    lines += _mode(service)
    lines += _update_status(service)
    lines += ["Placement:", *_placement(task.get("Placement") or {})]
    for title, member in (("UpdateConfig:", "UpdateConfig"), ("RollbackConfig:", "RollbackConfig")):
        if config := spec.get(member):
            lines += [title, *_rollout(config, title[:-7])]
    lines += _container(task.get("ContainerSpec") or {})
    if driver := task.get("LogDriver"):
        lines += ["Log Driver:", f" Name:\t\t{driver.get('Name', '')}"]
        lines += _block(" LogOpts:", [f"  {key}:\t{value}" for key, value in sorted((driver.get("Options") or {}).items())])
    lines += ["Resources:", *_resources(task.get("Resources") or {})]
    if attached := task.get("Networks") or spec.get("Networks"):
        lines.append("Networks: " + " ".join(networks.get(one["Target"], one["Target"]) for one in attached))
    endpoint = service.get("Endpoint") or {}
    lines.append(f"Endpoint Mode:\t{(endpoint.get('Spec') or spec.get('EndpointSpec') or {}).get('Mode', 'vip')}")
    lines += _choice(service.get("Shoal") or {})
    for port in endpoint.get("Ports") or ():
        lines += _port(port, first=port is endpoint["Ports"][0])
    lines += _health((task.get("ContainerSpec") or {}).get("Healthcheck"))
    return "\n".join([*lines, ""])


def _choice(extensions: Json) -> list[str]:
    affinity = extensions.get("EndpointAffinity")
    found = [f"Endpoint Affinity:\t{affinity}"] if affinity else []
    return [*found, *(["Endpoint Prefer Local:\ttrue"] if extensions.get("EndpointPreferLocal") else [])]


def _mode(service: Json) -> list[str]:
    modes = service["Spec"].get("Mode") or {}
    lines = [f"Service Mode:\t{mode(modes).title()}"]
    if (replicated := modes.get("Replicated")) is not None:
        lines.append(f" Replicas:\t{replicated.get('Replicas', 1)}")
    if (job := modes.get("ReplicatedJob")) is not None:
        lines += [f" Max Concurrent:\t{job.get('MaxConcurrent', 1)}", f" Total Completions:\t{job.get('TotalCompletions', 1)}"]
    return lines


def _update_status(service: Json) -> list[str]:
    status = service.get("UpdateStatus") or {}
    if not status.get("State"):
        return []
    lines = ["UpdateStatus:", f" State:\t\t{status['State']}"]
    now = human.utc_now()
    for member, title in (("StartedAt", "Started"), ("CompletedAt", "Completed")):
        if stamp := status.get(member):
            lines.append(f" {title}:\t{human.ago(stamp, now=now)}")
    return [*lines, f" Message:\t{status.get('Message', '')}"]


def _placement(placement: Json) -> list[str]:
    lines = []
    if constraints := placement.get("Constraints"):
        lines.append(f" Constraints:\t[{' '.join(constraints)}]")
    spreads = [f"spread={one['Spread']['SpreadDescriptor']}" for one in placement.get("Preferences") or () if one.get("Spread")]
    if spreads:
        lines.append(f" Preferences:\t[{' '.join(spreads)}]")
    if most := placement.get("MaxReplicas"):
        lines.append(f" Max Replicas Per Node:\t{most}")
    return lines


def _rollout(config: Json, name: str) -> list[str]:
    lines = [f" Parallelism:\t{config.get('Parallelism', 0)}"]
    if config.get("Delay"):
        lines.append(f" Delay:\t\t{human.duration(config['Delay'])}")
    lines.append(f" On failure:\t{config.get('FailureAction', '')}")
    if config.get("Monitor"):
        lines.append(f" Monitoring Period: {human.duration(config['Monitor'])}")
    lines.append(f" Max failure ratio: {config.get('MaxFailureRatio', 0):g}")
    return [*lines, f" {name} order:\t{config.get('Order', '')}"]


def _container(spec: Json) -> list[str]:
    lines = ["ContainerSpec:", f" Image:\t\t{spec.get('Image', '')}"]
    for member, title in (("Command", "Command"), ("Args", "Args"), ("Env", "Env")):
        if entries := spec.get(member):
            lines.append(f" {title}:\t\t{' '.join(entries)}")
    for member, title in (("Dir", "Dir"), ("User", "User"), ("Hostname", "Hostname"), ("StopSignal", "Stop Signal")):
        if spec.get(member):
            lines.append(f" {title}:\t\t{spec[member]}")
    if spec.get("Init") is not None:
        lines.append(f" Init:\t\t{str(spec['Init']).lower()}")
    if spec.get("CapabilityAdd") or spec.get("CapabilityDrop"):
        lines.append("Capabilities:")
        lines += [
            f" {word}: {', '.join(spec[member])}"
            for word, member in (("Add", "CapabilityAdd"), ("Drop", "CapabilityDrop"))
            if spec.get(member)
        ]
    lines += _block("SysCtls:", [f" {key}: {value}" for key, value in sorted((spec.get("Sysctls") or {}).items())])
    lines += _block("Ulimits:", [f" {one['Name']}: {one['Soft']}:{one['Hard']}" for one in spec.get("Ulimits") or ()])
    lines += _block("Mounts:", [line for one in spec.get("Mounts") or () for line in _mount(one)])
    for member, noun in (("Configs", "Config"), ("Secrets", "Secret")):
        references = [(one["File"]["Name"], one[f"{noun}Name"]) for one in spec.get(member) or () if one.get("File")]
        lines += _block(f"{member}:", [line for target, name in references for line in (f" Target:\t{target}", f"  Source:\t{name}")])
    return lines


def _mount(mount: Json) -> list[str]:
    return [
        f" Target:\t{mount.get('Target', '')}",
        f"  Source:\t{mount.get('Source', '')}",
        f"  ReadOnly:\t{str(bool(mount.get('ReadOnly'))).lower()}",
        f"  Type:\t\t{mount.get('Type', '')}",
    ]


def _resources(resources: Json) -> list[str]:
    lines: list[str] = []
    for title, member in ((" Reservations:", "Reservations"), (" Limits:", "Limits")):
        amounts: Any = resources.get(member) or {}
        shown = []
        if amounts.get("NanoCPUs"):
            shown.append(f"  CPU:\t\t{amounts['NanoCPUs'] / 1e9:g}")
        if amounts.get("MemoryBytes"):
            shown.append(f"  Memory:\t{human.bytes_size(amounts['MemoryBytes'])}")
        if amounts.get("Pids"):
            shown.append(f"  PIDs:\t\t{amounts['Pids']}")
        for one in amounts.get("GenericResources") or ():
            counted = one.get("DiscreteResourceSpec") or one.get("NamedResourceSpec") or {}
            shown.append(f"  {counted.get('Kind')}:\t\t{counted.get('Value')}")
        lines += _block(title, shown)
    return lines


def _port(port: Json, *, first: bool) -> list[str]:
    return [
        *(["Ports:"] if first else []),
        f" PublishedPort = {port.get('PublishedPort', 0)}",
        f"  Protocol = {port.get('Protocol', 'tcp')}",
        f"  TargetPort = {port.get('TargetPort', 0)}",
        f"  PublishMode = {port.get('PublishMode', 'ingress')}",
        *([f"  HostIP = {port['HostIP']}"] if port.get("HostIP") else []),
    ]


def _health(check: Json) -> list[str]:
    if not check:
        return []
    lines = [" Healthcheck:", f"  Interval = {human.duration(check.get('Interval') or 0)}", f"  Retries = {check.get('Retries') or 0}"]
    lines += [
        f"  StartPeriod = {human.duration(check.get('StartPeriod') or 0)}",
        f"  Timeout = {human.duration(check.get('Timeout') or 0)}",
    ]
    return [*lines, *_block("  Tests:", [f"    Test = {word}" for word in check.get("Test") or ()])]


def _block(title: str, lines: list[str]) -> list[str]:
    return [title, *lines] if lines else []


inspect = Verb(
    "inspect",
    _inspect,
    help="Show one or more services in detail",
    arguments="SERVICE [SERVICE...]",
    arity=ONE_OR_MORE,
    flags=FLAGS,
    complete="service",
)
