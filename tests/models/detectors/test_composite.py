import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import nn

from mmdet.core.post_processing import merge_views
from mmdet.core.ufp import UnifiedForegroundPacking
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.detectors import BaseDetector, DetectionStage, SlicedDet, UFPMPDet
from mmdet.models.detectors.stage import rescale_size_hw, resize_image
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError, ModelInputError
from mmdet_runtime.resizing import slice_starts
from tests.devices import on, tolerance


@pytest.fixture(scope='module')
def detector(repository):
    cfg = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    cfg.bbox_head.num_classes = 2
    cfg.test_cfg.score_thr = 0.009
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    with torch.no_grad():
        model.bbox_head.gfl_cls.weight.mul_(20)  # uneven scores, so that there is something to keep and to drop
    return model


def found(boxes=(), scores=(), labels=()):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.tensor(labels, dtype=torch.long),
    )


class Scripted(nn.Module):
    """A stage that returns what it was told to, and remembers what it was shown."""

    num_classes, end_to_end = 2, False

    def __init__(self, *results):
        super().__init__()
        self.results, self.seen = list(results), []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        self.seen += images
        return [self.results.pop(0) for _ in images]


class Looking(nn.Module):
    """A detector that finds one box, (0, 0, 4, 8), in every view, scored by the view's width; it keeps what it was called with."""

    end_to_end, clips_boxes, class_agnostic = False, True, False

    def __init__(self, num_classes=2, **test_cfg):
        super().__init__()
        self.data_preprocessor = DetDataPreprocessor(pad_size_divisor=32)
        self.detection_head = self
        self.num_classes = num_classes
        self.detection_cfg = self.test_cfg = ConfigDict(dict(nms=dict(type='nms', iou_threshold=0.5)), **test_cfg)
        self.shapes, self.settings, self.batches = [], [], []

    def forward(self, inputs, mode):
        assert mode == 'tensor'
        self.shapes.append(tuple(inputs.shape))
        self.batches.append(inputs)
        return (inputs,)

    candidates = BaseDetector.candidates

    def predict_by_feat(self, outputs, batch_img_metas, **settings):
        self.settings.append(settings)
        return [found([[0, 0, 4, 8]], [meta['img_shape'][1] / 1000], [1]) for meta in batch_img_metas]


def ufpmp(detector, coarse, fine, **kwargs):
    stage = dict(detector=detector, scale=(64, 64))
    model = UFPMPDet(coarse=stage, fine=stage, **kwargs)
    model.coarse, model.fine = coarse, fine
    return model


@pytest.mark.parametrize(
    ('size_hw', 'scale', 'expected'),
    [
        ((480, 640), (1333, 800), (800, 1067)),
        ((375, 500), (1333, 800), (800, 1067)),
        ((683, 1024), (800, 1333), (800, 1199)),
        ((600, 2000), (1333, 800), (400, 1333)),
        ((500, 333), (1333, 800), (1201, 800)),
        ((1, 4000), (1333, 1333), (1, 1333)),
    ],
)
def test_resize_rule(size_hw, scale, expected):
    assert rescale_size_hw(size_hw, scale) == expected


@pytest.mark.parametrize('size_hw', [(30, 50), (11, 7), (20, 20)])
def test_resize_is_opencv_s(size_hw):
    cv2 = pytest.importorskip('cv2')
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    ours = resize_image(torch.from_numpy(image).permute(2, 0, 1), size_hw).permute(1, 2, 0).numpy()
    theirs = cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_stage_does_not_depend_on_the_batch(detector):
    torch.manual_seed(0)
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((40, 60), (60, 40), (50, 50), (40, 60))]
    stage = DetectionStage(detector, scale=(96, 64), flip=True)
    assert stage([]) == []
    together, alone = stage(images), [stage([image])[0] for image in images]
    for a, b in zip(together, alone):
        assert len(a) > 0
        torch.testing.assert_close(a.bboxes, b.bboxes, rtol=0, atol=1e-3)
        torch.testing.assert_close(a.scores, b.scores, rtol=0, atol=1e-6)
        assert torch.equal(a.labels, b.labels)
        assert a.scores.diff().le(0).all()


