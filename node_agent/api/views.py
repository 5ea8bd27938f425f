"""How objects look to clients: Docker's JSON (API v1.51) from what the store keeps. Pure; one function a noun."""

import datetime
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from cluster.api.endpoint import Guest
from cluster.api.ids import Id
from cluster.api.objects import (
    Attachment,
    Cluster,
    Config,
    ContainerStatus,
    Endpoint,
    Network,
    Node,
    Secret,
    Service,
    Task,
    Template,
    UpdateStatus,
)
from cluster.api.specs import EndpointSpec, Mode, PortConfig, ServiceSpec, TaskSpec, mode_of
from cluster.api.states import NodeState, TaskState, UpdateState
from manager.store.snapshot import Snapshot
from manager.why import held_back, short_of_room
from node_agent.api.backend import ManagerView
from node_agent.api.versions import ApiVersion

Json = dict[str, Any]
ZERO_TIME = "0001-01-01T00:00:00Z"


def timestamp(ns: int) -> str:
    """RFC 3339 with nanoseconds, as Go prints it; Go's zero time for 0."""
    if not ns:
        return ZERO_TIME
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest:09d}".rstrip("0").rstrip(".") + "Z"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    """Tasks made together share their seconds, and clients that wait for them ask again and again."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _head(row: Any) -> Json:
    return {
        "ID": row.id,
        "Version": {"Index": row.version},
        "CreatedAt": timestamp(row.created_at),
        "UpdatedAt": timestamp(row.updated_at),
    }


# -- services -------------------------------------------------------------------------------------------------------------------------
def task_spec(spec: TaskSpec, *, defaults: bool = False) -> Json:
    shown: Json = msgspec.to_builtins(spec)
    shown.setdefault("ForceUpdate", 0)
    shown.setdefault("Runtime", "container")
    if (container := shown.get("ContainerSpec")) is not None:
        container.setdefault("Isolation", "default")
        for reference in (*container.get("Secrets", ()), *container.get("Configs", ())):
            if (file := reference.get("File")) is not None:
                file.setdefault("UID", "0")
                file.setdefault("GID", "0")
                file.setdefault("Mode", 0)
        if defaults:
            container.setdefault("StopGracePeriod", 10_000_000_000)
            container.setdefault("DNSConfig", {})
    if defaults:
        shown.setdefault("Resources", {"Limits": {}, "Reservations": {}})
        shown.setdefault("RestartPolicy", {"Condition": "any", "Delay": 5_000_000_000, "MaxAttempts": 0})
        shown.setdefault("Placement", {})
    return shown


_UPDATE_DEFAULTS = {"Parallelism": 1, "FailureAction": "pause", "Monitor": 5_000_000_000, "MaxFailureRatio": 0, "Order": "stop-first"}


def service_spec(spec: ServiceSpec, *, defaults: bool = False) -> Json:
    shown: Json = msgspec.to_builtins(spec)
    shown.setdefault("Name", "")
    shown.setdefault("Labels", {})
    shown["TaskTemplate"] = task_spec(spec.task_template, defaults=defaults)
    shown.setdefault("Mode", {"Replicated": {"Replicas": 1}})
    for config in (shown.get("UpdateConfig"), shown.get("RollbackConfig")):
        if config is not None and config.get("Monitor") is None:
            config.pop("Monitor", None)
    if defaults and mode_of(spec) not in (Mode.REPLICATED_JOB, Mode.GLOBAL_JOB):  # jobs have no updates: posted back, they'd be refused
        shown.setdefault("UpdateConfig", dict(_UPDATE_DEFAULTS))
        shown.setdefault("RollbackConfig", dict(_UPDATE_DEFAULTS))
    return shown


