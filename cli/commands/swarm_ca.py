"""`swarm ca`: the root of trust, and its rotation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cli.client import Client
from cli.command import NONE, Verb
from cli.commands.swarm import change
from cli.errors import CliError
from cli.flags.grammar import DURATION, SWITCH, Flag, Words
from cli.flags.swarm import EXTERNAL_CA, PEM_FILE
from cli.session import Session

OF_ROTATION = ("ca-cert", "ca-key", "cert-expiry", "external-ca")


def _ca(session: Session, words: Words) -> None:
    flags, client = words.flags, session.client
    if not flags.on("rotate"):
        if flags.any(*OF_ROTATION):
            given = next(name for name in OF_ROTATION if name in flags)
            raise CliError(f"`--{given}` flag requires the `--rotate` flag to update the CA")
        _show_root(session)
        return
    swarm = client.get("/swarm")
    spec = dict(swarm["Spec"])
    ca: dict[str, Any] = dict(spec.get("CAConfig") or {})
    if "ca-cert" in flags and not flags.any("ca-key", "external-ca"):
        raise CliError("rotating to a given CA certificate needs its key too (--ca-key), or an external CA (--external-ca)")
    ca["ForceRotate"] = int(ca.get("ForceRotate") or 0) + (0 if "ca-cert" in flags else 1)
    for flag, member in (("ca-cert", "SigningCACert"), ("ca-key", "SigningCAKey"), ("cert-expiry", "NodeCertExpiry")):
        if flag in flags:
            ca[member] = flags.value(flag)
    if "external-ca" in flags:
        ca["ExternalCAs"] = flags.many("external-ca")
    change(session, swarm, {**spec, "CAConfig": ca})
    if not flags.on("detach"):
        wait_rotated(client, say=None if flags.on("quiet") else session.say)
        _show_root(session)


def _show_root(session: Session) -> None:
    root = (session.client.get("/swarm").get("TLSInfo") or {}).get("TrustRoot")
    if not root:
        raise CliError("No CA information available")
    session.say(root.rstrip("\n"))


def wait_rotated(client: Client, *, say: Callable[[str], None] | None, pause: Callable[[float], None] = time.sleep) -> None:
    """Until every node has a certificate of the new root and trusts only that."""
    said = ""
    while (swarm := client.get("/swarm")).get("RootRotationInProgress"):
        root = (swarm.get("TLSInfo") or {}).get("CertIssuerPublicKey")
        nodes = client.list("/nodes")
        done = sum(((node.get("Description") or {}).get("TLSInfo") or {}).get("CertIssuerPublicKey") == root for node in nodes)
        line = f"rotated TLS certificates: {done}/{len(nodes)} nodes"
        if say is not None and line != said:
            say(line)
            said = line
        pause(0.2)


ca = Verb(
    "ca",
    _ca,
    help="Show and rotate the root CA",
    arity=NONE,
    flags=(
        Flag("ca-cert", PEM_FILE, "File with the certificate of the CA to rotate to", complete="file"),
        Flag("ca-key", PEM_FILE, "File with the key of the CA to rotate to", complete="file"),
        Flag("cert-expiry", DURATION, "Validity of the nodes' certificates (ns|us|ms|s|m|h)", default="2160h0m0s"),
        Flag("detach", SWITCH, "Return at once, without waiting for the rotation", short="d"),
        Flag("external-ca", EXTERNAL_CA, "Endpoints that sign certificates"),
        Flag("quiet", SWITCH, "Show no progress", short="q"),
        Flag("rotate", SWITCH, "Rotate to the CA given, or to a new one"),
    ),
)
