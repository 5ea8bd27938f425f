"""The keys of a stack file, by version: what docker 28 accepts in version 3.0 to 3.13. Read by `schema`.

A number after a shape is the first version 3.x that has the key. A file without a version, or with version "3", has them all.
"""

import re

from stack_specs import ports, units
from stack_specs.schema import Either, Key, Keys, ListOf, Names, Scalar
from stack_specs.values import Value

LATEST = 13
ALWAYS = LATEST + 1

_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_LOWER = re.compile(r"[a-z]+")


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _is_lower(text: str) -> bool:
    return _LOWER.fullmatch(text) is not None


def _is_not_empty(text: str) -> bool:
    return text.strip("\n") != ""


def _duration_problem(value: Value) -> str | None:
    try:
        units.duration(value if isinstance(value, str) else "")
    except ValueError as error:
        return str(error)
    return None


def _order_problem(value: Value) -> str | None:
    return None if value in ("start-first", "stop-first") else f"is {value!r}, and must be start-first or stop-first"


def _size_problem(value: Value) -> str | None:
    return "must not be negative" if isinstance(value, int | float) and value < 0 else None


TEXT = Scalar(("string",))
NUMBER = Scalar(("number",))
INTEGER = Scalar(("integer",))
TRUTH = Scalar(("boolean",))
DURATION = Scalar(("string",), _duration_problem)
TEXTS = ListOf(item=TEXT)
SET = ListOf(item=TEXT, unique_before=ALWAYS)
TEXT_OR_TEXTS = Either(options=(TEXT, TEXTS))
TEXT_OR_SET = Either(options=(TEXT, SET))
MAP_OR_LIST = Either(options=(Names(member=Scalar(("string", "number", "null")), allows=_is_not_empty), SET))
OPTIONS = Names(member=Scalar(("string", "number")), allows=_is_not_empty, strict=False)

BUILD = Either(
    options=(
        TEXT,
        Keys(
            open_since=11,
            keys={
                "context": Key(TEXT),
                "dockerfile": Key(TEXT),
                "args": Key(MAP_OR_LIST),
                "cache_from": Key(SET, 2),
                "labels": Key(MAP_OR_LIST, 3),
                "network": Key(TEXT, 4),
                "target": Key(TEXT, 4),
                "shm_size": Key(Scalar(("integer", "string")), 5),
                "extra_hosts": Key(MAP_OR_LIST, 9),
            },
        ),
    )
)

FILE_REFERENCE = Either(
    options=(
        TEXT,
        Keys(
            open_since=0,
            keys={"source": Key(TEXT), "target": Key(TEXT), "uid": Key(TEXT), "gid": Key(TEXT), "mode": Key(NUMBER)},
        ),
    )
)


ROLLOUT = Keys(
    keys={
        "parallelism": Key(INTEGER),
        "delay": Key(DURATION),
        "failure_action": Key(TEXT),
        "monitor": Key(DURATION),
        "max_failure_ratio": Key(NUMBER),
        "order": Key(Scalar(("string",), _order_problem), 4),
    }
)

GENERIC_RESOURCE = Keys(keys={"discrete_resource_spec": Key(Keys(keys={"kind": Key(TEXT), "value": Key(NUMBER)}))})

DEPLOY = Keys(
    nullable=True,
    keys={
        "mode": Key(TEXT),
        "endpoint_mode": Key(TEXT, 2),
        "replicas": Key(INTEGER),
        "labels": Key(MAP_OR_LIST),
        "update_config": Key(ROLLOUT),
        "rollback_config": Key(ROLLOUT, 7),
        "resources": Key(
            Keys(
                keys={
                    "limits": Key(Keys(keys={"cpus": Key(TEXT), "memory": Key(TEXT), "pids": Key(INTEGER, 9)})),
                    "reservations": Key(
                        Keys(
                            keys={"cpus": Key(TEXT), "memory": Key(TEXT), "generic_resources": Key(ListOf(item=GENERIC_RESOURCE), 5)},
                            remedies={"devices": "docker's stack files have no devices; use generic_resources"},
                        )
                    ),
                }
            )
        ),
        "restart_policy": Key(
            Keys(keys={"condition": Key(TEXT), "delay": Key(DURATION), "max_attempts": Key(INTEGER), "window": Key(DURATION)})
        ),
        "placement": Key(
            Keys(
                keys={
                    "constraints": Key(TEXTS),
                    "preferences": Key(ListOf(item=Keys(keys={"spread": Key(TEXT)})), 3),
                    "max_replicas_per_node": Key(INTEGER, 8),
                }
            )
        ),
    },
)