def service(row: Service, now: Snapshot, *, version: ApiVersion, defaults: bool = False, status: bool = False) -> Json:
    shown = {**_head(row), "Spec": service_spec(row.spec, defaults=defaults), "Endpoint": _endpoint(row)}
    if row.previous_spec is not None:
        shown["PreviousSpec"] = service_spec(row.previous_spec, defaults=defaults)
    if row.update_status is not None:
        shown["UpdateStatus"] = _update_status(row.update_status, short_of_room(now, row))
    if row.job_status is not None and version >= (1, 41):
        shown["JobStatus"] = {
            "JobIteration": {"Index": row.job_status.job_iteration},
            "LastExecution": timestamp(row.job_status.last_execution),
        }
    if status and version >= (1, 41):
        shown["ServiceStatus"] = service_status(row, now)
    extensions = msgspec.to_builtins(row.extensions)
    if row.pending_reason:
        extensions["PendingReason"] = row.pending_reason
    if row.rebalance is not None:
        extensions["Rebalancing"] = msgspec.to_builtins(row.rebalance)
    if extensions:
        shown["Shoal"] = extensions
    return shown


def _endpoint(row: Service) -> Json:
    endpoint = row.endpoint or Endpoint(spec=row.spec.endpoint_spec or EndpointSpec())
    shown: Json = {"Spec": msgspec.to_builtins(endpoint.spec)}
    ports = (*endpoint.ports, *(port for port in endpoint.spec.ports if port.publish_mode == "host"))
    if ports:
        shown["Ports"] = [_port(port) for port in ports]
    if vips := [{"NetworkID": vip.network_id, "Addr": vip.addr} for vip in endpoint.virtual_ips if vip.addr]:
        shown["VirtualIPs"] = vips  # none for dnsrr: clients parse each address
    return shown


def _port(port: PortConfig) -> Json:
    shown: Json = msgspec.to_builtins(port)
    return shown


def _update_status(status: UpdateStatus, obstacle: str) -> Json:
    message = "; ".join(filter(None, (status.message, obstacle)))
    shown: Json = {"State": status.state.value, "StartedAt": timestamp(status.started_at), "Message": message}
    if status.state in {UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED} and status.completed_at:
        shown["CompletedAt"] = timestamp(status.completed_at)
    return shown


def service_status(row: Service, now: Snapshot) -> Json:
    """Running, desired and completed tasks, by Docker's rules: a job's desired are those that still have to complete."""
    mode = row.spec.mode
    job = mode.replicated_job is not None or mode.global_job is not None
    iteration = row.job_status.job_iteration if row.job_status else 0
    tasks = [task for task in now.tasks_of(row.id).values() if not job or task.job_iteration == iteration]
    running = sum(task.state is TaskState.RUNNING and _counts(task, now) for task in tasks)
    completed = sum(task.state is TaskState.COMPLETE for task in tasks) if job else 0
    wanted = sum(TaskState.RUNNING <= task.desired_state <= TaskState.COMPLETE and not task.state.ended for task in tasks)
    if mode.replicated_job is not None:
        total = mode.replicated_job.total_completions or mode.replicated_job.max_concurrent or 1
        concurrent = mode.replicated_job.max_concurrent or total
        wanted = min(concurrent, max(total - completed, 0))
    elif mode.replicated is not None:
        wanted = mode.replicated.replicas if mode.replicated.replicas is not None else 1
    elif mode.global_ is not None:
        wanted = sum(task.desired_state is TaskState.RUNNING for task in tasks)
    return {"RunningTasks": running, "DesiredTasks": wanted, "CompletedTasks": completed if job else 0}


def _counts(task: Task, now: Snapshot) -> bool:
    """A task on a node that is down may say that it runs; nobody should believe it."""
    node = now.nodes.get(task.node_id)
    return task.desired_state <= TaskState.COMPLETE and node is not None and node.status.state.value != "down"


