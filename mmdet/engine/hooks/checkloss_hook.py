"""Stop where a loss is no number."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...errors import NonFiniteLossError
from ...registry import HOOKS


class InvalidLossError(NonFiniteLossError, AssertionError):
    """A :class:`NonFiniteLossError` for callers that expect mmdetection's assertion."""


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Look at the loss from time to time. (The optimizer wrappers of this package stop at every loss that is no number, before the step.)

    Args:
        interval: every how many iterations.

    Raises:
        InvalidLossError: the loss is NaN or infinite.
    """

    def __init__(self, interval: int = 50):
        self.interval = interval

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Check ``outputs['loss']``."""
        if (
            outputs is not None
            and self.every_n_train_iters(runner, self.interval)
            and not torch.isfinite(outputs['loss']).all()
        ):
            runner.logger.info('loss become infinite or NaN!')
            raise InvalidLossError(
                'the loss is NaN or infinite', record=f'iteration {runner.iter}', received=outputs['loss']
            )
