from .accuracy import Accuracy, accuracy
from .balanced_l1_loss import BalancedL1Loss, balanced_l1_loss
from .cross_entropy_loss import CrossEntropyLoss, binary_cross_entropy, cross_entropy, mask_cross_entropy
from .dice_loss import DiceLoss
from .focal_loss import FocalLoss, sigmoid_focal_loss
from .gaussian_focal_loss import GaussianFocalLoss
from .gfocal_loss import DistributionFocalLoss, QualityFocalLoss, distribution_focal_loss, quality_focal_loss
from .ghm_loss import GHMC, GHMR
from .iou_loss import (
    BoundedIoULoss,
    CIoULoss,
    DIoULoss,
    EIoULoss,
    GIoULoss,
    IoULoss,
    SIoULoss,
    bounded_iou_loss,
    iou_loss,
)
from .kd_loss import KnowledgeDistillationKLDivLoss
from .mse_loss import MSELoss, mse_loss
from .smooth_l1_loss import L1Loss, SmoothL1Loss, l1_loss, smooth_l1_loss
from .utils import reduce_loss, weight_reduce_loss, weighted_loss
from .varifocal_loss import VarifocalLoss

__all__ = [
    'Accuracy', 'BalancedL1Loss', 'BoundedIoULoss', 'CIoULoss', 'CrossEntropyLoss', 'DIoULoss', 'DiceLoss', 'DistributionFocalLoss',
    'EIoULoss', 'FocalLoss', 'GHMC', 'GHMR', 'GIoULoss', 'GaussianFocalLoss', 'IoULoss', 'KnowledgeDistillationKLDivLoss', 'L1Loss',
    'MSELoss', 'QualityFocalLoss', 'SIoULoss', 'SmoothL1Loss', 'VarifocalLoss', 'accuracy', 'balanced_l1_loss', 'binary_cross_entropy',
    'bounded_iou_loss', 'cross_entropy', 'distribution_focal_loss', 'iou_loss', 'l1_loss', 'mask_cross_entropy', 'mse_loss',
    'quality_focal_loss', 'reduce_loss', 'sigmoid_focal_loss', 'smooth_l1_loss', 'weight_reduce_loss', 'weighted_loss',
]  # fmt: skip
