"""Axes, numbers and legends of the charts, worked out by hand."""

import xml.etree.ElementTree as ElementTree

import pytest

from mmdet.visualization.charts import _number, _thin, _ticks, bar_chart, line_chart

SVG = '{http://www.w3.org/2000/svg}'


@pytest.mark.parametrize(
    'low, high, count, snap, expected',
    [
        (0, 1, 5, True, ([0, 0.2, 0.4, 0.6, 0.8, 1.0], 0, 1.0)),
        (0.1, 0.9, 5, True, ([0, 0.2, 0.4, 0.6, 0.8, 1.0], 0, 1.0)),
        (0.1, 0.9, 5, False, ([0.2, 0.4, 0.6, 0.8], 0.1, 0.9)),
        (0, 12, 5, True, ([0, 2.5, 5, 7.5, 10, 12.5], 0, 12.5)),
        (-3, 4, 5, True, ([-4, -2, 0, 2, 4], -4, 4)),
        (10, 10, 5, True, ([9, 9.5, 10, 10.5, 11], 9, 11)),  # one value: a tenth to both sides
        (0, 0, 5, True, ([-1, -0.5, 0, 0.5, 1], -1, 1)),
    ],
)
def test_ticks(low, high, count, snap, expected):
    ticks, start, end = _ticks(low, high, count, snap)
    assert ticks == pytest.approx(expected[0]) and (start, end) == pytest.approx(expected[1:])


@pytest.mark.parametrize(
    'value, text',
    [
        (0, '0'), (0.5, '0.5'), (1.23456, '1.235'), (0.001, '0.001'), (0.00099, '0.00099'), (0.000123, '0.00012'),
        (99999, '1e+05'), (100000, '1e5'), (1.5e-7, '1.5e-7'), (-2.5, '-2.5'),
    ],
)  # fmt: skip
def test_numbers(value, text):
    assert _number(value) == text


def test_long_curves_are_thinned_by_means():
    points = [(float(k), float(k * k)) for k in range(500)]
    assert _thin(points) is points
    thinned = _thin([(float(k), 2.0 * k) for k in range(1001)])  # runs of three, the last one of two
    assert len(thinned) == 334 and thinned[0] == (1.0, 2.0) and thinned[-1] == (999.5, 1999.0)


def test_axes_legend_and_markers():
    svg = line_chart(
        [('a' * 40, [0, 10], [1.0, 3.0]), ('b' * 60, range(41), [2.0] * 41)], title='T', x_label='step', y_from_zero=True
    )  # fmt: skip
    root = ElementTree.fromstring(svg)
    texts = [(text.text, float(text.get('x')), float(text.get('y'))) for text in root.findall(f'{SVG}text')]
    assert texts[0] == ('T', 8, 18)
    # The second name starts a new row, so that the plot begins 32 pixels below the title.
    assert texts[1] == ('a' * 40 + ' 3', 26, 36) and texts[2] == ('b' * 60 + ' 2', 26, 52)
    assert [text for text, x, _ in texts if x == 51] == ['0', '1', '2', '3'], 'the y axis starts at 0'
    assert texts[-1] == ('step', 604, 296)
    strokes = [line.get('stroke') for line in root.findall(f'{SVG}polyline')]
    assert strokes == ['#0072b2', '#d55e00']
    assert len(root.findall(f'{SVG}circle')) == 2, 'markers on curves of at most 40 points'
    points = root.find(f'{SVG}polyline').get('points')
    assert points == '58.0,196.7 194.5,66.0'  # y axis 0..3 between 262 and 66, x axis 0..40


def test_values_that_are_not_finite_are_left_out():
    svg = line_chart([('x', [0, 1, 2], [1.0, float('inf'), 3.0])], title='T', x_label='step')
    assert len(ElementTree.fromstring(svg).find(f'{SVG}polyline').get('points').split()) == 2
    assert 'no values' in line_chart([('x', [0], [float('nan')])], title='T', x_label='step')


def test_bars():
    assert 'no values' in bar_chart([], [], title='T', x_label='x')
    assert 'no values' in bar_chart(['a'], [('s', [0])], title='T', x_label='x')
    root = ElementTree.fromstring(bar_chart(['a', 'b<'], [('one', [1, 2]), ('two', [0, 4])], title='T', x_label='side'))
    texts = [text.text for text in root.findall(f'{SVG}text')]
    assert texts[:3] == ['T', 'one', 'two'] and texts[-3:] == ['a', 'b<', 'side']
    bars = [(float(bar.get('x')), float(bar.get('height')), bar.get('fill')) for bar in root.findall(f'{SVG}rect')]
    assert [fill for *_, fill in bars] == ['#0072b2', '#d55e00'] * 2
    # The y axis goes from 0 to 4 over 212 pixels: 262 - 50.
    assert [height for _, height, _ in bars] == [53.0, 0.0, 106.0, 212.0] and bars[0][0] < bars[1][0] < bars[2][0]
