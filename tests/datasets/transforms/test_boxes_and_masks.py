"""Both kinds of boxes and the masks take the same way through every transform that moves them."""

import random

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform

from mmdet.core.boxes import BaseBoxes, HorizontalBoxes, bbox_project
from mmdet.core.masks import BitmapMasks, PolygonMasks
from mmdet.datasets import BaseDetDataset
from mmdet.datasets.transforms.base import GeometricTransform
from mmdet.errors import ConfigError, DataError
from mmdet.registry import BOX_TYPES, TRANSFORMS

from .helpers import make_sample

BOXES = [[2, 1, 12, 8], [15, 3, 20, 9], [0, 0, 20, 10]]
TRANSFORMS_OF_BOXES = [
    dict(type='Resize', scale=(40, 30)),
    dict(type='Resize', scale=(40, 40), keep_ratio=True),
    dict(type='FixShapeResize', width=30, height=40, keep_ratio=True),
    dict(type='RandomResize', scale=(40, 20), ratio_range=(1, 2), keep_ratio=True),
    dict(type='RandomChoiceResize', scales=[(40, 20), (60, 30)]),
    dict(type='RandomFlip', prob=1.0),
    dict(type='RandomFlip', prob=1.0, direction='vertical'),
    dict(type='RandomFlip', prob=1.0, direction='diagonal'),
    dict(type='RandomCrop', crop_size=(12, 7)),
    dict(type='MinIoURandomCrop', min_ious=(0.1,)),
    dict(type='Expand', prob=1.0),
    dict(type='Pad', size_divisor=16),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(6, 6)),
]


def build(kind, **arguments):
    return TRANSFORMS.build(dict(type=kind, **arguments))


def apply(config, sample, seed=0):
    np.random.seed(seed)
    random.seed(seed)
    return TRANSFORMS.build(config)(sample)


def sample_of(kind, masks=None, boxes=BOXES):
    sample = make_sample(20, 10, boxes, ignored=[1] if len(boxes) > 1 else [])
    objects = HorizontalBoxes(sample['gt_bboxes'])
    if kind is HorizontalBoxes:
        sample['gt_bboxes'] = objects
    if masks is BitmapMasks:
        sample['gt_masks'] = objects.create_masks((10, 20))
    elif masks is PolygonMasks:
        corners = objects.tensor[:, [0, 1, 2, 1, 2, 3, 0, 3]].double().numpy()
        sample['gt_masks'] = PolygonMasks([[row] for row in corners], 10, 20)
    return sample


@pytest.mark.parametrize('boxes', [[], BOXES])
@pytest.mark.parametrize('config', TRANSFORMS_OF_BOXES, ids=lambda config: config['type'])
def test_the_kind_that_comes_in_goes_out_with_the_same_numbers(config, boxes):
    if config['type'] == 'RandomCrop':
        config = dict(config, allow_negative_crop=True)
    array, objects = (apply(config, sample_of(kind, boxes=boxes)) for kind in (np.ndarray, HorizontalBoxes))
    assert type(array['gt_bboxes']) is np.ndarray and type(objects['gt_bboxes']) is HorizontalBoxes
    assert np.array_equal(array['gt_bboxes'], objects['gt_bboxes'].numpy()) and array['gt_bboxes'].dtype == np.float32
    for key in ('img', 'gt_bboxes_labels', 'gt_ignore_flags'):
        assert np.array_equal(array[key], objects[key]), key


@pytest.mark.parametrize('kind', [BitmapMasks, PolygonMasks])
@pytest.mark.parametrize('config', TRANSFORMS_OF_BOXES, ids=lambda config: config['type'])
def test_masks_of_boxes_stay_the_masks_of_their_boxes(config, kind):
    for seed in range(3):
        results = apply(config, sample_of(HorizontalBoxes, kind), seed)
        masks, tolerance = results['gt_masks'], 1 if kind is BitmapMasks else 1e-4
        assert type(masks) is kind and (masks.height, masks.width) == results['img'].shape[:2] == results['img_shape']
        assert len(masks) == len(results['gt_bboxes']) > 0
        np.testing.assert_allclose(masks.bounds(), results['gt_bboxes'].numpy(), atol=tolerance)


@pytest.mark.parametrize('config', TRANSFORMS_OF_BOXES[:12], ids=lambda config: config['type'])
def test_the_homography_maps_the_boxes(config):
    config = {**config, 'bbox_clip_border': False} if 'Crop' in config['type'] else config
    before = np.array([[0, 0, 20, 10]], np.float32)
    results = apply(config, sample_of(np.ndarray, boxes=before))
    matrix = results['homography_matrix']
    assert matrix.dtype == np.float32 and matrix.shape == (3, 3)
    np.testing.assert_allclose(bbox_project(before, matrix), results['gt_bboxes'], atol=1e-4)


