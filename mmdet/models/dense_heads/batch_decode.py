"""The decode of the dense heads for exporters: a whole batch at once, by operations whose sizes never depend on values.

The decode of :class:`BaseDenseHead` drops what is below the threshold first, and works with few rows; no exporter follows that. Here each
level keeps a fixed number of rows, and what does not count gets the score 0. Boxes, scores and labels are the same.

Naming: as in ``base_dense_head``, and k chosen rows of a level, N of all levels.
"""

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from torch import Tensor

from mmdet.core.priors.grid import quotient
from mmdet.errors import ConfigError

from .level_outputs import BatchLevel, flatten_map, widened

# Rows that fill up a level with fewer than are to be chosen; below every logit and probability, and with a sigmoid of 0. A power of two: all of
# bfloat16, float16 and float32 have it, so that a runtime that computes a part of the decode in another type still knows them by their value.
FILLING = -8192.0
_NMS_PRE_RULES = ('pairs', 'priors')


@dataclasses.dataclass(frozen=True)
class BatchCandidates:
    """What goes to the NMS, of every image of a batch.

    Attributes:
        boxes: (B, N, 4) xyxy in pixels of the input; (B, N, C, 4) where every class has a box of its own.
        scores: (B, N), or (B, N, C) where every class of a box is a candidate; 0 for what is none.
        labels: (B, N) int64; None where every class of a box is a candidate.
        num_classes: C.
        groups: (B, N) int64, what the NMS goes by instead of the labels, and their number; None for the labels.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor | None
    num_classes: int
    groups: tuple[Tensor, int] | None = None

    def pairs(self) -> 'BatchCandidates':
        """The same candidates, each with one label."""
        if self.labels is not None:
            return self
        classes = torch.arange(self.scores.shape[2], device=self.scores.device)
        boxes = (
            self.boxes if self.boxes.dim() == 4 else self.boxes.unsqueeze(2).expand(-1, -1, self.scores.shape[2], -1)
        )
        return BatchCandidates(
            boxes.flatten(1, 2),
            self.scores.flatten(1),
            classes.expand(self.scores.shape).flatten(1),
            self.num_classes,
        )


def without_empty(found: BatchCandidates) -> BatchCandidates:
    """The candidates without those that the clipping left nothing of. A larger least size is in pixels of the original image, and not known here."""
    sides = found.boxes[..., 2:] - found.boxes[..., :2]
    seen = (sides[..., 0] > 0) & (sides[..., 1] > 0)
    seen = seen if found.scores.dim() == seen.dim() else seen.unsqueeze(-1)
    return dataclasses.replace(found, scores=found.scores.masked_fill(~seen, 0))


def padded_topk(values: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ``count`` largest of ``values`` (B, n), also where n is smaller.

    A plain ``topk(min(count, n))`` becomes a constant in a traced graph, and is wrong at every other size.

    Returns:
        values, descending, positions (0 where there is none), and whether there is one, (B, count) each.
    """
    top, index = F.pad(values, (0, count), value=FILLING).topk(count)
    valid = top > FILLING  # not by the number of values, which a tracer may write down as a constant
    return top, index.masked_fill(~valid, 0), valid


def rows_of(values: Tensor, rows: Tensor | None) -> Tensor:
    """Rows (B, k) of values (B, n) or (B, n, D); None takes all."""
    if rows is None:
        return values
    return values.gather(1, rows if values.dim() == 2 else rows.unsqueeze(-1).expand(-1, -1, values.shape[2]))


