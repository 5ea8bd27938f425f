"""How listings and objects are shown: Docker's tables, --format json, and templates.

A listing is a list of rows; a row is the mapping from field names (`.Name`) to what they show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cli.client import Json
from cli.errors import CliError
from cli.flags.grammar import SWITCH, TEXT, Flag, Flags
from cli.session import Session
from cli.template.govalue import as_json, escaped

FORMAT = Flag("format", TEXT, "How to show each row: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE")
INSPECT_FORMAT = Flag("format", TEXT, "How to show each object: 'json' or a Go TEMPLATE", short="f")
QUIET = Flag("quiet", SWITCH, "Show only the IDs", short="q")

Row = Mapping[str, Any]


class Listing(NamedTuple):
    """A table of Docker's: the headers of all fields, and the fields that are shown by default."""

    headers: Mapping[str, str]
    shown: Sequence[str]


def show(session: Session, listing: Listing, rows: Sequence[Row], form: str, *, quiet: bool = False, id_field: str = "ID") -> None:
    """Put out the rows as --format and --quiet ask."""
    if form in {"", "table"}:
        if quiet:
            session.out.writelines(f"{row[id_field]}\n" for row in rows)
        else:
            cells = [[str(row[field]) for field in listing.shown] for row in rows]
            session.out.write(table([[listing.headers[field] for field in listing.shown], *cells]))
    elif form == "json":
        # a row is one object, its members by name; methods such as .Label have no value of their own
        session.out.writelines(as_json(_plain(row)) + "\n" for row in rows)
    elif form == "table" or form.startswith("table "):
        lines = _templated(form.removeprefix("table").lstrip(" "), [_headers(listing), *rows])
        session.out.write(table([line.split("\t") for text in lines for line in text.split("\n")]))
    else:
        session.out.writelines(line + "\n" for line in _templated(form, rows))


def table(lines: Sequence[Sequence[str]]) -> str:
    """Cells in columns: at least ten wide, three apart; the last cell of a line is left as it is."""
    columns = max((len(line) for line in lines), default=0)
    widths = [max(10, *(len(line[at]) + 3 for line in lines if len(line) > at + 1), 0) for at in range(max(columns - 1, 0))]
    return "".join("".join(f"{cell:<{width}}" for cell, width in zip(line[:-1], widths, strict=False)) + line[-1] + "\n" for line in lines)


def inspect(session: Session, objects: Sequence[Json], form: str) -> None:
    """The JSON of the objects, or each through the template."""
    if form in {"", "json"}:
        session.say(as_json(objects) if form == "json" else pretty_json(objects))
        return
    for one in objects:
        session.say(render(form, one, members=_members(objects)))


def pretty_json(value: Json) -> str:
    return escaped(json.dumps(value, indent=4, ensure_ascii=False))


def render(form: str, value: Json, *, members: frozenset[str] = frozenset()) -> str:
    """One object through a template. A member that is merely absent (the API leaves out what is empty) shows as nothing."""
    from cli.template.evaluate import Template  # noqa: PLC0415 - only --format pays for it
    from cli.template.syntax import TemplateError  # noqa: PLC0415

    def missing(name: str, at: str) -> Any:
        if at.lstrip(".").partition(".")[0] != name or name in members or not members:
            return ""
        raise TemplateError(f'template: :1: executing "" at <{at}>: can\'t evaluate field {name}; there are {", ".join(sorted(members))}')

    try:
        return Template(_unescaped(form), missing=missing).render(value)
    except TemplateError as wrong:
        raise CliError(f"template parsing error: {wrong}") from wrong


def truncated(text: str, most: int) -> str:
    """Cut to `most` characters, an ellipsis the last of them."""
    return text if len(text) <= most else text[: most - 1] + "…"


def short_id(full: str) -> str:
    return full.partition(":")[2][:12] if ":" in full else full[:12]


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key under which web.2 comes before web.10."""
    parts, number, word = [], "", ""
    for character in name:
        if character.isdigit():
            if word:
                parts.append((1, 0, word))
            number, word = number + character, ""
        else:
            if number:
                parts.append((0, int(number), ""))
            number, word = "", word + character
    if number:
        parts.append((0, int(number), ""))
    return [*parts, (1, 0, word)] if word else parts


def _members(objects: Sequence[Json]) -> frozenset[str]:
    found = {name for one in objects if isinstance(one, dict) for name in one}
    return frozenset(found | {"UpdateStatus", "PreviousSpec", "ServiceStatus", "JobStatus", "ManagerStatus", "Shoal"})


def _templated(form: str, rows: Sequence[Row]) -> list[str]:
    from cli.template.evaluate import Template  # noqa: PLC0415 - only --format pays for it
    from cli.template.syntax import TemplateError  # noqa: PLC0415

    def missing(name: str, at: str) -> Any:
        known = ", ".join(sorted(rows[0])) if rows else ""
        raise TemplateError(f'template: :1: executing "" at <{at}>: can\'t evaluate field {name}; there are {known}')

    try:
        template = Template(_unescaped(form), missing=missing)
        return [template.render(row) for row in rows]
    except TemplateError as wrong:
        raise CliError(f"template parsing error: {wrong}") from wrong


def _headers(listing: Listing) -> Row:
    return {**listing.headers, "Label": lambda key: key}


def _plain(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in sorted(row) if not callable(row[name])}


def _unescaped(form: str) -> str:
    return form.replace("\\t", "\t").replace("\\n", "\n")


def form_of(flags: Flags) -> str:
    return flags.text("format").strip()
