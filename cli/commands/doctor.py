"""`shoal doctor`: what is wrong on this very host. The daemon's binary does the looking; this only finds it and steps aside."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from cli.command import NONE, Verb
from cli.errors import CliError
from cli.flags.grammar import TEXT, Flag, Words
from cli.session import Session

_DAEMON = "shoald"


def command(beside: Path, env: Mapping[str, str], words: Words) -> list[str]:
    """The daemon's command line, of the installation that this one is of, else of whatever is in the path. Raises CliError."""
    own = beside.with_name(_DAEMON)
    found = str(own) if own.exists() else shutil.which(_DAEMON, path=env.get("PATH"))
    if found is None:
        raise CliError("shoald is not installed here, and doctor looks at the host that it runs on: run it on a node")
    config = ("--config-file", words.flags.text("config-file")) if "config-file" in words.flags else ()
    form = ("--format", words.flags.text("format")) if "format" in words.flags else ()
    return [found, *config, "doctor", *form]


def _doctor(session: Session, words: Words) -> None:
    if not session.endpoint.path:
        raise CliError(f"doctor looks at the host that it runs on, not at {session.endpoint.address}: run it there")
    line = command(Path(sys.executable), session.env, words)
    session.out.flush()
    os.execv(line[0], line)


doctor = Verb(
    "doctor",
    _doctor,
    help="Say what is wrong on this host, and what to do about it",
    arity=NONE,
    flags=(
        Flag("config-file", TEXT, "Configuration file of the daemon", default='"/etc/shoal/daemon.json"', complete="file"),
        Flag("format", TEXT, "table, or json", default='"table"'),
    ),
)
