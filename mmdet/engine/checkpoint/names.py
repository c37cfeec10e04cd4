"""Parameter names of the reference projects, brought to the names used here.

Decisions are made from tensor names and shapes only, never from a file name: files get renamed, tensors do not.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

# Constants and counters that carry no learned value: a checkpoint without them is complete.
OPTIONAL_SUFFIXES = ('num_batches_tracked', 'integral.project')

# The names of UFPMPDet whose second stage has no detector of its own.
_STAGE = 'coarse.detector.'


def rename_reference_keys(state_dict: Mapping) -> tuple[OrderedDict, list[tuple[str, str]]]:
    """Rename the tensors of the older GFL-family projects, and those of a detector that was trained as both stages of another.

    ===========================================  =======================================  ==========================
    found                                        becomes                                  where it comes from
    ===========================================  =======================================  ==========================
    ``module.X``                                 ``X``                                    saved from a DDP wrapper
    ``rpn_head.X``, no ``bbox_head``/``roi_head``  ``bbox_head.X``                        one-stage heads of mmdet 0.x
    ``coarse.detector.X``, no ``fine.detector``  ``X``                                    UFPMPDet of a single detector
    ``X.distribution_project.project``           ``X.integral.project``                   GFocal (v1)
    ``X_offset.weight|bias`` beside ``X.weight``  ``X.conv_offset.weight|bias``           deformable layers, version < 2
    ===========================================  =======================================  ==========================

    and of NanoDet's repository, which is recognised by ``head.gfl_cls``:

    ===========================================  =======================================  ==========================
    ``model.X``, ``avg_model.X``                 ``X``, the average where both are there  PyTorch Lightning
    ``fpn.X``, ``head.X``                        ``neck.X``, ``bbox_head.X``              all
    ``X.depthwise.weight``, ``X.dwnorm``         ``X.depthwise_conv.conv.weight``, ``.bn``  depthwise-separable layers
    ``X.pointwise.weight``, ``X.pwnorm``         ``X.pointwise_conv.conv.weight``, ``.bn``  depthwise-separable layers
    ===========================================  =======================================  ==========================

    Args:
        state_dict: names to tensors; left untouched.

    Returns:
        The renamed dictionary (same tensors, same order, ``_metadata`` kept) and the list of ``(old, new)`` that
        changed. A rename whose target already exists is not made.
    """
    nanodet = any(_bare(key).startswith('head.gfl_cls.') for key in state_dict)
    averaged = {key.removeprefix('avg_') for key in state_dict if nanodet and key.startswith('avg_model.')}
    bare_keys = {key.removeprefix('module.') for key in state_dict}
    only_stage = all(key.startswith(_STAGE) for key in bare_keys)
    parts = {key.partition('.')[0] for key in bare_keys}
    only_rpn_head = 'rpn_head' in parts and not parts & {'bbox_head', 'roi_head'}
    renamed: OrderedDict = OrderedDict()
    changes: list[tuple[str, str]] = []
    for key, value in state_dict.items():
        if key in averaged:  # the average of it is loaded in its place
            changes.append((key, f'avg_{key}'))
            continue
        new = _nanodet_name(_bare(key)) if nanodet else key.removeprefix('module.')
        if only_stage:
            new = new.removeprefix(_STAGE)
        if only_rpn_head and new.startswith('rpn_head.'):
            new = 'bbox_head.' + new.removeprefix('rpn_head.')
        new = new.replace('distribution_project.project', 'integral.project')
        new = _offset_name(new, value, state_dict)
        if new != key and (new in state_dict or new in renamed):
            new = key
        if new != key:
            changes.append((key, new))
        renamed[new] = value
    keep_metadata(state_dict, renamed)
    return renamed, changes


_NANODET_LAYERS = {
    '.depthwise.': '.depthwise_conv.conv.', '.dwnorm.': '.depthwise_conv.bn.',
    '.pointwise.': '.pointwise_conv.conv.', '.pwnorm.': '.pointwise_conv.bn.',
}  # fmt: skip


def _bare(key: str) -> str:
    """A name without what DDP, PyTorch Lightning and its averages put before it."""
    for prefix in ('module.', 'avg_model.', 'model.'):
        key = key.removeprefix(prefix)
    return key


def _nanodet_name(bare: str) -> str:
    for old, new in (('fpn.', 'neck.'), ('head.', 'bbox_head.')):
        if bare.startswith(old):
            bare = new + bare.removeprefix(old)
    for old, new in _NANODET_LAYERS.items():
        bare = bare.replace(old, new)
    return bare


def keep_metadata(source: Mapping, target: Any) -> None:
    """Copy ``_metadata``, the attribute in which ``Module.state_dict`` stores the versions of the modules."""
    metadata = getattr(source, '_metadata', None)
    if metadata is not None:
        target._metadata = metadata


def _offset_name(key: str, value: Any, state_dict: Mapping) -> str:
    """``conv2_offset.weight`` -> ``conv2.conv_offset.weight`` when ``conv2`` is a convolution of that kernel size."""
    stem, _, leaf = key.rpartition('.')
    if leaf not in ('weight', 'bias') or not stem.endswith('_offset') or stem.rpartition('.')[2] == 'conv_offset':
        return key
    base = stem.removesuffix('_offset')
    weight = state_dict.get(f'{base}.weight', state_dict.get(f'module.{base}.weight'))
    if getattr(weight, 'ndim', 0) != 4:
        return key
    points = weight.shape[2] * weight.shape[3]
    # Two offsets (v1) or two offsets and a mask (v2) for each point of the kernel and each deformable group.
    rows = value.shape[0]
    return key if rows % (2 * points) and rows % (3 * points) else f'{base}.conv_offset.{leaf}'
