"""What the stock docker CLI asks for, as a table for the unit tests: each line of commands, and the spec that it posts.

Run as a script where a docker CLI 28 is installed to write the tables anew; the tests only read them:

    python integration/cli_recorder.py tests/unit/cli/data
"""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from pathlib import Path
from typing import Any

NETWORKS = {"front": "netfront000000000000000000", "back": "netback0000000000000000000", "ingress": "netingress00000000000000"}
SECRETS = {"s1": "secret1aaaaaaaaaaaaaaaaaa", "s2": "secret2aaaaaaaaaaaaaaaaaa"}
CONFIGS = {"c1": "config1aaaaaaaaaaaaaaaaaa", "c2": "config2aaaaaaaaaaaaaaaaaa", "cred": "configcredaaaaaaaaaaaaaa"}

DIGEST = "sha256:" + "5" * 64

EMPTY_BASE: dict[str, Any] = {
    "Name": "plain",
    "Labels": {},
    "TaskTemplate": {"ContainerSpec": {"Image": "busybox:latest"}, "ForceUpdate": 0},
    "Mode": {"Replicated": {"Replicas": 1}},
    "EndpointSpec": {"Mode": "vip"},
}


class FakeManager(http.server.BaseHTTPRequestHandler):
    """As much of a manager as `service create` and `service update` look at."""

    protocol_version = "HTTP/1.1"
    posted: list[Any]
    auths: list[tuple[str, str, str | None]]
    base: dict[str, Any]

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def _send(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Api-Version", "1.51")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _route(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        parts = [part for part in url.path.split("/") if part and not part.startswith("v1.")]
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or b"null") if size else None
        listed = {"secrets": SECRETS, "configs": CONFIGS}
        self.auths.append(
            (self.command, url.path.rpartition("/v1.")[2].partition("/")[2] or url.path[1:], self.headers.get("X-Registry-Auth"))
        )
        if self.command == "POST":
            self.posted.append(body)
            self._send(201 if parts[-1] == "create" else 200, {"ID": "service000000000000000000a", "Warnings": None})
        elif parts[0] in listed:
            self._send(200, [{"ID": one, "Spec": {"Name": name}} for name, one in listed[parts[0]].items()])
        elif parts[0] == "networks" and parts[1] in NETWORKS:
            self._send(200, {"Id": NETWORKS[parts[1]], "Name": parts[1], "Scope": "swarm"})
        elif parts[0] == "distribution":
            platforms = [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm", "os": "linux", "variant": "v7"}]
            self._send(200, {"Descriptor": {"digest": DIGEST, "mediaType": "x", "size": 1}, "Platforms": platforms})
        elif parts == ["services"]:
            self._send(200, [])
        elif parts[0] == "services":
            self._send(200, {"ID": "service000000000000000000a", "Version": {"Index": 7}, "Spec": self.base})
        elif parts[0] in {"_ping", "info"}:
            self._send(200, {})
        else:
            self._send(404, {"message": f"{parts[0]} not found"})

    do_GET = do_HEAD = do_POST = _route  # noqa: N815 - the names that http.server calls


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Recording:
    """A fake manager on a socket; `posted` is what it was asked to make or change."""

    def __init__(self, base: dict[str, Any] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.home = Path(self._folder.name)
        self.socket = str(Path(self._folder.name) / "docker.sock")
        self.posted: list[Any] = []
        self.auths: list[tuple[str, str, str | None]] = []
        handler = type("Handler", (FakeManager,), {"posted": self.posted, "auths": self.auths, "base": base or EMPTY_BASE})
        self._server = _Server(self.socket, handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Recording:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()

    def run(self, program: list[str], line: list[str]) -> tuple[int, str, Any]:
        """Run one command against the fake; its exit code, its last words, and the body that it posted."""
        self.posted.clear()
        self.auths.clear()
        env = {**os.environ, "HOME": self._folder.name, "FROM_ENV": "yes", "TERM": "dumb"}
        done = subprocess.run([*program, "-H", f"unix://{self.socket}", *line], env=env, capture_output=True, text=True, check=False)
        words = (done.stderr.strip().splitlines() or [""])[0]
        return done.returncode, words, self.posted[-1] if self.posted else None


def clean(value: Any, *, keep: bool = False) -> Any:
    """Without null, "", [] and {}, but for the members of maps that users name and of a service's mode."""
    if isinstance(value, dict):
        cleaned = {key: clean(item, keep=key in {"Labels", "Options", "DriverOpts", "Sysctls", "Mode"}) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if keep or item not in (None, "", [], {})}
    return [clean(item) for item in value] if isinstance(value, list) else value


def record(folder: Path) -> None:
    """Write the tables' specs anew from what the docker CLI does with their lines."""
    for name in ("service_create", "service_update"):
        path = folder / f"{name}.json"
        table = json.loads(path.read_text())
        for row in table["rows"]:
            base = table.get("bases", {}).get(row.get("base", "empty"), EMPTY_BASE)
            with Recording(base) as fake:
                code, words, body = fake.run(["docker"], [*table["command"], *row["line"]])
            row.pop("spec", None)
            row.pop("refused", None)
            row.update({"spec": clean(body)} if code == 0 else {"refused": words, "code": code})
        rows = ",\n".join("  " + json.dumps(row) for row in table["rows"])
        head = {key: value for key, value in table.items() if key != "rows"}
        path.write_text(json.dumps(head)[:-1] + ', "rows": [\n' + rows + "\n]}\n")


if __name__ == "__main__":
    record(Path(sys.argv[1]))
