"""The flags of the swarm's own settings, and the part of the swarm's spec that they are. Pure."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.flags import values
from cli.flags.grammar import DURATION, SWITCH, TEXT, UINT, Flag, Flags, Kind

REBALANCE = "io.shoal.rebalance"
AVAILABILITY = "active|pause|drain"


def external_ca(text: str) -> dict[str, Any]:
    """protocol=cfssl,url=URL[,cacert=FILE][,KEY=VALUE]."""
    found: dict[str, Any] = {}
    for field in values.fields(text):
        key, equals, value = field.partition("=")
        if not equals:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        match key.lower():
            case "protocol" if value.lower() == "cfssl":
                found["Protocol"] = "cfssl"
            case "protocol":
                raise ValueError(f"unrecognized external CA protocol {value}")
            case "url":
                found["URL"] = value
            case "cacert":
                found["CACert"] = pem(value)
            case _:
                found.setdefault("Options", {})[key] = value
    for member, said in (("Protocol", "protocol"), ("URL", "URL")):
        if member not in found:
            raise ValueError(f"the external-ca option needs a {said}= parameter")
    return found


def subnet(text: str) -> list[str]:
    found = []
    for part in values.fields(text):
        try:
            found.append(str(ipaddress.ip_network(part.strip(), strict=False)))
        except ValueError:
            raise ValueError(f"invalid string being converted to CIDR: {part}") from None
    return found


def listen_address(text: str) -> str:
    """ADDRESS or INTERFACE, with the swarm's port if none is said."""
    return text if re.search(r":\d+$", text) and not re.fullmatch(r"[0-9a-fA-F:]*::?[0-9a-fA-F]*", text) else f"{text}:2377"


def pem(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as broken:
        raise ValueError(f"cannot read {path}: {getattr(broken, 'strerror', None) or 'not PEM'}") from broken
    if "-----BEGIN " not in text:
        raise ValueError(f"{path} holds no PEM block")
    return text


EXTERNAL_CA = Kind("external-ca", external_ca, many=True)
SUBNETS = Kind("ipNetSlice", subnet, many=True, spread=True)
NODE_ADDRESS = Kind("node-addr", listen_address)
PEM_FILE = Kind("pem-file", pem)

SETTINGS = (
    Flag("autolock", SWITCH, "Ask for a key before a stopped manager starts again"),
    Flag("cert-expiry", DURATION, "Validity of the nodes' certificates (ns|us|ms|s|m|h)", default="2160h0m0s"),
    Flag("dispatcher-heartbeat", DURATION, "Period of the nodes' heartbeats (ns|us|ms|s|m|h)", default="5s"),
    Flag("external-ca", EXTERNAL_CA, "Endpoints that sign certificates"),
    Flag("max-snapshots", UINT, "Raft snapshots to keep beside the newest"),
    Flag("rebalance", UINT, "Tasks of each service at a time that may move to a node that joins; 0 for none", default="0"),
    Flag("snapshot-interval", UINT, "Log entries between two Raft snapshots", default="10000"),
    Flag("task-history-limit", Kind("int", values.integer), "Finished tasks to remember of each slot", default="5"),
)
JOINING = (
    Flag("advertise-addr", TEXT, "Address that the others reach this node at: ADDRESS|INTERFACE[:PORT]"),
    Flag("availability", TEXT, "active, pause or drain", default='"active"', complete=AVAILABILITY),
    Flag("data-path-addr", TEXT, "Address or interface for the traffic of containers"),
    Flag("listen-addr", NODE_ADDRESS, "Address to listen on: ADDRESS|INTERFACE[:PORT]", default="0.0.0.0:2377"),
)


def merged(spec: Mapping[str, Any], flags: Flags) -> dict[str, Any]:
    """The swarm's spec after the flags."""
    found = copy.deepcopy(dict(spec))
    for flag, path in (
        ("task-history-limit", ("Orchestration", "TaskHistoryRetentionLimit")),
        ("dispatcher-heartbeat", ("Dispatcher", "HeartbeatPeriod")),
        ("cert-expiry", ("CAConfig", "NodeCertExpiry")),
        ("external-ca", ("CAConfig", "ExternalCAs")),
        ("max-snapshots", ("Raft", "KeepOldSnapshots")),
        ("snapshot-interval", ("Raft", "SnapshotInterval")),
        ("autolock", ("EncryptionConfig", "AutoLockManagers")),
    ):
        if flag in flags:
            group = found.get(path[0])
            found[path[0]] = {**(group or {}), path[1]: flags.value(flag)}
    if "rebalance" in flags:
        found["Labels"] = {**(found.get("Labels") or {}), REBALANCE: str(flags.value("rebalance"))}
    return found