HEALTHCHECK = Keys(
    keys={
        "disable": Key(TRUTH),
        "interval": Key(DURATION),
        "timeout": Key(DURATION),
        "retries": Key(NUMBER),
        "start_period": Key(DURATION, 4),
        "start_interval": Key(DURATION, 12),
        "test": Key(TEXT_OR_TEXTS),
    }
)

SERVICE_NETWORK = Keys(
    nullable=True,
    keys={
        "aliases": Key(SET),
        "ipv4_address": Key(TEXT),
        "ipv6_address": Key(TEXT),
        "driver_opts": Key(OPTIONS, 13),
    },
)

SHORT_PORT = (Scalar(("number",), ports.check), Scalar(("string",), ports.check))
LONG_PORT = Keys(since=2, keys={"mode": Key(TEXT), "target": Key(INTEGER), "published": Key(INTEGER), "protocol": Key(TEXT)})

LONG_VOLUME = Keys(
    since=2,
    required=("type",),
    keys={
        "type": Key(TEXT),
        "source": Key(TEXT),
        "target": Key(TEXT),
        "read_only": Key(TRUTH),
        "consistency": Key(TEXT),
        "bind": Key(Keys(open_since=0, keys={"propagation": Key(TEXT)})),
        "volume": Key(Keys(open_since=0, keys={"nocopy": Key(TRUTH)})),
        "tmpfs": Key(Keys(open_since=0, keys={"size": Key(Scalar(("integer",), _size_problem))}), 6),
    },
)

ULIMIT = Either(options=(INTEGER, Keys(required=("soft", "hard"), keys={"soft": Key(INTEGER), "hard": Key(INTEGER)})))

LOGGING = Keys(
    keys={
        "driver": Key(TEXT),
        "options": Key(Names(member=Scalar(("string", "number", "null")), allows=_is_not_empty, strict=False)),
    }
)

SERVICE = Keys(
    extensions_since=7,
    remedies={
        "replicas": "write it under `deploy:`",
        "scale": "write `deploy: {replicas: ...}`",
        "resources": "write it under `deploy:`",
        "placement": "write it under `deploy:`",
        "restart_policy": "write it under `deploy:`",
        "update_config": "write it under `deploy:`",
        "cpus": "write `deploy: {resources: {limits: {cpus: ...}}}`",
        "mem_reservation": "write `deploy: {resources: {reservations: {memory: ...}}}`",
        "volume": "did you mean 'volumes'?",
        "port": "did you mean 'ports'?",
        "env": "did you mean 'environment'?",
        "depends_on": "write a list of services; conditions go under `x-shoal: {depends_on: ...}`",
    },
    keys={
        "build": Key(BUILD),
        "cap_add": Key(SET),
        "cap_drop": Key(SET),
        "cgroup_parent": Key(TEXT),
        "cgroupns_mode": Key(TEXT, 9),
        "command": Key(TEXT_OR_TEXTS),
        "configs": Key(ListOf(item=FILE_REFERENCE), 3),
        "container_name": Key(TEXT),
        "credential_spec": Key(Keys(keys={"config": Key(TEXT, 8), "file": Key(TEXT), "registry": Key(TEXT)}), 3),
        "depends_on": Key(SET),
        "deploy": Key(DEPLOY),
        "devices": Key(SET),
        "dns": Key(TEXT_OR_SET),
        "dns_search": Key(TEXT_OR_SET),
        "domainname": Key(TEXT),
        "entrypoint": Key(TEXT_OR_TEXTS),
        "env_file": Key(TEXT_OR_SET),
        "environment": Key(MAP_OR_LIST),
        "expose": Key(ListOf(item=Scalar(("string", "number")), unique_before=ALWAYS)),
        "external_links": Key(SET),
        "extra_hosts": Key(MAP_OR_LIST),
        "healthcheck": Key(HEALTHCHECK),
        "hostname": Key(TEXT),
        "image": Key(TEXT),
        "init": Key(TRUTH, 7),
        "ipc": Key(TEXT),
        "isolation": Key(TEXT, 5),
        "labels": Key(MAP_OR_LIST),
        "links": Key(SET),
        "logging": Key(LOGGING),
        "mac_address": Key(TEXT),
        "network_mode": Key(TEXT),
        "networks": Key(Either(options=(SET, Names(member=SERVICE_NETWORK, allows=_is_name)))),
        "oom_score_adj": Key(INTEGER, 13),
        "pid": Key(Scalar(("string", "null"))),
        "ports": Key(ListOf(item=Either(options=(*SHORT_PORT, LONG_PORT)), unique_before=ALWAYS)),
        "privileged": Key(TRUTH),
        "read_only": Key(TRUTH),
        "restart": Key(TEXT),
        "secrets": Key(ListOf(item=FILE_REFERENCE), 1),
        "security_opt": Key(SET),
        "shm_size": Key(Scalar(("number", "string"))),
        "stdin_open": Key(TRUTH),
        "stop_grace_period": Key(DURATION),
        "stop_signal": Key(TEXT),
        "sysctls": Key(MAP_OR_LIST),
        "tmpfs": Key(TEXT_OR_SET),
        "tty": Key(TRUTH),
        "ulimits": Key(Names(member=ULIMIT, allows=_is_lower, strict=False)),
        "user": Key(TEXT),
        "userns_mode": Key(TEXT),
        "volumes": Key(ListOf(item=Either(options=(TEXT, LONG_VOLUME)), unique_before=2)),
        "working_dir": Key(TEXT),
    },
)

