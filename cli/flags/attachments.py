"""Flags whose value is a whole attachment: a mount, a published port, a network, a secret, a config.

Each reads the comma-separated form and the short form into the API's own object.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cli.flags import values
from cli.flags.grammar import Kind

Value = dict[str, Any]


def mount(text: str) -> Value:
    """type=bind|volume|tmpfs|image|cluster,source=...,target=...,..."""
    found: Value = {"Type": "volume"}
    for field in _fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            if key not in {"readonly", "ro", "volume-nocopy", "bind-nonrecursive"}:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        put = _MOUNT.get(key)
        if put is None:
            raise ValueError(f"unknown option '{key}' in '{field}'")
        put(found, key, value)
    return _checked_mount(found)


def _checked_mount(found: Value) -> Value:
    kind = found["Type"]
    if not kind:
        raise ValueError("type is required")
    if not found.get("Target"):
        raise ValueError("target is required")
    for member, name in (("VolumeOptions", "volume"), ("BindOptions", "bind"), ("TmpfsOptions", "tmpfs"), ("ImageOptions", "image")):
        if member in found and kind != name and not (member == "VolumeOptions" and kind == "cluster"):
            raise ValueError(f"cannot mix '{name}-*' options with mount type '{kind}'")
    if found.get("BindOptions", {}).get("ReadOnlyForceRecursive") and (
        not found.get("ReadOnly") or found["BindOptions"].get("Propagation") != "rprivate"
    ):
        missing = "'readonly'" if not found.get("ReadOnly") else "'bind-propagation=rprivate'"
        raise ValueError(f"option 'bind-recursive=readonly' requires {missing} to be specified in conjunction")
    return found


def _source(found: Value, _: str, value: str) -> None:
    relative = value == "." or value.startswith(("./", "../")) or value == ".."
    found["Source"] = str(Path(os.path.normpath(Path.cwd() / value))) if relative else value


def _plain(member: str, *, lower: bool = False) -> Callable[[Value, str, str], None]:
    def put(found: Value, _: str, value: str) -> None:
        found[member] = value.lower() if lower else value

    return put


def _switch(*path: str) -> Callable[[Value, str, str], None]:
    def put(found: Value, key: str, value: str) -> None:
        try:
            _into(found, path[:-1])[path[-1]] = values.boolean(value)
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None

    return put


def _nested(*path: str, lower: bool = False) -> Callable[[Value, str, str], None]:
    def put(found: Value, _: str, value: str) -> None:
        _into(found, path[:-1])[path[-1]] = value.lower() if lower else value

    return put


def _entry(*path: str) -> Callable[[Value, str, str], None]:
    def put(found: Value, _: str, value: str) -> None:
        name, _, content = value.partition("=")
        if name:
            _into(found, path)[name] = content

    return put


def _bind_recursive(found: Value, key: str, value: str) -> None:
    options = _into(found, ("BindOptions",))
    wanted = {"enabled": (), "disabled": ("NonRecursive",), "writable": ("ReadOnlyNonRecursive",), "readonly": ("ReadOnlyForceRecursive",)}
    if value not in wanted:
        raise ValueError(f'invalid value for {key}: {value} (must be "enabled", "disabled", "writable", or "readonly")')
    for member in wanted[value]:
        options[member] = True


def _tmpfs_size(found: Value, key: str, value: str) -> None:
    try:
        _into(found, ("TmpfsOptions",))["SizeBytes"] = values.size(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _tmpfs_mode(found: Value, key: str, value: str) -> None:
    try:
        _into(found, ("TmpfsOptions",))["Mode"] = int(value, 8)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _into(found: Value, path: tuple[str, ...]) -> Value:
    for member in path:
        found = found.setdefault(member, {})
    return found


_MOUNT: Mapping[str, Callable[[Value, str, str], None]] = {
    "type": _plain("Type", lower=True),
    **dict.fromkeys(("source", "src"), _source),
    **dict.fromkeys(("target", "dst", "destination"), _plain("Target")),
    **dict.fromkeys(("readonly", "ro"), _switch("ReadOnly")),
    "consistency": _plain("Consistency", lower=True),
    "bind-propagation": _nested("BindOptions", "Propagation", lower=True),
    "bind-nonrecursive": _switch("BindOptions", "NonRecursive"),
    "bind-recursive": _bind_recursive,
    "bind-create-src": _switch("BindOptions", "CreateMountpoint"),
    "volume-nocopy": _switch("VolumeOptions", "NoCopy"),
    "volume-subpath": _nested("VolumeOptions", "Subpath"),
    "volume-label": _entry("VolumeOptions", "Labels"),
    "volume-driver": _nested("VolumeOptions", "DriverConfig", "Name"),
    "volume-opt": _entry("VolumeOptions", "DriverConfig", "Options"),
    "image-subpath": _nested("ImageOptions", "Subpath"),
    "tmpfs-size": _tmpfs_size,
    "tmpfs-mode": _tmpfs_mode,
}


def network(text: str) -> Value:
    """NAME, or name=NAME,alias=...,driver-opt=KEY=VALUE."""
    if "=" not in text:
        return {"Target": text}
    found: Value = {}
    for field in _fields(text):
        key, equals, value = (part.strip() for part in field.partition("="))
        if not equals:
            raise ValueError(f"invalid field {field}")
        if key == "name":
            found["Target"] = value
        elif key == "alias":
            found.setdefault("Aliases", []).append(value)
        elif key == "driver-opt":
            name, divider, content = value.partition("=")
            if not divider:
                raise ValueError("invalid key value pair format in driver options")
            found.setdefault("DriverOpts", {})[name.lower().strip()] = content.lower().strip()
        else:
            raise ValueError(f"invalid field key {key}")
    if not found.get("Target"):
        raise ValueError("network name/id is not specified")
    return found


def secret(text: str) -> Value:
    """NAME, or source=NAME,target=FILE,uid=...,gid=...,mode=0444."""
    return _reference(text, "secret", "SecretName")


def config(text: str) -> Value:
    """NAME, or source=NAME,target=FILE,uid=...,gid=...,mode=0444."""
    return _reference(text, "config", "ConfigName")


def _reference(text: str, noun: str, member: str) -> Value:
    parts = _fields(text)
    if len(parts) == 1 and "=" not in parts[0]:
        return {"File": {"Name": parts[0], "UID": "0", "GID": "0", "Mode": 0o444}, member: parts[0]}
    file: Value = {"Name": "", "UID": "0", "GID": "0", "Mode": 0o444}
    source = ""
    for field in parts:
        key, equals, value = field.partition("=")
        if not equals:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        match key.lower():
            case "source" | "src":
                source = value
            case "target":
                file["Name"] = value
            case "uid":
                file["UID"] = value
            case "gid":
                file["GID"] = value
            case "mode":
                file["Mode"] = _file_mode(value)
            case _:
                raise ValueError(f"invalid field in {noun} request: {key}")
    if not source:
        raise ValueError("source is required")
    return {"File": {**file, "Name": file["Name"] or source}, member: source}


def _file_mode(text: str) -> int:
    try:
        return values.unsigned(text)
    except ValueError:
        raise ValueError(f"invalid mode specified: {text}") from None


def _fields(text: str) -> list[str]:
    parts = values.fields(text)
    if not parts:
        raise ValueError("value is empty")
    return parts


MOUNT = Kind("mount", mount, many=True)
NETWORK = Kind("network", network, many=True)
SECRET = Kind("secret", secret, many=True)
CONFIG = Kind("config", config, many=True)