def test_flip_test_of_the_mirrored_image_is_mirrored(detector):
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    stage = DetectionStage(detector, scale=(96, 64), flip=True)
    plain, mirrored = stage([image, image.flip(-1)])
    torch.testing.assert_close(plain.scores, mirrored.scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(plain.bboxes[0, [0, 2]], 96 - mirrored.bboxes[0, [2, 0]], rtol=0, atol=1e-2)


def test_every_device_finds_the_same(detector, device):
    """Tiles, flipped views, two scales and the whole image, merged; and two passes with a mosaic between them."""
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    stage = dict(detector=detector, scale=[(64, 48), (96, 64)], flip=True)
    for model in (SlicedDet(stage, tile_wh=(64, 64), whole=dict(scale=(96, 64))),
                  UFPMPDet(coarse=stage, fine=stage, coarse_weight=0.5)):  # fmt: skip
        expected, received = (on(place, model).eval().detect([image.to(place)])[0] for place in ('cpu', device))
        assert len(received) == len(expected) > 0 and received.bboxes.device.type == device
        torch.testing.assert_close(received.scores.cpu(), expected.scores, **tolerance(device, rtol=1e-5, atol=1e-5))


def test_several_scales_share_one_nms(detector):
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    one, other = (DetectionStage(detector, scale=scale)([image])[0] for scale in ((96, 64), (128, 96)))
    assert torch.equal(DetectionStage(detector, scale=[(96, 64)])([image])[0].bboxes, one.bboxes)
    stage = DetectionStage(detector, scale=[(96, 64), (128, 96)])
    both, shorter = stage([image, image[:, :20]])
    # The best of each scale survives, or something better at its place.
    assert both.scores[0] == max(one.scores[0], other.scores[0])
    assert len(both) > 0 and len(shorter) > 0
    torch.testing.assert_close(stage([image])[0].bboxes, both.bboxes, rtol=0, atol=1e-3)
    with pytest.raises(ConfigError, match='scale'):
        DetectionStage(detector, scale=[(96, 64), (0, 5)])


def test_views_of_a_stage_by_hand():
    looking = Looking()
    images = [torch.arange(3 * 20 * 30).reshape(3, 20, 30) % 256, torch.zeros(3, 40, 20), torch.zeros(3, 20, 30)]
    stage = DetectionStage(looking, scale=[(30, 20), (60, 40)], flip=True, batch_size=3)
    results = stage([image.to(torch.uint8) for image in images])
    # All images at the first scale are padded to 32 x 32; plain views come before flipped ones. Then the second scale.
    assert looking.shapes == [(3, 3, 32, 32)] * 2 + [(3, 3, 64, 64), (1, 3, 64, 64), (2, 3, 64, 32)]
    plain, flipped = looking.batches[0][0], looking.batches[1][0]
    assert torch.equal(plain[:, :20, :30], images[0].float()) and plain[:, 20:].eq(0).all()
    assert torch.equal(flipped[:, :20, :30], images[0].float().flip(-1))
    assert all(
        settings['rescale'] and not settings['with_nms'] and settings['cfg']['nms_pre_rule'] == 'pairs'
        for settings in looking.settings
    )
    # The larger scale has the higher score; of plain and flipped, which score the same, the plain one comes first.
    assert results[0].bboxes.tolist() == results[2].bboxes.tolist() == [[0, 0, 4, 8], [26, 0, 30, 8]]
    torch.testing.assert_close(results[0].scores, torch.tensor([0.06, 0.06]))
    assert results[1].bboxes.tolist() == [[0, 0, 4, 8], [16, 0, 20, 8]] and results[1].labels.tolist() == [1, 1]
    looking.test_cfg.max_per_img = 1
    assert [len(one) for one in stage([image.to(torch.uint8) for image in images])] == [1, 1, 1]
    assert DetectionStage(looking, scale=(30, 20)).flip and DetectionStage(looking, scale=(30, 20)).batch_size == 8
    assert len(DetectionStage(looking, (30, 20), flip=False)([torch.zeros(3, 5, 9)])[0]) == 1
    with pytest.raises(ConfigError, match='batch_size'):
        DetectionStage(looking, scale=(30, 20), batch_size=0)


def test_every_stage_chooses_pairs(detector, monkeypatch):
    """A head whose own rule is 'priors', as GFLV2's, is a stage like any other."""
    torch.manual_seed(0)
    image, stage = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8), DetectionStage(detector, scale=(96, 64))
    raw = detector(detector.data_preprocessor(dict(inputs=[image]))['inputs'], mode='tensor')
    staged, alone = {}, {}
    for rule in ('pairs', 'priors'):
        options = dict(nms_pre=1, nms_pre_rule=rule, nms=dict(type='nms', iou_threshold=1.0))
        monkeypatch.setattr(detector.bbox_head, 'test_cfg', ConfigDict(detector.bbox_head.test_cfg, **options))
        staged[rule] = stage([image])[0]
        alone[rule] = detector.bbox_head.predict_by_feat(*raw, batch_img_metas=[dict(img_shape=(64, 96))])[0]
    assert len(alone['pairs']) < len(alone['priors'])  # one class of a prior, or all of them
    assert len(staged['pairs']) == len(staged['priors']) == 2 * len(alone['pairs'])
    assert torch.equal(staged['pairs'].bboxes, staged['priors'].bboxes)


