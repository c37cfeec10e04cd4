"""Head of PAA, probabilistic anchor assignment (Kim and Lee, ECCV 2020, arXiv 2007.08103).

Naming: B images, L levels, P anchors of an image (all levels, finest first), C classes, N candidates of the batch (anchors that overlap
a ground-truth box enough), G boxes that have candidates, M most candidates of a box, n detections of one image.
"""

import dataclasses
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet.core.boxes import bbox_overlaps
from mmdet.errors import ConfigError
from mmdet.registry import MODELS

from .anchor_head import AnchorHead, _Ignored, flatten_levels
from .atss_head import ATSSHead
from .base_dense_head import LevelOutputs, Losses, widened
from .batch_decode import BatchCandidates

_COVARIANCES = ('full', 'tied', 'diag', 'spherical')
# The fit of the mixture, as scikit-learn does it by default: at most so many steps, until the mean log-likelihood changes by less than
# _TOLERANCE; variances are enlarged by _MIN_VARIANCE.
_MAX_STEPS, _TOLERANCE, _MIN_VARIANCE = 100, 1e-3, 1e-6
# Boxes vote for a detection if their IoU with it is above _MIN_VOTE_IOU, with weights exp(-(1 - IoU)^2 / _VOTE_WIDTH) * score.
_MIN_VOTE_IOU, _VOTE_WIDTH = 0.01, 0.025
_EPS = 1e-12


