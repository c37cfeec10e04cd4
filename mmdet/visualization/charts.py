"""Line charts as inline SVG: text that any browser shows, without a plotting library."""

import html
import math
import re
from collections.abc import Sequence

# Okabe-Ito hues that are visible on a white page, darkest first.
_STROKES = ('#0072b2', '#d55e00', '#009e73', '#b0528a', '#a67c00', '#56b4e9', '#555555')
_MAX_POINTS = 500

# What XML does not allow even when it is escaped: control characters and lone surrogates (parts of names that are not UTF-8).
_NOT_XML = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')

Series = tuple[str, Sequence[float], Sequence[float]]  # name, xs, ys
_Curve = tuple[str, list[tuple[float, float]]]  # name, points (x, y)


def escaped(value: object) -> str:
    """A value as text of an HTML or SVG page: nothing in it is markup, in elements and in quoted attributes alike.

    >>> escaped('a<b> "c" \\x00')
    'a&lt;b&gt; &quot;c&quot; \ufffd'
    """
    return html.escape(_NOT_XML.sub('\ufffd', str(value)))


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    width: int = 620,
    height: int = 300,
    y_from_zero: bool = False,
) -> str:
    """An ``<svg>`` element with curves on common axes and a legend at the top; without any finite point it reads 'no values'.

    Args:
        series: one ``(name, xs, ys)`` per curve; points that are not finite are left out.
        title: heading of the chart.
        x_label: what the x axis counts.
        width, height: size of the view box; the page scales it.
        y_from_zero: start the y axis at 0.
    """
    curves: list[_Curve] = []
    for name, xs, ys in series:
        points = [(x, y) for x, y in zip(xs, ys) if math.isfinite(x) and math.isfinite(y)]
        if points:
            curves.append((name, _thin(points)))
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escaped(title)}" xmlns="http://www.w3.org/2000/svg">',
        f'<text x="8" y="18" class="chart-title">{escaped(title)}</text>',
    ]
    if not curves:
        parts.append(f'<text x="{width / 2}" y="{height / 2}" class="tick" text-anchor="middle">no values</text>')
        return ''.join([*parts, '</svg>'])

    legend_rows = _legend(parts, curves, width)
    left, right, top, bottom = 58, width - 16, 34 + 16 * legend_rows, height - 38
    all_x = [x for _, points in curves for x, _ in points]
    all_y = [y for _, points in curves for _, y in points]
    x_ticks, x_low, x_high = _ticks(min(all_x), max(all_x), 6, snap=False)
    y_ticks, y_low, y_high = _ticks(min(0.0, *all_y) if y_from_zero else min(all_y), max(all_y), 5)

    x_scale, y_scale = (right - left) / (x_high - x_low), (bottom - top) / (y_high - y_low)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - x_low) * x_scale, bottom - (y - y_low) * y_scale

    for tick in y_ticks:
        _, y = place(x_low, tick)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 7}" y="{y + 4:.1f}" class="tick" text-anchor="end">{_number(tick)}</text>')
    for tick in x_ticks:
        x, _ = place(tick, y_low)
        parts.append(f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" class="axis"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" class="tick" text-anchor="middle">{_number(tick)}</text>')
    parts.append(f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}" class="axis"/>')
    parts.append(f'<text x="{right}" y="{height - 4}" class="tick" text-anchor="end">{escaped(x_label)}</text>')
    for index, (_, points) in enumerate(curves):
        stroke = _STROKES[index % len(_STROKES)]
        placed = [place(x, y) for x, y in points]
        path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in placed)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.8" stroke-linejoin="round"/>'
        )
        if len(points) <= 40:
            parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{stroke}"/>' for x, y in placed)
    return ''.join([*parts, '</svg>'])


