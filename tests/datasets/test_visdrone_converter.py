"""VisDrone to COCO, and results to the toolkit's files and back: records, counts, errors, command lines."""

import json
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmdet.datasets import VisDroneDataset
from mmdet.datasets.converters import convert_visdrone, results_to_txt, txt_to_results
from mmdet.evaluation import read_toolkit_rows
from mmdet.utils import DataError
from tests import processes

CLASSES = VisDroneDataset.METAINFO['classes']


def write_split(root, files: dict[str, str], size_wh=(1360, 765), suffix='.jpg'):
    for name in ('images', 'annotations'):
        (root / name).mkdir(parents=True)
    for stem, text in files.items():
        (root / 'annotations' / f'{stem}.txt').write_text(text)
        cv2.imwrite(str(root / 'images' / f'{stem}{suffix}'), np.zeros((*size_wh[::-1], 3), np.uint8))
    return root


def convert(root, **options):
    report = convert_visdrone(root / 'images', root / 'annotations', root / 'out' / 'ann.json', **options)
    return report, json.loads(report.path.read_text())


def run_script(repository, name, *arguments):
    script = repository / 'UFPMP-Det-Tools' / name
    environment = {**os.environ, 'PYTHONPATH': str(repository)}
    return processes.run([script, *arguments], cwd=repository, env=environment)


def test_image_without_rows(tmp_path):
    report, document = convert(write_split(tmp_path, {'a': ''}))
    assert document['images'] == [{'file_name': 'a.jpg', 'height': 765, 'width': 1360, 'id': 0}]
    assert document['annotations'] == [] and (report.images, report.empty, report.objects) == (1, 1, 0)
    assert [(c['id'], c['name']) for c in document['categories']] == list(enumerate(CLASSES))


def test_record(tmp_path):
    rows = '1,2,3,4,0,0,0,0\n100,50,30,20,1,4,0,1,\n5,6,7,8,0,11,0,0\n'
    report, document = convert(write_split(tmp_path, {'a': rows}))
    assert document['annotations'] == [
        {
            'area': 600,
            'iscrowd': 0,
            'image_id': 0,
            'bbox': [100, 50, 30, 20],
            'category_id': 3,
            'id': 1,
            'ignore': 0,
            'segmentation': [[100, 50, 100, 70, 130, 70, 130, 50]],
        }
    ]
    assert document['ignored_regions'] == [{'image_id': 0, 'bbox': [1, 2, 3, 4]}]
    assert document['others'] == [{'image_id': 0, 'bbox': [5, 6, 7, 8]}] and document['type'] == 'instances'
    assert (report.objects, report.ignored_regions, report.others) == (1, 1, 1)


def test_counts_and_order(tmp_path):
    rows = '0,0,0,9,1,1,0,0\n1350,0,20,9,1,2,0,0\n5,5,5,5,0,10,0,0'
    root = write_split(tmp_path, {'b': rows, 'a': '', 'c': rows}, suffix='.PNG')
    cv2.imwrite(str(root / 'images' / 'extra.jpg'), np.zeros((9, 9, 3), np.uint8))
    report, document = convert(root)
    assert [(image['id'], image['file_name']) for image in document['images']] == [
        (0, 'a.PNG'), (1, 'b.PNG'), (2, 'c.PNG'),
    ]  # fmt: skip
    assert [annotation['id'] for annotation in document['annotations']] == [1, 2, 3, 4, 5, 6]
    assert (report.degenerate, report.outside, report.score_zero, report.unannotated) == (2, 2, 2, 1)
    assert 'motor' in str(report) and report.per_class['motor'] == 2


def test_sizes_instead_of_images(tmp_path):
    root = write_split(tmp_path, {'a': '', 'b': ''}, size_wh=(60, 40))
    (root / 'images' / 'b.jpg').unlink()
    with pytest.raises(DataError, match=r'b\.txt: there is no image'):
        convert(root)
    assert not (root / 'out').exists()
    _, document = convert(root, sizes={'b': (7, 8)})
    assert [(image['width'], image['height']) for image in document['images']] == [(60, 40), (7, 8)]
    report = convert_visdrone(root / 'no', root, root / 'o.json', sizes={'a': (1, 2), 'b': (3, 4)})
    assert report.images == 2  # the split folder stands for its annotations


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('1,2,3,4,1,4,0,0\n1,2,3,4,1', 'line 2: must be 6 to 8 finite numbers'),
        ('1,2,3,4,1,12,0,0', 'line 1: category: must be in 0..11'),
        ('1,2,3,4,1,4.5,0,0', 'line 1: category'),
    ],
)
def test_broken_rows(tmp_path, text, message):
    with pytest.raises(DataError, match=rf'a\.txt: {message}'):
        convert(write_split(tmp_path, {'a': text}))


