"""`shoal exec`: a command in the container of a task, wherever it runs."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress

from cli import terminal
from cli.client import Json
from cli.command import Arity, Verb
from cli.errors import CliError, SilentExit
from cli.flags.grammar import LIST, SWITCH, TEXT, Flag, Flags, Words
from cli.session import Session
from cli.target import container_of

FLAGS = (
    Flag("detach", SWITCH, "Leave the command running and return", short="d"),
    Flag("detach-keys", TEXT, "Keys that leave the command running", default='"ctrl-p,ctrl-q"'),
    Flag("env", LIST, "Set environment variables", short="e"),
    Flag("interactive", SWITCH, "Pass the standard input on", short="i"),
    Flag("privileged", SWITCH, "Give the command all capabilities"),
    Flag("slot", TEXT, "Which task of a service; of a global one, which node"),
    Flag("tty", SWITCH, "Give the command a terminal", short="t"),
    Flag("user", TEXT, "User name or ID, and group: name|uid[:group|gid]", short="u"),
    Flag("workdir", TEXT, "Folder that the command starts in", short="w"),
)


def _exec(session: Session, words: Words) -> None:
    flags, (word, *command) = words.flags, words.args
    source = session.stdin.fileno()
    if flags.on("interactive") and flags.on("tty") and not flags.on("detach") and not os.isatty(source):
        raise CliError("the input device is not a TTY: leave out --tty")
    if flags.on("interactive") and not flags.on("tty") and session.endpoint.tls:
        raise CliError("the end of piped input cannot be told over TLS: use the daemon's unix socket, or leave out --interactive")
    container = container_of(session.client, word, slot=flags.text("slot"))
    made = session.client.post(f"/containers/{container}/exec", asked(flags, command, env=session.env))["Id"]
    if flags.on("detach"):
        session.client.post(f"/exec/{made}/start", {"Detach": True, "Tty": flags.on("tty")})
        return
    _talk(session, flags, made, source)
    ended = session.client.get(f"/exec/{made}/json")
    if ended.get("ExitCode"):
        raise SilentExit(int(ended["ExitCode"]))


def asked(flags: Flags, command: list[str], *, env: Json) -> Json:
    """What is to be run. A variable without a value has the one that it has here. Pure."""
    attached = not flags.on("detach")
    given = [one if "=" in one else f"{one}={env[one]}" for one in flags.many("env") if "=" in one or one in env]
    return {
        "Cmd": command,
        "AttachStdin": attached and flags.on("interactive"),
        "AttachStdout": attached,
        "AttachStderr": attached,
        "Tty": flags.on("tty"),
        "Privileged": flags.on("privileged"),
        "User": flags.text("user"),
        "WorkingDir": flags.text("workdir"),
        "DetachKeys": flags.text("detach-keys"),
        "Env": given,
    }


def _talk(session: Session, flags: Flags, made: str, source: int) -> None:
    tty = flags.on("tty")
    response = session.client.take_over(f"/exec/{made}/start", {"Detach": False, "Tty": tty})
    session.out.flush()

    def resize() -> None:
        rows, columns = terminal.size()
        if rows:
            with suppress(CliError):  # a command that has ended meanwhile has no size
                session.client.post(f"/exec/{made}/resize", query={"h": rows, "w": columns})

    with ExitStack() as ending:
        ending.callback(response.close)
        if tty:
            ending.enter_context(terminal.resized(resize))
        if tty and flags.on("interactive"):
            ending.enter_context(terminal.raw(source))
        if flags.on("interactive"):
            terminal.feed(response, source)
        with suppress(ConnectionError):  # what became of the command is asked next
            terminal.show(response, framed=not tty)


exec_verb = Verb(
    "exec",
    _exec,
    help="Run a command in the container of a running task, on whichever node it is",
    arguments="TASK|SERVICE[.SLOT]|CONTAINER COMMAND [ARG...]",
    arity=Arity(2, None),
    flags=FLAGS,
    interspersed=False,
    complete="service",
)
