"""Save checkpoints during training, in an order that leaves a usable one at every instant."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from ...errors import ConfigError
from ...registry import HOOKS
from ..checkpoint.converting import publish_checkpoint
from ..checkpoint.saving import remove_stale_temporaries, write_link, write_pointer

_VALIDATED = 'validated_at'
BEST_POINTER_NAME = 'best_checkpoint'


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook, with the same arguments, for local folders.

    Order of a save: the new file (atomically), the pointer ``last_checkpoint`` and the link ``latest.pth``, and only
    then the removal of what ``max_keep_ckpts`` no longer allows. Order for a new best: the new ``best_*`` file, the
    checkpoint of this epoch again (it now knows the best score), the pointer ``best_checkpoint``, and then the removal
    of the previous best.

    A run killed between saving and validating an epoch validates when it is resumed, if ``save_best`` needs the score.
    """

    out_dir: Any  # a path or None, and str as soon as training starts

    def before_train(self, runner: Runner) -> None:
        """Choose the folder, remove what a killed save left, and go on with the resumed run's list of checkpoints."""
        if self.out_dir is None:
            folder = Path(runner.work_dir)
        elif '://' in str(self.out_dir):
            raise ConfigError(
                'checkpoints are written to local folders', field='checkpoint.out_dir', received=str(self.out_dir)
            )
        else:
            folder = Path(self.out_dir) / Path(runner.work_dir).name
        self.folder = folder
        self.out_dir = str(folder)
        info = runner.message_hub.runtime_info
        self._kept_steps = list(info.get('keep_ckpt_ids', []))
        if is_main_process():
            folder.mkdir(parents=True, exist_ok=True)
            for path in remove_stale_temporaries(folder):
                runner.logger.info(f'Removed {path}, left by an interrupted save.')
            self._remove_outdated()
        runner.logger.info(f'Checkpoints will be saved to {folder}.')
        self._validate_if_missed(runner)

    def _validate_if_missed(self, runner: Runner) -> None:
        """Run the validation that was due when the resumed run was cut off."""
        step = runner.epoch if self.by_epoch else runner.iter
        loop = runner.train_loop
        if (
            not self.save_best
            or step == 0
            or runner.val_loop is None
            or runner.message_hub.get_info(_VALIDATED) == step
        ):
            return
        last = loop.max_epochs if self.by_epoch else loop.max_iters
        interval = runner.val_interval
        if step >= runner.val_begin and (step % interval == 0 or step == last):
            runner.logger.info(
                'The interrupted run had not recorded the validation of its last checkpoint: validating now.'
            )
            runner.val_loop.run()

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
            self._remove(self.folder / self.filename_tmpl.format(self._kept_steps.pop(0)))

    @staticmethod
    def _remove(path: Path) -> None:
        # Somebody may have moved it, or the folder may have become read-only: the training goes on all the same.
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None) -> None:
        """Keep the best checkpoint; does nothing when validation runs outside training (``runner.val()``)."""
        if not hasattr(self, 'folder') or not self.save_best:
            return
        step = runner.epoch if self.by_epoch else runner.iter
        runner.message_hub.update_info(_VALIDATED, step)
        if not metrics:
            runner.logger.warning('Validation gave no metric: the best checkpoint stays as it is.')
            return
        self._save_best_checkpoint(runner, metrics)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        info = runner.message_hub.runtime_info
        step = runner.epoch if self.by_epoch else runner.iter
        unit = 'epoch' if self.by_epoch else 'iteration'
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        outdated = []
        improved = False
        for key, rule in zip(self.key_indicators, self.rules):
            if key not in metrics:
                raise ConfigError(
                    f'must be one of {sorted(metrics)}', field='default_hooks.checkpoint.save_best', received=key
                )
            suffix = '' if len(self.key_indicators) == 1 else f'_{key}'
            score = metrics[key]
            best_score = info.get(f'best_score{suffix}', self.init_value_map[rule])
            if score is None or not self.is_better_than[key](score, best_score):
                continue
            improved = True
            previous = info.get(f'best_ckpt{suffix}')
            path = self.folder / f'best_{key}_{self.filename_tmpl.format(step)}'.replace('/', '_')
            runner.message_hub.update_info(f'best_score{suffix}', float(score))
            runner.message_hub.update_info(f'best_ckpt{suffix}', str(path))
            runner.save_checkpoint(
                self.out_dir,
                path.name,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(meta),
                by_epoch=False,
            )
            if previous and Path(previous).name != path.name:
                outdated.append(self.folder / Path(previous).name)
            if is_main_process():
                write_pointer(
                    runner.work_dir,
                    path,
                    BEST_POINTER_NAME if not suffix else f'{BEST_POINTER_NAME}{suffix}'.replace('/', '_'),
                )
            runner.logger.info(f'Best {key} so far: {score:0.4f} at {unit} {step}, saved to {path.name}.')
        if improved and self.last_ckpt is not None and Path(self.last_ckpt).name == self.filename_tmpl.format(step):
            self._save_checkpoint_with_step(runner, step, meta)
        if is_main_process():
            for path in outdated:
                self._remove(path)

    def after_train(self, runner: Runner) -> None:
        """Publish the last and the best checkpoint when ``published_keys`` is given."""
        if self.published_keys is None:
            return
        info = runner.message_hub.runtime_info
        suffixes = [''] if len(self.save_best or ['']) == 1 else [f'_{key}' for key in self.key_indicators]
        best = [info.get(f'best_ckpt{suffix}') for suffix in suffixes] if self.save_best else []
        for path in [self.last_ckpt if self.save_last else None, *best]:
            if path is not None:
                self._publish_model(runner, path)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        path = Path(ckpt_path)
        keys = self.published_keys or ()
        published = publish_checkpoint(path, path.with_suffix('.pth'), keys=keys, lenient=True)
        runner.logger.info(f'Published {path.name} as {published.name}, with {", ".join(keys)}.')
