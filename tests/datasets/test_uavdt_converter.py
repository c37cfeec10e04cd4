"""UAVDT to COCO: both layouts, both splits, ignored areas, errors, and the real sequences."""

import json
import os

import cv2
import numpy as np
import pytest

from mmdet.datasets.converters import convert_uavdt
from mmdet.datasets.converters.uavdt import parse_size
from mmdet.utils import ConfigError, DataError
from tests import processes

OBJECT, AREA = '1,5,592,327,47,22,1,1,1', '1,9,914,189,105,54,1,-1,-1'


def write_frames(folder, frames, size_wh=(80, 60)):
    folder.mkdir(parents=True)
    for frame in frames:
        cv2.imwrite(str(folder / f'img{frame:06d}.jpg'), np.zeros((*size_wh[::-1], 3), np.uint8))


def write_nested(root, sequence, objects, areas='', frames=()):
    (root / sequence / 'gt').mkdir(parents=True)
    (root / sequence / 'gt' / 'gt_whole.txt').write_text(objects)
    (root / sequence / 'gt' / 'gt_ignore.txt').write_text(areas)
    if frames:
        write_frames(root / sequence / 'img1', frames)


def write_flat(root, sequence, objects, areas='', frames=(), gt='GT'):
    (root / gt).mkdir(parents=True, exist_ok=True)
    (root / gt / f'{sequence}_gt_whole.txt').write_text(objects)
    (root / gt / f'{sequence}_gt_ignore.txt').write_text(areas)
    if frames:
        write_frames(root / 'UAV-benchmark-M' / sequence, frames)


def convert(root, split='train', **options):
    (report,) = convert_uavdt(root, {split: root / 'out' / 'ann.json'}, **options)
    return report, json.loads(report.path.read_text())


def test_sequence_without_rows(tmp_path):
    write_nested(tmp_path, 'M0101', '')
    report, document = convert(tmp_path)
    assert document['images'] == document['annotations'] == [] and report.images == 0
    assert [(c['id'], c['name']) for c in document['categories']] == [(0, 'car'), (1, 'truck'), (2, 'bus')]


@pytest.mark.parametrize(('write', 'prefix'), [(write_nested, 'M0101/img1'), (write_flat, 'M0101')])
def test_layouts(tmp_path, write, prefix):
    objects = f'{OBJECT}\n3,5,1,2,3,4,1,1,3\n1,6,7,8,9,10,1,1,2'
    write(tmp_path, 'M0101', objects, f'{AREA}\n2,9,1,1,5,5,1,-1,-1', frames=(1, 2, 3))
    report, document = convert(tmp_path)
    assert document['images'] == [
        {'file_name': f'{prefix}/img000001.jpg', 'height': 60, 'width': 80, 'id': 0},
        {'file_name': f'{prefix}/img000003.jpg', 'height': 60, 'width': 80, 'id': 1},
    ]
    for image in document['images']:
        assert (report.image_root / image['file_name']).is_file()
    rows = [(a['id'], a['image_id'], a['category_id'], a['ignore'], a['iscrowd']) for a in document['annotations']]
    assert rows == [(1, 0, 0, 0, 0), (2, 0, 1, 0, 0), (3, 0, 0, 1, 1), (4, 1, 2, 0, 0)]
    assert document['annotations'][0]['bbox'] == [592, 327, 47, 22] and document['annotations'][0]['area'] == 47 * 22
    assert (report.objects, report.ignored, report.ignored_unlabelled) == (3, 1, 1) and not report.assumed


@pytest.mark.parametrize('gt', ['.', 'UAV-benchmark-MOTD_v1.0/GT'])
def test_other_places_of_the_public_release(tmp_path, gt):
    write_flat(tmp_path, 'M0101', OBJECT, frames=(1,), gt=gt)
    _, document = convert(tmp_path)
    assert document['images'][0]['width'] == 80


def test_ignored_modes(tmp_path):
    write_flat(tmp_path, 'M0101', OBJECT, AREA)
    found = {}
    for mode in ('crowd', 'flag', 'drop'):
        _, document = convert(tmp_path, ignored=mode)
        found[mode] = [(a['ignore'], a['iscrowd']) for a in document['annotations']]
    assert found == {'crowd': [(0, 0), (1, 1)], 'flag': [(0, 0), (1, 0)], 'drop': [(0, 0)]}


