"""A whole detector with weights, images and ground truth by formula, for which the reference's numbers are known.

Weights are those of :mod:`tests.reference_fill`. Image i of a batch is ``2 u(3 H W, 7 + i)``, zero outside its ``img_shape``,
(H - 20 i, W - 44 i); it goes to the backbone as it is. Its n boxes come from ``v = (u(5 n, 1000 + seed + i) + 1) / 2``, n rows of five:
x1 = 0.4 W v0, y1 = 0.4 H v1, w = W (0.05 + 0.55 v2), h = H (0.05 + 0.55 v3), label = floor(80 v4), with the H and W of the image.
"""

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import load_config
from tests.reference_fill import fill_state_dict, tensor, u


def filled_detector(path, **changes) -> nn.Module:
    """The detector of a config, in evaluation mode; ``changes`` are config keys of its ``model``, dots as ``__``."""
    cfg = load_config(path, {f'model.{key.replace("__", ".")}': value for key, value in changes.items()}).model
    cfg.backbone.init_cfg = None
    return fill(MODELS.build(cfg)).eval()


def fill(model: nn.Module) -> nn.Module:
    """Fill a model's weights in place."""
    model.load_state_dict(fill_state_dict(model.state_dict()), strict=True)
    return model


def images(size_hw=(256, 320), batch=2) -> Tensor:
    """(batch, 3, H, W)."""
    height, width = size_hw
    inputs = torch.stack([tensor((3, height, width), 7 + i, 2.0) for i in range(batch)])
    for i, image in enumerate(inputs):
        image[:, height - 20 * i :] = 0
        image[:, :, width - 44 * i :] = 0
    return inputs


def samples(size_hw=(256, 320), counts=(6, 6), seed=3) -> list[DetDataSample]:
    """One sample an image, with so many boxes."""
    found = []
    for i, count in enumerate(counts):
        height, width = size_hw[0] - 20 * i, size_hw[1] - 44 * i
        shape = dict(img_shape=(height, width), ori_shape=(height, width), batch_input_shape=tuple(size_hw))
        pad_shape = (-(-height // 32) * 32, -(-width // 32) * 32) if i else tuple(size_hw)
        v = ((u(5 * count, 1000 + seed + i) + 1) / 2).reshape(count, 5)
        x1, y1 = 0.4 * width * v[:, 0], 0.4 * height * v[:, 1]
        w, h = width * (0.05 + 0.55 * v[:, 2]), height * (0.05 + 0.55 * v[:, 3])
        truth = InstanceData(
            bboxes=torch.from_numpy(np.stack([x1, y1, x1 + w, y1 + h], 1).astype(np.float32)),
            labels=torch.from_numpy(np.floor(80 * v[:, 4]).astype(np.int64)),
        )
        metainfo = dict(shape, pad_shape=pad_shape, scale_factor=(1.0, 1.0))
        found.append(DetDataSample(metainfo=metainfo, gt_instances=truth))
    return found


def train_with_fixed_norms(model: nn.Module) -> nn.Module:
    """Training mode, batch norms in evaluation mode: how the reference's losses were computed."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def gradient_norm(model: nn.Module, losses: dict) -> float:
    """L2 norm over all parameters with a gradient, of the sum of the losses."""
    model.zero_grad()
    sum(sum(part) if isinstance(part, list) else part for part in losses.values()).backward()
    return (
        torch.stack([p.grad.double().square().sum() for p in model.parameters() if p.grad is not None])
        .sum()
        .sqrt()
        .item()
    )
