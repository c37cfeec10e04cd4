"""From an exported folder to boxes, with both backends; the network's detections are known (see ``tiny``)."""

import ctypes
import gc
import sys
import weakref

import cv2
import numpy as np
import pytest

from mmdet_runtime import load
from mmdet_runtime.backends import is_installed, keeps_signal_stack, open_network, openvino_core
from mmdet_runtime.errors import CheckpointError, ConfigError, DataError, ModelInputError

from .tiny import network, picture, write_folder

BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f'{name} is not installed'))
    for name in ('onnxruntime', 'openvino')
]


def rows(found):
    """Boxes, scores and labels as one list of tuples."""
    return [
        (*box, round(score, 4), label)
        for box, score, label in zip(found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist())
    ]


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('outputs', ['candidates', 'boxes'])
def test_boxes_in_pixels_of_the_image(tmp_path, backend, outputs):
    runtime = load(write_folder(tmp_path / 'x', outputs=outputs), backend=backend)
    assert runtime([]) == []
    # Two sizes of padded images, so two batches; the third is halved to fit into 64 x 64.
    found = runtime([picture(204), picture(102), picture(51, 128, 100)])
    third = [(0, 0, 40, 18, 0.72, 0)] if outputs == 'boxes' else []  # the graph of these tests has no NMS
    assert rows(found[0])[:1] == [(0, 0, 40, 20, 0.8, 0)]
    assert sorted(rows(found[0])) == sorted([(0, 0, 40, 20, 0.8, 0), (0, 0, 20, 10, 0.4, 1), *third])
    assert (0, 0, 20, 10, 0.2, 1) in rows(found[1])
    assert rows(found[2])[0] == (0, 0, 128, 100, 0.2, 0) and (0, 0, 64, 50, 0.1, 1) in rows(found[2])
    assert {*runtime.clock.times} == {'preprocess', 'network', 'nms'}


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_fixed_size_pads_and_refuses(tmp_path, backend):
    runtime = load(write_folder(tmp_path, size=(2, 3, 32, 64)), backend=backend)
    found = runtime([picture(255), picture(51), picture(102)])  # the last of three in a batch of its own, filled up
    assert [rows(one)[0] for one in found] == [(0, 0, 40, 20, score, 0) for score in (1, 0.2, 0.4)]
    with pytest.raises(
        ModelInputError, match=r'must fit into the only input of the network, \(32, 64\) .*Received: \(64, 64\)'
    ):
        runtime([picture(255, 64, 64)])


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (
            dict(test_cfg=dict(score_thr=0.5, nms=dict(type='nms', iou_threshold=0.6), max_per_img=9)),
            [(0, 0, 40, 20, 0.8, 0)],
        ),
        (dict(test_cfg=dict(score_thr=0.9)), []),
        (
            dict(bgr_to_rgb=False),
            [(0, 0, 40, 20, 1.0, 0), (0, 0, 20, 10, 0.5, 1)],
        ),  # the first channel is blue, which is white
        (dict(mean=[51.0], std=[255.0]), [(0, 0, 40, 20, 0.6, 0), (0, 0, 20, 10, 0.3, 1)]),
        (
            dict(
                mean=None, std=None, test_cfg=dict(score_thr=1, nms=dict(type='nms', iou_threshold=0.6), max_per_img=1)
            ),
            [(0, 0, 40, 20, 204, 0)],
        ),
        (dict(pad_value=7), [(0, 0, 40, 20, 7, 0), (0, 0, 20, 10, 3.5, 1)]),  # after the normalisation
        (dict(keep_ratio=False, scales=[[80, 20]], max_zoom=None), [(0, 0, 40, 20, 0.8, 0), (0, 0, 20, 10, 0.4, 1)]),
    ],
)
def test_settings_of_the_stage(tmp_path, settings, expected):
    pytest.importorskip('onnxruntime')
    assert rows(load(write_folder(tmp_path, **settings))([picture(204)])[0]) == expected


def test_what_is_reported(tmp_path):
    pytest.importorskip('onnxruntime')
    folder = write_folder(tmp_path)
    assert rows(load(folder, classes=['quarter'])([picture(204)])[0]) == [(0, 0, 20, 10, 0.4, 1)]
    assert rows(load(folder, score_thr=0.5)([picture(204)])[0]) == [(0, 0, 40, 20, 0.8, 0)]
    cv2.imwrite(str(tmp_path / 'a.png'), picture(204))
    assert rows(load(folder)(tmp_path / 'a.png')) == rows(load(folder)(picture(204))) != []  # one image, not a list
    with pytest.raises(DataError, match='b.png: cannot be read'):
        load(folder)(str(tmp_path / 'b.png'))
    with pytest.raises(ConfigError, match=r"classes: must be some of \['whole', 'quarter'\]. Received: \['half'\]"):
        load(folder, classes=['half'])
    runtime = load(folder)
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8), None):
        with pytest.raises(ModelInputError, match='must be an array'):
            runtime([wrong])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(device='nothing'), 'device: this onnxruntime offers'),
        (dict(device='CPU', precision='bf16'), 'no bfloat16 on CPUs'),
        (dict(threads=0), 'threads: must be an integer >= 1'),
        (dict(backend='tensorrt'), 'backend: must be one of'),
        (dict(precision='fp8'), 'precision: must be one of'),
        (dict(backend='openvino', device='NPU9'), 'device: OpenVINO has'),
    ],
)
def test_impossible_options(options, message):
    if not is_installed(options.get('backend') or 'onnxruntime') and options.get('backend') in (None, 'openvino'):
        pytest.skip('the backend is not installed')
    with pytest.raises(ConfigError, match=message):
        open_network(network(), **{'backend': 'onnxruntime', **options})


