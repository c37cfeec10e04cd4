import json
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest

from mmdet.apis import read_scalars, write_report
from mmdet.utils import ConfigError, DataError
from mmdet.visualization.charts import line_chart
from mmdet.visualization.report import _charts, _percent, _picture, pictures_in, read_figures
from mmdet.visualization.report_page import cell_text, jpeg_bytes


def log(work_dir, stamp, records, tail=''):
    folder = work_dir / stamp / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(''.join(json.dumps(record) + '\n' for record in records) + tail)


def test_nothing_to_report(tmp_path):
    assert read_scalars(tmp_path) == {'train': {}, 'val': {}}
    page = write_report(tmp_path, tmp_path / 'report.html', title='<empty>').read_text()
    assert '&lt;empty&gt;' in page and '<svg' not in page and '<table' not in page


@pytest.mark.parametrize('name', ['run.log', 'page', 'now/vis_data/scalars.json'])
def test_the_page_replaces_no_file_of_the_run(tmp_path, name):
    log(tmp_path, 'now', [dict(loss=1.0, step=1)])
    before = (tmp_path / 'now/vis_data/scalars.json').read_bytes()
    with pytest.raises(ConfigError, match='out_html: (must end in .html|is an input)'):
        write_report(tmp_path, tmp_path / name)
    assert (tmp_path / 'now/vis_data/scalars.json').read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ['now']


