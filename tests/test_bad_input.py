"""Mistakes of users in one table: the situation, the exception and its message.

Every message must name the place (file, record, field or argument) and, where a value is at fault, that value. The table calls the
functions that users call; the finer cases of each part are in the tests of that part.
"""

import argparse
import errno
import json
import os
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.apis.testing import configure_testing, run_testing
from mmdet.apis.training import configure_training
from mmdet.engine import DetRunner, load_checkpoint_file, load_into
from mmdet.engine.checkpoint.saving import save_atomically
from mmdet.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.utils import (
    CfgOptions,
    CheckpointError,
    ConfigError,
    DataError,
    MMDetError,
    ModelInputError,
    NonFiniteLossError,
    load_config,
)  # fmt: skip
from mmdet.utils.files import write_json
from tests.tools.tiny_project import fresh_instances, write_project

IMAGE = {'id': 1, 'file_name': 'a.jpg', 'width': 64, 'height': 48}
BOX = {'id': 9, 'image_id': 1, 'category_id': 5, 'bbox': [2, 3, 20, 10], 'iscrowd': 0}
CATEGORIES = [{'id': 5, 'name': 'car'}, {'id': 6, 'name': 'van'}]
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackDetInputs')]
NAN, INF = float('nan'), float('inf')

TABLE = []


def case(name: str, error: type[Exception], message: str):
    """Add a situation to the table; ``message`` is a regular expression, whose blanks also match line breaks."""

    def add(function):
        TABLE.append(pytest.param(function, error, message, id=name))
        return function

    return add


