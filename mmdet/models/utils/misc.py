"""Small functions of heads and plug-ins, under the names of mmdetection 3.x.

Naming: B images, L levels, P priors, C classes, n instances.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmdet.core.boxes import BaseBoxes, get_box_type, get_box_wh, stack_boxes
from mmdet.core.masks import BitmapMasks, PolygonMasks
from mmdet.core.post_processing import nms as _nms
from mmdet.errors import ArgumentError
from mmdet.structures import SampleList

_FLIPPED = {'horizontal': (3,), 'vertical': (2,), 'diagonal': (2, 3)}


def multi_apply(func: Callable[..., tuple], *args: Iterable, **kwargs: Any) -> tuple[list, ...]:
    """Call ``func`` with the i-th element of every argument, for each i; transpose the results.

    Returns:
        One list for each value that ``func`` returns; ``()`` where the arguments are empty.

    >>> multi_apply(lambda a, b, k=0: (a + b + k, a * b), [1, 2], [3, 4], k=10)
    ([14, 16], [3, 8])
    """
    return tuple(map(list, zip(*(func(*each, **kwargs) for each in zip(*args)))))


def current_epoch() -> int:
    """The epoch of the training, from 0; 0 where no loop counts epochs."""
    hub = MessageHub.get_current_instance()
    return hub.get_info('epoch') if 'epoch' in hub.runtime_info else 0


def unmap(data: Tensor, count: int, inds: Tensor, fill: float = 0) -> Tensor:
    """Spread rows (n, ...) to the places where ``inds`` (count,) is true: (count, ...), ``fill`` elsewhere."""
    out = data.new_full((count, *data.shape[1:]), fill)
    out[inds.bool()] = data
    return out


def images_to_levels(target: Sequence[Tensor | BaseBoxes], num_levels: Sequence[int]) -> list:
    """B targets (P, ...), tensors or boxes, to L of them (B, P_l, ...); ``num_levels`` holds P_l."""
    ends = np.cumsum(num_levels).tolist()
    stacked = stack_boxes(target, 0)
    return [stacked[:, end - count : end] for end, count in zip(ends, num_levels)]


def levels_to_images(mlvl_tensor: Sequence[Tensor]) -> list[Tensor]:
    """L maps (B, C, H_l, W_l) to B tensors (sum of H_l W_l, C)."""
    return list(torch.cat([level.flatten(2) for level in mlvl_tensor], dim=2).transpose(1, 2).unbind(0))


def select_single_mlvl(mlvl_tensors: Sequence[Tensor], batch_id: int, detach: bool = True) -> list[Tensor]:
    """Of L maps (B, ...), those of one image; by default without their gradient."""
    return [level[batch_id].detach() if detach else level[batch_id] for level in mlvl_tensors]


def filter_scores_and_topk(
    scores: Tensor, score_thr: float, topk: int, results: dict | list | Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """The ``topk`` best (prior, class) pairs above a threshold, in descending order.

    Args:
        scores: (P, C) probabilities.
        score_thr: a pair must score strictly more than this.
        topk: how many to keep at most.
        results: tensors with P rows, of which those of the kept pairs are taken.

    Returns:
        Scores (n,), classes (n,), priors (n,), and ``results`` of the kept pairs. (The function of :mod:`mmdet.core` takes logits, and returns the
        priors before the classes.)
    """
    # Sorted as a whole: a partial sort would leave open which of several equal scores comes first.
    kept, rows, labels = (each[:topk] for each in _nms.filter_scores_and_topk(scores, score_thr, -1, activated=True))
    if isinstance(results, dict):
        return kept, labels, rows, {name: value[rows] for name, value in results.items()}
    if isinstance(results, list):
        return kept, labels, rows, [value[rows] for value in results]
    if results is not None and not isinstance(results, Tensor):
        raise NotImplementedError(f'results must be a dict, a list or a tensor. Received: {type(results).__name__}')
    return kept, labels, rows, None if results is None else results[rows]


def unpack_gt_instances(
    batch_data_samples: SampleList,
) -> tuple[list[InstanceData], list[InstanceData | None], list[dict]]:
    """Ground truth, ignored boxes (None where a sample has none) and metainfo of each sample."""
    gt = [sample.gt_instances for sample in batch_data_samples]
    ignored = [sample.get('ignored_instances') for sample in batch_data_samples]
    return gt, ignored, [sample.metainfo for sample in batch_data_samples]


def empty_instances(
    batch_img_metas: Sequence[dict],
    device: torch.device | str,
    task_type: str,
    instance_results: list[InstanceData] | None = None,
    mask_thr_binary: float = 0,
    box_type: str | type = 'hbox',
    use_box_type: bool = False,
    num_classes: int = 80,
    score_per_cls: bool = False,
) -> list[InstanceData]:
    """Results without instances.

    Args:
        batch_img_metas: B dicts; masks need ``ori_shape``.
        device: of the new tensors.
        task_type: 'bbox' or 'mask'.
        instance_results: B results that are extended; new ones by default.
        mask_thr_binary: masks are boolean where this is at least 0, uint8 otherwise.
        box_type: kind of the boxes, whose number of columns they get.
        use_box_type: whether the boxes are objects of that kind instead of tensors.
        num_classes: C.
        score_per_cls: whether there is a score for each class and the background.

    Returns:
        For each image ``bboxes`` (0, 4), ``scores`` (0,) or (0, C + 1) and ``labels`` (0,); or ``masks`` (0, h, w).

    Raises:
        ArgumentError: another task, or a wrong number of results.
    """
    if task_type not in ('bbox', 'mask'):
        raise ArgumentError("must be 'bbox' or 'mask'", field='task_type', received=task_type)
    if instance_results is not None and len(instance_results) != len(batch_img_metas):
        received = (len(instance_results), len(batch_img_metas))
        raise ArgumentError('there must be one result for each image', field='instance_results', received=received)
    found = []
    for index, meta in enumerate(batch_img_metas):
        result = InstanceData() if instance_results is None else instance_results[index]
        if task_type == 'bbox':
            kind: Any = get_box_type(box_type)[1]
            bboxes = torch.zeros(0, kind.box_dim, device=device)
            result.bboxes = kind(bboxes, clone=False) if use_box_type else bboxes
            result.scores = torch.zeros((0, num_classes + 1) if score_per_cls else (0,), device=device)
            result.labels = torch.zeros(0, dtype=torch.long, device=device)
        else:
            dtype = torch.bool if mask_thr_binary >= 0 else torch.uint8
            result.masks = torch.zeros(0, *meta['ori_shape'][:2], device=device, dtype=dtype)
        found.append(result)
    return found


def samplelist_boxtype2tensor(batch_data_samples: SampleList) -> None:
    """Turn the boxes in ground truth, predictions and ignored instances into tensors, in place."""
    for sample in batch_data_samples:
        for name in ('gt_instances', 'pred_instances', 'ignored_instances'):
            instances = sample.get(name)
            bboxes = None if instances is None else instances.get('bboxes')
            if isinstance(bboxes, BaseBoxes):
                instances.bboxes = bboxes.tensor


def filter_gt_instances(
    batch_data_samples: SampleList, score_thr: float | None = None, wh_thr: tuple[float, float] | None = None
) -> SampleList:
    """Keep the (pseudo) ground truth that scores more than ``score_thr`` and is wider and higher than ``wh_thr``, in place."""
    for sample in batch_data_samples:
        if score_thr is not None:
            sample.gt_instances = sample.gt_instances[sample.gt_instances.scores > score_thr]
        if wh_thr is not None:
            width, height = get_box_wh(sample.gt_instances.bboxes)
            sample.gt_instances = sample.gt_instances[(width > wh_thr[0]) & (height > wh_thr[1])]
    return batch_data_samples


def rename_loss_dict(prefix: str, losses: dict) -> dict:
    """The losses with ``prefix`` before their names."""
    return {f'{prefix}{name}': value for name, value in losses.items()}


def reweight_loss_dict(losses: dict, weight: float) -> dict:
    """Multiply the entries with 'loss' in their names, tensors or lists of them, in the dict that is handed in and returned."""
    for name, value in losses.items():
        if 'loss' in name:
            losses[name] = [each * weight for each in value] if isinstance(value, Sequence) else value * weight
    return losses


class SigmoidGeometricMean(torch.autograd.Function):
    """``sqrt(sigmoid(x) sigmoid(y))``, whose gradient needs no division."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        """Two tensors of one shape to the same shape."""
        x, y = x.sigmoid(), y.sigmoid()
        mean = (x * y).sqrt()
        ctx.save_for_backward(x, y, mean)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """The derivative by x is ``mean (1 - sigmoid(x)) / 2``."""
        x, y, mean = ctx.saved_tensors
        half = grad * mean / 2
        return half * (1 - x), half * (1 - y)


sigmoid_geometric_mean = SigmoidGeometricMean.apply


def interpolate_as(
    source: Tensor, target: Tensor | np.ndarray, mode: str = 'bilinear', align_corners: bool | None = False
) -> Tensor:
    """Resize maps (B, C, h, w) or (C, h, w) to the last two dimensions of ``target``."""
    size = tuple(target.shape[-2:])
    batch = source[None] if source.dim() == 3 else source
    out = F.interpolate(batch, size=size, mode=mode, align_corners=align_corners)
    return out[0] if source.dim() == 3 else out


def aligned_bilinear(tensor: Tensor, factor: int) -> Tensor:
    """Enlarge maps (B, C, H, W) ``factor`` times such that pixel (y, x) of the input lies at (factor y, factor x), shifted by half a factor."""
    if tensor.dim() != 4 or factor < 1 or int(factor) != factor:
        raise ArgumentError('needs (B, C, H, W) maps and a whole factor >= 1', received=(tuple(tensor.shape), factor))
    if factor == 1:
        return tensor
    height, width = (side * factor for side in tensor.shape[2:])
    tensor = F.pad(tensor, (0, 1, 0, 1), mode='replicate')
    tensor = F.interpolate(tensor, size=(height + 1, width + 1), mode='bilinear', align_corners=True)
    tensor = F.pad(tensor, (factor // 2, 0, factor // 2, 0), mode='replicate')
    return tensor[:, :, :height, :width]


def unfold_wo_center(x: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """The neighbours of every pixel: (B, C, H, W) to (B, C, kernel_size**2 - 1, H, W), zeros outside of the map.

    Raises:
        ArgumentError: maps of other dimensions, or an even ``kernel_size``.
    """
    if x.dim() != 4 or kernel_size % 2 == 0:
        received = (tuple(x.shape), kernel_size)
        raise ArgumentError('needs (B, C, H, W) maps and an odd kernel_size', received=received)
    padding = (kernel_size - 1) * dilation // 2
    around = F.unfold(x, kernel_size, padding=padding, dilation=dilation).unflatten(1, (x.size(1), -1))
    middle = kernel_size**2 // 2
    return torch.cat([around[:, :, :middle], around[:, :, middle + 1 :]], dim=2).unflatten(3, x.shape[2:])


def relative_coordinate_maps(
    locations: Tensor, centers: Tensor, strides: Tensor, size_of_interest: int, feat_sizes: tuple[int, int]
) -> Tensor:
    """From each of n centres (n, 2) to each location (H W, 2), over ``strides`` (n,) times ``size_of_interest``: (n, 2, H, W)."""
    difference = (centers[:, None] - locations[None]).permute(0, 2, 1).float()
    scale = strides.float()[:, None, None] * size_of_interest
    return (difference / scale).to(centers.dtype).view(len(centers), 2, *feat_sizes)


def generate_coordinate(featmap_sizes: Sequence[int], device: torch.device | str = 'cuda') -> Tensor:
    """x and y of every pixel in [-1, 1]: (B, 2, H, W) for the shape (B, C, H, W) of a map."""
    batch, _, height, width = featmap_sizes
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=device), torch.linspace(-1, 1, width, device=device), indexing='ij'
    )
    return torch.stack([x, y]).expand(batch, -1, -1, -1)


def flip_tensor(src_tensor: Tensor, flip_direction: str) -> Tensor:
    """Mirror maps (B, C, H, W) 'horizontal', 'vertical' or 'diagonal' (both).

    Raises:
        ArgumentError: other dimensions, or another direction.
    """
    if src_tensor.dim() != 4 or flip_direction not in _FLIPPED:
        received = (tuple(src_tensor.shape), flip_direction)
        raise ArgumentError(f'needs (B, C, H, W) maps and one of {tuple(_FLIPPED)}', received=received)
    return src_tensor.flip(_FLIPPED[flip_direction])


def center_of_mass(mask: Tensor, esp: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Row and column of the centre of a mask (H, W); 0 and 0 where the mask is empty. ``esp`` is the smallest mass."""
    rows, columns = (torch.arange(size, device=mask.device) for size in mask.shape)
    mass = mask.sum().clamp(min=esp)
    return (mask * rows[:, None]).sum() / mass, (mask * columns).sum() / mass