def test_missing_folders(tmp_path):
    with pytest.raises(DataError, match='no such folder of annotation files'):
        convert_visdrone(tmp_path, tmp_path / 'no', tmp_path / 'o.json')


# ---- results


@pytest.fixture
def ann_file(tmp_path):
    root = write_split(tmp_path / 'split', {'a': '', 'b': '', 'c': ''}, size_wh=(60, 40))
    return convert(root)[0].path


ROWS = [
    dict(image_id=0, category_id=3, bbox=[1.5, 2, 3, 4], score=0.25),
    dict(image_id=2, category_id=0, bbox=[1, 2, 3, 4], score=0.5),
    dict(image_id=0, category_id=9, bbox=[5, 6, 7, 8], score=0.75),
    dict(image_id=0, category_id=1, bbox=[9, 6, 7, 8], score=0.25),
]


def test_results_both_ways(repository, ann_file, tmp_path):
    (tmp_path / 'in.json').write_text(json.dumps(ROWS))
    script = 'eval_script/coco2VisDrone.py'
    run = run_script(repository, script, ann_file, tmp_path / 'in.json', tmp_path / 'txt')
    assert run.returncode == 0 and '4 detections of 3 images (1 without any)' in run.stdout, run.stderr
    texts = {path.name: path.read_text() for path in (tmp_path / 'txt').iterdir()}
    assert texts == {
        'a.txt': '5,6,7,8,0.75,10,-1,-1\n1.5,2,3,4,0.25,4,-1,-1\n9,6,7,8,0.25,2,-1,-1\n',
        'b.txt': '',
        'c.txt': '1,2,3,4,0.5,1,-1,-1\n',
    }
    run = run_script(repository, script, ann_file, tmp_path / 'txt', tmp_path / 'new' / 'out.json')
    assert run.returncode == 0, run.stderr
    back = json.loads((tmp_path / 'new' / 'out.json').read_text())
    assert back == sorted(ROWS, key=lambda row: -row['score'])


def test_results_of_a_dump(ann_file, tmp_path):
    samples = [
        dict(img_id=i, ori_shape=(40, 60), pred_instances=dict(
            bboxes=torch.tensor([[1.0, 2, 4, 6]])[:n], scores=torch.tensor([0.5])[:n], labels=torch.tensor([2])[:n]
        ))
        for i, n in ((1, 1), (0, 0))
    ]  # fmt: skip
    with open(tmp_path / 'dump.pkl', 'wb') as file:
        pickle.dump(samples, file)
    report = results_to_txt(ann_file, tmp_path / 'dump.pkl', tmp_path / 'txt')
    assert (report.images, report.detections, report.empty) == (3, 1, 2)
    assert (tmp_path / 'txt' / 'b.txt').read_text() == '1,2,3,4,0.5,3,-1,-1\n'


def test_text_of_any_shape(ann_file, tmp_path):
    """Blank-separated as the reference writes it, unsorted, with a category and a file that nobody knows."""
    folder = tmp_path / 'txt'
    folder.mkdir()
    (folder / 'a.txt').write_text('1 2 3 4 0.5 4 -1 -1 \n1 2 3 4 0.75 11 -1 -1 \n')
    (folder / 'z.txt').write_text('1 2 3 4 0.5 4 -1 -1')
    report = txt_to_results(ann_file, folder, tmp_path / 'out.json')
    assert (report.detections, report.left_out, report.unused, report.empty) == (1, 1, 1, 2)
    (folder / 'a.txt').write_text('1 2 3 4 0.5\n')
    with pytest.raises(DataError, match=r'a\.txt: line 1'):
        txt_to_results(ann_file, folder, tmp_path / 'out.json')
    (folder / 'a.txt').unlink()
    with pytest.raises(DataError, match='no .txt file belongs to an image'):
        txt_to_results(ann_file, folder, tmp_path / 'out.json')


