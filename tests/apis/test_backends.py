"""The network of a detector in OpenVINO and ONNX Runtime: the same detections, refusals, and the table of the benchmark."""

import copy
import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mmdet.apis import DetInferencer, init_detector
from mmdet.apis import backends as backends_module
from mmdet.apis.backends import BackendSpec, CompiledNetwork, first_calls, read_backend, use_backend
from mmdet.apis.benchmark import BenchmarkResult, measure
from mmdet.apis.benchmark_rows import ALL, Row, Setup, main_metric, measure_rows, read_setups, rows_table
from mmdet.apis.testing import ScoredPass
from mmdet.engine.hooks import CostHook
from mmdet.errors import ConfigError, ModelInputError
from mmdet.models.detectors import SlicedDet
from mmdet.models.inference import InferenceOptions, restore_networks
from mmdet.registry import MODELS
from mmdet.utils import load_config

LIBRARIES = ('onnxruntime', 'openvino')
IMAGES = [
    np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 96), (90, 70), (64, 96))
]


def installed(name):
    pytest.importorskip('onnx', reason='the networks travel as ONNX')
    pytest.importorskip(name)


@pytest.fixture(scope='module')
def cfg(repository):
    """GFL with a narrow ResNet-18, three levels and classes."""
    cfg = load_config(repository / 'configs/gfl/gfl_r50_fpn_1x_coco.py')
    model = cfg.model
    model.backbone.update(depth=18, base_channels=8, stem_channels=8, init_cfg=None, out_indices=(1, 2, 3))
    model.neck.update(in_channels=[16, 32, 64], out_channels=16, num_outs=3, start_level=0)
    norm = dict(type='GN', num_groups=4)
    model.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1, num_classes=3, norm_cfg=norm)
    model.bbox_head.anchor_generator.strides = [8, 16, 32]
    model.test_cfg.update(score_thr=0.0, nms_pre=50, max_per_img=20)
    resize = dict(type='Resize', scale=(96, 96), keep_ratio=True)
    pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='PackDetInputs')]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b', 'c')), pipeline=pipeline)
    return Config(dict(model=model, test_dataloader=dict(dataset=dataset)))


