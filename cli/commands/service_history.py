"""`service history`: the specs that a service had, and what each changed."""

from __future__ import annotations

from cli import human, images
from cli.client import Json
from cli.command import ONE, Verb
from cli.difference import changes
from cli.flags.grammar import SWITCH, Flag, Words
from cli.render import FORMAT, Listing, form_of, show, truncated
from cli.session import Session

HEADERS = {"Version": "VERSION", "Replaced": "REPLACED", "Image": "IMAGE", "Changes": "CHANGES"}
LISTING = Listing(HEADERS, tuple(HEADERS))


def _history(session: Session, words: Words) -> None:
    specs = session.client.get(f"/shoal/services/{words.args[0]}/history")
    show(session, LISTING, rows(specs, whole=words.flags.on("no-trunc")), form_of(words.flags))


def rows(specs: list[Json], *, whole: bool) -> list[dict[str, str]]:
    """Newest first; what each changed is told against the one before it."""
    now = human.utc_now()
    found = []
    for at, one in enumerate(specs):
        older = specs[at + 1] if at + 1 < len(specs) else None
        told = "" if older is None else "; ".join(str(change) for change in changes(_whole(older), _whole(one)))
        image = ((one["Spec"].get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Image") or ""
        found.append(
            {
                "Version": str(one["Version"]["Index"]),
                "Replaced": human.ago(one["ReplacedAt"], now=now) if at else "",
                "Image": image if whole else images.bare(image),
                "Changes": told if whole else truncated(told, 60),
            }
        )
    return found


def _whole(one: Json) -> Json:
    return {**one["Spec"], "Shoal": one.get("Shoal") or {}}


history = Verb(
    "history",
    _history,
    help="Show a service's earlier specifications",
    arguments="SERVICE",
    arity=ONE,
    flags=(FORMAT, Flag("no-trunc", SWITCH, "Cut nothing short")),
    complete="service",
)
