"""`stack deploy` and `stack config`: step 1 of the path, for what stands in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cli.command import NONE, ONE, Verb
from cli.commands.stack import stack_name
from cli.deployment import Choices
from cli.deployment import deploy as carry_out
from cli.errors import CliError
from cli.flags.grammar import COMMA_LIST, SWITCH, TEXT, Flag, Words
from cli.progress import follow
from cli.session import Session
from stack_specs import convert, loader
from stack_specs.errors import StackError

FILES = Flag(
    "compose-file",
    COMMA_LIST,
    'Stack files, in the order in which they override one another; "-" is standard input',
    short="c",
    complete="file",
)
RESOLVE = ("always", "changed", "never")


def _deploy(session: Session, words: Words) -> None:
    flags = words.flags
    stack = stack_name(words.args[0])
    resolve_image = flags.text("resolve-image", "always")
    if resolve_image not in RESOLVE:
        raise CliError(f"Invalid option {resolve_image} for flag --resolve-image")
    files, paths = Files(session), flags.many("compose-file")
    try:
        loaded = loader.load(paths, env=session.env, read=files.read, working_dir=folder(paths))
        plan = convert.plan(loaded, name=stack, env=session.env, read=files.read)
    except StackError as refused:
        raise CliError(str(refused)) from refused
    for warning in (*loaded.warnings, *plan.warnings):
        session.warn(warning)
    _check_manager(session)
    how = Choices(stack, resolve_image, prune=flags.on("prune"), registry_auth=flags.on("with-registry-auth"))
    try:
        services = carry_out(session, plan, how)
    except StackError as refused:
        raise CliError(str(refused)) from refused
    if not flags.value("detach", default=True):
        _wait(session, services, quiet=flags.on("quiet"))


def _check_manager(session: Session) -> None:
    if not ((session.client.get("/info") or {}).get("Swarm") or {}).get("ControlAvailable"):
        raise CliError(
            'this node is not a swarm manager. Use "shoal swarm init" or "shoal swarm join" to connect this node to swarm and try again'
        )


def _wait(session: Session, services: list[str], *, quiet: bool) -> None:
    failed = []
    for service_id in services:
        try:
            follow(session, service_id, quiet=quiet)
        except CliError as unconverged:
            failed.append(f"{service_id}: {unconverged.message}")
    if failed:
        raise CliError("\n".join(failed))


def _config(session: Session, words: Words) -> None:
    files, paths = Files(session), words.flags.many("compose-file")
    variables = not words.flags.on("skip-interpolation")
    try:
        loaded = loader.load(paths, env=session.env, read=files.read, working_dir=folder(paths), variables=variables)
        session.out.write(convert.render_config(loaded))
    except StackError as refused:
        raise CliError(str(refused)) from refused


def folder(paths: Sequence[str]) -> str:
    """Where relative paths in the files begin: the first file's folder, or for standard input the present one."""
    return str(Path.cwd() if not paths or paths[0] == "-" else Path(paths[0]).absolute().parent)


class Files:
    """The files that a stack names, and standard input as "-"."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, path: str) -> bytes:
        return self._session.stdin.read() if path == "-" else Path(path).read_bytes()


deploy = Verb(
    "deploy",
    _deploy,
    help="Deploy a new stack, or change one",
    arguments="STACK",
    arity=ONE,
    flags=(
        FILES,
        Flag("detach", SWITCH, "Return at once, without waiting for the services to converge", short="d", default="true"),
        Flag("prune", SWITCH, "Remove services that the files no longer name"),
        Flag("quiet", SWITCH, "Show no progress", short="q"),
        Flag(
            "resolve-image",
            TEXT,
            "When to ask the registry for digests: always, changed or never",
            default='"always"',
            complete="|".join(RESOLVE),
        ),
        Flag("with-registry-auth", SWITCH, "Give the registry credentials to the nodes that run the tasks"),
    ),
    aliases=("up",),
    complete="stack",
)
config = Verb(
    "config",
    _config,
    help="Show the stack's files merged and with their variables filled in",
    arity=NONE,
    flags=(FILES, Flag("skip-interpolation", SWITCH, "Leave variables as they stand")),
)