@pytest.mark.parametrize(
    ('content', 'replaced'),
    [
        ('', True),
        ('1,2,3,4,0.5,4,-1,-1\n', True),
        ('1 2 3 4 0.5 4', True),
        ('1,2,3,4,1,4,0,0\n', False),
        ('1,2,3,4,0.5,4,-1,-1\n1,2,3,4,1,4,0,1\n', False),
        ('my notes', False),
    ],
)
def test_results_replace_results_only(tmp_path, content, replaced):
    """The folder of the annotations has files of the same names."""
    images = [dict(id=i, file_name=f'{name}.jpg', width=9, height=9) for i, name in enumerate('ab')]
    document = dict(images=images, annotations=[], categories=[dict(id=1, name='car')])
    (tmp_path / 'ann.json').write_text(json.dumps(document))
    (tmp_path / 'in.json').write_text(json.dumps([dict(image_id=1, category_id=1, bbox=[5, 2, 3, 4], score=1)]))
    (tmp_path / 'txt').mkdir()
    (tmp_path / 'txt/b.txt').write_text(content)
    if replaced:
        results_to_txt(tmp_path / 'ann.json', tmp_path / 'in.json', tmp_path / 'txt')
        assert read_toolkit_rows(tmp_path / 'txt/b.txt').tolist() == [[5, 2, 3, 4, 1, 1]]
    else:
        with pytest.raises(DataError, match=r'b\.txt: holds annotations, or something else than results'):
            results_to_txt(tmp_path / 'ann.json', tmp_path / 'in.json', tmp_path / 'txt')
        assert (tmp_path / 'txt/b.txt').read_text() == content and not (tmp_path / 'txt/a.txt').exists()


def test_frames_of_sequences_keep_their_folders(tmp_path):
    names = ['M1/img1/img000001.jpg', 'M2/img1/img000001.jpg']
    document = dict(
        images=[dict(id=i + 5, file_name=name, width=9, height=9) for i, name in enumerate(names)],
        annotations=[],
        categories=[dict(id=1, name='car')],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(document))
    (tmp_path / 'in.json').write_text(json.dumps([dict(image_id=6, category_id=1, bbox=[1, 2, 3, 4], score=1)]))
    results_to_txt(tmp_path / 'ann.json', tmp_path / 'in.json', tmp_path / 'txt')
    assert read_toolkit_rows(tmp_path / 'txt' / 'M2/img1/img000001.txt').tolist() == [[1, 2, 3, 4, 1, 1]]
    report = txt_to_results(tmp_path / 'ann.json', tmp_path / 'txt', tmp_path / 'out.json')
    assert (report.detections, report.unused) == (1, 0)
    assert json.loads(Path(report.path).read_text())[0]['image_id'] == 6


def test_boxes_at_the_border_are_not_over_it(tmp_path):
    """100 x 80 pixels: from edge to edge is inside; one pixel further is over the border. No side may be 0 or less."""
    rows = {
        'inside': '0,0,100,80,1,4,0,0', 'left': '-1,0,5,5,1,4,0,0', 'top': '0,-1,5,5,1,4,0,0',
        'right': '96,0,5,5,1,4,0,0', 'bottom': '0,76,5,5,1,4,0,0', 'thin': '5,5,1,1,1,4,0,0', 'flat': '5,5,1,0,1,4,0,0',
        'turned': '5,5,-1,4,1,4,0,0',
    }  # fmt: skip
    report, document = convert(write_split(tmp_path, rows, size_wh=(100, 80)))
    assert (report.outside, report.degenerate, report.objects, report.empty) == (4, 2, 8, 0)
    one = convert_visdrone(
        tmp_path / 'images', tmp_path / 'annotations', tmp_path / 'o.json', sizes={'inside': (99, 80)}
    )
    assert one.outside == 5


def test_of_two_images_with_one_name_the_jpeg_is_taken(tmp_path):
    root = write_split(tmp_path, {'a': ''}, size_wh=(60, 40))
    cv2.imwrite(str(root / 'images' / 'a.png'), np.zeros((5, 6, 3), np.uint8))
    assert convert(root)[1]['images'] == [{'file_name': 'a.jpg', 'height': 40, 'width': 60, 'id': 0}]


def test_a_set_whose_annotations_are_kept_back(tmp_path):
    """test-challenge: an empty folder of annotations; results for its images go to the server."""
    root = write_split(tmp_path, {'a': '', 'b': ''}, size_wh=(60, 40))
    for name in 'ab':
        (root / 'annotations' / f'{name}.txt').unlink()
    report, document = convert(root)
    assert [image['file_name'] for image in document['images']] == ['a.jpg', 'b.jpg'] and 'annotations' not in document
    assert str(report).startswith('2 images without annotations') and len(document['categories']) == 10
    (tmp_path / 'in.json').write_text(json.dumps([dict(image_id=1, category_id=3, bbox=[1, 2, 3, 4], score=0.5)]))
    results_to_txt(report.path, tmp_path / 'in.json', tmp_path / 'txt')
    assert [(tmp_path / 'txt' / f'{name}.txt').read_text() for name in 'ab'] == ['', '1,2,3,4,0.5,4,-1,-1\n']
    for name in 'ab':
        (root / 'images' / f'{name}.jpg').unlink()
    with pytest.raises(DataError, match=r'holds no \.txt file, and that of the images no image'):
        convert(root)
