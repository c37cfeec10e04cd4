"""How the boxes of a data set fit the priors and the last bin of a head.

Letters: L levels, G boxes of an image.
"""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData

from ..config.stages import only_detector
from ..errors import MMDetError
from ..registry import MODELS, TASK_UTILS
from ..utils.progress import progress
from .dataset_inputs import Sample

# A share of one per cent is what a change of reg_max or of the anchors can win at most, about the noise of a training.
LAST_BIN_SHARE = 0.01
# ATSS leaves out boxes that contain no prior's centre. Some per cent of them are what a denser level can win.
UNMATCHED_SHARE = 0.02
COVERAGE_IMAGES = 300  # images that the assigner sees, evenly spaced: the share is then known to about a tenth of it


@dataclass
class HeadSettings:
    """What decides which priors a box is trained on, read from a config.

    Attributes:
        name: type of the head.
        generator: config of the priors.
        assigner: config of the assigner.
        reg_max: the last bin in strides; None for heads without bins.
        note: what was assumed, '' if nothing.
    """

    name: str
    generator: dict
    assigner: dict
    reg_max: int | None
    note: str = ''


def head_settings(model: Any) -> list[HeadSettings]:
    """The heads with anchors in the config of a model; none for the stages of composite detectors, which their own configs train."""
    found: list[HeadSettings] = []
    if isinstance(model, Mapping):
        model = only_detector(model) or model
    if isinstance(model, Mapping) and 'detector' not in model:
        train_cfg = model.get('train_cfg') or {}
        for name, cfg in dict(bbox_head=train_cfg, rpn_head=train_cfg.get('rpn') or {}).items():
            head = model.get(name)
            if isinstance(head, Mapping) and head.get('anchor_generator'):
                found.append(_settings_of(head, cfg))
        for key, value in model.items():
            if key not in ('bbox_head', 'rpn_head'):
                found.extend(head_settings(value))
    return found


def _settings_of(head: Mapping, train_cfg: Mapping) -> HeadSettings:
    kind = MODELS.get(head['type']) if isinstance(head['type'], str) else head['type']
    reg_max = head.get('reg_max', _default_of(kind, 'reg_max'))
    assigner = (
        train_cfg.get('initial_assigner') or train_cfg.get('assigner') or getattr(kind, '_default_assigner', None)
    )
    note = ''
    if (
        not assigner
        or assigner.get('type') not in ('ATSSAssigner', 'MaxIoUAssigner')
        or assigner.get('alpha') is not None
    ):
        name = assigner.get('type') if assigner else 'none'
        note = f'its assigner ({name}) depends on predictions; ATSS with topk=9 stands for it'
        assigner = dict(type='ATSSAssigner', topk=9)
    name = kind.__name__ if isinstance(kind, type) else str(head['type'])
    return HeadSettings(name, dict(head['anchor_generator']), dict(assigner), reg_max, note)


def _default_of(kind: Any, name: str) -> Any:
    """The default of an argument of a class or of the classes that it passes its arguments to."""
    for cls in inspect.getmro(kind) if isinstance(kind, type) else ():
        parameter = inspect.signature(cls).parameters.get(name)
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            return parameter.default
    return None


@dataclass
class Coverage:
    """What the assigner of a head makes of boxes.

    Attributes:
        head: its settings.
        size: label of the input size.
        strides: of the L levels.
        boxes: number of boxes.
        on_level: (L,) boxes with a positive prior on a level; a box can be on several.
        beyond: (L,) those of them of which a positive prior has a side further away than the last bin.
        any_beyond: boxes that are ``beyond`` on some level.
        unmatched: boxes without a positive prior.
        needed: the last bin that would hold 99 % of the boxes; 0 without bins.
        advice: settings that were tried, and their shares.
    """

    head: HeadSettings
    size: str
    strides: list[int]
    boxes: int
    on_level: np.ndarray
    beyond: np.ndarray
    any_beyond: int
    unmatched: int
    needed: int
    tried: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def beyond_share(self) -> float:
        return self.any_beyond / max(self.boxes, 1)

    @property
    def unmatched_share(self) -> float:
        return self.unmatched / max(self.boxes, 1)


