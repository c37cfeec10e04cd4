"""Detectors as graphs: the boxes of the eager decode, at every size, in torch, ONNX Runtime and torch.export."""

from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from torch import nn

from mmdet.errors import ConfigError
from mmdet.export.graphs import build_graph, to_onnx, to_torch_export
from mmdet.models.dense_heads.batch_decode import padded_topk
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.utils import load_config
from mmdet_runtime.backends import openvino_core
from tests.models.detectors.test_every_head import small_config

CONFIGS = Path(__file__).parents[2] / 'configs'
HEADS = [
    'atss/atss_r50_fpn_1x_coco.py',
    'centernet/centernet_r18_8xb16-crop512-140e_coco.py',
    'centernet/centernet-update_r50-caffe_fpn_ms-1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py',
    'foveabox/fovea_r50_fpn_gn-head-align_4xb4-2x_coco.py',
    'gfl/gfl_r50_fpn_1x_coco.py',
    'gfocal/gfocal_r50_fpn_1x.py',
    'ld/ld_r18-gflv1-r101_fpn_1x_coco.py',
    'nanodet/nanodet_m-0.5x_320_coco.py',
    'nanodet/nanodet_plus-m_320_coco.py',
    'paa/paa_r50_fpn_1x_coco.py',
    'reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'rpn/rpn_r50_fpn_1x_coco.py',
    'rtmdet/rtmdet_m_8xb32-300e_coco.py',
    'ssd/ssd300_coco.py',
    'tood/tood_r50_fpn_1x_coco.py',
    'tood/tood_r50_fpn_anchor-based_1x_coco.py',
    'UFPMP-Det/mp_det_res50.py',
    'vfnet/vfnet_r50_fpn_1x_coco.py',
    'yolo/yolov3_d53_8xb8-ms-416-273e_coco.py',
    'yolox/yolox_tiny_8xb8-300e_coco.py',
]


class Small(BaseDetector):
    """A dense head on maps that are the image, made smaller to each stride, times fixed random weights."""

    def __init__(self, head, widths):
        super().__init__()
        self.bbox_head, self.strides = head, [stride[0] for stride in head.prior_generator.strides]
        self.convs = nn.ModuleList(nn.Conv2d(3, width, 1) for width in widths)

    def _forward(self, batch_inputs, batch_data_samples=None):
        maps = [conv(batch_inputs[:, :, ::step, ::step]) for conv, step in zip(self.convs, self.strides)]
        return self.bbox_head(tuple(maps))

    def loss(self, batch_inputs, batch_data_samples):
        raise NotImplementedError

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        raise NotImplementedError


# Two levels instead of five, a fine and a coarse one: a trace takes seconds.
FEW_LEVELS = dict(anchor_generator=dict(strides=[8, 64]))


def detector_of(path, **changes):
    """The head of a config with spread scores, on small maps; ``changes`` are merged into the head's settings."""
    if path.startswith(('rpn', 'UFPMP')):
        model = load_config(CONFIGS / path).model
        if 'rpn_head' in model:
            model.bbox_head, model.test_cfg = model.rpn_head, model.test_cfg.rpn
        model.bbox_head.update(in_channels=64, feat_channels=64)
        model.test_cfg.update(nms_pre=50, max_per_img=20)
    else:
        model = small_config(CONFIGS / path).model
    model.bbox_head.update(changes)
    head = MODELS.build(ConfigDict(model.bbox_head, test_cfg=ConfigDict(model.test_cfg, score_thr=0.3)))
    generator = torch.Generator().manual_seed(0)
    for name, value in head.named_parameters():
        if value.dim() == 4:
            value.data = torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
        elif name.endswith('bias'):
            value.data.zero_()
    widths = head.in_channels if isinstance(getattr(head, 'in_channels', 64), (list, tuple)) else None
    torch.manual_seed(0)
    return Small(head, widths or [64] * head.prior_generator.num_levels).eval()


def inputs_of(height, width):
    """Two images, the second one smaller than the input."""
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    return image, torch.tensor([[height, width], [height - 7, width - 19]])


def eager(detector, image, shape, cfg, **options):
    """(boxes, scores, labels) of each image by the head's own decode."""
    metas = [dict(img_shape=tuple(size), batch_input_shape=tuple(image.shape[-2:])) for size in shape.tolist()]
    with torch.no_grad():
        outputs = detector._forward(image)
        found = detector.bbox_head.predict_by_feat(*outputs, batch_img_metas=metas, cfg=cfg, rescale=False, **options)
    return [(one.bboxes, one.scores, one.labels) for one in found]


def by_image(outputs, count=2):
    """The same of the outputs of a graph."""
    outputs = [torch.as_tensor(value) for value in outputs]
    if len(outputs) == 3:  # candidates
        return [tuple(value[i][outputs[1][i] > 0] for value in outputs) for i in range(count)]
    return [tuple(value[outputs[3] == i] for value in outputs[:3]) for i in range(count)]


