"""UFPMPDet with one detector as both stages, and its options of where the second look pays, worked out by hand."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict

from mmdet.engine.checkpoint import load_into
from mmdet.engine.checkpoint.class_rows import ClassRows
from mmdet.models.detectors import DetectionStage, SlicedDet, UFPMPDet
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import CheckpointError, ConfigError
from tests.models.detectors.test_composite import Looking, Scripted, found

STAGE = dict(scale=(96, 64), flip=False)
IMAGE = torch.zeros(3, 1080, 1920, dtype=torch.uint8)
# One object, whose region is (90, 92.5, 60, 45) at zoom 2, and a large one far away.
SMALL, LARGE = [100, 100, 140, 130], [600, 100, 1000, 400]


@pytest.fixture(scope='module')
def config(repository):
    cfg = Config.fromfile(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    cfg.backbone.update(base_channels=8, stem_channels=8)
    cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    cfg.bbox_head.update(num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1)
    cfg.bbox_head.norm_cfg.num_groups = 4
    return cfg


@pytest.fixture(scope='module')
def alone(config):
    torch.manual_seed(0)
    return MODELS.build(config)


@pytest.fixture
def shared(config):
    torch.manual_seed(1)
    return UFPMPDet(dict(detector=copy.deepcopy(config), **STAGE), dict(scale=(96, 96)))


def names(model):
    return set(model.state_dict())


def test_the_weights_are_held_once(shared, alone):
    assert shared.fine.detector is shared.coarse.detector and shared.only_detector == 'coarse.detector.'
    assert names(shared) == {f'coarse.detector.{name}' for name in names(alone)}
    assert len(list(shared.parameters())) == len(list(alone.parameters()))
    assert (shared.coarse.scales, shared.fine.scales) == ([(96, 64)], [(96, 96)]) and not shared.fine.flip
    twin = copy.deepcopy(shared)  # as the average of the weights does
    assert twin.fine.detector is twin.coarse.detector is not shared.coarse.detector
    same = UFPMPDet(dict(detector=alone, **STAGE, test_cfg=dict(score_thr=0.5), max_zoom=1))
    assert same.fine.scales == [(96, 64)] and same.fine.max_zoom is None
    assert (same.coarse.test_cfg.score_thr, same.fine.test_cfg.score_thr) == (0.5, 0.05)
    two = UFPMPDet(dict(detector=alone, **STAGE), dict(detector=alone, **STAGE))
    assert two.only_detector is None and {'fine.detector.neck.lateral_convs.0.conv.weight'} < names(two)


def test_the_checkpoint_of_the_detector_alone_and_back(shared, alone, config, tmp_path):
    report = load_into(shared, alone.state_dict(), strict=True)
    assert report.exact and len(report.notes) == 1
    for name, value in alone.state_dict().items():
        assert torch.equal(shared.state_dict()[f'coarse.detector.{name}'], value)
    own = load_into(shared, shared.state_dict(), strict=True)
    assert own.exact and not own.notes and not own.renamed
    torch.manual_seed(2)
    for reader in (MODELS.build(copy.deepcopy(config)), SlicedDet(dict(detector=copy.deepcopy(config), **STAGE))):
        assert load_into(reader, shared.state_dict(), strict=True).exact
    torch.save(dict(state_dict=shared.state_dict()), tmp_path / 'shared.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'shared.pth'))
    reader = MODELS.build(dict(copy.deepcopy(config), init_cfg=init))
    reader.init_weights()
    assert torch.equal(reader.bbox_head.gfl_cls.weight, alone.bbox_head.gfl_cls.weight)
    torch.manual_seed(3)
    two = UFPMPDet(*(dict(detector=copy.deepcopy(config), **STAGE) for _ in range(2)))
    assert load_into(two, two.state_dict(), strict=True).exact
    with pytest.raises(CheckpointError, match='does not fit'):
        load_into(two, shared.state_dict(), complete=True)
    before = copy.deepcopy(shared.state_dict())
    with pytest.raises(CheckpointError, match='share one'):
        load_into(shared, two.state_dict())
    assert all(torch.equal(before[name], value) for name, value in shared.state_dict().items())


def test_classes_are_kept_by_name(shared, alone, config):
    """Fine-tuning from the checkpoint of one detector with the classes in another order."""
    rows = ClassRows(True, ('car', 'bus'), ('bus', 'car'), 'a.pth')
    load_into(shared, alone.state_dict(), by_name=rows.apply)
    assert torch.equal(shared.coarse.detector.bbox_head.gfl_cls.bias, alone.bbox_head.gfl_cls.bias.flip(0))
    assert rows.changed and all(name.startswith('coarse.detector.bbox_head.') for name in rows.changed)


@pytest.mark.parametrize('head', ['GFLHead', 'MPHead'])
def test_it_is_trained_as_its_detector(config, head):
    cfg = copy.deepcopy(config)
    if head == 'MPHead':
        cfg.bbox_head = ConfigDict(cfg.bbox_head, type=head, num_words=4, proxies_list=[1, 2], beta=1)
    torch.manual_seed(0)
    model = UFPMPDet(dict(detector=cfg, **STAGE), {}).train()
    sample = DetDataSample(metainfo=dict(img_shape=(64, 96), ori_shape=(128, 192), scale_factor=(0.5, 0.5)))
    boxes = found([[8, 8, 40, 40], [50, 10, 90, 60]], [1, 1], [0, 1])
    sample.gt_instances, sample.ignored_instances = boxes, boxes[:0]
    data = dict(inputs=[torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)], data_samples=[sample])
    torch.manual_seed(5)
    total, parts = model.parse_losses(model(**model.data_preprocessor(data, True), mode='loss'))
    total.backward()
    detector = model.coarse.detector
    torch.manual_seed(5)  # the memory of the multi-proxy head draws locations
    expected, _ = detector.parse_losses(detector(**detector.data_preprocessor(data, True), mode='loss'))
    assert 'loss_cls' in parts and torch.isfinite(total)
    if head == 'GFLHead':
        assert total.item() == pytest.approx(expected.item(), rel=1e-4)
    assert detector.backbone.conv1.weight.grad is not None
    model.eval()
    sample = DetDataSample(metainfo=dict(ori_shape=(64, 96)))
    assert 'bboxes' in model.test_step(dict(inputs=data['inputs'], data_samples=[sample]))[0].pred_instances


def scripted(coarse, fine=(), **options):
    """Two stages that find what they are told to; a coarse input is half as large as the image."""
    model = UFPMPDet(dict(detector=Looking(), scale=(960, 540)), **options)
    scales, size = model.coarse.scales, model.coarse.input_size_hw
    model.coarse, model.fine = Scripted(coarse), Scripted(*fine)
    model.coarse.scales, model.coarse.input_size_hw = scales, size
    return model


def result(model, image=IMAGE):
    (merged,) = model.detect([image])
    return [(row, round(score, 4)) for row, score in zip(merged.bboxes.tolist(), merged.scores.tolist())]


# In the mosaic of the small object alone: itself, (100, 97, 120, 117) in the image.
ON_MOSAIC = found([[20, 10, 60, 50]], [0.8], [0])
BACK = ([100, 97, 120, 117], 0.8)


@pytest.mark.parametrize(
    ('look_below', 'look_score', 'looks'),
    [
        (None, 0.0, True),
        (0, 0.0, False),
        (17.3, 0.0, False),  # the root of 40 x 30 is 34.64 pixels, half of that at the coarse input
        (17.4, 0.0, True),
        (17.4, 0.95, False),
        (17.4, 0.9, True),
    ],
)
def test_a_second_look_only_where_something_is_small(look_below, look_score, looks):
    coarse = found([SMALL, LARGE], [0.900001, 0.7], [0, 1])
    mosaic = found([[20, 10, 60, 50]], [0.8], [0])
    model = scripted(coarse, [mosaic], look_below=look_below, look_score=look_score)
    merged = result(model)
    assert len(model.fine.seen) == looks
    if not looks:
        assert merged == [(SMALL, 0.9), (LARGE, 0.7)], 'the coarse detections are the result'
    # Where nothing was found, on_empty decides; but 0 never looks twice.
    assert len(scripted(found(), [ON_MOSAIC], look_below=look_below, on_empty='whole').detect([IMAGE])[0]) == (
        look_below != 0
    )


def test_the_coarse_detections_are_the_result_as_they_are():
    """Two boxes of 4 x 4 pixels at an IoU of 0.6, which is 0.67 by the inclusive pixels of the merge."""
    coarse = found([[10, 10, 14, 14], [11, 10, 15, 14], [40, 40, 60, 60]], [0.9, 0.8, 0.7], [0, 0, 1])
    assert [score for _, score in result(scripted(coarse, look_below=0))] == [0.9, 0.8, 0.7]
    assert [score for _, score in result(scripted(coarse, look_below=0, max_per_img=2))] == [0.9, 0.8]
    merged = scripted(coarse, [found()], coarse_weight=1)
    assert [score for _, score in result(merged)] == [0.9, 0.7]


def test_large_objects_are_left_to_the_coarse_pass():
    coarse = found([LARGE, SMALL], [0.7, 0.6], [1, 0])
    # The mosaic holds the region of the small object only, 120 x 90; its second box is 60 x 45 pixels in the image.
    mosaic = found([[20, 10, 60, 50], [0, 0, 120, 90]], [0.8, 0.5], [0, 1])
    model = scripted(coarse, [mosaic, mosaic], coarse_area=1300)
    assert result(model) == [BACK, (LARGE, 0.7)] and model.fine.seen[0].shape == (3, 90, 120)
    model = scripted(coarse, [mosaic], coarse_area=1200, coarse_weight=0.5)
    assert result(model) == [(LARGE, 0.7), (SMALL, 0.6)], 'of the very area: answered by the coarse pass'
    only = scripted(found([LARGE], [0.7], [1]), [], coarse_area=1300, on_empty='whole')
    assert result(only) == [(LARGE, 0.7)] and not only.fine.seen, (
        'something was found: the whole image is not looked at'
    )


@pytest.mark.parametrize(
    ('ufp', 'regions'),
    [
        ({}, 2),
        (dict(min_score=0.35), 1),
        (dict(min_score=0.35, score_rule='sum'), 2),
        (dict(min_score=0.95, score_rule='sum'), 0),
    ],
)
def test_regions_by_their_confidence(ufp, regions):
    """Two boxes of one region with scores 0.3 and 0.2, one of another with 0.9."""
    coarse = found([[100, 100, 120, 120], [110, 100, 130, 120], [900, 500, 920, 520]], [0.3, 0.2, 0.9], [0, 0, 1])
    model = scripted(coarse, [found()], ufp=ufp)
    steps = model.predict_with_mosaic(IMAGE)
    assert len(steps['regions']) == regions
    if regions == 1:
        assert steps['regions'][0].tolist() == [895, 495, 30, 30, 0, 0, 4]


def test_the_whole_image_as_a_tile():
    model = scripted(found([SMALL], [0.9], [0]), [found([[0, 90, 480, 360], [20, 10, 60, 50]], [0.5, 0.8], [1, 0])], ufp=dict(whole_zoom=0.25))  # fmt: skip
    steps = model.predict_with_mosaic(IMAGE)
    small, whole = steps['regions'].tolist()
    assert small[:4] == [90, 92.5, 60, 45] and whole[:4] == [0, 0, 1920, 1080] and whole[6] == 0.25
    assert (small[4:6], whole[4:6]) == ([0, 270], [0, 0]), 'the tallest tile comes first'
    assert steps['mosaic'].shape == (3, 360, 480)
    nothing = scripted(found(), ufp=dict(whole_zoom=0.25))
    assert result(nothing) == [] and not nothing.fine.seen


def test_a_mosaic_at_the_size_of_its_content():
    looking = Looking()
    stage = DetectionStage(looking, scale=(640, 640), flip=False, max_zoom=1)
    results = stage([torch.zeros(3, 90, 120), torch.zeros(3, 1280, 640)])
    assert looking.shapes == [(1, 3, 96, 128), (1, 3, 640, 320)]
    assert [one.bboxes.tolist() for one in results] == [[[0, 0, 4, 8]]] * 2
    assert DetectionStage(looking, scale=(640, 640)).input_size_hw((90, 120), (640, 640)) == (480, 640)
    assert DetectionStage(looking, scale=(640, 640), max_zoom=0.5).input_size_hw((90, 120), (640, 640)) == (45, 60)


def test_settings_of_a_stage_that_shares_its_detector():
    looking = Looking(max_per_img=5)
    stage = DetectionStage(looking, scale=(64, 64), test_cfg=dict(max_per_img=0))
    assert len(stage([torch.zeros(3, 64, 64)])[0]) == 0 and looking.settings[0]['cfg']['max_per_img'] == 0
    assert looking.test_cfg.max_per_img == 5 and len(DetectionStage(looking, scale=(64, 64))([IMAGE])[0]) == 2


@pytest.mark.parametrize(
    ('options', 'field'),
    [
        (dict(coarse_area=-1), 'coarse_area'),
        (dict(look_below=-1), 'look_below'),
        (dict(look_below='16'), 'look_below'),
        (dict(look_score=2), 'look_score'),
        (dict(min_overlap=90), 'min_overlap'),
        (dict(ufp=dict(expand=2)), 'ufp.*expand'),
        (dict(ufp=dict(min_score='high')), 'min_score'),
        (dict(fine=dict(test_cfg=dict(score_threshold=0.2))), 'test_cfg.*score_thr'),
        (dict(fine=dict(max_zoom=0)), 'max_zoom'),
    ],
)
def test_refuses(options, field):
    with pytest.raises(ConfigError, match=field):
        UFPMPDet(dict(detector=Looking(), scale=(64, 64)), **options)
