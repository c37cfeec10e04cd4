"""mmdet export CONFIG CKPT: precisions, manifest, parity check, refusals; one tiny detector for all."""

import dataclasses
import inspect
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdet.apis.building import build_model, init_detector
from mmdet.apis.export_comparison import _stage_pairs
from mmdet.apis.exporting import ExportSettings, export_detector
from mmdet.apis.inference import ImagePipeline
from mmdet.commands import command
from mmdet.errors import ConfigError, DataError
from mmdet.export import networks
from mmdet.export.folder import MANIFEST, put_in_place, refuse_foreign_folder
from mmdet.export.parity import Found, compare, compare_raw
from mmdet.export.plan import make_plan
from mmdet.export.precision import GraphNode, network_part
from mmdet.export.settings import config_for
from mmdet.models.detectors import GFL, UFPMPDet
from mmdet_runtime import load
from mmdet_runtime.backends import openvino_core
from mmdet_runtime.stage import Normalise

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 64), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]


def detector_config() -> Config:
    strides = [8, 16, 32]
    head = dict(
        type='GFLHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1, reg_max=8, norm_cfg=None,
        anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=strides),
    )  # fmt: skip
    model = dict(
        type='GFL',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(1, 2, 3), norm_cfg=dict(type='BN'), style='pytorch'),
        neck=dict(type='FPN', in_channels=[16, 32, 64], out_channels=8, num_outs=3),
        bbox_head=head,
        test_cfg=dict(nms_pre=40, score_thr=0.1, nms=dict(type='nms', iou_threshold=0.6), max_per_img=30, min_bbox_size=0),
    )  # fmt: skip
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b', 'c')), pipeline=PIPELINE)
    return Config(dict(model=model, test_dataloader=dict(dataset=dataset)))


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    """A config, a checkpoint whose scores are far apart, and a folder of three images."""
    folder = tmp_path_factory.mktemp('scene')
    torch.manual_seed(0)
    model = build_model(detector_config())
    with torch.no_grad():
        model.bbox_head.gfl_cls.weight.normal_(0, 2)
        model.bbox_head.gfl_cls.bias.fill_(-1)
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=('a', 'b', 'c')))), folder / 'w.pth'
    )
    (folder / 'images').mkdir()
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate([(64, 96), (80, 120), (60, 60)]):
        pixels = cv2.resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), (width, height))
        cv2.imwrite(str(folder / 'images' / f'{number}.png'), pixels)
    return folder


def export(scene: Path, out: Path, **options):
    settings = ExportSettings(**{'parity_images': str(scene / 'images'), 'ap_images': 0, **options})
    return export_detector(detector_config(), str(scene / 'w.pth'), out, settings, log=lambda line: None)


# ------------------------------------------------------------------------------------------------------------------------ the pieces


def test_network_part_ends_where_the_decode_begins():
    conv = [(8, 3, 3, 3)]
    nodes = [
        GraphNode('shape', 'Shape', ['image'], ['hw']),
        GraphNode('half', 'Mul', ['hw'], ['half_hw']),
        GraphNode('conv', 'Conv', ['image'], ['x'], conv),
        GraphNode('up', 'Resize', ['x', 'half_hw'], ['y']),
        GraphNode('out', 'Conv', ['y'], ['cls'], conv),
        GraphNode('top', 'TopK', ['cls'], ['best']),
        GraphNode('norm', 'Sigmoid', ['best'], ['s']),
        GraphNode('bins', 'MatMul', ['s'], ['sum'], [(17, 1)]),
        GraphNode(
            'second', 'Gemm', ['sum'], ['refined'], [(8, 8)]
        ),  # a second stage, behind the proposals of the first
    ]
    assert network_part([]) == []
    assert network_part(nodes[:6]) == ['conv', 'up', 'out']
    assert network_part(nodes) == ['conv', 'up', 'out', 'second']


def found(*rows):
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Found(table[:, :4], table[:, 4], table[:, 5].astype(int))


BOXES = [(10 * k, 10, 10 * k + 8, 30, 0.9 - 0.1 * k, k % 2) for k in range(6)]


