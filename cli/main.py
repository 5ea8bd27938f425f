"""The `shoal` command: global flags, the table of nouns, and the one place where failures become lines and exit codes.

Step 1 of a service's path begins here. Nothing is imported for a command but what that command needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cli import usage
from cli.command import HELP, Entry, Noun, descend, run_found
from cli.endpoint import DEFAULT_HOST, Tls
from cli.errors import CliError, SilentExit, Usage
from cli.flags.grammar import SWITCH, TEXT, Flag, Flags, Words, read
from cli.session import Session
from cli.versions import VERSION

PROGRAM = "shoal"

FLAGS = (
    Flag("config", TEXT, "Folder of the client's registry credentials", default='"~/.docker"', complete="file"),
    Flag("debug", SWITCH, "Show where in the client a failure comes from", short="D"),
    Flag("host", TEXT, "Daemon to talk to: unix:///PATH or tcp://HOST:PORT", short="H", default=f'"{DEFAULT_HOST}"'),
    Flag("tls", SWITCH, "Use TLS; --tlsverify implies it"),
    Flag("tlscacert", TEXT, "Trust only certificates that this CA signed", default='"~/.docker/ca.pem"', complete="file"),
    Flag("tlscert", TEXT, "Certificate to show to the daemon", default='"~/.docker/cert.pem"', complete="file"),
    Flag("tlskey", TEXT, "Key of that certificate", default='"~/.docker/key.pem"', complete="file"),
    Flag("tlsverify", SWITCH, "Use TLS and verify the daemon"),
    Flag("version", SWITCH, "Print the version and quit", short="v"),
)

NOUNS = {
    "swarm": Entry("cli.commands.swarm", "noun", "Manage the swarm"),
    "cluster": Entry("cli.commands.cluster", "noun", "Look after the swarm's own state"),
    "node": Entry("cli.commands.node", "noun", "Manage the swarm's nodes"),
    "service": Entry("cli.commands.service", "noun", "Manage services"),
    "stack": Entry("cli.commands.stack", "noun", "Manage stacks"),
    "secret": Entry("cli.commands.secret", "noun", "Manage secrets"),
    "config": Entry("cli.commands.config", "noun", "Manage configs"),
    "network": Entry("cli.commands.network", "noun", "Manage networks"),
    "task": Entry("cli.commands.task", "noun", "Look at single tasks"),
    "exec": Entry("cli.commands.execute", "exec_verb", "Run a command in the container of a running task, on whichever node it is"),
    "system": Entry("cli.commands.system", "noun", "Events, disk use and information"),
    "info": Entry("cli.commands.system", "info", "Show information about the daemon and the swarm"),
    "version": Entry("cli.commands.version", "version", "Show the versions of client and daemon"),
    "doctor": Entry("cli.commands.doctor", "doctor", "Say what is wrong on this host, and what to do about it"),
    "events": Entry("cli.commands.events", "events", "Show events as they happen"),
    "completion": Entry("cli.commands.completion", "noun", "Print a completion script for a shell"),
}

# Docker's verbs that work on one engine's containers and images; the daemon's socket serves them to Docker's own CLI.
ENGINE_VERBS = frozenset(
    (
        *("attach", "build", "builder", "checkpoint", "commit", "container", "context", "cp", "create", "diff"),
        *("export", "history", "image", "images", "import", "inspect", "kill", "load", "login", "logout", "logs"),
        *("manifest", "pause", "plugin", "port", "ps", "pull", "push", "rename", "restart", "rm", "rmi", "run", "save"),
        *("search", "start", "stats", "stop", "tag", "top", "trust", "unpause", "update", "volume", "wait", "buildx"),
        *("compose"),
    )
)


class Root(Noun):
    """`shoal` itself."""

    def __init__(self) -> None:
        super().__init__(PROGRAM, NOUNS, help="Run services on a swarm of hosts")

    def page(self, path: str) -> str:
        *commands, last = super().page(path).split("\n\n")
        return "\n\n".join([*commands, "Global Options:\n" + usage.options(FLAGS), last])


def shell_words(args: Sequence[str]) -> str:
    """The words as one would type them again."""
    import shlex  # noqa: PLC0415 - only for what is not ours

    return shlex.join(args)


def session(flags: Flags, *, timeout: float | None = None) -> Session:
    """The session that the global flags and the environment ask for."""
    env = os.environ
    config_dir = Path(flags.text("config") or env.get("DOCKER_CONFIG") or Path(env.get("HOME") or "/") / ".docker")
    return Session(host=flags.text("host") or None, tls=_tls(flags, config_dir), env=env, config_dir=config_dir, timeout=timeout)


def _tls(flags: Flags, config_dir: Path) -> Tls | None:
    verify = flags.on("tlsverify") or bool(os.environ.get("SHOAL_TLS_VERIFY"))
    if not verify and not flags.on("tls"):
        return None
    folder = Path(os.environ.get("SHOAL_CERT_PATH") or config_dir)
    cert = flags.text("tlscert") or str(folder / "cert.pem")
    shown = cert if "tlscert" in flags or Path(cert).exists() else ""
    return Tls(flags.text("tlscacert") or str(folder / "ca.pem"), shown, flags.text("tlskey") or str(folder / "key.pem"), verify)


def run(args: Sequence[str]) -> int:
    """Run one command line; the exit code. A wrong use is raised with how the command is used."""
    root = Root()
    words = _global(root, args)
    if words.flags.on("version"):
        sys.stdout.write(f"Shoal version {VERSION}\n")
        return 0
    rest = words.args
    if words.flags.on("help") or rest[:1] == ("help",):
        rest = (*(rest[1:] if rest[:1] == ("help",) else rest), "--help")
    found = descend(root, PROGRAM, rest)
    here = session(words.flags)
    if found.command is root and found.args and found.args[0] in ENGINE_VERBS:
        raise CliError(f"use: docker -H {here.endpoint.address} {shell_words(found.args)}")
    try:
        run_found(here, found)
    except Usage as wrong:
        raise wrong.of(found.command.usage_line(found.path), found.path) from None
    sys.stdout.flush()
    return 0


def _global(root: Root, args: Sequence[str]) -> Words:
    try:
        return read(args, (*FLAGS, HELP), interspersed=False)
    except Usage as wrong:
        raise wrong.of(root.usage_line(PROGRAM), PROGRAM) from None


def main() -> None:
    """The process: runs the command line and leaves with its exit code."""
    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        from cli.completion import complete  # noqa: PLC0415 - a tab's only

        complete(Root(), FLAGS, session)
    sys.exit(_told(sys.argv[1:]))


def _told(args: Sequence[str]) -> int:
    debug = "-D" in args or "--debug" in args
    try:
        return run(args)
    except SilentExit as done:
        return done.code
    except CliError as failed:
        if debug:
            raise
        _say(failed.told)
        return failed.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader has seen enough; leave nothing for the interpreter to flush into the broken pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as fault:
        if debug:
            raise
        _say(f"shoal: a fault of this client, {type(fault).__name__}: {fault} (shoal -D shows where)")
        return 70


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