@MODELS.register_module()
class PAAHead(ATSSHead):
    """ATSS's layers, trained on the anchors that the network itself does well on.

    The assigner gives candidates to every box. Of those with the least losses on each level, a mixture of two Gaussians over the loss tells
    the positives, the easy component up to its likeliest member; the other candidates become background. The third output is the IoU of
    the predicted box. Anchors are ranked, and thresholded, by the square root of class score times IoU.

    As a stage of a composite detector, and under test-time augmentation of candidates, boxes do not vote: votes need the candidates of
    one image at one scale.

    Args:
        topk: candidates of a box on a level that the mixture is fitted to.
        score_voting: replace each detection by the average of the candidates around it.
        covariance_type: of the mixture, one of scikit-learn's names; in one dimension all but ``'tied'`` mean the same.
        *args, **kwargs: arguments of :class:`ATSSHead`; ``loss_centerness`` is the IoU loss.

    Raises:
        ConfigError: another ``covariance_type``.
    """

    def __init__(
        self, *args: Any, topk: int = 9, score_voting: bool = True, covariance_type: str = 'diag', **kwargs: Any
    ):
        if covariance_type not in _COVARIANCES:
            raise ConfigError(f'must be one of {_COVARIANCES}', field='covariance_type', received=covariance_type)
        self.topk, self.with_score_voting, self.covariance_type = topk, score_voting, covariance_type
        super().__init__(*args, **kwargs)

    # ------------------------------------------------------------------------------------------------ losses

    def loss_by_feat(  # type: ignore[override]
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        iou_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
    ) -> Losses:
        """Losses of the raw outputs: ``loss_cls``, ``loss_bbox``, ``loss_iou``; divided by the positives of this process."""
        sizes, device = [(score.size(2), score.size(3)) for score in cls_scores], cls_scores[0].device
        anchors, flags = self.get_anchors(sizes, batch_img_metas, device=device)
        found = self.get_targets(anchors, flags, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore)
        labels, weights, targets, bbox_weights, pos_inds, pos_gts = found
        # In float32 also under autocast: these are sums over tens of thousands of terms.
        with torch.autocast(device.type, enabled=False):
            scores, deltas, logits = (
                widened(flatten_levels(maps)).flatten(0, 1) for maps in (cls_scores, bbox_preds, iou_preds)
            )
            priors, num_images = torch.cat(anchors[0]), len(batch_img_metas)
            rows = torch.cat([inds + i * len(priors) for i, inds in enumerate(pos_inds)])  # (N,)
            first_gts = np.cumsum([0, *(len(gt.labels) for gt in batch_gt_instances)])
            gts = torch.cat([inds + int(first) for inds, first in zip(pos_gts, first_gts)])
            level_ends = torch.tensor([len(level) for level in anchors[0]], device=device).cumsum(0)
            levels = torch.bucketize(rows % len(priors), level_ends, right=True)
            flat = torch.cat(labels), torch.cat(weights), torch.cat(targets), torch.cat(bbox_weights)
            losses = self.get_pos_loss(priors[rows % len(priors)], scores, deltas, *flat, rows)
            chosen = self.paa_reassign(losses, gts, levels)  # (N,)
            all_labels = flat[0].clone()
            all_labels[rows[~chosen]] = self.num_classes
            pos = rows[chosen]
            boxes = self.bbox_coder.decode(priors[pos % len(priors)], deltas[pos])
            gt_boxes = flat[2][pos]
            overlaps = bbox_overlaps(boxes.detach(), gt_boxes, is_aligned=True)  # (n,)
            loss_cls = self.loss_cls(scores, all_labels, flat[1], avg_factor=max(len(pos), num_images))
            if len(pos) == 0:
                return dict(loss_cls=loss_cls, loss_bbox=deltas.sum() * 0, loss_iou=logits.sum() * 0)
            weight_sum = overlaps.sum().clamp(min=_EPS)
            return dict(
                loss_cls=loss_cls,
                loss_bbox=self.loss_bbox(boxes, gt_boxes, overlaps.clamp(min=_EPS), avg_factor=weight_sum),
                loss_iou=self.loss_centerness(logits[pos], overlaps[:, None], avg_factor=len(pos)),
            )

    @torch.no_grad()
    def get_pos_loss(
        self,
        priors: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        label: Tensor,
        label_weight: Tensor,
        bbox_target: Tensor,
        bbox_weight: Tensor,
        pos_inds: Tensor,
    ) -> Tensor:
        """What each candidate would cost as a positive, its class loss plus its box loss: (N,).

        Args:
            priors: (N, 4) anchors of the candidates.
            cls_score, bbox_pred, label, label_weight, bbox_target, bbox_weight: outputs and targets of all anchors, first dimension B P.
            pos_inds: (N,) rows of the candidates in these.
        """
        if len(pos_inds) == 0:
            return priors.new_zeros(0)
        options: dict = dict(avg_factor=1.0, reduction_override='none')
        of_class = self.loss_cls(cls_score[pos_inds], label[pos_inds], label_weight[pos_inds], **options)
        boxes = self.bbox_coder.decode(priors, bbox_pred[pos_inds])
        return of_class.sum(-1) + self.loss_bbox(boxes, bbox_target[pos_inds], bbox_weight[pos_inds], **options)

    def paa_reassign(self, pos_losses: Tensor, pos_gt_inds: Tensor, pos_levels: Tensor) -> Tensor:
        """Mask (N,) of the candidates that are positives, given the loss, the box, and the level of each, (N,)."""
        if len(pos_losses) == 0:
            return torch.zeros_like(pos_gt_inds, dtype=torch.bool)
        # One way to the host and back for the whole batch: the steps of the fit are small and many.
        table = torch.stack([pos_losses.double(), pos_gt_inds.double(), pos_levels.double()]).cpu().numpy()
        costs, gts, levels = table
        # Non-finite losses are for the runner to stop at, not for the fit.
        costs = np.nan_to_num(costs, nan=1e30, posinf=1e30)
        by_level = np.lexsort((costs, levels, gts))
        kept = by_level[_ranks(gts[by_level] * (levels.max() + 1) + levels[by_level]) < self.topk]
        kept = kept[np.lexsort((costs[kept], gts[kept]))]  # box by box, the least loss first
        ranks = _ranks(gts[kept])
        rows = np.cumsum(ranks == 0) - 1
        values = np.full((rows[-1] + 1, ranks.max() + 1), np.nan)
        values[rows, ranks] = costs[kept]
        chosen = np.zeros(len(costs), bool)
        chosen[kept] = easy_component(values, tied=self.covariance_type == 'tied')[rows, ranks]
        return torch.from_numpy(chosen).to(pos_losses.device)

    @torch.no_grad()
    def get_targets(  # type: ignore[override]  # as in mmdetection: other results than the base class
        self,
        anchor_list: list[list[Tensor]],
        valid_flag_list: list[list[Tensor]],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: _Ignored = None,
        unmap_outputs: bool = True,
    ) -> tuple[list[Tensor], ...]:
        """The candidates of a batch; arguments as in :meth:`AnchorHead.get_targets`.

        Returns:
            by image ``labels`` (P,), ``label_weights`` (P,), ``bbox_targets`` (P, 4) in pixels, ``bbox_weights`` (P, 4), and rows (n,)
            and boxes (n,) of the candidates.
        """
        ignored = batch_gt_instances_ignore or [None] * len(anchor_list)
        single = []
        images = zip(anchor_list, valid_flag_list, batch_gt_instances, batch_img_metas, ignored, strict=True)
        for anchors, flags, gt, meta, ignore in images:
            result = AnchorHead._get_targets_single(
                self, torch.cat(anchors), torch.cat(flags), gt, meta, ignore, unmap_outputs
            )
            labels, sampled = result[0], result[6]
            rows = ((labels >= 0) & (labels < self.num_classes)).nonzero().squeeze(1)
            single.append((*result[:4], rows, sampled.pos_assigned_gt_inds))
        return tuple(map(list, zip(*single)))

    # ------------------------------------------------------------------------------------------------ decode

    def _settings(self, cfg: dict | Config | None) -> ConfigDict:
        settings = super()._settings(cfg)
        return settings if 'nms_pre_rule' in settings else ConfigDict(settings, nms_pre_rule='priors')

    def _prepared(self, level: LevelOutputs) -> LevelOutputs:
        assert level.factors is not None
        scores = self.to_probability(level.scores.float()) * level.factors.float().sigmoid()[..., None]
        return dataclasses.replace(level, scores=scores.sqrt(), factors=None, activated=True)

    def batch_candidates(
        self,
        outputs: tuple[Any, ...],
        sizes_hw: Tensor,
        input_hw: tuple[int, int],
        cfg: dict | None = None,
        with_nms: bool = True,
    ) -> BatchCandidates:
        """See the base class; the smallest size is not looked at where the NMS follows."""
        cfg = ConfigDict(self._settings(cfg), min_bbox_size=-1) if with_nms else cfg
        return super().batch_candidates(outputs, sizes_hw, input_hw, cfg, with_nms)

    def batch_detections(self, boxes: Tensor, labels: Tensor, images: Tensor, found: BatchCandidates) -> Tensor:
        """The boxes after the votes."""
        if not self.with_score_voting:
            return boxes
        voters = found.boxes[images]  # (M, N, 4)
        if found.labels is None:
            scores = found.scores[images, :, labels]
        else:
            scores = found.scores[images] * (found.labels[images] == labels[:, None])
        return voted(boxes[:, None], voters, scores[:, None])[:, 0]

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: dict | Config | None = None,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        settings = self._settings(cfg)
        if not with_nms:
            return super()._bbox_post_process(results, settings, rescale, False, img_meta)
        settings = ConfigDict(settings, min_bbox_size=-1)  # as in the reference: the smallest size is not looked at
        candidates = super()._bbox_post_process(results, settings, rescale, False, img_meta)
        kept = super()._bbox_post_process(candidates[:], settings)
        return self.score_voting(kept, candidates) if self.with_score_voting else kept

    @staticmethod
    def score_voting(detections: InstanceData, candidates: InstanceData) -> InstanceData:
        """Replace the box of each detection by the weighted average of the candidates of its class that overlap it.

        Args:
            detections, candidates: ``bboxes`` (n, 4), ``scores`` (n,), ``labels`` (n,).

        Returns:
            the detections, class by class, those of a class in their order.
        """
        detections = detections[detections.labels.argsort(stable=True)]
        boxes = detections.bboxes.clone()
        for label in detections.labels.unique():
            own = detections.labels == label
            voters = candidates[candidates.labels == label]
            boxes[own] = voted(boxes[own], voters.bboxes, voters.scores)
        detections.bboxes = boxes
        return detections


