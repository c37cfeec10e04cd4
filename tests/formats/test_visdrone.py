"""Reading and writing the toolkit's files, and the tool that scores folders."""

import json
import os

import cv2
import numpy as np
import pytest

from mmdet.evaluation import Detections, read_folders, read_image_sizes, read_toolkit_rows, write_result_files
from mmdet.utils import ConfigError, DataError
from tests import processes

REGION, CAR = '60,10,30,30,0,0,0,0', '10,10,20,20,1,4,0,0'


def folders(tmp_path, annotations: dict[str, str], predictions: dict[str, str]):
    paths = []
    for name, files in (('annotations', annotations), ('predictions', predictions)):
        paths.append(tmp_path / name)
        paths[-1].mkdir()
        for stem, text in files.items():
            (paths[-1] / f'{stem}.txt').write_text(text)
    return paths


@pytest.mark.parametrize(
    ('text', 'rows'),
    [
        ('', []),
        ('\n \n', []),
        ('1,2,3,4,0.5,6,-1,-1\n', [[1, 2, 3, 4, 0.5, 6]]),
        ('1 2 3 4 0.5 6 -1 -1 \r\n1,2,3,4,1,0,0,0,\n', [[1, 2, 3, 4, 0.5, 6], [1, 2, 3, 4, 1, 0]]),
        ('\ufeff1.25, 2, 3, 4, 5e-1, 6', [[1.25, 2, 3, 4, 0.5, 6]]),
    ],
)
def test_rows(tmp_path, text, rows):
    (tmp_path / 'a.txt').write_text(text, encoding='utf-8')
    table = read_toolkit_rows(tmp_path / 'a.txt')
    assert table.shape == (len(rows), 6) and table.tolist() == rows


@pytest.mark.parametrize('line', ['1,2,3,4,5', '1,2,3,x,1,4,0,0', '1,2,nan,4,1,4', '1,2,3,4,1,4.5,0,0'])
def test_broken_rows_name_the_line(tmp_path, line):
    (tmp_path / 'a.txt').write_text(f'{CAR}\n\n{line}\n')
    with pytest.raises(DataError, match=r'a\.txt: line 3: .*Received'):
        read_toolkit_rows(tmp_path / 'a.txt')


def test_sizes(tmp_path):
    (tmp_path / 'sizes').write_text('a.b 100 80\nc.JPG,20,10\n\n')
    assert read_image_sizes(tmp_path / 'sizes') == {'a.b': (100, 80), 'c': (20, 10)}
    for text, message in (
        ('a 1 0', 'line 1'),
        ('a 1 ' + '9' * 5000, 'line 1: must be: name width height'),
        ('a 1 1\na 1 1', 'line 2.*second time'),
        ('', 'no line'),
    ):
        (tmp_path / 'sizes').write_text(text)
        with pytest.raises(DataError, match=message):
            read_image_sizes(tmp_path / 'sizes')


def test_folders(tmp_path):
    paths = folders(tmp_path, {'b': REGION, 'a': CAR, 'c': ''}, {'a': '1 2 3 4 0.1 4\n1 2 3 4 0.2 4', 'z': CAR})
    data = read_folders(*paths, sizes={'c': (9, 9), 'a': (100, 80), 'b': (50, 40)})
    assert data.names == ['a', 'b', 'c'] and data.sizes_wh.tolist() == [[100, 80], [50, 40], [9, 9]]
    assert data.gt.label.tolist() == [3, -1] and data.gt.counted.tolist() == [True, False]
    assert data.missing == ['b', 'c'] and data.unused == 1 and data.unsorted == ['a'] and len(data.dt) == 2
    assert read_folders(*paths, sizes={'a': (100, 80)}).names == ['a']
    with pytest.raises(DataError, match=r'1 of the 2 images.*q\.txt'):
        read_folders(*paths, sizes={'a': (1, 1), 'q': (1, 1)})


