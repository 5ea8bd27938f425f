"""Registry credentials: what `docker login` left behind, or a credential helper's answer, as the X-Registry-Auth header."""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli import images
from cli.errors import CliError

INDEX = "https://index.docker.io/v1/"


def header(config_dir: Path, image: str) -> str:
    """The header for the image's registry; that of an empty set of credentials if there are none."""
    reference = images.parse(image)
    domain = reference.domain if reference else images.DEFAULT_DOMAIN
    server = INDEX if domain == images.DEFAULT_DOMAIN else domain
    found = credentials(_config(config_dir), server)
    return base64.urlsafe_b64encode(json.dumps(found, separators=(",", ":")).encode()).decode()


def credentials(config: Mapping[str, Any], server: str) -> dict[str, str]:
    """The server's credentials: from its helper, the store, or the file itself."""
    helper = (config.get("credHelpers") or {}).get(server) or config.get("credsStore")
    if helper:
        return _from_helper(str(helper), server)
    entries = config.get("auths") or {}
    entry = entries.get(server) or next((entries[name] for name in entries if _host(name) == _host(server)), None)
    return _from_entry(entry, server) if entry else {}


def _config(config_dir: Path) -> Mapping[str, Any]:
    path = config_dir / "config.json"
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as broken:
        raise CliError(f"cannot read registry credentials from {path}: {broken}") from broken
    return found if isinstance(found, dict) else {}


def _host(server: str) -> str:
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_entry(entry: Mapping[str, str], server: str) -> dict[str, str]:
    user, secret = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        try:
            user, _, secret = base64.b64decode(entry["auth"]).decode().rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError) as broken:
            raise CliError(f"the credentials for {server} are damaged: log in again") from broken
    found = {"username": user, "password": secret, "identitytoken": entry.get("identitytoken", "")}
    found["registrytoken"] = entry.get("registrytoken", "")
    return {**{key: value for key, value in found.items() if value}, "serveraddress": server}


def _from_helper(name: str, server: str) -> dict[str, str]:
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run([program, "get"], input=server, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as broken:
        raise CliError(f"cannot run the credential helper {program}: {broken}") from broken
    if done.returncode != 0:
        said = (done.stdout or done.stderr).strip()
        if "credentials not found" in said:
            return {}
        raise CliError(f"the credential helper {program} failed for {server}: {said}")
    try:
        found = json.loads(done.stdout)
    except ValueError as broken:
        raise CliError(f"the credential helper {program} did not answer with JSON") from broken
    if found.get("Username") == "<token>":
        return {"identitytoken": found.get("Secret", ""), "serveraddress": server}
    return {"username": found.get("Username", ""), "password": found.get("Secret", ""), "serveraddress": found.get("ServerURL") or server}
