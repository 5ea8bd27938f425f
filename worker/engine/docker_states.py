"""What the Docker Engine API says of containers and of itself, as the values of the port. Pure."""

from collections.abc import Mapping
from typing import Any

from worker.engine.docker_create import published_ports
from worker.ports import ContainerState, EngineInfo

Answer = Mapping[str, Any]
_NEVER = "0001-01-01T00:00:00Z"


def inspected(answer: Answer) -> ContainerState:
    """`GET /containers/ID/json`."""
    state: Answer = answer.get("State") or {}
    health: Answer = state.get("Health") or {}
    networks: Answer = answer.get("NetworkSettings") or {}
    started_at = str(state.get("StartedAt") or "")
    return ContainerState(
        id=str(answer["Id"]),
        name=str(answer.get("Name") or "").lstrip("/"),
        labels=dict((answer.get("Config") or {}).get("Labels") or {}),
        running=bool(state.get("Running")),
        created_only=state.get("Status") in ("created", "configured", "initialized"),
        pid=int(state.get("Pid") or 0),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
        health="" if health.get("Status") == "none" else str(health.get("Status") or ""),
        health_log=_last_failure(health),
        started_at="" if started_at == _NEVER else started_at,
        addresses={
            str(name): str(settings["IPAddress"])
            for name, settings in (networks.get("Networks") or {}).items()
            if settings and settings.get("IPAddress")
        },
        ports=tuple(published_ports(networks)),
    )


def _last_failure(health: Answer) -> str:
    probes = health.get("Log") or ()
    return next((str(probe.get("Output") or "") for probe in reversed(probes) if probe.get("ExitCode")), "")


def listed(answer: Answer) -> ContainerState:
    """One of `GET /containers/json`: no exit code, no process; inspect has them."""
    state = str(answer.get("State") or "")
    names = answer.get("Names") or ("",)
    return ContainerState(
        id=str(answer["Id"]),
        name=str(names[0]).lstrip("/"),
        labels=dict(answer.get("Labels") or {}),
        running=state in ("running", "paused", "restarting"),
        created_only=state == "created",
    )


def engine_info(info: Answer, version: Answer) -> EngineInfo:
    """`GET /info` with `GET /version`."""
    plugins = info.get("Plugins") or {}
    kinds = (("Volume", "Volume"), ("Network", "Network"), ("Authorization", "Authorization"), ("Log", "Log"))
    components = {str(component.get("Name")) for component in version.get("Components") or ()}
    swarm = str((info.get("Swarm") or {}).get("LocalNodeState") or "inactive")
    return EngineInfo(
        name="podman" if "Podman Engine" in components else "docker",
        version=str(version.get("Version") or info.get("ServerVersion") or ""),
        api_version=str(version.get("ApiVersion") or ""),
        architecture=str(info.get("Architecture") or ""),
        os=str(info.get("OSType") or "linux").lower(),
        cpus=int(info.get("NCPU") or 0),
        memory_bytes=int(info.get("MemTotal") or 0),
        labels=dict(str(label).partition("=")[::2] for label in info.get("Labels") or ()),
        plugins=tuple({"Type": kind, "Name": str(name)} for field, kind in kinds for name in sorted(plugins.get(field) or ())),
        in_swarm_mode="Shoal" not in components and swarm not in ("inactive", ""),
        id=f"{info.get('ID') or ''} {info.get('DockerRootDir') or ''}",  # dockerds of one host share the ID, never the folder
    )


def speaks_for_shoal(version: Answer) -> bool:
    """The answer came from a Shoal daemon, not from an engine: DOCKER_HOST points at ourselves."""
    return any(component.get("Name") == "Shoal" for component in version.get("Components") or ())
