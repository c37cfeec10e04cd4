"""The exported composite detectors find what the toolbox's find, given the same candidates of their networks."""

import math

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import nn

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.detectors import SlicedDet, UFPMPDet
from mmdet.models.detectors.stage import resize_image as resize_tensor
from mmdet_runtime import composite
from mmdet_runtime.errors import ConfigError, ModelInputError
from mmdet_runtime.resizing import resize_image
from mmdet_runtime.stage import Mosaic, Normalise, Stage
from mmdet_runtime.suppression import Detections

PIXELS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
TEST_CFG = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=60, min_bbox_size=0)


def candidates(size_hw, count=150):
    """Candidates of a view of this size, partly outside of it: (N, 4), (N,), (N,)."""
    height, width = map(int, size_hw)
    rng = np.random.default_rng([height, width])
    corner, sides = rng.uniform(-4, (width, height), (count, 2)), rng.gamma(2, 6, (count, 2))
    boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
    scores = np.where(rng.random(count) < 0.3, 0, rng.integers(1, 40, count) / 40)  # many equal ones
    return boxes, scores.astype(np.float32), rng.integers(0, 3, count)


class Detector(nn.Module):
    """A detector of the toolbox with these candidates; ``inputs`` keeps what it saw."""

    num_classes, class_agnostic = 3, False

    def __init__(self, clips_boxes=True, none=False, end_to_end=False):
        super().__init__()
        self.end_to_end = end_to_end
        self.data_preprocessor = DetDataPreprocessor(pad_size_divisor=32, pad_value=0.5, **PIXELS)
        self.clips_boxes, self.none, self.inputs = clips_boxes, none, []
        self.weight = nn.Parameter(torch.zeros(1))
        self.detection_cfg = ConfigDict(TEST_CFG)

    def network(self, batch, sizes_hw):
        self.inputs.append(np.asarray(batch).copy())
        found = [candidates(size_hw) for size_hw in sizes_hw]
        boxes, scores, labels = (np.stack(parts) for parts in zip(*found))
        if self.clips_boxes:
            boxes = np.clip(boxes, 0, np.tile(np.asarray(sizes_hw)[:, ::-1], 2)[:, None]).astype(np.float32)
        return boxes, scores * (not self.none), labels

    def candidates(self, inputs, metas, cfg):
        results = []
        for meta, *parts in zip(metas, *self.network(inputs, [meta['img_shape'] for meta in metas])):
            boxes, scores, labels = map(torch.from_numpy, parts)
            boxes = boxes / torch.tensor(meta['scale_factor'] * 2)
            kept = (scores > 0) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
            results.append(InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=labels[kept]))
        return results


def stage(detector, scale, test_cfg=None, **options):
    """The exported form of ``DetectionStage(detector, scale, ...)``."""
    scales = scale if isinstance(scale, list) else [scale]
    options = {'exact_resize': True, **{key: value for key, value in options.items() if key != 'classes'}}
    return Stage(
        detector.network, scales=scales, pad_divisor=32, pad_value=0.5, test_cfg={**TEST_CFG, **(test_cfg or {})},
        clips_boxes=detector.clips_boxes, end_to_end=detector.end_to_end, **PIXELS, **{'flip': True, **options},
    )  # fmt: skip


@pytest.fixture(scope='module')
def images():
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), size) for size in ((160, 90), (97, 120))]


def tensors(images):
    return [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]


