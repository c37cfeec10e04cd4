import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mmdet.apis import read_scalars, write_report
from mmdet.utils import DataError
from mmdet.visualization.charts import line_chart


def log(work_dir, stamp, records, tail=''):
    folder = work_dir / stamp / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(''.join(json.dumps(record) + '\n' for record in records) + tail)


def test_nothing_to_report(tmp_path):
    assert read_scalars(tmp_path) == {'train': {}, 'val': {}}
    page = write_report(tmp_path, tmp_path / 'report.html', title='<empty>').read_text()
    assert '&lt;empty&gt;' in page and '<svg' not in page and '<table' not in page


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


@pytest.mark.parametrize('line', ['{"loss": ', '[1, 2]', 'text'])
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
