"""`events`, also `system events`: what happens in the swarm and on its engines, as it happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from cli.client import Json, json_lines
from cli.command import NONE, Verb
from cli.errors import CliError
from cli.flags.entries import FILTER, filters
from cli.flags.grammar import TEXT, Flag, Flags, Words
from cli.flags.moments import timestamp
from cli.render import INSPECT_FORMAT, render
from cli.session import Session
from cli.template.govalue import as_json


def _events(session: Session, words: Words) -> None:
    form = words.flags.text("format")
    response = session.client.stream("/events", _query(words.flags))
    try:
        for event in json_lines(response):
            session.say(shown(event, form))
            session.out.flush()
    except KeyboardInterrupt:
        pass
    finally:
        response.close()


def _query(flags: Flags) -> dict[str, object]:
    query: dict[str, object] = {}
    now = datetime.now().astimezone()
    for name in ("since", "until"):
        if text := flags.text(name):
            try:
                query[name] = timestamp(text, now=now)
            except ValueError as wrong:
                raise CliError(f'invalid value for "{name}": {wrong}') from None
    if wanted := filters(flags.many("filter")):
        query["filters"] = json.dumps({key: dict.fromkeys(found, True) for key, found in wanted.items()})
    return query


def shown(event: Json, form: str) -> str:
    """One event as --format asks: a line for people, JSON, or a template."""
    if form == "json":
        return as_json(event)
    actor = event.get("Actor") or {}
    if form:
        flat = {
            "ID": actor.get("ID", ""),
            "Status": event.get("Action", ""),
            "From": event.get("from", ""),
            "Scope": event.get("scope", ""),
        }
        return render(form, {**flat, **event, "Time": event.get("time", 0), "TimeNano": event.get("timeNano", 0)})
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    told = f"{stamp(event)} {event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}"
    return f"{told} ({attributes})" if attributes else told


def stamp(event: Json) -> str:
    """When it was, to the nanosecond, in this machine's zone."""
    nanoseconds = int(event.get("timeNano") or int(event.get("time") or 0) * 1_000_000_000)
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).astimezone()
    zone = moment.strftime("%z")
    shown_zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}{shown_zone}"


events = Verb(
    "events",
    _events,
    help="Show events as they happen",
    arity=NONE,
    flags=(
        Flag("filter", FILTER, "Show only what fits, as in type=service", short="f"),
        INSPECT_FORMAT._replace(short=""),
        Flag("since", TEXT, "Begin with the events since then: 2013-01-02T13:23:37Z, or 42m for as long ago"),
        Flag("until", TEXT, "End with the events of then"),
    ),
)
