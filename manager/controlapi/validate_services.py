"""Service specs: mode, updates, endpoint, as Swarm checks them. Pure; what depends on other objects is in references."""

from collections.abc import Mapping

import msgspec

from cluster.api.endpoint import CLIENT_IP
from cluster.api.errors import InvalidArgument
from cluster.api.specs import EndpointSpec, Extensions, Mode, PortConfig, ServiceMode, ServiceSpec, UpdateConfig, mode_of
from manager.controlapi.validate_extensions import check_extensions
from manager.controlapi.validate_names import check_labels, check_name
from manager.controlapi.validate_tasks import check_expansion, check_template

SPEC_BYTES = 500 * 1024
"""A spec is in the log with each update, and beside its predecessor in the store; no message is over 4 MiB."""

MOST_TASKS = 100_000
"""Of one service."""

_PROTOCOLS = ("tcp", "udp", "sctp")
_FAILURE_ACTIONS = ("", "pause", "continue", "rollback")
_ORDERS = ("", "stop-first", "start-first")
_size = msgspec.msgpack.Encoder()


def check_service(spec: ServiceSpec, extensions: Extensions) -> None:
    """Raises InvalidArgument for the first thing that is wrong with a normalized spec."""
    check_name(spec.name)
    check_labels(spec.labels)
    if len(_size.encode(spec)) > SPEC_BYTES:
        raise InvalidArgument(
            f"the service's spec is too large: more than {SPEC_BYTES // 1024} KiB; keep files in configs, not in the spec"
        )
    check_template(spec.task_template)
    check_expansion(spec.task_template, name=spec.name, labels=spec.labels)
    _check_update(spec.update_config, "update")
    _check_update(spec.rollback_config, "rollback")
    _check_mode(spec)
    _check_endpoint(spec.endpoint_spec)
    check_extensions(extensions)
    _check_affinity(spec, extensions)


def _check_update(config: UpdateConfig | None, what: str) -> None:
    if config is None:
        return
    numbers: Mapping[str, float] = {
        "delay": config.delay,
        "monitor": config.monitor or 0,
        "parallelism": config.parallelism,
        "maxfailureratio": config.max_failure_ratio,
    }
    for name, value in numbers.items():
        if value < 0:
            raise InvalidArgument(f"TaskSpec: {what}-{name} cannot be negative")
    if config.max_failure_ratio > 1:
        raise InvalidArgument(f"TaskSpec: {what}-maxfailureratio cannot be greater than 1")
    if config.failure_action not in _FAILURE_ACTIONS or (what == "rollback" and config.failure_action == "rollback"):
        raise InvalidArgument(f"unrecognized {what} failure action {config.failure_action!r}")
    if config.order not in _ORDERS:
        raise InvalidArgument(f"unrecognized {what} order {config.order!r}; use stop-first or start-first")


def _check_affinity(spec: ServiceSpec, extensions: Extensions) -> None:
    """Without a virtual address the client chooses by itself."""
    if spec.endpoint_spec is None or spec.endpoint_spec.mode != "dnsrr":
        return
    if extensions.endpoint_affinity == CLIENT_IP or extensions.endpoint_prefer_local:
        raise InvalidArgument(
            "endpoint-affinity and endpoint-prefer-local need a virtual address: leave them out, or use endpoint mode vip"
        )


# -- mode ------------------------------------------------------------------------------------------------------------------------------
def _check_mode(spec: ServiceSpec) -> None:
    mode = spec.mode
    if sum(one is not None for one in (mode.replicated, mode.global_, mode.replicated_job, mode.global_job)) > 1:
        raise InvalidArgument("must specify only one service mode")
    _check_numbers(mode)
    if mode_of(spec) in (Mode.REPLICATED_JOB, Mode.GLOBAL_JOB):
        _check_job(spec)


def _check_numbers(mode: ServiceMode) -> None:
    if mode.replicated is not None:
        _check_count("Number of replicas", mode.replicated.replicas)
    if mode.replicated_job is not None:
        _check_count("Maximum concurrent jobs", mode.replicated_job.max_concurrent)
        _check_count("Total completed jobs", mode.replicated_job.total_completions)


def _check_count(what: str, count: int | None) -> None:
    if (count or 0) < 0:
        raise InvalidArgument(f"{what} must be non-negative")
    if (count or 0) > MOST_TASKS:
        raise InvalidArgument(f"{what} must be at most {MOST_TASKS}, not {count}: every manager keeps each task in memory")


def _check_job(spec: ServiceSpec) -> None:
    if spec.update_config is not None or spec.rollback_config is not None:
        raise InvalidArgument("update and rollback configs are not supported in job mode")
    policy = spec.task_template.restart_policy
    if policy is not None and policy.condition == "any":
        raise InvalidArgument("restart condition any is not supported in job mode; use on-failure or none")
    if any(port.publish_mode == "ingress" for port in ports_of(spec)):
        raise InvalidArgument("ports published in ingress mode are not supported in job mode")


# -- endpoint --------------------------------------------------------------------------------------------------------------------------
def ports_of(spec: ServiceSpec) -> tuple[PortConfig, ...]:
    return () if spec.endpoint_spec is None else spec.endpoint_spec.ports


def _check_endpoint(endpoint: EndpointSpec | None) -> None:
    if endpoint is None:
        return
    if endpoint.mode not in ("", "vip", "dnsrr"):
        raise InvalidArgument(f"invalid ResolutionMode: {endpoint.mode!r}; use vip or dnsrr")
    published: set[tuple[str, int, str]] = set()
    for port in endpoint.ports:
        _check_port(port)
        if endpoint.mode == "dnsrr" and port.publish_mode == "ingress":
            raise InvalidArgument("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")
        key = (port.protocol, port.published_port, port.host_ip)
        if port.published_port and key in published:
            raise InvalidArgument(f"EndpointSpec: duplicate published ports provided: {port.published_port}/{port.protocol}")
        published.add(key)


def _check_port(port: PortConfig) -> None:
    if port.protocol not in _PROTOCOLS:
        raise InvalidArgument(f"invalid protocol {port.protocol!r}; use tcp, udp or sctp")
    if port.publish_mode not in ("ingress", "host"):
        raise InvalidArgument(f"invalid publish mode {port.publish_mode!r}; use ingress or host")
    if not 1 <= port.target_port <= 65535:
        raise InvalidArgument(f"invalid target port {port.target_port}: it must be 1 to 65535")
    if not 0 <= port.published_port <= 65535:
        raise InvalidArgument(f"invalid published port {port.published_port}: it must be 1 to 65535, or 0 for one of our choice")
