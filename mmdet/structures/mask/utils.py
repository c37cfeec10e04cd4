"""Functions of masks under mmdetection's module path; they live in :mod:`mmdet.core.masks`."""

from mmdet.core.masks import encode_mask_results, mask2bbox, split_combined_polys

__all__ = ['encode_mask_results', 'mask2bbox', 'split_combined_polys']