@pytest.mark.parametrize('backend', BACKENDS)
def test_files_and_inputs_that_do_not_fit(tmp_path, backend):
    (tmp_path / 'bad.onnx').write_bytes(b'xxxx')
    with pytest.raises(CheckpointError, match=f'bad.onnx: {backend} cannot read it'):
        open_network(tmp_path / 'bad.onnx', backend=backend)
    opened = open_network(network(size=('b', 3, 32, 32)), backend=backend, threads=1)
    assert opened.inputs == {'image': (None, 3, 32, 32), 'shape': (None, 2)} and opened.outputs == (
        'boxes',
        'scores',
        'labels',
    )
    with pytest.raises(ModelInputError, match=r'image: must be \(any, 3, 32, 32\). Received: \(1, 3, 32, 64\)'):
        opened(np.zeros((1, 3, 32, 64), np.float32), np.array([[32, 32]]))
    with pytest.raises(ModelInputError, match=r"takes \['image', 'shape'\]"):
        opened(np.zeros((1, 3, 32, 32), np.float32))


def test_other_kinds_of_files(tmp_path):
    for name, error, message in (
        ('x.onnx', CheckpointError, 'no such network file'), ('x.pt2', ConfigError, 'takes torch'), ('x.engine', ConfigError, 'must be one of'),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            open_network(tmp_path / name)
    (tmp_path / 'x.xml').touch()
    with pytest.raises(ConfigError, match='onnxruntime does not read .xml'):
        open_network(tmp_path / 'x.xml', backend='onnxruntime')


@pytest.mark.skipif(not is_installed('openvino'), reason='openvino is not installed')
def test_openvino_computes_in_the_precision_that_is_asked_for(tmp_path):
    for precision, shown in ((None, 'f32'), ('fp32', 'f32'), ('bf16', 'bf16')):
        opened = open_network(network(), backend='openvino', precision=precision, threads=1, sizes_kept=2)
        assert f', {shown}' in opened.description
    image = np.full((1, 3, 32, 32), 0.25, np.float32)  # exact in bfloat16
    for _ in range(3):  # the second time, a model of this size is compiled
        assert opened(image, np.array([[30, 20]]))['scores'].tolist() == [[0.25, 0.125, pytest.approx(0.225, abs=2e-3)]]
    assert len(opened._own) == 1
    # What a manifest says decides, and a folder of bfloat16 is opened by OpenVINO.
    assert load(write_folder(tmp_path, precision='bf16')).networks['network'].backend == 'openvino'
    assert ', f32' in load(tmp_path, precision='fp32', backend='openvino').networks['network'].description


def test_a_dropped_detector_gives_its_networks_back(tmp_path):
    """At once, not at a garbage collection: a network has up to gigabytes, and threads for which it waits."""
    runtime = load(write_folder(tmp_path))
    runtime(picture(204, 64, 32))
    network = weakref.ref(runtime.networks['network'])
    del runtime
    assert network() is None


def signal_stack() -> list[str]:
    """The alternate stack of this thread for signal handlers: address and size."""
    stack = (ctypes.c_size_t * 3)()
    ctypes.CDLL(None).sigaltstack(None, stack)
    return [hex(stack[0]), hex(stack[2])]


@pytest.mark.skipif(sys.platform != 'linux', reason="OpenVINO's plugin sets a stack for signal handlers on Linux only")
@pytest.mark.parametrize('before', ['none', 'one'])
def test_signals_after_openvino(before):
    """Cores that are not destroyed in the reverse order left the thread a stack that was unmapped: the next signal killed the process."""
    pytest.importorskip('openvino', reason='needs openvino')
    with keeps_signal_stack():  # pytest's faulthandler has one
        if before == 'none':
            ctypes.CDLL(None).sigaltstack((ctypes.c_size_t * 3)(0, 2), None)  # SS_DISABLE
        stack = signal_stack()
        assert (stack[0] == '0x0') == (before == 'none')
        cores = [openvino_core.__wrapped__() for _ in range(2)]
        assert signal_stack() == stack
        while cores:
            del cores[0]
            gc.collect()
            assert signal_stack() == stack
    assert openvino_core() is openvino_core()
