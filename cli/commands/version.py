"""`version`: of this client, and of every part of the daemon."""

from __future__ import annotations

import platform
from typing import Any

from cli.client import Json
from cli.command import NONE, Verb
from cli.errors import CliError
from cli.flags.grammar import Words
from cli.render import INSPECT_FORMAT, render
from cli.session import Session
from cli.template.govalue import as_json
from cli.versions import API_VERSION, VERSION


def _version(session: Session, words: Words) -> None:
    form = words.flags.text("format")
    failed, server = None, None
    try:
        server = session.client.get("/version")
    except CliError as unreachable:
        failed = unreachable
    both = {"Client": client(), "Server": server}
    if form == "json":
        session.say(as_json(both))
    elif form:
        session.say(render(form, both))
    else:
        session.say(_page(both))
    if failed:
        raise failed


def client() -> dict[str, Any]:
    return {
        "Version": VERSION,
        "ApiVersion": API_VERSION,
        "PythonVersion": platform.python_version(),
        "Os": platform.system().lower(),
        "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
    }


def _page(both: Json) -> str:
    own, server = both["Client"], both["Server"]
    lines = [
        "Client:",
        f" Version:\t   {own['Version']}",
        f" API version:\t   {own['ApiVersion']}",
        f" Python version:   {own['PythonVersion']}",
    ]
    lines.append(f" OS/Arch:\t   {own['Os']}/{own['Arch']}")
    if server:
        name = (server.get("Platform") or {}).get("Name")
        lines += ["", f"Server: {name}".rstrip() if name else "Server:"]
        for component in server.get("Components") or ():
            lines += _component(component)
    return "\n".join(line.expandtabs(8) for line in lines)


def _component(component: Json) -> list[str]:
    details = component.get("Details") or {}
    lines = [f" {component.get('Name', '')}:", f"  Version:\t   {component.get('Version', '')}"]
    if api := details.get("ApiVersion"):
        least = details.get("MinAPIVersion")
        lines.append(f"  API version:\t   {api}" + (f" (minimum version {least})" if least else ""))
    for member, title in (
        ("GoVersion", "Go version"),
        ("PythonVersion", "Python version"),
        ("GitCommit", "Git commit"),
        ("BuildTime", "Built"),
    ):
        if details.get(member):
            lines.append(f"  {title + ':':<16} {details[member]}")
    if details.get("Os"):
        lines.append(f"  OS/Arch:\t   {details['Os']}/{details.get('Arch', '')}")
    return lines


version = Verb("version", _version, help="Show the versions of client and daemon", arity=NONE, flags=(INSPECT_FORMAT,))