@pytest.mark.parametrize(
    ('expected', 'got', 'precision', 'passes'),
    [
        ([], [], 'fp32', False),  # nothing was compared
        (BOXES, BOXES, 'fp32', True),
        (BOXES, BOXES[::-1], 'fp32', True),  # a set, whatever the order
        (BOXES, [(x1 + 0.1, *rest) for x1, *rest in BOXES], 'fp32', False),
        (BOXES, [(x1 + 0.1, *rest) for x1, *rest in BOXES], 'fp16', True),
        (BOXES, [(*box, 1 - label) for *box, label in BOXES], 'int8', False),
        (BOXES, BOXES[:5], 'fp32', False),
        (BOXES, [(float('nan'), *rest) for _, *rest in BOXES], 'int8', False),
        (BOXES, [(*box, score - 0.2, label) for *box, score, label in BOXES], 'int8', False),
        ([], BOXES, 'int8', False),
    ],
)
def test_compare(expected, got, precision, passes):
    parity = compare([(found(*expected), found(*got))], precision)
    assert parity.passed == passes, str(parity)
    assert (parity.expected, parity.found) == (len(expected), len(got))


def test_compare_raw():
    ones = np.ones((1, 2, 3), np.float32)
    assert compare_raw([([ones], [ones + 1e-6])], 'fp32').passed
    assert not compare_raw([([ones], [ones + 1e-2])], 'fp32').passed
    assert not compare_raw([([ones], [ones * np.nan])], 'int8').passed
    assert not compare_raw([([ones], [ones[..., :2]])], 'int8').passed


def test_folders_of_others_are_left_alone(tmp_path):
    refuse_foreign_folder(tmp_path / 'new')
    (tmp_path / 'file').touch()
    (tmp_path / 'link').symlink_to('nowhere')
    for name in ('file', 'file/x', 'link', 'a\0b', 'x' * 300):
        with pytest.raises(ConfigError, match='name of a folder'):
            refuse_foreign_folder(tmp_path / name)
    (tmp_path / 'file').unlink()
    (tmp_path / 'link').unlink()
    refuse_foreign_folder(tmp_path)
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(ConfigError, match=r'holds what no export wrote \(notes.txt\)'):
        refuse_foreign_folder(tmp_path)
    entry = dict(sha256={'model.onnx': 'x'})
    (tmp_path / MANIFEST).write_text(json.dumps(dict(format='mmdet-runtime', networks=dict(network=entry))))
    with pytest.raises(ConfigError, match='notes.txt'):
        refuse_foreign_folder(tmp_path)
    (tmp_path / 'notes.txt').rename(tmp_path / 'model.onnx')
    refuse_foreign_folder(tmp_path)


@pytest.mark.parametrize(
    ('words', 'detector'),
    [
        ([], True),  # the parser says what is missing
        (['--help'], True),
        (['best_structure.json', 'out'], False),
        (['best_structure.json', 'out', '--checkpoint', 'w.pth', '--onnx'], False),
        (['gfl_r50_fpn_1x_coco', 'w.pth', '--to', 'onnx'], True),
        (['--to=openvino', 'my/config.py', 'w.pth'], True),
        (['gfl_r50_fpn_1x_coco', 'w.pth'], True),
        (['config.py', 'w.pth'], True),  # without --to, which the parser then asks for
        (['structure.json', 'out', '--to', 'onnx'], True),  # refused: no config
    ],
)
def test_the_command_tells_configs_from_structures(words, detector):
    assert command('export', words).__name__ == ('export' if detector else 'export_structure')


def test_defaults_are_those_of_the_settings():
    defaults = {name: parameter.default for name, parameter in inspect.signature(command('export')).parameters.items()}
    names = dict(size_wh='size', ann_file='ann', image_root='img')
    for field in dataclasses.fields(ExportSettings)[1:]:
        assert defaults[names.get(field.name, field.name)] == field.default


# ---------------------------------------------------------------------------------------------------------------------- whole exports


@pytest.fixture(scope='module')
def onnx_export(scene):
    pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    return export(scene, scene / 'onnx', to='onnx')


