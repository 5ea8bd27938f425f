"""`shoald doctor`: prints what the checks found; exit status 1 if anything fails."""

from collections.abc import Sequence

import click
import msgspec

from node_agent.config import Config
from node_agent.doctor.checks import FAIL, HOST, Finding
from node_agent.doctor.facts import Facts
from node_agent.doctor.firewall_checks import firewall
from node_agent.doctor.gather import gather


def findings(facts: Facts) -> list[Finding]:
    return [finding for check in (*HOST, firewall) for finding in check(facts)]


def table(found: Sequence[Finding]) -> str:
    """A line a finding, and under what is not well its cure."""
    width = max((len(one.about) for one in found), default=0)
    lines = []
    for one in found:
        lines.append(f"{one.level:<5} {one.about:<{width}}  {one.text}")
        if one.cure:
            lines.append(f"{'':<5} {'':<{width}}  -> {one.cure}")
    return "\n".join(lines)


@click.command("doctor")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", help="How to print it.")
@click.pass_obj
def doctor(config: Config, form: str) -> None:
    """Say what is wrong on this host, and what to do about each of it.

    With a running daemon or without. Exit status 1 if anything fails; warnings alone are 0.
    """
    found = findings(gather(config))
    click.echo(msgspec.json.encode(found).decode() if form == "json" else table(found))
    raise SystemExit(int(any(one.level == FAIL for one in found)))