def test_sizes_from_headers(tmp_path):
    paths = folders(tmp_path, {'a': CAR, 'b': REGION}, {})
    with pytest.raises(ConfigError, match='image b has ignored regions'):
        read_folders(*paths)
    (tmp_path / 'images').mkdir()
    with pytest.raises(DataError, match='no image of this name'):
        read_folders(*paths)
    cv2.imwrite(str(tmp_path / 'images' / 'b.png'), np.zeros((30, 70, 3), np.uint8))
    for options in ({}, {'image_dir': tmp_path / 'images'}):
        assert read_folders(*paths, **options).sizes_wh.tolist() == [[0, 0], [70, 30]]


def test_written_files_read_back(tmp_path):
    dt = Detections([1, 0, 0, 0], [3, 0, 9, 2], np.arange(16).reshape(4, 4) + 0.25, score=[0.1, 1 / 3, 0.5, 1 / 3])
    write_result_files(tmp_path / 'out', ['a', 's/b', 'empty'], dt)
    assert (tmp_path / 'out' / 'a.txt').read_text().splitlines() == [
        '8.25,9.25,10.25,11.25,0.5,10,-1,-1',
        '4.25,5.25,6.25,7.25,0.3333333333333333,1,-1,-1',
        '12.25,13.25,14.25,15.25,0.3333333333333333,3,-1,-1',
    ]
    assert read_toolkit_rows(tmp_path / 'out' / 's' / 'b.txt').tolist() == [[0.25, 1.25, 2.25, 3.25, 0.1, 4]]
    assert (tmp_path / 'out' / 'empty.txt').read_text() == ''


def run_tool(repository, *arguments):
    script = repository / 'tools' / 'analysis_tools' / 'eval_visdrone.py'
    return processes.run([script, *arguments], cwd=repository, env={**os.environ, 'PYTHONPATH': str(repository)})


def test_tool(repository, tmp_path):
    paths = folders(tmp_path, {'a': f'{REGION}\n{CAR}', 'b': CAR}, {'a': '10 10 20 20 0.9 4 -1 -1\n65,15,9,9,.8,4'})
    (tmp_path / 'sizes').write_text('a 100 80\nb 100 80\n')
    run = run_tool(repository, *paths, '--sizes', tmp_path / 'sizes', '--json', tmp_path / 'new' / 'out.json')
    assert run.returncode == 0, run.stderr
    assert '1 images have no result file' in run.stderr
    assert 'VisDrone toolkit rules' in run.stdout and 'COCO rules: maxDets 500' in run.stdout
    document = json.loads((tmp_path / 'new' / 'out.json').read_text())
    assert document['visdrone'] == {
        'AP': 50.0, 'AP50': 50.0, 'AP75': 50.0, 'AR1': 50.0, 'AR10': 50.0, 'AR100': 50.0, 'AR500': 50.0,
        'dropped_gt': 0, 'dropped_det': 1,
    }  # fmt: skip
    assert [document['coco'][name] for name in ('AP', 'AP50', 'AP75')] == [pytest.approx(51 / 101 * 100)] * 3
    assert document['images'] == 2


def test_equal_scores_are_sorted_and_any_score_but_zero_counts(tmp_path):
    annotations = '1,1,2,2,0.5,4,0,0\n1,1,2,2,2,4,0,0\n1,1,2,2,0,4,0,0'
    paths = folders(tmp_path, {'a': annotations}, {'a': '1 2 3 4 0.5 4\n1 2 3 4 0.5 4\n1 2 3 4 0.4 4'})
    data = read_folders(*paths)
    assert data.unsorted == [] and data.gt.counted.tolist() == [True, True, False]


def test_huge_numbers_are_written_short(tmp_path):
    write_result_files(tmp_path, ['a'], Detections([0], [0], [[1e16, -3, 1e14, 0.5]], score=[1]))
    assert (tmp_path / 'a.txt').read_text() == '1e+16,-3,100000000000000,0.5,1,1,-1,-1\n'