def assert_same(found, wanted, score=1e-5, pixels=1e-3):
    """Equal as sets."""
    assert len(found) == len(wanted)
    for (boxes, scores, labels), (own, own_scores, own_labels) in zip(found, wanted):
        assert len(boxes) == len(own)
        fits = (boxes[:, None] - own).abs().amax(2) < pixels
        fits &= ((scores[:, None] - own_scores).abs() < score) & (labels[:, None] == own_labels)
        # Several that are equal fit each other: every one has as many partners as its partners have.
        assert fits.any(0).all() and fits.any(1).all()


@pytest.mark.parametrize('path', HEADS)
def test_a_graph_gives_the_boxes_of_the_head(path):
    detector = detector_of(path)
    own = detector.bbox_head.test_cfg
    # More than the coarse levels have; the best priors with all their classes; everything.
    for changes, size in (
        ({}, (64, 96)),
        ({}, (96, 128)),
        (dict(nms_pre_rule='priors'), (96, 128)),
        (dict(nms_pre=-1), (64, 96)),
    ):
        cfg = ConfigDict(own, **changes)
        image, shape = inputs_of(*size)
        for outputs, options in (('candidates', dict(with_nms=False)), ('boxes', {})):
            with torch.no_grad():
                found = by_image(build_graph(detector, outputs, cfg)(image, shape))
            wanted = eager(detector, image, shape, cfg, **options)
            assert min(len(scores) for _, scores, _ in wanted) > 0
            assert_same(found, wanted)


def test_votes_of_paa():
    detector = detector_of('paa/paa_r50_fpn_1x_coco.py', score_voting=True)
    image, shape = inputs_of(96, 128)
    plain = eager(detector_of('paa/paa_r50_fpn_1x_coco.py'), image, shape, None)
    for rule in ('pairs', 'priors'):
        cfg = ConfigDict(detector.bbox_head.test_cfg, nms_pre_rule=rule)
        found = by_image(build_graph(detector, 'boxes', cfg)(image, shape))
        wanted = eager(detector, image, shape, cfg)
        assert_same(found, wanted)
        assert (wanted[0][0].sort(0).values - plain[0][0].sort(0).values).abs().max() > 1


def test_padded_topk_of_fewer_values():
    top, index, valid = padded_topk(torch.tensor([[0.1, 0.5], [0.4, 0.3]]), 3)
    assert top[:, :2].tolist() == torch.tensor([[0.5, 0.1], [0.4, 0.3]]).tolist()
    assert index.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert valid.tolist() == [[True, True, False]] * 2


@pytest.fixture(scope='module')
def gfl():
    return detector_of('gfl/gfl_r50_fpn_1x_coco.py')


def test_nothing_is_found_above_the_threshold_nor_in_an_image_without_size(gfl):
    image, shape = inputs_of(64, 96)
    nothing = build_graph(gfl, 'boxes', ConfigDict(gfl.bbox_head.test_cfg, score_thr=1.0))(image, shape)
    assert [tuple(value.shape) for value in nothing] == [(0, 4), (0,), (0,), (0,)]
    graph = build_graph(gfl, 'candidates')
    boxes, scores, labels = graph(image, shape * torch.tensor([[1], [0]]))
    assert boxes.shape[:2] == scores.shape == labels.shape == (2, 5 * 50)
    assert (scores[0] > 0).any() and (scores[1] == 0).all()


def test_raw_outputs_are_those_of_the_head(gfl):
    graph, (image, _) = build_graph(gfl, 'raw'), inputs_of(64, 96)
    assert graph.input_names == ['image']
    assert graph.output_names == [f'{name}_{level}' for name in ('cls', 'reg') for level in range(5)]
    with torch.no_grad():
        lists, wanted = graph.raw_lists(graph(image)), gfl._forward(image)
    assert all(torch.equal(a, b) for own, of_head in zip(lists, wanted) for a, b in zip(own, of_head))


def test_the_decode_of_a_half_network_stays_in_float32():
    detector = detector_of('gfl/gfl_r50_fpn_1x_coco.py').bfloat16()
    image, shape = inputs_of(64, 96)
    boxes, scores, *_ = build_graph(detector, 'boxes')(image, shape)
    assert boxes.dtype == scores.dtype == torch.float32
    assert not torch.equal(boxes, boxes.bfloat16().float())


@pytest.mark.parametrize(
    ('outputs', 'changes', 'named'),
    [
        ('masks', {}, 'outputs'),
        ('boxes', dict(nms=dict(type='soft_nms', iou_threshold=0.5)), 'candidates'),
        ('boxes', dict(nms=dict(type='nms', iou_threshold=0.5, offset=1)), 'candidates'),
        ('boxes', dict(nms=dict(type='nms', iou_threshold=0.5, score_threshold=0.5)), 'score_threshold'),
        ('boxes', dict(min_bbox_size=4), 'min_bbox_size'),
        ('candidates', dict(nms_pre_rule='boxes'), 'nms_pre_rule'),
    ],
)
def test_what_cannot_be_exported_is_named(gfl, outputs, changes, named):
    with pytest.raises(ConfigError, match=named):
        build_graph(gfl, outputs, ConfigDict(gfl.bbox_head.test_cfg, **changes))


