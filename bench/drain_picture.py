"""The drain benchmark's picture: requests a second and failures over time, the phases behind them. An SVG written by hand."""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from integration.drain_rig import Phase
from integration.traffic import Sample

WIDTH, HEIGHT, LEFT, TOP, FOOT = 1100, 300, 60, 40, 40
BUCKET = 0.5
"""Seconds a point."""


def draw(phases: Sequence[Phase], samples: Sequence[Sample]) -> str:
    begun, ended = phases[0].begun, phases[-1].ended
    served = Counter(int((sample.at - begun) / BUCKET) for sample in samples if not sample.failed)
    failed = Counter(int((sample.at - begun) / BUCKET) for sample in samples if sample.failed)
    buckets = range(int((ended - begun) / BUCKET))
    top = max([*(served[bucket] for bucket in buckets), 1]) / BUCKET
    caption = f"requests a second served (line), failed (red bars): {sum(failed.values())} of {len(samples)} in {ended - begun:.0f} s"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_bands(phases, begun, ended),
        *_scale(top),
        _curve([served[bucket] / BUCKET for bucket in buckets], top, "#1f6f8b"),
        *_failures(failed, begun, ended),
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{caption}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _at(moment: float, begun: float, ended: float) -> float:
    return LEFT + (WIDTH - LEFT - 10) * (moment - begun) / (ended - begun)


def _bands(phases: Sequence[Phase], begun: float, ended: float) -> Iterator[str]:
    for number, phase in enumerate(phases):
        left, right = _at(phase.begun, begun, ended), _at(phase.ended, begun, ended)
        shade = "#f1f5f7" if number % 2 else "#e3ebef"
        yield f'<rect x="{left:.1f}" y="{TOP - 8}" width="{right - left:.1f}" height="{HEIGHT - TOP - FOOT + 8}" fill="{shade}"/>'
        words = phase.name.split(", ")
        for row, word in enumerate(words):
            yield f'<text x="{left + 3:.1f}" y="{12 + 12 * row}">{escape(word)}</text>'


def _scale(top: float) -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        height = _height(top * share, top)
        yield f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{top * share:.0f}</text>'
        yield f'<line x1="{LEFT}" y1="{height:.1f}" x2="{WIDTH - 10}" y2="{height:.1f}" stroke="#c8d3d8"/>'


def _height(rate: float, top: float) -> float:
    return HEIGHT - FOOT - (HEIGHT - TOP - FOOT) * rate / top


def _curve(rates: Sequence[float], top: float, colour: str) -> str:
    step = (WIDTH - LEFT - 10) / max(len(rates), 1)
    points = " ".join(f"{LEFT + step * (place + 0.5):.1f},{_height(rate, top):.1f}" for place, rate in enumerate(rates))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _failures(failed: Counter[int], begun: float, ended: float) -> Iterator[str]:
    for bucket, count in sorted(failed.items()):
        left = _at(begun + bucket * BUCKET, begun, ended)
        height = min(HEIGHT - TOP - FOOT, 6 + 3 * count)
        yield f'<rect x="{left:.1f}" y="{HEIGHT - FOOT - height:.1f}" width="3" height="{height}" fill="#c0392b"/>'
