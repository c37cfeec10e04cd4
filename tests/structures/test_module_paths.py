"""The module paths of mmdetection 3.x lead to the one home of each name."""

import importlib

import pytest

import mmdet.core.boxes
import mmdet.core.masks

BOXES = {
    'base_boxes': ('BaseBoxes',),
    'bbox_overlaps': ('bbox_overlaps',),
    'box_type': ('autocast_box_type', 'convert_box_type', 'get_box_type', 'register_box', 'register_box_converter'),
    'horizontal_boxes': ('HorizontalBoxes',),
    'transforms': (
        'bbox2corner', 'bbox2distance', 'bbox2result', 'bbox2roi', 'bbox_cxcyah_to_xyxy', 'bbox_cxcywh_to_xyxy', 'bbox_flip', 'bbox_mapping',
        'bbox_mapping_back', 'bbox_project', 'bbox_rescale', 'bbox_xyxy_to_cxcyah', 'bbox_xyxy_to_cxcywh', 'cat_boxes', 'corner2bbox',
        'distance2bbox', 'empty_box_as', 'find_inside_bboxes', 'get_box_tensor', 'get_box_wh', 'roi2bbox', 'scale_boxes', 'stack_boxes',
    ),
}  # fmt: skip
MASKS = {
    'structures': ('BaseInstanceMasks', 'BitmapMasks', 'PolygonMasks', 'bitmap_to_polygon', 'polygon_to_bitmap'),
    'utils': ('encode_mask_results', 'mask2bbox', 'split_combined_polys'),
}


@pytest.mark.parametrize(
    ('package', 'home', 'modules'), [('bbox', mmdet.core.boxes, BOXES), ('mask', mmdet.core.masks, MASKS)]
)
def test_names(package, home, modules):
    whole = importlib.import_module(f'mmdet.structures.{package}')
    for module, names in modules.items():
        part = importlib.import_module(f'mmdet.structures.{package}.{module}')
        for name in names:
            assert getattr(part, name) is getattr(home, name), name
            # The function has the name of its module, as in mmdetection.
            assert getattr(whole, name) is getattr(home, name), name
    assert set(whole.__all__) == {name for names in modules.values() for name in names}
