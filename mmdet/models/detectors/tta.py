"""Test-time augmentation: several views of an image, one result."""

from typing import Any

from mmengine.config import Config
from mmengine.model import BaseTTAModel, is_model_wrapper

from mmdet.core.boxes import bbox_flip as flip_boxes
from mmdet.core.post_processing import ScoredBoxes, merge_views
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """Runs the detector on every view, maps the boxes back and merges them by NMS; of an end-to-end detector, boxes of one view do not
    suppress each other.

    Args:
        tta_cfg: ``nms`` and ``max_per_img`` of the merge; by default IoU 0.5 and 100 detections, of an end-to-end detector its own settings.
        module: the detector's config or the detector.
        data_preprocessor: config of the preprocessor; the detector's own by default.
    """

    def __init__(self, tta_cfg: dict | Config | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        detector: Any = self.module.module if is_model_wrapper(self.module) else self.module
        self.end_to_end = getattr(detector, 'end_to_end', False)  # of a model that is no BaseDetector
        self.tta_cfg: Any = tta_cfg or dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
        if not tta_cfg and self.end_to_end:
            self.tta_cfg = detector.detection_cfg

    def merge_preds(self, data_samples_list: list[list[DetDataSample]]) -> list[DetDataSample]:
        """One sample per image from the samples of its views, whose boxes are in pixels of the original image (flipped where the view is)."""
        return [self._merge_single(views) for views in data_samples_list]

    def _merge_single(self, views: list[DetDataSample]) -> DetDataSample:
        mapped_back = []
        for view in views:
            found, meta = view.pred_instances, view.metainfo
            bboxes = found.bboxes
            if meta.get('flip', False):
                bboxes = flip_boxes(bboxes, meta['ori_shape'], meta['flip_direction'])
            mapped_back.append(ScoredBoxes(bboxes, found.scores, found.labels))
        # The result lies in the sample of an unflipped view, so that its ground truth fits.
        merged = next((view for view in views if not view.metainfo.get('flip', False)), views[0])
        nms, limit = self.tta_cfg.get('nms'), self.tta_cfg.get('max_per_img', -1)
        merged.pred_instances = merge_views(mapped_back, nms, limit, self.end_to_end)
        return merged
