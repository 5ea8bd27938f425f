"""The flags of `service create` and `service update`: what both have, and what each has of its own."""

from __future__ import annotations

from collections.abc import Iterable

from cli.flags.attachments import CONFIG, MOUNT, NETWORK, SECRET
from cli.flags.entries import (
    ADDRESSES,
    CREDENTIAL_SPEC,
    DNS_SEARCH,
    ENV,
    EXTRA_HOSTS,
    GENERIC_RESOURCES,
    LABELS,
    PREFERENCES,
    SYSCTLS,
    ULIMIT,
)
from cli.flags.grammar import (
    BYTES,
    COMMAND,
    DECIMAL,
    DURATION,
    FLOAT,
    INT,
    LIST,
    POSITIVE_DURATION,
    SWITCH,
    TEXT,
    UINT,
    Flag,
    Kind,
)
from cli.flags.ports import PORTS

UNITS = "(ns|us|ms|s|m|h)"
DETACH = Flag("detach", SWITCH, "Return at once, without waiting for the service to converge", short="d")
QUIET_PROGRESS = Flag("quiet", SWITCH, "Show no progress", short="q")

COMMON = (
    DETACH,
    QUIET_PROGRESS,
    Flag("workdir", TEXT, "Working folder inside the container", short="w"),
    Flag("user", TEXT, "User to run as: NAME|UID[:GROUP|GID]", short="u"),
    Flag("credential-spec", CREDENTIAL_SPEC, "Credential spec of a managed service account (Windows)"),
    Flag("hostname", TEXT, "Host name inside the container; may be a template"),
    Flag("entrypoint", COMMAND, "Run this in place of the image's ENTRYPOINT"),
    Flag("cap-add", LIST, "Linux capabilities to add"),
    Flag("cap-drop", LIST, "Linux capabilities to drop"),
    Flag("limit-cpu", DECIMAL, "CPUs that a task may use at most"),
    Flag("limit-memory", BYTES, "Memory that a task may use at most"),
    Flag("limit-pids", INT, "Processes that a task may have at most; 0 is no limit"),
    Flag("reserve-cpu", DECIMAL, "CPUs that a node must have free for a task"),
    Flag("reserve-memory", BYTES, "Memory that a node must have free for a task"),
    Flag("stop-grace-period", DURATION, f"Time a task has to stop before it is killed {UNITS}", default="10s"),
    Flag("stop-signal", TEXT, "Signal that asks a task to stop"),
    Flag("replicas", UINT, "Number of tasks"),
    Flag("replicas-max-per-node", UINT, "Most tasks on one node; 0 is no limit"),
    Flag("max-concurrent", UINT, "Tasks of a job that run at once (default: as many as --replicas)"),
    Flag("restart-condition", TEXT, "When to restart a task: none, on-failure or any", default='"any"', complete="none|on-failure|any"),
    Flag("restart-delay", DURATION, f"Time between restarts {UNITS}", default="5s"),
    Flag("restart-max-attempts", UINT, "Restarts before a task is given up"),
    Flag("restart-window", DURATION, f"Span in which restarts are counted {UNITS}"),
    Flag("endpoint-mode", TEXT, "How clients reach the tasks: vip or dnsrr", default='"vip"', complete="vip|dnsrr"),
    Flag("with-registry-auth", SWITCH, "Give the registry credentials to the nodes that run the tasks"),
    Flag("no-resolve-image", SWITCH, "Do not ask the registry which digest and platforms the image has"),
    Flag("log-driver", TEXT, "Logging driver of the tasks"),
    Flag("log-opt", LIST, "Options of the logging driver"),
    Flag("health-cmd", TEXT, "Command that checks a task's health"),
    Flag("health-interval", POSITIVE_DURATION, "Time between health checks (ms|s|m|h)"),
    Flag("health-timeout", POSITIVE_DURATION, "Time that one check may take (ms|s|m|h)"),
    Flag("health-retries", INT, "Failures in a row that make a task unhealthy"),
    Flag("health-start-period", POSITIVE_DURATION, "Time to come up, in which failures do not count (ms|s|m|h)"),
    Flag("health-start-interval", POSITIVE_DURATION, "Time between checks while coming up (ms|s|m|h)"),
    Flag("no-healthcheck", SWITCH, "Switch the image's health check off"),
    Flag("tty", SWITCH, "Give the tasks a terminal", short="t"),
    Flag("read-only", SWITCH, "Mount the container's root file system read-only"),
    Flag("init", SWITCH, "Run an init inside the container that forwards signals and reaps processes"),
    Flag("isolation", TEXT, "Isolation mode of the containers (Windows)"),
    Flag("drain-timeout", POSITIVE_DURATION, "Time for open connections to end before a task is stopped (ms|s|m|h)", default="5s"),
    Flag(
        "restart-backoff",
        POSITIVE_DURATION,
        "Longest pause before a task that keeps failing is tried again; 0 for no back-off",
        default="5m",
    ),
    Flag("readiness-cmd", TEXT, "Command that says whether a task is fit for traffic; it never ends the task"),
    Flag("readiness-http", TEXT, "Port and path that answer with 2xx or 3xx when a task is fit for traffic: 8080/healthz"),
    Flag("readiness-tcp", TEXT, "Port that takes connections when a task is fit for traffic"),
    Flag("readiness-interval", POSITIVE_DURATION, "Time between two such questions (ms|s|m|h)", default="5s"),
    Flag("readiness-timeout", POSITIVE_DURATION, "Time that one answer may take (ms|s|m|h)", default="3s"),
    Flag("readiness-retries", UINT, "Failures in a row that take a task out of traffic", default="3"),
    Flag("depends-on", LIST, "Start after these services: SERVICE[:CONDITION]", complete="service"),
    Flag("device", LIST, "Devices of the host to give to the tasks: HOST[:CONTAINER][:PERMISSIONS]"),
    Flag("gpus", TEXT, "GPUs to give to each task: all, a number, or device=ID"),
    Flag("rebalance", UINT, "Tasks at a time that may move to a node that joins; 0 for none", default="0"),
    Flag(
        "endpoint-affinity",
        TEXT,
        "Connections that go to the same task: none, or client-ip for those from one address",
        default='"none"',
        complete="none|client-ip",
    ),
    Flag("endpoint-prefer-local", SWITCH, "Send connections to tasks of the node that they start or come in at, while it has any"),
    Flag("on-disconnect", TEXT, "What a task does where no manager is in reach: keep or stop", default='"keep"', complete="keep|stop"),
    Flag("oom-score-adj", INT, "How readily the kernel kills a task when memory is short (-1000 to 1000)"),
)