def test_resize_rounds_bytes_and_keeps_fractions():
    image = torch.tensor([[[0.0, 1.0]]]).expand(3, 1, 2)
    assert resize_image(image, (1, 4))[0].tolist() == [[0, 0.25, 0.75, 1]]
    assert resize_image(3 * image.to(torch.uint8), (1, 4))[0].tolist() == [[0, 1, 2, 3]]
    assert resize_image(image, (1, 2)) is image


def test_nothing_found(detector):
    image = torch.zeros(3, 50, 80, dtype=torch.uint8)
    model = ufpmp(detector, Scripted(found()), Scripted())
    assert len(model.detect([image])[0]) == 0
    assert model.fine.seen == []

    whole = ufpmp(detector, Scripted(found()), Scripted(found([[10, 20, 30, 40]], [0.5], [1])), on_empty='whole')
    result = whole.detect([image])[0]
    assert whole.fine.seen[0].shape == (3, 50, 80)
    assert result.bboxes.tolist() == [[10, 20, 30, 40]]
    assert result.labels.tolist() == [1]


def test_two_passes_by_hand(detector):
    # The one box grows to (90, 92.5, 150, 137.5), 1200 square pixels inside: zoom 2, a mosaic of 120 x 90.
    image = torch.randint(0, 256, (3, 1080, 1920), dtype=torch.uint8)
    coarse = Scripted(found([[100, 100, 140, 130]], [0.9], [0]))
    fine = Scripted(found([[20, 10, 60, 50], [20, 10, 60, 49], [100, 10, 140, 50]], [0.8, 0.7, 0.6], [0, 0, 1]))
    model = ufpmp(detector, coarse, fine)
    result = model.detect([image])[0]
    mosaic = fine.seen[0]
    assert mosaic.shape == (3, 90, 120)
    assert mosaic.dtype == torch.float32
    # Half-pixel centres at zoom 2: a quarter of the neighbour to each side.
    x, y = 100, 100
    block = image[:, y : y + 2, x : x + 2].double()
    expected = 0.5625 * block[:, 0, 0] + 0.1875 * (block[:, 0, 1] + block[:, 1, 0]) + 0.0625 * block[:, 1, 1]
    torch.testing.assert_close(mosaic[:, 2 * (y - 92), 2 * (x - 90) + 1].double(), expected, rtol=0, atol=0.51 * 255)
    # The second box falls to the first, the third lies across the tile's edge.
    assert result.bboxes.tolist() == [[100, 97, 120, 117]]
    torch.testing.assert_close(result.scores, torch.tensor([0.8]))


def test_boxes_are_packed_class_after_class(detector, monkeypatch):
    """The order of the packed boxes decides on the regions: by class, and by falling score within a class."""
    seen = []
    monkeypatch.setattr('mmdet_runtime.second_look.pack_images', lambda boxes, sizes, **o: seen.append((boxes, sizes, o)) or [])  # fmt: skip
    coarse = found([[k, k, k + 9, k + 9] for k in range(5)], [0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 0, 0])
    model = ufpmp(detector, Scripted(), Scripted(), ufp=dict(scale=2, mode='exact'))
    model.pack([coarse, found()], [(100, 50), (30, 20)])
    ((boxes, sizes, options),) = seen
    assert [part[:, 0].tolist() for part in boxes] == [[1, 3, 4, 0, 2], []]
    assert sizes == [(100, 50), (30, 20)] and options == dict(scale=2, mode='exact')


