"""Translate optimiser, learning rate, length of training and hooks of an old config."""

import copy

from ...errors import ConfigError
from .report import UpgradeReport

# Visualization backend of each logging hook, and the argument that both have.
_LOGGERS = {
    'TensorboardLoggerHook': ('TensorboardVisBackend', None),
    'WandbLoggerHook': ('WandbVisBackend', 'init_kwargs'),
    'MMDetWandbHook': ('WandbVisBackend', 'init_kwargs'),
    'MlflowLoggerHook': ('MLflowVisBackend', 'exp_name'),
}
_CHECKPOINT_ARGS = frozenset({'interval', 'by_epoch', 'max_keep_ckpts', 'out_dir', 'save_last', 'save_optimizer'})
_KNOWN_HOOKS = frozenset({'EMAHook', 'NumClassCheckHook', 'OptimalTransportHook', 'SyncBuffersHook'})


def upgrade_schedule(cfg: dict, v1: bool, report: UpgradeReport) -> dict:
    """The keys ``optim_wrapper``, ``param_scheduler``, ``train_cfg``, ``val_cfg`` and ``test_cfg`` for an old config.

    Raises:
        ConfigError: contradictory lengths of training, or a runner or policy without a counterpart.
    """
    new: dict = {}
    loop = _train_loop(cfg, report)
    if loop is not None:
        new['train_cfg'] = loop
    for split, kind in (('val', 'ValLoop'), ('test', 'TestLoop')):
        if (cfg.get('data') or {}).get(split) is not None:
            new[f'{split}_cfg'] = dict(type=kind)
    if cfg.get('optimizer'):
        new['optim_wrapper'] = _optim_wrapper(cfg, v1, report)
    if cfg.get('lr_config'):
        if loop is None:
            raise ConfigError('needs total_epochs or runner', field='lr_config', received=dict(cfg['lr_config']))
        new['param_scheduler'] = _param_scheduler(dict(cfg['lr_config']), loop, report)
    return new


def _train_loop(cfg: dict, report: UpgradeReport) -> dict | None:
    evaluation = dict(cfg.get('evaluation') or {})
    runner = dict(cfg.get('runner') or {})
    total = cfg.get('total_epochs')
    kind = runner.get('type', 'EpochBasedRunner')
    if kind not in ('EpochBasedRunner', 'EpochBasedRunnerAmp', 'IterBasedRunner'):
        raise ConfigError("must be 'EpochBasedRunner' or 'IterBasedRunner'", field='runner.type', received=kind)
    epochs, iterations = runner.get('max_epochs', total), runner.get('max_iters', cfg.get('total_iters'))
    if total not in (None, epochs):
        raise ConfigError(f'differs from total_epochs={total}', field='runner.max_epochs', received=epochs)
    if epochs is None and iterations is None:
        epochs = cfg.get('stand_in_epochs')
    if epochs is None and iterations is None:
        return None
    name, unit, length = ('EpochBasedTrainLoop', 'epochs', epochs)
    if epochs is None:
        name, unit, length = ('IterBasedTrainLoop', 'iters', iterations)
    report.translate(f'runner / total_{unit}', f'train_cfg.max_{unit}')
    loop = {'type': name, f'max_{unit}': length, 'val_interval': evaluation.get('interval', 1)}
    if evaluation.get('start') is not None:
        loop['val_begin'] = evaluation['start']
    if evaluation.get('dynamic_intervals'):
        loop['dynamic_intervals'] = evaluation['dynamic_intervals']
    return loop


def _optim_wrapper(cfg: dict, v1: bool, report: UpgradeReport) -> dict:
    optimizer = copy.deepcopy(dict(cfg['optimizer']))
    hook = copy.deepcopy(dict(cfg.get('optimizer_config') or {}))
    wrapper: dict = dict(type='OptimWrapper', optimizer=optimizer)
    fp16 = cfg.get('fp16')
    scale = hook.pop('loss_scale', None)
    if fp16 or hook.get('type') == 'Fp16OptimizerHook' or hook.pop('use_fp16', False):
        wrapper['type'] = 'AmpOptimWrapper'
        wrapper['loss_scale'] = (fp16 or {}).get('loss_scale', 512.0 if scale is None else scale)
        report.translate('fp16', 'AmpOptimWrapper')
    paramwise = optimizer.pop('paramwise_cfg', None) or optimizer.pop('paramwise_options', None)
    constructor = optimizer.pop('constructor', None)
    if constructor and constructor != 'DefaultOptimizerConstructor':
        wrapper['constructor'] = constructor
    if paramwise:
        wrapper['paramwise_cfg'] = _paramwise(dict(paramwise), v1, report)
    clip_grad = hook.pop('grad_clip', None)
    if clip_grad:
        wrapper['clip_grad'] = clip_grad
    steps = hook.pop('cumulative_iters', None) or hook.pop('update_interval', None)
    if steps and steps > 1:
        wrapper['accumulative_counts'] = steps
    for key in hook:
        if key not in ('type', 'coalesce', 'bucket_size_mb', 'update_interval', 'detect_anomalous_params'):
            report.drop(f'optimizer_config.{key}', 'not known')
    report.translate('optimizer, optimizer_config', 'optim_wrapper')
    return wrapper


