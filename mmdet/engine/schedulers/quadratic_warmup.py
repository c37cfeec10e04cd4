"""A warm-up along a parabola (YOLOX, arXiv 2107.08430)."""

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.momentum_scheduler import MomentumSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler
from torch.optim import Optimizer

from ...errors import ArgumentError, ConfigError
from ...registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupParamScheduler(_ParamScheduler):
    """Raises a value to ``(k / n)**2`` of itself in step k of n, until it is itself.

    Args:
        optimizer: the optimizer.
        param_name: of the value.
        begin, end: the first step, and the one after the last; n is their difference.
        last_step: step to go on from; -1 begins anew.
        by_epoch: whether steps are epochs.
        verbose: log every change.

    Raises:
        ConfigError: ``end`` not above ``begin``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        param_name: str,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ):
        if end <= begin:
            raise ConfigError('end must be larger than begin', received=(begin, end))
        self.total_iters = end - begin
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> 'QuadraticWarmupParamScheduler':
        """A scheduler of iterations whose ``begin`` and ``end`` are given in epochs of ``epoch_length`` iterations.

        Raises:
            ArgumentError: ``by_epoch=False``, or a length not above 0.
        """
        if not by_epoch:
            raise ArgumentError(
                'only a scheduler of epochs can be converted; must be True', field='by_epoch', received=by_epoch
            )
        if epoch_length is None or epoch_length <= 0:
            raise ArgumentError('must be > 0', field='epoch_length', received=epoch_length)
        end = end if end == INF else end * epoch_length
        kwargs.update(begin=begin * epoch_length, end=end, by_epoch=False)
        return cls(*args, **kwargs)

    def _get_value(self) -> list[float]:
        values = []
        for base, group in zip(self.base_values, self.optimizer.param_groups):
            # (k + 1)^2 - k^2 = 2 k + 1: added to the value, so that schedulers of the same value can follow each other.
            step = base * (2 * self.last_step + 1) / self.total_iters**2
            values.append(step if self.last_step == 0 else group[self.param_name] + step)
        return values


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupLR(LRSchedulerMixin, QuadraticWarmupParamScheduler):
    """:class:`QuadraticWarmupParamScheduler` of the learning rate; arguments as there, without ``param_name``."""


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupMomentum(MomentumSchedulerMixin, QuadraticWarmupParamScheduler):
    """:class:`QuadraticWarmupParamScheduler` of the momentum; arguments as there, without ``param_name``."""
