"""The steps of transforms, heads and tools that subclasses written for mmdetection 3.x override are the ones that run."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmcv.transforms import TransformBroadcaster
from mmengine.structures import InstanceData
from torch import nn

from mmdet.datasets import transforms
from mmdet.errors import ConfigError
from mmdet.models.dense_heads import ATSSHead, FCOSHead, GFLHead
from mmdet.models.task_modules.prior_generators import AnchorGenerator, MlvlPointGenerator
from mmdet.registry import MODELS


def sample() -> dict:
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    boxes = np.array([[0, 0, 30, 20]], np.float32)
    instances = [dict(bbox=[0.0, 0.0, 30.0, 20.0], bbox_label=0, mask=[[0, 0, 30, 0, 30, 20]])]
    return dict(img=image, gt_bboxes=boxes, img_shape=(20, 30), ori_shape=(20, 30), instances=instances)


@pytest.mark.parametrize(
    ('base', 'options', 'steps'),
    [
        (
            'Resize',
            dict(scale=(15, 10)),
            '_resize_img _resize_bboxes _resize_masks _resize_seg _record_homography_matrix',
        ),
        ('RandomFlip', dict(prob=1.0), '_choose_direction _flip_on_direction _flip _record_homography_matrix'),
        ('RandomCrop', dict(crop_size=(10, 10)), '_get_crop_size _rand_offset _crop_data'),
        ('Pad', dict(size=(40, 40)), '_pad_img _pad_masks _pad_seg'),
        ('LoadAnnotations', dict(with_mask=True), '_load_bboxes _load_labels _load_masks'),
        ('Expand', dict(prob=1.0), '_random_prob _random_ratio _random_left_top'),
        ('YOLOXHSVRandomAug', dict(), '_get_hsv_gains'),
    ],
)
def test_steps_of_transforms(base, options, steps):
    """Each step of a subclass is called, and may call the one of the base."""
    called = []

    def step(name):
        def method(self, *args, **kwargs):
            called.append(name)
            return getattr(super(kind, self), name)(*args, **kwargs)

        return method

    kind = type('Mine', (getattr(transforms, base),), {name: step(name) for name in steps.split()})
    result, plain = kind(**options), getattr(transforms, base)(**options)
    np.random.seed(0)
    mine = result(sample())
    np.random.seed(0)
    theirs = plain(sample())
    assert set(called) == set(steps.split())
    assert set(mine) == set(theirs)
    assert np.array_equal(mine['img'], theirs['img'])


def test_a_resize_that_pads_by_its_own_steps():
    """As the letter box of YOLO plug-ins: image and boxes in steps of its own."""

    class Letterbox(transforms.Resize):
        def _resize_img(self, results):
            super()._resize_img(results)
            results['img'] = np.pad(results['img'], ((3, 2), (0, 0), (0, 0)))
            results['img_shape'] = results['img'].shape[:2]

        def _resize_bboxes(self, results):
            results['gt_bboxes'].rescale_(results['scale_factor'])
            results['gt_bboxes'].translate_((0, 3))

    results = Letterbox(scale=(15, 15), keep_ratio=True)(sample())
    assert (results['img_shape'], results['gt_bboxes'].tolist()) == ((15, 15), [[0, 3, 15, 13]])


def test_values_of_every_object_are_packed():
    class Pack(transforms.PackDetInputs):
        mapping_table = {**transforms.PackDetInputs.mapping_table, 'gt_angles': 'angles'}

    flags = np.array([False, True])
    results = dict(gt_bboxes=np.zeros((2, 4), np.float32), gt_angles=np.array([0.5, 0.25]), gt_ignore_flags=flags)
    packed = Pack()(dict(img=np.zeros((4, 4, 3), np.uint8), **results))['data_samples']
    assert packed.gt_instances.angles.tolist() == [0.5]
    assert packed.ignored_instances.angles.tolist() == [0.25]


@pytest.mark.parametrize(
    'step',
    [
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomCrop', crop_size=(7, 7)),
        dict(type='RandomResize', scale=(30, 20), ratio_range=(0.5, 2.0)),
        dict(type='RandomChoiceResize', scales=[(30, 20), (15, 10), (60, 40), (20, 30)]),
        dict(type='RandomAffine'),
        dict(type='Expand'),
        dict(type='MinIoURandomCrop'),
        dict(type='PhotoMetricDistortion'),
        dict(type='YOLOXHSVRandomAug'),
        dict(type='RandomErasing', n_patches=(1, 3), ratio=0.2),
    ],
    ids=lambda step: step['type'],
)
def test_two_images_of_a_sample_share_the_random_draws(step):
    """mmcv's ``TransformBroadcaster(share_random_params=True)``, which pipelines of two cameras use."""
    pair = TransformBroadcaster(
        [step], mapping=dict(img=['img', 'infrared']), auto_remap=True, share_random_params=True
    )
    np.random.seed(3)
    for _ in range(8):
        image = np.random.randint(0, 255, (20, 30, 3), np.uint8)
        results = pair(dict(img=image, infrared=image.copy()))
        assert np.array_equal(results['img'], results['infrared'])


# ------------------------------------------------------------------------------------------------ losses of other code