def test_order_of_packing_changes_the_regions(detector):
    # What the recorded order is for: the first box takes in the others that it reaches.
    coarse = found([[100, 100, 160, 160], [150, 100, 230, 170], [222, 100, 300, 190]], [0.9, 0.8, 0.7], [1, 0, 1])
    model = ufpmp(detector, Scripted(), Scripted())
    (regions, _, _), sorted_by_hand = model.pack([coarse], [(1920, 1080)])[0], coarse[torch.tensor([1, 0, 2])]
    assert torch.equal(regions, UnifiedForegroundPacking(sorted_by_hand.bboxes, input_shape=(1920, 1080))[0])


@pytest.mark.parametrize(
    ('model', 'options', 'kept'),
    [
        (UFPMPDet, {}, 2),  # IoU 0.6, by inclusive pixels 77 / 121
        (UFPMPDet, dict(nms=dict(type='nms', iou_threshold=0.6)), 3),
        (UFPMPDet, dict(nms=dict(type='nms', iou_threshold=0.65, offset=1)), 3),
        (UFPMPDet, dict(max_per_img=1), 1),
        (UFPMPDet, dict(max_per_img=-1), 2),
        (SlicedDet, {}, 3),
        (SlicedDet, dict(nms=dict(type='nms', iou_threshold=0.6, offset=1)), 2),
        (SlicedDet, dict(max_per_img=1), 1),
    ],
)
def test_the_merge_of_composites(detector, model, options, kept):
    image, boxes = torch.zeros(3, 30, 30, dtype=torch.uint8), found([[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 10]], [0.9, 0.8, 0.7], [0, 0, 1])  # fmt: skip
    stage = dict(detector=detector, scale=(64, 64))
    if model is UFPMPDet:
        composite = ufpmp(detector, Scripted(boxes), Scripted(found()), coarse_weight=1, **options)
    else:
        composite = SlicedDet(stage, **options)
        composite.stage = Scripted(boxes)
    (result,) = composite.detect([image])
    assert result.scores.tolist() == pytest.approx([0.9, 0.8, 0.7] if kept == 3 else [0.9, 0.7][:kept])


def test_scores_and_labels_follow_their_boxes(detector):
    # The first of the fine detections lies across the tile's edge and is dropped.
    fine = found([[100, 10, 140, 50], [20, 10, 60, 50]], [0.9, 0.5], [1, 0])
    model = ufpmp(detector, Scripted(found([[100, 100, 140, 130]], [0.9], [0])), Scripted(fine))
    (result,) = model.detect([torch.zeros(3, 1080, 1920, dtype=torch.uint8)])
    assert (result.bboxes.tolist(), result.scores.tolist(), result.labels.tolist()) == (
        [[100, 97, 120, 117]],
        [0.5],
        [0],
    )


def test_defaults_of_composites(detector):
    stage = dict(detector=detector, scale=(64, 64))
    model, tiles = UFPMPDet(stage, stage), SlicedDet(stage)
    assert (model.max_per_img, model.min_overlap, model.coarse_weight, model.on_empty) == (500, 0.9, 0, 'skip')
    assert model.nms == dict(type='nms', iou_threshold=0.6, offset=1) and model.ufp == {}
    assert (tiles.tile_wh, tiles.overlap, tiles.whole, tiles.max_per_img) == ((640, 640), 0.2, None, 500)
    assert tiles.nms == dict(type='nms', iou_threshold=0.6)


