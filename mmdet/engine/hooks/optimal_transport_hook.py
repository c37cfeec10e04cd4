"""Schedule of the multi-proxy head: start of its regularisers, and estimates of the shares of its proxies."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner

from ...errors import ConfigError
from ...models.dense_heads.mp_head import check_kmeans
from ...registry import HOOKS
from ..checkpoint.loading import unwrap

_STATE_KEY = 'optimal_transport'


@HOOKS.register_module()
class OptimalTransportHook(Hook):
    """Run the schedule of every :class:`~mmdet.models.dense_heads.MPHead` (any module with ``update_ot``) in the model.

    - Once ``start_emb`` epochs are finished, ``head.beta`` is set to 1 and stays so.
    - After each ``interval``-th iteration, while fewer than ``end_estimating`` epochs are finished,
      ``head.update_ot()`` runs (for seconds), seeded by the runner's seed and the iteration.

    A resumed run continues this schedule; ``beta`` is kept in the checkpoint under ``optimal_transport`` and restored.
    For a checkpoint without it, the epoch decides. An iteration-based training counts one epoch for each pass over the data.

    Args:
        interval: iterations between two estimates.
        start_emb: epochs before the regularisers start.
        is_onestage: accepted because published configs have it; heads are found in any kind of model.
        end_estimating: epochs after which the shares are no longer estimated.

    Raises:
        ConfigError: ``interval`` is below 1; when training starts, the model has no such head or nltk is missing.
    """

    priority = 'HIGHEST'

    def __init__(self, interval: int = 2000, start_emb: int = 2, is_onestage: bool = True, end_estimating: int = 8):
        if interval < 1:
            raise ConfigError('must be at least 1', field='OptimalTransportHook.interval', received=interval)
        self.interval = interval
        self.start_emb = start_emb
        self.is_onestage = is_onestage
        self.end_estimating = end_estimating

    def before_train(self, runner: Runner) -> None:
        """Check the requirements of the later steps."""
        if not _heads(runner):
            kind = type(runner.model).__name__
            raise ConfigError(
                'the model has no head with proxies (MPHead)', field='OptimalTransportHook', received=kind
            )
        if self.end_estimating > 0:
            check_kmeans()

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the regularisers when enough epochs are finished, also in the first epoch of a resumed run."""
        self._start(runner, finished_epochs(runner))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None) -> None:
        """Start the regularisers inside an iteration-based training, which the runner counts as one epoch."""
        if _counts_iterations(runner):
            self._start(runner, finished_epochs(runner))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None, outputs: dict | None = None
    ) -> None:
        """Estimate the shares every ``interval`` iterations."""
        iteration = runner.iter + 1  # the runner counts on after its hooks
        if iteration % self.interval or finished_epochs(runner) >= self.end_estimating:
            return
        for name, head in _heads(runner):
            head.update_ot(seed=(getattr(runner, 'seed', None) or 0) + iteration)
            print_log(f'{name}: shares of the proxies estimated after iteration {iteration}', 'current')

    def after_train_epoch(self, runner: Runner) -> None:
        """Start the regularisers before the checkpoint of this epoch is written."""
        if not _counts_iterations(runner):
            self._start(runner, runner.epoch + 1)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store ``beta`` of every head in the checkpoint."""
        checkpoint[_STATE_KEY] = dict(beta={name: float(head.beta) for name, head in _heads(runner)})

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore ``beta`` when a run is resumed; a new training from a checkpoint keeps the config's."""
        if not getattr(runner, '_resume', False):
            return
        stored = checkpoint.get(_STATE_KEY, {}).get('beta', {})
        for name, head in _heads(runner):
            head.beta = stored.get(name, head.beta)

    def _start(self, runner: Runner, epochs: int) -> None:
        if epochs >= self.start_emb:
            for _, head in _heads(runner):
                head.beta = 1


def _counts_iterations(runner: Runner) -> bool:
    return isinstance(getattr(runner, 'train_loop', None), IterBasedTrainLoop)


def finished_epochs(runner: Runner) -> int:
    """Number of complete passes over the training data."""
    if _counts_iterations(runner):
        return runner.iter // max(1, len(runner.train_dataloader))
    return runner.epoch


def _heads(runner: Runner) -> list[tuple[str, Any]]:
    """Names (without those of a wrapper) and modules of the heads."""
    modules = unwrap(runner.model).named_modules()
    return [(name, module) for name, module in modules if callable(getattr(module, 'update_ot', None))]
