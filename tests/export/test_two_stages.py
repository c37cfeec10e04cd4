"""Two-stage detectors as graphs: the boxes of the eager detector, in torch, ONNX Runtime, OpenVINO and as a backend; and refusals."""

import pytest
import torch
from mmengine.config import ConfigDict

from mmdet.apis.backends import use_backend
from mmdet.apis.building import build_model
from mmdet.errors import ConfigError
from mmdet.export.graphs import build_graph, check_target, to_onnx
from mmdet.models.inference import restore_networks
from mmdet.structures import DetDataSample
from mmdet_runtime.backends import open_network
from tests.models.detectors.test_every_head import small_config

from .test_graphs import CONFIGS, assert_same, by_image, inputs_of

KINDS = [
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py',
]
_BUILT: dict = {}


def detector_of(path):
    """The small detector of a config, built once, with spread scores and few proposals."""
    if path not in _BUILT:
        cfg = small_config(CONFIGS / path)
        model = cfg.model
        model.test_cfg.rpn.update(nms_pre=60, max_per_img=30)
        model.test_cfg.rcnn.score_thr = 0.2
        heads = model.roi_head.bbox_head
        for head in heads if isinstance(heads, list) else [heads]:
            head.update(dict(conv_out_channels=64) if 'num_convs' in head else {})
        torch.manual_seed(0)
        detector = build_model(cfg).eval()
        generator = torch.Generator().manual_seed(0)
        for part in (detector.neck, detector.rpn_head, detector.roi_head):
            for value in part.parameters():
                if value.dim() > 1:
                    value.data.normal_(std=value[0].numel() ** -0.5, generator=generator)
        for layer in detector.neck.lateral_convs:  # an untrained backbone fades
            layer.conv.weight.data *= 8
        _BUILT[path] = detector
    return _BUILT[path]


def eager(detector, image, shape):
    """(boxes, scores, labels) of each image, rescaled to half its size, as ``predict`` gives them."""
    samples = [DetDataSample(metainfo=dict(img_shape=tuple(size), scale_factor=(2.0, 2.0))) for size in shape.tolist()]
    with torch.no_grad():
        found = detector.predict(image, samples, rescale=True)
    return [(one.pred_instances.bboxes, one.pred_instances.scores, one.pred_instances.labels) for one in found]


def halved(images):
    return [(boxes / 2, scores, labels) for boxes, scores, labels in images]


@pytest.mark.parametrize('path', KINDS)
def test_a_graph_gives_the_boxes_of_the_detector(path):
    """Also where there are fewer proposals than places, and none in an image without size."""
    detector = detector_of(path)
    for size, most in (((64, 96), 30), ((96, 64), 200))[path != KINDS[0] :]:
        detector.rpn_head.test_cfg.max_per_img = most
        image, shape = inputs_of(*size)
        with torch.no_grad():
            found = build_graph(detector, 'boxes')(image, shape)
            wanted = eager(detector, image, shape)
            assert min(len(boxes) for boxes, *_ in wanted) >= 3
            assert_same(halved(by_image(found)), wanted)
            boxes, scores, labels = build_graph(detector, 'candidates')(image, shape * torch.tensor([[1], [0]]))
        assert boxes.shape[:2] == scores.shape == labels.shape == (2, 3 * most)
        assert (scores[0] > 0).any() and (scores[1] == 0).all()
    detector.rpn_head.test_cfg.max_per_img = 30


def test_onnx_runtime_at_other_sizes_and_openvino_as_a_backend(tmp_path):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    pytest.importorskip('openvino')
    detector = detector_of(KINDS[0])
    graph = build_graph(detector, 'boxes')
    to_onnx(graph, tmp_path / 'model.onnx', (64, 96))
    image, shape = inputs_of(96, 128)
    wanted = eager(detector, image, shape)
    network = open_network(tmp_path / 'model.onnx', backend='onnxruntime', precision='fp32', threads=1)
    found = network(image.numpy(), shape.numpy())
    assert_same(halved(by_image([found[name] for name in graph.output_names])), wanted, score=1e-3, pixels=5e-3)
    candidates = detector.candidates(image, [dict(img_shape=(96, 128), scale_factor=(1, 1))] * 2)
    use_backend(detector, 'openvino', threads=1)
    try:
        assert_same(eager(detector, image, shape), wanted, score=1e-3, pixels=5e-3)
        backed = detector.candidates(image, [dict(img_shape=(96, 128), scale_factor=(1, 1))] * 2)
        assert [len(one) for one in backed] == [len(one) for one in candidates]
    finally:
        detector.backend_network = None
        restore_networks(detector)


def test_what_cannot_be_exported_is_named(monkeypatch):
    detector = detector_of(KINDS[0])
    with pytest.raises(ConfigError, match='NMS and the RoIAlign between two stages.*take onnx'):
        check_target(build_graph(detector, 'candidates'), 'torch-export')
    soft = ConfigDict(detector.roi_head.test_cfg, nms=dict(type='soft_nms', iou_threshold=0.5))
    build_graph(detector, 'candidates', soft)
    with pytest.raises(ConfigError, match="test_cfg.nms: must be of type 'nms'.*candidates"):
        build_graph(detector, 'boxes', soft)
    monkeypatch.setattr(detector.rpn_head, 'test_cfg', ConfigDict(detector.rpn_head.test_cfg, nms=soft.nms))
    with pytest.raises(ConfigError, match="test_cfg.rpn.nms: must be of type 'nms'"):
        build_graph(detector, 'candidates')
    monkeypatch.setattr(detector, 'rpn_head', None)
    with pytest.raises(ConfigError, match='rpn_head: is needed for an export'):
        build_graph(detector, 'candidates')
