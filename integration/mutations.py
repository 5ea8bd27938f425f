"""Descriptions in which one member is wrong: each member of a whole one, in every wrong way. Pure."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = object()
WRONG: tuple[Any, ...] = (ABSENT, None, "", [], {}, [None], [{}], -1, 10**30, "x" * 300)

SERVICE: Mapping[str, Any] = {
    "Name": "mutant",
    "Labels": {"a": "b"},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "shoal-lab",
            "Command": ["sleep"],
            "Env": ["A=b"],
            "Hostname": "host",
            "StopGracePeriod": 1_000_000_000,
            "Hosts": ["10.0.0.1 other"],
            "DNSConfig": {"Nameservers": ["10.0.0.1"], "Search": ["example.org"]},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Retries": 2},
            "Mounts": [
                {
                    "Type": "volume",
                    "Source": "v",
                    "Target": "/v",
                    "VolumeOptions": {"Labels": {"a": "b"}, "DriverConfig": {"Name": "local"}},
                },
                {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1_000_000, "Mode": 1023}},
                {"Type": "bind", "Source": "/etc", "Target": "/e", "BindOptions": {"Propagation": "rprivate"}},
            ],
            "Secrets": [{"SecretID": "none", "SecretName": "none", "File": {"Name": "f", "UID": "0", "GID": "0", "Mode": 292}}],
            "Sysctls": {"net.core.somaxconn": "10"},
            "CapabilityAdd": ["CAP_NET_ADMIN"],
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        },
        "Resources": {
            "Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 64_000_000, "Pids": 100},
            "Reservations": {"GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}}]},
        },
        "RestartPolicy": {"Condition": "any", "Delay": 1_000_000_000, "MaxAttempts": 3},
        "Placement": {"Constraints": ["node.role==manager"], "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.x"}}]},
        "Networks": [{"Target": "none", "Aliases": ["other"]}],
        "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
        "ForceUpdate": 0,
    },
    "Mode": {"Replicated": {"Replicas": 0}},
    "UpdateConfig": {"Parallelism": 1, "Delay": 1000, "FailureAction": "pause", "MaxFailureRatio": 0.1, "Order": "stop-first"},
    "EndpointSpec": {"Mode": "vip", "Ports": [{"Name": "p", "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 18033}]},
}
NETWORK: Mapping[str, Any] = {
    "Name": "mutant",
    "CheckDuplicate": True,
    "Driver": "overlay",
    "Scope": "swarm",
    "Internal": False,
    "Attachable": True,
    "ConfigOnly": False,
    "ConfigFrom": {"Network": ""},
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.66.0.0/24", "Gateway": "10.66.0.1"}], "Options": {"a": "b"}},
    "Options": {"c": "d"},
    "Labels": {"e": "f"},
}
FILE: Mapping[str, Any] = {"Name": "mutant", "Labels": {"a": "b"}, "Data": "eA==", "Templating": {"Name": "golang", "Options": {"a": "b"}}}
NODE: Mapping[str, Any] = {"Name": "mutant", "Labels": {"a": "b"}, "Role": "manager", "Availability": "active"}
SWARM: Mapping[str, Any] = {
    "Name": "default",
    "Labels": {"a": "b"},
    "Orchestration": {"TaskHistoryRetentionLimit": 5},
    "Raft": {"SnapshotInterval": 10_000, "ElectionTick": 10, "HeartbeatTick": 1},
    "Dispatcher": {"HeartbeatPeriod": 5_000_000_000},
    "CAConfig": {"NodeCertExpiry": 7_776_000_000_000_000, "ExternalCAs": [{"Protocol": "cfssl", "URL": "https://127.0.0.1:1"}]},
    "TaskDefaults": {"LogDriver": {"Name": "json-file", "Options": {"a": "b"}}},
    "EncryptionConfig": {"AutoLockManagers": False},
}


def mutants(whole: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(which member and how it is wrong, the description)."""
    for path in _paths(whole):
        for wrong in WRONG:
            mutant: Any = copy.deepcopy(dict(whole))
            place = mutant
            for step in path[:-1]:
                place = place[step]
            if wrong is ABSENT:
                del place[path[-1]]
            else:
                place[path[-1]] = copy.deepcopy(wrong)
            yield f"{'.'.join(map(str, path))} = {'absent' if wrong is ABSENT else repr(wrong)[:20]}", mutant


def _paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in members:
        yield (*before, step)
        yield from _paths(inner, (*before, step))
