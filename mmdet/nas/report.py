"""Reports on a structure: its costs and scores, with the settings of the published search configs."""

import dataclasses
from collections.abc import Iterable

from ..archs import Structure, StructureEntry, describe, elements, is_3d, is_quantised
from .budgets import EfficientScoreBudget, FlopsBudget, LayersBudget, ModelSizeBudget
from .scores import DeepMad, MadNas, QEScore, Score, STEntropy

DEFAULT_IMAGE_SIZE = 224
DEFAULT_FRAMES = 13  # the stentr score's own default


def structure_scores(structure: Structure, frames: int = DEFAULT_FRAMES) -> dict[str, float]:
    """Every score that applies to a structure, with the settings of the published configs.

    ``madnas_cls`` weighs the stages by [0, 0, 0, 0, 1], ``madnas_det`` by [0, 0, 1, 1, 6]. ``deepmad`` is computed at 224 pixels and ``stentr`` at
    160, whatever the input of the network. Quantised networks have ``qe`` instead of ``madnas_*``, and only video networks have ``stentr``. All but
    ``efficient``, which always applies, need five stages.

    Args:
        frames: frames of a video network's input.
    """
    scores: dict[str, Score] = {}
    if not is_quantised(structure):
        scores |= dict(madnas_cls=MadNas(multi_block_ratio=(0, 0, 0, 0, 1)), madnas_det=MadNas())
    scores |= dict(deepmad=DeepMad(), deepmad_penalised=DeepMad(depth_penalty_ratio=10.0))
    if is_3d(structure):
        scores['stentr'] = STEntropy(frames=frames)
    scores['qe'] = QEScore()
    found = {name: score(structure) for name, score in scores.items() if score.why_not(structure) is None}
    return {**found, 'efficient': EfficientScoreBudget()(structure)}


def structure_report(entry: StructureEntry, image_size: int | None = None, frames: int | None = None) -> dict:
    """Costs and scores of one structure: a dict with ``name``, ``image_size``, ``flops``, ``params``, ``layers`` and ``scores``.

    ``params`` leaves a classifier out; each weight of a quantised convolution counts bits / 8, as in LightNAS.

    Args:
        image_size: side of the input in pixels, instead of the entry's own (224 where it has none).
        frames: frames of a video network's input, instead of the entry's own (13 where it has none).
    """
    structure = entry.blocks
    image_size = image_size or entry.image_size or DEFAULT_IMAGE_SIZE
    frames = (frames or entry.frames or DEFAULT_FRAMES) if is_3d(structure) else None
    params = ModelSizeBudget()(structure)
    return dict(
        name=entry.name,
        image_size=image_size,
        flops=FlopsBudget(image_size=image_size, frames=frames)(structure),
        params=int(params) if params == int(params) else params,
        layers=LayersBudget()(structure),
        scores=structure_scores(structure, frames or DEFAULT_FRAMES),
    )


def with_published_facts(entry: StructureEntry, published: Iterable[StructureEntry]) -> StructureEntry:
    """Add the image size, frames and task of a published structure with equal blocks to an entry that has no image size."""
    if entry.image_size is None:
        for known in published:
            if known.blocks == entry.blocks:
                frames, task = entry.frames or known.frames, entry.task or known.task
                return dataclasses.replace(entry, image_size=known.image_size, frames=frames, task=task)
    return entry


def report_text(entry: StructureEntry, report: dict) -> str:
    """A report as a few lines of text."""
    side = report['image_size']
    params = f'{report["params"]:,}'
    if is_quantised(entry.blocks):
        params += f' (bits / 8 per weight; {sum(map(elements, entry.blocks)):,} elements)'
    scores = '  '.join(f'{name} {value:.6g}' for name, value in report['scores'].items())
    return (
        f'{report["name"]} at {side}x{side}: {describe(entry.blocks)}\n'
        f'  FLOPs {report["flops"] / 1e9:.6g} G  params {params}  layers {report["layers"]}\n'
        f'  {scores}'
    )
