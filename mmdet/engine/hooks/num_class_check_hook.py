"""Compare the heads' number of classes, and the names that the model knows, with the dataset's before the first iteration."""

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...errors import ArgumentError
from ...evaluation.evaluator import Evaluator
from ...evaluation.predictions import parts_of
from ...models.detectors import CompositeDetector
from ...registry import HOOKS
from ...utils.class_names import class_names
from ..checkpoint.loading import unwrap

_UNKNOWN = 'The checkpoint does not name its classes: labels are taken by position, as the data set lists them'


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Stop before training, validation or test when a head's ``num_classes`` does not fit the dataset's classes.

    In training the two numbers must be equal. For validation and test the evaluator maps the labels of the model to those of the data set
    by name, if the names that the model was trained on are known (``runner.trained_classes``: those of the training set, or those in the
    checkpoint); the log says which classes are not the same. Where they are not known, the numbers must be equal.

    Every submodule with an integer ``num_classes`` and *head* in its name is checked, or the detector where there is no such head. A head that is
    meant to differ (a class-agnostic proposal head) sets ``check_num_classes = False``; heads named ``rpn_head`` are left out.

    Raises:
        ArgumentError: the counts differ, or the dataset's ``classes`` are a string.
        ConfigError: the model knows no class of the data set.
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Check both datasets, so that a wrong validation set does not end the run after its first epoch."""
        self._check(runner, runner.train_dataloader.dataset, 'train_dataloader.dataset')
        owner: Any = runner
        owner.trained_classes = class_names(getattr(runner.train_dataloader.dataset, 'metainfo', None))
        if runner.val_loop is not None:
            self.before_val_epoch(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Check the training dataset."""
        self._check(runner, runner.train_dataloader.dataset, 'train_dataloader.dataset')

    def before_val_epoch(self, runner: Runner) -> None:
        """Check the validation dataset, and tell its evaluator what the labels of the model are."""
        evaluator = getattr(getattr(runner, 'val_loop', None), 'evaluator', None)
        self._match(runner, runner.val_dataloader.dataset, evaluator, 'val_dataloader.dataset')

    def before_test_epoch(self, runner: Runner) -> None:
        """Check the test dataset, and tell its evaluator what the labels of the model are."""
        evaluator = getattr(getattr(runner, 'test_loop', None), 'evaluator', None)
        self._match(runner, runner.test_dataloader.dataset, evaluator, 'test_dataloader.dataset')

    def _match(self, runner: Runner, dataset: Any, evaluator: Any, name: str) -> None:
        trained = getattr(runner, 'trained_classes', None)
        counts = {count for _, _, count in _heads(runner.model)}
        if trained is not None and counts - {len(trained)}:
            message = (
                f'The checkpoint names {len(trained)} classes, the model has {sorted(counts)}: its names are not used'
            )
            self._say(runner, message)
            trained = None
        if trained is None or not isinstance(evaluator, Evaluator):
            if trained is None and counts and class_names(getattr(dataset, 'metainfo', None)):
                self._say(runner, _UNKNOWN, warn=False)
            for part in parts_of(dataset):
                self._check(runner, part, name)
            trained = None
        if isinstance(evaluator, Evaluator):
            for note in evaluator.match_classes(trained):
                self._say(runner, note)

    def _say(self, runner: Runner, text: str, warn: bool = True) -> None:
        if text not in self._said and getattr(runner, 'logger', None) is not None:
            (runner.logger.warning if warn else runner.logger.info)(text)
        self._said.add(text)

    def _check(self, runner: Runner, dataset: Any, name: str) -> None:
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if classes is None:
            return
        if isinstance(classes, str):
            raise ArgumentError(
                "must be a tuple of names; one class is ('name',)", field=f'{name}.metainfo.classes', received=classes
            )
        for module_name, kind, count in _heads(runner.model):
            if count != len(classes):
                raise ArgumentError(
                    f'the {kind} has num_classes={count}, the {type(dataset).__name__} of {name} '
                    f'has {len(classes)} class{"es" if len(classes) != 1 else ""} {tuple(classes)}',
                    field=f'model.{module_name}.num_classes',
                )


def _heads(model: Any) -> list[tuple[str, str, int]]:
    """Name, class and ``num_classes`` of the heads that are checked, or of a detector without heads, or whose stages may have others."""
    model = unwrap(model)
    heads = [] if isinstance(model, CompositeDetector) else list(_counting_heads(model))
    count, kind = getattr(model, 'num_classes', None), type(model).__name__
    if not heads and isinstance(count, int):
        return [(kind, kind, count)]
    return [
        (name, type(head).__name__, head.num_classes)
        for name, leaf, head in heads
        if leaf != 'rpn_head' and getattr(head, 'check_num_classes', True)
    ]


def _counting_heads(model: Any) -> Iterator[tuple[str, str, Any]]:
    """Every submodule with ``num_classes`` and *head* in its name: the name, its last part (of a list of heads, that of the list), the module."""
    for name, module in model.named_modules():
        leaf = next((part for part in reversed(name.split('.')) if not part.isdigit()), '')
        if 'head' in leaf and isinstance(getattr(module, 'num_classes', None), int):
            yield name, leaf, module
