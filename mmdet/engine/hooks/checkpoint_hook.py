"""Save checkpoints during training in such an order that a usable one exists at every instant."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from ...errors import CheckpointError, ConfigError
from ...registry import HOOKS
from ...utils.files import make_folder, remove_stale_temporaries
from ..checkpoint.converting import publish_checkpoint
from ..checkpoint.saving import write_link, write_pointer

_VALIDATED = 'validated_at'
BEST_POINTER_NAME = 'best_checkpoint'


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, with the same arguments, for local folders.

    Order of a save: the new file (atomically), the pointer ``last_checkpoint`` and the link ``latest.pth``, and only
    then the removal of the files beyond ``max_keep_ckpts``. Order for a new best: the new ``best_*`` file, the
    checkpoint of this epoch again (it now knows the best score), the pointer ``best_checkpoint``, and then the removal
    of the previous best.

    A run killed between saving and validating an epoch validates when it is resumed, if ``save_best`` needs the score.
    """

    out_dir: Any  # a path or None, and str as soon as training starts

    def before_train(self, runner: Runner) -> None:
        """Choose the folder, remove the leftovers of killed saves, and continue the resumed run's list of checkpoints."""
        if '://' in str(self.out_dir):
            message = 'checkpoints are written to local folders'
            raise ConfigError(message, field='checkpoint.out_dir', received=str(self.out_dir))
        work_dir = Path(runner.work_dir)
        folder = self.folder = work_dir if self.out_dir is None else Path(self.out_dir) / work_dir.name
        self.out_dir = str(folder)
        self._kept_steps = list(runner.message_hub.runtime_info.get('keep_ckpt_ids', []))
        if is_main_process():
            make_folder(folder, error=CheckpointError)
            for path in remove_stale_temporaries(folder):
                runner.logger.info(f'Removed {path}, left by an interrupted save.')
            self._remove_outdated()
        runner.logger.info(f'Checkpoints will be saved to {folder}.')
        self._validate_if_missed(runner)

    def _validate_if_missed(self, runner: Runner) -> None:
        """Run the validation that was due when the resumed run was cut off."""
        step = self._step(runner)
        if (
            not self.save_best
            or step == 0
            or runner.val_loop is None
            or runner.message_hub.get_info(_VALIDATED) == step
        ):
            return
        last = runner.max_epochs if self.by_epoch else runner.max_iters
        if step >= runner.val_begin and (step % runner.val_interval == 0 or step == last):
            runner.logger.info(
                'The interrupted run had not recorded the validation of its last checkpoint: validating now.'
            )
            runner.val_loop.run()

    def _step(self, runner: Runner) -> int:
        return runner.epoch if self.by_epoch else runner.iter

    def _suffix(self, key: str) -> str:
        """What the names of the entries and files of a best score end in."""
        return '' if len(self.key_indicators) == 1 else f'_{key}'

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0:
            if step in self._kept_steps:
                self._kept_steps.remove(step)
            self._kept_steps.append(step)
            # The saved list still has what is about to be removed, so that a resumed run finishes an interrupted
            # removal.
            runner.message_hub.update_info('keep_ckpt_ids', list(self._kept_steps))
        path = self.folder / self.filename_tmpl.format(step)
        self.last_ckpt = str(path)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            path.name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            **self.args,
        )
        if is_main_process():
            write_pointer(runner.work_dir, path)
            write_link(runner.work_dir, path)
            self._remove_outdated()

    def _remove_outdated(self) -> None:
        while 0 < self.max_keep_ckpts < len(self._kept_steps):
            _remove(self.folder / self.filename_tmpl.format(self._kept_steps.pop(0)))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None) -> None:
        """Keep the best checkpoint; does nothing when validation runs outside training (``runner.val()``)."""
        if not hasattr(self, 'folder') or not self.save_best:
            return
        runner.message_hub.update_info(_VALIDATED, self._step(runner))
        if metrics:
            self._save_best_checkpoint(runner, metrics)
        else:
            runner.logger.warning('Validation gave no metric: the best checkpoint stays as it is.')

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        info = runner.message_hub.runtime_info
        step, unit = self._step(runner), 'epoch' if self.by_epoch else 'iteration'
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        outdated = []
        improved = False
        for key, rule in zip(self.key_indicators, self.rules):
            if key not in metrics:
                field = 'default_hooks.checkpoint.save_best'
                raise ConfigError(f'must be one of {sorted(metrics)}', field=field, received=key)
            score, suffix = metrics[key], self._suffix(key)
            best_score = info.get(f'best_score{suffix}', self.init_value_map[rule])
            if score is None or not self.is_better_than[key](score, best_score):
                continue
            improved = True
            previous = info.get(f'best_ckpt{suffix}')
            path = self.folder / f'best_{key}_{self.filename_tmpl.format(step)}'.replace('/', '_')
            runner.message_hub.update_info(f'best_score{suffix}', float(score))
            runner.message_hub.update_info(f'best_ckpt{suffix}', str(path))
            runner.save_checkpoint(
                self.out_dir, path.name, save_optimizer=False, save_param_scheduler=False, meta=meta, by_epoch=False
            )
            if previous and Path(previous).name != path.name:
                outdated.append(self.folder / Path(previous).name)
            if is_main_process():
                write_pointer(runner.work_dir, path, f'{BEST_POINTER_NAME}{suffix}'.replace('/', '_'))
            runner.logger.info(f'Best {key} so far: {score:0.4f} at {unit} {step}, saved to {path.name}.')
        if improved and self.last_ckpt is not None and Path(self.last_ckpt).name == self.filename_tmpl.format(step):
            self._save_checkpoint_with_step(runner, step, meta)
        if is_main_process():
            for path in outdated:
                _remove(path)

    def after_train(self, runner: Runner) -> None:
        """Publish the last and the best checkpoint when ``published_keys`` is given."""
        if self.published_keys is None:
            return
        info = runner.message_hub.runtime_info
        best = [info.get(f'best_ckpt{self._suffix(key)}') for key in self.key_indicators] if self.save_best else []
        for path in [self.last_ckpt if self.save_last else None, *best]:
            if path is not None:
                self._publish_model(runner, path)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        path = Path(ckpt_path)
        keys = self.published_keys or ()
        published = publish_checkpoint(path, path.with_suffix('.pth'), keys=keys, lenient=True)
        runner.logger.info(f'Published {path.name} as {published.name}, with {", ".join(keys)}.')


def _remove(path: Path) -> None:
    # Somebody may have moved it, or the folder may have become read-only: the training goes on all the same.
    with suppress(OSError):
        path.unlink(missing_ok=True)