def test_two_stages_cannot_be_exported(repository):
    detector = Small.__new__(Small)
    nn.Module.__init__(detector)
    with pytest.raises(ConfigError, match='dense head'):
        build_graph(detector, 'raw')


@pytest.mark.parametrize(
    ('path', 'changes'),
    [
        ('gfl/gfl_r50_fpn_1x_coco.py', {}),
        ('retinanet/retinanet_r50_fpn_1x_coco.py', FEW_LEVELS),  # several anchors a location
        # A grid and deformable sampling in the network; boxes that are not clipped.
        ('tood/tood_r50_fpn_1x_coco.py', FEW_LEVELS),
        ('rtmdet/rtmdet_m_8xb32-300e_coco.py', {}),  # batch norms
    ],
)
def test_onnx_gives_the_boxes_of_the_head_at_other_sizes(path, changes, tmp_path):
    onnx, onnxruntime = pytest.importorskip('onnx'), pytest.importorskip('onnxruntime')
    detector = detector_of(path, **changes)
    graph = build_graph(detector, 'boxes')
    to_onnx(graph, tmp_path / 'model.onnx', (64, 96), metadata=dict(classes='a,b,c'))
    model = onnx.load(tmp_path / 'model.onnx')
    kinds = {node.op_type for node in model.graph.node}
    assert 'NonMaxSuppression' in kinds and not kinds & {'BatchNormalization', 'Loop'}
    assert {prop.key: prop.value for prop in model.metadata_props}['classes'] == 'a,b,c'
    assert not detector.training
    session = onnxruntime.InferenceSession(tmp_path / 'model.onnx')
    assert [value.name for value in session.get_inputs()] == graph.input_names
    for size in ((96, 128), (32, 64)):
        image, shape = inputs_of(*size)
        found = by_image(session.run(graph.output_names, {'image': image.numpy(), 'shape': shape.numpy()}))
        assert_same(found, eager(detector, image, shape, None))
    nothing = session.run(graph.output_names, {'image': image.numpy(), 'shape': 0 * shape.numpy()})
    assert [value.shape for value in nothing] == [(0, 4), (0,), (0,), (0,)]


def test_candidates_of_proxies_at_other_sizes(tmp_path):
    """Levels with fewer locations than are chosen are filled up, and runtimes know the filling, in bfloat16 too."""
    pytest.importorskip('onnx')
    onnxruntime, _ = pytest.importorskip('onnxruntime'), pytest.importorskip('openvino')
    detector, file, names = (
        detector_of('UFPMP-Det/mp_det_res50.py'),
        tmp_path / 'model.onnx',
        ('boxes', 'scores', 'labels'),
    )
    to_onnx(build_graph(detector, 'candidates'), file, (96, 96))
    session = onnxruntime.InferenceSession(file)
    exact, rough = (
        openvino_core().compile_model(file, 'CPU', dict(INFERENCE_PRECISION_HINT=hint, NUM_STREAMS=1)) for hint in ('f32', 'bf16')
    )  # fmt: skip
    for size in ((160, 64), (64, 96), (32, 32)):
        image, shape = inputs_of(*size)
        inputs, wanted = (
            dict(image=image.numpy(), shape=shape.numpy()),
            eager(detector, image, shape, None, with_nms=False),
        )
        assert_same(by_image(session.run(names, inputs)), wanted, score=1e-4, pixels=5e-3)
        assert_same(by_image([exact(inputs)[name] for name in names]), wanted, score=1e-4, pixels=5e-3)
        results = rough(inputs)
        for (boxes, _, _), (own, _, _) in zip(by_image([results[name] for name in names]), wanted):
            assert abs(len(boxes) - len(own)) <= 0.1 * len(own)
            assert (boxes[:, None] - own).abs().amax(2).amin(1).median() < 1


def test_torch_export_gives_the_candidates_at_other_sizes(tmp_path):
    gfl = detector_of('gfl/gfl_r50_fpn_1x_coco.py', **FEW_LEVELS)
    graph = build_graph(gfl, 'candidates')
    to_torch_export(graph, tmp_path / 'model.pt2', (64, 96))
    loaded = torch.export.load(tmp_path / 'model.pt2').module()
    image, shape = inputs_of(160, 192)  # two cells at least on the coarsest map
    assert_same(by_image(loaded(image, shape)), eager(gfl, image, shape, None, with_nms=False))
    with pytest.raises(ConfigError, match='candidates'):
        to_torch_export(build_graph(gfl, 'boxes'), tmp_path / 'boxes.pt2', (64, 96))
