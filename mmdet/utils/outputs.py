"""Which names outputs may have, of :mod:`mmdet_runtime.names`."""

from mmdet_runtime.names import (
    OutputNames,
    PathLike,
    numbered,
    refuse_closed_folder,
    refuse_inputs,
    source_of,
)

__all__ = ['OutputNames', 'PathLike', 'numbered', 'refuse_closed_folder', 'refuse_inputs', 'source_of']