def bar_chart(
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[float]]],
    *,
    title: str,
    x_label: str,
    width: int = 620,
    height: int = 300,
) -> str:
    """An ``<svg>`` element with groups of bars and a legend at the top; without any bar above 0 it reads 'no values'.

    Args:
        labels: what each group of bars counts, along the x axis.
        series: one ``(name, values)`` for each bar of a group, with as many finite values >= 0 as there are labels.
        title, x_label, width, height: as for :func:`line_chart`.
    """
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escaped(title)}" xmlns="http://www.w3.org/2000/svg">',
        f'<text x="8" y="18" class="chart-title">{escaped(title)}</text>',
    ]
    largest = max((value for _, values in series for value in values), default=0)
    if not labels or largest <= 0:
        parts.append(f'<text x="{width / 2}" y="{height / 2}" class="tick" text-anchor="middle">no values</text>')
        return ''.join([*parts, '</svg>'])
    rows = _legend(parts, [(name, []) for name, _ in series], width)
    left, right, top, bottom = 58, width - 16, 34 + 16 * rows, height - 38
    ticks, _, high = _ticks(0.0, largest, 5)
    y_scale = (bottom - top) / high
    for tick in ticks:
        y = bottom - tick * y_scale
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 7}" y="{y + 4:.1f}" class="tick" text-anchor="end">{_number(tick)}</text>')
    group = (right - left) / len(labels)
    bar = group * 0.8 / max(len(series), 1)
    for index, label in enumerate(labels):
        start = left + index * group + group * 0.1
        middle = left + (index + 0.5) * group
        parts.append(
            f'<text x="{middle:.1f}" y="{bottom + 16}" class="tick" text-anchor="middle">{escaped(label)}</text>'
        )
        for k, (_, values) in enumerate(series):
            tall = values[index] * y_scale
            parts.append(
                f'<rect x="{start + k * bar:.1f}" y="{bottom - tall:.1f}" width="{bar * 0.92:.1f}" height="{tall:.1f}" '
                f'fill="{_STROKES[k % len(_STROKES)]}"/>'
            )
    parts.append(f'<text x="{right}" y="{height - 6}" class="tick" text-anchor="end">{escaped(x_label)}</text>')
    return ''.join([*parts, '</svg>'])


def _legend(parts: list[str], curves: list[_Curve], width: int) -> int:
    """Append the name of each curve, and its last value if it has points, to ``parts``; returns the number of rows."""
    x, row = 8.0, 0
    for index, (name, points) in enumerate(curves):
        text = f'{name} {_number(points[-1][1])}' if points else name
        size = 30 + 6.9 * len(text)  # browsers draw 12 px system fonts 6-7 px a character
        if x > 8 and x + size > width:
            x, row = 8.0, row + 1
        y = 36 + 16 * row
        stroke = _STROKES[index % len(_STROKES)]
        parts.append(
            f'<line x1="{x:.0f}" y1="{y - 4}" x2="{x + 14:.0f}" y2="{y - 4}" stroke="{stroke}" stroke-width="3"/>'
        )
        parts.append(f'<text x="{x + 18:.0f}" y="{y}" class="tick">{escaped(text)}</text>')
        x += size
    return row + 1


def _ticks(low: float, high: float, count: int, snap: bool = True) -> tuple[list[float], float, float]:
    """Round tick values, and the range of the axis: ``low`` to ``high``, widened to the next ticks if ``snap`` is set."""
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-12):
        margin = abs(high) * 0.1 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [k * step for k in range(first, last + 1)]
    if snap:
        return ticks, ticks[0], ticks[-1]
    return [tick for tick in ticks if low <= tick <= high], low, high


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 500 points: in a longer curve each run of neighbours is replaced by its mean."""
    if len(points) <= _MAX_POINTS:
        return points
    run = -(-len(points) // _MAX_POINTS)
    groups = [points[i : i + run] for i in range(0, len(points), run)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _number(value: float) -> str:
    """Four significant digits; very small and very large numbers with two and an exponent."""
    if value and not 1e-3 <= abs(value) < 1e5:
        return f'{value:.2g}'.replace('e-0', 'e-').replace('e+0', 'e')
    return f'{value:.4g}'
