"""What a structure costs and scores, with the defaults of the published search configs."""

from collections.abc import Iterable

from ..archs.blocks.base import is_3d
from ..archs.blocks.costs import elements
from ..archs.files import StructureEntry
from ..archs.structure import Structure, describe, is_quantised
from .budgets import EfficientScoreBudget, FlopsBudget, LayersBudget, ModelSizeBudget
from .scores import DeepMad, MadNas, QEScore, Score, STEntropy

DEFAULT_IMAGE_SIZE = 224
DEFAULT_FRAMES = 13  # the stentr score's own default


def structure_scores(structure: Structure, frames: int = DEFAULT_FRAMES) -> dict[str, float]:
    """Every score that applies, under the published configs' settings.

    ``madnas_cls`` weighs stages [0, 0, 0, 0, 1], ``madnas_det`` [0, 0, 1, 1, 6]; ``deepmad`` is scored at 224 pixels whatever the network's input,
    ``stentr`` at 160, as there. Quantised networks have ``qe`` in place of madnas, which is the same without bit widths; ``stentr`` is for
    video; scores by stage need five stages; ``efficient`` always applies.
    """
    scores: dict[str, Score] = dict(deepmad=DeepMad(), deepmad_penalised=DeepMad(depth_penalty_ratio=10.0))
    if is_quantised(structure):
        scores['qe'] = QEScore()
    else:
        scores |= dict(madnas_cls=MadNas(multi_block_ratio=(0, 0, 0, 0, 1)), madnas_det=MadNas())
    if is_3d(structure):
        scores['stentr'] = STEntropy(frames=frames)
    found = {name: score(structure) for name, score in scores.items() if score.why_not(structure) is None}
    found['efficient'] = EfficientScoreBudget()(structure)
    order = ('madnas_cls', 'madnas_det', 'deepmad', 'deepmad_penalised', 'stentr', 'qe', 'efficient')
    return {name: found[name] for name in order if name in found}


def structure_report(entry: StructureEntry, image_size: int | None = None, frames: int | None = None) -> dict:
    """``{name, image_size, flops, params, layers, scores}`` of one structure.

    ``params`` is the reference's model size: no classifier; weights of quantised networks count bits / 8 each.

    Args:
        entry: the structure.
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
    """The entry with the image size and frames of a published structure of equal blocks, where its own file is silent."""
    if entry.image_size is None:
        for known in published:
            if known.blocks == entry.blocks:
                frames = entry.frames or known.frames
                return StructureEntry(
                    entry.name, entry.blocks, known.image_size, frames, entry.task or known.task, entry.info
                )
    return entry


def report_text(entry: StructureEntry, report: dict) -> str:
    """A report for people, a few lines."""
    size = f'{report["image_size"]}x{report["image_size"]}'
    params = f'{report["params"]:,}'
    if is_quantised(entry.blocks):
        params += f' (bits / 8 per weight; {sum(map(elements, entry.blocks)):,} elements)'
    scores = '  '.join(f'{name} {value:.6g}' for name, value in report['scores'].items())
    return (
        f'{report["name"]} at {size}: {describe(entry.blocks)}\n'
        f'  FLOPs {report["flops"] / 1e9:.6g} G  params {params}  layers {report["layers"]}\n'
        f'  {scores}'
    )
