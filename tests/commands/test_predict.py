"""``mmdet predict`` and ``mmdet models``: which model, which weights, how an image is looked at."""

import json

import numpy as np
import pytest
from mmengine.config import Config

from mmdet.apis.det_inferencer import DetInferencer
from mmdet.apis.known_models import KnownModel, known_models
from mmdet.apis.prediction import model_and_weights
from mmdet.commands import command, main
from mmdet.commands.signature import parser_of
from mmdet.config.stages import composite_config
from mmdet.errors import ConfigError


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        ('', False), ('--slice', True), ('--slice 480', (480, 480)), ('--slice=960x540', (960, 540)),
    ],
)  # fmt: skip
def test_tile_size(words, expected):
    """A size is optional, and an image behind the option stays an image."""
    arguments = parser_of(command('predict')).parse_args([*words.split(), 'model', 'image.jpg'])
    assert (arguments.slice, arguments.model, arguments.inputs) == (expected, 'model', ['image.jpg'])


@pytest.mark.parametrize('size', ['', 'x', '0', '640x', '640x0', '-3', 'wide'])
def test_tile_size_that_is_none(size, capsys):
    with pytest.raises(SystemExit) as ended:
        main(['predict', 'model', 'image.jpg', f'--slice={size}'])
    assert ended.value.code == 2 and 'must be a size in pixels' in capsys.readouterr().err


def test_tiles_or_packing(capsys):
    with pytest.raises(SystemExit):
        main(['predict', 'model', 'image.jpg', '--slice', '--pack'])
    assert 'exclude each other' in capsys.readouterr().err


def test_named_models(monkeypatch, tmp_path):
    config = tmp_path / 'a.py'
    config.write_text('model = dict()')
    models = {
        'a': KnownModel('a', config, 'https://host/a-12345678.pth'),
        'b': KnownModel('b', config),
        'c': KnownModel('c', config, hub='owner/c', license='MIT'),
    }
    monkeypatch.setattr('mmdet.apis.prediction.known_models', lambda: models)
    monkeypatch.setattr('mmdet.apis.known_models.known_models', lambda: models)
    assert model_and_weights('A', None) == (str(config), 'https://host/a-12345678.pth')
    assert model_and_weights('a', 'own.pth') == (str(config), 'own.pth')
    assert model_and_weights(str(config), None) == (str(config), None)
    for name, message in (
        ('b', 'no weights of this model are published'),
        ('c', r'owner/c on the Hugging Face hub \(MIT\).* model.model.from_pretrained=owner/c'),
        ('aa', 'near names: a'),
    ):
        with pytest.raises(ConfigError, match=message):
            model_and_weights(name, None)


@pytest.mark.parametrize('suffix', ['.pth', '.ckpt', '.safetensors'])
def test_weights_that_only_a_browser_can_fetch(monkeypatch, tmp_path, suffix):
    model = KnownModel('A', tmp_path / 'a.py', page='https://host/view')
    model.config.write_text('model = dict()')
    monkeypatch.setattr('mmdet.apis.prediction.known_models', lambda: {'a': model, 'other': model})
    monkeypatch.setattr('mmdet.apis.known_models.known_models', lambda: {'a': model, 'other': model})
    monkeypatch.setenv('MMDET_CACHE', str(tmp_path))
    with pytest.raises(ConfigError, match=rf'https://host/view\. Save the file as {tmp_path}/A\.pth'):
        model_and_weights('a', None)
    place = tmp_path / f'A{suffix}'
    place.write_bytes(b'')
    assert model_and_weights('other', None) == (str(model.config), str(place))


def test_a_checkpoint_has_its_config_beside_it(tmp_path):
    checkpoint = tmp_path / 'epoch_1.pth'
    checkpoint.write_bytes(b'')
    (tmp_path / 'a.py').write_text('model = dict()')
    assert model_and_weights(str(checkpoint), None) == (str(tmp_path / 'a.py'), str(checkpoint))
    with pytest.raises(ConfigError, match='is a checkpoint already'):
        model_and_weights(str(checkpoint), 'other.pth')
    with pytest.raises(ConfigError, match='is a checkpoint already'):
        DetInferencer(checkpoint, 'other.pth')
    (tmp_path / 'a.py').write_text('model = open()')
    for name_model in (lambda: model_and_weights(str(checkpoint), None), lambda: DetInferencer(str(checkpoint))):
        with pytest.raises(ConfigError, match='the file is a program'):
            name_model()


DETECTOR = dict(type='GFL', backbone=dict(), test_cfg=dict(max_per_img=30))
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(1333, 800)), dict(type='PackDetInputs')]


def test_composite_of_a_single_detector():
    config = Config(dict(model=DETECTOR, test_pipeline=PIPELINE))
    packed = composite_config(config).model
    assert packed.type == 'UFPMPDet' and packed.coarse.detector.type == 'GFL' and 'detector' not in packed.fine
    assert packed.coarse.scale == packed.fine.scale == [(1333, 800)] and packed.max_per_img == 500
    tiles = composite_config(config, tile_wh=(640, 480), overlap=0.1).model
    assert (tiles.type, tiles.tile_wh, tiles.overlap, tiles.whole.scale) == (
        'SlicedDet',
        (640, 480),
        0.1,
        [(1333, 800)],
    )
    assert config.model == DETECTOR
    with pytest.raises(ConfigError, match='must be a single detector'):
        composite_config(composite_config(config))


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('look', [[], ['--slice', '64'], ['--pack']])
def test_predict(tmp_path, repository, look, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / 'image.png'), np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8))
    config = repository / 'configs/demo/gfl_demo.py'
    words = ['predict', config, tmp_path / 'image.png', '--out-dir', tmp_path / 'out', '--device', 'cpu', *look]
    assert main([*map(str, words), '--cfg-options', 'model.backbone.init_cfg=None']) == 0
    assert '1 images done' in capsys.readouterr().out
    found = json.loads((tmp_path / 'out/preds/image.json').read_text())
    assert {'bboxes', 'labels', 'scores'} <= set(found) and (tmp_path / 'out/vis/image.png').is_file()


def test_models(capsys):
    assert main(['models', 'gfl_r50_fpn', '--json']) == 0
    listed = {model['name']: model for model in json.loads(capsys.readouterr().out)}
    assert listed['gfl_r50_fpn_1x_coco']['weights'].endswith('25944287.pth')
    assert main(['models', 'gfl_r50_fpn', '--weights']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == 'name' and all('gfl_r50_fpn' in line for line in lines[1:])
    assert main(['models', 'RetinaNet', '--weights']) == 0
    assert (
        'retinanet_r50_fpn_1x_coco                    36.5         37.97  Apache-2.0  retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth\n'
        in capsys.readouterr().out
    )
    assert main(['models', 'NANODET-G']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        'nanodet_g_416_coco',
        '22.9',
        '3.79',
        'Apache-2.0',
        'nanodet_g_416_coco.pth',
        '(by',
        'hand)',
    ]
    assert (
        lines[-1].startswith('(by hand): save it under this name in /')
        and 'nanodet_g_416_coco from https://drive.google.com/file/d/' in lines[-1]
    )
    assert main(['models', 'no such model']) == 1
    assert 'no name contains' in capsys.readouterr().out and len(known_models()) > 100