class Project:
    """The tiny project of the tool tests, for the situations that need a whole config."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = write_project(folder / 'project')
        self.number = 0
        self.model = None

    def config(self, **changes) -> Config:
        cfg = load_config(self.path, changes)
        cfg.visualizer = dict(type='DetLocalVisualizer', vis_backends=[])
        self.number += 1
        cfg.experiment_name = f'bad_input_{os.getpid()}_{self.number}'
        return cfg

    def train(self, work_dir: Path, *, changes=None, **options) -> DetRunner:
        cfg = configure_training(
            self.config(**(changes or {})), work_dir=str(work_dir), validate=False, seed=0, **options
        )
        runner = DetRunner.from_cfg(cfg)
        runner.train()
        return runner

    def test(self, work_dir: Path, checkpoint: Path, *, changes=None, **options) -> dict:
        cfg = configure_testing(
            self.config(**(changes or {})), checkpoint=str(checkpoint), work_dir=str(work_dir), **options
        )
        return run_testing(cfg)

    def detector(self):
        if self.model is None:
            self.model = init_detector(self.config(), device='cpu')
        return self.model

    def checkpoint(self, path: Path, **changes) -> Path:
        """Initial weights of the (changed) model."""
        torch.save(dict(state_dict=MODELS.build(self.config(**changes).model).state_dict()), path)
        return path


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp('bad_input'))


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
    return path


def jpeg(width=64, height=48) -> bytes:
    pixels = np.random.RandomState(0).randint(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.imencode('.jpg', pixels)[1].tobytes()


def coco(tmp, images=(IMAGE,), annotations=(BOX,), categories=CATEGORIES, *, text=None, image=None, **options):
    """A CocoDataset of a document (or of any ``text``), with the bytes ``image`` in a.jpg."""
    document = dict(images=list(images), annotations=list(annotations), categories=list(categories))
    write(tmp / 'train.json', json.dumps(document) if text is None else text)
    if image is not None:
        write(tmp / 'a.jpg', image)
    options = dict(metainfo=dict(classes=('car', 'van')), pipeline=PIPELINE) | options
    return DATASETS.build(dict(type='CocoDataset', data_root=str(tmp), ann_file='train.json', **options))


# -- configs and arguments -------------------------------------------------------------------------


@case('config missing', ConfigError, r'gone\.py: no such config file')
def _(tmp, project):
    load_config(tmp / 'gone.py')


@case('config with a syntax error', ConfigError, r'broken\.py: line 2: syntax error')
def _(tmp, project):
    load_config(write(tmp / 'broken.py', 'model = dict(type="GFL")\ntrain_cfg = = 3\n'))


@case('syntax error in the base of a config', ConfigError, r'base\.py: line 1: syntax error')
def _(tmp, project):
    write(tmp / 'base.py', 'a = (1\n')
    load_config(write(tmp / 'top.py', '_base_ = ["base.py"]\n'))


@case('config whose code fails', ConfigError, r'fails\.py: cannot be read: ZeroDivisionError')
def _(tmp, project):
    load_config(write(tmp / 'fails.py', 'lr = 1 / 0\n'))


@case('base of a config missing', ConfigError, r'top\.py: .*nowhere\.py')
def _(tmp, project):
    load_config(write(tmp / 'top.py', '_base_ = ["nowhere.py"]\n'))


@case('text file as a config', ConfigError, r'notes\.txt: .*\.txt|notes\.txt: .*py')
def _(tmp, project):
    load_config(write(tmp / 'notes.txt', 'remember the milk\n'))


@case(
    '--cfg-options without =',
    argparse.ArgumentError,
    r"--cfg-options: expects key=value pairs\. Received: 'model\.type'",
)
def _(tmp, project):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions)
    parser.parse_args(['--cfg-options', 'model.type'])


@case('--cfg-options into a value', ConfigError, r"tiny\.py: --cfg-options: .*Received: \{'model\.type\.depth': 3\}")
def _(tmp, project):
    project.config(**{'model.type.depth': 3})


@case('unknown model type', ConfigError, r"type: no model of this name; near names: GFL.*Received: 'GFLL'")
def _(tmp, project):
    init_detector(project.config(**{'model.type': 'GFLL'}), device='cpu')


@case(
    'unknown type inside a model', ConfigError, r"type: no model of this name; near names: ResNet.*Received: 'ResNett'"
)
def _(tmp, project):
    init_detector(project.config(**{'model.backbone.type': 'ResNett'}), device='cpu')


@case(
    'unknown dataset type',
    ConfigError,
    r"type: no dataset of this name; near names: CocoDataset.*Received: 'COCODataset'",
)
def _(tmp, project):
    DATASETS.build(dict(type='COCODataset'))


@case('unknown argument of a transform', ConfigError, r"Resize: .*'scal'.*scale")
def _(tmp, project):
    TRANSFORMS.build(dict(type='Resize', scal=(96, 96)))


@case('argument of a head missing', ConfigError, r"GFLHead: .*'in_channels'")
def _(tmp, project):
    MODELS.build(dict(type='GFLHead', num_classes=3))


@case('config without type', ConfigError, r'type.*depth')
def _(tmp, project):
    MODELS.build(dict(depth=50))


@case('config without a model', ConfigError, r'model.py: model: ')
def _(tmp, project):
    init_detector(write(tmp / 'no_model.py', 'lr = 3\n'))


@case('training a config without optimizer', ConfigError, r'optim_wrapper: .*training')
def _(tmp, project):
    cfg = project.config()
    cfg.pop('optim_wrapper')
    configure_training(cfg, work_dir=str(tmp))


@case('testing a config without test data', ConfigError, r'test_dataloader: .*testing')
def _(tmp, project):
    cfg = project.config()
    cfg.pop('test_dataloader')
    configure_testing(cfg, checkpoint='a.pth', work_dir=str(tmp))


@case('testing a config without evaluator', ConfigError, r'test_evaluator')
def _(tmp, project):
    cfg = project.config()
    cfg.pop('test_evaluator')
    configure_testing(cfg, checkpoint='a.pth', work_dir=str(tmp))


@case('--auto-scale-lr without base_batch_size', ConfigError, r'auto_scale_lr\.base_batch_size: --auto-scale-lr needs')
def _(tmp, project):
    configure_training(project.config(), work_dir=str(tmp), auto_scale_lr=True)


@case(
    '--amp with a wrapper of its own', ConfigError, r"optim_wrapper\.type: --amp needs .*Received: 'ApexOptimWrapper'"
)
def _(tmp, project):
    configure_training(project.config(**{'optim_wrapper.type': 'ApexOptimWrapper'}), work_dir=str(tmp), amp=True)


@case('--out with a wrong suffix', ConfigError, r"--out: must end in \.pkl.*Received: 'results\.csv'")
def _(tmp, project):
    configure_testing(project.config(), checkpoint='a.pth', work_dir=str(tmp), out='results.csv')


@case('--eval with --format-only', ConfigError, r'--eval and --format-only exclude each other')
def _(tmp, project):
    configure_testing(project.config(), checkpoint='a.pth', work_dir=str(tmp), metrics=['bbox'], format_only=True)


@case('--eval with an unknown metric', ConfigError, r"'bbox', 'proposal', 'proposal_fast'.* mAP")
def _(tmp, project):
    cfg = configure_testing(project.config(), checkpoint='a.pth', work_dir=str(tmp), metrics=['mAP'])
    METRICS.build(cfg.test_evaluator[0])


@case(
    '--tta on a pipeline without Resize',
    ConfigError,
    r"test_pipeline: --tta needs Resize.*Received: \['LoadImageFromFile', 'PackDetInputs'\]",
)
def _(tmp, project):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
    cfg = project.config(**{'test_dataloader.dataset.pipeline': pipeline})
    configure_testing(cfg, checkpoint='a.pth', work_dir=str(tmp), tta=True)


@case('unknown device', ConfigError, r"device: .*Received: 'gpu0'")
def _(tmp, project):
    init_detector(project.config(), device='gpu0')


# -- annotation files ------------------------------------------------------------------------------


@case('annotation file missing', DataError, r'gone\.json: no such file; in a config, check data_root and ann_file')
def _(tmp, project):
    DATASETS.build(dict(type='CocoDataset', ann_file=str(tmp / 'gone.json'), metainfo=dict(classes=('car',))))


@case('broken JSON', DataError, r'train\.json: line 2 column \d+: broken JSON')
def _(tmp, project):
    coco(tmp, text='{"images": [],\n"annotations": [}')


@case('JSON without images', DataError, r"train\.json: images: must be a list of objects\. Received: 'nothing'")
def _(tmp, project):
    coco(tmp, text='{"annotations": [], "categories": []}')


@case(
    'annotation of an unknown image',
    DataError,
    r"train\.json: annotation 9: image_id: no such id among 'images'\. Received: 77",
)
def _(tmp, project):
    coco(tmp, annotations=[{**BOX, 'image_id': 77}])


@case(
    'box with NaN',
    DataError,
    r'train\.json: annotation 9: bbox: must be four finite numbers.*Received: \[nan, 3, 20, 10\]',
)
def _(tmp, project):
    coco(tmp, annotations=[{**BOX, 'bbox': [NAN, 3, 20, 10]}])


@case(
    'box of three numbers',
    DataError,
    r'train\.json: annotation 9: bbox: must be four finite numbers.*Received: \[2, 3, 20\]',
)
def _(tmp, project):
    coco(tmp, annotations=[{**BOX, 'id': 8}, {**BOX, 'bbox': [2, 3, 20]}])


@case('annotation without category', DataError, r'train\.json: annotation 9: category_id: is missing')
def _(tmp, project):
    coco(tmp, annotations=[{key: value for key, value in BOX.items() if key != 'category_id'}])


@case('image id twice', DataError, r'train\.json: image 1: id: the id is used twice\. Received: 1')
def _(tmp, project):
    coco(tmp, images=[IMAGE, IMAGE])


@case(
    'image without height',
    DataError,
    r'train\.json: image 1: the file lacks its width or height, and its image cannot be read: .*a\.jpg: no such image file',
)
def _(tmp, project):
    coco(tmp, images=[{key: value for key, value in IMAGE.items() if key != 'height'}])


@case(
    'unknown class name', ConfigError, r"train\.json: metainfo\.classes: 1 of the 2 class names .*'lorry'.*'car', 'van'"
)
def _(tmp, project):
    coco(tmp, metainfo=dict(classes=('car', 'lorry')))


@case('one class without its comma', ConfigError, r"metainfo\.classes: must be a tuple of names.*Received: 'car'")
def _(tmp, project):
    coco(tmp, metainfo=dict(classes='car'))


@case('empty after filtering', DataError, r'train\.json: none of the 1 images is left: 1 without an annotation .*car')
def _(tmp, project):
    coco(tmp, annotations=[], filter_cfg=dict(filter_empty_gt=True))


@case('no image at all', DataError, r'train\.json: images: the annotations hold no image')
def _(tmp, project):
    coco(tmp, images=[], annotations=[])


@case(
    'unknown key of filter_cfg',
    ConfigError,
    r"filter_cfg: allowed keys: filter_empty_gt, min_size\. Received: \['minsize'\]",
)
def _(tmp, project):
    coco(tmp, filter_cfg=dict(minsize=32))


# -- images ----------------------------------------------------------------------------------------


@case('evaluation: image missing', DataError, r'a\.jpg: no such image file; check data_root and data_prefix')
def _(tmp, project):
    coco(tmp, test_mode=True)[0]


@case('evaluation: truncated JPEG', DataError, r'a\.jpg: truncated JPEG')
def _(tmp, project):
    coco(tmp, image=jpeg()[:-200], test_mode=True)[0]


@case('evaluation: text named .jpg', DataError, r"a\.jpg: not a complete image.*Received: b'remember'")
def _(tmp, project):
    coco(tmp, image=b'remember the milk', test_mode=True)[0]


@case('evaluation: empty file', DataError, r'a\.jpg: the image file is empty')
def _(tmp, project):
    coco(tmp, image=b'', test_mode=True)[0]


@case(
    'training: every image broken',
    DataError,
    r'train\.json: every image of the dataset is missing or broken, the last one: .*\.jpg',
)
def _(tmp, project):
    images = [{**IMAGE, 'id': number, 'file_name': f'{number}.jpg'} for number in (1, 2, 3)]
    write(tmp / '1.jpg', jpeg()[:99])
    write(tmp / '2.jpg', b'')
    coco(tmp, images=images)[0]


@case(
    'pipeline without loading', DataError, r'a\.jpg: img: the sample has no image; LoadImageFromFile must stand before'
)
def _(tmp, project):
    coco(tmp, image=jpeg(), pipeline=[dict(type='Resize', scale=(32, 32), keep_ratio=True)])[0]


@case('masks in a pipeline', DataError, r'a\.jpg: gt_seg_map: RandomFlip changes boxes only.*Received: .ndarray.')
def _(tmp, project):
    def add_mask(results):
        return {**results, 'gt_seg_map': np.zeros((48, 64), np.uint8)}

    pipeline = [dict(type='LoadImageFromFile'), add_mask, dict(type='RandomFlip', prob=0.0)]
    coco(tmp, image=jpeg(), pipeline=pipeline, test_mode=True)[0]


@case('negative scale', ConfigError, r'scale: must be two positive whole numbers.*Received: \(96, -96\)')
def _(tmp, project):
    TRANSFORMS.build(dict(type='Resize', scale=(96, -96)))


@case('probability above 1', ConfigError, r'prob.*Received: 1\.5')
def _(tmp, project):
    TRANSFORMS.build(dict(type='RandomFlip', prob=1.5))


# -- checkpoints -----------------------------------------------------------------------------------


@case('checkpoint missing', CheckpointError, r'gone\.pth: no such checkpoint file')
def _(tmp, project):
    project.test(tmp, tmp / 'gone.pth')


@case('torn checkpoint', CheckpointError, r'torn\.pth: truncated or damaged')
def _(tmp, project):
    whole = project.checkpoint(tmp / 'whole.pth').read_bytes()
    project.test(tmp, write(tmp / 'torn.pth', whole[: len(whole) // 2]))


@case('text file as a checkpoint', CheckpointError, r"notes\.pth: is not a checkpoint.*Received: b'remember")
def _(tmp, project):
    init_detector(project.config(), str(write(tmp / 'notes.pth', 'remember the milk')), device='cpu')


class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@case('malicious checkpoint', CheckpointError, r'evil\.pth: .*mkdir.*nothing of it was executed.*--trust-checkpoint')
def _(tmp, project):
    torch.save(dict(state_dict={'a': torch.zeros(1)}, meta=Malicious(tmp / 'made')), tmp / 'evil.pth')
    try:
        init_detector(project.config(), str(tmp / 'evil.pth'), device='cpu')
    finally:
        assert not (tmp / 'made').exists()


@case(
    'checkpoint of other classes', CheckpointError,
    r'5 class channels \(bbox_head\.gfl_cls\.weight\), the model 2: check num_classes.*'
    r'shape differs: bbox_head\.gfl_cls\.weight: checkpoint \(5, 16, 3, 3\), model \(2, 16, 3, 3\)',
)  # fmt: skip
def _(tmp, project):
    init_detector(
        project.config(), str(project.checkpoint(tmp / 'five.pth', **{'model.bbox_head.num_classes': 5})), device='cpu'
    )


@case('checkpoint of another model', CheckpointError, r'a\.pth: .*missing in the checkpoint: backbone\.layer1\.0\.conv1\.weight.*'
      r'not in the model: backbone\.stages\.0\.weight')  # fmt: skip
def _(tmp, project):
    state = MODELS.build(project.config().model).state_dict()
    other = {'backbone.stages.0.weight': torch.zeros(3)} | {
        name: value for name, value in state.items() if 'backbone' not in name
    }
    torch.save(other, tmp / 'a.pth')
    project.test(tmp, tmp / 'a.pth')


@case(
    'checkpoint of which nothing fits',
    CheckpointError,
    r"no tensor of the checkpoint fits the model\. Received: \['encoder\.weight'\]",
)
def _(tmp, project):
    torch.save({'encoder.weight': torch.zeros(3)}, tmp / 'a.pth')
    load_into(project.detector(), load_checkpoint_file(tmp / 'a.pth')['state_dict'])


@case(
    'resume from weights only',
    CheckpointError,
    r'weights\.pth: cannot be resumed: it lacks epoch, iter, optimizer.*load_from',
)
def _(tmp, project):
    project.train(tmp / 'work', resume=str(project.checkpoint(tmp / 'weights.pth')))


@case('file to resume missing', CheckpointError, r'gone\.pth: no such checkpoint file')
def _(tmp, project):
    project.train(tmp / 'work', resume=str(tmp / 'gone.pth'))


@case(
    'checkpoint without a config beside it',
    CheckpointError,
    r'alone\.pth: no config beside the checkpoint.*model=<config file>',
)
def _(tmp, project):
    DetInferencer(str(project.checkpoint(tmp / 'alone.pth')))


@case('unknown name of a checkpoint', CheckpointError, r"near names: .*resnet50.*Received: 'torchvision://resnet5'")
def _(tmp, project):
    load_checkpoint_file('torchvision://resnet5')


# -- training --------------------------------------------------------------------------------------


@case(
    'class counts differ',
    ConfigError,
    r'model\.bbox_head\.num_classes: the GFLHead has num_classes=7.*2 classes .*bright',
)
def _(tmp, project):
    project.train(tmp, changes={'model.bbox_head.num_classes': 7})


@case(
    'loss not finite',
    NonFiniteLossError,
    r'iteration 1: the loss is not finite; the optimizer was not moved\. Parts: .*loss_bbox=\[nan',
)
def _(tmp, project):
    changes = {'model.bbox_head.loss_bbox.loss_weight': NAN, 'custom_hooks': []}
    runner = DetRunner.from_cfg(
        configure_training(project.config(**changes), work_dir=str(tmp), validate=False, seed=0)
    )
    runner._init_model_weights()
    runner._has_loaded = True
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner._init_model_weights = lambda: None
    try:
        runner.train()
    finally:
        assert all(torch.equal(value, before[name]) for name, value in runner.model.named_parameters())


@case('label out of range', ModelInputError, r'gt_instances\.labels: labels must be in \[0, 2\)\. Received: \(1, 7\)')
def _(tmp, project):
    model = MODELS.build(project.config().model)
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[2.0, 2, 30, 30]] * 2), labels=torch.tensor([1, 7]))
    batch = model.data_preprocessor(
        dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)], data_samples=[sample]), True
    )
    model(**batch, mode='loss')


@case('head with other levels', ModelInputError, r'the head has 3 levels; as many maps are needed\. Received: 5')
def _(tmp, project):
    project.train(tmp, changes={'model.bbox_head.anchor_generator.strides': [8, 16, 32]})


@case(
    'more than one prior per location',
    ConfigError,
    r'anchor_generator: .*one ratio and one scale.*Received: \[2, 2, 2, 2, 2\]',
)
def _(tmp, project):
    MODELS.build(project.config(**{'model.bbox_head.anchor_generator.ratios': [1.0, 2.0]}).model)


@case('unknown metric of save_best', ConfigError, r"save_best: must be one of .*coco/bbox_mAP.*Received: 'coco/mAP'")
def _(tmp, project):
    changes = {
        'default_hooks.checkpoint.save_best': 'coco/mAP',
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.times': 1,
    }
    DetRunner.from_cfg(configure_training(project.config(**changes), work_dir=str(tmp))).train()


@case('work dir cannot be made', MMDetError, r'work_dir.*notes\.txt')
def _(tmp, project):
    project.train(write(tmp / 'notes.txt', 'remember the milk') / 'work')


# -- evaluation ------------------------------------------------------------------------------------


def metric(tmp, bboxes=((1, 2, 30, 20),), scores=(0.5,), labels=(0,), image_id=1, **options):
    """CocoMetric given the predictions of one image."""
    coco(tmp)
    built = METRICS.build(dict(type='CocoMetric', ann_file=str(tmp / 'train.json'), **options))
    built.dataset_meta = dict(classes=('car', 'van'))
    instances = dict(
        bboxes=torch.tensor(bboxes, dtype=torch.float32), scores=torch.tensor(scores), labels=torch.tensor(labels)
    )
    built.process({}, [dict(img_id=image_id, ori_shape=(48, 64), pred_instances=instances)])
    return built.evaluate(1)


@case(
    'prediction with NaN',
    DataError,
    r'image 1: pred_instances\.bboxes: 1 of 2 rows are not finite, the first is row 1\. Received: .*nan',
)
def _(tmp, project):
    metric(tmp, bboxes=[[1, 2, 30, 20], [1, NAN, 30, 20]], scores=[0.5, 0.4], labels=[0, 0])


@case('prediction with an infinite score', DataError, r'image 1: pred_instances\.scores: .*Received: inf')
def _(tmp, project):
    metric(tmp, scores=[INF])


@case(
    'prediction of an unknown image',
    DataError,
    r'train\.json: image_id: the image is not among the 1 of the ground truth\. Received: 44',
)
def _(tmp, project):
    metric(tmp, image_id=44)


@case(
    'prediction of an unknown class',
    DataError,
    r'image 1: pred_instances\.labels: must be 0\.\.1: the dataset has 2 classes.*Received: 5',
)
def _(tmp, project):
    metric(tmp, labels=[5])


@case(
    'scores and boxes of different number',
    DataError,
    r'image 1: pred_instances\.scores: must have shape \(1,\).*Received: \(2,\)',
)
def _(tmp, project):
    metric(tmp, scores=[0.5, 0.4])


@case(
    'annotation file of the metric missing',
    DataError,
    r'gone\.json: no such file; in a config, check data_root and ann_file',
)
def _(tmp, project):
    built = METRICS.build(dict(type='CocoMetric', ann_file=str(tmp / 'gone.json')))
    built.load_annotations()


@case('no proposals wanted', ConfigError, r'proposal_nums: must be integers > 0\. Received: \(\)')
def _(tmp, project):
    METRICS.build(dict(type='CocoMetric', proposal_nums=()))


# -- inference -------------------------------------------------------------------------------------


def infer(project, inputs, **options):
    return DetInferencer(project.config(), device='cpu', show_progress=False)(inputs, **options)


@case('inference: folder without images', DataError, r'empty: the folder holds no images')
def _(tmp, project):
    (tmp / 'empty').mkdir()
    infer(project, str(tmp / 'empty'))


@case('inference: no such file', DataError, r'gone\.jpg: no such file or folder')
def _(tmp, project):
    infer(project, str(tmp / 'gone.jpg'))


@case('inference: pattern without match', DataError, r'\*\.jpg: no image or video matches the pattern')
def _(tmp, project):
    infer(project, str(tmp / '*.jpg'))


@case('inference: unreadable video', DataError, r'clip\.mp4: OpenCV cannot open this video')
def _(tmp, project):
    infer(project, str(write(tmp / 'clip.mp4', b'remember the milk')))


@case('inference: truncated image', DataError, r'a\.jpg: truncated JPEG')
def _(tmp, project):
    infer(project, str(write(tmp / 'a.jpg', jpeg()[:500])))


@case('inference: image without pixels', ModelInputError, r'image array must be .*Received: \(0, 64, 3\)')
def _(tmp, project):
    inference_detector(project.detector(), np.zeros((0, 64, 3), np.uint8))


@case('inference: image of floats', ModelInputError, r"must be uint8 \(0\.\.255\)\. Received: 'float64'")
def _(tmp, project):
    infer(project, np.zeros((32, 64, 3)))


@case('inference: another kind of input', ModelInputError, r"inputs must be paths, folders, .*Received: 'int'")
def _(tmp, project):
    infer(project, 3)


@case('inference: batch size 0', ConfigError, r'batch_size: must be an integer of at least 1\. Received: 0')
def _(tmp, project):
    infer(project, np.zeros((32, 64, 3), np.uint8), batch_size=0)


@case('inference: results cannot be written', DataError, r'notes\.txt')
def _(tmp, project):
    infer(
        project, np.zeros((32, 64, 3), np.uint8), out_dir=str(write(tmp / 'notes.txt', 'x') / 'out'), no_save_pred=False
    )


@case('batch without images', ModelInputError, r'inputs: at least one image is needed\. Received: \[\]')
def _(tmp, project):
    project.detector().data_preprocessor(dict(inputs=[], data_samples=[]))


@case('grey batch', ModelInputError, r'inputs: images must be \(3, h, w\)\. Received: \(1, 32, 32\)')
def _(tmp, project):
    project.detector().data_preprocessor(dict(inputs=[torch.zeros(1, 32, 32, dtype=torch.uint8)]))


# -- files that cannot be written ------------------------------------------------------------------


def full_disk(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@case(
    'full disk: checkpoint',
    CheckpointError,
    r'last\.pth: could not be written \(No space left on device\); an older file is left as it was; \d+ MiB free in ',
)
def _(tmp, project):
    save_atomically(dict(a=1), tmp / 'last.pth')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', full_disk)
        try:
            save_atomically(dict(a=2), tmp / 'last.pth')
        finally:
            assert torch.load(tmp / 'last.pth') == dict(a=1) and [path.name for path in tmp.iterdir()] == ['last.pth']


@case(
    'full disk: results',
    DataError,
    r'results\.json: could not be written \(No space left on device\); an older file is left as it was',
)
def _(tmp, project):
    write_json(tmp / 'results.json', [1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', full_disk)
        try:
            write_json(tmp / 'results.json', [2])
        finally:
            assert json.loads((tmp / 'results.json').read_text()) == [1] and len(list(tmp.iterdir())) == 1


@case('full disk: checkpoint of a training', CheckpointError, r'epoch_1\.pth: could not be written .*No space left')
def _(tmp, project):
    def train():
        project.train(tmp, changes={'train_cfg.max_epochs': 1, 'train_dataloader.dataset.times': 1})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, 'save', full_disk)
        try:
            train()
        finally:
            assert not list(tmp.glob('*.pth')) and not list(tmp.glob('.*.tmp'))


# -- the table is run ------------------------------------------------------------------------------


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(('situation', 'error', 'message'), TABLE)
def test_bad_input(tmp_path, project, situation, error, message):
    with fresh_instances(), pytest.raises(error) as raised:
        situation(tmp_path, project)
    assert re.search(message.replace(' ', r'\s+'), str(raised.value), re.DOTALL), (
        f'\n{raised.value}\ndoes not match\n{message}'
    )


def test_the_table_is_long_enough_and_speaks_of_user_errors():
    assert len(TABLE) >= 60
    assert len({param.id for param in TABLE}) == len(TABLE)
    assert all(issubclass(param.values[1], MMDetError) or param.values[1] is argparse.ArgumentError for param in TABLE)


def test_training_goes_on_past_broken_images_and_counts_them(tmp_path, project):
    images = [{**IMAGE, 'id': number, 'file_name': f'{number}.jpg'} for number in range(1, 6)]
    annotations = [{**BOX, 'id': number, 'image_id': number} for number in range(1, 6)]
    for number, content in {1: jpeg(), 2: jpeg()[:-100], 3: jpeg(), 4: b'', 5: None}.items():
        if content is not None:
            write(tmp_path / f'{number}.jpg', content)
    coco(tmp_path, images, annotations)
    changes = {
        'train_dataloader.dataset.times': 2,
        'train_dataloader.dataset.dataset.data_root': str(tmp_path),
        'train_dataloader.dataset.dataset.data_prefix': dict(img=''),
        'train_dataloader.dataset.dataset.metainfo': dict(classes=('car', 'van')),
        'train_cfg.max_epochs': 1,
    }
    with fresh_instances():
        project.train(tmp_path / 'work', changes=changes)
    (log,) = (tmp_path / 'work').glob('*/*.log')
    counted = re.search(r'Training skipped 3 broken images: (.*)', log.read_text())
    assert sorted(Path(path).name for path in counted[1].split(', ')) == ['2.jpg', '4.jpg', '5.jpg']


def test_results_pickle_runs_nothing(tmp_path):
    """Files that ``--out`` wrote are read without executing anything in them."""
    from mmdet.evaluation import read_results

    path = write(tmp_path / 'evil.pkl', pickle.dumps([Malicious(tmp_path / 'made')]))
    with pytest.raises(DataError, match=r'evil\.pkl: .*neither plain data, array nor tensor'):
        read_results(path)
    assert not (tmp_path / 'made').exists()
