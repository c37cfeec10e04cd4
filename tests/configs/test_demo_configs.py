"""The demo's configs belong together: what is trained is what the two-stage config runs."""

import pytest

from mmdet.apis.ufpmp import stage_scales
from mmdet.utils import load_config


@pytest.fixture(scope='module')
def config(repository):
    return lambda name: load_config(repository / f'configs/demo/{name}.py')


def test_two_stages_are_the_models_that_are_trained(config):
    both = config('ufpmp_det_demo')
    for stage, name in ((both.model.coarse, 'coarse_det_demo'), (both.model.fine, 'mp_det_demo')):
        single = config(name)
        trained, built = single.model.to_dict(), stage.detector.to_dict()
        epochs = single.train_cfg.max_epochs
        assert built['init_cfg']['checkpoint'].endswith(f'/epoch_{epochs}.pth')
        for model in (trained, built):
            model.pop('init_cfg', None)
            model['backbone'].pop('init_cfg', None)
        assert built == trained
        assert [tuple(stage.scale)] == stage_scales(single)
    assert both.model.coarse.detector.init_cfg.checkpoint == config('mp_det_demo').model.backbone.init_cfg.checkpoint


def test_the_regularisers_of_the_multi_proxy_head_act(config):
    """The shares are estimated at least once before they count, and the hook starts the losses inside the training."""
    cfg = config('mp_det_demo')
    hook, epochs = cfg.default_hooks.optimal_transport, cfg.train_cfg.max_epochs
    iterations = cfg.train_dataloader.dataset.get('times', 1) * 400 // cfg.train_dataloader.batch_size
    assert hook.interval < hook.end_estimating * iterations
    assert hook.start_emb < epochs
    assert len(cfg.model.bbox_head.proxies_list) == cfg.model.bbox_head.num_classes == 6


def test_one_detector_on_drone_scenes(repository, config):
    shared = load_config(repository / 'configs/UFPMP-Det/ufpmp_shared_scenes.py')
    assert shared.model.coarse.detector == config('coarse_det_demo').model
    _, (mosaic, resize) = shared.train_dataloader.dataset.pipeline[2].transforms
    assert mosaic.ufp == shared.model.ufp and resize.scale == shared.model.fine.scale
