"""Bad requests and what is answered to them: Docker's status, and words at least as clear as its own.

The statuses are those of a dockerd 20.10 in swarm mode, asked the same; where it says 500 for what is the client's fault (its errors
without a class), or takes what cannot work, the row's comment says so and ours is a 4xx. `$name` stands for what the test knows.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

IMAGE = "shoal-lab"
Known = Mapping[str, Any]
Body = Callable[[Known], object] | object

NOT_IN_SWARM = 'Use "docker swarm init" or "docker swarm join" to connect this node to swarm'
NOT_A_MANAGER = "Worker nodes can't be used to view or modify cluster state"


class Row(NamedTuple):
    method: str
    target: str
    body: Body
    status: int
    words: str
    headers: Mapping[str, str] = {}


def service(name: str = "fresh", *, replicas: object = 0, container: Mapping[str, object] | None = None, **more: Any) -> dict[str, Any]:
    template = {"ContainerSpec": {"Image": IMAGE, **(container or {})}, **more.pop("template", {})}
    return {"Name": name, "TaskTemplate": template, "Mode": {"Replicated": {"Replicas": replicas}}, **more}


def ports(*published: int, mode: str = "") -> dict[str, Any]:
    return {
        "Mode": mode,
        "Ports": [{"Protocol": "tcp", "TargetPort": 80 + place, "PublishedPort": port} for place, port in enumerate(published)],
    }


def overlay(name: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Driver": "overlay", **more}


def file(name: str, content: bytes) -> dict[str, str]:
    return {"Name": name, "Data": base64.b64encode(content).decode()}


MANAGER_ROLE = {"Role": "manager", "Availability": "active"}
CREATE = "/services/create"
UPDATE = "/services/${service}/update"
DEEP = '{"a":' * 100_000

SERVICES = {
    "half of a JSON": Row("POST", CREATE, "{", 400, "invalid JSON"),
    "no body": Row("POST", CREATE, "", 400, "EOF"),
    "a list": Row("POST", CREATE, "[]", 400, "Expected `object`"),
    "a name that is a number": Row("POST", CREATE, {"Name": 3}, 400, "$.Name"),
    "too deep": Row("POST", CREATE, DEEP, 400, "nested too deeply"),
    "a number of 80 bits": Row("POST", CREATE, service(replicas=2**80), 400, "64 bits"),
    "another content type": Row("POST", CREATE, service(), 400, "application/json", {"Content-Type": "text/plain"}),  # 20.10 took it
    "a name with a space": Row("POST", CREATE, service("a b"), 400, "name must be valid as a DNS name component"),
    "a long name": Row("POST", CREATE, service("x" * 64), 400, "name must be 63 characters or fewer"),
    "a name that is taken": Row("POST", CREATE, service("known"), 409, "name conflicts with an existing object: service known already"),
    "no container": Row("POST", CREATE, {"Name": "fresh", "TaskTemplate": {}}, 400, "image reference must be provided"),
    "no image": Row("POST", CREATE, service(container={"Image": ""}), 400, "image reference must be provided"),
    "an image's name that is none": Row("POST", CREATE, service(container={"Image": "UPPER/x y"}), 400, "not a valid repository/tag"),
    "a template of nothing": Row("POST", CREATE, service(container={"Hostname": "{{.Zig}}"}), 400, "can't evaluate field Zig"),
    "a port that is taken": Row("POST", CREATE, service(EndpointSpec=ports(8181)), 400, "'8181' is already in use by service 'known'"),
    "a port twice": Row("POST", CREATE, service(EndpointSpec=ports(8182, 8182)), 400, "duplicate published ports"),
    "a port over 65535": Row("POST", CREATE, service(EndpointSpec=ports(99999)), 400, "99999"),  # 20.10 took it
    "dnsrr with ingress": Row("POST", CREATE, service(EndpointSpec=ports(8182, mode="dnsrr")), 400, "can't be used with dnsrr mode"),
    "an unknown endpoint mode": Row("POST", CREATE, service(EndpointSpec={"Mode": "zig"}), 400, "use vip or dnsrr"),
    "replicas below zero": Row("POST", CREATE, service(replicas=-1), 400, "non-negative"),
    "replicas without end": Row("POST", CREATE, service(replicas=2**62), 400, "at most 100000"),  # 20.10 tried
    "two modes": Row("POST", CREATE, {**service(), "Mode": {"Replicated": {}, "Global": {}}}, 400, "must specify only one service mode"),
    "an unknown constraint": Row(  # 20.10 took it, and its tasks waited for ever
        "POST", CREATE, service(template={"Placement": {"Constraints": ["node.colour==red"]}}), 400, "unknown key 'node.colour'"
    ),
    "a constraint with =": Row(  # 500 in 20.10
        "POST", CREATE, service(template={"Placement": {"Constraints": ["node.role=manager"]}}), 400, "expected KEY==VALUE"
    ),
    "a missing network": Row("POST", CREATE, service(template={"Networks": [{"Target": "nonet"}]}), 404, "network nonet not found"),  # 500
    "the ingress network": Row(
        "POST", CREATE, service(template={"Networks": [{"Target": "ingress"}]}), 400, "cannot be explicitly attached to the ingress network"
    ),
    "a missing secret": Row(
        "POST",
        CREATE,
        service(container={"Secrets": [{"SecretID": "zig", "SecretName": "zag", "File": {"Name": "a"}}]}),
        400,
        "secret not found: zag",
    ),
    "a missing config": Row(
        "POST",
        CREATE,
        service(container={"Configs": [{"ConfigID": "zig", "ConfigName": "zag", "File": {"Name": "a"}}]}),
        400,
        "config not found: zag",
    ),
    "a secret without a file": Row(
        "POST",
        CREATE,
        lambda known: service(container={"Secrets": [{"SecretID": known["secret"], "SecretName": "known"}]}),
        400,
        "no target provided",
    ),
    "an unknown mount": Row("POST", CREATE, service(container={"Mounts": [{"Type": "zig", "Target": "/a"}]}), 400, "invalid MountType"),
    "a mount point twice": Row(
        "POST", CREATE, service(container={"Mounts": [{"Type": "volume", "Target": "/a"}] * 2}), 400, "duplicate mount point: /a"
    ),
    "100 bytes of memory": Row("POST", CREATE, service(template={"Resources": {"Limits": {"MemoryBytes": 100}}}), 400, "at least 4MiB"),
    "an unknown restart condition": Row(
        "POST", CREATE, service(template={"RestartPolicy": {"Condition": "sometimes"}}), 400, "use none, on-failure or any"
    ),
    "an unknown failure action": Row("POST", CREATE, service(UpdateConfig={"FailureAction": "cry"}), 400, "update failure action"),
    "an unknown order": Row("POST", CREATE, service(UpdateConfig={"Order": "zig"}), 400, "update order"),
    "a delay below zero": Row("POST", CREATE, service(UpdateConfig={"Delay": -1}), 400, "update-delay cannot be negative"),
    "an unknown runtime": Row("POST", CREATE, service(template={"Runtime": "zig"}), 400, "runtime"),
    "force below zero": Row("POST", CREATE, service(template={"ForceUpdate": -1}), 400, "ForceUpdate"),
    "a job with an update config": Row(
        "POST", CREATE, {**service(UpdateConfig={"Parallelism": 1}), "Mode": {"ReplicatedJob": {}}}, 400, "job"
    ),
    "credentials that are none": Row("POST", CREATE, service(), 400, "X-Registry-Auth", {"X-Registry-Auth": "!!!"}),  # 20.10 took it
    "over 4 MiB": Row("POST", CREATE, service(Labels={"a": "b" * 5_000_000}), 413, "4194304 bytes"),  # 500 in 20.10
    "over what a message holds": Row("POST", CREATE, service(Labels={"a": "b" * 1_500_000}), 400, "too large"),
    "update without version": Row("POST", UPDATE, service("known"), 400, "invalid service version ''"),
    "update with a word for a version": Row("POST", UPDATE + "?version=zig", service("known"), 400, "invalid service version 'zig'"),
    "update with an old version": Row("POST", UPDATE + "?version=1", service("known"), 500, "update out of sequence"),
    "renaming": Row("POST", UPDATE + "?version=${version}", service("renamed"), 501, "renaming services is not supported"),
    "another mode": Row(
        "POST", UPDATE + "?version=${version}", {**service("known"), "Mode": {"Global": {}}}, 501, "service mode change is not allowed"
    ),
    "rollback without a previous spec": Row(
        "POST", UPDATE + "?version=${version}&rollback=previous", service("known"), 400, "does not have a previous spec"
    ),
    "an unknown rollback": Row("POST", UPDATE + "?version=${version}&rollback=zig", service("known"), 400, "rollback option zig"),  # 500
    "update of nothing": Row("POST", "/services/zig/update?version=1", service("zig"), 404, "service zig not found"),
    "inspect nothing": Row("GET", "/services/zig", None, 404, "service zig not found"),
    "remove nothing": Row("DELETE", "/services/zig", None, 404, "service zig not found"),
    "logs of nothing": Row("GET", "/services/zig/logs?stdout=1", None, 404, "service zig not found"),
    "logs without a stream": Row("GET", "/services/known/logs", None, 400, "you must choose at least one stream"),  # 500
    "logs with a word for a tail": Row("GET", "/services/known/logs?stdout=1&tail=zig", None, 400, "tail value must be"),  # 500
    "logs since a word": Row("GET", "/services/known/logs?stdout=1&since=zig", None, 400, "since"),  # 500
    "filters that are no JSON": Row("GET", "/services?filters=zig", None, 400, "invalid filters"),
    "filters that are a number": Row("GET", '/services?filters={"label":3}', None, 400, "invalid filters"),
    "filters without end": Row("GET", "/services?filters=" + "[" * 9000, None, 400, "nested too deeply"),
    "an unknown filter": Row("GET", '/services?filters={"zig":{"a":true}}', None, 400, "invalid filter 'zig'"),
    "an unknown verb": Row("PUT", "/services", None, 404, "page not found"),
    "an unknown path": Row("POST", "/services/known", None, 404, "page not found"),
}

TASKS = {
    "an unknown task": Row("GET", "/tasks/zig", None, 404, "task zig not found"),
    "an unknown filter": Row("GET", '/tasks?filters={"zig":{"a":true}}', None, 400, "invalid filter 'zig'"),
    "an unknown state": Row(
        "GET", '/tasks?filters={"desired-state":{"zig":true}}', None, 400, "Invalid desired-state filter: 'zig'"
    ),  # 500
    "of an unknown service": Row("GET", '/tasks?filters={"service":{"zig":true}}', None, 404, "service zig not found"),
    "of an unknown node": Row("GET", '/tasks?filters={"node":{"zig":true}}', None, 404, "node zig not found"),
}

FILES = {
    "half of a JSON": Row("POST", "/${kind}s/create", "{", 400, "invalid JSON"),
    "a name that is taken": Row("POST", "/${kind}s/create", file("known", b"hi"), 409, "known already exists"),
    "no name": Row("POST", "/${kind}s/create", file("", b"hi"), 400, "invalid name"),
    "a name with a space": Row("POST", "/${kind}s/create", file("a b", b"hi"), 400, "invalid name"),
    "no data": Row("POST", "/${kind}s/create", file("fresh", b""), 400, "data must be larger than 0 and less than"),
    "data that is no base64": Row("POST", "/${kind}s/create", {"Name": "fresh", "Data": "!!"}, 400, "base64"),
    "too much data": Row("POST", "/${kind}s/create", file("fresh", b"a" * 1_024_001), 400, "data must be larger than 0 and less than"),
    "a body over the limit": Row("POST", "/${kind}s/create", file("fresh", b"a" * 4_000_000), 413, "bytes"),  # 500 in 20.10
    "inspect nothing": Row("GET", "/${kind}s/zig", None, 404, "zig not found"),
    "remove nothing": Row("DELETE", "/${kind}s/zig", None, 404, "zig not found"),
    "remove one in use": Row("DELETE", "/${kind}s/known", None, 400, "in use by the following service: user"),
    "update without version": Row("POST", "/${kind}s/known/update", {"Name": "known"}, 400, "invalid ${kind} version ''"),
    "update with an old version": Row("POST", "/${kind}s/known/update?version=1", {"Name": "known"}, 500, "update out of sequence"),
    "other data": Row("POST", "/${kind}s/known/update?version=${kind_version}", file("known", b"yo"), 400, "only updates to Labels"),
    "an unknown filter": Row("GET", '/${kind}s?filters={"zig":{"a":true}}', None, 400, "invalid filter 'zig'"),
}

NETWORKS = {
    "half of a JSON": Row("POST", "/networks/create", "{", 400, "invalid JSON"),
    "a name that is taken": Row("POST", "/networks/create", overlay("known"), 409, "network with name known already exists"),
    "a name that is a number": Row("POST", "/networks/create", {"Name": 1}, 400, "Expected `str`, got `int`"),
    "a source that is a text": Row("POST", "/networks/create", overlay("fresh", ConfigFrom="x"), 400, "invalid JSON"),
    "a driver that is a list": Row("POST", "/networks/create", {"Name": "fresh", "Driver": ["overlay"]}, 400, "invalid JSON"),
    "a config-only overlay, in other letters": Row("POST", "/networks/create", overlay("fresh", configonly=True), 400, "config-only"),
    "a bridge with an overlay's name": Row("POST", "/networks/create", {"Name": "known"}, 409, "network with name known already exists"),
    "an overlay with a bridge's name": Row("POST", "/networks/create", overlay("bridge"), 409, "network with name bridge already exists"),
    "no name": Row("POST", "/networks/create", overlay(""), 400, "name must be provided"),  # 500 in 20.10
    "a subnet that is none": Row(
        "POST", "/networks/create", overlay("fresh", IPAM={"Config": [{"Subnet": "zig"}]}), 400, "subnet zig"
    ),  # 500
    "a gateway outside": Row(
        "POST",
        "/networks/create",
        overlay("fresh", IPAM={"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.8.0.1"}]}),
        400,
        "10.8.0.1",
    ),
    "an encrypted ingress network": Row(  # 20.10 has them
        "POST", "/networks/create", overlay("fresh", Ingress=True, Options={"encrypted": ""}), 501, "cannot be encrypted"
    ),
    "an unknown driver": Row("POST", "/networks/create", {"Name": "fresh", "Driver": "zig"}, 404, 'plugin "zig" not found'),
    "a second ingress": Row("POST", "/networks/create", overlay("fresh", Ingress=True), 409, "is already present"),
    "inspect nothing": Row("GET", "/networks/zig", None, 404, "network zig not found"),
    "remove nothing": Row("DELETE", "/networks/zig", None, 404, "network zig not found"),
    "remove one in use": Row("DELETE", "/networks/known", None, 400, "network known is in use by service user"),
    "remove a predefined one": Row("DELETE", "/networks/bridge", None, 403, "pre-defined network"),
    "an unknown filter": Row("GET", '/networks?filters={"zig":{"a":true}}', None, 400, "invalid filter 'zig'"),
}

NODES = {
    "inspect nothing": Row("GET", "/nodes/zig", None, 404, "node zig not found"),
    "remove nothing": Row("DELETE", "/nodes/zig", None, 404, "node zig not found"),
    "remove a manager": Row("DELETE", "/nodes/${manager}?force=1", None, 400, "must be demoted to worker before removal"),
    "remove one that is up": Row("DELETE", "/nodes/${worker}", None, 400, "is not down and can't be removed"),
    "update with an old version": Row("POST", "/nodes/${manager}/update?version=1", MANAGER_ROLE, 500, "update out of sequence"),
    "update without version": Row("POST", "/nodes/${manager}/update", MANAGER_ROLE, 400, "invalid node version ''"),
    "an unknown role": Row(
        "POST", "/nodes/${manager}/update?version=${node_version}", {**MANAGER_ROLE, "Role": "zig"}, 400, 'invalid Role: "zig"'
    ),
    "an unknown availability": Row(
        "POST",
        "/nodes/${manager}/update?version=${node_version}",
        {**MANAGER_ROLE, "Availability": "zig"},
        400,
        'invalid Availability: "zig"',
    ),
    "an empty spec": Row("POST", "/nodes/${manager}/update?version=${node_version}", {}, 400, 'invalid Role: ""'),
    "update of self": Row("POST", "/nodes/self/update?version=1", MANAGER_ROLE, 404, "node self not found"),
    "an unknown filter": Row("GET", '/nodes?filters={"zig":{"a":true}}', None, 400, "invalid filter 'zig'"),
    "a filter on an unknown role": Row("GET", '/nodes?filters={"role":{"zig":true}}', None, 400, "Invalid role filter: 'zig'"),  # 500
}

SWARM = {
    "init again": Row("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377"}, 503, "already part of a swarm"),
    "join again": Row("POST", "/swarm/join", {"RemoteAddrs": ["10.98.0.1"], "JoinToken": "zig"}, 503, "already part of a swarm"),
    "leave without force": Row("POST", "/swarm/leave", None, 503, "Use `--force` to"),
    "update with an old version": Row("POST", "/swarm/update?version=1", lambda known: known["swarm"], 500, "update out of sequence"),
    "update without version": Row("POST", "/swarm/update", lambda known: known["swarm"], 400, "invalid swarm version ''"),
    "certificates for a nanosecond": Row(
        "POST", "/swarm/update?version=${swarm_version}", lambda known: {**known["swarm"], "CAConfig": {"NodeCertExpiry": 1}}, 400, "1h0m0s"
    ),
    "another name": Row("POST", "/swarm/update?version=${swarm_version}", lambda known: {**known["swarm"], "Name": "zig"}, 400, "default"),
    "rotate perhaps": Row(
        "POST", "/swarm/update?version=${swarm_version}&rotateWorkerToken=zig", lambda known: known["swarm"], 400, "rotateWorkerToken"
    ),
    "unlock what is open": Row("POST", "/swarm/unlock", {"UnlockKey": "zig"}, 409, "swarm is not locked"),
}

NO_MANAGER = {
    "swarm": Row("GET", "/swarm", None, 503, ""),
    "nodes": Row("GET", "/nodes", None, 503, ""),
    "self": Row("GET", "/nodes/self", None, 503, ""),
    "services": Row("GET", "/services", None, 503, ""),
    "a new service": Row("POST", CREATE, service(), 503, ""),
    "logs": Row("GET", "/services/zig/logs?stdout=1", None, 503, ""),
    "tasks": Row("GET", "/tasks", None, 503, ""),
    "secrets": Row("GET", "/secrets", None, 503, ""),
    "a new secret": Row("POST", "/secrets/create", file("fresh", b"hi"), 503, ""),
    "configs": Row("GET", "/configs", None, 503, ""),
    "an update of the swarm": Row("POST", "/swarm/update?version=1", {}, 503, ""),
    "the unlock key": Row("GET", "/swarm/unlockkey", None, 503, ""),
    "half of a JSON": Row("POST", CREATE, "{", 400, "invalid JSON"),
}

OUTSIDE = {
    "leave": Row("POST", "/swarm/leave", None, 503, "not part of a swarm"),
    "an overlay": Row("POST", "/networks/create", overlay("fresh"), 503, NOT_IN_SWARM),  # 500 in 20.10
    "init with half of a JSON": Row("POST", "/swarm/init", "{", 400, "invalid JSON"),
    "a listen address that is none": Row("POST", "/swarm/init", {"ListenAddr": "zig"}, 400, "must be an IP address or network interface"),
    "an advertise address that is none": Row("POST", "/swarm/init", {"AdvertiseAddr": "no.such.host"}, 400, "advertise address"),
    "a data path port below 1024": Row("POST", "/swarm/init", {"DataPathPort": 80}, 400, "1024-49151"),  # 500
    "a pool that is none": Row("POST", "/swarm/init", {"DefaultAddrPool": ["zig"]}, 400, "invalid base pool zig"),  # 500
    "subnets of a size that is none": Row("POST", "/swarm/init", {"SubnetSize": 40}, 400, "subnet size is out of range: 40"),  # 500
    "an unknown availability": Row("POST", "/swarm/init", {"Availability": "zig"}, 400, "invalid Availability"),  # 500
    "a name of its own": Row("POST", "/swarm/init", {"Spec": {"Name": "zig"}}, 400, "default"),
    "join with half of a JSON": Row("POST", "/swarm/join", "{", 400, "invalid JSON"),
    "join without a manager": Row("POST", "/swarm/join", lambda known: {"JoinToken": known["token"]}, 400, "RemoteAddr is required"),
    "join with a word for a token": Row(
        "POST", "/swarm/join", {"RemoteAddrs": ["10.98.0.1"], "JoinToken": "zig"}, 400, "invalid join token"
    ),  # 500
    "join with a wrong secret": Row(
        "POST",
        "/swarm/join",
        lambda known: {"RemoteAddrs": ["10.98.0.1"], "JoinToken": known["wrong_token"], "AdvertiseAddr": "eth0"},
        400,
        "A valid join token is necessary to join this cluster",
    ),
    "join another cluster than the token's": Row(  # 500
        "POST",
        "/swarm/join",
        lambda known: {"RemoteAddrs": ["10.98.0.1"], "JoinToken": known["foreign_token"], "AdvertiseAddr": "eth0"},
        403,
        "remote CA does not match fingerprint",
    ),
    "join where nobody is": Row(
        "POST",
        "/swarm/join",
        lambda known: {"RemoteAddrs": ["127.0.0.1:9"], "JoinToken": known["token"], "AdvertiseAddr": "eth0"},
        503,
        "cannot reach manager 127.0.0.1:9",
    ),
    "join at a port that is none": Row(  # 500
        "POST",
        "/swarm/join",
        lambda known: {"RemoteAddrs": ["10.98.0.1:zig"], "JoinToken": known["token"], "AdvertiseAddr": "eth0"},
        400,
        "port",
    ),
}
