"""Exported networks: the same outputs where the toolbox cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdet.export import ExportOptions, export_network, own_weights
from mmdet.export.exporter import _fitting_weights, _input_size, _require_onnx
from mmdet.export.sources import FILES, _reference, exported_sources
from mmdet.export.standalone import example_input, load
from mmdet.models.backbones import TinyNAS3DBackbone, TinyNASBackbone
from mmdet.models.classifiers import TinyNASClassifier
from mmdet.nas import load_structures
from mmdet.utils import CheckpointError, ConfigError
from tests.nas.cases import ROOT

BITS = dict(nbitsA=[4, 4, 4], nbitsW=[5, 5, 5])


def blocks(name: str, stem: int = 3, **keys) -> list[dict]:
    """Stem and three blocks, the last one without a stride."""
    return [
        {'class': 'ConvKXBNRELU', 'in': stem, 'out': 8, 'k': 3, 's': 2 if stem == 3 else 1},
        {'class': name, 'in': 8, 'out': 8, 'k': 3, 's': 2, 'L': 1, 'btn': 8, **keys},
        {'class': name, 'in': 8, 'out': 16, 'k': 5, 's': 2, 'L': 1, 'btn': 16, **keys},
        {'class': name, 'in': 16, 'out': 16, 'k': 3, 's': 1, 'L': 1, 'btn': 32, **keys},
    ]


CLIP = [
    {'class': 'Conv3DKXBNRELU', 'in': 3, 'out': 8, 'k': 3, 'kt': 1, 's': 2},
    {'class': 'SuperRes3DK1DWK1', 'in': 8, 'out': 8, 'k': 3, 'kt': 3, 's': 2, 'L': 2, 'btn': 16},
    {'class': 'Conv3DKXBNRELU', 'in': 8, 'out': 24, 'k': 1, 'kt': 1, 's': 1},
]
# name: blocks, task, network in the toolbox
CASES = {
    'k1kxk1': (blocks('SuperResK1KXK1'), 'detection', TinyNASBackbone, dict(out_indices=(1, 2))),
    'k1kx_focus': (blocks('SuperResK1KX', stem=12), 'detection', TinyNASBackbone, dict(out_indices=(0, 1, 2))),
    'kxkx_silu': (blocks('SuperResKXKX'), 'detection', TinyNASBackbone, dict(out_indices=(2,), act='silu')),
    'k1dwk1': (blocks('SuperResK1DWK1'), 'classification', TinyNASClassifier, dict(num_classes=7)),
    'se': (blocks('SuperResK1DWSEK1'), 'classification', TinyNASClassifier, dict(num_classes=3, hidden_channels=5)),
    'quant': (blocks('SuperQuantResK1DWK1', **BITS), 'classification', TinyNASClassifier, dict(num_classes=4)),
    'clip': (CLIP, 'classification', TinyNASClassifier, dict(num_classes=4, hidden_channels=6)),
    'clip_maps': (CLIP, 'detection', TinyNAS3DBackbone, dict(out_indices=(0, 1))),
}
# Refuses the toolbox and all that it stands on but torch, then runs demo.py of each folder.
RUN = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('mmdet', 'mmengine', 'mmcv', 'cv2', 'scipy'):
            raise ImportError(name + ' is not to be imported')
sys.meta_path.insert(0, Refuse())
for folder in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition('.')[0] == 'tinynas']:
        del sys.modules[name]
    sys.path.insert(0, folder)
    sys.argv = ['demo.py', '--runs', '1', '--save', folder + '/out.pth']
    print(folder)
    runpy.run_path(folder + '/demo.py', run_name='__main__')
    sys.path.pop(0)
"""


