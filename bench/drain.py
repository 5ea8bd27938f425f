"""Requests that fail while tasks come and go, from outside over every node, on kept and on new connections: none is the aim.

make bench-drain             three managers, six replicas; writes bench/results/drain.json and drain.svg

The server says `Connection: close` from SIGTERM on, as nginx can. A second one is gone at once on SIGTERM, a third ignores it: what they
cost is printed beside it. The last phase kills the leader's daemon in the middle of an update.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from bench.drain_picture import draw
from bench.report import RESULTS, Figure, publish
from integration.cluster_rig import run
from integration.drain_rig import Drill, Phase


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


def with_server(drill: Drill, manners: str) -> Phase:
    drill.deploy(manners)
    with drill.traffic():
        phase = drill.phase(f"rolling update, {manners} server", drill.update)
    drill.remove()
    return phase


def main() -> int:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    folder = Path(tempfile.mkdtemp(prefix="shoal-drain-"))
    with Drill(folder) as drill:
        drill.deploy("polite")
        with drill.traffic() as traffic:
            phases = polite(drill)
            phases.append(drill.phase("rolling update, leader killed", lambda: _update_without_leader(drill)))
        steady = list(traffic.samples)
        drill.remove()
        others = [with_server(drill, manners) for manners in ("rude", "deaf")]
    run(("rm", "-rf", str(folder)))
    for phase in [*phases, *others]:
        print(phase)
    (RESULTS / "drain.svg").write_text(draw(phases, steady))
    publish("drain", [*_figures(phases, target="0"), *_figures(others)])
    return 1 if any(phase.failures for phase in phases) else 0


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