class BatchDecode:
    """The part of :class:`BaseDenseHead` that exporters use; its methods come from there."""

    num_classes: int
    prior_generator: Any
    # See BaseDetector.
    raw_kind = 'maps'
    # Names of the lists that forward() returns in evaluation mode, for the outputs of an exported network.
    output_names: tuple[str, ...] = ('cls', 'reg')
    # Whether predict() runs an NMS.
    suppresses = True

    # What BaseDenseHead has.
    _settings: Any
    _prepared: Any
    _ranking: Any
    decode_boxes: Any

    def batch_candidates(
        self,
        outputs: tuple[Any, ...],
        sizes_hw: Tensor,
        input_hw: tuple[int, int],
        cfg: dict | None = None,
        with_nms: bool = True,
    ) -> BatchCandidates:
        """The candidates of raw outputs.

        Args:
            outputs: what ``forward`` returns in evaluation mode.
            sizes_hw: (B, 2) height and width of each image in pixels, before padding.
            input_hw: those of the padded images.
            cfg: settings instead of ``test_cfg``.
            with_nms: whether an NMS follows at once, so that its settings decide, or the candidates are the result.
        """
        settings = self._settings(cfg)
        heights, widths = sizes_hw.to(torch.float32).unbind(1)
        found = self._batch_candidates(self._batch_levels(*outputs), settings, (heights, widths))
        return found if settings.get('min_bbox_size', -1) < 0 else without_empty(found)

    def _batch_levels(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], factors: list[Tensor] | None = None
    ) -> list[BatchLevel]:
        levels = []
        for number, (cls, reg) in enumerate(zip(cls_scores, bbox_preds, strict=True)):
            count = self.prior_generator.num_base_priors[number]
            scores, boxes = (flatten_map(widened(maps), count) for maps in (cls, reg))
            factor = None if factors is None else flatten_map(widened(factors[number]), count)[..., 0]
            size_hw = (cls.shape[2], cls.shape[3])
            stride = self.prior_generator.strides[number][0]
            level = BatchLevel(scores, boxes, factor, scores.new_zeros(0), stride, number=number, size_hw=size_hw)
            levels.append(self._prepared(level))
        return levels

    def _batch_candidates(
        self, levels: list[BatchLevel], cfg: ConfigDict, limits: tuple[Tensor, Tensor]
    ) -> BatchCandidates:
        """:meth:`BaseDenseHead._candidates` of a batch; heads that replace that one replace this one too."""
        parts = []
        for level in levels:
            ranking, activated = self._ranking(level)
            rows, scores, labels = self._chosen(ranking, activated, cfg)
            if level.factors is not None:
                factors = rows_of(level.factors, rows).sigmoid()
                scores = scores * (factors if labels is not None else factors.unsqueeze(-1))
            parts.append((self._boxes_of_rows(level, rows, limits), scores, *([] if labels is None else [labels])))
        boxes, scores, *more = (torch.cat(fields, dim=1) for fields in zip(*parts))
        return BatchCandidates(boxes, scores, more[0] if more else None, self.num_classes)

    def _chosen(self, ranking: Tensor, activated: bool, cfg: ConfigDict) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """The best of ``ranking`` (B, P, C), by ``nms_pre`` and ``nms_pre_rule``.

        Returns:
            rows (B, k), None for all; scores (B, k) and labels (B, k), or scores (B, k, C) and None for all classes of the rows. Scores that
            are not above the threshold are 0.
        """
        threshold, nms_pre = cfg.get('score_thr', 0), cfg.get('nms_pre', -1)
        labels = rows = valid = None
        top = ranking
        if nms_pre > 0 and candidate_rule(cfg) == 'pairs':
            top, pairs, valid = padded_topk(ranking.flatten(1), nms_pre)
            rows, labels = quotient(pairs, self.num_classes)
        elif nms_pre > 0:
            _, rows, valid = padded_topk(ranking.amax(-1), nms_pre)
            top, valid = rows_of(ranking, rows), valid.unsqueeze(-1)
        scores = top if activated else top.sigmoid()
        counts = scores > threshold if valid is None else (scores > threshold) & valid
        return rows, scores.masked_fill(~counts, 0), labels

    def _boxes_of_rows(self, level: BatchLevel, rows: Tensor | None, limits: tuple[Tensor, Tensor]) -> Tensor:
        """Boxes (B, k, 4) of rows (B, k) of a level, or of all."""
        outputs = rows_of(level.bbox_pred, rows)
        if rows is None:
            rows = torch.arange(outputs.shape[1], device=outputs.device).expand(outputs.shape[:2])
        priors = self.prior_generator.sparse_priors(rows, level.size_hw, level.number, outputs.dtype, outputs.device)
        return self.decode_boxes(outputs, priors, level.stride, limits)

    def batch_detections(self, boxes: Tensor, labels: Tensor, images: Tensor, found: BatchCandidates) -> Tensor:
        """What becomes of the boxes (M, 4) that the NMS left, of these labels (M,) and images (M,)."""
        return boxes


def candidate_rule(cfg: ConfigDict) -> str:
    """The setting ``nms_pre_rule``, ``'pairs'`` unless given.

    Raises:
        ConfigError: an unknown rule.
    """
    rule = cfg.get('nms_pre_rule', 'pairs')
    if rule not in _NMS_PRE_RULES:
        raise ConfigError(f'must be one of {_NMS_PRE_RULES}', field='test_cfg.nms_pre_rule', received=rule)
    return rule
