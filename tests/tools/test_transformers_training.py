"""A detector of transformers through the tools: train with AMP, EMA and clipping, kill and resume, test and predict from what the run left."""

import json
import pickle

import pytest
import torch

from mmdet.apis import inference_detector, init_detector
from tests.engine.test_runner_resume import assert_same_run, load
from tests.models.transformers_case import needs_transformers, tiny_detector

from .tiny_project import metrics_of, run_tool, write_project

pytestmark = needs_transformers
OPTIONS = [
    '--seed',
    '0',
    '--amp',
    '--cfg-options',
    'train_cfg.max_epochs=2',
    'train_dataloader.dataset.times=2',
    'train_cfg.val_interval=2',
]


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A project whose detector has the weights of a folder, trained for two epochs of four iterations; the folder is gone afterwards."""
    from mmdet.registry import MODELS

    folder = tmp_path_factory.mktemp('transformers')
    base = write_project(folder / 'data')
    torch.manual_seed(0)
    published = folder / 'published'
    MODELS.build(tiny_detector('d_fine', num_classes=5)).model.save_pretrained(published)
    model = tiny_detector('d_fine', num_classes=2, load='hub')
    model['model'] = dict(from_pretrained=str(published), num_queries=20, num_denoising=6)
    keys = dict(custom_keys=dict(backbone=dict(lr_mult=0.5)), norm_decay_mult=0)
    config = folder / 'd_fine.py'
    config.write_text(
        f'_base_ = {str(base)!r}\nmodel = dict(_delete_=True, **{model!r})\noptim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=1e-4), paramwise_cfg={keys!r})\n'
    )
    run_tool('train.py', config, '--work-dir', folder / 'run', *OPTIONS)
    published.rename(folder / 'elsewhere')
    return folder


def test_resumed_run_is_the_unbroken_one(project):
    """The weights of the folder, which is gone, are not asked for; the config is that of the run."""
    options = [*OPTIONS, f'load_from={project}/run/epoch_1.pth', 'resume=True']
    run_tool('train.py', project / 'run' / 'd_fine.py', '--work-dir', project / 'resumed', *options)
    assert_same_run(*(load(project / name / 'epoch_2.pth') for name in ('run', 'resumed')))


def test_test_and_prediction_without_the_folder(project):
    """The config of the run has every key; the loss that was logged has its parts."""
    config, checkpoint = project / 'run' / 'd_fine.py', project / 'run' / 'epoch_2.pth'
    run_tool('test.py', config, checkpoint, '--work-dir', project / 'tested', '--cost', '--tta')
    assert 'coco/bbox_mAP' in metrics_of(project / 'tested')
    model = init_detector(str(config), str(checkpoint), device='cpu')
    assert model.model.config.num_queries == 20 and model.dataset_meta['classes'] == ('bright', 'dark')
    content = load(checkpoint)
    assert "transformers_version='" in content['meta']['cfg'] and 'ema_state_dict' in content
    logs = next(project.glob('run/*/vis_data/scalars.json')).read_text().splitlines()
    first = json.loads(logs[0])
    assert {'loss', 'vfl', 'aux_giou', 'dn_bbox', 'grad_norm'} <= set(first)


def test_published_weights_are_tested(project):
    """Without a checkpoint; their labels are found by name, here in another order than that of the data set."""
    from mmdet.registry import MODELS

    source = MODELS.build(tiny_detector('yolos', num_classes=2))
    source.model.config.id2label = {0: 'dark', 1: 'bright'}
    source.model.save_pretrained(project / 'yolos')
    model = tiny_detector('yolos', num_classes=2) | dict(model=dict(from_pretrained=str(project / 'yolos')))
    config = project / 'published.py'
    config.write_text(f'_base_ = {str(project / "data" / "tiny.py")!r}\nmodel = dict(_delete_=True, **{model!r})\n')
    run_tool('test.py', config, 'published', '--work-dir', project / 'scored', '--out', project / 'found.pkl')
    assert 'coco/bbox_mAP' in metrics_of(project / 'scored')
    model = init_detector(str(config), device='cpu')
    assert model.dataset_meta['classes'] == ('dark', 'bright')
    own = inference_detector(model, str(project / 'data' / 'images' / 'val_0.png')).pred_instances
    stored = pickle.loads((project / 'found.pkl').read_bytes())[0]['pred_instances']
    assert len(own) > 0 and torch.equal(stored['labels'], 1 - own.labels)
    torch.testing.assert_close(stored['bboxes'], own.bboxes)
    with pytest.raises(SystemExit):
        run_tool('test.py', project / 'data' / 'tiny.py', 'published', '--work-dir', project / 'scored')


def test_only_a_training_may_use_the_network(project, monkeypatch):
    """``load='hub'`` of a config counts at the start of a training alone."""
    from mmdet.apis import benchmark
    from mmdet.config.reading import load_config
    from mmdet.config.stages import forbid_network
    from mmdet.errors import ConfigError

    monkeypatch.setattr(
        'mmdet.models.utils.transformers_library._check_connection', lambda *_: pytest.fail('asks the hub')
    )
    cfg = load_config(project / 'd_fine.py')
    cfg.model.model = dict(from_pretrained='nobody/nothing-at-all')
    for build in (init_detector, lambda cfg: benchmark.build_model(cfg, None)):
        with pytest.raises(ConfigError, match='no such folder, and the hub.s cache has no config.json'):
            build(cfg)
    model = dict(type='UFPMPDet', coarse=dict(detector=dict(type='TransformersDetector', load='hub')))
    forbid_network(model)
    assert model['coarse']['detector']['load'] == 'local'


def test_published_checkpoint(project):
    """The twins of tied tensors are in it, too."""
    from mmdet.engine.checkpoint import load_checkpoint_file, publish_checkpoint

    path = publish_checkpoint(project / 'run' / 'epoch_2.pth', project / 'small.safetensors')
    state = load_checkpoint_file(path)['state_dict']
    assert torch.equal(state['model.class_embed.0.weight'], state['model.model.decoder.class_embed.0.weight'])
    model = init_detector(str(project / 'run' / 'd_fine.py'), str(path), device='cpu')
    assert model.bbox_head.num_classes == 2