EXTERNAL = Either(options=(TRUTH, Keys(keys={"name": Key(TEXT)})))
LOOSE_EXTERNAL = Either(options=(TRUTH, Keys(open_since=0, keys={"name": Key(TEXT)})))

NETWORK = Keys(
    nullable=True,
    extensions_since=7,
    keys={
        "name": Key(TEXT, 5),
        "driver": Key(TEXT),
        "driver_opts": Key(OPTIONS),
        "ipam": Key(Keys(keys={"driver": Key(TEXT), "config": Key(ListOf(item=Keys(keys={"subnet": Key(TEXT)})))})),
        "external": Key(EXTERNAL),
        "internal": Key(TRUTH),
        "attachable": Key(TRUTH, 2),
        "labels": Key(MAP_OR_LIST),
    },
)

TOPOLOGIES = ListOf(item=Keys(open_since=0, keys={"segments": Key(MAP_OR_LIST)}))
CLUSTER_VOLUME = Keys(
    open_since=0,
    keys={
        "group": Key(TEXT),
        "availability": Key(TEXT),
        "access_mode": Key(
            Keys(
                open_since=0,
                keys={
                    "scope": Key(TEXT),
                    "sharing": Key(TEXT),
                    "block_volume": Key(Keys(open_since=0, keys={})),
                    "mount_volume": Key(Keys(open_since=0, keys={"fs_type": Key(TEXT), "mount_flags": Key(TEXTS)})),
                },
            )
        ),
        "accessibility_requirements": Key(Keys(open_since=0, keys={"requisite": Key(TOPOLOGIES), "preferred": Key(TOPOLOGIES)})),
        "capacity_range": Key(Keys(open_since=0, keys={"required_bytes": Key(TEXT), "limit_bytes": Key(TEXT)})),
    },
)

VOLUME = Keys(
    nullable=True,
    extensions_since=7,
    keys={
        "name": Key(TEXT, 4),
        "driver": Key(TEXT),
        "driver_opts": Key(OPTIONS),
        "external": Key(EXTERNAL),
        "labels": Key(MAP_OR_LIST),
        "x-cluster-spec": Key(CLUSTER_VOLUME, 10),
    },
)

CONFIG = Keys(
    extensions_since=7,
    keys={
        "name": Key(TEXT, 5),
        "file": Key(TEXT),
        "external": Key(LOOSE_EXTERNAL),
        "labels": Key(MAP_OR_LIST),
        "template_driver": Key(TEXT, 8),
    },
    remedies={"content": "docker's stack files take `file:` only", "environment": "docker's stack files take `file:` only"},
)

SECRET = Keys(
    extensions_since=7,
    keys={**CONFIG.keys, "driver": Key(TEXT, 8), "driver_opts": Key(OPTIONS, 8)},
    remedies=CONFIG.remedies,
)

STACK = Keys(
    extensions_since=4,
    remedies={
        "include": "give each file to the command with a -c of its own",
        "name": "the stack's name is an argument of the command",
        "functions": "this looks like a file for another tool",
        "provider": "this looks like a file for another tool",
    },
    keys={
        "version": Key(TEXT),
        "services": Key(Names(member=SERVICE, allows=_is_name)),
        "networks": Key(Names(member=NETWORK, allows=_is_name, strict=False)),
        "volumes": Key(Names(member=VOLUME, allows=_is_name)),
        "secrets": Key(Names(member=SECRET, allows=_is_name), 1),
        "configs": Key(Names(member=CONFIG, allows=_is_name), 3),
    },
)
