"""Any detector that speaks the interface of a stage, in either stage: a written-out one without NMS, dense ones, those of transformers."""

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.config import load_config
from mmdet.config.stages import composite_config
from mmdet.core.boxes import bbox_flip as flip_boxes
from mmdet.models.detectors import DetectionStage, DetTTAModel, SlicedDet, UFPMPDet
from mmdet.models.detectors.single_stage import SingleStageDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import ConfigError
from tests.models.pair_detector import PairDetector
from tests.models.transformers_case import needs_transformers, tiny_detector

NMS = dict(type='nms', iou_threshold=0.5)
IMAGE = torch.zeros(3, 40, 60, dtype=torch.uint8)


@pytest.fixture(scope='module')
def gfl(repository):
    cfg = load_config(repository / 'configs/_base_/models/gfl_small_fpn.py').model
    cfg.bbox_head.num_classes = 2
    cfg.test_cfg.update(score_thr=0.0099)
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


@pytest.mark.parametrize(
    ('options', 'stage', 'scores'),
    [
        # One view: the best of the detector's own; what lies beside the image is left out.
        ({}, {}, [0.9, 0.8, 0.3]),
        ({}, dict(test_cfg=dict(score_thr=0.5)), [0.9, 0.8]),
        ({}, dict(test_cfg=dict(max_per_img=1)), [0.9]),
        (dict(nms=NMS), {}, [0.9, 0.8, 0.3]),
        (dict(nms=NMS, end_to_end=False), {}, [0.9, 0.3]),
        # Two scales of the same boxes: each object once. With any NMS between all boxes, one of the neighbours would be lost.
        (dict(nms=NMS), dict(scale=[(60, 40), (60, 40)]), [0.9, 0.8, 0.3]),
        ({}, dict(scale=[(60, 40), (60, 40)]), [0.9, 0.8, 0.3]),
        (dict(nms=NMS, end_to_end=False), dict(scale=[(60, 40), (60, 40)]), [0.9, 0.3]),
        # The flipped view has them at the other edge.
        (dict(nms=NMS), dict(flip=True), [0.9, 0.9, 0.8, 0.8, 0.3, 0.3]),
        (dict(nms=NMS), dict(flip=True, test_cfg=dict(max_per_img=3)), [0.9, 0.9, 0.8]),
    ],
)
def test_views_of_a_stage(options, stage, scores):
    model = DetectionStage(PairDetector(**options), **{'scale': (60, 40), 'flip': False, **stage})
    assert model([]) == []
    (found,) = model([IMAGE])
    assert found.scores.tolist() == pytest.approx(scores)
    assert found.bboxes[0].tolist() == [4, 4, 12, 14] and bool((found.bboxes >= 0).all())


def test_what_a_detector_is_asked(gfl):
    names = ('num_classes', 'end_to_end', 'clips_boxes', 'class_agnostic', 'max_objects')
    rpn = load_config('configs/_base_/models/gfl_small_fpn.py').model
    assert [getattr(gfl, name) for name in names] == [2, False, True, False, None]
    assert gfl.detection_cfg is gfl.bbox_head.test_cfg and type(gfl).max_objects_of(rpn) is None
    pair = PairDetector()
    assert [getattr(pair, name) for name in names] == [2, True, False, False, 4]
    assert PairDetector.max_objects_of(dict(type='PairDetector', num_queries=7)) == 7
    head = MODELS.build(dict(type='RPNHead', in_channels=8, feat_channels=8, anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], strides=[8], scales=[4]), bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')))  # fmt: skip
    assert head.class_agnostic
    with pytest.raises(ConfigError, match='detector: must be a single detector: SlicedDet has no detection_cfg'):
        DetectionStage(SlicedDet(dict(detector=gfl, scale=(64, 64))), scale=(64, 64))


def test_a_detector_of_mmdetection_is_a_stage(gfl):
    """One that knows nothing of the interface: it has a ``bbox_head`` and overrides the passes of 3.x."""

    class Plugin(SingleStageDetector):
        def extract_feat(self, batch_inputs):
            return super().extract_feat(batch_inputs)

    plain, own = DetectionStage(gfl, scale=(96, 64)), DetectionStage(gfl, scale=(96, 64))
    own.detector = Plugin.__new__(Plugin)
    own.detector.__dict__.update(gfl.__dict__)
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (expected,), (found,) = plain([image]), own([image])
    assert len(found) > 1 and found.bboxes.equal(expected.bboxes) and found.scores.equal(expected.scores)