def voted(boxes: Tensor, voters: Tensor, scores: Tensor) -> Tensor:
    """The weighted averages (..., m, 4) of the voters (..., n, 4) that overlap each of the boxes (..., m, 4); scores (..., n) or (..., m, n)."""
    overlaps = bbox_overlaps(boxes, voters)  # (..., m, n)
    weights = (-(1 - overlaps).square() / _VOTE_WIDTH).exp() * scores * (overlaps > _MIN_VOTE_IOU)
    total = weights.sum(-1, keepdim=True)
    # A box without area overlaps nothing, itself included.
    return torch.where(total > 0, weights @ voters / total.clamp(min=_EPS), boxes)


def _ranks(groups: np.ndarray) -> np.ndarray:
    """Place (n,) of each element in its group, of groups (n,) that lie together.

    >>> _ranks(np.array([3, 3, 3, 5, 7, 7])).tolist()
    [0, 1, 2, 0, 0, 1]
    """
    first = np.concatenate([[True], groups[1:] != groups[:-1]])
    places = np.arange(len(groups))
    return places - np.maximum.accumulate(np.where(first, places, 0))


def easy_component(values: np.ndarray, tied: bool = False) -> np.ndarray:
    """Members of the lower of two Gaussians that are not beyond its likeliest one, for each of several samples.

    A mixture of two Gaussians is fitted to every row by expectation maximisation, which starts with means at the least and the largest value,
    equal weights and variances of 1, and stops as scikit-learn's ``GaussianMixture`` does.

    Args:
        values: (G, M) float64, ascending in each row, NaN behind the last value.
        tied: both Gaussians have one variance.

    Returns:
        (G, M) bool: the values of the component that began at the least value, up to the one at which the density of the mixture is highest;
        none in rows of fewer than two values.
    """
    valid = ~np.isnan(values)
    counts = valid.sum(1)
    x = np.where(valid, values, 0)
    # In single precision as in the reference, whose losses are: it shows where a component shrinks to a point.
    powers = np.stack([x, np.square(x.astype(np.float32)).astype(np.float64)], axis=-1)  # (G, M, 2) x, x^2
    ends = powers[np.arange(len(x))[:, None], np.stack([np.zeros_like(counts), np.maximum(counts, 1) - 1], axis=1)]
    means, squares = ends[..., 0], ends[..., 1]  # (G, 2) each
    variances, shares = np.ones_like(means), np.full_like(means, 0.5)
    likelihood, running = np.full(len(x), -np.inf), counts > 1
    for _ in range(_MAX_STEPS):
        now = running.nonzero()[0]
        if len(now) == 0:
            break
        part, mask = powers[now], valid[now]
        joint, density = _log_densities(part, means[now], squares[now], variances[now], shares[now])
        members = np.exp(joint - density[..., None]) * mask[..., None]  # (g, M, 2)
        mass = members.sum(1) + 10 * np.finfo(np.float64).eps  # (g, 2)
        means[now] = (members * part[..., :1]).sum(1) / mass
        squares[now] = np.square(means[now])
        spread = (members * part[..., 1:]).sum(1) / mass - squares[now]
        if tied:
            spread[:] = (spread * mass).sum(1, keepdims=True) / mass.sum(1, keepdims=True)
        variances[now] = np.maximum(spread, 0) + _MIN_VARIANCE
        shares[now] = mass / mass.sum(1, keepdims=True)
        average = (density * mask).sum(1) / counts[now]
        running[now] = np.abs(average - likelihood[now]) >= _TOLERANCE
        likelihood[now] = average
    joint, density = _log_densities(powers, means, squares, variances, shares)
    easy = valid & (joint[..., 0] >= joint[..., 1]) & (counts > 1)[:, None]
    likeliest = np.where(easy, density, -np.inf).argmax(1)
    return easy & (np.arange(x.shape[1]) <= likeliest[:, None])


def _log_densities(
    powers: np.ndarray, means: np.ndarray, squares: np.ndarray, variances: np.ndarray, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the weighted densities of both Gaussians (G, M, 2), and of their sum (G, M), at values given by x, x^2 (G, M, 2); ``squares`` (G, 2) of the means."""
    precision = 1 / np.sqrt(variances)
    weight = np.square(precision)
    distance = (squares * weight)[:, None] - 2 * powers[..., :1] * (means * weight)[:, None]
    distance += powers[..., 1:] * weight[:, None]
    joint = -0.5 * (np.log(2 * np.pi) + distance) + np.log(precision)[:, None] + np.log(shares)[:, None]
    return joint, np.logaddexp(joint[..., 0], joint[..., 1])