def test_nothing_of_files_or_users_is_markup(tmp_path):
    evil = '"><script>alert(1)</script>\x00\ud800'
    (tmp_path / f'{evil[:9]}.png').write_bytes(cv2.imencode('.png', np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    page = write_report(
        None,
        tmp_path / 'report.html',
        title=evil,
        curves={'train': {f'loss{evil}': ([1, 2], [1.0, 2.0])}, 'val': {f'coco/{evil}': ([1], [0.5])}},
        metrics={f'{evil}_precision': 0.5, f'coco/bbox_{evil}': 0.25},
        benchmark={evil: evil},
        comparisons=[(np.zeros((8, 8, 3), np.uint8), evil)],
        pictures=pictures_in(tmp_path, 1),
        facts={evil: evil},
        tables={evil: ((evil, evil), [(evil, evil)])},
    ).read_text()
    assert '<script' not in page and 'alert(1)' in page and '\x00' not in page
    assert page.count('&lt;scri') >= 14
    ElementTree.fromstring(line_chart([(evil, [1, 2], [1, 2])], title=evil, x_label=evil))


def test_scalars_of_a_resumed_and_killed_run(tmp_path):
    val = {'coco/bbox_mAP': 0.1, 'time': 3.0, 'step': 1}
    log(
        tmp_path,
        '20260101_000000',
        [{'loss': 3.0, 'lr': 0.1, 'step': s, 'iter': s} for s in (10, 20, 30)] + [val],
        '{"loss": 1.',
    )
    log(
        tmp_path,
        '20260102_000000',
        [{'loss': 2.0, 'step': 30}, {'loss': float('nan'), 'step': 40}, {'loss': 1.5, 'step': 50}],
    )
    curves = read_scalars(tmp_path)
    assert curves['train']['loss'] == ([10, 20, 30, 50], [3.0, 3.0, 2.0, 1.5])
    assert curves['train']['lr'] == ([10, 20, 30], [0.1, 0.1, 0.1])
    assert curves['val'] == {'coco/bbox_mAP': ([1], [0.1])}
    assert read_scalars(tmp_path / '20260101_000000' / 'vis_data')['val'] == curves['val']


@pytest.mark.parametrize(
    'line', ['{"loss": ', '[1, 2]', 'text', '{"loss": 1, "step": [1]}', '{"loss": 1, "step": "a"}']
)
def test_a_broken_line_is_named(tmp_path, line):
    log(tmp_path, '20260101_000000', [], f'{line}\n{{"loss": 1.0, "step": 2}}\n')
    with pytest.raises(DataError, match='scalars.json: line 1'):
        read_scalars(tmp_path)


def test_the_page_holds_the_numbers(tmp_path):
    log(
        tmp_path,
        '20260101_000000',
        [{'loss': 2.125, 'step': 1}, {'loss': 1.625, 'step': 2}, {'coco/bbox_mAP': 0.2, 'step': 1}],
    )
    page = write_report(
        tmp_path,
        tmp_path / 'new' / 'report.html',
        title='A run',
        metrics={
            'coco/bbox_mAP': 0.4215,
            'coco/bbox_mAP_l': -1,
            'coco/car_precision': 0.612,
            'coco/van<b>_precision': 0.2,
        },
        benchmark={'FPS': 12.34, 'latency p95 [ms]': 97},
        comparisons=[(np.zeros((40, 80, 3), np.uint8), 'first & best')],
        facts={'config': 'configs/x.py'},
    ).read_text()
    for text in (
        'A run',
        '42.1',
        '61.2',
        'van&lt;b&gt;',
        '12.34',
        '97',
        'first &amp; best',
        'configs/x.py',
        'loss 1.625',
        '–',
    ):
        assert text in page, text
    assert page.index('>car<') < page.index('>van&lt;'), 'best class first'
    assert 'http' not in page.replace('http://www.w3.org/2000/svg', ''), 'the page must work offline'
    assert '<script' not in page
    assert page.count('data:image/jpeg;base64,') == 1
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['report.html']


def test_last_validation_is_the_result_by_default(tmp_path):
    log(tmp_path, '20260101_000000', [{'coco/bbox_mAP': 0.2, 'step': 1}, {'coco/bbox_mAP': 0.31, 'step': 2}])
    assert '<b>31.0</b>' in write_report(tmp_path, tmp_path / 'report.html').read_text()


@pytest.mark.parametrize(
    'value, text',
    [
        (0.0, '0.0'),
        (0.42149, '42.1'),
        (1.0, '100.0'),
        (1.5, '1.5 (not %)'),
        (-1, '–'),
        (float('nan'), '–'),
        (float('inf'), '–'),
    ],
)
def test_percent(value, text):
    assert _percent(value) == text


@pytest.mark.parametrize('value, text', [('<a>', '&lt;a&gt;'), (3, '3'), (0.123456, '0.1235'), (999.94, '999.9'), (12345.6, '12,346')])  # fmt: skip
def test_text(value, text):
    assert cell_text(value) == text


def test_pictures_are_narrowed_to_the_bytes_that_they_may_take():
    noise = np.random.default_rng(0).integers(0, 256, (100, 1000, 3), np.uint8)

    def width(max_bytes, max_width):
        return cv2.imdecode(np.frombuffer(jpeg_bytes(noise, max_bytes, max_width), np.uint8), cv2.IMREAD_COLOR).shape[
            :2
        ]

    assert width(1e9, 2000) == (100, 1000) and width(1e9, 500) == (50, 500)
    once = len(jpeg_bytes(noise, 1e9, 850))
    assert width(once, 2000) == (85, 850) and width(once - 1, 2000) == (72, 722), 'by 0.85 each time'
    assert width(1, 2000) == (32, 320), 'not narrower than that'
    small = noise[:, :200]
    assert cv2.imdecode(np.frombuffer(jpeg_bytes(small, 1, 2000), np.uint8), 1).shape[:2] == (100, 200)
    red = np.full((20, 30, 3), (250, 0, 0), np.uint8)
    assert cv2.imdecode(np.frombuffer(jpeg_bytes(red, 1e9, 30), np.uint8), 1)[10, 10, 2] > 240, (
        'RGB in, BGR in the file'
    )


def test_captions(tmp_path):
    cv2.imwrite(str(tmp_path / 'a_b.png'), np.zeros((4, 4, 3), np.uint8))
    image = np.zeros((4, 4, 3), np.uint8)
    items = [tmp_path / 'a_b.png', str(tmp_path / 'a_b.png'), (tmp_path / 'a_b.png', 'own'), image, (image, 'array')]
    assert [_picture(item)[1] for item in items] == ['a_b.png', 'a_b.png', 'own', '', 'array']


def test_curves_of_the_page():
    steps = ([1, 2], [0.5, 0.25])
    train = {name: steps for name in ('loss_b', 'lr', 'loss', 'grad_norm', *(f'loss_{k}' for k in range(7)))}
    val = {
        'coco/bbox_mAP': steps,
        'coco/bbox_mAP_s': ([1], [-1.0]),
        'coco/car_precision': steps,
        'coco/x_copypaste': steps,
    }
    charts = _charts({'train': train, 'val': val})
    titles = [chart.partition('aria-label="')[2].partition('"')[0] for chart in charts]
    assert titles == ['Training loss', 'Validation', 'Learning rate'], 'nothing by size without such objects'
    assert charts[0].count('<polyline') == 7 and charts[0].index('>loss 0.25<') < charts[0].index('>loss_0 ')
    assert 'loss_b' not in charts[0] and 'grad_norm' not in charts[0]
    assert '>AP 0.25<' in charts[1] and 'precision' not in charts[1] and 'copypaste' not in charts[1]
    others = {f'm{k}': steps for k in range(8)}
    assert _charts({'train': {}, 'val': others})[0].count('<polyline') == 6
    sized = _charts({'train': {}, 'val': {'coco/bbox_mAP_s': steps, 'coco/bbox_mAP': steps}})
    assert '>AP small 0.25<' in sized[1] and _charts({'train': {}, 'val': {}}) == []


def test_files_of_figures_and_pictures(tmp_path):
    assert read_figures(None) is None and pictures_in(None, 5) == []
    (tmp_path / 'x.json').write_text('{"fps": 3}')
    assert read_figures(tmp_path / 'x.json') == dict(fps=3)
    (tmp_path / 'x.json').write_text('[3]')
    for wrong in ('x.json', 'none.json'):
        with pytest.raises(DataError, match=wrong):
            read_figures(tmp_path / wrong)
    for name in ('b.PNG', 'a.jpg', 'c.bmp', 'notes.txt'):
        (tmp_path / name).write_bytes(b'')
    assert [path.name for path in pictures_in(tmp_path, 5)] == ['a.jpg', 'b.PNG', 'c.bmp']
    assert [path.name for path in pictures_in(tmp_path, 2)] == ['a.jpg', 'b.PNG']


def test_many_pictures_stay_below_five_megabytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (900, 1600, 3), np.uint8)  # the worst case for JPEG
    path = write_report(None, tmp_path / 'report.html', comparisons=[noise] * 3, pictures=[noise] * 6)
    assert path.stat().st_size < 5e6


def test_missing_picture(tmp_path):
    with pytest.raises(DataError, match='nowhere.png'):
        write_report(None, tmp_path / 'report.html', pictures=['nowhere.png'])
    assert not (tmp_path / 'report.html').exists()


@pytest.mark.parametrize(
    'series',
    [
        [],
        [('empty', [], [])],
        [('nan', [1], [float('nan')])],
        [('point', [3], [0.5])],
        [('flat', [1, 2], [0, 0]), ('<&>', [1, 2], [5e-7, 1e9])],
        [('long', range(10000), np.linspace(0, 1, 10000))],
    ],
    ids=['none', 'empty', 'nan', 'point', 'flat', 'long'],
)
def test_charts_are_well_formed(series):
    svg = line_chart(series, title='a < b', x_label='step')
    root = ElementTree.fromstring(svg)
    lines = root.findall('{http://www.w3.org/2000/svg}polyline')
    assert all(len(line.get('points').split()) <= 500 for line in lines)
    assert 'nan' not in svg.replace('>nan', '')


def test_chart_geometry():
    svg = line_chart([('loss', [0, 10], [0, 1])], title='t', x_label='x', width=620, height=300)
    points = ElementTree.fromstring(svg).find('{http://www.w3.org/2000/svg}polyline').get('points')
    assert points == '58.0,262.0 604.0,50.0'


def test_tables_come_before_the_pictures(tmp_path):
    table = (('method', 'AP', 'ms'), [('<coarse>', 17.25, 71.0), ('both', 31.5, 205)])
    page = write_report(None, tmp_path / 'r.html', tables={'Methods': table}, metrics={}, pictures=[]).read_text()
    assert '<h2>Methods</h2>' in page
    assert '<th>method</th><th class="number">AP</th><th class="number">ms</th>' in page
    assert '<tr><td>&lt;coarse&gt;</td><td class="number">17.25</td><td class="number">71</td></tr>' in page
