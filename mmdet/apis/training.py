"""Training: the options of ``tools/train.py`` written into a config, and the run itself."""

from pathlib import Path

import torch
from mmengine.config import Config

from mmdet.config.reading import require_keys
from mmdet.engine import DetRunner, init_dist, locked_for_all
from mmdet.errors import ConfigError
from mmdet.utils.lock import LOCK_NAME


def configure_training(
    cfg: Config,
    *,
    work_dir: str,
    launcher: str = 'none',
    resume: bool | str = False,
    amp: bool = False,
    auto_scale_lr: bool = False,
    validate: bool = True,
    seed: int | None = None,
    deterministic: bool = False,
    trust_checkpoint: bool = False,
) -> Config:
    """Write the options of ``tools/train.py`` into a config, in place; its ``--help`` describes them.

    ``resume`` is True for the newest intact checkpoint of the work dir, or the path of a checkpoint.

    Raises:
        ConfigError: a key that training needs is missing, ``auto_scale_lr`` without ``auto_scale_lr.base_batch_size`` in the config, or
            ``amp`` with an optimiser wrapper that has no mixed precision.
    """
    require_keys(cfg, ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'), 'training')
    cfg.work_dir, cfg.launcher = work_dir, launcher
    if amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            message = "--amp needs 'OptimWrapper' or 'AmpOptimWrapper'"
            raise ConfigError(message, field='optim_wrapper.type', received=wrapper)
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            message = '--auto-scale-lr needs the batch size for which the learning rate is meant'
            raise ConfigError(message, field='auto_scale_lr.base_batch_size')
        cfg.auto_scale_lr.enable = True
    if resume is True:  # without a checkpoint to resume, the run starts from the config's load_from
        cfg.resume = 'auto'
    elif resume:
        cfg.resume, cfg.load_from = True, resume
    if not validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        checkpoint = cfg.get('default_hooks', {}).get('checkpoint')
        if checkpoint:  # nothing to rank checkpoints by
            checkpoint.pop('save_best', None)
    randomness = dict(cfg.get('randomness') or {})
    if seed is not None:
        randomness['seed'] = seed
    if deterministic:
        randomness['deterministic'] = True
    cfg.randomness = randomness
    cfg.trust_checkpoint = trust_checkpoint or cfg.get('trust_checkpoint', False)
    return cfg


def run_training(cfg: Config) -> torch.nn.Module:
    """Build the runner and train; the work dir belongs to this run from before anything is written there.

    Args:
        cfg: result of :func:`configure_training`.

    Raises:
        ConfigError: another run has the work dir.
    """
    if cfg.launcher != 'none':  # the first process takes the lock for all
        init_dist(cfg.launcher, **(cfg.get('env_cfg') or {}).get('dist_cfg', {}))
    with locked_for_all(Path(cfg.work_dir) / LOCK_NAME) as note:
        runner = DetRunner.from_cfg(cfg)
        if note:
            runner.logger.warning(note)
        return runner.train()
