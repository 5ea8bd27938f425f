"""Requests that fail while tasks come and go, from outside over every node, on kept and on new connections: none is the aim.

make bench-drain             three managers, six replicas; writes bench/results/drain.json and drain.svg
.venv/bin/python -m bench.drain --seconds 30        of wrk (default 60)

The server says `Connection: close` from SIGTERM on, as nginx can. A second one is gone at once on SIGTERM, a third ignores it: what they
cost is printed beside it, and so is an update over host-mode ports, ours and that of dockerd's swarm mode. The last phase kills the
leader's daemon in the middle of an update. Before them all, while every node is there, wrk asks each as fast as they answer during an
update, a drain and a scale down.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench.drain_peer import both
from bench.drain_picture import draw
from bench.report import RESULTS, Figure, publish
from integration.cluster_rig import run
from integration.drain_rig import Drill, Phase
from integration.wrk import Count


def polite(drill: Drill) -> list[Phase]:
    """Every way in which tasks go."""
    return [
        drill.phase("rolling update, stop first", drill.update),
        drill.phase("rolling update, start first", lambda: drill.update("start-first")),
        drill.phase("node drained", lambda: drill.drain("m3")),
        drill.phase("node back, ten replicas", lambda: _widen(drill)),
        drill.phase("ten replicas to six", lambda: drill.scale(6)),
    ]


def _widen(drill: Drill) -> None:
    drill.activate("m3")
    drill.scale(10)


def _update_without_leader(drill: Drill) -> None:
    drill.begin_update()
    drill.kill_leader()
    drill.wait_updated()


def under_wrk(drill: Drill, seconds: int) -> dict[bool, Count]:
    """An update, a drain and a scale down in that time."""
    with drill.wrk(seconds) as asking:
        drill.update()
        drill.drain("m3")
        drill.scale(4)
        if not asking.runs:
            raise RuntimeError(f"the changes took longer than the {seconds} s that wrk ran: --seconds is too short for this machine")
        found = asking.finish()
    drill.activate("m3")
    drill.scale(6)
    return found


def with_server(drill: Drill, manners: str) -> Phase:
    drill.deploy(manners)
    with drill.traffic():
        phase = drill.phase(f"rolling update, {manners} server", drill.update)
    drill.remove()
    return phase


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--seconds", type=int, default=60, help="of wrk (default %(default)s)")
    seconds = options.parse_args().seconds
    if shutil.which("wrk") is None:
        print("bench.drain needs wrk: apt-get install -y --no-install-recommends wrk", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="shoal-drain-"))
    with Drill(folder) as drill:
        drill.deploy("polite")
        fast = under_wrk(drill, seconds)
        drill.remove()
        against = both(drill, folder)
        drill.deploy("polite")
        with drill.traffic() as traffic:
            phases = polite(drill)
            phases.append(drill.phase("rolling update, leader killed", lambda: _update_without_leader(drill)))
        steady = list(traffic.samples)
        drill.remove()
        others = [with_server(drill, manners) for manners in ("rude", "deaf")]
    run(("rm", "-rf", str(folder)))
    for phase in [*phases, *others, *against]:
        print(phase)
    (RESULTS / "drain.svg").write_text(draw(phases, steady))
    names = {True: "kept", False: "new"}
    asked = [Figure(f"drain.failed_wrk_{names[kept]}", f"of {count.requests}", [count.failed], target="0") for kept, count in fast.items()]
    publish("drain", [*_figures(phases, target="0"), *asked, *_figures(others), *_figures(against)])
    return 1 if any(phase.failures for phase in phases) or any(count.failed for count in fast.values()) else 0


def _figures(phases: list[Phase], *, target: str = "") -> list[Figure]:
    total = [len(phase.samples) for phase in phases]
    figures = [
        Figure(f"drain.failed {phase.name}", f"of {count}", [len(phase.failures)], target=target)
        for phase, count in zip(phases, total, strict=True)
    ]
    if target:
        figures.append(Figure("drain.failed_requests", f"of {sum(total)}", [sum(len(phase.failures) for phase in phases)], target=target))
        for kept, name in ((True, "kept"), (False, "new")):
            count = sum(sample.kept is kept for phase in phases for sample in phase.samples)
            figures.append(Figure(f"drain.failed_{name}", f"of {count}", [sum(phase.failed(kept=kept) for phase in phases)], target=target))
    return figures


if __name__ == "__main__":
    sys.exit(main())
