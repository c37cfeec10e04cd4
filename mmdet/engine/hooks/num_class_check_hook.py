"""Compare the heads' number of classes with the dataset's before the first iteration."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from ...errors import ArgumentError
from ...registry import HOOKS
from ..checkpoint.loading import unwrap


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Stop before training or validation when a head's ``num_classes`` is not the number of the dataset's classes.

    Every submodule with an integer ``num_classes`` and *head* in its name is checked. A head that is meant to differ
    (a class-agnostic proposal head) sets ``check_num_classes = False``; heads named ``rpn_head`` are left out.

    Raises:
        ArgumentError: the counts differ, or the dataset's ``classes`` are a string.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Check the training dataset."""
        self._check(runner, runner.train_dataloader.dataset, 'train_dataloader.dataset')

    def before_val_epoch(self, runner: Runner) -> None:
        """Check the validation dataset."""
        self._check(runner, runner.val_dataloader.dataset, 'val_dataloader.dataset')

    def _check(self, runner: Runner, dataset: Dataset, name: str) -> None:
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if classes is None:
            return
        if isinstance(classes, str):
            raise ArgumentError(
                "must be a tuple of names; one class is ('name',)", field=f'{name}.metainfo.classes', received=classes
            )
        for module_name, module in unwrap(runner.model).named_modules():
            count, leaf = getattr(module, 'num_classes', None), module_name.rpartition('.')[2]
            checked = 'head' in leaf and leaf != 'rpn_head' and getattr(module, 'check_num_classes', True)
            if checked and isinstance(count, int) and count != len(classes):
                raise ArgumentError(
                    f'the {type(module).__name__} has num_classes={count}, the {type(dataset).__name__} of {name} '
                    f'has {len(classes)} classes {tuple(classes)}',
                    field=f'model.{module_name}.num_classes',
                )
