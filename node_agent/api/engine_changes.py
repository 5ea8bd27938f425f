"""What `engine_compat`'s rows look for in a call, and how they put it into an older engine's words. Pure."""

from collections.abc import Callable
from dataclasses import replace

from cluster.api.errors import InvalidArgument
from node_agent.api.engine_call import Call


def parameter(name: str) -> Callable[[Call], str | None]:
    """Refused when the query has it."""
    return lambda call: f"the parameter {name}" if call.query.get(name) else None


def in_mounts(kind: str, option: str) -> Callable[[Call], str | None]:
    """Refused when a mount's options have it."""

    def thing(call: Call) -> str | None:
        asking = [mount for mount in call.mounts if (mount.get(kind) or {}).get(option)]
        return f"{kind}.{option} of the mount at {asking[0].get('Target')}" if asking else None

    return thing


def in_endpoints(member: str) -> Callable[[Call], str | None]:
    """Refused when the settings of a network have it."""

    def thing(call: Call) -> str | None:
        asking = [name for name, settings in call.endpoints.items() if settings.get(member)]
        return f"{member} for network {asking[0]}" if asking else None

    return thing


def in_driver_options(option: str) -> Callable[[Call], str | None]:
    """Refused when the driver options of a network's endpoint have it."""

    def thing(call: Call) -> str | None:
        asking = [name for name, settings in call.endpoints.items() if option in (settings.get("DriverOpts") or {})]
        return f"the endpoint option {option} for network {asking[0]}" if asking else None

    return thing


def annotations(call: Call) -> str | None:
    return "HostConfig.Annotations" if call.host_config.get("Annotations") else None


def start_interval(call: Call) -> str | None:
    return "a health check's StartInterval" if (call.json.get("Healthcheck") or {}).get("StartInterval") else None


def image_mount(call: Call) -> str | None:
    asking = [mount for mount in call.mounts if mount.get("Type") == "image"]
    return f"the mount of an image at {asking[0].get('Target')}" if asking else None


def no_ipv4(call: Call) -> str | None:
    return "a network without IPv4 (EnableIPv4=false)" if call.json.get("EnableIPv4") is False else None


def cluster_volume(call: Call) -> str | None:
    return "a cluster volume (ClusterVolumeSpec)" if call.json.get("ClusterVolumeSpec") else None


def imported_architecture(call: Call) -> str | None:
    asked = call.query.get("platform")
    return f"the architecture of an imported image (platform={asked})" if call.query.get("fromSrc") and "/" in asked else None


def no_kernel_memory(call: Call) -> Call:
    if "KernelMemory" in call.json:  # of an update
        call = replace(call, body={name: value for name, value in call.json.items() if name != "KernelMemory"})
    if "KernelMemory" in call.host_config:
        call = call.having(HostConfig={name: value for name, value in call.host_config.items() if name != "KernelMemory"})
    return call


def no_duplicate_networks(call: Call) -> Call:
    return call.having(CheckDuplicate=True)


def kept_build_cache(call: Call) -> Call:
    reserved = call.query.get("reserved-space")
    return call.asking(reserved_space=None, keep_storage=reserved) if reserved else call


def made_mountpoints(call: Call) -> Call:
    """A bind whose source is to be made: `Binds` have always done that."""
    mounts, binds = [], list(call.host_config.get("Binds") or ())
    for mount in call.mounts:
        options = {name: value for name, value in (mount.get("BindOptions") or {}).items() if value}
        if not options.pop("CreateMountpoint", False):
            mounts.append(mount)
            continue
        source, target = mount.get("Source", ""), mount.get("Target", "")
        propagation = options.pop("Propagation", "")
        if options or ":" in source + target:
            raise InvalidArgument(
                f"BindOptions.CreateMountpoint of the mount at {target} together with {', '.join(options) or 'a path that has a colon'} "
                "needs a newer container engine: make the directory first"
            )
        modes = ",".join(mode for mode in ("ro" if mount.get("ReadOnly") else "", propagation, mount.get("Consistency", "")) if mode)
        binds.append(f"{source}:{target}" + (f":{modes}" if modes else ""))
    return call.hosting(Mounts=mounts, Binds=binds) if len(mounts) < len(call.mounts) else call


def hardware_address(call: Call) -> Call:
    """The MAC address of the only network is what was that of the container."""
    if len(call.endpoints) != 1 or call.json.get("MacAddress"):
        return call
    (name, settings), *_ = call.endpoints.items()
    if not settings.get("MacAddress"):
        return call
    rest = {member: value for member, value in settings.items() if member != "MacAddress"}
    return call.having(MacAddress=settings["MacAddress"], NetworkingConfig={"EndpointsConfig": {name: rest}})


def hardware_addresses(call: Call) -> str | None:
    """Which is why that of one of several networks cannot be had."""
    asking = [
        name
        for name, settings in call.endpoints.items()
        if settings.get("MacAddress") and settings["MacAddress"] != call.json.get("MacAddress")
    ]
    return f"a MAC address for network {asking[0]}, one of several," if asking and len(call.endpoints) > 1 else None


def read_only_as_ever(call: Call) -> Call:
    """`ReadOnlyNonRecursive` is what read-only meant before."""
    mounts = []
    for mount in call.mounts:
        options = mount.get("BindOptions") or {}
        kept = {name: value for name, value in options.items() if name != "ReadOnlyNonRecursive"}
        mounts.append(mount if kept == options else {**mount, "BindOptions": kept})
    return call.hosting(Mounts=mounts) if mounts else call


_OPTIONS_OF = {"BindOptions": "bind", "VolumeOptions": "volume", "TmpfsOptions": "tmpfs"}


def options_of_another_kind(call: Call) -> str | None:
    for mount in call.mounts:
        for options, kind in _OPTIONS_OF.items():
            if mount.get(options) and mount.get("Type") != kind:
                raise InvalidArgument(f"invalid mount config for type {mount.get('Type', '')!r}: field {options} must not be specified")
    return None


def wait_condition(call: Call) -> str | None:
    condition = call.query.get("condition")
    if condition not in {"", "not-running", "next-exit", "removed"}:
        raise InvalidArgument(f'invalid condition: "{condition}"')
    return None