def mask2ndarray(mask: Tensor | np.ndarray | BitmapMasks | PolygonMasks) -> np.ndarray:
    """A mask of any kind as an array; TypeError for other types."""
    if isinstance(mask, (BitmapMasks, PolygonMasks)):
        return mask.to_ndarray()
    if isinstance(mask, Tensor):
        return mask.detach().cpu().numpy()
    if not isinstance(mask, np.ndarray):
        raise TypeError(f'a mask must be a tensor, an array or instance masks. Received: {type(mask).__name__}')
    return mask


def padding_to(input_tensor: Tensor, max_len: int = 300) -> Tensor:
    """Append zeros to (n, ...) up to ``max_len`` rows; longer tensors as they are."""
    missing = max(max_len - len(input_tensor), 0)
    return (
        torch.cat([input_tensor, input_tensor.new_zeros(missing, *input_tensor.shape[1:])]) if missing else input_tensor
    )


def align_tensor(inputs: Sequence[Tensor], max_len: int | None = None) -> Tensor:
    """Stack tensors (n_i, ...), with zeros up to ``max_len`` rows, the longest by default: (B, max_len, ...)."""
    length = max(map(len, inputs)) if max_len is None else max_len
    return torch.stack([padding_to(each, length) for each in inputs])


def make_divisible(value: float, divisor: int, min_value: int | None = None, min_ratio: float = 0.9) -> int:
    """The multiple of ``divisor`` next to ``value``, not below ``min_value`` (``divisor``) nor below ``min_ratio`` of ``value``.

    >>> [make_divisible(value, 8) for value in (3, 12, 33)]
    [8, 16, 32]
    """
    found = max(divisor if min_value is None else min_value, int(value + divisor / 2) // divisor * divisor)
    return found + divisor if found < min_ratio * value else found
