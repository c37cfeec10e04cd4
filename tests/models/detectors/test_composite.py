import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from mmdet.models.detectors import DetectionStage, SlicedDet, UFPMPDet
from mmdet.models.detectors.sliced_det import slice_starts
from mmdet.models.detectors.stage import rescale_size_hw, resize_image
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError, ModelInputError
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

    num_classes = 2

    def __init__(self, *results):
        super().__init__()
        self.results, self.seen = list(results), []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        self.seen += images
        return [self.results.pop(0) for _ in images]


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


def test_sliced_with_the_whole_image(detector):
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    model = SlicedDet(
        stage=dict(detector=detector, scale=(64, 64), flip=False), tile_wh=(64, 64), whole=dict(scale=(96, 64))
    )
    assert len(model.detect([image])[0]) > 0
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in detector.parameters())


def test_refuses(detector, repository):
    stage = dict(detector=detector, scale=(64, 64))
    other = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    with pytest.raises(ConfigError, match='same classes'):
        UFPMPDet(coarse=stage, fine=dict(detector=other, scale=(64, 64)))
    with pytest.raises(ConfigError, match='on_empty'):
        UFPMPDet(coarse=stage, fine=stage, on_empty='crash')
    with pytest.raises(ConfigError, match='overlap'):
        SlicedDet(stage=stage, overlap=1)
    with pytest.raises(ConfigError, match='scale'):
        DetectionStage(detector, scale=(0, 5))
    with pytest.raises(ModelInputError, match='pixels'):
        DetectionStage(detector, scale=(64, 64))([torch.zeros(3, 0, 5)])
    model = UFPMPDet(coarse=stage, fine=stage)
    with pytest.raises(ModelInputError, match='train its stages'):
        model([torch.zeros(3, 8, 8)], [], mode='loss')
    resized = DetDataSample(metainfo=dict(ori_shape=(100, 100), img_path='a.jpg'))
    with pytest.raises(ModelInputError, match=r'a\.jpg'):
        model([torch.zeros(3, 8, 8)], [resized], mode='predict')
