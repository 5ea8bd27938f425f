"""What secrets and configs have in common on the command line: both are named bytes from a file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli import human
from cli.client import Json
from cli.errors import CliError
from cli.flags.grammar import Flags
from cli.render import Listing, Row, form_of, natural, show
from cli.session import Session
from cli.template import govalue


def contents(session: Session, noun: str, path: str) -> bytes:
    """The bytes of the file, or of standard input for "-"."""
    try:
        return session.stdin.read() if path == "-" else Path(path).read_bytes()
    except OSError as broken:
        raise CliError(f"error reading {noun} content from {path}: {broken.strerror or broken}") from broken


def body(name: str, data: bytes | None, labels: Mapping[str, str], flags: Flags) -> dict[str, Any]:
    made: dict[str, Any] = {"Name": name, "Labels": dict(labels)}
    if data is not None:
        made["Data"] = base64.b64encode(data).decode()
    for flag, member in (("driver", "Driver"), ("template-driver", "Templating")):
        if flags.text(flag):
            made[member] = {"Name": flags.text(flag)}
    return made


def show_listing(session: Session, listing: Listing, objects: Sequence[Json], flags: Flags) -> None:
    now = human.utc_now()
    rows = []
    for one in sorted(objects, key=lambda found: natural(found["Spec"]["Name"])):
        labels = one["Spec"].get("Labels") or {}
        row: Row = {
            "ID": one["ID"],
            "Name": one["Spec"]["Name"],
            "CreatedAt": human.ago(one["CreatedAt"], now=now),
            "UpdatedAt": human.ago(one["UpdatedAt"], now=now),
            "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
            "Label": lambda key, labels=labels: labels.get(key, ""),
        }
        if "Driver" in listing.headers:
            row = {**row, "Driver": (one["Spec"].get("Driver") or {}).get("Name") or ""}
        rows.append(row)
    show(session, listing, rows, form_of(flags), quiet=flags.on("quiet"))


def pretty(one: Json, *, secret: bool) -> str:
    """The facts of a secret or config, one a line; a config's data too."""
    spec = one["Spec"]
    lines = [f"ID:\t\t\t{one['ID']}", f"Name:\t\t\t{spec['Name']}"]
    if labels := spec.get("Labels"):
        lines += ["Labels:", *(f" - {key}={value}" if value else f" - {key}" for key, value in sorted(labels.items()))]
    if secret:
        lines.append(f"Driver:\t\t\t{(spec.get('Driver') or {}).get('Name') or ''}".rstrip())
    lines += [f"Created at:\t\t{govalue.text(one['CreatedAt'])}", f"Updated at:\t\t{govalue.text(one['UpdatedAt'])}"]
    if not secret:
        lines += ["Data:", base64.b64decode(spec.get("Data") or "").decode("utf-8", "replace")]
    return "\n".join(lines)