def test_manifest(scene, onnx_export):
    manifest = json.loads((scene / 'onnx' / MANIFEST).read_text())
    assert sorted(path.name for path in (scene / 'onnx').iterdir()) == ['README.md', MANIFEST, 'model.onnx']
    assert (manifest['format'], manifest['version'], manifest['kind']) == ('mmdet-runtime', 1, 'detector')
    assert manifest['classes'] == ['a', 'b', 'c']
    network = manifest['networks']['network']
    assert network['sha256'].keys() == {'model.onnx'} and network['file'] == 'model.onnx'
    assert (network['outputs'], network['precision'], network['divisor']) == ('boxes', 'fp32', 32)
    assert network['inputs'] == {'image': [None, 3, None, None]}
    stage = manifest['stages']['detector']
    assert stage['scales'] == [[96, 64]] and stage['keep_ratio'] and stage['bgr_to_rgb'] and not stage['flip']
    assert (stage['mean'], stage['std'], stage['pad_divisor']) == ([120.0] * 3, [60.0] * 3, 32)
    assert stage['test_cfg'] == dict(
        score_thr=0.1, nms=dict(type='nms', iou_threshold=0.6), max_per_img=30, min_bbox_size=0
    )
    assert manifest['source']['checkpoint'].endswith('w.pth') and len(manifest['source']['sha256']) == 64
    parity = manifest['parity']
    assert parity['passed'] and parity['images'] == 3 and parity['boxes_before'] > 10 and parity['matched_share'] == 1
    text = (scene / 'onnx' / 'README.md').read_text()
    assert 'trtexec --onnx=model.onnx' in text and '`image_index` (M,)' in text
    assert onnx_export.parity.passed and onnx_export.manifest == manifest


def test_another_weight_is_found_out(scene, onnx_export, monkeypatch):
    written = (scene / 'onnx' / 'model.onnx').read_bytes()
    original = networks.to_onnx

    def other(graph, *args, **options):
        bias = graph.detector.bbox_head.gfl_cls.bias
        with torch.no_grad():
            bias[1] += 0.05
            original(graph, *args, **options)
            bias[1] -= 0.05

    monkeypatch.setattr(networks, 'to_onnx', other)
    done = export(scene, scene / 'onnx', to='onnx')
    assert not done.parity.passed and done.folder == scene / 'onnx_rejected'
    assert not json.loads((done.folder / MANIFEST).read_text())['parity']['passed']
    assert (scene / 'onnx' / 'model.onnx').read_bytes() == written  # the good one stays
    assert 'FAILED' in str(done)


@pytest.mark.parametrize(
    ('options', 'image'),
    [
        (dict(to='onnx', static=True, size_wh=(96, 96), batch=2, outputs='candidates'), [2, 3, 96, 96]),
        (dict(to='onnx', outputs='raw', precision='fp16'), [None, 3, None, None]),
        pytest.param(dict(to='torch-export'), [None, 3, None, None], marks=pytest.mark.slow),
        # Of one size: what varies takes torch.export eight seconds, in any precision.
        (dict(to='torch-export', precision='bf16', static=True, size_wh=(96, 96)), [1, 3, 96, 96]),
        (dict(to='torch-export', precision='fp16', static=True, size_wh=(96, 96)), [1, 3, 96, 96]),
    ],
)
def test_forms(scene, tmp_path, options, image):
    pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    done = export(scene, tmp_path / 'out', **options)
    assert done.parity.passed, str(done.parity)
    network = done.manifest['networks']['network']
    assert network['inputs']['image'] == image
    assert network['outputs'] == options.get('outputs', 'candidates')


def test_int8_of_onnx_is_calibrated_on_images(scene, tmp_path):
    onnx = pytest.importorskip('onnx', reason='needs onnx')
    pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    options = dict(to='onnx', precision='int8', symmetric=True, calibration=str(scene / 'images'))
    done = export(scene, tmp_path / 'out', **options)
    assert done.manifest['networks']['network']['precision'] == 'int8'
    model = onnx.load(str(done.folder / 'model.onnx'))
    kinds = [node.op_type for node in model.graph.node]
    convolutions = [node for node in model.graph.node if node.op_type == 'Conv']
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    assert convolutions and {made_by[name] for node in convolutions for name in node.input[:2]} == {'DequantizeLinear'}
    topk = {name for node in model.graph.node if node.op_type == 'TopK' for name in node.input}
    assert 'TopK' in kinds and 'DequantizeLinear' not in {made_by.get(name) for name in topk}  # the decode stays float
    zero_points = {
        item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer if 'zero_point' in item.name
    }
    assert zero_points and all((value == 0).all() for value in zero_points.values())