def test_frames_that_are_not_there(tmp_path):
    write_flat(tmp_path, 'M0101', OBJECT)
    report, document = convert(tmp_path)
    assert (document['images'][0]['width'], document['images'][0]['height']) == (1024, 540)
    assert report.assumed == ['M0101'] and 'WARNING: no frames of 1 sequences (M0101)' in str(report)
    report, document = convert(tmp_path, size_wh=(960, 500))
    assert document['images'][0]['width'] == 960 and not report.assumed
    write_frames(tmp_path / 'elsewhere' / 'M0101', (1,))
    assert convert(tmp_path, image_dir=tmp_path / 'elsewhere')[1]['images'][0]['width'] == 80
    write_frames(tmp_path / 'UAV-benchmark-M' / 'M0101', (2,))
    with pytest.raises(DataError, match=r'img000001\.jpg: M0101: frame 1'):
        convert(tmp_path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('1,2,3', r'M0101_gt_whole\.txt: line 1: must be 9 finite numbers'),
        (f'{OBJECT}\n1,1,1,1,1,1,1,1,-1', r'M0101_gt_whole\.txt: line 2: category: must be 1 car.*Received: -1.0'),
        ('0,5,592,327,47,22,1,1,1', r'M0101_gt_whole\.txt: line 1: frame: must be a whole number from 1'),
    ],
)
def test_broken_rows(tmp_path, text, message):
    write_flat(tmp_path, 'M0101', text)
    with pytest.raises(DataError, match=message):
        convert(tmp_path)
    assert not (tmp_path / 'out').exists()


def test_errors(tmp_path):
    with pytest.raises(DataError, match='holds neither'):
        convert(tmp_path)
    write_flat(tmp_path, 'M0101', OBJECT)
    with pytest.raises(DataError, match='no sequence of the test split'):
        convert(tmp_path, 'test')
    (tmp_path / 'GT' / 'M0101_gt_ignore.txt').unlink()
    with pytest.raises(DataError, match=r'M0101_gt_ignore\.txt: M0101: the file of ignored areas is missing'):
        convert(tmp_path)
    for options in (dict(ignored='x'), dict(size_wh=(0, 1))):
        with pytest.raises(ConfigError):
            convert(tmp_path, **options)
    with pytest.raises(ConfigError):
        convert_uavdt(tmp_path, {'val': 'x.json'})
    assert parse_size('1024x540') == (1024, 540)
    with pytest.raises(ConfigError, match='WIDTHxHEIGHT'):
        parse_size('1024')


def run_script(repository, *arguments):
    script = repository / 'UFPMP-Det-Tools' / 'build_dataset' / 'UAVDT2COCO.py'
    environment = {**os.environ, 'PYTHONPATH': str(repository)}
    return processes.run([script, *arguments], cwd=repository, env=environment)


def test_command_line(repository, tmp_path):
    write_nested(tmp_path / 'd', 'M0101', OBJECT, frames=(1,))
    write_nested(tmp_path / 'd', 'M0203', OBJECT, frames=(1,))
    for arguments, name in (((), 'M0101'), (('--split', 'test'), 'M0203')):
        run = run_script(repository, tmp_path / 'd', tmp_path / 'one.json', *arguments)
        assert run.returncode == 0, run.stderr
        document = json.loads((tmp_path / 'one.json').read_text())
        assert [image['file_name'] for image in document['images']] == [f'{name}/img1/img000001.jpg']
    run = run_script(repository, tmp_path / 'd', tmp_path / 'd' / 'annotations')
    assert run.returncode == 0, run.stderr
    names = sorted(path.name for path in (tmp_path / 'd' / 'annotations').iterdir())
    assert names == ['UAVDT-test.json', 'UAVDT-train.json']
    run = run_script(repository, tmp_path / 'nowhere', tmp_path / 'x.json')
    assert run.returncode == 2 and 'Traceback' not in run.stderr
