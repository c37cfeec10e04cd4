"""The pipeline changes at the epoch asked for: in loader workers, inside other datasets, after a resume."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger

from mmdet.engine.hooks import PipelineSwitchHook
from mmdet.errors import ConfigError
from mmdet.registry import DATASETS, TRANSFORMS

from .toy import toy_runner


@TRANSFORMS.register_module(force=True)
class AddToVector:
    """A transform: adds to the input."""

    def __init__(self, value):
        self.value = value

    def __call__(self, results):
        return dict(results, inputs=results['inputs'] + self.value)


@DATASETS.register_module(force=True)
class VectorDataset(BaseDataset):
    """Zeros, and a pipeline."""

    METAINFO = dict(classes=('car', 'van', 'bus'))

    def __init__(self, length=4, pipeline=(), **kwargs):
        self.length = length
        super().__init__(pipeline=[TRANSFORMS.build(step) for step in pipeline], **kwargs)

    def load_data_list(self):
        return [dict(number=number) for number in range(self.length)]

    def prepare_data(self, idx):
        return self.pipeline(dict(inputs=torch.zeros(4), targets=torch.tensor(int(idx) % 3)))


ONE, SEVEN = [dict(type='AddToVector', value=1)], [dict(type='AddToVector', value=3), dict(type='AddToVector', value=4)]
PLAIN = dict(type='VectorDataset', pipeline=ONE)
WRAPPED = {
    'plain': PLAIN,
    'repeated': dict(type='RepeatDataset', times=1, dataset=PLAIN),
    'concatenated': dict(
        type='ConcatDataset',
        datasets=[dict(PLAIN, length=2), dict(type='RepeatDataset', times=1, dataset=dict(PLAIN, length=2))],
    ),
}


def values_seen(runner) -> list[float]:
    """The inputs of each iteration, in which all are equal."""
    runner.train()
    seen = [batch.unique().tolist() for batch in runner.model.seen]
    assert all(len(values) == 1 for values in seen)
    return [values[0] for values in seen]


def hooked_runner(folder, dataset, switch_epoch=1, epochs=3, workers=0, **options):
    return toy_runner(
        folder, epochs=epochs, ema=False, model=dict(type='ToyDetector', plain=True),
        custom_hooks=[dict(type='PipelineSwitchHook', switch_epoch=switch_epoch, switch_pipeline=SEVEN)],
        train_dataloader=dict(dataset=dataset, num_workers=workers, persistent_workers=workers > 0), **options,
    )  # fmt: skip


@pytest.mark.parametrize('name', WRAPPED)
def test_switches_once(tmp_path, name):
    assert values_seen(hooked_runner(tmp_path, WRAPPED[name])) == [1, 7, 7]


def test_persistent_workers(tmp_path):
    assert values_seen(hooked_runner(tmp_path, PLAIN, workers=1)) == [1, 7, 7]


def test_never_and_at_once(tmp_path):
    assert values_seen(hooked_runner(tmp_path / 'a', PLAIN, switch_epoch=3, epochs=2)) == [1, 1]
    assert values_seen(hooked_runner(tmp_path / 'b', PLAIN, switch_epoch=0, epochs=1)) == [7]


def test_after_a_resume(tmp_path):
    hooked_runner(tmp_path, PLAIN, epochs=2).train()
    assert values_seen(hooked_runner(tmp_path, PLAIN, epochs=3, resume='auto')) == [7]


def test_a_dataset_without_a_pipeline():
    loader = SimpleNamespace(dataset=SimpleNamespace())
    runner = SimpleNamespace(epoch=0, train_dataloader=loader, logger=MMLogger.get_current_instance())
    with pytest.raises(ConfigError, match='a dataset with a pipeline'):
        PipelineSwitchHook(0, SEVEN).before_train_epoch(runner)


def test_validation_comes_more_often_at_the_end(tmp_path):
    validated = []
    options = {'train_cfg.val_interval': 3, 'train_cfg.dynamic_intervals': [(4, 1)]}
    runner = toy_runner(tmp_path, epochs=6, val=True, ema=False, **options)
    run = runner.val_loop.run
    runner.val_loop.run = lambda: (validated.append(runner.epoch), run())[1]
    runner.train()
    assert validated == [3, 4, 5, 6]