def test_homographies_are_multiplied_in_their_order():
    results = apply(
        dict(type='RandomFlip', prob=1.0), apply(dict(type='Resize', scale=(40, 20)), sample_of(np.ndarray))
    )
    assert results['homography_matrix'].tolist() == [[-2, 0, 40], [0, 2, 0], [0, 0, 1]]
    assert 'homography_matrix' not in apply(dict(type='RandomFlip', prob=0.0), sample_of(np.ndarray))


def test_boxes_are_recomputed_from_what_is_left_of_the_masks(monkeypatch):
    """A triangle with its tip at the left: the window cuts the tip off, and the box of the rest is lower."""
    triangle = PolygonMasks([[np.array([0.0, 5, 10, 0, 10, 10])]], 10, 20)
    monkeypatch.setattr(np.random, 'randint', lambda high: high - 1)
    for masks, expected in ((triangle, [[0, 0, 5, 10]]), (triangle.to_bitmap(), [[0, 0, 5, 10]])):
        sample = dict(make_sample(20, 10, [[0, 0, 10, 10]]), gt_masks=masks)
        assert (
            apply(dict(type='RandomCrop', crop_size=(15, 10), recompute_bbox=True), sample)['gt_bboxes'].tolist()
            == expected
        )
    left = dict(type='RandomCrop', crop_size=(5, 10))
    monkeypatch.setattr(np.random, 'randint', lambda high: 0)
    sample = dict(make_sample(20, 10, [[0, 0, 10, 10]]), gt_masks=triangle)
    assert apply(left, dict(sample))['gt_bboxes'].tolist() == [[0, 0, 5, 10]]
    assert apply(dict(left, recompute_bbox=True), dict(sample))['gt_bboxes'].tolist() == [[0, 2.5, 5, 7.5]]
    del sample['gt_masks']
    assert apply(dict(left, recompute_bbox=True), sample)['gt_bboxes'].tolist() == [[0, 0, 5, 10]]


def test_an_object_whose_mask_lies_outside_gets_an_empty_box():
    masks = np.zeros((1, 10, 20), np.uint8)
    masks[0, 0, 0] = 1
    sample = dict(sample_of(HorizontalBoxes, boxes=[[0, 0, 20, 10]]), gt_masks=BitmapMasks(masks, 10, 20))
    config = dict(type='RandomCrop', crop_size=(5, 5), recompute_bbox=True)
    results = next(
        r for r in (apply(config, {**sample, 'gt_bboxes': sample['gt_bboxes'].clone()}, s) for s in range(9))
    )
    assert results['gt_masks'].areas.tolist() == [0] and results['gt_bboxes'].tensor.tolist() == [[0, 0, 0, 0]]
    assert apply(dict(type='FilterAnnotations'), results) is None


@pytest.mark.parametrize(
    ('arguments', 'kept'),
    [
        (dict(by_mask=True, min_gt_mask_area=31), [0, 2]),
        (dict(by_mask=True, min_gt_mask_area=30), [0, 1, 2]),
        (dict(by_box=False, by_mask=True, min_gt_mask_area=200), [2]),
        (dict(by_mask=True, min_gt_mask_area=1, min_gt_bbox_wh=(15, 1)), [2]),
        (dict(by_box=False, by_mask=True, min_gt_mask_area=201), None),
    ],
)
def test_filter_by_mask(arguments, kept):
    results = apply(dict(type='FilterAnnotations', **arguments), sample_of(np.ndarray, BitmapMasks))
    assert (results and results['gt_bboxes_labels'].tolist()) == kept
    assert results is None or len(results['gt_masks']) == len(results['gt_bboxes']) == len(kept)
    with pytest.raises(DataError, match='by_mask needs masks'):
        apply(dict(type='FilterAnnotations', **arguments), sample_of(np.ndarray))


def test_pad_value_of_masks():
    config = dict(type='Pad', size=(24, 10), pad_val=dict(img=7, masks=1))
    results = apply(config, sample_of(np.ndarray, BitmapMasks, boxes=[[0, 0, 1, 1]]))
    assert results['gt_masks'].areas.tolist() == [41] and (results['img'][:, 20:] == 7).all()


