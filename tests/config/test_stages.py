"""Stages of composite detectors, read from the configs that train them."""

import pytest

from mmdet.config import load_config, stage_config
from mmdet.errors import ConfigError

STAGE = """
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 48)), dict(type='PackDetInputs')]
test_dataloader = dict(dataset=dict(pipeline=pipeline))
train_cfg = dict(max_epochs=3)
model = dict(
    type='GFL',
    backbone=dict(type='ResNet', depth=18, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    bbox_head=dict(type='GFLHead', num_classes=2),
    train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9)),
    test_cfg=dict(max_per_img=7),
)
"""
DETECTOR = dict(
    type='GFL',
    backbone=dict(type='ResNet', depth=18),
    bbox_head=dict(type='GFLHead', num_classes=2),
    test_cfg=dict(max_per_img=7),
)


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'fine.py').write_text(STAGE)
    return tmp_path / 'fine.py'


def test_default_checkpoint_is_the_last_epoch_of_the_training(path):
    init_cfg = dict(type='Pretrained', checkpoint='work_dirs/fine/epoch_3.pth')
    expected = dict(detector=dict(DETECTOR, init_cfg=init_cfg), scale=(64, 48), flip=True)
    assert stage_config(path).to_dict() == expected


def test_checkpoint_flip_and_several_scales(path):
    resizes = [dict(type='Resize', scale=side) for side in (32, 64)]
    tta = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[resizes])]
    path.write_text(f'{STAGE}\ntta_pipeline = {tta!r}\n')
    stage = stage_config(path, 'mine.pth', flip=False).to_dict()
    assert stage['detector']['init_cfg'] == dict(type='Pretrained', checkpoint='mine.pth')
    assert stage['scale'] == [(32, 32), (64, 64)] and stage['flip'] is False


def test_a_config_beside_it_reads_it(path):
    composite = path.with_name('composite.py')
    composite.write_text(
        '_base_ = []\nfrom mmdet.config import stage_config\n'
        "model = dict(type='UFPMPDet', fine=stage_config('{{fileDirname}}/fine.py'))\n"
    )
    cfg = load_config(composite)
    assert set(cfg) == {'model'} and cfg.model.fine.detector.test_cfg.max_per_img == 7


def test_faults_are_named(path, tmp_path):
    with pytest.raises(ConfigError, match='no such config file'):
        stage_config(tmp_path / 'none.py')
    path.write_text(STAGE.replace('Resize', 'Normalize'))
    with pytest.raises(ConfigError, match='needs a Resize'):
        stage_config(path)
    path.write_text('train_cfg = dict(max_epochs=3)')
    with pytest.raises(ConfigError, match='has no model'):
        stage_config(path)