@pytest.mark.parametrize(('min_overlap', 'found_too'), [(0.9, False), (0.5, True)])
def test_overlap_of_a_detection_with_its_tile(detector, min_overlap, found_too):
    fine = found([[100, 10, 140, 50]], [0.6], [1])  # a mosaic of 120 x 90: half of the box lies on the tile
    coarse = found([[100, 100, 140, 130]], [0.9], [0])
    model = ufpmp(detector, Scripted(coarse), Scripted(fine), min_overlap=min_overlap - 0.01)
    assert len(model.detect([torch.zeros(3, 1080, 1920, dtype=torch.uint8)])[0]) == found_too


def test_times_and_sizes_are_recorded_where_asked_for(detector):
    image = torch.zeros(3, 1080, 1920, dtype=torch.uint8)
    coarse = found([[100, 100, 140, 130]], [0.9], [0])
    for asked in (False, True):
        model = ufpmp(detector, Scripted(coarse), Scripted(found()))
        model.record_times = asked
        model.detect([image])
        assert dict(model.stage_sizes) == (dict(regions=[1], mosaic_w=[120], mosaic_h=[90]) if asked else {})
        assert list(model.stage_times) == (['coarse', 'packing', 'mosaic', 'fine', 'merge'] if asked else [])
        tiles = SlicedDet(dict(detector=detector, scale=(64, 64)), tile_wh=(1000, 1080), whole=dict(scale=(64, 64)))
        tiles.stage, tiles._whole_stages = Scripted(*[found()] * 3), (Scripted(found()),)
        tiles.record_times = asked
        tiles.detect([image])
        assert dict(tiles.stage_sizes) == (dict(tiles=[3]) if asked else {})
        assert list(tiles.stage_times) == (['tiles', 'whole', 'merge'] if asked else [])


def test_coarse_boxes_join_with_a_weight(detector):
    image = torch.zeros(3, 1080, 1920, dtype=torch.uint8)
    coarse = found([[100, 100, 140, 130], [900, 900, 960, 960]], [0.9, 0.4], [0, 1])
    model = ufpmp(detector, Scripted(coarse), Scripted(found()), coarse_weight=0.5)
    result = model.detect([image])[0]
    assert result.bboxes.tolist() == [[100, 100, 140, 130], [900, 900, 960, 960]]
    torch.testing.assert_close(result.scores, torch.tensor([0.45, 0.2]))


def test_batches_equal_single_images(detector, device):
    torch.manual_seed(0)
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((90, 120), (120, 90), (64, 64))]
    stage = dict(detector=detector, scale=(96, 96), flip=False)
    model = on(device, UFPMPDet(coarse=stage, fine=stage, on_empty='whole')).eval()
    model.record_times = True
    data = dict(
        inputs=images, data_samples=[DetDataSample(metainfo=dict(ori_shape=tuple(i.shape[1:]))) for i in images]
    )
    together = [sample.pred_instances for sample in model.test_step(data)]
    assert set(model.stage_times) == {'coarse', 'packing', 'mosaic', 'fine', 'merge'}
    for image, batched in zip(images, together):
        alone = model.detect([image.to(device)])[0]
        assert batched.bboxes.device.type == device
        torch.testing.assert_close(alone.bboxes, batched.bboxes, rtol=0, atol=1e-2)
        torch.testing.assert_close(alone.scores, batched.scores, rtol=0, atol=1e-5)


def test_steps_for_pictures(detector):
    image = torch.zeros(3, 1080, 1920, dtype=torch.uint8)
    model = ufpmp(
        detector, Scripted(found([[100, 100, 140, 130]], [0.9], [0])), Scripted(found([[20, 10, 60, 50]], [0.8], [0]))
    )
    steps = model.predict_with_mosaic(image)
    assert steps['mosaic'].shape == (3, 90, 120)
    assert steps['regions'].shape == (1, 7)
    assert steps['merged'].bboxes.tolist() == [[100, 97, 120, 117]]
    assert steps['coarse'].bboxes.tolist() == [[100, 100, 140, 130]]
    assert steps['fine'].bboxes.tolist() == [[20, 10, 60, 50]]

    nothing = ufpmp(detector, Scripted(found()), Scripted()).predict_with_mosaic(image)
    assert list(nothing) == list(steps) == ['coarse', 'regions', 'mosaic', 'fine', 'merged']
    assert nothing['fine'] is None and nothing['regions'].shape == (0, 7) and nothing['mosaic'].shape == (3, 0, 0)
    assert len(nothing['merged']) == len(nothing['coarse']) == 0


