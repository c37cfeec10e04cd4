"""``mmdet predict`` and ``mmdet models``: which model, which weights, how an image is looked at."""

import json
import runpy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdet.apis.building import build_model, init_detector
from mmdet.apis.det_inferencer import DetInferencer
from mmdet.apis.known_models import KnownModel, known_models
from mmdet.apis.prediction import config_and_weights, model_and_weights
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
    cv2.imwrite(str(tmp_path / 'image.png'), np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8))
    config = repository / 'configs/demo/gfl_demo.py'
    words = ['predict', config, tmp_path / 'image.png', '--out-dir', tmp_path / 'out', '--device', 'cpu', *look]
    assert main([*map(str, words), '--random-weights']) == 0
    assert '1 images done' in capsys.readouterr().out
    found = json.loads((tmp_path / 'out/preds/image.json').read_text())
    assert {'bboxes', 'labels', 'scores'} <= set(found) and (tmp_path / 'out/vis/image.png').is_file()


TINY = dict(
    type='GFL',
    backbone=dict(type='ResNet', depth=18, base_channels=4, out_indices=(2, 3), norm_cfg=dict(type='BN'), style='pytorch'),
    neck=dict(type='FPN', in_channels=[16, 32], out_channels=4, num_outs=2),
    bbox_head=dict(
        type='GFLHead', num_classes=2, in_channels=4, feat_channels=4, stacked_convs=1, norm_cfg=None,
        anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[16, 32]),
    ),
    test_cfg=dict(nms_pre=9, score_thr=0.1, nms=dict(type='nms', iou_threshold=0.6), max_per_img=9),
)  # fmt: skip


@pytest.fixture
def tiny_config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(f'model = {TINY}\ntest_pipeline = {PIPELINE}\n')
    return path


@pytest.mark.parametrize(
    ('command_line', 'named'),
    [
        ('mmdet predict {config} {image} --out-dir {out}', 'model'),
        ('mmdet predict {config} {image} --out-dir {out} --slice', 'model.stage'),
        ('mmdet predict {config} {image} --out-dir {out} --pack', 'model.coarse'),
        ('mmdet predict {config} {folder} --out-dir {out} --video', 'model'),
        ('mmdet web {config} --port 0', 'model'),
        ('tools/image_demo.py {image} {config} --out-dir {out}', 'model'),
        ('tools/video_demo.py {folder} {config} --out {out}', 'model'),
    ],
)
def test_random_weights_must_be_asked_for(command_line, named, tiny_config, tmp_path, repository, monkeypatch, capsys):
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), np.zeros((64, 64, 3), np.uint8))
    places = dict(config=tiny_config, image=image, folder=tmp_path, out=tmp_path / 'out')
    program, *words = [word.format(**places) for word in command_line.split()]
    monkeypatch.setattr('sys.argv', [program, *words])
    with pytest.raises(SystemExit) as ended:
        if program == 'mmdet':
            main(words)
        else:
            runpy.run_path(str(repository / program), run_name='__main__')
    assert ended.value.code == 2 and not (tmp_path / 'out').exists()
    assert (
        f'the weights of {named} would be random: give a checkpoint, or ask for them by --random-weights'
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ('config', 'weights', 'found'),
    [
        ('', None, None),
        ('load_from = None', None, None),
        ("load_from = 'coco.pth'", None, 'coco.pth'),
        ("load_from = 'coco.pth'", 'own.pth', 'own.pth'),
    ],
)
def test_the_weights_of_load_from(config, weights, found, tmp_path):
    path = tmp_path / 'a.py'
    path.write_text(f'model = dict()\n{config}\n')
    read, chosen = config_and_weights(str(path), weights, {'model.type': 'GFL'})
    assert (read.filename, read.model.type, chosen) == (str(path), 'GFL', found)


def stage(number: int, checkpoint: bool = False) -> dict:
    """A stage whose detector may have a checkpoint, which the test writes under this number."""
    init = dict(type='Pretrained', checkpoint=f'{number}.pth') if checkpoint else None
    return dict(detector=dict(TINY, init_cfg=init), scale=(64, 64))


@pytest.mark.parametrize(
    ('model', 'random'),
    [
        (TINY, ['model']),
        (dict(type='SlicedDet', tile_wh=(64, 64), stage=stage(1)), ['model.stage']),
        (dict(type='SlicedDet', tile_wh=(64, 64), stage=stage(1, True)), []),
        (dict(type='UFPMPDet', coarse=stage(1), fine=stage(2)), ['model.coarse', 'model.fine']),
        (dict(type='UFPMPDet', coarse=stage(1, True), fine=stage(2)), ['model.fine']),
        (dict(type='UFPMPDet', coarse=stage(1, True), fine=stage(2, True)), []),
    ],
)
def test_the_warning_names_what_is_random(model, random, tmp_path, monkeypatch):
    """Also where only one stage has no weights; and there is none where checkpoints without meta are loaded."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        torch.save(build_model(Config(dict(model=TINY))).state_dict(), f'{number}.pth')
    told = []
    monkeypatch.setattr('mmdet.apis.building.print_log', lambda message, **_: told.append(message))
    config = Config(dict(model=model))
    init_detector(config, device='cpu')
    expected = f'no checkpoint given: the weights of {" and ".join(random)} and the predictions are random'
    assert told == ([expected] if random else [])
    if random:
        with pytest.raises(ConfigError, match=f'the weights of {" and ".join(random)} would be random'):
            init_detector(config, device='cpu', random_weights=False)
    else:
        init_detector(config, device='cpu', random_weights=False)


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
