"""The body of one mount of a service: a volume, a path of the host, memory, a Windows pipe or a cluster volume."""

from stack_specs.errors import Fault, KeyPath
from stack_specs.model import Mount, Stack, Volume
from stack_specs.names import NAMESPACE, scoped
from stack_specs.values import Json

_ALLOWED: dict[str, tuple[str, ...]] = {
    "volume": ("volume",),
    "bind": ("bind",),
    "tmpfs": ("tmpfs",),
    "npipe": ("bind",),
    "cluster": (),
    "image": (),
}


def mount_body(mount: Mount, stack: Stack, stack_name: str, path: KeyPath) -> Json:
    """The mount as the API wants it; what it names must be declared in the stack."""
    kind = mount.type or "volume"
    if kind not in _ALLOWED:
        problem = "volume type must be volume, bind, tmpfs, npipe, cluster or image"
        raise Fault((*path, "type"), f"{problem}, but is {kind}", "correct the type")
    _check_options(mount, kind, path)
    body = _common(mount)
    match kind:
        case "volume":
            if mount.source:
                body |= _volume(mount, _declared(mount, stack, path), stack_name)
        case "cluster":
            body["ClusterOptions"] = {}
            if not mount.source.startswith("group:"):
                body["Source"] = _declared(mount, stack, path).name or scoped(stack_name, mount.source)
        case "tmpfs":
            if mount.tmpfs is not None:
                body["TmpfsOptions"] = {"SizeBytes": mount.tmpfs.size} if mount.tmpfs.size else {}
        case _:
            if mount.bind is not None:
                body["BindOptions"] = {"Propagation": mount.bind.propagation} if mount.bind.propagation else {}
    return body


def _check_options(mount: Mount, kind: str, path: KeyPath) -> None:
    if kind == "tmpfs" and mount.source:
        raise Fault((*path, "source"), "invalid tmpfs source, source must be empty", "take the source out")
    if kind in ("bind", "npipe", "cluster", "image") and not mount.source:
        raise Fault(path, f"invalid {kind} source, source cannot be empty", "add a source")
    for name, options in (("tmpfs", mount.tmpfs), ("bind", mount.bind), ("volume", mount.volume)):
        if options is not None and name not in _ALLOWED[kind]:
            raise Fault(path, f"{name} options are incompatible with type {kind}", "take the options out or change the type")


def _common(mount: Mount) -> dict[str, Json]:
    members: dict[str, Json] = {
        "Type": mount.type,
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "Consistency": mount.consistency,
    }
    return {name: value for name, value in members.items() if value}


def _declared(mount: Mount, stack: Stack, path: KeyPath) -> Volume:
    if mount.source not in stack.volumes:
        raise Fault(path, f'undefined volume "{mount.source}"', "declare it under the top-level `volumes:`")
    return stack.volumes[mount.source]


def _volume(mount: Mount, volume: Volume, stack_name: str) -> dict[str, Json]:
    options: dict[str, Json] = {"NoCopy": True} if mount.volume is not None and mount.volume.nocopy else {}
    if not volume.external.external:
        options["Labels"] = {**volume.labels, NAMESPACE: stack_name}
        if volume.driver or volume.driver_opts is not None:
            driver: dict[str, Json] = {"Name": volume.driver} if volume.driver else {}
            options["DriverConfig"] = {**driver, **({"Options": dict(volume.driver_opts)} if volume.driver_opts else {})}
    return {"Source": volume.name or scoped(stack_name, mount.source), "VolumeOptions": options}