def write(path: Path, structure: list[dict], **facts) -> Path:
    path.write_text(json.dumps(dict(structures=[dict(name='net', blocks=structure, **facts)])), encoding='utf-8')
    return path


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    """Every parameter and statistic away from its initial value."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            low, high = (0.02, 0.1) if name.endswith('step') else (0.5, 1.5)
            fresh = torch.rand(value.shape, generator=generator) * (high - low) + low
            value.copy_(fresh - 1 if value.dim() > 1 else fresh)
    return network.eval()


def run_python(*arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT.parent
    )
    assert not result.returncode, result.stderr
    return result.stdout


def test_outputs_equal_the_toolbox_without_it(tmp_path):
    networks, folders = {}, []
    for name, (structure, task, cls, options) in CASES.items():
        own = {key: value for key, value in options.items() if key != 'act'}
        backbone = dict(backbone=dict(act='silu')) if cls is TinyNASClassifier and 'act' in options else options
        networks[name] = randomised(cls(structure, **(own | backbone)))
        chosen = dict(out_indices=options.get('out_indices'), act=options.get('act'))
        done = export_network(
            write(tmp_path / f'{name}.json', structure),
            tmp_path / name,
            state_dict=networks[name].state_dict(),
            options=ExportOptions(task=task, image_size=(37, 46), frames=3, **chosen),
        )
        folders.append(str(done.folder))
        assert {path.relative_to(done.folder).as_posix() for path in done.folder.rglob('*.*')} == set(done.files)
    printed = run_python('-c', RUN, *folders)
    assert printed.count('parameters') == len(folders)
    for name, network in networks.items():
        saved = torch.load(tmp_path / name / 'out.pth')
        with torch.no_grad():
            expected = network(saved['inputs'])
        expected = [expected] if isinstance(expected, torch.Tensor) else expected
        assert len(saved['outputs']) == len(expected)
        for found, value in zip(saved['outputs'], expected):
            assert found.shape == value.shape and value.std() > 0
            torch.testing.assert_close(found, value, rtol=0, atol=1e-6 * max(1, value.abs().max().item()), msg=name)


def test_published_structure_by_the_tool(tmp_path):
    """The tool, and the folder's demo, on a published structure: its figures are those of the fact sheet."""
    structure = ROOT / 'configs/tinynas/detection/models/maedet_s.json'
    done = export_network(structure, tmp_path / 'net', options=ExportOptions(image_size=[64]))
    assert done.model.num_parameters() == sum(p.numel() for p in done.model.parameters()) == 21_233_120
    assert done.model.flops(480, 480) == pytest.approx(10.992870e9, rel=1e-6)
    assert [tuple(o.shape[1:]) for o in done.model(torch.zeros(1, 3, 64, 64))] == [
        (48, 16, 16), (272, 8, 8), (1024, 4, 4), (2048, 2, 2),
    ]  # fmt: skip
    # The written file is a backbone of the toolbox as well.
    backbone = TinyNASBackbone(str(tmp_path / 'net' / 'structure.json'))
    backbone.load_state_dict(done.model.state_dict(), strict=True)
    readme = (tmp_path / 'net' / 'README.md').read_text()
    assert '21,233,120' in readme and 'weights.pth' not in readme.partition('| file')[2]


def test_weights_are_found_in_what_holds_them():
    weights = TinyNASBackbone(blocks('SuperResK1KX'), out_indices=(1,)).state_dict()
    for prefix in ('backbone.', 'module.backbone.', 'backbone.cnnnet.'):
        held = {prefix + key: value for key, value in weights.items()}
        held.update({'neck.fpn_convs.0.conv.weight': torch.zeros(1), 'bbox_head.gfl_cls.bias': torch.zeros(1)})
        assert own_weights(held).keys() == weights.keys()
    with pytest.raises(CheckpointError, match='no block_list'):
        own_weights({'backbone.conv1.weight': torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"several searched networks.*'coarse\.', 'fine\.'"):
        own_weights({f'{stage}.{key}': value for stage in ('coarse', 'fine') for key, value in weights.items()})


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(task='segmentation'), "task: must be one of .*'detection'.* Received: 'segmentation'"),
        (
            dict(task='detection', out_indices=[1, 5]),
            r'out_indices: must be ascending stages in 0..2\. Received: \[1, 5\]',
        ),
        (dict(task='detection', num_classes=3), 'num_classes: is for classification'),
        (dict(task='classification', out_indices=[1]), 'out_indices: is for detection'),
        (dict(image_size=[1, 2, 3]), 'image_size: must be one or two integers'),
        (dict(act='gelu'), 'act: must be one of'),
    ],
)
def test_options_are_explained(tmp_path, options, message):
    file = write(tmp_path / 'net.json', blocks('SuperResKXKX'))
    with pytest.raises(ConfigError, match=message):
        export_network(file, tmp_path / 'net', options=ExportOptions(**options))
    assert not (tmp_path / 'net').exists()


