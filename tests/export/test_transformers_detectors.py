"""Detectors of transformers as graphs: the detections of torch, by ONNX Runtime, OpenVINO and torch.export."""

import pytest
import torch
from mmengine.config import ConfigDict

from mmdet.apis.backends import use_backend
from mmdet.errors import ConfigError
from mmdet.export.graphs import build_graph, check_target, to_onnx, to_torch_export
from mmdet.registry import MODELS
from tests.models.transformers_case import needs_transformers, spread_weights, tiny_detector

from .test_graphs import assert_same, by_image

pytestmark = needs_transformers
WRITTEN = ['d_fine', 'deimv2', 'rt_detr', 'rt_detr_v2', 'lw_detr', 'yolos']
_built = {}


def detector_of(kind):
    """The tiny detector with spread weights and at most 40 detections."""
    if kind not in _built:
        built = MODELS.build(tiny_detector(kind, num_classes=3, test_cfg=dict(score_thr=0.2, max_per_img=40)))
        _built[kind] = spread_weights(built)
    return _built[kind]


def inputs_of(height, width):
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    return image, torch.tensor([[height, width], [height - 27, width - 39]])


def eager(detector, image, shape, cfg=None):
    metas = [dict(img_shape=tuple(size)) for size in shape.tolist()]
    with torch.no_grad():
        raw = detector.raw_outputs(image)
    return [(one.bboxes, one.scores, one.labels) for one in detector.bbox_head.predict_by_feat(*raw, metas, cfg=cfg)]


@pytest.mark.parametrize('kind', ['d_fine', 'yolos'])
def test_a_graph_gives_the_detections_of_the_head(kind):
    detector, (image, shape) = detector_of(kind), inputs_of(128, 160)
    for changes in ({}, dict(max_per_img=5), dict(max_per_img=-1, score_thr=0.0), dict(score_thr=1.0)):
        cfg = ConfigDict(detector.detection_cfg, **changes)
        wanted = eager(detector, image, shape, cfg)
        for outputs in ('candidates', 'boxes'):
            with torch.no_grad():
                assert_same(by_image(build_graph(detector, outputs, cfg)(image, shape)), wanted)


@pytest.mark.parametrize('kind', WRITTEN)
def test_onnx_gives_the_detections_at_other_sizes(kind, tmp_path):
    pytest.importorskip('onnx')
    onnxruntime, detector = pytest.importorskip('onnxruntime'), detector_of(kind)
    graph = build_graph(detector, 'boxes')
    to_onnx(graph, tmp_path / 'model.onnx', (128, 160))
    session = onnxruntime.InferenceSession(tmp_path / 'model.onnx')
    for size in ((128, 160), (192, 128)):
        image, shape = inputs_of(*size)
        found = by_image(session.run(graph.output_names, {'image': image.numpy(), 'shape': shape.numpy()}))
        wanted = eager(detector, image, shape)
        assert min(len(scores) for _, scores, _ in wanted) > 5
        assert_same(found, wanted, score=1e-4, pixels=5e-3)
