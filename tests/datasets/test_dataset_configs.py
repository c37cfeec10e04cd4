"""The dataset configs build, on the real sample data where it is at hand."""

import pytest
from mmengine.config import Config
from mmengine.runner import Runner


@pytest.mark.parametrize('name', ['coco', 'visdrone', 'uavdt', 'bccd'])
def test_config_has_the_names_that_models_override(repository, name):
    config = Config.fromfile(repository / f'configs/_base_/datasets/{name}_detection.py')
    for key in (
        'dataset_type',
        'data_root',
        'train_pipeline',
        'test_pipeline',
        'test_dataloader',
        'val_evaluator',
        'test_evaluator',
    ):
        assert key in config
    assert config.backend_args is None
    assert (
        config.train_dataloader.sampler.type == 'DefaultSampler'
        and config.train_dataloader.batch_sampler.type == 'AspectRatioBatchSampler'
    )
    assert config.val_dataloader.dataset.test_mode and config.test_dataloader.dataset.test_mode
    assert config.val_evaluator.ann_file == config.data_root + config.val_dataloader.dataset.ann_file
    assert config.test_evaluator.ann_file == config.data_root + config.test_dataloader.dataset.ann_file


def first_batches(config, **dataset):
    for key in ('train_dataloader', 'val_dataloader'):
        cfg = config[key].copy()
        cfg.update(num_workers=0, persistent_workers=False)
        cfg['dataset'].update(dataset[key])
        yield next(iter(Runner.build_dataloader(cfg, seed=0)))


def check(train, val, scale):
    assert len(train['inputs']) == 2 and len(val['inputs']) == 1
    for batch in (train, val):
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            assert tuple(image.shape[1:]) == sample.img_shape and max(image.shape) <= scale
            assert len(sample.gt_instances.bboxes) == len(sample.gt_instances.labels)
