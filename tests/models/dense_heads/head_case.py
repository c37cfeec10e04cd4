"""The two-image case that the reference sheet's head-level numbers are given for."""

import torch
from mmengine.structures import InstanceData

from tests.devices import on, tolerance
from tests.reference_fill import tensor

SIZES = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]
METAS = [
    dict(img_shape=(128, 160), pad_shape=(128, 160), scale_factor=(0.5, 0.5)),
    dict(img_shape=(100, 120), pad_shape=(128, 128), scale_factor=(0.8, 0.8)),
]
TRAIN_CFG = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False)
TEST_CFG = dict(
    nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100
)  # fmt: skip


def gt(bboxes=(), labels=()):
    """Ground truth of one image; none by default."""
    bboxes = torch.tensor(bboxes, dtype=torch.float32).reshape(-1, 4)
    return InstanceData(bboxes=bboxes, labels=torch.tensor(labels, dtype=torch.long))


GT0 = gt([[10, 12, 60, 50], [30, 20, 140, 110], [100, 90, 108, 99]], [3, 17, 79])
GT1 = gt([[5, 5, 110, 95]], [0])


def outputs(num_classes=80):
    """Class and box logits of the five levels."""
    cls = [tensor((2, num_classes, h, w), 100 + level, 2, -3) for level, (h, w) in enumerate(SIZES)]
    reg = [tensor((2, 68, h, w), 200 + level, 3) for level, (h, w) in enumerate(SIZES)]
    return cls, reg


def five(values):
    """Per-level values, the levels left out being 0."""
    return torch.tensor(list(values) + [0.0] * (5 - len(values)))


def assert_losses(losses, loss_cls, bbox_sum, dfl_sum):
    """Class losses per level, box losses as sums, to 1e-5 relative (on a GPU 1e-4)."""
    device = losses['loss_cls'][0].device.type
    losses, close = on('cpu', losses), tolerance(device, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(torch.stack(losses['loss_cls']).detach(), five(loss_cls), **close)
    torch.testing.assert_close(sum(losses['loss_bbox']).detach(), torch.tensor(float(bbox_sum)), **close)
    torch.testing.assert_close(sum(losses['loss_dfl']).detach(), torch.tensor(float(dfl_sum)), **close)
