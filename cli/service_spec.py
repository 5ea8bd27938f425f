"""From the flags of `service create` to the ServiceSpec that is posted. Pure: names are resolved by the caller.

Only what was said is in the spec; defaults are the manager's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli.errors import CliError
from cli.flags import values
from cli.flags.grammar import Flags

Spec = dict[str, Any]

RESTART_DEFAULTS: Mapping[str, Any] = {"Condition": "any", "Delay": 5_000_000_000, "MaxAttempts": 0}
ROLLOUT_DEFAULTS: Mapping[str, Any] = {
    "Parallelism": 1,
    "Monitor": 5_000_000_000,
    "FailureAction": "pause",
    "MaxFailureRatio": 0,
    "Order": "stop-first",
}
RESTART_FLAGS = ("restart-condition", "restart-delay", "restart-max-attempts", "restart-window")
HEALTH_FLAGS = ("health-cmd", "health-interval", "health-timeout", "health-retries", "health-start-period", "health-start-interval")


def rollout_flags(name: str) -> tuple[str, ...]:
    return tuple(f"{name}-{part}" for part in ("parallelism", "delay", "monitor", "failure-action", "max-failure-ratio", "order"))


class Names:
    """What the daemon said about the names that the flags mention: their ids."""

    def __init__(
        self,
        *,
        networks: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        configs: Mapping[str, str] | None = None,
    ) -> None:
        self.networks, self.secrets, self.configs = networks or {}, secrets or {}, configs or {}


def create(flags: Flags, image: str, args: Sequence[str], *, names: Names, read: Callable[[str], str], env: Mapping[str, str]) -> Spec:
    """The whole spec of a new service."""
    task: Spec = {
        "ContainerSpec": _container(flags, image, args, names=names, read=read, env=env),
        "Resources": resources(flags),
        "RestartPolicy": restart_policy(flags, {}) if flags.any(*RESTART_FLAGS) else None,
        "Placement": {
            "Constraints": flags.many("constraint"),
            "Preferences": preferences(flags.many("placement-pref")),
            "MaxReplicas": flags.value("replicas-max-per-node"),
        },
        "Networks": networks(flags.many("network"), names.networks),
        "LogDriver": log_driver(flags),
        "ForceUpdate": 0,
    }
    spec: Spec = {
        "Name": flags.text("name"),
        "Labels": values.pairs(flags.many("label")),
        "TaskTemplate": dense(task),
        "Mode": _mode(flags),
        "EndpointSpec": dense({"Mode": flags.text("endpoint-mode", "vip").lower(), "Ports": flags.many("publish")}),
    }
    for member, name in (("UpdateConfig", "update"), ("RollbackConfig", "rollback")):
        if flags.any(*rollout_flags(name)):
            spec[member] = rollout(flags, name, {})
    return spec


def _container(flags: Flags, image: str, args: Sequence[str], *, names: Names, read: Callable[[str], str], env: Mapping[str, str]) -> Spec:
    secrets = references(flags.many("secret"), names.secrets, "secret")
    configs = references(flags.many("config"), names.configs, "config")
    privileges = credential(flags, names.configs)
    if privileges and (name := flags.value("credential-spec").get("Config")):
        configs.append({"ConfigID": names.configs[name], "ConfigName": name, "Runtime": {}})
    cap_add, cap_drop = capabilities(flags.many("cap-add"), flags.many("cap-drop"))
    return dense(
        {
            "Image": image,
            "Labels": values.pairs(flags.many("container-label")),
            "Command": flags.value("entrypoint"),
            "Args": list(args),
            "Hostname": flags.text("hostname"),
            "Env": environment(flags.many("env-file"), flags.many("env"), read=read, env=env),
            "Dir": flags.text("workdir"),
            "User": flags.text("user"),
            "Groups": flags.many("group"),
            "Privileges": privileges,
            "Init": flags.on("init"),
            "StopSignal": flags.text("stop-signal"),
            "TTY": flags.on("tty") or None,
            "ReadOnly": flags.on("read-only") or None,
            "Mounts": flags.many("mount"),
            "StopGracePeriod": flags.value("stop-grace-period"),
            "Healthcheck": health(flags),
            "Hosts": [hosts_line(entry) for entry in flags.many("host")],
            "DNSConfig": dense({"Nameservers": flags.many("dns"), "Search": flags.many("dns-search"), "Options": flags.many("dns-option")}),
            "Secrets": secrets,
            "Configs": configs,
            "Isolation": flags.text("isolation"),
            "Sysctls": values.pairs(flags.many("sysctl")),
            "CapabilityAdd": cap_add,
            "CapabilityDrop": cap_drop,
            "Ulimits": ulimits(flags.many("ulimit")),
            "OomScoreAdj": flags.number("oom-score-adj") or None,
        }
    )


def dense(spec: Mapping[str, Any]) -> Spec:
    """Without what says nothing: null, "", [] and {}. false and 0 are something said."""
    return {key: value for key, value in spec.items() if value is not None and value not in ("", [], {})}


def _mode(flags: Flags) -> Spec:
    mode = flags.text("mode", "replicated")
    replicas, concurrent = flags.number("replicas"), flags.number("max-concurrent")
    if mode not in {"replicated", "global", "replicated-job", "global-job"}:
        raise CliError(f"Unknown mode: {mode}, only replicated, global, replicated-job and global-job are supported")
    if mode.startswith("global"):
        if replicas is not None:
            raise CliError("replicas can only be used with replicated or replicated-job mode")
        if flags.value("replicas-max-per-node"):
            raise CliError("replicas-max-per-node can only be used with replicated or replicated-job mode")
    if concurrent is not None and mode != "replicated-job":
        raise CliError("max-concurrent can only be used with replicated-job mode")
    match mode:
        case "global":
            return {"Global": {}}
        case "global-job":
            return {"GlobalJob": {}}
        case "replicated-job":
            return {"ReplicatedJob": dense({"MaxConcurrent": replicas if concurrent is None else concurrent, "TotalCompletions": replicas})}
        case _:
            return {"Replicated": dense({"Replicas": replicas})}


def resources(flags: Flags) -> Spec:
    limits = {"NanoCPUs": flags.value("limit-cpu"), "MemoryBytes": flags.value("limit-memory"), "Pids": flags.value("limit-pids")}
    kept = {
        "NanoCPUs": flags.value("reserve-cpu"),
        "MemoryBytes": flags.value("reserve-memory"),
        "GenericResources": generic_resources(flags.many("generic-resource")),
    }
    return {"Limits": _nonzero(limits), "Reservations": _nonzero(kept)}


def _nonzero(amounts: Mapping[str, Any]) -> Spec:
    return {key: value for key, value in amounts.items() if value}


def generic_resources(entries: Sequence[str]) -> list[Spec]:
    """gpu=2 asks for two of the kind gpu."""
    found: list[Spec] = []
    for kind, _, value in (entry.partition("=") for entry in entries):
        if value.lstrip("-").isdigit():
            if value.startswith("-"):
                raise CliError(f"invalid generic-resource request `{kind}={value}`, a count cannot be negative")
            found.append({"DiscreteResourceSpec": {"Kind": kind, "Value": int(value)}})
        else:
            raise CliError(f"invalid generic-resource request `{kind}={value}`: only counts can be asked for, as in {kind}=2")
    return found


def restart_policy(flags: Flags, current: Mapping[str, Any]) -> Spec:
    """The policy after the flags; one that does not exist yet starts from the defaults."""
    policy = dict(current or RESTART_DEFAULTS)
    return _overlaid(policy, flags, zip(("Condition", "Delay", "MaxAttempts", "Window"), RESTART_FLAGS, strict=True))


def rollout(flags: Flags, name: str, current: Mapping[str, Any]) -> Spec:
    """The update or rollback config after the flags."""
    members = ("Parallelism", "Delay", "Monitor", "FailureAction", "MaxFailureRatio", "Order")
    return _overlaid(dict(current or ROLLOUT_DEFAULTS), flags, zip(members, rollout_flags(name), strict=True))


def _overlaid(config: Spec, flags: Flags, members: Any) -> Spec:
    return {**config, **{member: flags.value(flag) for member, flag in members if flag in flags}}


def health(flags: Flags) -> Spec | None:
    if flags.on("no-healthcheck"):
        if flags.any(*HEALTH_FLAGS):
            raise CliError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not flags.any(*HEALTH_FLAGS):
        return None
    command = flags.text("health-cmd")
    return dense(
        {
            "Test": ["CMD-SHELL", command] if command else None,
            "Interval": flags.value("health-interval") or None,
            "Timeout": flags.value("health-timeout") or None,
            "StartPeriod": flags.value("health-start-period") or None,
            "StartInterval": flags.value("health-start-interval") or None,
            "Retries": flags.value("health-retries") or None,
        }
    )


def log_driver(flags: Flags) -> Spec | None:
    name = flags.text("log-driver")
    return dense({"Name": name, "Options": values.pairs(flags.many("log-opt"))}) if name else None


def preferences(spreads: Sequence[str]) -> list[Spec]:
    return [{"Spread": {"SpreadDescriptor": spread}} for spread in spreads]


def networks(wanted: Sequence[Mapping[str, Any]], ids: Mapping[str, str]) -> list[Spec]:
    return sorted(({**one, "Target": ids[one["Target"]]} for one in wanted), key=lambda one: str(one["Target"]))


def references(wanted: Sequence[Mapping[str, Any]], ids: Mapping[str, str], noun: str) -> list[Spec]:
    """Secret or config references with their ids; two may not land on the same file."""
    member, seen, found = noun.capitalize(), set(), []
    for one in wanted:
        name, target = one[f"{member}Name"], one["File"]["Name"]
        if target in seen:
            raise CliError(f"duplicate {noun} target for {name} not allowed")
        if name not in ids:
            raise CliError(f"{noun} not found: {name}")
        seen.add(target)
        found.append({**one, f"{member}ID": ids[name]})
    return found


def credential(flags: Flags, config_ids: Mapping[str, str]) -> Spec | None:
    spec = flags.value("credential-spec")
    if not spec:
        return None
    if name := spec.get("Config"):
        if name not in config_ids:
            raise CliError(f"config not found: {name}")
        spec = {"Config": config_ids[name]}
    return {"CredentialSpec": dict(spec), "NoNewPrivileges": False}


def hosts_line(entry: str) -> str:
    """HOST:IP as the hosts file has it: IP HOST."""
    host, _, ip = entry.partition(":")
    return f"{ip} {host}"


def ulimits(entries: Sequence[Spec]) -> list[Spec]:
    """By name; the last one said wins."""
    return [limit for _, limit in sorted({entry["Name"]: entry for entry in entries}.items())]


def capabilities(added: Sequence[str], dropped: Sequence[str]) -> tuple[list[str], list[str]]:
    """Both lists in the engine's spelling, sorted; what is added is not dropped."""
    add, drop = {capability(name) for name in added}, {capability(name) for name in dropped}
    return plain_capabilities(add), plain_capabilities(drop - add)


