"""What every dense head does with a batch: unpack its samples, call the head's own parts, pack the results."""

from abc import ABCMeta, abstractmethod

from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.structures import SampleList


def unpack_gt_instances(
    batch_data_samples: SampleList,
) -> tuple[list[InstanceData], list[InstanceData | None], list[dict]]:
    """Ground truth, ignored boxes (None where a sample has none) and metainfo of each sample."""
    gt = [sample.gt_instances for sample in batch_data_samples]
    ignored = [sample.get('ignored_instances') for sample in batch_data_samples]
    return gt, ignored, [sample.metainfo for sample in batch_data_samples]


class BaseDenseHead(BaseModule, metaclass=ABCMeta):
    """A head over a feature pyramid. Subclasses write ``forward``, ``loss_by_feat`` and ``predict_by_feat``."""

    @abstractmethod
    def loss_by_feat(self, *outputs, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore=None) -> dict:
        """Losses of the raw outputs."""

    @abstractmethod
    def predict_by_feat(self, *outputs, batch_img_metas, cfg=None, rescale=False, with_nms=True) -> list[InstanceData]:
        """Detections of the raw outputs, one entry per image."""

    def loss(self, x: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict[str, list[Tensor]]:
        """Losses of feature maps ``x``, (B, C, H_l, W_l) per level."""
        gt, ignored, metas = unpack_gt_instances(batch_data_samples)
        return self.loss_by_feat(
            *self(x), batch_gt_instances=gt, batch_img_metas=metas, batch_gt_instances_ignore=ignored
        )

    def predict(
        self, x: tuple[Tensor, ...], batch_data_samples: SampleList, rescale: bool = False
    ) -> list[InstanceData]:
        """Detections on feature maps ``x``; in original-image pixels when ``rescale``."""
        metas = [sample.metainfo for sample in batch_data_samples]
        return self.predict_by_feat(*self(x), batch_img_metas=metas, rescale=rescale)

    def loss_and_predict(
        self, x: tuple[Tensor, ...], batch_data_samples: SampleList, proposal_cfg: dict | None = None
    ) -> tuple[dict[str, list[Tensor]], list[InstanceData]]:
        """Losses and detections of one forward pass."""
        gt, ignored, metas = unpack_gt_instances(batch_data_samples)
        outputs = self(x)
        losses = self.loss_by_feat(
            *outputs, batch_gt_instances=gt, batch_img_metas=metas, batch_gt_instances_ignore=ignored
        )
        return losses, self.predict_by_feat(*outputs, batch_img_metas=metas, cfg=proposal_cfg)