@pytest.mark.parametrize('precision', ['bf16', 'int8'])
def test_openvino(scene, tmp_path, precision):
    pytest.importorskip('openvino', reason='needs openvino')
    pytest.importorskip('nncf', reason='needs nncf')
    calibration = str(scene / 'images') if precision == 'int8' else None
    done = export(scene, tmp_path / 'out', to='openvino', precision=precision, calibration=calibration)
    network = done.manifest['networks']['network']
    assert network['file'] == 'model.xml' and network['sha256'].keys() == {'model.xml', 'model.bin'}
    assert done.parity.expected > 10 and done.parity.share > 0.5
    kinds = [one.get_type_name() for one in openvino_core().read_model(str(done.folder / 'model.xml')).get_ops()]
    assert ('FakeQuantize' in kinds) == (precision == 'int8')
    assert 'NonMaxSuppression' in kinds


def composite_config(**model) -> Config:
    config = detector_config()
    config.model = dict(**model)
    config.test_dataloader.dataset.pipeline = [
        PIPELINE[0],
        dict(PIPELINE[2], meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')),
    ]
    return config


def test_one_network_for_both_stages(scene, tmp_path):
    pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    config = composite_config(
        type='UFPMPDet', ufp=dict(scale=1.5), coarse_weight=0.5,
        coarse=dict(detector=detector_config().model, scale=(96, 64), flip=True),
        fine=dict(scale=[(96, 96), (64, 64)], flip=False, test_cfg=dict(score_thr=0.05)),
    )  # fmt: skip
    settings = ExportSettings(to='onnx', parity_images=str(scene / 'images'))
    done = export_detector(config, str(scene / 'w.pth'), tmp_path / 'out', settings, log=lambda line: None)
    manifest = done.manifest
    assert done.parity.passed, str(done.parity)
    assert manifest['kind'] == 'UFPMPDet' and manifest['networks'].keys() == {'network'}
    coarse, fine = (manifest['stages'][name] for name in ('coarse', 'fine'))
    assert (
        coarse['network'] == fine['network'] == 'network' and manifest['networks']['network']['outputs'] == 'candidates'
    )
    assert (coarse['scales'], fine['scales']) == ([[96, 64]], [[96, 96], [64, 64]])
    assert (coarse['flip'], fine['flip']) == (True, False)
    assert (coarse['test_cfg']['score_thr'], fine['test_cfg']['score_thr']) == (0.1, 0.05)
    composite = manifest['composite']
    assert (composite['coarse_weight'], composite['on_empty'], composite['fine_labels']) == (0.5, 'skip', None)
    assert composite['ufp']['scale'] == 1.5


def test_each_stage_of_a_lower_precision_is_compared_by_itself(scene, tmp_path):
    pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    config = composite_config(
        type='UFPMPDet',
        coarse=dict(detector=detector_config().model, scale=(96, 64), flip=False),
        fine=dict(scale=(96, 96), flip=False),
    )
    settings = ExportSettings(to='onnx', precision='fp16', parity_images=str(scene / 'images'), ap_images=0)
    done = export_detector(config, str(scene / 'w.pth'), tmp_path / 'out', settings, log=lambda line: None)
    assert done.parity.passed and done.parity.images == 6, str(done.parity)  # three images, and a mosaic of each
    assert 'each stage by itself' in done.manifest['parity']['image_source']
    runtime, model = load(done.folder), init_detector(config, str(scene / 'w.pth'), device='cpu')
    images = ImagePipeline(config.test_dataloader.dataset.pipeline), sorted(map(str, (scene / 'images').iterdir()))
    assert compare(_stage_pairs(model, runtime, *images), 'fp16').passed
    runtime.detector.fine.normalise = Normalise([0.0], [255.0], bgr_to_rgb=True)  # one stage sees other pixels
    coarse, fine = (compare([*_stage_pairs(model, runtime, *images)][start::2], 'fp16') for start in (0, 1))
    assert coarse.passed and not fine.passed


def test_what_the_runtime_does_otherwise_is_said(scene, tmp_path):
    """Of two machines only one may have the library by which the config resizes."""
    config, lines = detector_config(), []
    config.test_dataloader.dataset.pipeline[1].backend = 'ipp'
    cfg = config_for(config, ExportSettings(to='onnx'), lines.append)
    assert [step.get('backend') for step in cfg.test_dataloader.dataset.pipeline] == [None, 'cv2', None]
    assert len(lines) == 1 and "resizes with backend='ipp'" in lines[0]
    assert config_for(detector_config(), ExportSettings(to='onnx'), lines.append) and len(lines) == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(to='onnx', outputs='boxes'), '--outputs: must be None or candidates for a composite detector'),
        (dict(to='onnx', static=True), '--static'),
        (dict(to='torch-export'), '--to: must be onnx or openvino'),
        (dict(to='onnx', size_wh=(64, 64)), '--size: needs a test pipeline with one Resize; stages'),
        (dict(to='onnx'), 'the test pipeline of a composite detector may load and pack'),
    ],
)
def test_refusals_of_composites(scene, tmp_path, options, message):
    pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    config = composite_config(
        type='SlicedDet', stage=dict(detector=detector_config().model, scale=(96, 64)), tile_wh=(60, 40)
    )
    if 'load and pack' in message:
        config.test_dataloader.dataset.pipeline.insert(1, PIPELINE[1])
    with pytest.raises(ConfigError, match=message):
        export_detector(
            config, str(scene / 'w.pth'), tmp_path / 'out', ExportSettings(**options), log=lambda line: None
        )


