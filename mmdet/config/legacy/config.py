"""Translate configs of mmdetection 1.x and 2.x, and of the projects built on them, to configs of this package.

:func:`~mmdet.utils.load_config`, and with it every tool, accepts old configs;
``tools/model_converters/upgrade_config.py OLD NEW`` writes the translation to a file. docs/old_configs.md has the rules.
"""

import copy
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from ...errors import ConfigError
from ..config_files import config_errors
from ..launcher import starts_as_main_process
from .data import DataUpgrader
from .files import NEW_NAMES, OLD_NAMES, is_legacy_file, read_chain
from .model import is_v1, upgrade_model
from .report import UpgradeReport
from .schedule import upgrade_runtime, upgrade_schedule

# Keys that one of the translators reads.
_READ = OLD_NAMES | {
    'auto_resume', 'cudnn_benchmark', 'custom_hooks', 'deterministic', 'fp16', 'load_from', 'log_level', 'model',
    'mp_start_method', 'opencv_num_threads', 'optimizer', 'runner', 'seed', 'test_cfg', 'total_iters', 'train_cfg',
}  # fmt: skip
# Auxiliary variables, whose values are already in the keys that use them.
_HELPERS = frozenset({
    'albu_train_transforms', 'classes', 'data_root', 'dataset_type', 'file_client_args', 'img_norm_cfg', 'img_scale', 'max_epochs',
    'stand_in_epochs', 'test_pipeline', 'train_pipeline', 'val_pipeline',
})  # fmt: skip
_WITHOUT_EFFECT = {
    'device': 'chosen at run time',
    'gpu_ids': 'processes are started by the launcher',
    'gpus': 'processes are started by the launcher',
    'launcher': 'an option of the tools',
    'use_syncBN_torch': 'the norms of the backbone are synchronised instead',
}
# Settings of the test by which the detections of several views are merged, and their defaults.
_MERGED_VIEWS = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
# Keys with the same meaning in both styles.
_UNCHANGED = ('auto_scale_lr', 'custom_imports', 'find_unused_parameters', 'work_dir')


def looks_legacy(cfg: Config | dict) -> bool:
    """Whether a config is old-style: it has keys of the old style and none of the new one.

    >>> looks_legacy(dict(data=dict(samples_per_gpu=2), total_epochs=12)), looks_legacy(dict(train_dataloader={}))
    (True, False)
    """
    if any(name in cfg for name in NEW_NAMES):
        return False
    model = cfg.get('model') or {}
    return any(name in cfg for name in OLD_NAMES) or (isinstance(model, dict) and 'pretrained' in model)


def upgrade_config(cfg: Config | dict, report: UpgradeReport | None = None) -> Config:
    """Translate an old-style config.

    Args:
        cfg: the config, merged with its bases; it stays as it is. A partial config (a model only) gives a partial one.
        report: receives what was translated, what was dropped, and what is unknown and kept.

    Returns:
        the new-style config, with the old one's ``filename``.

    Raises:
        ConfigError: the config is not old-style, or has a setting without a counterpart.
    """
    filename = getattr(cfg, 'filename', None)
    if not looks_legacy(cfg):
        raise ConfigError('is not an old-style config', file=filename, received=sorted(cfg.keys()))
    report = UpgradeReport() if report is None else report
    old = copy.deepcopy(cfg.to_dict() if isinstance(cfg, Config) else dict(cfg))
    v1 = is_v1(old)
    data = DataUpgrader(old, report)
    loaders = data()
    new = dict(model=upgrade_model(old, v1, data.preprocessor(), report)) if old.get('model') else {}
    new.update(loaders)
    if 'tta_pipeline' in new:
        test_cfg = new.get('model', {}).get('test_cfg') or {}
        merge = {key: test_cfg.get(key, default) for key, default in _MERGED_VIEWS.items()}
        new['tta_model'] = dict(type='DetTTAModel', tta_cfg=merge)
    new.update(upgrade_schedule(old, v1, report))
    new.update(upgrade_runtime(old, report))
    _remaining(old, new, report)
    return Config(new, filename=filename)


def _remaining(old: dict, new: dict, report: UpgradeReport) -> None:
    for key, value in old.items():
        if key in _READ or key in _HELPERS:
            continue
        if key in _WITHOUT_EFFECT:
            report.drop(key, _WITHOUT_EFFECT[key])
        elif key in _UNCHANGED:
            new[key] = value
        else:
            report.keep(key)
            new[key] = value
    if 'custom_imports' in new:
        report.note('custom_imports is kept but nothing was imported: its modules belong to the old project')


def read_legacy_config(
    path: Path, cfg_options: dict | None = None, report: UpgradeReport | None = None
) -> tuple[Config, dict] | None:
    """Read and translate a config file if it is old-style.

    Args:
        path: a ``.py``, ``.json`` or ``.yaml`` config.
        cfg_options: overrides with dotted keys. Those of old-style keys (``data.samples_per_gpu``) are merged before
            the translation.
        report: as in :func:`upgrade_config`. Without it, everything except plain translations is logged.

    Returns:
        the new-style config and the options that are still to be merged; None for a new-style file.

    Raises:
        ConfigError: see :func:`upgrade_config`.
        Exception: whatever the config's own code raises.
    """
    own = UpgradeReport() if report is None else report
    if path.suffix == '.py':
        if not is_legacy_file(path):
            return None
        old = read_chain(path, own)
    else:
        old = Config.fromfile(str(path), import_custom_modules=False)
        if not looks_legacy(old):
            return None
    before, after = _split_options(old, cfg_options or {})
    merge_options(old, before, path)
    try:
        new = upgrade_config(old, own)
    except ConfigError as error:
        raise ConfigError(str(error), file=path) from error
    if report is None and starts_as_main_process():
        lines = ''.join(f'\n  {line}' for line in own.lines(translated=False))
        print_log(
            f'{path}: old-style config, translated; the rules: page "Configs of mmdetection 1.x and 2.x" of the documentation{lines}',
            logger='current',
        )
    return new, after


def upgrade_file(old: Path) -> tuple[str, UpgradeReport]:
    """The text of an old-style config file as one of the new style (Python), and what was translated.

    Raises:
        ConfigError: the file does not exist, has a syntax error or is not old-style.
    """
    if not old.is_file():
        raise ConfigError('no such config file', file=old)
    report = UpgradeReport()
    with config_errors(old):
        result = read_legacy_config(old, report=report)
    if result is None:
        raise ConfigError('is not an old-style config', file=old)
    return result[0].pretty_text, report


def merge_options(cfg: Config, options: dict, path: Path) -> None:
    """Merge the dotted keys and values of ``--cfg-options`` into the config of the file ``path``.

    Raises:
        ConfigError: an option does not fit the config.
    """
    try:
        cfg.merge_from_dict(options)
    except Exception as error:  # mmengine raises KeyError, TypeError or AssertionError
        message = f'does not fit this config: {error}'
        raise ConfigError(message, file=path, field='--cfg-options', received=options) from error


def _split_options(old: Config, options: dict) -> tuple[dict, dict]:
    """Options of the old style, and the rest."""
    heads = OLD_NAMES | {'fp16', 'optimizer', 'runner'} | {key for key in ('train_cfg', 'test_cfg') if old.get(key)}
    before = {key: value for key, value in options.items() if key.partition('.')[0] in heads}
    return before, {key: value for key, value in options.items() if key not in before}
