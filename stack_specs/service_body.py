"""The body of one service's request: what the docker CLI makes of a service of a stack file.

`_present` leaves out what docker leaves out (its `omitempty`); members that stand beside a call of it are sent whatever they hold.
"""

from collections.abc import Mapping, Sequence

from stack_specs import images, units
from stack_specs.errors import Fault, KeyPath
from stack_specs.file_references import config_references, credential_spec, secret_references
from stack_specs.model import Deploy, HealthCheck, Limits, Reservations, Resources, Rollout, Service, ServiceNetwork, Stack
from stack_specs.mount_body import mount_body
from stack_specs.names import IMAGE, NAMESPACE, is_user_defined, scoped
from stack_specs.port_order import in_docker_order
from stack_specs.ports import Port
from stack_specs.restart import restart_policy
from stack_specs.values import Json


def service_body(stack: Stack, service: Service, stack_name: str) -> dict[str, Json]:
    """The ServiceSpec of `service`. Its secrets and configs are named, and get their ids from `file_references.with_ids`."""
    path: KeyPath = ("services", service.name)
    deploy = service.deploy
    return {
        "Name": scoped(stack_name, service.name),
        "Labels": {**deploy.labels, NAMESPACE: stack_name, IMAGE: service.image},
        "TaskTemplate": {
            "ContainerSpec": _container(stack, service, stack_name, path),
            "Resources": _resources(deploy.resources, (*path, "deploy", "resources")),
            "Placement": _placement(deploy),
            "Networks": _networks(stack, service, stack_name, path),
            "ForceUpdate": 0,
            **_present(RestartPolicy=restart_policy(service, path), LogDriver=_log_driver(service)),
        },
        "Mode": _mode(deploy, (*path, "deploy")),
        "EndpointSpec": _endpoint(deploy, service.ports),
        **_present(UpdateConfig=_rollout(deploy.update_config), RollbackConfig=_rollout(deploy.rollback_config)),
    }


def _present(**members: Json) -> dict[str, Json]:
    """The members that are not empty, zero or false; an empty mapping counts as something."""
    return {name: value for name, value in members.items() if value or value == {}}


def _container(stack: Stack, service: Service, stack_name: str, path: KeyPath) -> dict[str, Json]:
    adds, drops = _capabilities(service)
    body: dict[str, Json] = {
        "Image": images.tagged(service.image),
        "Labels": {**service.labels, NAMESPACE: stack_name},
        "Privileges": {
            "NoNewPrivileges": False,
            **_present(CredentialSpec=credential_spec(service, stack, stack_name, path)),
        },
        **_present(
            Command=list(service.entrypoint),
            Args=list(service.command),
            Hostname=service.hostname,
            Hosts=_hosts(service.extra_hosts),
            DNSConfig=_dns(service),
            Healthcheck=_healthcheck(service.healthcheck, (*path, "healthcheck")),
            Env=[*sorted(name if value is None else f"{name}={value}" for name, value in service.environment.items())],
            Dir=service.working_dir,
            User=service.user,
            Mounts=[mount_body(mount, stack, stack_name, (*path, "volumes", at)) for at, mount in enumerate(service.volumes)],
            StopSignal=service.stop_signal,
            TTY=service.tty,
            OpenStdin=service.stdin_open,
            ReadOnly=service.read_only,
            Secrets=secret_references(service, stack, stack_name, path),
            Configs=config_references(service, stack, stack_name, path),
            Isolation=service.isolation,
            Sysctls=dict(service.sysctls) or None,
            CapabilityAdd=adds,
            CapabilityDrop=drops,
            Ulimits=_ulimits(service),
        ),
    }
    if service.init is not None:
        body["Init"] = service.init
    if service.stop_grace_period is not None:
        body["StopGracePeriod"] = int(service.stop_grace_period)
    return body


def _hosts(hosts: Sequence[str]) -> list[Json]:
    """`host:address` as the engine's `address host`; what has no address is dropped, as docker drops it."""
    pairs = [host.partition(":") for host in hosts]
    return [f"{address} {name}" for name, separator, address in pairs if separator]


def _dns(service: Service) -> Json:
    if not service.dns and not service.dns_search:
        return None
    return _present(Nameservers=list(service.dns), Search=list(service.dns_search))


def _healthcheck(check: HealthCheck | None, path: KeyPath) -> Json:
    if check is None:
        return None
    if check.disable:
        if check.test:
            raise Fault((*path, "disable"), "test and disable can't be set at the same time", "take one of them out")
        return {"Test": ["NONE"]}
    return _present(
        Test=list(check.test),
        Interval=int(check.interval or 0),
        Timeout=int(check.timeout or 0),
        Retries=check.retries or 0,
        StartPeriod=int(check.start_period or 0),
        StartInterval=int(check.start_interval or 0),
    )