def test_other_structures_and_checkpoints_are_explained(tmp_path):
    file = write(tmp_path / 'net.json', blocks('SuperResKXKX'))
    with pytest.raises(ConfigError, match=r"index: must be in 0..0: \['net'\]. Received: 1"):
        export_network(file, tmp_path / 'net', index=1)
    for place in (file, tmp_path):
        with pytest.raises(ConfigError, match='out_dir: must be a new or empty folder, or that of an earlier export'):
            export_network(file, place)
    other = TinyNASBackbone(blocks('SuperResK1KX'), out_indices=(1,)).state_dict()
    with pytest.raises(CheckpointError, match=r'block_list\.1\..*\(8, 8, 3, 3\)\. Received: \(8, 8, 1, 1\)'):
        export_network(file, tmp_path / 'net', state_dict=other)
    with pytest.raises(CheckpointError, match='holds no classifier'):
        export_network(file, tmp_path / 'net', state_dict=other, options=ExportOptions(task='classification'))
    longer = blocks('SuperResKXKX')
    longer[1]['L'] = 2
    with pytest.raises(CheckpointError, match=r'lacks block_list\.1\.block_list\.1.* and \d+ more'):
        export_network(write(tmp_path / 'l.json', longer), tmp_path / 'net', state_dict=own_weights(other))
    classifier = TinyNASClassifier(blocks('SuperResKXKX'), num_classes=4).state_dict()
    with pytest.raises(ConfigError, match='num_classes: the checkpoint has 4. Received: 5'):
        export_network(file, tmp_path / 'net', state_dict=classifier, options=ExportOptions(num_classes=5))
    assert not (tmp_path / 'net').exists()


def test_earlier_weights_do_not_stay(tmp_path):
    file = write(tmp_path / 'net.json', blocks('SuperResKXKX'), task='detection')
    weights = TinyNASBackbone(blocks('SuperResKXKX'), out_indices=(1,)).state_dict()
    assert 'weights.pth' in export_network(file, tmp_path / 'net', state_dict=weights).files
    assert 'weights.pth' not in export_network(file, tmp_path / 'net').files
    assert not (tmp_path / 'net' / 'weights.pth').exists()


FAMILY = """
from mmdet.registry import NAS_BLOCKS
from {home} import SuperResK1KX
{extra}

@NAS_BLOCKS.register_module('{name}', force=True)
class Mine(SuperResK1KX):
    name = '{name}'
    activation = 'silu'
"""


def test_a_family_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    from mmdet.archs.blocks import family_of
    from mmdet.registry import NAS_BLOCKS

    for name, home, extra in (
        ('SuperMine', 'mmdet.nas.blocks', ''),
        ('SuperNumpy', 'mmdet.archs.blocks', 'import numpy'),
    ):
        (tmp_path / f'{name.lower()}_blocks.py').write_text(FAMILY.format(name=name, home=home, extra=extra))
        __import__(f'{name.lower()}_blocks')
    try:
        structure = blocks('SuperMine')
        network = randomised(TinyNASBackbone(structure, out_indices=(1, 2)))
        done = export_network(
            write(tmp_path / 'net.json', structure),
            tmp_path / 'net',
            state_dict=network.state_dict(),
            options=ExportOptions(task='detection', image_size=32),
        )
        assert 'tinynas/blocks/supermine_blocks.py' in done.files
        run_python('-c', RUN, str(tmp_path / 'net'))
        saved = torch.load(tmp_path / 'net' / 'out.pth')
        with torch.no_grad():
            torch.testing.assert_close(saved['outputs'][-1], network(saved['inputs'])[-1])
        file = write(tmp_path / 'numpy.json', blocks('SuperNumpy'))
        with pytest.raises(ConfigError, match=r'supernumpy_blocks\.py: import: .*needs torch only.*numpy'):
            export_network(file, tmp_path / 'other')
    finally:
        for name in ('SuperMine', 'SuperNumpy'):
            NAS_BLOCKS.module_dict.pop(name)
        family_of.cache_clear()


def test_references_between_exported_files():
    assert _reference('tinynas/lsq.py', 'demo.py') == 'tinynas.lsq'
    assert _reference('tinynas/lsq.py', 'tinynas/network.py') == '.lsq'
    assert _reference('tinynas/blocks/base.py', 'tinynas/network.py') == '.blocks.base'
    assert _reference('tinynas/blocks/__init__.py', 'tinynas/network.py') == '.blocks'
    assert _reference('tinynas/compat.py', 'tinynas/blocks/base.py') == '..compat'
    assert _reference('tinynas/blocks/base.py', 'tinynas/blocks/conv.py') == '.base'
    assert len(set(FILES.values())) == len(FILES)


