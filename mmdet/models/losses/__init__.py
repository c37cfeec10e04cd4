from .gfocal_loss import DistributionFocalLoss, QualityFocalLoss, distribution_focal_loss, quality_focal_loss
from .iou_loss import GIoULoss

__all__ = ['DistributionFocalLoss', 'GIoULoss', 'QualityFocalLoss', 'distribution_focal_loss', 'quality_focal_loss']
