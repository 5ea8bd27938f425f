"""`stack deploy`, `stack diff` and `stack config`: step 1 of the path, for what stands in files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli import stack_plan
from cli.client import Client
from cli.command import NONE, ONE, Verb
from cli.commands.stack import stack_name
from cli.deployment import Choices, present
from cli.deployment import deploy as carry_out
from cli.errors import CliError, SilentExit, Unconverged
from cli.flags.grammar import COMMA_LIST, POSITIVE_DURATION, SWITCH, TEXT, Flag, Flags, Words
from cli.progress import failure_of, follow
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
PRUNE = Flag("prune", SWITCH, "Remove services that the files no longer name")
BETWEEN_LOOKS = 2.0
"""Seconds between two looks at the services that are not followed yet."""
RESOLVE = ("always", "changed", "never")


def _deploy(session: Session, words: Words) -> None:
    flags = words.flags
    stack = stack_name(words.args[0])
    resolve_image = flags.text("resolve-image", "always")
    if resolve_image not in RESOLVE:
        raise CliError(f"Invalid option {resolve_image} for flag --resolve-image")
    plan = _planned(session, stack, flags)
    if flags.on("dry-run"):
        if stack_plan.refused(_show(session, plan, stack, prune=flags.on("prune"))):
            raise SilentExit(1)
        return
    how = Choices(stack, resolve_image, prune=flags.on("prune"), registry_auth=flags.on("with-registry-auth"))
    try:
        services = carry_out(session, plan, how)
    except StackError as refused:
        raise CliError(str(refused)) from refused
    if not flags.value("detach", default=True):
        names = [service.name for service in plan.services]
        _wait(session, dict(zip(names, services, strict=True)), quiet=flags.on("quiet"), at_most=flags.value("timeout"))


def _planned(session: Session, stack: str, flags: Flags) -> convert.StackRequests:
    """What the files ask for."""
    files, paths = Files(session), flags.many("compose-file")
    try:
        loaded = loader.load(paths, env=session.env, read=files.read, working_dir=folder(paths))
        plan = convert.plan(loaded, name=stack, env=session.env, read=files.read)
    except StackError as refused:
        raise CliError(str(refused)) from refused
    for warning in (*loaded.warnings, *plan.warnings):
        session.warn(warning)
    _check_manager(session)
    return plan


def _show(session: Session, plan: convert.StackRequests, stack: str, *, prune: bool) -> list[stack_plan.Step]:
    """Say what a deploy would do."""
    found = stack_plan.steps(plan, present(session, stack), prune=prune)
    for line in stack_plan.lines(found):
        session.say(line)
    return found


def _diff(session: Session, words: Words) -> None:
    stack = stack_name(words.args[0])
    found = _show(session, _planned(session, stack, words.flags), stack, prune=words.flags.on("prune"))
    if stack_plan.differs(found) and words.flags.on("exit-code"):
        raise SilentExit(1)


def _check_manager(session: Session) -> None:
    if not ((session.client.get("/info") or {}).get("Swarm") or {}).get("ControlAvailable"):
        raise CliError(
            'this node is not a swarm manager. Use "shoal swarm init" or "shoal swarm join" to connect this node to swarm and try again'
        )


def _wait(session: Session, services: Mapping[str, str], *, quiet: bool, at_most: int | None) -> None:
    """Until all have converged, or one has failed: what depends on that one never starts. `services`: ids by name; `at_most` ns in all."""
    deadline = None if at_most is None else time.monotonic() + at_most / 1e9
    left = dict(services)
    late: list[str] = []
    others = Others(session.client, left)
    for name, service_id in services.items():
        del left[name]
        try:
            follow(session, service_id, quiet=quiet, deadline=deadline, pause=others.pause)
        except Unconverged as unconverged:
            if deadline is None or time.monotonic() < deadline:
                said = [] if others.failed else [f"{name}: {unconverged.message}"]
                others.look()
                raise Unconverged("\n".join([*said, *others.failed])) from unconverged
            late.append(f"{name}: {unconverged.message}")
    if late:
        raise Unconverged("\n".join(late))


class Others:
    """The services that are not yet followed: one of them may fail for good while another one is waited for."""

    def __init__(self, client: Client, left: Mapping[str, str]) -> None:
        self.failed: list[str] = []
        self._client = client
        self._left = left
        self._looked = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Sleep, and look now and then. Raises Unconverged."""
        time.sleep(seconds)
        if time.monotonic() - self._looked >= BETWEEN_LOOKS:
            self.look()
            if self.failed:
                raise Unconverged("\n".join(self.failed))

    def look(self) -> None:
        found = ((name, failure_of(self._client, service_id)) for name, service_id in self._left.items())
        self.failed = [f"{name}: {failure}" for name, failure in found if failure]
        self._looked = time.monotonic()


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
        Flag("dry-run", SWITCH, "Say what would be created, changed and removed, and do nothing"),
        PRUNE,
        Flag("quiet", SWITCH, "Show no progress", short="q"),
        Flag(
            "resolve-image",
            TEXT,
            "When to ask the registry for digests: always, changed or never",
            default='"always"',
            complete="|".join(RESOLVE),
        ),
        Flag("timeout", POSITIVE_DURATION, "With --detach=false: longest time to wait (ms|s|m|h)"),
        Flag("with-registry-auth", SWITCH, "Give the registry credentials to the nodes that run the tasks"),
    ),
    aliases=("up",),
    complete="stack",
)
diff = Verb(
    "diff",
    _diff,
    help="Show what a deploy would create, change and remove",
    arguments="STACK",
    arity=ONE,
    flags=(FILES, PRUNE, Flag("exit-code", SWITCH, "Exit with 1 if there are differences")),
    complete="stack",
)
config = Verb(
    "config",
    _config,
    help="Show the stack's files merged and with their variables filled in",
    arity=NONE,
    flags=(FILES, Flag("skip-interpolation", SWITCH, "Leave variables as they stand")),
)
