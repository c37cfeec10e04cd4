"""The schedule of the multi-proxy head: when its regularisers start, and when the proxies' shares are estimated anew."""

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop

from ...errors import ConfigError
from ...models.dense_heads.mp_head import check_kmeans
from ...registry import HOOKS

_STATE_KEY = 'optimal_transport'


@HOOKS.register_module()
class OptimalTransportHook(Hook):
    """Drives every :class:`~mmdet.models.dense_heads.MPHead` (anything with an ``update_ot`` method) inside the model.

    - Once ``start_emb`` epochs are finished, ``head.beta`` is 1, and never goes back.
    - After each ``interval``-th iteration of the training, while fewer than ``end_estimating`` epochs are finished,
      ``head.update_ot()`` runs (seconds), its random starts a function of the runner's seed and the iteration.

    Epochs and iterations are the runner's own and so continue when a run is resumed; ``beta`` is kept in the checkpoint under
    ``optimal_transport``, and restored on a resume. Checkpoints without it resume as well: the epoch then decides. An
    iteration-based training counts one epoch each time it has seen the data once.

    Args:
        interval: iterations between two estimates.
        start_emb: epochs before the regularisers start.
        is_onestage: accepted for the original's configs; heads are found wherever they are.
        end_estimating: epochs after which the shares stay as they are.

    Raises:
        ConfigError: an ``interval`` below 1; when training starts, a model without such a head, or nltk is missing.
    """

    priority = 'HIGHEST'

    def __init__(self, interval: int = 2000, start_emb: int = 2, is_onestage: bool = True, end_estimating: int = 8):
        if interval < 1:
            raise ConfigError('must be at least 1', field='OptimalTransportHook.interval', received=interval)
        self.interval = interval
        self.start_emb = start_emb
        self.is_onestage = is_onestage
        self.end_estimating = end_estimating

    def before_train(self, runner) -> None:
        """Check what is needed later, before hours have gone by."""
        if not _heads(runner):
            raise ConfigError(
                'the model has no head with proxies (MPHead)',
                field='OptimalTransportHook',
                received=type(runner.model).__name__,
            )
        if self.end_estimating > 0:
            check_kmeans()

    def before_train_epoch(self, runner) -> None:
        """Start the regularisers when it is time; also on the first epoch of a resumed run."""
        self._start(runner, finished_epochs(runner))

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """The same inside an iteration-based training, which is one epoch to the runner."""
        if _counts_iterations(runner):
            self._start(runner, finished_epochs(runner))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Estimate the shares every ``interval`` iterations."""
        iteration = runner.iter + 1  # the runner counts on after its hooks
        if iteration % self.interval or finished_epochs(runner) >= self.end_estimating:
            return
        for name, head in _heads(runner):
            head.update_ot(seed=(getattr(runner, 'seed', None) or 0) + iteration)
            print_log(f'{name}: shares of the proxies estimated anew after iteration {iteration}', 'current')

    def after_train_epoch(self, runner) -> None:
        """Start before the checkpoint of this epoch is written."""
        if not _counts_iterations(runner):
            self._start(runner, runner.epoch + 1)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep ``beta`` of every head."""
        checkpoint[_STATE_KEY] = dict(beta={name: float(head.beta) for name, head in _heads(runner)})

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Restore ``beta`` when a run continues; other loads start a new training, whose ``beta`` is the config's."""
        if not getattr(runner, '_resume', False):
            return
        stored = checkpoint.get(_STATE_KEY, {}).get('beta', {})
        for name, head in _heads(runner):
            head.beta = stored.get(name, head.beta)

    def _start(self, runner, epochs: int) -> None:
        if epochs >= self.start_emb:
            for _, head in _heads(runner):
                head.beta = 1


def _counts_iterations(runner) -> bool:
    return isinstance(getattr(runner, 'train_loop', None), IterBasedTrainLoop)


def finished_epochs(runner) -> int:
    """Passes over the training data that are complete."""
    if _counts_iterations(runner):
        return runner.iter // max(1, len(runner.train_dataloader))
    return runner.epoch


def _heads(runner) -> list[tuple[str, object]]:
    """Names and modules of the heads, the model's wrapper (if any) left out."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return [(name, module) for name, module in model.named_modules() if callable(getattr(module, 'update_ot', None))]


__all__ = ['OptimalTransportHook']
