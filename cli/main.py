"""The `shoal` command: global flags, the table of nouns, and the one place where failures become lines and exit codes.

Step 1 of a service's path begins here. Nothing is imported for a command but what that command needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli import usage
from cli.command import HELP, Entry, Noun
from cli.endpoint import DEFAULT_HOST, Tls
from cli.errors import CliError, SilentExit, Usage
from cli.flags.grammar import SWITCH, TEXT, Flag, Flags, read
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
    "node": Entry("cli.commands.node", "noun", "Manage the swarm's nodes"),
    "service": Entry("cli.commands.service", "noun", "Manage services"),
    "stack": Entry("cli.commands.stack", "noun", "Manage stacks"),
    "secret": Entry("cli.commands.secret", "noun", "Manage secrets"),
    "config": Entry("cli.commands.config", "noun", "Manage configs"),
    "network": Entry("cli.commands.network", "noun", "Manage networks"),
    "task": Entry("cli.commands.task", "noun", "Look at single tasks"),
    "system": Entry("cli.commands.system", "noun", "Events, disk use and information"),
    "info": Entry("cli.commands.system", "info", "Show information about the daemon and the swarm"),
    "version": Entry("cli.commands.version", "version", "Show the versions of client and daemon"),
    "events": Entry("cli.commands.events", "events", "Show events as they happen"),
    "completion": Entry("cli.commands.completion", "noun", "Print a completion script for a shell"),
}

# Docker's verbs that work on one engine's containers and images; the daemon's socket serves them to Docker's own CLI.
ENGINE_VERBS = frozenset(
    (
        *("attach", "build", "builder", "checkpoint", "commit", "container", "context", "cp", "create", "diff", "exec"),
        *("export", "history", "image", "images", "import", "inspect", "kill", "load", "login", "logout", "logs"),
        *("manifest", "pause", "plugin", "port", "ps", "pull", "push", "rename", "restart", "rm", "rmi", "run", "save"),
        *("search", "start", "stats", "stop", "tag", "top", "trust", "unpause", "update", "volume", "wait", "buildx"),
        *("compose"),
    )
)


class Root(Noun):
    """`shoal` itself: reads the global flags, makes the session, hands over to a noun."""

    def __init__(self) -> None:
        super().__init__(PROGRAM, NOUNS, help="Run services on a swarm of hosts")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return self._parse_for_completion(ctx, args)
        words = read(args, (*FLAGS, HELP), interspersed=False)
        if words.flags.on("version"):
            click.echo(f"Shoal version {VERSION}")
            ctx.exit()
        if words.flags.on("help") or not words.args:
            click.echo(self.get_help(ctx))
            ctx.exit()
        if words.args[0] == "help":
            words = words._replace(args=(*words.args[1:], "--help"))
        ctx.obj = session(words.flags)
        return super().parse_args(ctx, list(words.args))

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not ctx.resilient_parsing:
            return []
        from cli.completion import params  # noqa: PLC0415 - a tab's only

        return params(FLAGS, "")

    def _parse_for_completion(self, ctx: click.Context, args: list[str]) -> list[str]:
        from cli.completion import PATIENCE  # noqa: PLC0415 - a tab's only

        try:
            words = read(args, (*FLAGS, HELP), interspersed=False)
        except Usage:
            return super().parse_args(ctx, [])
        ctx.obj = session(words.flags, timeout=PATIENCE)
        return super().parse_args(ctx, list(words.args))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in ENGINE_VERBS and not ctx.resilient_parsing:
            host = ctx.find_object(Session)
            assert host is not None, "parse_args makes the session"
            raise CliError(f"use: docker -H {host.endpoint.address} {shell_words(args)}")
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        page = usage.noun(f"{PROGRAM} [OPTIONS]", self.help or "", {name: entry.help for name, entry in self.entries.items()})
        commands, _, last = page.rpartition("\n\n")
        return "\n\n".join([commands, "Global Options:\n" + usage.options(FLAGS), last.replace(" [OPTIONS]", "")])


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
    """Run one command line; the exit code."""
    root = Root()
    try:
        with root.make_context(PROGRAM, list(args)) as ctx:
            root.invoke(ctx)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    sys.stdout.flush()
    return 0


def main() -> None:
    """The process: runs the command line and leaves with its exit code."""
    args = sys.argv[1:]
    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        Root().main(args=args, prog_name=PROGRAM)
    sys.exit(_told(args))


def _told(args: Sequence[str]) -> int:
    try:
        return run(args)
    except SilentExit as done:
        return done.code
    except Usage as wrong:
        _say(f"{wrong.message}\n\n{_how(args)}")
        return wrong.code
    except CliError as failed:
        if "-D" in args or "--debug" in args:
            raise
        _say(failed.message)
        return failed.code
    except KeyboardInterrupt:
        return 130
    except Exception as fault:
        if "-D" in args or "--debug" in args:
            raise
        _say(f"shoal: a fault of this client, {type(fault).__name__}: {fault} (shoal -D shows where)")
        return 70
    except BrokenPipeError:
        # the reader has seen enough; leave nothing for the interpreter to flush into the broken pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _how(args: Sequence[str]) -> str:
    """How the command that was meant is used: found by walking the words that name commands."""
    root: Any = Root()
    command, ctx = root, click.Context(root, info_name=PROGRAM, resilient_parsing=True)
    try:
        names = list(read(args, (*FLAGS, HELP), interspersed=False).args)
    except Usage:
        names = []
    while names and isinstance(command, Noun) and (found := command.get_command(ctx, names.pop(0))) is not None:
        command, ctx = found, click.Context(found, info_name=found.name, parent=ctx, resilient_parsing=True)
    return f"Usage:  {command.usage_line(ctx)}\n\nRun '{ctx.command_path} --help' for more information"


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
