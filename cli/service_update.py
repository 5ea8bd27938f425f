"""From the flags of `service update` and the service's present spec to the next one. Pure.

--x-add and --x-rm change lists; a flag of `create` replaces its value; what no flag names stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cli import service_spec as made
from cli.errors import CliError
from cli.flags import values
from cli.flags.grammar import Flags
from cli.service_spec import Names, Spec

# flag -> where its value goes, below the spec
PLAIN: Mapping[str, tuple[str, ...]] = {
    "image": ("TaskTemplate", "ContainerSpec", "Image"),
    "args": ("TaskTemplate", "ContainerSpec", "Args"),
    "entrypoint": ("TaskTemplate", "ContainerSpec", "Command"),
    "workdir": ("TaskTemplate", "ContainerSpec", "Dir"),
    "user": ("TaskTemplate", "ContainerSpec", "User"),
    "hostname": ("TaskTemplate", "ContainerSpec", "Hostname"),
    "init": ("TaskTemplate", "ContainerSpec", "Init"),
    "isolation": ("TaskTemplate", "ContainerSpec", "Isolation"),
    "tty": ("TaskTemplate", "ContainerSpec", "TTY"),
    "read-only": ("TaskTemplate", "ContainerSpec", "ReadOnly"),
    "stop-signal": ("TaskTemplate", "ContainerSpec", "StopSignal"),
    "stop-grace-period": ("TaskTemplate", "ContainerSpec", "StopGracePeriod"),
    "oom-score-adj": ("TaskTemplate", "ContainerSpec", "OomScoreAdj"),
    "limit-cpu": ("TaskTemplate", "Resources", "Limits", "NanoCPUs"),
    "limit-memory": ("TaskTemplate", "Resources", "Limits", "MemoryBytes"),
    "limit-pids": ("TaskTemplate", "Resources", "Limits", "Pids"),
    "reserve-cpu": ("TaskTemplate", "Resources", "Reservations", "NanoCPUs"),
    "reserve-memory": ("TaskTemplate", "Resources", "Reservations", "MemoryBytes"),
    "replicas-max-per-node": ("TaskTemplate", "Placement", "MaxReplicas"),
    "endpoint-mode": ("EndpointSpec", "Mode"),
}


def update(current: Mapping[str, Any], flags: Flags, *, names: Names) -> Spec:
    """The next spec; `current` is left as it is."""
    spec: Spec = copy.deepcopy(dict(current))
    task = spec.setdefault("TaskTemplate", {})
    container = task.setdefault("ContainerSpec", {})
    for flag, path in PLAIN.items():
        if flag in flags:
            _into(spec, path[:-1])[path[-1]] = flags.value(flag)
    _maps(spec, task, container, flags)
    _container_lists(container, flags, names)
    _task(spec, task, flags, names)
    _mode(spec, flags)
    for member, name in (("UpdateConfig", "update"), ("RollbackConfig", "rollback")):
        if flags.any(*made.rollout_flags(name)):
            spec[member] = made.rollout(flags, name, spec.get(member) or {})
    if flags.any("publish-add", "publish-rm"):
        endpoint = _into(spec, ("EndpointSpec",))
        endpoint["Ports"] = ports(endpoint.get("Ports") or [], flags.many("publish-add"), flags.many("publish-rm"))
    return spec


def _into(spec: Spec, path: Sequence[str]) -> Spec:
    """The object at that place, made where it is missing or null."""
    for member in path:
        if not isinstance(spec.get(member), dict):
            spec[member] = {}
        spec = spec[member]
    return spec


def _maps(spec: Spec, task: Spec, container: Spec, flags: Flags) -> None:
    for owner, member, name in ((spec, "Labels", "label"), (container, "Labels", "container-label"), (container, "Sysctls", "sysctl")):
        if flags.any(f"{name}-add", f"{name}-rm"):
            gone = {entry.partition("=")[0] for entry in flags.many(f"{name}-rm")}
            kept = {key: value for key, value in (owner.get(member) or {}).items() if key not in gone}
            owner[member] = {**kept, **values.pairs(flags.many(f"{name}-add"))}
    if driver := made.log_driver(flags):
        task["LogDriver"] = driver


def _container_lists(container: Spec, flags: Flags, names: Names) -> None:
    _env(container, flags)
    if flags.any("mount-add", "mount-rm"):
        container["Mounts"] = mounts(container.get("Mounts") or [], flags.many("mount-add"), flags.many("mount-rm"))
    if flags.any("group-add", "group-rm"):
        container["Groups"] = _sorted_list(container.get("Groups"), flags, "group")
    if flags.any(*(f"dns{part}-{verb}" for part in ("", "-option", "-search") for verb in ("add", "rm"))):
        dns = container.get("DNSConfig") or {}
        container["DNSConfig"] = made.dense(
            {
                member: _sorted_list(dict.fromkeys([*(dns.get(member) or []), *flags.many(f"{name}-add")]), flags, name, add=False)
                for member, name in (("Nameservers", "dns"), ("Search", "dns-search"), ("Options", "dns-option"))
            }
        )
    if flags.any("host-add", "host-rm"):
        container["Hosts"] = hosts(container.get("Hosts") or [], flags.many("host-add"), flags.many("host-rm"))
    if flags.any("ulimit-add", "ulimit-rm"):
        gone = set(flags.many("ulimit-rm"))
        limits = made.ulimits([*(container.get("Ulimits") or []), *flags.many("ulimit-add")])
        container["Ulimits"] = [limit for limit in limits if limit["Name"] not in gone]
    if flags.any("cap-add", "cap-drop"):
        container["CapabilityAdd"], container["CapabilityDrop"] = capabilities(
            container.get("CapabilityAdd") or [], container.get("CapabilityDrop") or [], flags.many("cap-add"), flags.many("cap-drop")
        )
    _health(container, flags)
    _references(container, flags, names)


def _env(container: Spec, flags: Flags) -> None:
    if not flags.any("env-add", "env-rm"):
        return
    gone = set(flags.many("env-rm"))
    kept = [entry for entry in container.get("Env") or [] if entry.partition("=")[0] not in gone]
    container["Env"] = list({entry.partition("=")[0]: entry for entry in [*kept, *flags.many("env-add")]}.values())


def _sorted_list(current: Iterable[str] | None, flags: Flags, name: str, *, add: bool = True) -> list[str]:
    gone = set(flags.many(f"{name}-rm"))
    return sorted(entry for entry in [*(current or []), *(flags.many(f"{name}-add") if add else [])] if entry not in gone)


def _references(container: Spec, flags: Flags, names: Names) -> None:
    for member, noun, ids in (("Secrets", "secret", names.secrets), ("Configs", "config", names.configs)):
        if not flags.any(f"{noun}-add", f"{noun}-rm"):
            continue
        gone = set(flags.many(f"{noun}-rm"))
        kept = [one for one in container.get(member) or [] if one[f"{noun.capitalize()}Name"] not in gone]
        container[member] = kept + made.references(flags.many(f"{noun}-add"), ids, noun)
    if "credential-spec" in flags:
        _into(container, ("Privileges",)).update(made.credential(flags, names.configs) or {})
        if name := flags.value("credential-spec").get("Config"):
            kept = [one for one in container.get("Configs") or [] if one.get("Runtime") is None]
            container["Configs"] = [*kept, {"ConfigID": names.configs[name], "ConfigName": name, "Runtime": {}}]


def _task(spec: Spec, task: Spec, flags: Flags, names: Names) -> None:
    if flags.any(*made.RESTART_FLAGS):
        task["RestartPolicy"] = made.restart_policy(flags, task.get("RestartPolicy") or {})
    if flags.any("constraint-add", "constraint-rm"):
        placement = _into(task, ("Placement",))
        placement["Constraints"] = _sorted_list(placement.get("Constraints"), flags, "constraint")
    if flags.any("placement-pref-add", "placement-pref-rm"):
        placement = _into(task, ("Placement",))
        gone = made.preferences(flags.many("placement-pref-rm"))
        kept = [one for one in placement.get("Preferences") or [] if one not in gone]
        placement["Preferences"] = kept + made.preferences(flags.many("placement-pref-add"))
    if flags.any("generic-resource-add", "generic-resource-rm"):
        kept_for = _into(task, ("Resources", "Reservations"))
        kept_for["GenericResources"] = generic_resources(kept_for.get("GenericResources") or [], flags)
    if flags.any("network-add", "network-rm"):
        task["Networks"] = _networks(task.get("Networks") or spec.get("Networks") or [], flags, names.networks)
        spec.pop("Networks", None)
    if flags.on("force"):
        task["ForceUpdate"] = int(task.get("ForceUpdate") or 0) + 1


def _networks(current: Sequence[Spec], flags: Flags, ids: Mapping[str, str]) -> list[Spec]:
    gone = {ids[name] for name in flags.many("network-rm")}
    kept = [one for one in current if one["Target"] not in gone]
    attached = {one["Target"] for one in kept}
    added = made.networks(flags.many("network-add"), ids)
    for one in added:
        if one["Target"] in attached:
            raise CliError(f"service is already attached to network {one['Target']}")
        attached.add(one["Target"])
    return sorted([*kept, *added], key=lambda one: str(one["Target"]))


def _mode(spec: Spec, flags: Flags) -> None:
    mode = _into(spec, ("Mode",))
    if "replicas" in flags:
        if isinstance(mode.get("Replicated"), dict):
            mode["Replicated"]["Replicas"] = flags.number("replicas")
        else:
            raise CliError("replicas can only be used with replicated mode (a job's are set by `shoal service scale`)")
    if "max-concurrent" in flags:
        if not isinstance(mode.get("ReplicatedJob"), dict):
            raise CliError("max-concurrent can only be used with replicated-job mode")
        mode["ReplicatedJob"]["MaxConcurrent"] = flags.number("max-concurrent")


def _health(container: Spec, flags: Flags) -> None:
    if flags.on("no-healthcheck"):
        container["Healthcheck"] = made.health(flags)
        return
    if not flags.any(*made.HEALTH_FLAGS):
        return
    check = dict(container.get("Healthcheck") or {})
    if check.get("Test") == ["NONE"]:
        check["Test"] = None
    members = ("Interval", "Timeout", "Retries", "StartPeriod", "StartInterval")
    for member, flag in zip(members, ("interval", "timeout", "retries", "start-period", "start-interval"), strict=True):
        if f"health-{flag}" in flags:
            check[member] = flags.value(f"health-{flag}")
    if "health-cmd" in flags:
        command = flags.text("health-cmd")
        check["Test"] = ["CMD-SHELL", command] if command else None
    container["Healthcheck"] = check


def mounts(current: Sequence[Spec], added: Sequence[Spec], gone: Sequence[str]) -> list[Spec]:
    """By target; one that is added takes the place of one that is there."""
    by_target: dict[str, Spec] = {}
    for one in added:
        if one["Target"] in by_target:
            raise CliError(f"duplicate mount target: {one['Target']}")
        by_target[one["Target"]] = one
    for one in current:
        by_target.setdefault(one["Target"], one)
    kept = [one for target, one in by_target.items() if target not in set(gone)]
    return sorted(kept, key=lambda one: (str(one.get("Source") or ""), str(one["Target"])))


def hosts(current: Sequence[str], added: Sequence[str], gone: Sequence[str]) -> list[str]:
    """Lines of the hosts file. HOST removes all of a name's addresses, HOST:IP that one."""
    removed = {entry.replace(":", " ", 1) if ":" in entry else entry for entry in gone}

    def stays(line: str) -> bool:
        ip, _, host = line.partition(" ")
        return not host or (host.split()[0] not in removed and f"{host.split()[0]} {ip}" not in removed)

    lines = [line for line in current if stays(line)]
    return list(dict.fromkeys([*lines, *(made.hosts_line(entry) for entry in added)]))


