"""A detector of a user's own class, which says by attributes alone what exports and backends ask."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mmdet.apis.backends import use_backend
from mmdet.apis.exporting import export_detector
from mmdet.errors import ConfigError
from mmdet.export.graphs import build_graph, check_target
from mmdet.export.plan import settings_for
from mmdet.export.settings import ExportSettings
from mmdet.models.detectors import BaseDetector
from mmdet.models.detectors.transformers_det import QueryHead
from mmdet.registry import MODELS

TEST_CFG = dict(score_thr=0.3, nms_pre=50, nms=dict(type='nms', iou_threshold=0.6), max_per_img=20, min_bbox_size=0)
DENSE = dict(
    type='FCOSHead', num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1, strides=[16], norm_cfg=None, regress_ranges=((-1, 1e8),),
    test_cfg=TEST_CFG,
)  # fmt: skip


@MODELS.register_module(force=True)
class OwnDetector(BaseDetector):
    """One convolution, and a head for maps or for queries, of which each cell is one; images are padded by the detector itself."""

    input_rule = dict(divisor=48)

    def __init__(self, kind):
        super().__init__(dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=16))
        self.backbone, self.rows = nn.Conv2d(3, 8, 16, 16), nn.Linear(8, 6)
        dense = kind == 'maps'
        self.bbox_head = MODELS.build(DENSE) if dense else QueryHead(2, ConfigDict(TEST_CFG), has_background=False)
        self.end_to_end, self.backend_network = not dense, None

    def raw(self, images):
        maps = self.backbone(images)
        if self.raw_kind == 'maps':
            return self.bbox_head([maps])
        rows = self.rows(maps.flatten(2).transpose(1, 2))
        x, y, w, h = rows[..., 2:].sigmoid().unbind(-1)
        height, width = images.shape[-2:]
        sides = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
        return rows[..., :2], torch.stack(sides, -1)

    def _forward(self, batch_inputs, batch_data_samples=None):
        return (self.backend_network or self.raw)(self.padded(batch_inputs))

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        metas = [sample.metainfo for sample in batch_data_samples]
        raw = self._forward(batch_inputs)
        return self.add_pred_to_datasample(
            batch_data_samples, self.bbox_head.predict_by_feat(*raw, batch_img_metas=metas, rescale=rescale)
        )

    def loss(self, batch_inputs, batch_data_samples):
        return dict(loss=self._forward(batch_inputs)[0].sum())


def own(kind):
    torch.manual_seed(0)
    detector = OwnDetector(kind).eval()
    for part in detector.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.weight.data.normal_(std=part.weight[0].numel() ** -0.5)
    return detector


@pytest.mark.parametrize('kind', ['maps', 'queries'])
def test_it_is_exported(kind, tmp_path):
    pytest.importorskip('onnxruntime')
    resize = dict(type='Resize', scale=(160, 96), keep_ratio=True)
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='PackDetInputs', meta_keys=keys)]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b')), pipeline=pipeline)
    config = Config(dict(model=dict(type='OwnDetector', kind=kind), test_dataloader=dict(dataset=dataset)))
    weights = dict(state_dict=own(kind).state_dict(), meta=dict(dataset_meta=dict(classes=('a', 'b'))))
    torch.save(weights, tmp_path / 'w.pth')
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), cv2.resize(pixels, (200, 90)))
    settings = ExportSettings(to='onnx', parity_images=str(tmp_path / 'a.png'), ap_images=0)
    done = export_detector(config, str(tmp_path / 'w.pth'), tmp_path / 'out', settings, log=lambda line: None)
    assert done.parity.passed and done.parity.expected > 5, str(done.parity)
    stage = done.manifest['stages']['detector']
    assert stage['end_to_end'] == (kind == 'queries') and stage['input_rule'] == dict(divisor=48)
    assert done.parity.limits.box_px == (1e-2 if kind == 'queries' else 1e-3)


@pytest.mark.parametrize('kind', ['maps', 'queries'])
def test_a_library_computes_it(kind):
    pytest.importorskip('onnxruntime')
    detector, image = own(kind), torch.randn(1, 3, 40, 100, generator=torch.Generator().manual_seed(0))
    wanted = detector(image, mode='tensor')
    use_backend(detector, 'onnxruntime')
    found = detector(image, mode='tensor')
    assert detector.backend_network.first_calls == 1
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('kind', 'static'), [('maps', False), ('queries', True)])
def test_torch_export_has_one_size_where_there_are_queries(kind, static):
    detector, settings = own(kind), ExportSettings(to='torch-export')
    check_target(build_graph(detector, 'candidates'), 'torch-export')
    assert settings_for(detector, settings, lambda line: None).static == static


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(raw_kind=None), r'one whose raw_kind is one of .*OwnDetector'),
        (dict(raw_kind='rows'), r'one whose raw_kind is one of .*OwnDetector'),
        (dict(backend_network=AttributeError), 'computes detectors of one or two stages.*OwnDetector'),
        (dict(own_steps=lambda: ['predict']), 'OwnDetector has a predict of its own'),
    ],
)
def test_what_it_does_not_say_is_refused(change, reason):
    pytest.importorskip('onnxruntime')
    detector = own('queries')
    for name, value in change.items():
        if value is AttributeError:
            delattr(detector, name)
        else:
            setattr(detector, name, value)
    with pytest.raises(ConfigError, match=reason):
        use_backend(detector, 'onnxruntime')
