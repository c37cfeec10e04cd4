"""Change the augmentation near the end of a training."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.transforms import Compose
from ...datasets.transforms.loading import settle_pipeline
from ...errors import ConfigError
from ...registry import HOOKS


@HOOKS.register_module()
class PipelineSwitchHook(Hook):
    """Give the training set another pipeline from some epoch on, as RTMDet does for its last 20 epochs (without mosaics).

    A dataset inside others (``RepeatDataset``, ``ConcatDataset``, ...) gets it too. Persistent loader workers are started anew, because
    they have copies of the dataset.

    Args:
        switch_epoch: epochs (counted from 0) before this one use the pipeline of the config.
        switch_pipeline: configs of the transforms from then on.
    """

    def __init__(self, switch_epoch: int, switch_pipeline: list[dict]):
        self.switch_epoch, self.switch_pipeline = switch_epoch, switch_pipeline
        self._switched = False

    def before_train_epoch(self, runner: Runner) -> None:
        """Switch at the first epoch that is late enough; in a resumed run this may be its first."""
        if self._switched or runner.epoch < self.switch_epoch:
            return
        loader = runner.train_dataloader
        for dataset in _with_pipelines(loader.dataset):
            dataset.pipeline = Compose(self.switch_pipeline)
            settle_pipeline(dataset.pipeline.transforms)
        if getattr(loader, 'persistent_workers', False):
            loader._iterator = None  # the next pass makes a new one, and with it new workers
        self._switched = True
        runner.logger.info('Training goes on with the pipeline of PipelineSwitchHook.')


def _with_pipelines(dataset: Any) -> list[Any]:
    """The outermost datasets with a pipeline of their own: the dataset, or those that it consists of.

    Raises:
        ConfigError: there is none.
    """
    if hasattr(dataset, 'pipeline'):
        return [dataset]
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if parts == [None]:
        message = 'needs a dataset with a pipeline'
        raise ConfigError(message, field='PipelineSwitchHook', received=type(dataset).__name__)
    return [found for part in parts for found in _with_pipelines(part)]
