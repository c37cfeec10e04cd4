"""Set-ups of the benchmark of networks, the networks that it exports, and the process that measures the peer."""

import argparse
import json

import pytest
import torch

from mmdet.config.reading import load_config


@pytest.fixture
def networks(monkeypatch, repository):
    monkeypatch.syspath_prepend(str(repository / 'benchmarks'))
    import networks

    return networks


@pytest.mark.parametrize(
    ('name', 'backend', 'trains'),
    [
        ('fp32', None, True),
        ('bf16 channels_last compiled', None, True),
        ('bf16 channels_last folded', None, False),
        ('bf16 default', None, False),
        ('fp32 onnxruntime', 'onnxruntime', False),
        ('int8 onnxruntime static', 'onnxruntime', False),
        ('fp32 openvino winograd', 'openvino', False),
        ('bf16 openvino', 'openvino', False),
    ],
)
def test_set_ups(networks, name, backend, trains):
    setup = networks.Setup.parse(name)
    assert (str(setup), setup.backend, setup.trains) == (name, backend, trains)


@pytest.mark.parametrize(
    'name',
    [
        '', 'openvino', 'fp32 bf16', 'fp32 tensorrt', 'int8', 'fp32 static', 'fp32 winograd', 'bf16 openvino winograd', 'bf16 onnxruntime', 'tf32 openvino',
        'fp32 openvino onnxruntime', 'fp32 openvino channels_last', 'fp32 default folded',
    ],
)  # fmt: skip
def test_impossible_set_ups(networks, name):
    with pytest.raises(argparse.ArgumentTypeError, match=f'are allowed; received {name!r}'):
        networks.Setup.parse(name)


def test_shares_of_the_yardstick(networks):
    cell = networks.Cell(None, 'table', 'batch 2', networks.Setup('bf16'), 2)
    cell.keep('forward', 0.5, 1, 1e12, dict(share_of_bf16=None, share_of_peak=16.0))
    assert cell.figures['forward_share_of_peak'] == 2 * 2 / 0.5 / 16  # 2 images of 1e12 multiply-adds in half a second
    cell.keep('forward', 0.6, 1, 1e12, dict(share_of_peak=16.0))
    assert cell.figures['forward_ms'] == 500  # the fastest round counts
    cell.keep('train_step', 1.5, 1, 1e12, dict(share_of_peak=16.0))
    assert cell.figures['train_step_share_of_peak'] == cell.figures['forward_share_of_peak']  # three passes


@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_the_yardstick_measures(networks, precision):
    assert 0 < networks.matrix_tflops('cpu', networks.PRECISIONS[precision], 32, count=1) < 1e3


@pytest.fixture(scope='module')
def small_detector(repository):
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules()
    cfg = load_config(str(repository / 'configs/demo/gfl_demo.py'))
    torch.manual_seed(0)
    return MODELS.build(cfg.model).eval()


@pytest.mark.parametrize(('name', 'tolerance'), [('fp32 openvino static', 1e-4), ('int8 onnxruntime', 0.3)])
def test_exported_networks_compute_what_torch_does(networks, small_detector, name, tolerance):
    setup = networks.Setup.parse(name)
    for package in (setup.backend, 'onnx'):
        pytest.importorskip(package)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = small_detector.raw_outputs(images)
        found = networks.exported_network(small_detector, setup, images)(images)
    pairs = [
        (one, other)
        for ones, others in zip(expected, found, strict=True)
        for one, other in zip(ones, others, strict=True)
    ]
    assert len(pairs) == 8  # classes and sides of four levels
    assert max((one - other).norm() / one.norm() for one, other in pairs) < tolerance


PEER = """
import json, sys
for number, line in enumerate(sys.stdin, 1):
    print('some other output')
    print('end of a turn', json.dumps([[1, 'batch 1, fp32, mmdetection 3.3.0', dict(forward_ms=1000.0 / number, forward_calls=2)]]), flush=True)
    if number == 2:
        sys.exit(3)
"""


def test_the_peer_measures_when_it_is_told_to(networks, tmp_path, monkeypatch):
    script = tmp_path / 'peer.py'
    script.write_text(PEER, encoding='utf-8')
    monkeypatch.setattr(networks, '__file__', str(script))
    peer = networks.Peer(str(tmp_path))
    turns = [peer.turn(None, 'table', 1e12, dict(share_of_peak=4.0)) for _ in range(2)]
    (cell,) = turns[1].values()
    assert (cell.name, cell.figures['forward_ms']) == ('batch 1, fp32, mmdetection 3.3.0', 500)
    assert cell.figures['forward_share_of_peak'] == 1 and json.dumps(cell.figures)
    with pytest.raises(SystemExit, match='the peer ended with code 3'):
        peer.turn(None, 'table', 1e12, {})
