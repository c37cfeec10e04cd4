"""Detectors of transformers as graphs: the detections of torch, by ONNX Runtime, OpenVINO and torch.export."""

import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict

from mmdet.apis.backends import use_backend
from mmdet.apis.building import build_model
from mmdet.apis.exporting import export_detector
from mmdet.errors import ConfigError
from mmdet.export.graphs import build_graph, check_target, to_onnx, to_torch_export
from mmdet.export.plan import settings_for
from mmdet.export.settings import ExportSettings
from mmdet.models.detectors.transformers_families import family_of
from mmdet.registry import MODELS
from tests.models.transformers_case import needs_transformers, spread_weights, tiny_detector

from .test_graphs import assert_same, by_image

pytestmark = needs_transformers
# Those with nearly the same decoder as another one run with the slow tests.
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ('deimv2', 'rt_detr')]
WRITTEN = ['d_fine', 'rt_detr_v2', 'lw_detr', 'yolos', *SLOW]
_built = {}


def few(kind):
    """Config of a tiny detector with at most 40 detections."""
    return tiny_detector(kind, num_classes=3, test_cfg=dict(score_thr=0.2, max_per_img=40))


def detector_of(kind):
    """The same with spread weights, built once."""
    if kind not in _built:
        _built[kind] = spread_weights(MODELS.build(few(kind)))
    return _built[kind]


def inputs_of(height, width):
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    return image, torch.tensor([[height, width], [height - 27, width - 39]])


def eager(detector, image, shape, cfg=None):
    metas = [dict(img_shape=tuple(size)) for size in shape.tolist()]
    with torch.no_grad():
        raw = detector.raw_outputs(image)
    return [(one.bboxes, one.scores, one.labels) for one in detector.bbox_head.predict_by_feat(*raw, metas, cfg=cfg)]


@pytest.mark.parametrize('kind', ['lw_detr', 'yolos'])
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


def test_the_library_computes_in_place_of_torch():
    pytest.importorskip('onnx')
    pytest.importorskip('openvino')
    detector, metas = detector_of('d_fine'), [dict(img_shape=(40, 200), ori_shape=(40, 200), scale_factor=(1.0, 1.0))]
    image = torch.randn(1, 3, 40, 200, generator=torch.Generator().manual_seed(0))

    def candidates():
        with torch.no_grad():
            return [(one.bboxes, one.scores, one.labels) for one in detector.candidates(image, metas)]

    wanted = candidates()
    use_backend(detector, 'openvino', threads=1)
    found = candidates()
    assert detector.backend_network.first_calls == 1
    assert len(wanted[0][0]) > 5
    assert_same(found, wanted, score=1e-4, pixels=5e-3)
    use_backend(detector, 'torch')
    assert detector.backend_network is None


@pytest.mark.parametrize(
    ('kind', 'reason'),
    [('rf_detr', 'smoothed bicubic resize'), ('deformable_detr', 'an operator that ONNX Runtime lacks')],
)
def test_what_onnx_cannot_hold_is_refused_by_name(kind, reason, tmp_path):
    detector = detector_of(kind)
    graph = build_graph(detector, 'candidates')
    for to in ('onnx', 'openvino'):
        with pytest.raises(ConfigError, match=f'{reason}.*{kind}'):
            check_target(graph, to)
    pytest.importorskip('onnxruntime')
    with pytest.raises(ConfigError, match=f'{reason}.*{kind}'):
        use_backend(detector, 'onnxruntime')
    check_target(graph, 'torch-export')


PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]


def exported(folder, model, detectors, pipeline, **options):
    """The export of a model whose detectors have spread weights; two images of other sizes."""
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b', 'c')), pipeline=pipeline)
    config = Config(dict(model=model, test_dataloader=dict(dataset=dataset)))
    built = build_model(config)
    for name in detectors:
        spread_weights(built.get_submodule(name))
    meta = dict(dataset_meta=dict(classes=('a', 'b', 'c')))
    torch.save(dict(state_dict=built.state_dict(), meta=meta), folder / 'w.pth')
    (folder / 'images').mkdir()
    for number, (height, width) in enumerate([(90, 150), (60, 200)]):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / 'images' / f'{number}.png'), cv2.resize(pixels, (width, height)))
    settings = ExportSettings(**options, parity_images=str(folder / 'images'), ap_images=0)
    lines = []
    return export_detector(config, str(folder / 'w.pth'), folder / 'out', settings, log=lines.append), lines


def test_both_stages_in_one_folder(tmp_path):
    pytest.importorskip('onnxruntime')
    coarse, fine = (
        dict(detector=few(kind), scale=scale, flip=kind == 'yolos')
        for kind, scale in (('yolos', (96, 64)), ('lw_detr', (96, 64)))
    )
    model = dict(type='UFPMPDet', ufp=dict(scale=1.5), coarse=coarse, fine=fine)
    done, _ = exported(tmp_path, model, ['coarse.detector', 'fine.detector'], PIPELINE, to='onnx')
    assert done.parity.passed and done.parity.expected > 20, str(done.parity)
    stages = done.manifest['stages']
    assert [stages[name]['end_to_end'] for name in ('coarse', 'fine')] == [True, True]
    assert stages['fine']['test_cfg']['nms'] == dict(type='nms', iou_threshold=0.7)
    # Its scale has fewer cells than there are queries, so that all mosaics are enlarged.
    assert stages['fine']['input_rule'] == dict(divisor=32, least_side=1, strides=[16.0], cells=30)


def test_torch_export_has_one_size(tmp_path):
    resize = dict(type='Resize', scale=(160, 96), keep_ratio=True)
    pipeline = [PIPELINE[0], resize, PIPELINE[1]]
    done, lines = exported(tmp_path, few('rf_detr'), [''], pipeline, to='torch-export')
    assert done.parity.passed and done.parity.expected > 20, str(done.parity)
    assert done.manifest['networks']['network']['inputs'] == {'image': [1, 3, 96, 160]}
    assert any('one size alone' in line for line in lines)
    with pytest.raises(ConfigError, match='--precision: must be fp32'):
        settings_for(detector_of('rf_detr'), ExportSettings(to='torch-export', precision='bf16'), print)
    with pytest.raises(ConfigError, match='size of its example'):
        to_torch_export(build_graph(detector_of('rf_detr'), 'candidates'), tmp_path / 'w.pt2', (96, 160))


def test_a_dinov3_backbone_is_refused_by_name():
    kept = _built['deimv2'].model.config if 'deimv2' in _built else detector_of('deimv2').model.config
    config = copy.deepcopy(kept)
    config.backbone_config.model_type = 'dinov3_vit'
    assert family_of(kept).no_onnx(kept) is None
    assert 'DINOv3' in family_of(config).no_onnx(config)