def test_other_transforms_refuse_masks():
    for kind in (BitmapMasks, PolygonMasks):
        with pytest.raises(DataError, match='gt_masks: Albu changes boxes only'):
            apply(dict(type='Albu', transforms=[]), sample_of(HorizontalBoxes, kind))


def test_masks_that_stayed_behind_are_refused():
    """``CenterCrop`` is mmcv's; it knows no masks."""
    sample = apply(dict(type='CenterCrop', crop_size=(10, 8)), sample_of(np.ndarray, BitmapMasks))
    with pytest.raises(DataError, match=r'gt_masks: the masks are of another size than the image, \(8, 10\)'):
        build('PackDetInputs')(sample)


def test_albu_keeps_the_kind():
    results = apply(dict(type='Albu', transforms=[dict(type='HorizontalFlip', p=1.0)]), sample_of(HorizontalBoxes))
    assert type(results['gt_bboxes']) is HorizontalBoxes
    np.testing.assert_allclose(results['gt_bboxes'].numpy(), [[8, 1, 18, 8], [0, 3, 5, 9], [0, 0, 20, 10]], atol=1e-4)


@pytest.mark.parametrize('masks', [None, BitmapMasks, PolygonMasks])
@pytest.mark.parametrize('boxes', [[], BOXES])
def test_pack(masks, boxes):
    sample = sample_of(HorizontalBoxes, masks, boxes)
    packed = build('PackDetInputs')(sample)['data_samples']
    counted, ignored = packed.gt_instances, packed.ignored_instances
    assert type(counted.bboxes) is type(ignored.bboxes) is HorizontalBoxes
    assert counted.bboxes.tensor.tolist() == [row for row in boxes if row != BOXES[1]]
    assert ignored.bboxes.tensor.tolist() == [row for row in boxes if row == BOXES[1]]
    assert ('masks' in counted) == (masks is not None)
    if masks is not None:
        assert (
            type(counted.masks) is masks and len(counted.masks) == len(counted) and len(ignored.masks) == len(ignored)
        )
        np.testing.assert_array_equal(counted.masks.bounds(), counted.bboxes.numpy())
    packed.gt_instances.bboxes.tensor.fill_(-1)
    assert (sample['gt_bboxes'].tensor >= 0).all()


def test_masks_are_counted():
    sample = sample_of(np.ndarray, BitmapMasks)
    sample['gt_masks'] = sample['gt_masks'][:1]
    with pytest.raises(DataError, match="differ in length.*'gt_masks': 1"):
        build('PackDetInputs')(sample)


def instance(label=0, **more):
    return dict(bbox=[1, 1, 4, 4], bbox_label=label, ignore_flag=0, **more)


SQUARE, LINE, RUNS = [[1, 1, 4, 1, 4, 4, 1, 4]], [[1, 1, 4, 1]], dict(size=[10, 20], counts=[5, 10, 185])


@pytest.mark.parametrize('poly2mask', [True, False])
def test_load_masks(poly2mask):
    load = build('LoadAnnotations', with_mask=True, poly2mask=poly2mask)
    assert len(load(dict(ori_shape=(10, 20), instances=[]))['gt_masks']) == 0
    objects = [instance(mask=SQUARE), instance(mask=LINE), instance(mask=RUNS), instance(mask=SQUARE + LINE)]
    results = load(dict(height=10, width=20, instances=objects))
    assert type(results['gt_masks']) is (BitmapMasks if poly2mask else PolygonMasks)
    assert results['gt_masks'].areas.tolist() == [9, 0, 10 if poly2mask else 0, 9]
    assert results['gt_ignore_flags'].tolist() == [False, True, not poly2mask, False]
    assert (results['gt_masks'].height, results['gt_masks'].width) == (10, 20)
    if poly2mask:
        assert results['gt_masks'].masks.dtype == np.uint8


@pytest.mark.parametrize(
    'mask', [None, 3, 'x', [['a'] * 6], dict(size=[10, 21], counts=[210]), dict(size=[10, 20], counts=[5]), {}]
)
def test_broken_masks_are_named(mask):
    with pytest.raises(
        DataError, match=r'7\.jpg: object 1: mask: must be a list of polygons, or run lengths'
    ) as raised:
        build('LoadAnnotations', with_mask=True)(
            dict(img_path='7.jpg', height=10, width=20, instances=[instance(mask=SQUARE), instance(mask=mask)])
        )
    assert str(raised.value).endswith(f'Received: {mask!r}')


