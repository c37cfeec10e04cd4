"""Results in the formats of other programs."""

import json
import pickle

import pytest
import torch

from mmdet.evaluation.convert_results import RESULT_FORMATS, export_results
from mmdet.utils import ConfigError, DataError

from ..formats.annotation_files import write_files, write_images

ANN = dict(
    images=[dict(id=4, file_name='a.jpg', width=64, height=48), dict(id=9, file_name='b.jpg', width=8, height=6)],
    categories=[dict(id=0, name='pedestrian'), dict(id=3, name='car')],
)
ROWS = [
    dict(image_id=4, category_id=3, bbox=[24.0, 12.0, 16.0, 24.0], score=0.25),
    dict(image_id=4, category_id=0, bbox=[0.0, 0.0, 64.0, 48.0], score=0.75),
]
FILES = {
    'coco': {'.': [ROWS[1], ROWS[0]]},
    'yolo': {'a.txt': '0 0.5 0.5 1.0 1.0 0.75\n1 0.5 0.5 0.25 0.5 0.25\n', 'b.txt': '', 'classes.txt': 'pedestrian\ncar\n'},
    'visdrone': {'a.txt': '0,0,64,48,0.75,1,-1,-1\n24,12,16,24,0.25,4,-1,-1\n', 'b.txt': ''},
    # As fiftyone 1.22.1 writes a FiftyOneImageDetectionDataset, and reads it.
    'fiftyone': {
        '.': {
            'classes': ['pedestrian', 'car'],
            'labels': {
                'a': [
                    {'label': 'pedestrian', 'bounding_box': [0.0, 0.0, 1.0, 1.0], 'confidence': 0.75},
                    {'label': 'car', 'bounding_box': [0.375, 0.25, 0.25, 0.5], 'confidence': 0.25},
                ],
                'b': [],
            },
        }
    },
}  # fmt: skip
SAMPLE = dict(bboxes=[[24, 12, 40, 36], [0, 0, 64, 48]], scores=[0.25, 0.75], labels=[1, 0])
NOTHING = dict(bboxes=[], scores=[], labels=[])


def write_source(root, kind):
    """The same detections as COCO results, as a dump, and as the folder of an inference; and annotations without boxes."""
    write_files(root, {'ann.json': json.dumps(ANN)})
    if kind == 'json':
        write_files(root, {'r.json': json.dumps(ROWS)})
        return root / 'r.json'
    if kind == 'folder':
        write_files(root, {'preds/a.json': json.dumps(SAMPLE), 'preds/b.json': json.dumps(NOTHING)})
        return root / 'preds'
    samples = [
        dict(img_id=i, ori_shape=shape, pred_instances={
            'bboxes': torch.tensor(found['bboxes'], dtype=torch.float32).reshape(-1, 4),
            'scores': torch.tensor(found['scores']), 'labels': torch.tensor(found['labels'], dtype=torch.int64),
        })
        for i, shape, found in ((4, (48, 64), SAMPLE), (9, (6, 8), NOTHING))
    ]  # fmt: skip
    with open(root / 'r.pkl', 'wb') as file:
        pickle.dump(samples, file)
    return root / 'r.pkl'


@pytest.mark.parametrize('kind', ['json', 'folder'])
def test_yolo_files_lie_in_the_folders_of_the_images(tmp_path, kind):
    results = write_source(tmp_path, kind)
    ann = dict(ANN, images=[ANN['images'][0], dict(ANN['images'][1], file_name='sub/b.jpg')])
    write_files(tmp_path, {'ann.json': json.dumps(ann)})
    export_results(tmp_path / 'ann.json', results, tmp_path / 'out', 'yolo')
    assert (tmp_path / 'out/a.txt').read_text() == FILES['yolo']['a.txt']
    assert (tmp_path / 'out/sub/b.txt').read_text() == ''


