"""A detector without NMS whose answers can be worked out by hand, and which says all that a stage asks by itself."""

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import nn

from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS


@MODELS.register_module(force=True)
class PairDetector(BaseDetector):
    """Finds two neighbours (IoU 0.6) a few pixels from the left edge of each view, and a weak box; no head, no NMS."""

    end_to_end, clips_boxes = True, False
    boxes = ((4, 4, 12, 14), (6, 4, 14, 14), (-9, 20, -1, 30), (20, 20, 30, 30))
    scores = (0.9, 0.8, 0.7, 0.3)

    def __init__(self, num_classes=2, max_per_img=10, nms=None, num_queries=4, end_to_end=True):
        super().__init__(dict(type='DetDataPreprocessor', pad_size_divisor=8))
        self.num_classes, self.num_queries, self.end_to_end = num_classes, num_queries, end_to_end
        self.detection_cfg = ConfigDict(score_thr=0.1, max_per_img=max_per_img, nms=nms)
        self.weight = nn.Parameter(torch.zeros(1))

    def candidates(self, batch_inputs, batch_img_metas, test_cfg=None):
        cfg = test_cfg or self.detection_cfg
        found = []
        for meta in batch_img_metas:
            scores = torch.tensor(self.scores)
            kept = (scores > cfg.score_thr).nonzero().flatten()[: cfg.max_per_img]
            boxes = torch.tensor(self.boxes).float() / torch.tensor(meta['scale_factor'] * 2)
            labels = torch.ones(len(kept), dtype=torch.long)
            found.append(InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=labels))
        return found

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        metas = [sample.metainfo for sample in batch_data_samples]
        return self.add_pred_to_datasample(batch_data_samples, self.candidates(batch_inputs, metas))

    def loss(self, batch_inputs, batch_data_samples):
        return dict(loss=self.weight.sum())

    def _forward(self, batch_inputs, batch_data_samples=None):
        return batch_inputs
