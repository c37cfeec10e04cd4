from .gaussian_target import (
    gather_feat,
    gaussian_radius,
    gen_gaussian_target,
    get_local_maximum,
    get_topk_from_heatmap,
    transpose_and_gather_feat,
)
from .misc import (
    align_tensor,
    aligned_bilinear,
    center_of_mass,
    empty_instances,
    filter_gt_instances,
    filter_scores_and_topk,
    flip_tensor,
    generate_coordinate,
    images_to_levels,
    interpolate_as,
    levels_to_images,
    make_divisible,
    mask2ndarray,
    multi_apply,
    padding_to,
    relative_coordinate_maps,
    rename_loss_dict,
    reweight_loss_dict,
    samplelist_boxtype2tensor,
    select_single_mlvl,
    sigmoid_geometric_mean,
    unfold_wo_center,
    unmap,
    unpack_gt_instances,
)
from .point_sample import get_uncertain_point_coords_with_randomness, get_uncertainty
from .wbf import weighted_boxes_fusion

__all__ = [
    'align_tensor', 'aligned_bilinear', 'center_of_mass', 'empty_instances', 'filter_gt_instances', 'filter_scores_and_topk', 'flip_tensor',
    'gather_feat', 'gaussian_radius', 'gen_gaussian_target', 'generate_coordinate', 'get_local_maximum', 'get_topk_from_heatmap',
    'get_uncertain_point_coords_with_randomness', 'get_uncertainty', 'images_to_levels', 'interpolate_as', 'levels_to_images',
    'make_divisible', 'mask2ndarray', 'multi_apply', 'padding_to', 'relative_coordinate_maps', 'rename_loss_dict', 'reweight_loss_dict',
    'samplelist_boxtype2tensor', 'select_single_mlvl', 'sigmoid_geometric_mean', 'transpose_and_gather_feat', 'unfold_wo_center', 'unmap',
    'unpack_gt_instances', 'weighted_boxes_fusion',
]  # fmt: skip