@pytest.mark.parametrize(
    ('box_type', 'kind'),
    [('hbox', HorizontalBoxes), ('HBox', HorizontalBoxes), (None, np.ndarray), ('auto', np.ndarray)],
)
def test_box_type(box_type, kind):
    load = build('LoadAnnotations', box_type=box_type)
    for objects in ([], [instance()]):
        boxes = load(dict(instances=objects))['gt_bboxes']
        assert type(boxes) is kind and boxes.shape == (len(objects), 4)
    first, second = load(dict(instances=[instance()]))['gt_bboxes'], load(dict(instances=[instance()]))['gt_bboxes']
    first[0:1] = first[0:1] if kind is HorizontalBoxes else 0
    assert np.asarray(second.tensor if kind is HorizontalBoxes else second).tolist() == [[1, 1, 4, 4]]


def test_unknown_box_type():
    with pytest.raises(ConfigError, match='box_type'):
        build('LoadAnnotations', box_type='rbox')


class Plugin(BaseTransform):
    """A transform as it is written for mmdetection, without the decorator."""

    def transform(self, results):
        results['gt_bboxes'].translate_((1, 1))
        return results


class Own(GeometricTransform):
    """A transform as it is written for this package."""

    def transform(self, results):
        results['gt_bboxes'] = results['gt_bboxes'] + np.float32(1)
        return results


class PluginOfOurs(TRANSFORMS.get('Pad')):
    def transform(self, results):
        results = super().transform(results)
        results['gt_bboxes'].translate_((1, 1))
        return results


@pytest.mark.parametrize(
    ('transform', 'kind'),
    [
        (Plugin(), HorizontalBoxes),
        (PluginOfOurs(size_divisor=1), HorizontalBoxes),
        (Own(), torch.Tensor),
        (None, torch.Tensor),
    ],
)
@pytest.mark.parametrize('nested', [False, True])
def test_transforms_written_for_mmdetection_get_objects_by_default(transform, kind, nested):
    load, pack = dict(type='LoadAnnotations', with_bbox=True), dict(type='PackDetInputs')
    steps = [step for step in (load, dict(type='RandomFlip', prob=0.5), transform) if step is not None]
    steps = [dict(type='RandomApply', transforms=steps, prob=1.0), pack] if nested else [*steps, pack]
    dataset = BaseDetDataset(pipeline=steps, lazy_init=True)
    np.random.seed(3)  # no flip
    image = make_sample(20, 10)['img']
    packed = dataset.pipeline(dict(img=image, img_shape=(10, 20), instances=[instance()]))['data_samples']
    boxes = packed.gt_instances.bboxes
    assert type(boxes) is kind
    moved = 0 if transform is None else 1
    assert (boxes.tensor if kind is HorizontalBoxes else boxes).tolist() == [
        [1 + moved, 1 + moved, 4 + moved, 4 + moved]
    ]


def test_a_written_box_type_is_kept():
    dataset = BaseDetDataset(pipeline=[dict(type='LoadAnnotations', box_type=None), Plugin()], lazy_init=True)
    with pytest.raises(AttributeError, match='translate_'):
        dataset.pipeline(dict(instances=[instance()]))


def test_a_kind_of_five_numbers(monkeypatch):
    """A kind that a plug-in registers is loaded with as many numbers as it has, and moved by its own methods."""

    class Scored(HorizontalBoxes):
        box_dim = 5

        def rescale_(self, scale_factor):
            self.tensor = self.tensor * self.tensor.new_tensor([*scale_factor, *scale_factor, 1])

        def clip_(self, img_shape):
            raise AssertionError('not asked for')

    monkeypatch.setitem(BOX_TYPES, 'scored', Scored)
    load = build('LoadAnnotations', box_type='scored')
    sample = dict(img=make_sample(20, 10)['img'], instances=[dict(instance(), bbox=[1, 2, 3, 4, 0.5])])
    results = apply(dict(type='Resize', scale=(40, 30), clip_object_border=False), load(sample))
    assert type(results['gt_bboxes']) is Scored and results['gt_bboxes'].tensor.tolist() == [[2, 6, 6, 12, 0.5]]
    assert load(dict(instances=[]))['gt_bboxes'].shape == (0, 5)
    with pytest.raises(DataError, match='must be 5 finite numbers'):
        load(dict(instances=[instance()]))
    with pytest.raises(DataError, match='axis-aligned'):
        apply(dict(type='Albu', transforms=[]), dict(results, gt_bboxes=_NoBox([[0.0, 0]])))


class _NoBox(BaseBoxes):
    box_dim = 2
    centers = areas = widths = heights = None
    flip_ = translate_ = clip_ = rotate_ = project_ = rescale_ = resize_ = None
    is_inside = find_inside_points = overlaps = from_instance_masks = None
