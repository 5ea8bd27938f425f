"""`service why` and `task why`: what keeps tasks from running, with the figures that are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cli.client import Json
from cli.command import ONE_OR_MORE, Verb
from cli.commands.service_ps import services_named
from cli.errors import CliError
from cli.flags.grammar import TEXT, UINT, Flag, Words
from cli.inspection import fetched
from cli.progress import standing
from cli.render import short_id
from cli.session import Session
from cli.template.govalue import as_json

FLAGS = (
    Flag("format", TEXT, "json for what the daemon says, as it says it"),
    Flag("nodes", UINT, "Nodes to show of those that refuse a task; 0 is all", default="10"),
)


def service_lines(answer: Json, *, nodes: int) -> Iterator[str]:
    """What one service's answer says, for people."""
    yield f"{answer['Name']}: {standing(answer)}"
    for reason in answer.get("Reasons") or ():
        yield f"  {reason}"
    for task in answer.get("Tasks") or ():
        for line in task_lines(task, nodes=nodes):
            yield f"  {line}"


def task_lines(task: Json, *, nodes: int) -> Iterator[str]:
    yield f"{task['Name']} ({short_id(task['ID'])}), {task['State']}, wanted {task['DesiredState']}:"
    for reason in task.get("Reasons") or ():
        yield f"  {reason}"
    refusing = task.get("Nodes") or []
    for node in refusing[: nodes or None]:
        for text in node["Refused"]:
            yield f"    {text}"
    if nodes and len(refusing) > nodes:
        yield f"    and {len(refusing) - nodes} more nodes (--nodes 0 shows them)"


def _service_why(session: Session, words: Words) -> None:
    found, missing = services_named(session, words.args)
    _tell(session, words, found, "services", service_lines)
    if missing:
        raise CliError("\n".join(f"no such service: {name}" for name in missing))


def _task_why(session: Session, words: Words) -> None:
    _tell(session, words, list(words.args), "tasks", task_lines)


def _tell(session: Session, words: Words, names: list[str], noun: str, lines: Callable[..., Iterator[str]]) -> None:
    form = words.flags.text("format")
    if form not in {"", "json"}:
        raise CliError(f'unknown format "{form}": there is json')
    answers, failed = fetched(names, lambda name: session.client.get(f"/shoal/{noun}/{name}/why"))
    nodes = 10 if words.flags.number("nodes") is None else words.flags.number("nodes")
    for answer in answers:
        _say(session, answer, form, lambda answer: lines(answer, nodes=nodes))
    if failed:
        raise CliError("\n".join(failed))


def _say(session: Session, answer: Mapping[str, Json], form: str, lines: Callable[[Json], Iterator[str]]) -> None:
    if form:
        session.say(as_json(answer))
        return
    for line in lines(answer):
        session.say(line)


service_why = Verb(
    "why",
    _service_why,
    help="Tell why services are not as they should be",
    arguments="SERVICE [SERVICE...]",
    arity=ONE_OR_MORE,
    flags=FLAGS,
    complete="service",
)
task_why = Verb(
    "why",
    _task_why,
    help="Tell why tasks are not as they should be",
    arguments="TASK [TASK...]",
    arity=ONE_OR_MORE,
    flags=FLAGS,
    complete="task",
)