def _capabilities(service: Service) -> tuple[list[Json], list[Json]]:
    """What to add and what to drop. ALL stands for the rest of its list; adding wins over dropping."""
    adds = {_capability(name) for name in service.cap_add}
    drops = {_capability(name) for name in service.cap_drop}
    adds = {"ALL"} if "ALL" in adds else adds
    drops = {"ALL"} if "ALL" in drops else drops
    return [*sorted(adds - {"RESET"})], [*sorted(drops - adds - {"RESET"})]


def _capability(name: str) -> str:
    upper = name.strip().upper()
    return upper if upper in ("ALL", "RESET") or upper.startswith("CAP_") else f"CAP_{upper}"


def _ulimits(service: Service) -> list[Json]:
    return [
        {"Name": name, "Soft": limit.single or limit.soft, "Hard": limit.single or limit.hard}
        for name, limit in sorted(service.ulimits.items())
    ]


def _log_driver(service: Service) -> Json:
    if service.logging is None:
        return None
    return _present(Name=service.logging.driver, Options=dict(service.logging.options or {}) or None)


def _resources(resources: Resources, path: KeyPath) -> dict[str, Json]:
    return _present(
        Limits=None if resources.limits is None else _limits(resources.limits, (*path, "limits")),
        Reservations=None if resources.reservations is None else _reservations(resources.reservations, (*path, "reservations")),
    )


def _limits(limits: Limits, path: KeyPath) -> dict[str, Json]:
    return _present(NanoCPUs=_nano_cpus(limits.cpus, path), MemoryBytes=int(limits.memory), Pids=limits.pids)


def _reservations(reservations: Reservations, path: KeyPath) -> dict[str, Json]:
    specs = [item.discrete_resource_spec for item in reservations.generic_resources]
    return _present(
        NanoCPUs=_nano_cpus(reservations.cpus, path),
        MemoryBytes=int(reservations.memory),
        GenericResources=[{} if spec is None else {"DiscreteResourceSpec": _present(Kind=spec.kind, Value=spec.value)} for spec in specs],
    )


def _nano_cpus(text: str, path: KeyPath) -> int:
    try:
        return units.nano_cpus(text) if text else 0
    except ValueError as error:
        raise Fault((*path, "cpus"), str(error)) from error


def _placement(deploy: Deploy) -> dict[str, Json]:
    placement = deploy.placement
    return _present(
        Constraints=list(placement.constraints),
        Preferences=[{"Spread": {"SpreadDescriptor": preference.spread}} for preference in placement.preferences],
        MaxReplicas=placement.max_replicas_per_node,
    )


def _networks(stack: Stack, service: Service, stack_name: str, path: KeyPath) -> list[Json]:
    attachments: Mapping[str, ServiceNetwork | None] = service.networks or {"default": None}
    bodies: list[tuple[str, Json]] = []
    for key, attachment in attachments.items():
        if key not in stack.networks and key != "default":
            raise Fault((*path, "networks", key), f'undefined network "{key}"', "declare it under the top-level `networks:`")
        target = (stack.networks[key].name if key in stack.networks else "") or scoped(stack_name, key)
        aliases: list[Json] = [*attachment.aliases] if attachment is not None else []
        if is_user_defined(target):
            aliases.append(service.name)
        options: dict[str, Json] = {**(attachment.driver_opts or {})} if attachment is not None else {}
        bodies.append((target, {"Target": target, **_present(Aliases=aliases, DriverOpts=options or None)}))
    return [body for _, body in sorted(bodies, key=lambda pair: pair[0])]


def _mode(deploy: Deploy, path: KeyPath) -> dict[str, Json]:
    replicas: dict[str, Json] = {} if deploy.replicas is None else {"Replicas": deploy.replicas}
    match deploy.mode:
        case "" | "replicated":
            return {"Replicated": replicas}
        case "replicated-job":
            counts = dict.fromkeys(("MaxConcurrent", "TotalCompletions"), deploy.replicas)
            return {"ReplicatedJob": {} if deploy.replicas is None else {**counts}}
        case "global" | "global-job":
            if deploy.replicas is not None:
                raise Fault((*path, "replicas"), "replicas can only be used with replicated or replicated-job mode", "take one of them out")
            return {"Global" if deploy.mode == "global" else "GlobalJob": {}}
        case unknown:
            raise Fault((*path, "mode"), f"Unknown mode: {unknown}", "use replicated, global, replicated-job or global-job")


def _endpoint(deploy: Deploy, ports: Sequence[Port]) -> dict[str, Json]:
    return _present(Mode=deploy.endpoint_mode.lower(), Ports=[_port(port) for port in in_docker_order(ports)])


def _port(port: Port) -> Json:
    return _present(Protocol=port.protocol, TargetPort=port.target, PublishedPort=port.published, PublishMode=port.mode)


def _rollout(rollout: Rollout | None) -> Json:
    if rollout is None:
        return None
    return {
        "Parallelism": 1 if rollout.parallelism is None else rollout.parallelism,
        "MaxFailureRatio": rollout.max_failure_ratio,
        "Order": rollout.order,
        **_present(Delay=int(rollout.delay), FailureAction=rollout.failure_action, Monitor=int(rollout.monitor)),
    }
