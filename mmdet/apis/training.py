"""From a config and the command line's wishes to a training run."""

from mmengine.config import Config

from mmdet.config.reading import require_keys
from mmdet.errors import ConfigError

_VALIDATION_KEYS = ('val_cfg', 'val_dataloader', 'val_evaluator')


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
    """Write the options of ``tools/train.py`` into a config, in place.

    Args:
        cfg: of the run.
        work_dir: where logs and checkpoints go.
        launcher: how the processes were started.
        resume: True continues from the newest valid checkpoint of the work dir, a path from that file.
        amp: automatic mixed precision.
        auto_scale_lr: scale the learning rate by the total batch size.
        validate: whether to evaluate during training.
        seed: of the run; drawn and recorded when None.
        deterministic: deterministic kernels.
        trust_checkpoint: allow unpickling arbitrary objects.

    Raises:
        ConfigError: a key that training needs is missing, scaling asked for without ``auto_scale_lr.base_batch_size``, or AMP with an unknown optimiser wrapper.
    """
    require_keys(cfg, ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'), 'training')
    cfg.work_dir, cfg.launcher = work_dir, launcher
    if amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ConfigError(
                "--amp needs 'OptimWrapper' or 'AmpOptimWrapper'", field='optim_wrapper.type', received=wrapper
            )
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigError(
                '--auto-scale-lr needs the batch size that the learning rate is meant for',
                field='auto_scale_lr.base_batch_size',
            )
        cfg.auto_scale_lr.enable = True
    if resume:
        if resume is True:  # with nothing to resume, the config's load_from still starts the run
            cfg.resume = 'auto'
        else:
            cfg.resume, cfg.load_from = True, resume
    if not validate:
        for key in _VALIDATION_KEYS:
            cfg[key] = None
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
