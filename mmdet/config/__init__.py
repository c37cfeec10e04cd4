"""Configs: reading them, writing them as text, and the translation of those of mmdetection 1.x and 2.x."""

from .reading import (
    CfgOptions,
    add_common_arguments,
    load_config,
    reports_user_errors,
    require_keys,
    resolve_work_dir,
    set_local_rank,
)
from .stages import stage_config

__all__ = [
    'CfgOptions', 'add_common_arguments', 'load_config', 'reports_user_errors', 'require_keys', 'resolve_work_dir', 'set_local_rank',
    'stage_config',
]  # fmt: skip
