"""`shoal completion SHELL`: the script that a shell sources to complete our words with the tab key."""

from __future__ import annotations

from cli.command import NONE, Entry, Noun, Verb
from cli.flags.grammar import Words
from cli.session import Session


def _verb(shell: str) -> Verb:
    def act(session: Session, _: Words) -> None:
        from cli.completion import script  # noqa: PLC0415 - brings in click, which the help of this does not need

        session.say(script(shell, "shoal"))

    return Verb(shell, act, help=f"Print the completion script for {shell}: source it from the shell's start-up file", arity=NONE)


bash, zsh, fish = (_verb(shell) for shell in ("bash", "zsh", "fish"))

noun = Noun(
    "completion",
    {name: Entry(__name__, name, verb.help or "") for name, verb in (("bash", bash), ("fish", fish), ("zsh", zsh))},
    help="Print a completion script for a shell",
)