def test_one_pass_serves_prediction_and_pictures(detector):
    images = [torch.zeros(3, 1080, 1920, dtype=torch.uint8), torch.zeros(3, 50, 80, dtype=torch.uint8)]
    coarse = (found(), found([[10, 10, 40, 30]], [0.9], [0]))
    model = ufpmp(detector, Scripted(*coarse), Scripted(found([[20, 10, 30, 20]], [0.8], [0])))
    first, second = model.trace(images)
    assert first.coarse is coarse[0] and second.coarse is coarse[1]
    assert first.fine is None and first.mosaic.numel() == 0 and len(first.merged) == 0
    assert torch.equal(model.fine.seen[0], second.mosaic) and len(model.fine.seen) == 1
    expected = model.merge(second.coarse, second.fine, second.regions)
    assert torch.equal(second.merged.bboxes, expected.bboxes) and len(expected) == 1


@pytest.mark.parametrize(
    ('length', 'tile', 'overlap', 'expected'),
    [
        (1, 4, 0.5, [0]),
        (4, 4, 0.5, [0]),
        (10, 4, 0, [0, 4, 6]),
        (10, 4, 0.5, [0, 2, 4, 6]),
        (9, 4, 0.75, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_slices(length, tile, overlap, expected):
    assert slice_starts(length, tile, overlap) == expected


def test_sliced_by_hand(detector):
    model = SlicedDet(stage=dict(detector=detector, scale=(64, 64)), tile_wh=(40, 40), overlap=0.5)
    model.stage = Scripted(found([[30, 5, 38, 15]], [0.9], [0]), found([[10, 5, 18, 15]], [0.8], [0]), found())
    result = model.detect([torch.zeros(3, 30, 80, dtype=torch.uint8)])[0]
    assert [tuple(tile.shape) for tile in model.stage.seen] == [(3, 30, 40)] * 3
    assert result.bboxes.tolist() == [[30, 5, 38, 15]]  # seen in two tiles, kept once


def test_sliced_with_the_whole_image(detector, monkeypatch):
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    model = SlicedDet(
        stage=dict(detector=detector, scale=(64, 64), flip=False), tile_wh=(64, 64), whole=dict(scale=(96, 64))
    )
    tiles = model.stage([image[:, :, :64], image[:, :, 32:]])
    tiles[1].bboxes = tiles[1].bboxes + torch.tensor([32, 0, 32, 0])
    whole = DetectionStage(detector, scale=(96, 64), flip=False)([image])
    expected = merge_views([*tiles, *whole], dict(type='nms', iou_threshold=0.6), 500)
    # The stage for the whole image is built with the model, not at each call; its weights are those of the other.
    monkeypatch.delattr(DetectionStage, '__init__')
    (result,) = model.detect([image])
    assert len(result) > len(tiles[0]) > 0 and result.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(result.bboxes, expected.bboxes, rtol=0, atol=1e-3)
    torch.testing.assert_close(result.scores, expected.scores, rtol=0, atol=1e-6)
    assert set(model.state_dict()) == {f'stage.detector.{name}' for name in detector.state_dict()}


def test_places_of_tiles_by_hand(detector):
    boxes = [found([[1, 2, 8, 9]], [0.9 - 0.1 * k], [0]) for k in range(7)]
    model = SlicedDet(dict(detector=detector, scale=(64, 64)), (40, 30), 0, dict(scale=(96, 64), flip=False))
    (whole,) = model._whole_stages
    assert whole.scales == [(96, 64)] and not whole.flip and whole.batch_size == model.stage.batch_size
    model.stage, model._whole_stages = Scripted(*boxes[:5]), (Scripted(*boxes[5:]),)
    image = torch.arange(3 * 50 * 70).reshape(3, 50, 70) % 251
    first, second = model.detect([image, image[:, :30, :40]])
    assert first.bboxes.tolist() == [[1, 2, 8, 9], [31, 2, 38, 9], [1, 22, 8, 29], [31, 22, 38, 29]]
    torch.testing.assert_close(first.scores, torch.tensor([0.9, 0.8, 0.7, 0.6]))
    assert second.bboxes.tolist() == [[1, 2, 8, 9]] and second.scores.item() == pytest.approx(0.5)
    assert torch.equal(model.stage.seen[2], image[:, 20:50, :40])
    alone = SlicedDet(dict(detector=detector, scale=(64, 64)), None)
    alone.stage = Scripted(found())
    alone.detect([image])
    assert torch.equal(alone.stage.seen[0], image) and alone.whole is None


def test_a_sliced_detector_reads_its_detector_s_checkpoint(detector):
    model = SlicedDet(dict(detector=detector, scale=(64, 64)))
    state = {f'model.{name}': value for name, value in detector.state_dict().items()}
    own = {f'model.{name}': value for name, value in model.state_dict().items()}
    assert model.adapt_state_dict(dict(own), 'model.') == []
    renamed = dict(state, other=torch.zeros(1))
    assert len(model.adapt_state_dict(renamed, 'model.')) == 1
    assert set(renamed) == {*own, 'other'}


def test_refuses(detector, repository):
    stage = dict(detector=detector, scale=(64, 64))
    other = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    with pytest.raises(ConfigError, match='same classes'):
        UFPMPDet(coarse=stage, fine=dict(detector=other, scale=(64, 64)))
    with pytest.raises(ConfigError, match='on_empty'):
        UFPMPDet(coarse=stage, fine=stage, on_empty='crash')
    with pytest.raises(ConfigError, match='coarse_weight'):
        UFPMPDet(coarse=stage, fine=stage, coarse_weight=1.1)
    for tile in ((0, 5), (5,)):
        with pytest.raises(ConfigError, match='tile_wh'):
            SlicedDet(stage=stage, tile_wh=tile)
    with pytest.raises(ConfigError, match='overlap'):
        SlicedDet(stage=stage, overlap=1)
    with pytest.raises(ConfigError, match='scale'):
        DetectionStage(detector, scale=(0, 5))
    with pytest.raises(ModelInputError, match='pixels'):
        DetectionStage(detector, scale=(64, 64))([torch.zeros(3, 0, 5)])
    model = UFPMPDet(coarse=stage, fine=stage)
    with pytest.raises(ModelInputError, match='train its stages'):
        model([torch.zeros(3, 8, 8)], [], mode='loss')
    with pytest.raises(ModelInputError, match='data_samples'):
        model([torch.zeros(3, 8, 8)], mode='predict')
    with pytest.raises(ModelInputError, match='3, h, w'):
        model.data_preprocessor(dict(inputs=[torch.zeros(1, 8, 8)]))
    resized = DetDataSample(metainfo=dict(ori_shape=(100, 100), img_path='a.jpg'))
    with pytest.raises(ModelInputError, match=r'a\.jpg'):
        model([torch.zeros(3, 8, 8)], [resized], mode='predict')


@pytest.mark.parametrize(
    ('coarse', 'fine', 'table', 'merged'),
    [
        (('a', 'b'), ('a', 'b'), None, [0, 1]),
        (('a', 'b'), ('b', 'a'), (1, 0), [1, 0]),
        (('a', 'x'), ('b', 'a'), (1, -1), [1]),
        (('a', 'x', 'b'), ('b', 'a'), (1, -1, 0), [1]),
        (('object', 'y', 'z'), ('b', 'a'), (-1, -1, -1), []),
    ],
)
def test_classes_of_the_stages_by_name(coarse, fine, table, merged):
    model = UFPMPDet.__new__(UFPMPDet)
    model.__dict__['coarse'] = model.__dict__['fine'] = Scripted()
    model.nms, model.max_per_img, model.min_overlap, model.coarse_weight = (
        dict(type='nms', iou_threshold=0.6),
        -1,
        0.9,
        1.0,
    )
    model._fine_labels = None
    notes = UFPMPDet.match_stage_classes(model, dict(coarse=coarse, fine=fine))
    assert model._fine_labels == table and bool(notes) == (table is not None)
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    found = InstanceData(bboxes=boxes, scores=torch.tensor([0.9, 0.8]), labels=torch.tensor([0, 1]))
    assert UFPMPDet.merge(model, found, None, torch.zeros(0, 7)).labels.tolist() == merged
