"""Agreement of the heads' class count with the dataset's class names, before the first iteration."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ...errors import ConfigError
from ...registry import HOOKS


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Stop before training or validation when a head's ``num_classes`` is not the number of the dataset's classes.

    Every submodule with an integer ``num_classes`` whose name says *head* is looked at. A head that is meant to differ
    (a class-agnostic proposal head) sets ``check_num_classes = False``; heads named ``rpn_head`` are left out.
    """

    def before_train_epoch(self, runner) -> None:
        """Check the training dataset."""
        self._check(runner, runner.train_dataloader.dataset, 'train_dataloader.dataset')

    def before_val_epoch(self, runner) -> None:
        """Check the validation dataset."""
        self._check(runner, runner.val_dataloader.dataset, 'val_dataloader.dataset')

    def _check(self, runner, dataset, name: str) -> None:
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if classes is None:
            return
        if isinstance(classes, str):
            raise ConfigError(
                "must be a tuple of names; one class is ('name',)", field=f'{name}.metainfo.classes', received=classes
            )
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for module_name, module in model.named_modules():
            count = getattr(module, 'num_classes', None)
            leaf = module_name.rpartition('.')[2]
            if (
                'head' not in leaf
                or leaf == 'rpn_head'
                or not isinstance(count, int)
                or not getattr(module, 'check_num_classes', True)
            ):
                continue
            if count != len(classes):
                raise ConfigError(
                    f'the {type(module).__name__} has num_classes={count}, the {type(dataset).__name__} of {name} '
                    f'has {len(classes)} classes {tuple(classes)}',
                    field=f'model.{module_name}.num_classes',
                )


__all__ = ['NumClassCheckHook']
