"""Whether the heads of a detector are made for the strides of the maps that they get."""

import logging
import math
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from mmdet.errors import ConfigError

from ..utils.dry_run import new_leaves, run_without_numbers, strides_of, tensors_in


def check_strides(detector: nn.Module) -> None:
    """Compare the strides of a detector's maps with those of its heads, and tell the backbone which of its maps nothing reads.

    Only for backbones that say their strides and channels (``out_strides``, ``out_channels``), and heads that say theirs; told are backbones with
    ``ignore_maps``. The neck is run on tensors without numbers; nothing is compared where it cannot be, as with operators that know processors only.

    Raises:
        ConfigError: the strides of a head, or their number, are others.
    """
    backbone: Any = detector.backbone
    strides, neck = getattr(backbone, 'out_strides', None), getattr(detector, 'neck', None)
    if strides is None or not hasattr(backbone, 'out_channels'):
        return
    side = 64 * math.lcm(*strides)  # whole cells, also of levels that the neck adds
    maps = tuple(
        torch.empty(1, channels, side // stride, 2 * side // stride, device='meta', requires_grad=True)
        for channels, stride in zip(backbone.out_channels, strides)
    )
    try:
        outputs = maps if neck is None else run_without_numbers(neck, maps)
    except Exception as error:  # of every kind
        if 'meta' not in str(error).lower():
            raise
        said = (
            f'{type(neck).__name__} does not run on tensors without numbers: the strides of its maps are not compared'
        )
        print_log(f'{said} ({error})', logger='current', level=logging.WARNING)
        return
    found = strides_of(tensors_in(outputs), (side, 2 * side))
    for field, wanted in _wanted(detector):
        if found is None or wanted != [(stride, stride) for stride in found[: len(wanted)]]:
            names = ' and '.join(type(part).__name__ for part in (backbone, neck) if part is not None)
            message = f'must be the strides of the maps of {names}, {found or "which have no whole ones"}'
            raise ConfigError(message, field=field, received=[w if w == h else (w, h) for w, h in wanted])
    if hasattr(backbone, 'ignore_maps'):
        read = {id(leaf) for leaf in new_leaves(outputs, set())}
        backbone.ignore_maps(position for position, one in enumerate(maps) if id(one) not in read)


def _wanted(detector: nn.Module) -> list[tuple[str, list[tuple[int, int]]]]:
    """Names and strides (w, h) of what looks at the maps: of a dense head one for each of them, of a second stage those of the first ones."""
    found = []
    for name in ('bbox_head', 'rpn_head'):
        generator = getattr(getattr(detector, name, None), 'prior_generator', None)
        strides = getattr(
            generator, 'strides', None
        )  # a head from outside may say nothing, or one number for both sides
        if strides is not None:
            found.append((f'{name}, strides', [(s, s) if isinstance(s, int) else tuple(s) for s in strides]))
    extractor = getattr(getattr(detector, 'roi_head', None), 'bbox_roi_extractor', None)
    if extractor is not None:
        found.append(('roi_head.bbox_roi_extractor.featmap_strides', [(s, s) for s in extractor.featmap_strides]))
    return found
