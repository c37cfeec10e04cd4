"""Detectors of transformers as graphs: the detections of torch, by ONNX Runtime, OpenVINO and torch.export."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict

from mmdet.apis.backends import use_backend
from mmdet.apis.building import build_model
from mmdet.apis.exporting import export_detector
from mmdet.errors import ConfigError
from mmdet.export.graphs import build_graph, to_onnx, to_torch_export
from mmdet.export.plan import settings_for
from mmdet.export.settings import ExportSettings
from mmdet.registry import MODELS
from mmdet_runtime.backends import open_network
from tests.models.transformers_case import needs_transformers, spread_weights, tiny_detector

from .test_graphs import assert_same, by_image

pytestmark = needs_transformers
# The layers of a decoder are written one as the other. The DEIMv2 has a DINOv3.
_CHANGES = dict(
    rt_detr=dict(decoder_layers=1),
    rf_detr=dict(decoder_layers=1),
    deformable_detr=dict(decoder_layers=1),
    deimv2=dict(
        encoder_in_channels=[32] * 3, encoder_has_trailing_conv=False,
        backbone_config=dict(
            model_type='dinov3_vit', hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, layerscale_value=1.0,
            num_register_tokens=0, pos_embed_rescale=None, key_bias=False, apply_layernorm=False, out_indices=[0, 1, 2],
        ),
    ),
)  # fmt: skip
_built = {}


def few(kind):
    """Config of a tiny detector with at most 40 detections."""
    settings = dict(score_thr=0.2, max_per_img=40)
    return tiny_detector(kind, num_classes=3, test_cfg=settings, model=_CHANGES.get(kind, {}))


def detector_of(kind):
    """The same with spread weights, built once."""
    if kind not in _built:
        torch.manual_seed(0)
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


@pytest.mark.parametrize(
    ('kind', 'libraries'),
    [
        ('d_fine', ['onnxruntime']),
        ('deimv2', ['onnxruntime']),
        ('rt_detr', ['onnxruntime']),
        ('rt_detr_v2', ['onnxruntime']),
        ('rf_detr', ['onnxruntime', 'openvino']),
        ('deformable_detr', ['onnxruntime']),
        ('yolos', ['onnxruntime']),
    ],
)
def test_onnx_gives_the_detections_at_other_sizes(kind, libraries, tmp_path):
    pytest.importorskip('onnx')
    graph = build_graph(detector_of(kind), 'boxes')
    to_onnx(graph, tmp_path / 'model.onnx', (128, 160))
    for library in libraries:
        pytest.importorskip(library)
        network = open_network(tmp_path / 'model.onnx', backend=library, precision='fp32', threads=1)
        for size in ((128, 160), (192, 128)):
            image, shape = inputs_of(*size)
            found = network(image.numpy(), shape.numpy())
            wanted = eager(graph.detector, image, shape)
            assert min(len(scores) for _, scores, _ in wanted) > 5
            assert_same(by_image([found[name] for name in graph.output_names]), wanted, score=1e-4, pixels=5e-3)


def test_the_library_computes_in_place_of_torch():
    pytest.importorskip('onnx')
    pytest.importorskip('openvino')
    detector, metas = detector_of('yolos'), [dict(img_shape=(40, 200), ori_shape=(40, 200), scale_factor=(1.0, 1.0))]
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


PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]


def exported(folder, model, detectors, pipeline, sizes=((90, 150), (60, 200)), **options):
    """The export of a model whose detectors have spread weights, with images of some sizes."""
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b', 'c')), pipeline=pipeline)
    config = Config(dict(model=model, test_dataloader=dict(dataset=dataset)))
    built = build_model(config)
    for name in detectors:
        spread_weights(built.get_submodule(name))
    meta = dict(dataset_meta=dict(classes=('a', 'b', 'c')))
    torch.save(dict(state_dict=built.state_dict(), meta=meta), folder / 'w.pth')
    (folder / 'images').mkdir()
    for number, (height, width) in enumerate(sizes):
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
    done, _ = exported(tmp_path, model, ['coarse.detector', 'fine.detector'], PIPELINE, sizes=[(90, 150)], to='onnx')
    assert done.parity.passed and done.parity.expected > 20, str(done.parity)
    stages = done.manifest['stages']
    assert [stages[name]['end_to_end'] for name in ('coarse', 'fine')] == [True, True]
    assert stages['fine']['test_cfg']['nms'] == dict(type='nms', iou_threshold=0.7)
    # Its scale has fewer cells than there are queries, so that all mosaics are enlarged.
    assert stages['fine']['input_rule'] == dict(divisor=32, least_side=1, strides=[16.0], cells=30)


def test_torch_export_has_one_size(tmp_path):
    resize = dict(type='Resize', scale=(160, 96), keep_ratio=True)
    pipeline = [PIPELINE[0], resize, PIPELINE[1]]
    done, lines = exported(tmp_path, few('yolos'), [''], pipeline, to='torch-export')
    assert done.parity.passed and done.parity.expected > 20, str(done.parity)
    assert done.manifest['networks']['network']['inputs'] == {'image': [1, 3, 96, 160]}
    assert any('one size alone' in line for line in lines)
    with pytest.raises(ConfigError, match='--precision: must be fp32'):
        settings_for(detector_of('yolos'), ExportSettings(to='torch-export', precision='bf16'), print)
    with pytest.raises(ConfigError, match='size of its example'):
        to_torch_export(build_graph(detector_of('yolos'), 'candidates'), tmp_path / 'w.pt2', (96, 160))