# -- tasks ----------------------------------------------------------------------------------------------------------------------------
def task(row: Task, now: Snapshot) -> Json:
    template: Template = now.template_of(row)
    shown: Json = {
        **_head(row),
        "Labels": {},
        "Spec": task_spec(template.spec),
        "ServiceID": row.service_id,
        "Status": _task_status(row, now),
        "DesiredState": row.desired_state.wire,
    }
    if row.node_id:
        shown["NodeID"] = row.node_id
    owner = now.services.get(row.service_id)
    is_job = owner is not None and owner.spec.mode.replicated_job is not None
    if slot := row.slot - is_job:  # Docker counts the slots of jobs from 0, and leaves 0 out
        shown["Slot"] = slot
    if row.job_iteration or (owner is not None and (is_job or owner.spec.mode.global_job is not None)):
        shown["JobIteration"] = {"Index": row.job_iteration}
    if row.resources:
        shown["AssignedGenericResources"] = [{"NamedResourceSpec": {"Kind": one.kind, "Value": one.value}} for one in row.resources]
    attachments = [_attachment(place, now) for place in row.attachments]
    if attachments:
        shown["NetworksAttachments"] = attachments
    return shown


def _task_status(row: Task, now: Snapshot) -> Json:
    """A task that is held at READY says why; what it reported itself comes first."""
    status = row.status if row.status.err else replace(row.status, err=held_back(now, row))
    shown: Json = {"Timestamp": timestamp(status.timestamp), "State": status.state.wire, "Message": status.message}
    if status.err:
        shown["Err"] = status.err
    if status.container is not None or status.state >= TaskState.PREPARING:  # there from the moment that a node has the task in hand
        container = status.container or ContainerStatus()
        shown["ContainerStatus"] = {"ContainerID": container.container_id, "PID": container.pid, "ExitCode": container.exit_code}
    shown["PortStatus"] = {"Ports": [_port(port) for port in status.ports]} if status.ports else {}
    return shown


def _attachment(place: Attachment, now: Snapshot) -> Json:
    row = now.networks.get(place.network_id)
    network_shown: Json = {"ID": place.network_id} if row is None else _network_of_task(row)
    return {"Network": network_shown, "Addresses": [place.address] if place.address else []}


def _network_of_task(row: Network) -> Json:
    ipam = [{"Subnet": row.subnet, "Gateway": row.gateway}] if row.subnet else []
    return {
        **_head(row),
        "Spec": {
            "Name": row.spec.name,
            "Labels": dict(row.spec.labels),
            "DriverConfiguration": {"Name": row.spec.driver},
            "IPAMOptions": {"Driver": {"Name": "default"}},
            "Attachable": row.spec.attachable,
            "Internal": row.spec.internal,
            "Ingress": row.spec.ingress,
            "Scope": "swarm",
        },
        "DriverState": {"Name": row.spec.driver, "Options": _network_options(row)},
        "IPAMOptions": {"Driver": {"Name": "default"}, "Configs": ipam},
    }


# -- nodes ----------------------------------------------------------------------------------------------------------------------------
def node(row: Node, managers: Mapping[str, ManagerView], *, tls_info: Json | None = None) -> Json:
    description: Json = msgspec.to_builtins(row.description)
    for ours in ("Subnets", "FeatureLevel", "Trouble"):
        description.pop(ours, None)
    description.setdefault("Hostname", "")
    for part in ("Platform", "Resources", "Engine"):
        description.setdefault(part, {})
    description.setdefault("TLSInfo", tls_info or {})
    status: Json = {"State": row.status.state.value, "Addr": row.status.addr}
    if message := row.status.message or "; ".join(row.description.trouble):
        status["Message"] = message
    shown: Json = {**_head(row), "Spec": msgspec.to_builtins(row.spec), "Description": description, "Status": status}
    if not row.spec.name:
        shown["Spec"].pop("Name", None)
    if row.member is not None:
        view = managers.get(row.id) or ManagerView(addr=row.member.addr, reachable=False)
        shown["ManagerStatus"] = {
            **({"Leader": True} if view.leader else {}),
            "Reachability": "reachable" if view.reachable and row.status.state is not NodeState.DOWN else "unreachable",
            "Addr": view.addr,
        }
    return shown


# -- secrets, configs, networks -------------------------------------------------------------------------------------------------------
def secret(row: Secret) -> Json:
    """Never the data."""
    spec: Json = msgspec.to_builtins(row.spec)
    spec.pop("Data", None)
    spec.setdefault("Labels", {})
    return {**_head(row), "Spec": spec}


def config(row: Config) -> Json:
    spec: Json = msgspec.to_builtins(row.spec)
    spec.setdefault("Labels", {})
    spec.setdefault("Data", "")
    return {**_head(row), "Spec": spec}


