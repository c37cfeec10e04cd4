"""Whether the heads of a detector are made for the strides of the maps that they get."""

import math
from typing import Any

import torch
from torch import nn

from mmdet.errors import ConfigError

from ..utils.dry_run import new_leaves, run_without_numbers, strides_of


def check_strides(detector: nn.Module) -> None:
    """Compare the strides of a detector's maps with those of its heads, and tell the backbone which of its maps nothing reads.

    Only for backbones that say their strides (``out_strides``) and can be told (``ignore_maps``). The neck is run on tensors without numbers.

    Raises:
        ConfigError: the strides of a head, or their number, are others.
    """
    backbone: Any = detector.backbone
    strides, neck = getattr(backbone, 'out_strides', None), getattr(detector, 'neck', None)
    if strides is None or not hasattr(backbone, 'ignore_maps'):
        return
    side = 64 * math.lcm(*strides)  # whole cells, also of levels that the neck adds
    maps = tuple(
        torch.empty(1, channels, side // stride, 2 * side // stride, device='meta', requires_grad=True)
        for channels, stride in zip(backbone.out_channels, strides)
    )
    outputs = maps if neck is None else run_without_numbers(neck, maps)
    found = strides_of(outputs, (side, 2 * side))
    for field, wanted in _wanted(detector):
        if found is None or wanted != [(stride, stride) for stride in found[: len(wanted)]]:
            names = ' and '.join(type(part).__name__ for part in (backbone, neck) if part is not None)
            message = f'must be the strides of the maps of {names}, {found or "which have no whole ones"}'
            raise ConfigError(message, field=field, received=[w if w == h else (w, h) for w, h in wanted])
    read = {id(leaf) for leaf in new_leaves(outputs, set())}
    backbone.ignore_maps(position for position, one in enumerate(maps) if id(one) not in read)


def _wanted(detector: nn.Module) -> list[tuple[str, list[tuple[int, int]]]]:
    """Names and strides (w, h) of what looks at the maps: of a dense head one for each of them, of a second stage those of the first ones."""
    found = []
    for name in ('bbox_head', 'rpn_head'):
        generator = getattr(getattr(detector, name, None), 'prior_generator', None)
        if generator is not None:
            found.append((f'{name}, strides', list(generator.strides)))
    extractor = getattr(getattr(detector, 'roi_head', None), 'bbox_roi_extractor', None)
    if extractor is not None:
        found.append(('roi_head.bbox_roi_extractor.featmap_strides', [(s, s) for s in extractor.featmap_strides]))
    return found