def _rollout(name: str, done: str, actions: str) -> tuple[Flag, ...]:
    return (
        Flag(f"{name}-parallelism", UINT, f"Tasks {done} at once; 0 is all", default="1"),
        Flag(f"{name}-delay", DURATION, f"Time between two batches of tasks {done} {UNITS}", default="0s"),
        Flag(f"{name}-monitor", DURATION, f"Time for which each task {done} is watched for failure {UNITS}", default="5s"),
        Flag(f"{name}-failure-action", TEXT, f"What to do on failure: {actions.replace('|', ', ')}", default='"pause"', complete=actions),
        Flag(f"{name}-max-failure-ratio", FLOAT, "Share of tasks that may fail", default="0"),
        Flag(
            f"{name}-order", TEXT, "Which comes first: start-first or stop-first", default='"stop-first"', complete="start-first|stop-first"
        ),
    )


ROLLOUT = _rollout("update", "updated", "pause|continue|rollback") + _rollout("rollback", "rolled back", "pause|continue")

CREATE = (
    *COMMON,
    *ROLLOUT,
    Flag("name", TEXT, "Name of the service"),
    Flag(
        "mode",
        TEXT,
        "replicated, global, replicated-job or global-job",
        default='"replicated"',
        complete="replicated|global|replicated-job|global-job",
    ),
    Flag("label", LABELS, "Labels of the service", short="l"),
    Flag("container-label", LABELS, "Labels of the containers"),
    Flag("env", ENV, "Environment variables", short="e"),
    Flag("env-file", LIST, "Files of environment variables", complete="file"),
    Flag("mount", MOUNT, "Mounts of the containers"),
    Flag("constraint", LIST, "Conditions on the nodes that may run the tasks"),
    Flag("placement-pref", PREFERENCES, "How to spread the tasks, as in spread=node.labels.rack"),
    Flag("network", NETWORK, "Networks to attach to", complete="network"),
    Flag("secret", SECRET, "Secrets that the tasks can read", complete="secret"),
    Flag("config", CONFIG, "Configs that the tasks can read", complete="config"),
    Flag("publish", PORTS, "Ports to publish: [PUBLISHED:]TARGET[/PROTOCOL] or target=...,published=...", short="p"),
    Flag("group", LIST, "Supplementary groups of the container's user"),
    Flag("dns", ADDRESSES, "DNS servers to use"),
    Flag("dns-option", LIST, "Options of the resolver"),
    Flag("dns-search", DNS_SEARCH, "Domains to search"),
    Flag("host", EXTRA_HOSTS, "Names to add to the hosts file, as HOST:IP"),
    Flag("sysctl", SYSCTLS, "Kernel settings of the container"),
    Flag("ulimit", ULIMIT, "Resource limits, as NAME=SOFT[:HARD]"),
    Flag("generic-resource", GENERIC_RESOURCES, "Resources of the operator's own kinds that a node must have free"),
)