def test_onnx_says_what_is_missing(monkeypatch, tmp_path):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *a: None if name == 'onnxscript' else find(name, *a))
    with pytest.raises(ConfigError, match=r'--onnx: .*onnxscript: pip install .*\[onnx\]'):
        _require_onnx()


def test_the_exporter_leaves_the_weights_alone(tmp_path):
    """A classifier exported for its maps: its own layers are left out of the file, not taken from the caller."""
    classifier = TinyNASClassifier(blocks('SuperResKXKX'), num_classes=4)
    state = classifier.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    file = write(tmp_path / 'net.json', blocks('SuperResKXKX'))
    done = export_network(file, tmp_path / 'net', state_dict=state, options=ExportOptions(task='detection'))
    assert state.keys() == before.keys() and all(torch.equal(state[key], before[key]) for key in before)
    written = torch.load(tmp_path / 'net' / 'weights.pth')
    assert written.keys() == {key for key in own_weights(state) if key.startswith('block_list.')}
    assert done.model.returned == [0, 1, 3]
    weights = own_weights(state)
    names = list(weights)
    _fitting_weights(load_structures(file)[0], dict(out_indices=[1]), weights)
    assert list(weights) == names and 'fc_linear.weight' in names
    weights['fc_linear.weight'].zero_()  # a copy
    assert torch.equal(state['fc_linear.weight'], before['fc_linear.weight'])


@pytest.mark.parametrize(
    ('task', 'weights', 'options', 'network'),
    [
        (None, None, {}, dict(num_classes=1000)),
        ('detection', None, {}, dict(out_indices=[0, 1, 2])),
        ('damoyolo', None, dict(act='silu'), dict(out_indices=[0, 1, 2], act='silu')),
        (
            'detection',
            None,
            dict(task='classification', num_classes=7, hidden_channels=5),
            dict(num_classes=7, hidden_channels=5),
        ),
        ('quant', None, dict(num_classes=3), dict(num_classes=3)),
        (None, 'backbone', {}, dict(out_indices=[0, 1, 2])),
        (None, 'classifier', {}, dict(num_classes=4, hidden_channels=6)),
        ('detection', 'classifier', {}, dict(num_classes=4, hidden_channels=6)),  # the checkpoint comes before the file
        ('detection', 'classifier', dict(task='detection', out_indices=[2]), dict(out_indices=[2])),
    ],
)
def test_what_a_network_gives(tmp_path, task, weights, options, network):
    structure = blocks('SuperResKXKX')
    state = None
    if weights == 'backbone':
        state = TinyNASBackbone(structure, out_indices=(0,)).state_dict()
    elif weights == 'classifier':
        state = TinyNASClassifier(structure, num_classes=4, hidden_channels=6).state_dict()
    file = write(tmp_path / 'net.json', structure, **({} if task is None else dict(task=task)))
    done = export_network(file, tmp_path / 'net', state_dict=state, options=ExportOptions(**options))
    (entry,) = json.loads((done.folder / 'structure.json').read_text())['structures']
    assert entry['network'] == network and entry['input_size'] == [224, 224]


def test_the_last_four_stages_are_the_default(tmp_path):
    structure = blocks('SuperResKXKX')
    structure += [dict(structure[-1], s=2), dict(structure[-1], s=2), dict(structure[-1], s=2)]
    done = export_network(write(tmp_path / 'net.json', structure, task='detection'), tmp_path / 'net')
    assert done.model.returned == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ('stem', 'facts', 'given', 'size'),
    [
        (3, {}, None, [224, 224]),
        (3, dict(image_size=96), None, [96, 96]),
        (12, dict(image_size=96), None, [192, 192]),  # searched behind space-to-depth
        (12, dict(image_size=96), 64, [64, 64]),
        (3, dict(image_size=96), [48], [48, 48]),
        (3, dict(image_size=96), (48, 32), [48, 32]),
    ],
)
def test_input_sizes(tmp_path, stem, facts, given, size):
    file = write(tmp_path / 'net.json', blocks('SuperResK1KX', stem=stem), **facts)
    assert _input_size(load_structures(file)[0], ExportOptions(image_size=given)) == size