def _paramwise(options: dict, v1: bool, report: UpgradeReport) -> dict:
    """Rules for biases: those of mmcv 1.x did not apply to norms, mmengine's do unless there is a rule for norms."""
    if 'bias_decay_mult' in options:
        options.setdefault('norm_decay_mult', 1)
    rule = dict(lr_mult=options.get('bias_lr_mult', 1), decay_mult=options.get('bias_decay_mult', 1))
    if v1 and any(factor != 1 for factor in rule.values()):
        options['custom_keys'] = {**options.get('custom_keys', {}), 'downsample.1.bias': rule}
        report.note(
            "mmdetection 1.x told norms by the names 'bn' and 'gn': the norm of a shortcut counts as a plain bias"
        )
    return options


def _param_scheduler(lr: dict, loop: dict, report: UpgradeReport) -> list[dict]:
    by_epoch = lr.pop('by_epoch', loop['type'] == 'EpochBasedTrainLoop')
    end = loop.get('max_epochs') if by_epoch else loop.get('max_iters')
    schedule = _warmup(lr)
    policy = lr.pop('policy', None)
    common = dict(begin=0, end=end, by_epoch=by_epoch)
    if policy == 'step':
        step = lr.pop('step')
        single = isinstance(step, int)
        kind = dict(type='StepLR', step_size=step) if single else dict(type='MultiStepLR', milestones=list(step))
        schedule.append(dict(kind, gamma=lr.pop('gamma', 0.1), **common))
    elif policy in ('CosineAnnealing', 'CosineAnnealingLR', 'cosine'):
        if lr.get('min_lr_ratio') is not None:
            floor = dict(eta_min_ratio=lr.pop('min_lr_ratio'))
        else:
            floor = dict(eta_min=lr.pop('min_lr', 0.0))
        schedule.append(dict(type='CosineAnnealingLR', T_max=end, **floor, **common))
    elif policy == 'poly':
        schedule.append(dict(type='PolyLR', power=lr.pop('power', 1.0), eta_min=lr.pop('min_lr', 0.0), **common))
    elif policy == 'exp':
        schedule.append(dict(type='ExponentialLR', gamma=lr.pop('gamma'), **common))
    elif policy != 'fixed':
        raise ConfigError(
            "must be 'step', 'CosineAnnealing', 'poly', 'exp' or 'fixed'", field='lr_config.policy', received=policy
        )
    for key in lr:
        report.drop(f'lr_config.{key}', 'not known')
    report.translate('lr_config', 'param_scheduler')
    return schedule


def _warmup(lr: dict) -> list[dict]:
    kind, length = lr.pop('warmup', None), lr.pop('warmup_iters', 0)
    ratio, by_epoch = lr.pop('warmup_ratio', 0.1), lr.pop('warmup_by_epoch', False)
    if kind is None or not length:
        return []
    factor = dict(linear=dict(type='LinearLR', start_factor=ratio), constant=dict(type='ConstantLR', factor=ratio))
    if kind not in factor:
        raise ConfigError("must be 'linear' or 'constant'", field='lr_config.warmup', received=kind)
    return [dict(factor[kind], by_epoch=by_epoch, begin=0, end=length)]


