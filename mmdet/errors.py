"""The package's exceptions; :mod:`mmdet_runtime.errors` defines them, so that the runtime without torch raises the same."""

from mmdet_runtime.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
    DataError,
    MMDetError,
    ModelInputError,
    NonFiniteLossError,
    one_line,
)

__all__ = [
    'ArgumentError', 'CheckpointError', 'ConfigError', 'DataError', 'MMDetError', 'ModelInputError', 'NonFiniteLossError', 'one_line',
]  # fmt: skip
