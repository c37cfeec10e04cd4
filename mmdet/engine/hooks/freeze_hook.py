"""Freeze parts of the model for a time of the training."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from ...errors import ConfigError
from ...registry import HOOKS
from ...utils.checks import is_int
from ..checkpoint.loading import unwrap
from ..freezing import freeze_norm, is_inside, near_parts, norms_of, refuse_frozen_model, release_norm


@HOOKS.register_module()
class FreezeHook(Hook):
    """Freeze weights, and the statistics of batch norms, from epoch ``begin`` to before epoch ``end``.

    Epochs count from 0, as in ``param_scheduler``: ``end=5`` trains the parts from the sixth epoch on, ``begin=5`` stops after the fifth. What
    another option froze (``frozen_stages``, ``custom_keys``) stays frozen afterwards. A resumed run goes on with what its epoch says. With several
    processes the model is wrapped anew when something changes, so that ``find_unused_parameters`` is not needed.

    Args:
        modules: parts by the beginning of their names, ``['backbone', 'neck.fpn_convs.0']``; a parameter's whole name is one, too.
        begin: first epoch, or iteration.
        end: first one in which they are trained again; None means never.
        by_epoch: whether ``begin`` and ``end`` count epochs, otherwise iterations.
        norms: whether the batch norms of the parts keep their statistics. False freezes the weights only.

    Raises:
        ConfigError: a part that the model does not have, or an option without effect.
    """

    # After the checkpoint is loaded, and before the averages of the weights look at the model.
    priority = 'HIGH'

    def __init__(
        self,
        modules: Sequence[str] | str,
        begin: int = 0,
        end: int | None = None,
        by_epoch: bool = True,
        norms: bool = True,
    ):
        self.modules = [modules] if isinstance(modules, str) else modules
        several = isinstance(self.modules, list | tuple) and len(self.modules) > 0
        if not several or not all(isinstance(part, str) and part for part in self.modules):
            raise ConfigError('must be the names of parts of the model', field='FreezeHook.modules', received=modules)
        if not is_int(begin, 0):
            raise ConfigError('must be a whole number >= 0', field='FreezeHook.begin', received=begin)
        if end is not None and not is_int(end, begin + 1):
            raise ConfigError(f'must be a whole number above begin, {begin}', field='FreezeHook.end', received=end)
        for name, value in dict(by_epoch=by_epoch, norms=norms).items():
            if not isinstance(value, bool):
                raise ConfigError('must be True or False', field=f'FreezeHook.{name}', received=value)
        self.begin, self.end, self.by_epoch, self.norms = begin, end, by_epoch, norms
        self._parameters: list[nn.Parameter] | None = None  # what this hook froze; None while nothing is
        self._norms: list[nn.Module] = []

    def before_run(self, runner: Runner) -> None:
        """Check that the parts exist; the model is not trained yet."""
        if runner._train_loop is None:
            return
        model = unwrap(runner.model)
        names = [name for name, _ in model.named_parameters()]
        for part in self.modules:
            own = [name for name in names if is_inside(name, part)]
            if not own and not any(is_inside(name, part) for name, _ in norms_of(model)):
                raise ConfigError(
                    f'the model has no part of this name; {near_parts(part, names)}',
                    field='FreezeHook.modules',
                    received=part,
                )

    def before_train(self, runner: Runner) -> None:
        """Do what the epoch says at which the training starts, or goes on."""
        loop: Any = runner.train_loop
        length, unit = (loop.max_epochs, 'epochs') if self.by_epoch else (loop.max_iters, 'iterations')
        if self.begin >= length:
            message = f'has no effect: the training has {length} {unit}'
            raise ConfigError(message, field='FreezeHook.begin', received=self.begin)
        if self.end is not None and self.end > length and self.by_epoch and isinstance(loop, IterBasedTrainLoop):
            message = (
                'a training by iterations has one epoch, so that the parts would never be trained; set by_epoch=False'
            )
            raise ConfigError(message, field='FreezeHook.end', received=self.end)
        self._update(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Freeze or release at the start of an epoch."""
        if self.by_epoch:
            self._update(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Freeze or release before an iteration."""
        if not self.by_epoch:
            self._update(runner)

    def _update(self, runner: Runner) -> None:
        now = runner.epoch if self.by_epoch else runner.iter
        due = now >= self.begin and (self.end is None or now < self.end)
        if due == (self._parameters is not None):
            return
        model = unwrap(runner.model)
        if due:
            self._freeze(model)
        else:
            self._release(model)
        rewrap = getattr(runner, 'rewrap_model', None)
        if rewrap is not None:
            rewrap()

    def _freeze(self, model: nn.Module) -> None:
        inside = [(n, p) for n, p in model.named_parameters() if any(is_inside(n, part) for part in self.modules)]
        self._parameters = [parameter for _, parameter in inside if parameter.requires_grad]
        for parameter in self._parameters:
            parameter.requires_grad_(False)
            parameter.grad = None  # an optimizer leaves out parameters without a gradient
        refuse_frozen_model(model, 'FreezeHook.modules')
        if self.norms:
            found = [norm for name, norm in norms_of(model) if any(is_inside(name, part) for part in self.modules)]
            before = [type(norm) for norm in found]
            for norm in found:
                freeze_norm(norm)
            self._norms = [norm for norm, kind in zip(found, before) if type(norm) is not kind]
        if not self._parameters and not self._norms:
            message = 'has no effect: all of it is frozen already'
            raise ConfigError(message, field='FreezeHook.modules', received=self.modules)
        self._tell('Frozen')

    def _release(self, model: nn.Module) -> None:
        for parameter in self._parameters or ():
            parameter.requires_grad_(True)
        for norm in self._norms:
            release_norm(norm, model.training)
        self._tell('Trained from now on')
        self._parameters, self._norms = None, []

    def _tell(self, what: str) -> None:
        print_log(
            f'{what}: {", ".join(self.modules)} ({len(self._parameters or ())} parameters, {len(self._norms)} batch norms)',
            logger='current',
        )
