"""Architecture search without training.

Structures, their blocks and their files are in :mod:`mmdet.archs`. Here ``budgets`` and ``scores`` compute figures of structures, ``latency``
predicts their run time from a library of measured operators, ``spaces`` mutate them, and ``search`` looks for the best one.
"""

from ..archs.blocks import BlockFamily, Conv, Stage, Unit, families, family_of, is_3d, stages, units_of
from ..archs.files import StructureEntry, build_structure, load_structure, load_structures, save_structures
from ..archs.parsing import parse_structure, structure_to_dicts
from ..archs.structure import Block, BlockMemo, Structure, describe, is_quantised, stage_ends
from .budgets import Budget
from .evaluator import Evaluation, Evaluator, build_budgets
from .latency import OpLibrary, OpPredictor
from .scores import Score

__all__ = [
    'Block', 'BlockFamily', 'BlockMemo', 'Budget', 'Conv', 'Evaluation', 'Evaluator', 'OpLibrary', 'OpPredictor', 'Score', 'Stage',
    'Structure', 'StructureEntry', 'Unit', 'build_budgets', 'build_structure', 'describe', 'families', 'family_of', 'is_3d',
    'is_quantised', 'load_structure', 'load_structures', 'parse_structure', 'save_structures', 'stage_ends', 'stages',
    'structure_to_dicts', 'units_of',
]  # fmt: skip