@pytest.fixture(scope='module')
def detector(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    with torch.no_grad():  # scores of an untrained head are nearly alike
        model.bbox_head.gfl_cls.weight.normal_(std=0.2)
        model.bbox_head.gfl_reg.weight.normal_(std=0.5)
    return model.eval()


@pytest.fixture
def eager(detector):
    """The detector, without a backend before and after the test."""
    yield detector
    detector.backend_network = None
    restore_networks(detector.eval())


def inferencer(cfg, detector, monkeypatch, **options):
    """An inferencer of the one detector, whose weights are random."""
    monkeypatch.setattr('mmdet.apis.det_inferencer.build_model', lambda cfg: detector)
    return DetInferencer(cfg, device='cpu', show_progress=False, **options)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one['labels'] == other['labels'] and len(other['labels']) >= 10
        np.testing.assert_allclose(one['scores'], other['scores'], atol=1e-5)
        np.testing.assert_allclose(one['bboxes'], other['bboxes'], atol=1e-3)


@pytest.mark.parametrize('backend', [*LIBRARIES, 'openvino-winograd'])
def test_detections_are_those_of_torch(cfg, eager, monkeypatch, backend):
    """At two sizes, in batches of both; undone by 'torch'; and the pixels through the network are counted."""
    installed(backend.partition('-')[0])
    monkeypatch.setattr('mmdet.export.winograd.LEAST_CHANNELS', 16)
    expected = inferencer(cfg, eager, monkeypatch)(IMAGES, batch_size=3)['predictions']
    backed = inferencer(cfg, eager, monkeypatch, backend=backend)
    network = eager.backend_network
    assert isinstance(network, CompiledNetwork) and network.description.startswith(backend.partition('-')[0])
    assert ('Winograd' in network.description) == (backend == 'openvino-winograd')
    assert_same(backed(IMAGES, batch_size=3)['predictions'], expected)
    assert network.first_calls == 2 == first_calls(eager)
    hook, runner = CostHook(), ConfigDict(model=eager)
    hook.before_test(runner)
    monkeypatch.setattr(eager, 'extract_feat', None)  # the modules are not called
    assert_same(backed(IMAGES[:1])['predictions'], expected[:1])
    hook.after_test(runner)
    assert hook._pixels == 64 * 96 and network.first_calls == 3, 'a batch of one is another size'
    monkeypatch.undo()
    use_backend(eager, 'torch')
    assert eager.backend_network is None


def test_composite_detector(eager):
    """Tiles by the one detector: with its backend the boxes of eager torch, the detector compiled once."""
    installed('openvino')
    stage = dict(detector=eager, scale=(64, 64), flip=True)
    model = SlicedDet(stage=stage, tile_wh=(64, 64), overlap=0.2).eval()
    image = torch.from_numpy(IMAGES[1]).permute(2, 0, 1)
    (expected,) = model.detect([image])
    use_backend(model, 'openvino')
    assert [type(part) for part in model.modules()].count(CompiledNetwork) == 1
    (found,) = model.detect([image])
    assert len(expected) > 20 and found.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(found.bboxes, expected.bboxes, atol=1e-3, rtol=0)


def test_training_and_changed_weights(eager):
    """Losses and train mode use the modules; afterwards the compiled weights are old, and this is said."""
    installed('onnxruntime')
    use_backend(eager, 'onnxruntime')
    image = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        expected = eager.raw_outputs(image)
        torch.testing.assert_close(eager(image), expected, atol=1e-5, rtol=1e-5)
        assert eager.backend_network.first_calls == 1
        eager.train()(image)
        assert eager.backend_network.first_calls == 1, 'not called'
        eager.eval().bbox_head.scales[0].scale.add_(0)
        with pytest.raises(ModelInputError, match='have changed since onnxruntime got them: call use_backend again'):
            eager(image)


def test_torch_by_the_same_names(eager):
    """Precision and compilation are those of models/inference.py; what a config says of the layout stays."""
    use_backend(eager, 'torch', 'bf16')
    assert eager.amp_dtype is torch.bfloat16 and eager.backend_network is None
    use_backend(eager, 'torch')
    assert eager.amp_dtype is None
    plain = InferenceOptions(channels_last=False, fuse=False)
    assert BackendSpec.read('torch-compile:bf16').options(plain) == dataclasses.replace(plain, amp='bf16', compile=True)
    assert BackendSpec.read('openvino').options(plain) == plain
    for backend, options, message in (
        ('openvino', dict(amp=True), 'goes without --amp or inference.amp: .* as in openvino:bf16'),
        ('torch', dict(amp='bf16'), 'goes without --amp'),
        ('onnxruntime', dict(compile=True), 'compiles by itself: leave out inference.compile'),
    ):
        with pytest.raises(ConfigError, match=message):
            BackendSpec.read(backend).options(InferenceOptions.read(options))


@pytest.mark.parametrize(
    'backend, precision, message',
    [
        ('tensorrt', None, "backend: must be one of .*'openvino'.*Received: 'tensorrt'"),
        ('onnxruntime', 'bf16', "precision: onnxruntime computes in fp32. Received: 'bf16'"),
        ('openvino:bf16', 'fp32', 'openvino:bf16 names a precision already'),
        ('torch', 'int8', 'torch computes in fp32 or bf16 or fp16'),
        ('openvino-winograd', 'bf16', 'openvino-winograd computes in fp32'),
        ('openvino-winograd', None, 'with 128 channels or more, which would gain'),
    ],
)
def test_refused_backends(eager, backend, precision, message):
    with pytest.raises(ConfigError, match=message):
        use_backend(eager, backend, precision)
    assert eager.backend_network is None and read_backend(None) is None


def test_absent_libraries(eager, monkeypatch):
    for library, extra in (('onnxruntime', 'onnx'), ('openvino', 'openvino')):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(ConfigError, match=rf"{library} is not installed.*pip install 'mmdet-dense\[{extra}\]'"):
            use_backend(eager, library)
    monkeypatch.setattr(backends_module.shutil, 'which', lambda name: None)
    assert 'C++ compiler' in BackendSpec('torch-compile').missing() and BackendSpec().missing() is None
    with pytest.raises(ConfigError, match='torch-compile needs a C'):
        use_backend(eager, 'torch-compile')


def test_refused_detectors(eager):
    class Own(type(eager)):
        def predict(self, batch_inputs, batch_data_samples, rescale=True):
            return batch_data_samples

    other = copy.copy(eager)
    other.__class__ = Own
    with pytest.raises(ConfigError, match='Own has a predict of its own, which openvino would pass over'):
        use_backend(other, 'openvino')
    two_stage = nn.Module()
    two_stage.backbone = nn.Identity()
    with pytest.raises(ConfigError, match='openvino computes detectors of one or two stages .* others run in torch'):
        use_backend(two_stage, 'openvino')
    with pytest.raises(ConfigError, match='Linear'):
        use_backend(nn.Linear(1, 1), 'onnxruntime')


def test_a_network_that_is_not_the_same_is_refused(eager, monkeypatch):
    installed('onnxruntime')
    write = backends_module.to_onnx

    def scaled(graph, *args, **options):
        monkeypatch.setattr(graph.detector.bbox_head.gfl_reg, 'bias', nn.Parameter(torch.ones(68)))
        write(graph, *args, **options)

    monkeypatch.setattr(backends_module, 'to_onnx', scaled)
    with pytest.raises(ConfigError, match='gives other outputs than torch for a GFLHead'):
        use_backend(eager, 'onnxruntime')
    assert eager.backend_network is None and not eager.training


def test_init_detector(cfg, monkeypatch):
    seen = []
    monkeypatch.setattr(
        'mmdet.apis.building.prepare_for', lambda model, spec, options: seen.append((str(spec), options.fuse))
    )
    cfg = Config(dict(cfg, inference=dict(fuse=False)))
    init_detector(cfg, device='cpu', backend='openvino', precision='bf16')
    init_detector(cfg, device='cpu', precision='bf16')
    assert seen == [('openvino:bf16', False), ('torch:bf16', False)]


# ------------------------------------------------------------------------------------------------ the table


@pytest.mark.parametrize('text', ['torch:fp32', 'openvino:bf16', 'torch:bf16+fused+channels-last'])
def test_setups_are_read_as_they_are_written(text):
    assert str(Setup.read(text)) == text


def test_rows_of_the_command_line():
    assert [str(row) for row in read_setups(['openvino', 'openvino:fp32', 'torch+fused'])] == [
        'openvino:fp32', 'torch:fp32+fused',
    ]  # fmt: skip
    assert len(read_setups(['all', 'torch'])) == len(ALL) and str(read_setups(['all'])[0]) == 'torch:fp32+plain'
    for text in ('torch+folded', 'torch+plain+fused', 'openvino+fused'):
        with pytest.raises(ConfigError, match='behind torch and . there may be fused, channels-last, both, or plain'):
            read_setups([text])
    options = Setup.read('torch:bf16+fused').options(dict(amp='fp16', compile=7))
    assert options == InferenceOptions(amp='bf16', channels_last=False, fuse=True, compile=False)
    assert Setup.read('torch').options(dict(fuse=False)) == InferenceOptions(amp=False, fuse=False)


_CHILD = """
import json, sys
row, path = sys.argv[-3], sys.argv[-1]
if row == 'torch:bf16': sys.exit('no memory\\nConfigError: too large')
figures = dict(stage='step', images=3, fps=20.0 if '+' in row else 10.0, p50_ms=50.0 if '+' in row else 100.0, p95_ms=120.0, peak_memory_mb=512.0)
figures |= dict(device='CPU', batch_size=1, cpu_ms=98.0, metrics={'coco/bbox_mAP': 0.1234}, first_ms=None if '+' in row else 450.0)
open(path, 'a').write(json.dumps(figures) + '\\n')
"""


def test_a_row_is_a_process(monkeypatch):
    """Two measured rows, one that failed, one whose library is missing."""
    monkeypatch.setitem(sys.modules, 'openvino', None)
    setups, lines = read_setups(['torch', 'torch+fused', 'torch:bf16', 'openvino']), []
    rows = measure_rows(setups, [sys.executable, '-c', _CHILD], log=lines.append)
    assert rows[0].result == BenchmarkResult(
        'step', 3, 10.0, 100.0, 120.0, 512.0, 'CPU', 1, cpu_ms=98.0, first_ms=450.0, metrics={'coco/bbox_mAP': 0.1234}
    )
    assert rows[2].reason == 'failed: ConfigError: too large' and 'pip install' in rows[3].reason
    head, first, second, *rest = rows_table(rows).splitlines()
    assert head.split() == [
        'backend',
        'p50',
        'ms',
        'p95',
        'ms',
        'CPU',
        'ms',
        'img/s',
        'faster',
        'peak',
        'MB',
        'first',
        'ms',
        'AP',
    ]
    assert first.split() == ['torch:fp32', '100.0', '120.0', '98.0', '10.00', '1.00x', '512', '450', '12.34']
    assert second.split() == ['torch:fp32+fused', '50.0', '120.0', '98.0', '20.00', '2.00x', '512', '-', '12.34']
    assert [line.split()[:2] for line in rest] == [['torch:bf16', 'failed:'], ['openvino:fp32', 'skipped:']]
    assert len(lines) == 7 and json.loads(rows[3].to_json())['reason'] == rows[3].reason
    assert json.loads(rows[0].to_json())['backend'] == 'torch:fp32'


def test_table_without_a_result():
    assert rows_table([]).split()[0] == 'backend'
    assert rows_table([Row(Setup(), reason='failed: x')]).splitlines()[1].split() == ['torch:fp32', 'failed:', 'x']
    assert main_metric({}) is None and main_metric({'coco/bbox_mAP': -1, 'visdrone/AP': 0.5}) == 0.5


def test_first_calls_are_not_among_the_times():
    """The second and the fourth batch have a new size: they are passed on once more, and only the first pass is collected."""
    state, steps, collected = dict(calls=0, known=set()), [], []

    def step(batch):
        steps.append(batch['inputs'])
        if batch['inputs'][0] not in state['known']:
            state['known'].add(batch['inputs'][0])
            state['calls'] += 1
        return batch['inputs']

    batches = [dict(inputs=[size]) for size in (1, 2, 2, 3)]
    state['known'].add(1)
    result = measure(
        batches,
        step,
        num_warmup=0,
        first_calls=lambda: state['calls'],
        collect=lambda batch, out: collected.append(out),
    )
    assert steps == [[1], [2], [2], [2], [3], [3]] and collected == [[1], [2], [2], [3]]
    assert result.images == 4 and result.first_ms is not None and result.cpu_ms is not None


def test_metrics_need_the_whole_pass(monkeypatch):
    seen = []

    class Metric:
        def __init__(self, spec):
            seen.append(spec)

        def process(self, data_samples, data_batch):
            seen.append(len(data_samples))

        def evaluate(self, size):
            return {'AP': size}

    monkeypatch.setattr('mmdet.apis.testing.Evaluator', Metric)
    cfg = Config(dict(test_evaluator=dict(type='CocoMetric', outfile_prefix='mine')))
    scored = ScoredPass(cfg, type('Data', (list,), dict(metainfo={}))(range(3)))
    scored({}, [1, 2])
    assert scored.metrics() == {}
    scored({}, [3])
    scored({}, [1, 2])  # of the second pass
    assert seen == [dict(type='CocoMetric'), 2, 1] and scored.metrics() == {'AP': 3}
    assert cfg.test_evaluator.outfile_prefix == 'mine'