# ------------------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(to='tensorrt'), ConfigError, "--to: must be one of .'onnx', 'openvino', 'torch-export'."),
        (dict(to='onnx', precision='bf16'), ConfigError, 'bf16 is for openvino'),
        (dict(to='torch-export', precision='int8'), ConfigError, 'int8 is for onnx and openvino'),
        (dict(to='onnx', batch=0), ConfigError, '--batch: must be an integer >= 1'),
        (dict(to='onnx', size_wh=(64,)), ConfigError, '--size'),
        (dict(to='onnx', opset=11), ConfigError, '--opset: must be an integer >= 17'),
        (dict(to='onnx', opset=99), ConfigError, '--opset: must be 17 to 20'),
        (dict(to='onnx', size_wh=(10**6, 64)), ConfigError, '--size: must be width and height, two integers from 1'),
        (dict(to='onnx', ann_file='no.json', image_root='.'), DataError, 'no.json: --ann: no such annotation file'),
        (dict(to='onnx', ann_file=__file__, image_root='no'), DataError, 'no: --img: no such folder'),
        (dict(to='onnx', symmetric=True), ConfigError, '--symmetric: is for int8'),
        (dict(to='onnx', winograd=True, precision='fp16'), ConfigError, '--winograd: is for fp32 files'),
        (dict(to='torch-export', winograd=True), ConfigError, '--winograd: is for fp32 files'),
        (dict(to='onnx', winograd=True), ConfigError, "winograd: neck and heads have no 3 x 3 .*'network': 0"),
        (dict(to='onnx', calibration='images'), ConfigError, '--calibration: is for --precision int8'),
        (dict(to='onnx', ann_file='a.json'), ConfigError, '--ann and --img are given together'),
        (dict(to='onnx', precision='int8'), DataError, '--calibration: int8 needs images'),
        (dict(to='onnx', outputs='masks'), ConfigError, 'outputs'),
    ],
)
def test_refusals(scene, tmp_path, options, error, message):
    pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    with pytest.raises(error, match=message):
        export(scene, tmp_path / 'out', **options)
    assert not list(tmp_path.iterdir())


