"""The import paths of mmdetection 3.x that code written for it uses, from a table: which of them lead somewhere, and to the right kind of thing."""

import importlib
import inspect
from pathlib import Path

import pytest
from mmengine.registry import Registry

KINDS = {
    'class': inspect.isclass,
    # A type that annotations use is a function or a class of typing in one release of Python and neither in another.
    'function': lambda found: (
        callable(found) or 'typing' in type(found).__module__ or type(found).__name__ in ('GenericAlias', 'UnionType')
    ),
    'int': lambda found: isinstance(found, int),
    'module': inspect.ismodule,
    'Registry': lambda found: isinstance(found, Registry),
    'str': lambda found: isinstance(found, str),
    'tuple': lambda found: isinstance(found, tuple),
}
# Families that the package does not have: two-stage and transformer detectors, masks of scenes, videos, other dense detectors.
FAMILIES = (
    'roi_heads', 'detr', 'DETR', 'Detr', 'dino', 'DINO', 'cascade_rcnn', 'CdnQueryGenerator', 'MSDeformAttn', 'MultiScaleDeformable', 'pq_compute',
    'YouTubeVIS', 'BaseFrameSample', 'SOLO', 'CondInst', 'SSD', 'ssd', 'YOLO', 'RPNHead',
    'HRNet', 'RegNet', 'backbones.swin', 'CocoOccluded',
)  # fmt: skip


def table(importance):
    path = Path(__file__).parent / 'data' / 'mmdetection_names.txt'
    lines = (line.split() for line in path.read_text().splitlines() if not line.startswith('#'))
    return [(module, name, kind) for level, module, name, kind in lines if level == str(importance)]


def lacking(rows):
    """The rows that cannot be imported, or are something else."""
    found = []
    for module, name, kind in rows:
        try:
            value = importlib.import_module(module)
            if name != '<module>':
                try:
                    value = getattr(value, name)
                except AttributeError:
                    value = importlib.import_module(f'{module}.{name}')
        except (ImportError, AttributeError):
            found.append(f'{module}:{name}')
            continue
        if not KINDS[kind](value):
            found.append(f'{module}:{name} is no {kind}')
    return found


def test_every_name_of_plug_ins_for_dense_detectors_leads_somewhere():
    assert len(table(1)) > 100
    assert lacking(table(1)) == []


def test_common_names_of_what_the_package_has_lead_somewhere():
    rows = [row for row in table(2) if not any(part in f'{row[0]}.{row[1]}' for part in FAMILIES)]
    assert len(rows) > 100
    left = lacking(rows)
    assert len(left) <= len(rows) // 10, left


@pytest.mark.parametrize(
    ('name', 'module', 'room'),
    [
        ('filter_scores_and_topk', 'mmdet.models.utils', 'mmdet.core.post_processing'),
        ('multiclass_nms', 'mmdet.models.layers', 'mmdet.core.post_processing'),
        ('bbox_overlaps', 'mmdet.evaluation', 'mmdet.core'),
        ('reduce_loss', 'mmdet.models.losses.utils', 'mmdet.models.losses.reduction'),
    ],
)
def test_names_of_another_meaning_are_functions_of_their_own(name, module, room):
    assert getattr(importlib.import_module(module), name) is not getattr(importlib.import_module(room), name)