def detectors(kinds, gfl):
    made = dict(gfl=lambda: gfl, pair=lambda: PairDetector(nms=NMS))
    return [made[kind]() if kind in made else MODELS.build(tiny_detector(kind, 2)).eval() for kind in kinds]


MIXTURES = [
    ('pair', 'pair'), ('gfl', 'pair'), ('pair', 'gfl'),
    *(pytest.param(*kinds, marks=needs_transformers) for kinds in (('gfl', 'd_fine'), ('d_fine', 'gfl'), ('yolos', 'd_fine'), ('yolos', 'pair'))),
]  # fmt: skip


@pytest.mark.parametrize(('coarse', 'fine'), MIXTURES)
def test_any_mixture_of_stages(gfl, coarse, fine):
    torch.manual_seed(0)
    parts = [
        dict(detector=part, scale=(96, 96), test_cfg=dict(max_per_img=8)) for part in detectors((coarse, fine), gfl)
    ]
    model = UFPMPDet(*parts, coarse_weight=0.5, max_per_img=12).eval()
    images = [torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8) for _ in range(2)]
    for image, steps in zip(images, model.trace(images)):
        # Untrained ones may find nothing on a mosaic.
        assert len(steps.coarse) > 0 and len(steps.regions) > 0 and (len(steps.fine) > 0 or coarse == 'yolos')
        assert 0 < len(steps.merged) <= 12 and bool(steps.merged.scores.diff().le(0).all())
        alone = model.detect([image])[0]
        torch.testing.assert_close(alone.bboxes, steps.merged.bboxes, rtol=0, atol=1e-3)
    sliced = SlicedDet(parts[1], tile_wh=(48, 48), whole=dict(scale=(96, 96)), max_per_img=9).eval()
    assert all(0 < len(found) <= 9 for found in sliced.detect(images))


def test_a_mosaic_shows_an_object_twice():
    """Two regions overlap in the image: an object of both is found in both tiles, which are two views, while neighbours stay."""
    model = UFPMPDet(*[dict(detector=PairDetector(), scale=(64, 64), flip=False)] * 2, nms=NMS)
    regions = torch.tensor([[0, 0, 30, 30, 0, 0, 1], [10, 0, 30, 30, 30, 0, 1]], dtype=torch.float64)
    boxes = [[12, 4, 20, 14], [14, 4, 22, 14], [32, 4, 40, 14], [34, 4, 42, 14]]  # the same two in both tiles
    fine = InstanceData(bboxes=torch.tensor(boxes).float(), scores=torch.tensor([0.9, 0.8, 0.7, 0.6]), labels=torch.ones(4, dtype=torch.long))  # fmt: skip
    coarse = InstanceData(bboxes=torch.tensor([[12.0, 4, 20, 14]]), scores=torch.tensor([0.5]), labels=torch.ones(1, dtype=torch.long))  # fmt: skip
    for weight, kept in ((0.0, [0.9, 0.8]), (1.0, [0.9, 0.8])):
        model.coarse_weight = weight
        found = model.merge(coarse, fine, regions)
        assert found.scores.tolist() == pytest.approx(kept)
        assert found.bboxes.tolist() == [[12, 4, 20, 14], [14, 4, 22, 14]]
    model.fine.detector.end_to_end = model.coarse.detector.end_to_end = False
    assert model.merge(coarse, fine, regions).scores.tolist() == pytest.approx([0.9])


def test_tiles_that_overlap():
    """Neighbours that two tiles show stay two, and each is found once."""
    model = SlicedDet(dict(detector=PairDetector(), scale=(40, 40), flip=False), tile_wh=(40, 40), overlap=0.5, nms=NMS)
    (found,) = model.detect([IMAGE])  # tiles from 0 and 20: each has its own two
    assert found.scores.tolist() == pytest.approx([0.9, 0.9, 0.8, 0.8, 0.3, 0.3])
    model.stage.detector.boxes = ((24, 4, 32, 14), (26, 4, 34, 14), (4, 4, 12, 14), (6, 4, 14, 14))
    (found,) = model.detect([IMAGE])
    # Those at 24 and 26 of the first tile are at 4 and 6 of the second, where they score less.
    assert found.bboxes[:, 0].tolist() == [24, 44, 26, 46, 4, 6]


