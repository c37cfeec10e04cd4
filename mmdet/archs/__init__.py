"""TinyNAS structures: their blocks, the families of blocks and their costs, and the files that hold structures. Nothing here imports torch.

:mod:`mmdet.nas` searches structures and :mod:`mmdet.models` builds networks from them; neither imports the other.
"""

from .blocks import BlockFamily, Conv, Stage, Unit, conv_layers, families, family_of, is_3d, stages, unit_runs, units_of
from .blocks.costs import costs_of, elements
from .files import StructureEntry, build_structure, load_structure, load_structures, read_network, save_structures
from .parsing import parse_structure, structure_to_dicts
from .structure import Block, BlockMemo, Structure, describe, is_quantised, stage_ends

__all__ = [
    'Block', 'BlockFamily', 'BlockMemo', 'Conv', 'Stage', 'Structure', 'StructureEntry', 'Unit', 'build_structure', 'conv_layers',
    'costs_of', 'describe', 'elements', 'families', 'family_of', 'is_3d', 'is_quantised', 'load_structure', 'load_structures',
    'parse_structure', 'read_network', 'save_structures', 'stage_ends', 'stages', 'structure_to_dicts', 'unit_runs', 'units_of',
]  # fmt: skip
