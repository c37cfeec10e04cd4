from ..config.reading import (
    ArgumentParser,
    CfgOptions,
    add_common_arguments,
    load_config,
    reports_user_errors,
    resolve_work_dir,
    set_local_rank,
)
from ..errors import CheckpointError, ConfigError, DataError, MMDetError, ModelInputError, NonFiniteLossError
from .collect_env import collect_env
from .dist_utils import all_reduce_dict, allreduce_grads, reduce_mean, sync_random_seed
from .logger import get_caller_name, log_img_scale
from .memory import AvoidCUDAOOM, AvoidOOM
from .misc import find_latest_checkpoint, get_test_pipeline_cfg, update_data_root
from .replace_cfg_vals import replace_cfg_vals
from .setup_env import register_all_modules, setup_cache_size_limit_of_dynamo, setup_multi_processes
from .split_batch import split_batch
from .typing import (
    ConfigType,
    InstanceList,
    MultiConfig,
    OptConfigType,
    OptInstanceList,
    OptMultiConfig,
    OptPixelList,
    OptTensor,
    PixelList,
    RangeType,
)

__all__ = [
    'AvoidCUDAOOM', 'AvoidOOM', 'OptPixelList', 'OptTensor', 'PixelList', 'RangeType', 'all_reduce_dict', 'allreduce_grads', 'collect_env',
    'find_latest_checkpoint', 'get_caller_name', 'get_test_pipeline_cfg', 'log_img_scale', 'reduce_mean', 'replace_cfg_vals',
    'setup_cache_size_limit_of_dynamo', 'setup_multi_processes', 'split_batch', 'sync_random_seed', 'update_data_root',
    'ArgumentParser', 'CfgOptions', 'CheckpointError', 'ConfigError', 'ConfigType', 'DataError', 'InstanceList', 'MMDetError', 'ModelInputError',
    'MultiConfig', 'NonFiniteLossError', 'OptConfigType', 'OptInstanceList', 'OptMultiConfig',
    'add_common_arguments', 'load_config', 'register_all_modules', 'reports_user_errors', 'resolve_work_dir', 'set_local_rank',
]  # fmt: skip
