from ..config.reading import (
    CfgOptions,
    add_common_arguments,
    load_config,
    reports_user_errors,
    resolve_work_dir,
    set_local_rank,
)
from ..errors import CheckpointError, ConfigError, DataError, MMDetError, ModelInputError, NonFiniteLossError
from .setup_env import register_all_modules
from .typing import ConfigType, InstanceList, MultiConfig, OptConfigType, OptInstanceList, OptMultiConfig

__all__ = [
    'CfgOptions', 'CheckpointError', 'ConfigError', 'ConfigType', 'DataError', 'InstanceList', 'MMDetError', 'ModelInputError',
    'MultiConfig', 'NonFiniteLossError', 'OptConfigType', 'OptInstanceList', 'OptMultiConfig',
    'add_common_arguments', 'load_config', 'register_all_modules', 'reports_user_errors', 'resolve_work_dir', 'set_local_rank',
]  # fmt: skip