def _pair(name: str, added: Kind, what: str, *, removed: Kind = LIST, complete: str = "") -> Iterable[Flag]:
    yield Flag(f"{name}-add", added, f"Add or change {what}", complete=complete)
    yield Flag(f"{name}-rm", removed, f"Remove {what}", complete=complete)


UPDATE = (
    *(flag._replace(default="") for flag in (*COMMON, *ROLLOUT)),
    Flag("image", TEXT, "Image of the tasks"),
    Flag("no-readiness", SWITCH, "Ask for readiness no more"),
    Flag("args", COMMAND, "Arguments of the tasks' command"),
    Flag("rollback", SWITCH, "Go back to the previous specification"),
    Flag("force", SWITCH, "Replace the tasks even if nothing changed"),
    *_pair("label", LABELS, "a label of the service"),
    *_pair("container-label", LABELS, "a label of the containers"),
    *_pair("env", ENV, "an environment variable"),
    *_pair("mount", MOUNT, "a mount, by its target"),
    *_pair("constraint", LIST, "a condition on nodes"),
    *_pair("placement-pref", PREFERENCES, "a placement preference", removed=PREFERENCES),
    *_pair("network", NETWORK, "a network", complete="network"),
    *_pair("secret", SECRET, "a secret", complete="secret"),
    *_pair("config", CONFIG, "a config", complete="config"),
    *_pair("publish", PORTS, "a published port, by its target port", removed=PORTS),
    *_pair("group", LIST, "a supplementary group"),
    *_pair("dns", ADDRESSES, "a DNS server"),
    *_pair("dns-option", LIST, "an option of the resolver"),
    *_pair("dns-search", DNS_SEARCH, "a domain to search"),
    *_pair("host", EXTRA_HOSTS, "a name of the hosts file, as HOST:IP"),
    *_pair("sysctl", SYSCTLS, "a kernel setting"),
    *_pair("ulimit", ULIMIT, "a resource limit"),
    *_pair("generic-resource", GENERIC_RESOURCES, "a resource of the operator's own kinds"),
)