def test_figures_and_examples_of_an_exported_network(tmp_path):
    """A stem of 216 weights and 24 operations at 4 x 4 of 8 x 8 pixels; the second stage is not reached where only the first is given."""
    file = write(tmp_path / 'net.json', blocks('SuperResKXKX'))
    done = export_network(
        file, tmp_path / 'net', options=ExportOptions(task='detection', out_indices=[0], image_size=8)
    )
    assert done.model.flops(8, 8) == (216 + 24) * 16 and done.model.flops(8, 16, 3) == (216 + 24) * 32 * 3
    focus = export_network(
        write(tmp_path / 'focus.json', blocks('SuperResKXKX', stem=12)), tmp_path / 'focus',
        options=ExportOptions(task='detection', out_indices=[0]),
    )  # fmt: skip
    assert focus.model.flops(8, 8) == (12 * 9 * 8 + 24) * 16 and example_input(focus.folder).shape == (1, 3, 448, 448)
    assert example_input(done.folder).shape == (1, 3, 8, 8) and example_input(done.folder, (4, 6)).shape == (1, 3, 4, 6)
    assert torch.equal(example_input(done.folder), example_input(done.folder))
    clip = export_network(write(tmp_path / 'clip.json', CLIP, frames=5), tmp_path / 'clip')
    assert example_input(clip.folder, (8, 8)).shape == (1, 3, 5, 8, 8)
    clip = export_network(tmp_path / 'clip.json', tmp_path / 'short', options=ExportOptions(frames=2))
    assert example_input(clip.folder, (8, 8)).shape == (1, 3, 2, 8, 8)
    other = tmp_path / 'other.pth'
    torch.save({key: torch.zeros_like(value) for key, value in done.model.state_dict().items()}, other)
    assert not any(value.any() for value in load(done.folder, other).state_dict().values())
    assert not load(done.folder).training


def test_damaged_weights_of_an_exported_network_are_refused(tmp_path):
    network = TinyNASBackbone(blocks('SuperResKXKX'), out_indices=(1,))
    folder = export_network(write(tmp_path / 'net.json', blocks('SuperResKXKX')), tmp_path / 'net', state_dict=network.state_dict()).folder  # fmt: skip
    whole = (folder / 'weights.pth').read_bytes()
    flipped = bytearray(whole)
    flipped[whole.find(b'/data/1') + 300] ^= 1
    for content in (bytes(flipped), whole[:-9], b'', b'hello'):
        (folder / 'weights.pth').write_bytes(content)
        with pytest.raises(CheckpointError, match=r'weights\.pth'):
            load(folder)


def test_rewritten_imports():
    sources = exported_sources(['SuperResK1KX'])
    assert sorted(sources) == sorted([*FILES.values(), 'tinynas/__init__.py'])
    network = sources['tinynas/network.py']
    assert 'mmdet' not in ''.join(line for line in network.splitlines() if 'import' in line)
    lines = network.splitlines()
    start = lines.index('import torch')
    assert lines[start : start + 13] == [
        'import torch',
        'from torch import Tensor, nn',
        '',
        'from .blocks.base import is_3d',
        'from .blocks.costs import elements, flops_per_pixel',
        'from .parsing import parse_structure',
        'from .structure import is_quantised, stage_ends',
        'from .errors import CheckpointError',
        'from .torch_file import check_file, check_tuples',
        'from .lsq import LSQLinear',
        'from .modules import BlockOptions, build_block',
        'from .damo import SpaceToDepth',
        '',
    ]
    assert 'from ..compat import NAS_BLOCKS\n\nfrom ..structure import Block' in sources['tinynas/blocks/conv.py']


def test_a_quantised_network_without_weights_has_no_onnx(tmp_path, monkeypatch):
    monkeypatch.setattr('mmdet.export.exporter._require_onnx', lambda: None)
    file = write(tmp_path / 'net.json', blocks('SuperQuantResK1DWK1', **BITS))
    with pytest.raises(ConfigError, match='onnx: ONNX needs the learned steps of a quantised network'):
        export_network(file, tmp_path / 'net', onnx=True)


def test_unknown_tensors_are_named(tmp_path):
    file = write(tmp_path / 'net.json', blocks('SuperResKXKX'))
    state = TinyNASBackbone(blocks('SuperResKXKX'), out_indices=(1,)).state_dict()
    state.update({f'block_list.9.{i}': torch.zeros(1) for i in range(5)})
    with pytest.raises(
        CheckpointError, match='has tensors that the network does not have: block_list.9.0, .* and 2 more'
    ):
        export_network(file, tmp_path / 'net', state_dict=state)
