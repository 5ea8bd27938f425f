"""What one run of the command works with: the daemon it talks to, its environment, and where its words go."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

from cli.client import Client
from cli.endpoint import Endpoint, Tls, resolve


class Session:
    """Made once by main and handed to every verb."""

    def __init__(
        self,
        *,
        host: str | None,
        tls: Tls | None,
        env: Mapping[str, str],
        config_dir: Path,
        out: TextIO | None = None,
        err: TextIO | None = None,
        stdin: BinaryIO | None = None,
        timeout: float | None = None,
    ) -> None:
        self.env, self.config_dir = env, config_dir
        self.out, self.err = out or sys.stdout, err or sys.stderr
        self._host, self._tls, self._stdin, self._timeout = host, tls, stdin, timeout
        self._client: Client | None = None

    @property
    def endpoint(self) -> Endpoint:
        return resolve(self._host, self.env, tls=self._tls)

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client(self.endpoint, timeout=self._timeout)
        return self._client

    @property
    def stdin(self) -> BinaryIO:
        return self._stdin or sys.stdin.buffer

    def say(self, text: str = "") -> None:
        """A line of the answer."""
        self.out.write(text + "\n")

    def warn(self, text: str) -> None:
        """A line beside the answer."""
        self.out.flush()
        self.err.write(text + "\n")
