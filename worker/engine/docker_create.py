"""A container plan in the words of the Docker Engine API (`POST /containers/create`). Pure.

The engine may be older than the field that a spec uses. Such a field is translated where the older API can say the same, otherwise
refused with the version that has it; it is never dropped silently. docs/engines.md lists the rows.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.api.specs import ContainerSpec, Device, HealthConfig, Mount, PortConfig, Privileges, Resources, SecurityProfile
from worker.ports import ContainerPlan, EngineError, EngineNetwork

Json = dict[str, Any]
ApiVersion = tuple[int, int]

MANY_NETWORKS = (1, 44)
"""From here on `create` takes more than one network, and MAC addresses per network."""
_OWN_NETWORK_MODES = frozenset({"host", "none", "bridge", "default"})


class Unsupported(EngineError):
    """This engine, or this platform, has no way to do what the spec asks for."""


def parse_version(text: str) -> ApiVersion:
    major, _, minor = text.lstrip("v").partition(".")
    return int(major), int(minor or 0)


def create_body(plan: ContainerPlan, api: ApiVersion) -> Json:
    """What to post. Networks that this version cannot take here are left to `later_networks`."""
    spec = plan.spec
    body: Json = {
        "Image": spec.image,
        "Hostname": plan.hostname,
        "Labels": dict(plan.labels),
        "Env": list(spec.env),
        "WorkingDir": spec.dir,
        "User": spec.user,
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": False,
        "StopSignal": spec.stop_signal,
        "Entrypoint": list(spec.command) or None,
        "Cmd": list(spec.args) or None,
        "ExposedPorts": {_port_key(port): {} for port in plan.host_ports},
        "HostConfig": _host_config(plan, api),
        "NetworkingConfig": {"EndpointsConfig": _endpoints(plan, api)},
    }
    if spec.healthcheck is not None:
        body["Healthcheck"] = _healthcheck(spec.healthcheck, api)
    first = plan.sandbox.networks[:1]
    if first and first[0].mac and api < MANY_NETWORKS:
        body["MacAddress"] = first[0].mac
    return {key: value for key, value in body.items() if value not in (None, "", [], {})}


def later_networks(plan: ContainerPlan, api: ApiVersion) -> Sequence[EngineNetwork]:
    """Networks to connect between create and start: an engine before 1.44 takes one at create."""
    return plan.sandbox.networks[1:] if api < MANY_NETWORKS else ()


def endpoint_settings(network: EngineNetwork, api: ApiVersion, *, default_route: bool = False) -> Json:
    """`EndpointSettings` of one network."""
    settings: Json = {}
    if network.address:
        settings["IPAMConfig"] = {"IPv4Address": network.address}
    if network.aliases:
        settings["Aliases"] = list(network.aliases)
    if network.mac:
        settings["MacAddress"] = network.mac
    if default_route and api >= (1, 48):
        settings["GwPriority"] = 1000
    return settings


def _endpoints(plan: ContainerPlan, api: ApiVersion) -> Json:
    networks = plan.sandbox.networks if api >= MANY_NETWORKS else plan.sandbox.networks[:1]
    joined = [network for network in networks if network.name not in _OWN_NETWORK_MODES]
    return {network.name: endpoint_settings(network, api, default_route=at == 0) for at, network in enumerate(joined)}


# -- HostConfig --------------------------------------------------------------------------------------------------------------------------
def _host_config(plan: ContainerPlan, api: ApiVersion) -> Json:
    spec = plan.spec
    mounts, binds = _mounts(plan, api)
    host: Json = {
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": plan.sandbox.networks[0].name if plan.sandbox.networks else "default",
        "PortBindings": _port_bindings(plan.host_ports),
        "Mounts": mounts,
        "Binds": binds,
        "GroupAdd": list(spec.groups),
        "ReadonlyRootfs": spec.read_only,
        "CapAdd": list(spec.capability_add),
        "CapDrop": list(spec.capability_drop),
        "Sysctls": dict(spec.sysctls),
        "Ulimits": [{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in spec.ulimits],
        "OomScoreAdj": spec.oom_score_adj,
        "ExtraHosts": list(_extra_hosts(spec.hosts)),
        "SecurityOpt": _security_options(spec.privileges),
        "Isolation": _isolation(spec),
        "Init": spec.init,
        "Devices": [_device(device) for device in plan.devices],
        "DeviceRequests": _device_requests(plan, api),
        **_dns(spec),
        **_resources(plan.resources),
    }
    if plan.log_driver is not None:
        host["LogConfig"] = {"Type": plan.log_driver.name, "Config": dict(plan.log_driver.options)}
    return {key: value for key, value in host.items() if value not in (None, "", [], {}, 0) or value is False}


def _device(device: Device) -> Json:
    inside, permissions = device.path_in_container or device.path_on_host, device.cgroup_permissions or "rwm"
    return {"PathOnHost": device.path_on_host, "PathInContainer": inside, "CgroupPermissions": permissions}


def _device_requests(plan: ContainerPlan, api: ApiVersion) -> list[Json]:
    if plan.device_requests and api < (1, 40):
        raise Unsupported(f"device requests (--gpus) need engine API 1.40; this engine has {api[0]}.{api[1]}")
    return [
        {
            "Driver": one.driver,
            "Count": one.count,
            "DeviceIDs": list(one.device_ids),
            "Capabilities": [list(capabilities) for capabilities in one.capabilities],
            "Options": dict(one.options),
        }
        for one in plan.device_requests
    ]


def _dns(spec: ContainerSpec) -> Json:
    dns = spec.dns_config
    if dns is None:
        return {}
    return {"Dns": list(dns.nameservers), "DnsSearch": list(dns.search), "DnsOptions": list(dns.options)}


def _resources(resources: Resources | None) -> Json:
    found: Json = {}
    if resources is not None and resources.limits is not None:
        limits = resources.limits
        found |= {"NanoCpus": limits.nano_cpus, "Memory": limits.memory_bytes, "PidsLimit": limits.pids}
    if resources is not None and resources.reservations is not None:
        found["MemoryReservation"] = resources.reservations.memory_bytes
    return found


def _extra_hosts(hosts: Sequence[str]) -> Iterator[str]:
    """Swarm keeps lines of /etc/hosts (`IP name alias...`), the engine wants `name:IP` one by one."""
    for line in hosts:
        address, *names = line.split()
        if not names:
            raise Unsupported(f"invalid entry {line!r} in hosts: expected an address and a name")
        for name in names:
            yield f"{name}:{address}"


def _isolation(spec: ContainerSpec) -> str:
    if spec.isolation in ("", "default"):
        return spec.isolation
    raise Unsupported(f"isolation {spec.isolation!r} is a mode of Windows containers; leave it out or say default")


def _port_key(port: PortConfig) -> str:
    return f"{port.target_port}/{port.protocol or 'tcp'}"


def _port_bindings(ports: Sequence[PortConfig]) -> Json:
    bindings: dict[str, list[Json]] = {}
    for port in ports:
        published = str(port.published_port) if port.published_port else ""
        bindings.setdefault(_port_key(port), []).append({"HostIp": port.host_ip, "HostPort": published})
    return dict(bindings)


def _healthcheck(check: HealthConfig, api: ApiVersion) -> Json:
    config: Json = {
        "Test": list(check.test),
        "Interval": check.interval,
        "Timeout": check.timeout,
        "Retries": check.retries,
        "StartPeriod": check.start_period,
    }
    if api >= (1, 44):
        config["StartInterval"] = check.start_interval  # older engines probe at `interval` from the start: later, never differently
    return {key: value for key, value in config.items() if value}


def _security_options(privileges: Privileges | None) -> list[str]:
    if privileges is None:
        return []
    if privileges.credential_spec is not None:
        raise Unsupported("a credential spec works on Windows containers only; leave it out")
    options = ["no-new-privileges"] if privileges.no_new_privileges else []
    context = privileges.selinux_context
    if context is not None and context.disable:
        options.append("label=disable")
    elif context is not None:
        parts = (("user", context.user), ("role", context.role), ("type", context.type), ("level", context.level))
        options += [f"label={name}:{value}" for name, value in parts if value]
    return options + _seccomp(privileges.seccomp) + _app_armor(privileges.app_armor)


def _seccomp(profile: SecurityProfile | None) -> list[str]:
    match profile.mode if profile else "":
        case "" | "default":
            return []
        case "unconfined":
            return ["seccomp=unconfined"]
        case "custom" if profile:
            return [f"seccomp={_profile_text(profile.profile)}"]
        case other:
            raise Unsupported(f"unknown seccomp mode {other!r}; use default, unconfined or custom")


def _profile_text(profile: str) -> str:
    """On the wire it is base64 of the JSON."""
    if profile.lstrip().startswith("{"):
        return profile
    try:
        return base64.b64decode(profile, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unsupported(f"the custom seccomp profile is neither JSON nor base64 of JSON: {error}") from error


def _app_armor(profile: SecurityProfile | None) -> list[str]:
    match profile.mode if profile else "":
        case "" | "default":
            return []
        case "disabled":
            return ["apparmor=unconfined"]
        case other:
            raise Unsupported(f"unknown AppArmor mode {other!r}; use default or disabled")


# -- mounts ------------------------------------------------------------------------------------------------------------------------------
def _mounts(plan: ContainerPlan, api: ApiVersion) -> tuple[list[Json], list[str]]:
    """(Mounts, Binds). Ours are binds of single files; `Binds` serves what Mounts cannot say in older versions."""
    mounts: list[Json] = [_bind(source, target, read_only=True) for source, target in plan.sandbox.binds]
    mounts += [_bind(source, target, read_only=read_only) for source, target, read_only in plan.files]
    binds: list[str] = []
    for mount in plan.spec.mounts:
        if mount.type == "bind" and mount.bind_options is not None and mount.bind_options.create_mountpoint and api < (1, 42):
            binds.append(_creating_bind(mount))
        else:
            mounts.append(_mount(mount, api))
    return mounts, binds


def _bind(source: str, target: str, *, read_only: bool) -> Json:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}


def _creating_bind(mount: Mount) -> str:
    """The old syntax always makes a missing source directory."""
    options = mount.bind_options
    if options is not None and options.non_recursive:
        raise Unsupported(f"mount {mount.target}: create_mountpoint together with non-recursive needs engine API 1.42")
    modes = [*(["ro"] if mount.read_only else []), *([options.propagation] if options is not None and options.propagation else [])]
    return ":".join([mount.source, mount.target, *([",".join(modes)] if modes else [])])


def _mount(mount: Mount, api: ApiVersion) -> Json:
    common: Json = {"Type": mount.type or "volume", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.consistency:
        common["Consistency"] = mount.consistency
    match common["Type"]:
        case "bind":
            return common | _bind_options(mount, api)
        case "volume":
            return common | _volume_options(mount, api)
        case "tmpfs":
            return common | _tmpfs_options(mount, api)
        case "image":
            return common | _image_options(mount, api)
        case other:
            raise Unsupported(f"mount {mount.target}: type {other!r} does not exist on Linux; use bind, volume, tmpfs or image")


def _bind_options(mount: Mount, api: ApiVersion) -> Json:
    options = mount.bind_options
    if options is None:
        return {}
    if options.read_only_force_recursive:
        _needs(api, (1, 44), mount, "bind-recursive=readonly")
    found: Json = {"Propagation": options.propagation, "NonRecursive": options.non_recursive}
    if api >= (1, 42):
        found["CreateMountpoint"] = options.create_mountpoint
    if api >= (1, 44):  # before it, a read-only bind never was recursive: just what ReadOnlyNonRecursive asks for
        found |= {
            "ReadOnlyNonRecursive": options.read_only_non_recursive,
            "ReadOnlyForceRecursive": options.read_only_force_recursive,
        }
    return {"BindOptions": {key: value for key, value in found.items() if value}}


def _volume_options(mount: Mount, api: ApiVersion) -> Json:
    options = mount.volume_options
    if options is None:
        return {}
    found: Json = {"NoCopy": options.no_copy, "Labels": dict(options.labels)}
    if options.driver_config is not None:
        found["DriverConfig"] = {"Name": options.driver_config.name, "Options": dict(options.driver_config.options)}
    if options.subpath:
        _needs(api, (1, 45), mount, "volume subpath")
        found["Subpath"] = options.subpath
    return {"VolumeOptions": found}


def _tmpfs_options(mount: Mount, api: ApiVersion) -> Json:
    options = mount.tmpfs_options
    if mount.source:
        raise Unsupported(f"mount {mount.target}: a tmpfs has no source; leave {mount.source!r} out")
    if options is None:
        return {}
    found: Json = {"SizeBytes": options.size_bytes, "Mode": options.mode}
    if options.options:
        _needs(api, (1, 46), mount, "tmpfs options")
        found["Options"] = [list(option) for option in options.options]
    return {"TmpfsOptions": {key: value for key, value in found.items() if value}}


def _image_options(mount: Mount, api: ApiVersion) -> Json:
    _needs(api, (1, 48), mount, "a mount of type image")
    return {"ImageOptions": {"Subpath": mount.image_options.subpath}} if mount.image_options and mount.image_options.subpath else {}


def _needs(api: ApiVersion, version: ApiVersion, mount: Mount, what: str) -> None:
    if api < version:
        has, needs = (".".join(map(str, pair)) for pair in (api, version))
        raise Unsupported(f"mount {mount.target}: {what} needs engine API {needs}; this engine has {has}")


def published_ports(network_settings: Mapping[str, object]) -> Iterator[PortConfig]:
    """Host-mode ports as the engine published them: `NetworkSettings.Ports` of an inspect. IPv6 doubles are left out."""
    ports = network_settings.get("Ports")
    seen = set()
    for key, bindings in sorted(ports.items()) if isinstance(ports, Mapping) else ():
        target, _, protocol = str(key).partition("/")
        for binding in bindings or ():
            published = int(binding.get("HostPort") or 0)
            if published and (key, published) not in seen:
                seen.add((key, published))
                yield PortConfig(protocol=protocol, target_port=int(target), published_port=published, publish_mode="host")