def content(path):
    if path.is_file():
        return {'.': json.loads(path.read_text())}
    return {file.name: file.read_text() for file in path.iterdir()}


@pytest.mark.parametrize('kind', ['json', 'pkl', 'folder'])
@pytest.mark.parametrize('to', RESULT_FORMATS)
def test_formats(to, kind, tmp_path):
    source = write_source(tmp_path, kind)
    target = tmp_path / 'out' / ('made.json' if to in ('coco', 'fiftyone') else 'made')
    report = export_results(tmp_path / 'ann.json', source, target, to)
    assert content(target) == FILES[to]
    assert (report.images, report.empty, report.detections, report.left_out) == (2, 1, 2, 0)
    with pytest.raises(ConfigError, match='nothing is overwritten'):
        export_results(tmp_path / 'ann.json', source, target, to)


def test_scores_classes_and_other_files(tmp_path):
    source = write_source(tmp_path, 'folder')
    write_files(tmp_path, {'preds/stranger.json': json.dumps(NOTHING)})
    ann = tmp_path / 'ann.json'
    report = export_results(ann, source, tmp_path / 'low.json', 'coco', min_score=0.5, classes=['car', 'pedestrian'])
    assert [(row['category_id'], row['score']) for row in json.loads((tmp_path / 'low.json').read_text())] == [
        (3, 0.75)
    ]
    assert (report.below, report.unused) == (1, 1)
    assert 'detections below the score (left out): 1' in str(report) and 'files of other images (left out): 1' in str(
        report
    )


def test_annotations_in_other_formats(tmp_path):
    write_images(tmp_path / 'set' / 'images')
    write_files(tmp_path / 'set', {'data.yaml': 'train: images\nnames: [pedestrian, car]\n'})
    source = write_source(tmp_path, 'folder')
    export_results(tmp_path / 'set', source, tmp_path / 'made', 'yolo')
    assert content(tmp_path / 'made') == FILES['yolo']
    # The server counts the classes in its own order, whatever the numbers of the format are.
    export_results(tmp_path / 'set', source, tmp_path / 'server', 'visdrone')
    assert content(tmp_path / 'server') == FILES['visdrone']
    write_files(tmp_path / 'set', {'data.yaml': 'train: images\nnames: [pedestrian, dog]\n'})
    with pytest.raises(DataError, match=r'must be classes of VisDrone .*dog'):
        export_results(tmp_path / 'set', source, tmp_path / 'none', 'visdrone')


def test_errors(tmp_path):
    source = write_source(tmp_path, 'folder')
    ann = tmp_path / 'ann.json'
    with pytest.raises(ConfigError, match='to: must be one of coco, yolo'):
        export_results(ann, source, tmp_path / 'x', 'voc')
    with pytest.raises(ConfigError, match=r'must end in \.json'):
        export_results(ann, source, tmp_path / 'x', 'fiftyone')
    write_files(tmp_path, {'preds/b.json': json.dumps(dict(NOTHING, bboxes=[[1, 2, 3]], labels=[0], scores=[1]))})
    with pytest.raises(DataError, match=r'b\.json: .*pred_instances\.bboxes: must have shape'):
        export_results(ann, source, tmp_path / 'x', 'yolo')
    (tmp_path / 'others').mkdir()
    write_files(tmp_path / 'others', {'z.json': '{}'})
    with pytest.raises(DataError, match=r'no \.json file is named like an image'):
        export_results(ann, tmp_path / 'others', tmp_path / 'x', 'yolo')
    write_files(tmp_path, {'sizeless.json': json.dumps(dict(ANN, images=[dict(id=4, file_name='a.jpg')]))})
    write_source(tmp_path, 'json')
    with pytest.raises(DataError, match='image a.jpg: its width and height are needed'):
        export_results(tmp_path / 'sizeless.json', tmp_path / 'r.json', tmp_path / 'x', 'yolo')
    assert not (tmp_path / 'x').exists()
