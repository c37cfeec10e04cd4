"""A detector whose answers can be worked out by hand: the bounding boxes of bright blobs."""

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import nn

from mmdet.registry import MODELS


@MODELS.register_module(force=True)
class BlobDetector(BaseModel):
    """Boxes of connected regions brighter than ``threshold``, largest first; the score is the brightness."""

    def __init__(self, num_classes=2, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.bbox_head = nn.Module()
        self.bbox_head.num_classes = num_classes
        self.threshold = nn.Parameter(torch.tensor(127.0))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'predict'
        for image, sample in zip(inputs, data_samples):
            grey = image.mean(0).cpu().numpy()
            count, _, stats, _ = cv2.connectedComponentsWithStats((grey > self.threshold.item()).astype(np.uint8))
            order = sorted(range(1, count), key=lambda k: -stats[k, cv2.CC_STAT_AREA])
            boxes = [[x, y, x + w, y + h] for x, y, w, h, _ in stats[order]]
            boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) / torch.tensor(sample.scale_factor).repeat(
                2
            )
            sample.pred_instances = InstanceData(
                bboxes=boxes, scores=torch.full((len(boxes),), 0.75), labels=torch.ones(len(boxes), dtype=torch.long)
            ).to(image.device)
        return data_samples


class PaddedSizeDetector(BaseModel):
    """One box as large as the padded batch, so that every zero beside an image shows; ``calls`` has the batch size of each call."""

    def __init__(self, divisor=32):
        preprocessor = dict(type='DetDataPreprocessor', mean=[0, 0, 0], std=[1, 1, 1], pad_size_divisor=divisor)
        super().__init__(data_preprocessor=preprocessor)
        self.calls = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.calls.append(len(inputs))
        for sample in data_samples:
            box = torch.tensor([[0.0, 0.0, inputs.shape[3], inputs.shape[2]]])
            sample.pred_instances = InstanceData(
                bboxes=box, scores=torch.ones(1), labels=torch.zeros(1, dtype=torch.long)
            )
        return data_samples


def blob_config(num_classes=2):
    return Config(
        dict(
            default_scope='mmdet',
            model=dict(
                type='BlobDetector',
                num_classes=num_classes,
                data_preprocessor=dict(type='DetDataPreprocessor', mean=[0, 0, 0], std=[1, 1, 1], pad_size_divisor=32),
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='RepeatDataset',
                    dataset=dict(
                        type='CocoDataset',
                        metainfo=dict(classes=('dot', 'block'), palette=[(1, 2, 3), (250, 20, 10)]),
                        pipeline=[
                            dict(type='LoadImageFromFile'),
                            dict(type='Resize', scale=(160, 160), keep_ratio=True),
                            dict(type='LoadAnnotations', with_bbox=True),
                            dict(type='PackDetInputs'),
                        ],
                    ),
                )
            ),
        )
    )


def scene(box=(20, 10, 60, 30), height=80, width=160):
    """Black BGR image with one white rectangle."""
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image