def test_flip_test_by_tta():
    meta = dict(ori_shape=(40, 60), scale_factor=(1.0, 1.0), flip_direction='horizontal')
    samples = [DetDataSample(metainfo=dict(meta, flip=flip)) for flip in (False, True)]
    detector = PairDetector(max_per_img=4)
    tta = DetTTAModel(module=detector)
    assert tta.tta_cfg is detector.detection_cfg
    plain, flipped = (detector.predict(None, [sample])[0] for sample in samples)
    flipped.pred_instances.bboxes = flip_boxes(
        flipped.pred_instances.bboxes, (40, 60)
    )  # as the mirrored image shows them
    (merged,) = tta.merge_preds([[plain, flipped]])
    assert merged.pred_instances.scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.3])
    strict = DetTTAModel(module=PairDetector(end_to_end=False))
    assert strict.tta_cfg == dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)


def config_of(model):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b')), pipeline=pipeline)
    return Config(dict(default_scope='mmdet', model=model, test_dataloader=dict(dataset=dataset)))


def test_tiles_by_the_inferencer():
    """Tiles of 40 pixels from 0 and 20, seen at 64: the weak box of the first is suppressed by one of the second, no neighbour is."""
    inferencer = DetInferencer(config_of(dict(type='PairDetector')), device='cpu', show_progress=False)
    image = IMAGE.permute(1, 2, 0).numpy()
    for tiles, scores in (
        (None, [0.9, 0.8, 0.7, 0.3]),
        (dict(tile_wh=40, overlap=0.5, nms=NMS), [0.9, 0.9, 0.8, 0.8, 0.7, 0.7, 0.3]),
    ):
        options = {} if tiles is None else dict(tiles=tiles)
        assert inferencer(image, **options)['predictions'][0]['scores'] == pytest.approx(scores)


@needs_transformers
@pytest.mark.parametrize('tile_wh', [None, (40, 40)])
def test_a_detector_of_transformers_looks_closer(tmp_path, tile_wh):
    """``mmdet predict --pack`` and ``--slice``: one detector around which a composite one is built, which reads its checkpoint."""
    config = config_of(tiny_detector('yolos', 2, test_cfg=dict(score_thr=0.0, max_per_img=6, nms=None)))
    torch.manual_seed(0)
    single = MODELS.build(config.model)
    torch.save(
        dict(state_dict=single.state_dict(), meta=dict(dataset_meta=dict(classes=('a', 'b')))), tmp_path / 'a.pth'
    )
    model = init_detector(composite_config(config, tile_wh=tile_wh), str(tmp_path / 'a.pth'), device='cpu')
    stage = model.coarse if tile_wh is None else model.stage
    assert all(value.equal(stage.detector.state_dict()[name]) for name, value in single.state_dict().items())
    found = inference_detector(model, IMAGE.permute(1, 2, 0).numpy()).pred_instances
    assert len(found) > 0 and stage.end_to_end and stage.test_cfg.max_per_img == 6


@needs_transformers
def test_flip_test_of_a_detector_of_transformers():
    torch.manual_seed(0)
    tta = DetTTAModel(module=MODELS.build(tiny_detector('yolos', 2, test_cfg=dict(max_per_img=5)))).eval()
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    meta = dict(ori_shape=(64, 64), img_shape=(64, 64), scale_factor=(1.0, 1.0), flip_direction='horizontal')
    views = [[DetDataSample(metainfo=dict(meta, flip=flip))] for flip in (False, True)]
    (merged,) = tta.test_step(dict(inputs=[[image], [image.flip(-1)]], data_samples=views))
    assert len(merged.pred_instances) == 5 and not merged.flip
    assert UFPMPDet(dict(detector=tta.module, scale=(64, 64))).fine.detector is tta.module
