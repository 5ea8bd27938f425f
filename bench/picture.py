"""What the benchmarks' pictures share: a frame, a scale, a curve. SVG written by hand."""

from collections.abc import Iterable, Iterator, Sequence

WIDTH, HEIGHT, LEFT, TOP, FOOT = 1100, 300, 60, 40, 40


def framed(caption: str, inside: Iterable[str]) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *inside,
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{caption}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def scale(top: float) -> Iterator[str]:
    """The lines of nothing, half and all of it."""
    for share in (0.0, 0.5, 1.0):
        height = height_of(top * share, top)
        yield f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{top * share:.0f}</text>'
        yield f'<line x1="{LEFT}" y1="{height:.1f}" x2="{WIDTH - 10}" y2="{height:.1f}" stroke="#c8d3d8"/>'


def across(share: float) -> float:
    return LEFT + (WIDTH - LEFT - 10) * share


def height_of(value: float, top: float) -> float:
    return HEIGHT - FOOT - (HEIGHT - TOP - FOOT) * value / top


def curve(values: Sequence[float], top: float, colour: str) -> str:
    """Each value in the middle of its part of the width."""
    points = " ".join(f"{across((place + 0.5) / len(values)):.1f},{height_of(value, top):.1f}" for place, value in enumerate(values))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