def network(
    row: Network, now: Snapshot, *, version: ApiVersion, containers: Mapping[str, Json] | None = None, verbose: bool = False
) -> Json:
    """As `GET /networks` shows an overlay of the swarm."""
    ipam: Json = {"Driver": "default", "Options": None, "Config": None}
    if row.spec.ipam is not None:
        ipam["Driver"] = row.spec.ipam.driver or "default"
        ipam["Options"] = dict(row.spec.ipam.options) or None
    if row.subnet:
        ipam["Config"] = [{"Subnet": row.subnet, "Gateway": row.gateway}]
    shown: Json = {
        "Name": row.spec.name,
        "Id": row.id,
        "Created": timestamp(row.created_at),
        "Scope": "swarm",
        "Driver": row.spec.driver,
        **({"EnableIPv4": True} if version >= (1, 48) else {}),
        "EnableIPv6": False,
        "IPAM": ipam,
        "Internal": row.spec.internal,
        "Attachable": row.spec.attachable,
        "Ingress": row.spec.ingress,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": containers or None,
        "Options": _network_options(row),
        "Labels": dict(row.spec.labels),
    }
    if row.pending_reason:
        shown["Shoal"] = {"PendingReason": row.pending_reason}
    if verbose:
        shown["Services"] = _services_on(row, now)
    return shown


def guests_elsewhere(row: Network, node_id: Id) -> dict[str, Json]:
    """Containers that joined by themselves on other nodes, by what the managers know them by: no engine here has their ids."""
    return {guest.id: _guest(guest, row) for guest in row.guests if guest.node_id != node_id}


def _guest(guest: Guest, row: Network) -> Json:
    return {
        "Name": guest.name,
        "EndpointID": guest.id,
        "MacAddress": "02:42:" + ":".join(f"{int(part):02x}" for part in guest.address.split(".")),
        "IPv4Address": f"{guest.address}/{row.subnet.partition('/')[2]}",
        "IPv6Address": "",
    }


def _network_options(row: Network) -> dict[str, str]:
    options = dict(row.spec.options)
    if row.vni:
        options["com.docker.network.driver.overlay.vxlanid_list"] = str(row.vni)
    return options


def _services_on(row: Network, now: Snapshot) -> Json:
    shown: Json = {}
    for owner in now.services.values():
        vips = {vip.network_id: vip.addr for vip in owner.endpoint.virtual_ips} if owner.endpoint else {}
        tasks = [
            {
                "Name": f"{owner.spec.name}.{worker.slot or worker.node_id}.{worker.id}",
                "EndpointID": worker.id,
                "EndpointIP": place.address.partition("/")[0],
                "Info": {"Host IP": now.nodes[worker.node_id].status.addr} if worker.node_id in now.nodes else {},
            }
            for worker in now.tasks_of(owner.id).values()
            for place in worker.attachments
            if place.network_id == row.id and not worker.state.ended
        ]
        if row.id in vips or tasks:
            shown[owner.spec.name] = {"VIP": vips.get(row.id, "").partition("/")[0], "Ports": [], "LocalLBIndex": 0, "Tasks": tasks}
    return shown


# -- the cluster ----------------------------------------------------------------------------------------------------------------------
def cluster(row: Cluster, *, tls_info: Json) -> Json:
    """`ClusterInfo`, as /info shows it; /swarm adds the join tokens. No key of any kind."""
    spec: Json = msgspec.to_builtins(row.spec)
    authority = spec["CAConfig"]
    authority.pop("SigningCAKey", None)
    authority.setdefault("NodeCertExpiry", row.spec.ca_config.node_cert_expiry)
    spec.setdefault("TaskDefaults", {})
    return {
        **_head(row),
        "Spec": spec,
        "TLSInfo": tls_info,
        "RootRotationInProgress": row.root_rotation_in_progress,
        "DefaultAddrPool": list(row.default_addr_pool),
        "SubnetSize": row.subnet_size,
        "DataPathPort": row.data_path_port,
    }
