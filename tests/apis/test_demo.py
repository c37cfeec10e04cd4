"""The page that the demo ends with; its steps are tools with tests of their own."""

import cv2
import numpy as np
import pytest

from mmdet.apis import demo
from mmdet.apis.composite_evaluation import EvaluationReport, read_reports, write_reports
from mmdet.utils import ConfigError, DataError


def test_a_folder_holds_one_demo(tmp_path):
    demo.remember(tmp_path / 'new', dict(seed=0, cfg_options=[]))
    demo.remember(tmp_path / 'new', dict(seed=0, cfg_options=[]))
    with pytest.raises(ConfigError, match='other settings; choose another --work-dir'):
        demo.remember(tmp_path / 'new', dict(seed=1, cfg_options=[]))


def test_the_page_compares_the_methods(tmp_path):
    def report(ap, mean_ms):
        metrics = {key: ap for key in demo.COLUMNS.values()}
        latency = {'end to end': dict(p50_ms=mean_ms, p95_ms=2 * mean_ms, mean_ms=mean_ms)}
        return EvaluationReport(metrics, latency, setting='one thread')

    (tmp_path / 'vis').mkdir()
    cv2.imwrite(str(tmp_path / 'vis' / 'val_00000_1_regions.jpg'), np.zeros((20, 30, 3), np.uint8))
    for stage, loss in (('coarse', 1.5), ('mp_det', 0.5)):
        folder = tmp_path / stage / '20260101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text(''.join(f'{{"loss": {loss}, "step": {step}}}\n' for step in (1, 2)))
    reports = {'coarse': report(0.125, 90.0), 'sliced': report(0.15, 400.0), 'UFPMP-Det': report(0.25, 300.0)}
    write_reports(tmp_path / 'figures.json', reports, 'UFPMP-Det')
    read = read_reports(tmp_path / 'figures.json', 'UFPMP-Det')
    assert list(read) == list(reports) and read == reports
    for content in ('{}', '{"baselines": 3}', '{"baselines": {"a": 1}}'):
        (tmp_path / 'other.json').write_text(content)
        with pytest.raises(DataError, match='is no report of an evaluation'):
            read_reports(tmp_path / 'other.json', 'UFPMP-Det')
    page = demo.write_page(tmp_path, read, {'MP-Det training': 12.4}).read_text()
    rows = [
        f'<tr><td>{name}</td>' + f'<td class="number">{ap}</td>' * len(demo.COLUMNS) + f'<td class="number">{ms}</td></tr>'
        for name, ap, ms in (('coarse', 12.5, 90), ('sliced', '15.0', 400), ('UFPMP-Det', '25.0', 300))
    ]  # fmt: skip
    assert ''.join(rows) in page
    assert '<td class="number">300.0</td><td class="number">600.0</td>' in page  # p50 and p95 of the whole
    assert 'coarse: loss' in page and 'MP-Det: loss' in page and 'val 00000 1 regions' in page
    assert 'MP-Det training s <b>12</b>' in page and 'setting <b>one thread</b>' in page
