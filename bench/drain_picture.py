"""The drain benchmark's picture: requests a second and failures over time, the phases behind them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from bench.picture import FOOT, HEIGHT, TOP, across, curve, framed, scale
from integration.drain_rig import Phase
from integration.traffic import Sample

BUCKET = 0.5
"""Seconds a point."""


def draw(phases: Sequence[Phase], samples: Sequence[Sample]) -> str:
    begun, ended = phases[0].begun, phases[-1].ended
    served = Counter(int((sample.at - begun) / BUCKET) for sample in samples if not sample.failed)
    failed = Counter(int((sample.at - begun) / BUCKET) for sample in samples if sample.failed)
    buckets = range(int((ended - begun) / BUCKET))
    top = max([*(served[bucket] for bucket in buckets), 1]) / BUCKET
    caption = f"requests a second served (line), failed (red bars): {sum(failed.values())} of {len(samples)} in {ended - begun:.0f} s"
    line = curve([served[bucket] / BUCKET for bucket in buckets], top, "#1f6f8b")
    return framed(caption, [*_bands(phases, begun, ended), *scale(top), line, *_failures(failed, begun, ended)])


def _at(moment: float, begun: float, ended: float) -> float:
    return across((moment - begun) / (ended - begun))


def _bands(phases: Sequence[Phase], begun: float, ended: float) -> Iterator[str]:
    for number, phase in enumerate(phases):
        left, right = _at(phase.begun, begun, ended), _at(phase.ended, begun, ended)
        shade = "#f1f5f7" if number % 2 else "#e3ebef"
        yield f'<rect x="{left:.1f}" y="{TOP - 8}" width="{right - left:.1f}" height="{HEIGHT - TOP - FOOT + 8}" fill="{shade}"/>'
        words = phase.name.split(", ")
        for row, word in enumerate(words):
            yield f'<text x="{left + 3:.1f}" y="{12 + 12 * row}">{escape(word)}</text>'


def _failures(failed: Counter[int], begun: float, ended: float) -> Iterator[str]:
    for bucket, count in sorted(failed.items()):
        left = _at(begun + bucket * BUCKET, begun, ended)
        height = min(HEIGHT - TOP - FOOT, 6 + 3 * count)
        yield f'<rect x="{left:.1f}" y="{HEIGHT - FOOT - height:.1f}" width="3" height="{height}" fill="#c0392b"/>'
