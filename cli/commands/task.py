"""`shoal task`: single tasks, by id. Docker's CLI has no such noun; its columns are those of `service ps`."""

from __future__ import annotations

from cli.command import NONE, ONE, ONE_OR_MORE, Entry, Noun, Verb
from cli.commands.service_logs import FLAGS as LOG_FLAGS
from cli.commands.service_logs import follow_task
from cli.flags.entries import filters
from cli.flags.grammar import Words
from cli.inspection import inspect_each
from cli.render import INSPECT_FORMAT
from cli.session import Session
from cli.tasks import FLAGS as LIST_FLAGS
from cli.tasks import filtered, show_tasks


def _ls(session: Session, words: Words) -> None:
    wanted = filtered(session, filters(words.flags.many("filter")))
    show_tasks(session, session.client.list("/tasks", wanted), words.flags)


def _inspect(session: Session, words: Words) -> None:
    inspect_each(session, words, lambda name: session.client.get(f"/tasks/{name}"))


def _logs(session: Session, words: Words) -> None:
    follow_task(session, words.flags, session.client.get(f"/tasks/{words.args[0]}"))


ls = Verb("ls", _ls, help="List tasks", arity=NONE, flags=LIST_FLAGS, aliases=("list",))
inspect = Verb(
    "inspect",
    _inspect,
    help="Show one or more tasks in detail",
    arguments="TASK [TASK...]",
    arity=ONE_OR_MORE,
    flags=(INSPECT_FORMAT,),
    complete="task",
)
logs = Verb("logs", _logs, help="Show the logs of a task", arguments="TASK", arity=ONE, flags=LOG_FLAGS, complete="task")

noun = Noun(
    "task",
    {
        "inspect": Entry(__name__, "inspect", inspect.help or ""),
        "logs": Entry(__name__, "logs", logs.help or ""),
        "ls": Entry(__name__, "ls", ls.help or "", ("list",)),
        "why": Entry("cli.commands.why", "task_why", "Tell why tasks are not as they should be"),
    },
    help="Look at single tasks",
)