def coverage(settings: HeadSettings, sample: Sample, label: str) -> Coverage:
    """Let the assigner of a head choose the priors of all boxes of a sample.

    A side of a box is further away than the last bin if its distance from a positive prior's centre is more than ``reg_max`` strides: the head is
    trained on the last bin there, and the predicted box ends too early.

    Raises:
        MMDetError: priors or assigner cannot be built.
    """
    generator, assigner = TASK_UTILS.build(dict(settings.generator)), TASK_UTILS.build(dict(settings.assigner))
    strides = [min(pair) for pair in generator.strides]
    levels = len(strides)
    on_level, beyond = np.zeros(levels, np.int64), np.zeros(levels, np.int64)
    reach: list[np.ndarray] = []
    unmatched = boxes = 0
    limit = settings.reg_max
    for (width, height), corners in progress(sample, f'{settings.name} at {label}'):
        maps = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]
        priors = generator.grid_priors(maps, device='cpu')
        counts = [len(level) for level in priors]
        flat = torch.cat(priors)
        gt = InstanceData(bboxes=torch.from_numpy(corners).float(), labels=torch.zeros(len(corners), dtype=torch.long))
        predictions = InstanceData(priors=flat)
        if settings.assigner['type'] == 'ATSSAssigner':
            result = assigner.assign(predictions, counts, gt)
        else:
            result = assigner.assign(predictions, gt)
        positive = torch.nonzero(result.gt_inds > 0).flatten()
        own = (result.gt_inds[positive] - 1).numpy()
        level = np.searchsorted(np.cumsum(counts), positive.numpy(), side='right')
        centre = ((flat[positive, :2] + flat[positive, 2:]) / 2).numpy()
        furthest = np.concatenate([centre - corners[own, :2], corners[own, 2:] - centre], axis=1).max(axis=1)
        distance = furthest / np.asarray(strides)[level]  # in strides
        largest = np.zeros((levels, len(corners)))
        np.maximum.at(largest, (level, own), distance)
        present = np.zeros((levels, len(corners)), bool)
        present[level, own] = True
        on_level += present.sum(axis=1)
        if limit is not None:
            beyond += (largest > limit).sum(axis=1)
        matched = present.any(axis=0)
        reach.append(largest.max(axis=0)[matched])
        unmatched += int((~matched).sum())
        boxes += len(corners)
    distances = np.concatenate([np.zeros(0), *reach])
    any_beyond = int((distances > limit).sum()) if limit is not None else 0
    needed = math.ceil(np.quantile(distances, 1 - LAST_BIN_SHARE)) if limit is not None and len(distances) else 0
    return Coverage(settings, label, strides, boxes, on_level, beyond, any_beyond, unmatched, needed)


def try_alternatives(found: Coverage, sample: Sample) -> None:
    """Complete ``found.tried`` by other anchors and levels: (what, share beyond the last bin, share unmatched)."""
    generator = found.head.generator
    strides = list(generator['strides'])
    wanted: list[tuple[str, dict]] = []
    for factor in (0.5, 2.0) if found.unmatched_share <= UNMATCHED_SHARE else (0.5,):
        if base := generator.get('octave_base_scale'):
            wanted.append((f'octave_base_scale={base * factor:g}', dict(generator, octave_base_scale=base * factor)))
        elif base := generator.get('scales'):
            scales = [scale * factor for scale in base]
            wanted.append((f'scales=[{", ".join(f"{scale:g}" for scale in scales)}]', dict(generator, scales=scales)))
    if all(isinstance(stride, int) for stride in strides) and not generator.get('base_sizes'):
        if found.unmatched_share > UNMATCHED_SHARE and strides[0] > 4:
            finer = [strides[0] // 2, *strides]
            wanted.append((f'strides={finer} (a finer level)', dict(generator, strides=finer)))
        if found.beyond_share > LAST_BIN_SHARE:
            coarser = [*strides, 2 * strides[-1]]
            wanted.append((f'strides={coarser} (a coarser level)', dict(generator, strides=coarser)))
    for text, config in wanted:
        settings = HeadSettings(found.head.name, config, found.head.assigner, found.head.reg_max)
        try:
            other = coverage(settings, sample, text)
        except MMDetError:  # the generator takes no such combination
            continue
        found.tried.append((text, other.beyond_share, other.unmatched_share))


def coverage_advice(found: Coverage, code: str) -> str:
    """What to change, as a sentence; ``code`` 'last_bin' or 'unmatched'."""
    of_bins = code == 'last_bin'
    limit = LAST_BIN_SHARE if of_bins else UNMATCHED_SHARE
    shares = found.beyond_share, found.unmatched_share
    now, other_now = shares if of_bins else shares[::-1]
    options = []
    if of_bins:
        options.append(f'reg_max={found.needed}, which holds 99 % of the boxes')
    # A change is worth naming if it halves the share, or brings it below the limit, and does not pay with the other one.
    better: list[tuple[float, str]] = []
    for text, beyond, unmatched in found.tried:
        share, other = (beyond, unmatched) if of_bins else (unmatched, beyond)
        if (share <= limit or share < now / 2) and other <= max(other_now * 1.5, limit):
            better.append((share, text))
    for share, text in sorted(better)[:2]:
        options.append(f'{text}, which leaves {share:.1%}')
    if not options:
        return 'Train at a larger input size, or on tiles.'
    return f'Set {"; or ".join(options)}.'