def plain_capabilities(names: set[str]) -> list[str]:
    """Sorted; ALL makes the others needless, RESET was for the update."""
    return ["ALL"] if "ALL" in names else sorted(names - {"RESET"})


def capability(name: str) -> str:
    upper = name.strip().upper()
    return upper if upper in {"ALL", "RESET"} or upper.startswith("CAP_") else f"CAP_{upper}"


def environment(files: Sequence[str], entries: Sequence[str], *, read: Callable[[str], str], env: Mapping[str, str]) -> list[str]:
    """Files first, then the flags; a later value of a name takes the place of an earlier one."""
    found: dict[str, str] = {}
    for entry in [*(line for path in files for line in _env_lines(path, read(path), env)), *entries]:
        key = entry.partition("=")[0]
        if found.get(key) != entry:
            found.pop(key, None)
        found[key] = entry
    return list(found.values())


def _env_lines(path: str, text: str, env: Mapping[str, str]) -> list[str]:
    found = []
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        line = raw.lstrip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not key:
            raise CliError(f"{path}:{number}: no variable name on line '{line}'")
        if any(character.isspace() for character in key):
            raise CliError(f"{path}:{number}: variable '{key}' contains whitespaces")
        if equals:
            found.append(f"{key}={value}")
        elif key in env:
            found.append(f"{key}={env[key]}")
    return found