class PlainIoULoss(nn.Module):
    """Knows weights and ``avg_factor``, as mmdetection's heads hand them over, and nothing else."""

    def forward(self, pred, target, weight=None, avg_factor=None):
        top, bottom = torch.max(pred[:, :2], target[:, :2]), torch.min(pred[:, 2:], target[:, 2:])
        inter = (bottom - top).clamp(min=0).prod(1)
        union = (pred[:, 2:] - pred[:, :2]).prod(1) + (target[:, 2:] - target[:, :2]).prod(1) - inter
        return ((1 - inter / union.clamp(min=1e-6)) * weight).sum() / avg_factor


class PlainDistributionLoss(nn.Module):
    def forward(self, pred, label, weight=None, avg_factor=None):
        low = label.long()
        parts = [nn.functional.cross_entropy(pred, low + k, reduction='none') for k in (0, 1)]
        return ((parts[0] * (low + 1 - label) + parts[1] * (label - low)) * weight).sum() / avg_factor


@pytest.fixture
def plain_losses():
    for kind in (PlainIoULoss, PlainDistributionLoss):
        MODELS.register_module(module=kind)
    yield
    for kind in (PlainIoULoss, PlainDistributionLoss):
        MODELS.module_dict.pop(kind.__name__)


# The losses of mmdetection 3.3.0 with these two loss modules, weights from the generator of seed 1.
PLAIN = dict(loss_bbox=dict(type='PlainIoULoss'))
EXPECTED = [
    (ATSSHead, PLAIN, 0, dict(loss_cls=698.0332, loss_bbox=0.0, loss_centerness=0.0)),
    (ATSSHead, PLAIN, 2, dict(loss_cls=46.453, loss_bbox=0.49876, loss_centerness=0.69141)),
    (GFLHead, PLAIN, 2, dict(loss_cls=61.93458, loss_bbox=0.75886, loss_dfl=0.70831)),
    (GFLHead, dict(PLAIN, loss_dfl=dict(type='PlainDistributionLoss')), 0, dict(loss_cls=930.66791, loss_bbox=0.0, loss_dfl=0.0)),
    (GFLHead, dict(PLAIN, loss_dfl=dict(type='PlainDistributionLoss')), 2, dict(loss_cls=61.93458, loss_bbox=0.75886, loss_dfl=2.83322)),
    (FCOSHead, PLAIN, 2, dict(loss_cls=5.88303, loss_bbox=0.99907, loss_centerness=0.6937)),
]  # fmt: skip


@pytest.mark.parametrize(('kind', 'losses', 'count', 'expected'), EXPECTED)
def test_losses_that_know_no_reduction(plain_losses, kind, losses, count, expected):
    anchors = dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]
    )
    common = dict(num_classes=4, in_channels=8, stacked_convs=1, feat_channels=8, norm_cfg=None, **losses)
    assigner = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1)
    if kind is not FCOSHead:
        common.update(anchor_generator=anchors, train_cfg=assigner)
    if kind is ATSSHead:
        coder = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
        common.update(bbox_coder=coder, loss_cls=dict(type='FocalLoss', use_sigmoid=True))
    head = kind(**common)
    generator = torch.Generator().manual_seed(1)
    for parameter in head.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator) * 0.05 - 0.025
    maps = tuple(torch.rand(1, 8, 256 // s, 256 // s, generator=generator) for s in (8, 16, 32, 64, 128))
    boxes = torch.tensor([[23.6667, 23.8757, 238.6326, 151.8874], [100, 100, 140, 150]])[:count]
    objects = InstanceData(bboxes=boxes, labels=torch.tensor([2, 1])[:count])
    found = head.loss_by_feat(*head(maps), [objects], [dict(img_shape=(256, 256), pad_shape=(256, 256))])
    sums = {name: float((sum(value) if isinstance(value, list) else value).detach()) for name, value in found.items()}
    assert sums == pytest.approx(expected, rel=1e-4)
    sum(sum(value) if isinstance(value, list) else value for value in found.values()).backward()


# -------------------------------------------------------------------------------------------------------------- others


@pytest.mark.parametrize('prior_generator', [AnchorGenerator([8], [1.0], [8]), MlvlPointGenerator([8])])
def test_grids_for_subclasses(prior_generator):
    x, y = torch.arange(2), torch.tensor([5, 6, 7])
    assert [part.tolist() for part in prior_generator._meshgrid(x, y)] == [[0, 1, 0, 1, 0, 1], [5, 5, 6, 6, 7, 7]]
    assert prior_generator._meshgrid(x, y, row_major=False)[0].tolist() == [5, 5, 6, 6, 7, 7]


@pytest.mark.parametrize(
    ('model', 'dataset', 'text'),
    [
        (nn.Identity(), SimpleNamespace(update_skip_type_keys=print), 'bbox_head, which Identity does not have'),
        (nn.ModuleDict(dict(bbox_head=nn.Identity())), [], 'MultiImageMixDataset'),
    ],
)
def test_mode_switch_is_checked_before_training(model, dataset, text):
    from mmdet.engine.hooks import YOLOXModeSwitchHook

    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    with pytest.raises(ConfigError, match=text):
        YOLOXModeSwitchHook().before_train(runner)
