"""The last epochs of YOLOX: no mixing of images, an L1 loss more."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...errors import ConfigError
from ...registry import HOOKS
from ..checkpoint.loading import unwrap


@HOOKS.register_module()
class YOLOXModeSwitchHook(Hook):
    """Switch off transforms of the training set for the last epochs, and set ``use_l1`` of the head.

    The data set must have ``update_skip_type_keys``, as ``MultiImageMixDataset`` has.

    Args:
        num_last_epochs: how many.
        skip_type_keys: types of the transforms.
    """

    def __init__(self, num_last_epochs: int = 15, skip_type_keys: Sequence[str] = ('Mosaic', 'RandomAffine', 'MixUp')):
        self.num_last_epochs, self.skip_type_keys = num_last_epochs, skip_type_keys
        self._restarted = False

    def before_train(self, runner: Runner) -> None:
        """Check before the first step that the hook can do its work in the last epochs.

        Raises:
            ConfigError: the model has no ``bbox_head``, or the data set no ``update_skip_type_keys``.
        """
        self._head(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Switch at the first of the last epochs, also of a training that is resumed among them."""
        loader: Any = runner.train_dataloader
        if runner.epoch + 1 < runner.max_epochs - self.num_last_epochs or self._restarted:
            return
        self._restarted = True
        head = self._head(runner)
        runner.logger.info('No mosaic and mixup aug now!')
        loader.dataset.update_skip_type_keys(self.skip_type_keys)
        if getattr(loader, 'persistent_workers', False):
            loader._iterator = None  # its workers have copies of the data set; the next pass starts new ones
        runner.logger.info('Add additional L1 loss now!')
        head.use_l1 = True

    @staticmethod
    def _head(runner: Runner) -> Any:
        """The head of the model, after a check that model and data set have what is switched."""
        model: Any = unwrap(runner.model)
        if getattr(model, 'bbox_head', None) is None:
            message = f'YOLOXModeSwitchHook sets use_l1 of bbox_head, which {type(model).__name__} does not have'
            raise ConfigError(message, field='custom_hooks')
        dataset = runner.train_dataloader.dataset
        if not hasattr(dataset, 'update_skip_type_keys'):
            message = 'YOLOXModeSwitchHook needs a MultiImageMixDataset as the outermost data set of the training'
            raise ConfigError(message, field='custom_hooks', received=type(dataset).__name__)
        return model.bbox_head