def upgrade_runtime(cfg: dict, report: UpgradeReport) -> dict:
    """The keys for hooks, environment, visualizer, logging, and the checkpoint to start from."""
    by_epoch = dict(cfg.get('runner') or {}).get('type') != 'IterBasedRunner'
    log = dict(cfg.get('log_config') or {})
    new: dict = dict(
        default_scope='mmdet',
        default_hooks=dict(
            timer=dict(type='IterTimerHook'),
            logger=dict(type='LoggerHook', interval=log.get('interval', 50)),
            param_scheduler=dict(type='ParamSchedulerHook'),
            checkpoint=_checkpoint_hook(cfg, by_epoch, report),
            sampler_seed=dict(type='DistSamplerSeedHook'),
            visualization=dict(type='DetVisualizationHook'),
        ),
        env_cfg=dict(
            cudnn_benchmark=bool(cfg.get('cudnn_benchmark', False)),
            mp_cfg=dict(
                mp_start_method=cfg.get('mp_start_method', 'fork'), opencv_num_threads=cfg.get('opencv_num_threads', 0)
            ),
            dist_cfg=dict(backend=dict(cfg.get('dist_params') or {}).get('backend', 'nccl')),
        ),
        vis_backends=_vis_backends(log, report),
        log_processor=dict(type='LogProcessor', window_size=50, by_epoch=by_epoch),
        log_level=cfg.get('log_level', 'INFO'),
        load_from=cfg.get('load_from'),
        resume=False,
    )
    new['visualizer'] = dict(type='DetLocalVisualizer', vis_backends=new['vis_backends'], name='visualizer')
    if cfg.get('resume_from'):
        new.update(load_from=cfg['resume_from'], resume=True)
        report.translate('resume_from', 'load_from with resume=True')
    elif cfg.get('auto_resume'):
        new['resume'] = 'auto'
        report.translate('auto_resume', "resume='auto'")
    hooks = _custom_hooks(cfg.get('custom_hooks') or [], report)
    if hooks:
        new['custom_hooks'] = hooks
    if cfg.get('seed') is not None or cfg.get('deterministic'):
        new['randomness'] = dict(seed=cfg.get('seed'), deterministic=bool(cfg.get('deterministic', False)))
        report.translate('seed, deterministic', 'randomness')
    workflow = [tuple(stage) for stage in cfg.get('workflow') or []]
    if any(stage[0] != 'train' for stage in workflow):
        report.drop(f'workflow {workflow}', 'the loss on the validation set is not computed')
    return new


def _checkpoint_hook(cfg: dict, by_epoch: bool, report: UpgradeReport) -> dict:
    hook: dict = dict(type='CheckpointHook', interval=1)
    if not by_epoch:
        hook['by_epoch'] = False
    for key, value in dict(cfg.get('checkpoint_config') or {}).items():
        if key in _CHECKPOINT_ARGS:
            hook[key] = value
        elif key not in ('type', 'create_symlink', 'meta'):
            report.drop(f'checkpoint_config.{key}', 'not known')
    evaluation = dict(cfg.get('evaluation') or {})
    best = evaluation.get('save_best')
    if best:
        hook['save_best'] = best if best == 'auto' or '/' in best else f'coco/{best}'
        if evaluation.get('rule'):
            hook['rule'] = evaluation['rule']
        report.translate('evaluation.save_best', f'default_hooks.checkpoint.save_best={hook["save_best"]!r}')
    return hook


def _vis_backends(log: dict, report: UpgradeReport) -> list[dict]:
    backends: list[dict] = [dict(type='LocalVisBackend')]
    for hook in log.get('hooks') or []:
        kind = hook.get('type')
        if kind == 'TextLoggerHook':
            continue
        if kind not in _LOGGERS:
            report.drop(f'log_config.hooks: {kind}', f'known ones are TextLoggerHook, {", ".join(sorted(_LOGGERS))}')
            continue
        backend, argument = _LOGGERS[kind]
        shared = {argument: copy.deepcopy(hook[argument])} if argument and hook.get(argument) else {}
        backends.append(dict(type=backend, **shared))
        report.translate(f'log_config.hooks: {kind}', f'vis_backends: {backend}')
    return backends


def _custom_hooks(hooks: list[dict], report: UpgradeReport) -> list[dict]:
    new = []
    for hook in hooks:
        kind = hook.get('type')
        if kind in ('ExpMomentumEMAHook', 'LinearMomentumEMAHook'):
            new.append(_ema_hook(kind, hook, report))
            continue
        if kind not in _KNOWN_HOOKS:
            report.keep(f'custom_hooks: {kind}')
        new.append(copy.deepcopy(dict(hook)))
    return new


def _ema_hook(kind: str, old: dict, report: UpgradeReport) -> dict:
    hook: dict = dict(type='EMAHook', momentum=old.get('momentum', 0.0002))
    if kind == 'ExpMomentumEMAHook':
        hook.update(ema_type='ExpMomentumEMA', gamma=old.get('total_iter', 2000))
    hook['update_buffers'] = not old.get('skip_buffers', False)
    if old.get('resume_from'):
        report.drop(f'custom_hooks: {kind}.resume_from', 'a resumed run restores the averages by itself')
    report.translate(f'custom_hooks: {kind}', 'EMAHook')
    return hook
