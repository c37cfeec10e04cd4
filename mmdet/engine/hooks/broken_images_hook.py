"""Report the broken images that training skipped, and what else the loading of images has shown."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS

_NAMED = 10


@HOOKS.register_module()
class BrokenImagesHook(Hook):
    """Report the images that could not be decoded: new ones after each epoch, all of them at the end of training.

    The dataset lists their paths in its attribute ``broken_images``; without that attribute nothing is reported. If its :meth:`account` is
    another one at the end than at the start (broken images, sizes that differ from the annotations), the new one is logged.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._reported = 0
        self._account: Any = None

    def before_train(self, runner: Runner) -> None:
        """Keep the account of the start."""
        self._account = _account(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Warn about images found broken since the last report."""
        broken = _broken_images(runner)
        if len(broken) > self._reported:
            new = broken[self._reported :]
            runner.logger.warning(f'{len(new)} broken images were skipped for the first time: {_named(new)}')
            self._reported = len(broken)

    def after_train(self, runner: Runner) -> None:
        """Give the final count."""
        broken = _broken_images(runner)
        if broken:
            runner.logger.warning(f'Training skipped {len(broken)} broken images: {_named(broken)}')
        account = _account(runner)
        if account is not None and account != self._account:
            runner.logger.info(f'After the training: {account.text()}')


def _broken_images(runner: Runner) -> list[str]:
    return list(getattr(runner.train_dataloader.dataset, 'broken_images', None) or [])


def _account(runner: Runner) -> Any:
    dataset = runner.train_dataloader.dataset
    return dataset.account() if hasattr(dataset, 'account') else None


def _named(paths: list[str]) -> str:
    return ', '.join(map(str, paths[:_NAMED])) + (f' and {len(paths) - _NAMED} more' if len(paths) > _NAMED else '')