def test_what_the_check_needs_is_read_before_anything_is_written(scene, tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'a.png').write_bytes((scene / 'images' / '0.png').read_bytes()[:-20])
    (tmp_path / 'bad.json').write_text('{')
    for options, message in (
        (dict(parity_images=str(tmp_path / 'images')), 'a.png: truncated PNG'),
        (dict(ann_file=str(tmp_path / 'bad.json'), image_root=str(scene / 'images')), 'bad.json: --ann: no images to measure AP on'),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            export(scene, tmp_path / 'out', to='torch-export', **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['bad.json', 'images']


@pytest.mark.parametrize(
    ('model', 'named'),
    [
        (None, 'model'),
        (dict(type='UFPMPDet', coarse=dict(scale=(96, 64)), fine=dict(scale=(96, 96))), 'model.coarse'),
        (dict(type='UFPMPDet', coarse=dict(scale=(96, 64)), fine=dict(scale=(96, 96), own=True)), 'model.fine'),
    ],
)
def test_random_weights_must_be_asked_for(scene, tmp_path, model, named):
    config = detector_config()
    if model is not None:
        detector = config.model
        given = dict(detector, init_cfg=dict(type='Pretrained', checkpoint=str(scene / 'w.pth')))
        own = model['fine'].pop('own', False)
        fine = dict(model['fine'], detector=detector) if own else model['fine']
        config = composite_config(
            **{**model, 'coarse': dict(model['coarse'], detector=given if own else detector), 'fine': fine}
        )
    settings = ExportSettings(to='torch-export')
    with pytest.raises(ConfigError, match=f'checkpoint: the weights of {named} would be random'):
        export_detector(config, None, tmp_path / 'out', settings, log=lambda line: None)


class OwnPredict(GFL):
    """As a user may write one: no box in the upper half."""

    def predict(self, *args, **options):
        samples = super().predict(*args, **options)
        for sample in samples:
            sample.pred_instances = sample.pred_instances[sample.pred_instances.bboxes[:, 1] > 32]
        return samples


def test_steps_of_ones_own_are_not_passed_over(scene, tmp_path):
    config = detector_config()
    model = OwnPredict(**{key: value for key, value in config.model.items() if key != 'type'})
    with pytest.raises(ConfigError, match='model.type: has a predict of its own, which an export would pass over'):
        make_plan(model, config, ExportSettings(to='onnx'), print)
    assert make_plan(model, config, ExportSettings(to='onnx', outputs='raw'), print).graphs['network'].outputs == 'raw'


@pytest.mark.parametrize('end_to_end', [False, True])
def test_whether_there_is_an_nms_within_a_view(end_to_end):
    config = detector_config()
    model = build_model(config)
    model.end_to_end = end_to_end
    single = make_plan(model, config, ExportSettings(to='onnx'), print).stages['detector']
    assert single['end_to_end'] is end_to_end and ('nms' in single['test_cfg']) is not end_to_end
    stage = dict(detector=model, scale=(64, 64))
    packed = make_plan(UFPMPDet(stage, dict(scale=(96, 96))), composite_config(), ExportSettings(to='onnx'), print)
    assert [packed.stages[name]['end_to_end'] for name in ('coarse', 'fine')] == [end_to_end] * 2


@pytest.mark.parametrize('interrupted', [KeyboardInterrupt, OSError])
def test_an_earlier_export_survives_an_interruption(tmp_path, monkeypatch, interrupted):
    """The moment between taking the old folder away and putting the new one in its place."""
    for name in ('new', 'out'):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).write_text(json.dumps(dict(format='mmdet-runtime', name=name, networks={})))
    replace = os.replace

    def stopped(source, target):
        if Path(source).name == 'new':
            raise interrupted
        replace(source, target)

    monkeypatch.setattr(os, 'replace', stopped)
    with pytest.raises(KeyboardInterrupt if interrupted is KeyboardInterrupt else DataError):
        put_in_place(tmp_path / 'new', tmp_path / 'out')
    assert json.loads((tmp_path / 'out' / MANIFEST).read_text())['name'] == 'out'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['new', 'out']


@pytest.mark.parametrize(
    ('place', 'step', 'message'),
    [
        (slice(2, 2), [dict(type='RandomFlip', prob=0.5)], 'RandomFlip with these settings is not part of the runtime'),
        (slice(0, 1), [dict(PIPELINE[0], to_float32=True)], 'must load by LoadImageFromFile, with to_float32 False'),
        (slice(0, 1), [dict(PIPELINE[0], color_type='grayscale')], 'the runtime reads images of three channels'),
        (slice(0, 1), [dict(type='LoadImageFromNDArray')], 'must load by LoadImageFromFile'),
    ],
)
def test_what_the_runtime_lacks_is_named(scene, tmp_path, place, step, message):
    config = detector_config()
    config.test_dataloader.dataset.pipeline[place] = step
    with pytest.raises(ConfigError, match=message):
        export_detector(
            config, str(scene / 'w.pth'), tmp_path / 'out', ExportSettings(to='torch-export'), log=lambda line: None
        )
