"""`shoal system`, and `info`, which is short for `system info`."""

from __future__ import annotations

from cli import human, informed
from cli.client import Json
from cli.command import NONE, Entry, Noun, Verb
from cli.errors import CliError
from cli.flags.grammar import SWITCH, Flag, Words
from cli.render import FORMAT, INSPECT_FORMAT, Listing, form_of, render, show
from cli.session import Session
from cli.template.govalue import as_json

HEADERS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
LISTING = Listing(HEADERS, tuple(HEADERS))


def _info(session: Session, words: Words) -> None:
    form = words.flags.text("format")
    found = session.client.get("/info")
    if form:
        session.say(as_json(found) if form == "json" else render(form, found))
        return
    session.say(informed.page(found))
    for warning in found.get("Warnings") or ():
        session.warn(warning)
    if error := (found.get("Swarm") or {}).get("Error"):
        raise CliError(f"the swarm reports: {error}")


def _df(session: Session, words: Words) -> None:
    usage = session.client.get("/system/df") or {}
    if words.flags.on("verbose"):
        if form_of(words.flags):
            raise CliError("--format and --verbose cannot be used together")
        session.say(informed.usage_page(usage, now=human.utc_now()))
        return
    show(session, LISTING, df_rows(usage), form_of(words.flags))


def df_rows(usage: Json) -> list[dict[str, str]]:
    """Each kind of thing on the engine's disk: how many, how many in use, and what removing the others would free."""
    images, containers = usage.get("Images") or [], usage.get("Containers") or []
    volumes, cache = usage.get("Volumes") or [], usage.get("BuildCache") or []
    used_images = [one for one in images if (one.get("Containers") or 0) > 0]
    layers = usage.get("LayersSize") or 0
    kept = sum(one.get("Size", 0) - max(one.get("SharedSize", 0), 0) for one in used_images)
    live = [one for one in containers if one.get("State") in {"running", "paused", "restarting"}]
    idle = sum(one.get("SizeRw") or 0 for one in containers if one not in live)
    referenced = [one for one in volumes if (one.get("UsageData") or {}).get("RefCount", 0) > 0]
    unreferenced = sum(max((one.get("UsageData") or {}).get("Size", 0), 0) for one in volumes if one not in referenced)
    all_volumes = sum(max((one.get("UsageData") or {}).get("Size", 0), 0) for one in volumes)
    busy = [one for one in cache if one.get("InUse")]
    return [
        _row("Images", len(images), len(used_images), layers, max(layers - kept, 0) if images else 0),
        _row("Containers", len(containers), len(live), sum(one.get("SizeRw") or 0 for one in containers), idle),
        _row("Local Volumes", len(volumes), len(referenced), all_volumes, unreferenced),
        _row(
            "Build Cache",
            len(cache),
            len(busy),
            sum(one.get("Size", 0) for one in cache),
            sum(one.get("Size", 0) for one in cache if not one.get("InUse") and not one.get("Shared")),
            share=False,
        ),
    ]


def _row(kind: str, total: int, active: int, size: int, reclaimable: int, *, share: bool = True) -> dict[str, str]:
    freed = human.decimal_size(reclaimable)
    if share and size > 0:
        freed = f"{freed} ({reclaimable * 100 // size}%)"
    return {"Type": kind, "TotalCount": str(total), "Active": str(active), "Size": human.decimal_size(size), "Reclaimable": freed}


info = Verb("info", _info, help="Show information about the daemon and the swarm", arity=NONE, flags=(INSPECT_FORMAT,))
df = Verb(
    "df",
    _df,
    help="Show what the engine keeps on disk",
    arity=NONE,
    flags=(FORMAT, Flag("verbose", SWITCH, "Show each image, container and volume", short="v")),
)

noun = Noun(
    "system",
    {
        "df": Entry(__name__, "df", df.help or ""),
        "events": Entry("cli.commands.events", "events", "Show events as they happen"),
        "info": Entry(__name__, "info", info.help or ""),
    },
    help="Events, disk use and information",
)