def ports(current: Sequence[Spec], added: Sequence[Spec], gone: Sequence[Spec]) -> list[Spec]:
    """Removed by target port, protocol and mode; sorted, so that nothing changes when nothing is changed."""

    def key(port: Spec) -> tuple[Any, ...]:
        return port.get("PublishedPort") or 0, *target(port)

    def target(port: Spec) -> tuple[Any, ...]:
        return port.get("TargetPort"), port.get("Protocol") or "tcp", port.get("PublishMode") or "ingress"

    removed = {target(port) for port in gone}
    kept = {key(port): port for port in current if target(port) not in removed}
    present = {key(port) for port in current}
    for port in added:
        if key(port) not in present:
            kept.setdefault(key(port), port)
        elif key(port) in kept and kept[key(port)].get("HostIP") != port.get("HostIP"):
            kept[key(port)] = port
    return [kept[at] for at in sorted(kept, key=lambda at: f"{at[0]}:{at[1]}/{at[2]}/{at[3]}")]


def generic_resources(current: Sequence[Spec], flags: Flags) -> list[Spec]:
    counts = {one["DiscreteResourceSpec"]["Kind"]: one for one in current if one.get("DiscreteResourceSpec")}
    for one in made.generic_resources(flags.many("generic-resource-add")):
        counts[one["DiscreteResourceSpec"]["Kind"]] = one
    for kind in (entry.partition("=")[0] for entry in flags.many("generic-resource-rm")):
        if kind not in counts:
            raise CliError(f"could not find generic-resource `{kind}` to remove it")
        del counts[kind]
    return list(counts.values())


def capabilities(adds: Sequence[str], drops: Sequence[str], added: Sequence[str], dropped: Sequence[str]) -> tuple[list[str], list[str]]:
    """--cap-add undoes an earlier drop first, --cap-drop an earlier add; a second time they say the opposite. RESET forgets what was."""
    to_add, to_drop = {made.capability(name) for name in added}, {made.capability(name) for name in dropped}
    add = set() if "RESET" in to_add else {made.capability(name) for name in adds}
    drop = set() if "RESET" in to_drop else {made.capability(name) for name in drops}
    for name in to_drop - to_add - {"RESET"}:
        if name in add:
            add.discard(name)
        else:
            drop.add(name)
    for name in to_add - {"RESET"}:
        if name in drop:
            drop.discard(name)
        else:
            add.add(name)
    return made.plain_capabilities(add), made.plain_capabilities(drop)
