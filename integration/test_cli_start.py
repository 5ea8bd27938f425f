"""The promise: the command starts fast because it imports little, and posts through its own HTTP what the docker CLI posts."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.cli_recorder import EMPTY_BASE, Recording, clean

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "unit" / "cli" / "data"
SHOAL = [sys.executable, "-m", "cli.main"]
HEAVY = (
    "click",
    "asyncio",
    "aiohttp",
    "grpc",
    "yaml",
    "rich",
    "msgspec",
    "ssl",
    "email",
    "http.client",
    "stack_specs",
    "cluster",
    "typing_extensions",
)
PROBE = """
import json, sys
from cli.main import run
code = run(sys.argv[1:])
sys.stderr.write(json.dumps([code, sorted(sys.modules)]))
"""


@pytest.fixture
def fake() -> Iterator[Recording]:
    with Recording() as recording:
        yield recording


@pytest.mark.parametrize("line", [["--help"], ["service", "ls"], ["service", "--help"]])
def test_the_everyday_commands_import_nothing_heavy(fake: Recording, line: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "-H", fake.socket, *line], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    code, modules = json.loads(done.stderr)
    assert code == 0, done
    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs a docker CLI to compare with")
@pytest.mark.parametrize("name", ["service_create", "service_update"])
def test_the_recorded_tables_are_still_what_both_commands_post(name: str) -> None:
    version = subprocess.run(["docker", "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if "version 28." not in version:
        pytest.skip(f"the tables are of docker CLI 28, here is {version.strip()}")
    table: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    for row in [row for row in table["rows"] if "spec" in row][::9]:
        with Recording(table.get("bases", {}).get(row.get("base"), EMPTY_BASE)) as fake:
            posted = []
            for program in (["docker"], SHOAL):
                code, words, body = fake.run(program, [*table["command"], *row["line"]])
                assert code == 0, (program, row["line"], words)
                posted.append(_sorted(clean(body)))
            assert posted[0] == posted[1] == _sorted(row["spec"]), row["line"]


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs a docker CLI to compare with")
@pytest.mark.parametrize(
    "line",
    [
        ["service", "create", "--detach", "--with-registry-auth", "--name", "x", "reg.example.com/team/app:1"],
        ["service", "create", "--detach", "--with-registry-auth", "--name", "x", "app"],
        ["service", "create", "--detach", "--with-registry-auth", "--name", "x", "helped.example.com/app"],
        ["service", "create", "--detach", "--with-registry-auth", "--name", "x", "unknown.example.com/app"],
        ["service", "create", "--detach", "--name", "x", "app@sha256:" + "4" * 64],
        ["service", "update", "--detach", "--with-registry-auth", "--image", "reg.example.com/app", "plain"],
        ["service", "update", "--detach", "--image", "app:2", "plain"],
    ],
)
def test_images_are_pinned_and_credentials_sent_as_docker_does(fake: Recording, line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    helper = fake.home / "docker-credential-test"
    helper.write_text("""#!/bin/sh\necho '{"ServerURL":"helped.example.com","Username":"<token>","Secret":"tok"}'\n""")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.home}:{os.environ['PATH']}")
    login = base64.b64encode(b"me:secret").decode()
    auths = {"reg.example.com": {"auth": login}, "https://index.docker.io/v1/": {"auth": login}}
    (fake.home / ".docker").mkdir()
    (fake.home / ".docker" / "config.json").write_text(json.dumps({"auths": auths, "credHelpers": {"helped.example.com": "test"}}))
    seen = []
    for program in (["docker"], SHOAL):
        code, words, body = fake.run(program, line)
        assert code == 0, (program, words)
        sent = [(method, path, _decoded(auth)) for method, path, auth in fake.auths if "distribution" in path or method == "POST"]
        seen.append((clean(body), sent))
    assert seen[1] == seen[0]


def _decoded(auth: str | None) -> Any:
    return None if auth is None else json.loads(base64.urlsafe_b64decode(auth))


def _sorted(spec: Any) -> Any:
    """Without the order of what comes from a Go map, and of mounts, which docker's CLI sorts even when none changed."""
    container = spec["TaskTemplate"]["ContainerSpec"]
    for owner, member in ((container, "Env"), (container, "Mounts"), (container, "Secrets"), (spec.get("EndpointSpec") or {}, "Ports")):
        if isinstance(owner.get(member), list):
            owner[member] = sorted(owner[member], key=str)
    return spec