def compare(found, expected, least=1):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        assert len(ours) == len(theirs) >= least
        np.testing.assert_allclose(ours.bboxes, theirs.bboxes.numpy(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(ours.scores, theirs.scores.numpy(), rtol=0, atol=1e-6)
        assert ours.labels.tolist() == theirs.labels.tolist()
        assert (ours.bboxes.dtype, ours.scores.dtype, ours.labels.dtype) == (np.float32, np.float32, np.int64)


def compare_inputs(ours, theirs):
    """The networks saw the same to a fiftieth of a grey level, but for values on a half, which may be rounded either way (by integers: 13 %)."""
    assert len(ours.inputs) == len(theirs.inputs) > 0
    for a, b in zip(ours.inputs, theirs.inputs):
        differences = 57 * np.abs(a - b)
        assert differences.max() < 1.02 and (differences > 0.02).mean() < 0.02


SETTINGS = {
    'the defaults': {},
    'coarse boxes, too': dict(coarse_weight=0.5, nms=dict(type='nms', iou_threshold=0.4), max_per_img=-1),
    'large objects of the coarse stage': dict(coarse_area=300.0),
    'regions by score': dict(ufp=dict(min_score=0.7, score_rule='sum', whole_zoom=0.5)),
    'bounded and exact': dict(ufp=dict(mode='exact', max_side=200, packing='dense', scale=2.0), min_overlap=0.5),
    'soft': dict(nms=dict(type='soft_nms', iou_threshold=0.4, min_score=0.05), max_per_img=20),
    'only some': dict(look_below=4.0, look_score=0.9, max_per_img=7),
    'none': dict(look_below=0, coarse_weight=1.0),
}
STAGES = {
    'plain': (dict(scale=(160, 96), flip=False), dict(scale=(128, 128), flip=False)),
    'flipped, in batches of one': (dict(scale=(100, 80), batch_size=1), dict(scale=(256, 64), max_zoom=1.0)),
    'scales': (dict(scale=[(160, 96), (64, 64)]), dict(scale=[(128, 128), (200, 90)], flip=False)),
}


@pytest.mark.parametrize('settings', SETTINGS)
@pytest.mark.parametrize('stages', STAGES)
def test_ufpmp_det(images, settings, stages):
    coarse, fine = STAGES[stages]
    parts, copies = [Detector(), Detector()], [Detector(), Detector()]
    model = UFPMPDet(
        coarse=dict(detector=parts[0], **coarse), fine=dict(detector=parts[1], **fine), **SETTINGS[settings]
    )
    runtime = composite.UFPMPDet(stage(copies[0], **coarse), stage(copies[1], **fine), **SETTINGS[settings])
    expected = model.trace(tensors(images))
    found = runtime.trace(images)
    compare([steps.coarse for steps in found], [steps.coarse for steps in expected])
    compare(
        [steps.merged for steps in found],
        [steps.merged for steps in expected],
        least=0 if settings == 'only some' else 1,
    )
    assert [steps.fine is None for steps in found] == [steps.fine is None for steps in expected]
    if stages == 'plain':  # flipped views have other places in the batches
        compare_inputs(copies[0], parts[0])
        if settings not in ('none', 'only some'):
            compare_inputs(copies[1], parts[1])


@pytest.mark.parametrize('settings', ['the defaults', 'coarse boxes, too', 'soft'])
@pytest.mark.parametrize('end_to_end', [(True, False), (False, True), (True, True)])
def test_stages_that_need_no_nms(images, end_to_end, settings):
    """Every mixture of kinds; the coarse stage has one view, the fine one four."""
    parts, copies = ([Detector(end_to_end=each) for each in end_to_end] for _ in range(2))
    coarse = dict(scale=(100, 80), flip=False, test_cfg=dict(nms=None if end_to_end[0] else dict(iou_threshold=0.1)))
    fine = dict(scale=[(128, 128), (90, 90)], test_cfg=dict(nms=dict(iou_threshold=0.3), max_per_img=50))
    options = dict(SETTINGS[settings])
    model = UFPMPDet(coarse=dict(detector=parts[0], **coarse), fine=dict(detector=parts[1], **fine), **options)
    runtime = composite.UFPMPDet(stage(copies[0], **coarse), stage(copies[1], **fine), **options)
    expected, found = model.trace(tensors(images)), runtime.trace(images)
    compare([steps.coarse for steps in found], [steps.coarse for steps in expected])
    compare([steps.merged for steps in found], [steps.merged for steps in expected])
    # Of one view without NMS the best 60 are kept; the NMS leaves fewer or others of the 150.
    for steps, image in zip(expected, images):
        (size_hw,) = model.coarse.passes(image.shape[:2])
        (given,) = parts[0].candidates(None, [dict(img_shape=size_hw, scale_factor=(1.0, 1.0))], None)
        best = given.scores.sort(descending=True).values[:60]
        assert steps.coarse.scores.equal(best) is end_to_end[0]


@pytest.mark.parametrize('end_to_end', [False, True])
@pytest.mark.parametrize('on_empty', ['skip', 'whole'])
def test_nothing_found(images, on_empty, end_to_end):
    options = dict(scale=(96, 96), flip=False)
    parts = [Detector(none=True, end_to_end=end_to_end), Detector(end_to_end=end_to_end)]
    model = UFPMPDet(*(dict(detector=part, **options) for part in parts), on_empty=on_empty)
    runtime = composite.UFPMPDet(*(stage(part, **options) for part in parts), on_empty=on_empty)
    compare(runtime.detect(images), model.detect(tensors(images)), least=5 * (on_empty == 'whole'))
    assert runtime.detect([]) == []


def test_classes_of_the_stages(images):
    options = dict(scale=(96, 96), flip=False)
    parts, names = [Detector(clips_boxes=False), Detector()], dict(coarse=('b', 'x', 'a'), fine=('a', 'b', 'c'))
    stages = {name: dict(detector=part, classes=names[name], **options) for name, part in zip(names, parts)}
    model = UFPMPDet(**stages, coarse_weight=1.0)
    runtime = composite.UFPMPDet(*(stage(part, **options) for part in parts), coarse_weight=1.0, fine_labels=(1, -1, 0))
    compare(runtime.detect(images), model.detect(tensors(images)))


@pytest.mark.parametrize('settings', [
    dict(tile_wh=(64, 48), overlap=0.25), dict(tile_wh=None, max_per_img=9), dict(tile_wh=(500, 64), overlap=0.0, nms=dict(iou_thr=0.3)),
])  # fmt: skip
@pytest.mark.parametrize('whole', [None, dict(scale=(120, 120), flip=False)])
@pytest.mark.parametrize('end_to_end', [False, True])
def test_sliced_det(images, settings, whole, end_to_end):
    parts = [Detector(end_to_end=end_to_end) for _ in range(2)]
    options = dict(scale=(96, 96), batch_size=2, flip=False)
    model = SlicedDet(dict(detector=parts[0], **options), whole=whole, **settings)
    runtime = composite.SlicedDet(
        stage(parts[1], **options), whole and stage(parts[1], **{**options, **whole}), **settings
    )
    compare(runtime.detect(images), model.detect(tensors(images)))
    compare_inputs(parts[1], parts[0])


@pytest.mark.parametrize(
    'size_hw', [(45, 80), (60, 107), (180, 320), (33, 41), (90, 160), (107, 190), (135, 240), (200, 301)]
)
def test_a_stage_resizes_as_the_toolbox_does(images, size_hw):
    image = images[0]
    ours = resize_image(image, size_hw, exact=True)
    assert ours.dtype == np.uint8 and ours.shape == (*size_hw, 3)
    threads = torch.get_num_threads()
    for count in (1, 2):  # torch's kernel for one thread adds in another order
        torch.set_num_threads(count)
        (theirs,) = (resize_tensor(one, size_hw).permute(1, 2, 0).numpy() for one in tensors([image]))
        # Where the sides are short, several threads take the kernel of one.
        assert np.abs(ours.astype(int) - theirs).max() <= 1 and (ours != theirs).mean() < 0.01
        if count == 2 and sum(size_hw) > 256:
            np.testing.assert_array_equal(ours, theirs)
    torch.set_num_threads(threads)
    as_the_transform = cv2.resize(image, size_hw[::-1])
    np.testing.assert_array_equal(resize_image(image, size_hw), as_the_transform)
    if size_hw != image.shape[:2]:
        assert (as_the_transform != theirs).mean() > 0.02


def test_rounded_and_direct_mosaics(images):
    """Rounding costs a grey level; tiles that are drawn directly lie on whole pixels of the input, and boxes are mapped by that."""
    parts = {name: Detector() for name in composite.MOSAICS}
    shown = {}
    for name, fine in parts.items():
        model = composite.UFPMPDet(stage(Detector(), (160, 96)), stage(fine, (128, 128), flip=False), mosaic=name)
        shown[name] = model.trace(images)
    for rounded, exact in zip(parts['rounded'].inputs, parts['exact'].inputs, strict=True):
        assert 0 < np.abs(rounded - exact).max() < 1.5 / 57
    steps = shown['direct'][0]
    assert len(steps.merged) > 5 and steps.mosaic.shape[:2] != (128, 128)
    size_hw = model.fine.input_size_hw(steps.mosaic.shape[:2], (128, 128))
    tiles = steps.mosaic.tiles(size_hw)
    solid = np.flatnonzero((tiles[:, 2:] > tiles[:, :2]).all(axis=1))
    factor = np.tile(np.divide(steps.mosaic.shape[1::-1], size_hw[::-1]), 2)
    mapped, index, _ = steps.mosaic.to_image(tiles[solid] * factor, size_hw, 0.9)
    whole = np.floor(steps.mosaic.regions)
    sources = np.concatenate([whole[:, :2], whole[:, :2] + whole[:, 2:4]], axis=1)
    assert sorted(index.tolist()) == list(range(len(solid)))
    np.testing.assert_allclose(mapped[np.argsort(index)], sources[solid], atol=1e-9)
    first = solid[0]
    (x1, y1, x2, y2), (left, top, right, bottom) = sources[first].astype(int), tiles[first]
    tile = cv2.resize(images[0][y1:y2, x1:x2], (right - left, bottom - top))
    seen = parts['direct'].inputs[0][0, :, top:bottom, left:right].transpose(1, 2, 0)
    np.testing.assert_allclose(seen * PIXELS['std'] + PIXELS['mean'], tile[..., ::-1], atol=1e-3)


def test_normalise_is_the_same_for_bytes_and_floats():
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    for options in (
        PIXELS,
        dict(mean=[0.0], std=[255.0], bgr_to_rgb=False),
        dict(mean=None, std=None, bgr_to_rgb=False),
    ):
        normalise, planes = Normalise(**options), np.empty((2, 3, 16, 16), np.float32)
        normalise(image, planes[0])
        normalise(image.astype(np.float32), planes[1])
        expected = (image[..., ::-1] - np.float32(options['mean'] or 0)) / np.float32(options['std'] or 1)
        np.testing.assert_array_equal(planes[0], planes[1])
        np.testing.assert_array_equal(planes[0], expected.transpose(2, 0, 1))


def test_stage_of_one_size(images):
    detector = Detector()
    fixed = stage(detector, (96, 96), input_hw=(96, 128), flip=False)
    assert [len(found) > 0 for found in fixed.detect(images)] == [True, True]
    assert {each.shape[1:] for each in detector.inputs} == {(3, 96, 128)} and (
        detector.inputs[0][0, :, 54:] == 0.5
    ).all()
    distorted = stage(detector, (96, 64), keep_ratio=False)
    assert distorted.input_size_hw((10, 200), (96, 64)) == (64, 96)
    with pytest.raises(ModelInputError, match=r'fit into the only input of the network, \(64, 64\)'):
        stage(detector, (96, 96), input_hw=(64, 64)).detect(images)


@pytest.mark.parametrize(
    'image', [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 1), np.uint8)]
)
def test_images_without_pixels_or_colours(image):
    with pytest.raises(ModelInputError, match=r'must have pixels and the shape \(h, w, 3\)'):
        stage(Detector(), (64, 64)).detect([image])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(on_empty='all'), 'on_empty: must be one of'),
        (dict(min_overlap=2), r'min_overlap: must be in \[0, 1\]'),
        (dict(tiles=3), "unexpected keyword argument 'tiles'"),
        (dict(mosaic='small'), 'mosaic: must be one of'),
        (dict(ufp=dict(scale=-1)), 'scale: must be a positive number'),
        (dict(mosaic='direct'), 'where the fine stage has several scales'),
    ],
)
def test_wrong_arguments(options, message):
    stages = stage(Detector(), (64, 64)), stage(Detector(), [(64, 64), (32, 32)])
    with pytest.raises(ConfigError, match=message):
        composite.UFPMPDet(*stages, **options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(scales=[]), 'scales: must be one or more sizes'),
        (dict(scales=[(0, 4)]), 'scales: must be one or more sizes'),
        (dict(batch_size=0), 'batch_size: must be a whole number'),
        (dict(max_zoom=0), 'max_zoom: must be None or a positive number'),
        (dict(mean=[1, 2], std=[1, 2]), 'mean, std: must be 1 or 3 numbers'),
        (dict(test_cfg=dict(nms=dict(type='voting'))), r"nms.type: must be one of \['nms', 'soft_nms'\]"),
    ],
)
def test_wrong_stages(options, message):
    with pytest.raises(ConfigError, match=message):
        Stage(Detector().network, **{'scales': [(64, 64)], **options})


def test_a_mosaic_is_a_picture_for_a_stage():
    regions = np.array([[0, 0, 8, 8, 0, 0, 2.0]])
    mosaic = Mosaic(np.full((20, 20, 3), 7, np.uint8), regions, (16, math.ceil(15.5), 3))
    detector = Detector()
    (found,) = stage(detector, (16, 16), flip=False).detect([mosaic])
    assert (
        isinstance(found, Detections) and (detector.inputs[0][0, :, :16, :16] == detector.inputs[0][0, :, :1, :1]).all()
    )
    assert mosaic.pixels().dtype == np.uint8 and (mosaic.pixels(np.float32) == 7).all()


def test_how_mosaics_are_made_by_default():
    one, several = stage(Detector(), (64, 64)), stage(Detector(), [(64, 64), (32, 32)])
    stretched = stage(Detector(), (64, 64), keep_ratio=False)
    found = [
        [composite.default_mosaic(each, precision) for each in (one, several, stretched)]
        for precision in ('fp32', 'bf16')
    ]
    assert found == [['exact'] * 3, ['direct', 'rounded', 'rounded']]
