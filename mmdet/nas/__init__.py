"""Architecture search without training: structures, what they cost, and what they are worth.

``structure`` (a network as a tuple of blocks) and ``structure_io`` (its files) need neither torch nor the rest; ``blocks`` says what the families
are made of, ``budgets`` and ``scores`` turn that into numbers, ``latency`` predicts time from a library of measured operators.
"""

from .blocks import BlockFamily, Conv, Unit, families, family_of, units_of
from .budgets import Budget
from .evaluator import Evaluation, Evaluator, build_budgets
from .latency import OpLibrary, OpPredictor
from .scores import Score
from .structure import (
    Block,
    BlockMemo,
    Stage,
    Structure,
    describe,
    is_3d,
    is_quantised,
    parse_structure,
    stage_ends,
    stages,
    structure_to_dicts,
)
from .structure_io import StructureEntry, build_structure, load_structure, load_structures, save_structures

__all__ = [
    'Block', 'BlockFamily', 'BlockMemo', 'Budget', 'Conv', 'Evaluation', 'Evaluator', 'OpLibrary', 'OpPredictor', 'Score', 'Stage',
    'Structure', 'StructureEntry', 'Unit', 'build_budgets', 'build_structure', 'describe', 'families', 'family_of', 'is_3d',
    'is_quantised', 'load_structure', 'load_structures', 'parse_structure', 'save_structures', 'stage_ends', 'stages',
    'structure_to_dicts', 'units_of',
]  # fmt: skip
