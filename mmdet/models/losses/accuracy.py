"""Share of correct classifications."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdet.errors import ArgumentError


def accuracy(
    pred: Tensor, target: Tensor, topk: int | Sequence[int] = 1, thresh: float | None = None
) -> Tensor | list[Tensor]:
    """In percent, how many samples have their class among the k largest scores.

    Args:
        pred: (N, C) scores.
        target: (N,) classes.
        topk: k, or several of them.
        thresh: a score counts only above this; None: always.

    Returns:
        (1,) for one k, a list of them for several; 0 without samples.

    Raises:
        ArgumentError: wrong dimensions, different N, or a k above C.
    """
    ks = (topk,) if isinstance(topk, int) else tuple(topk)
    if pred.dim() != 2 or target.dim() != 1 or len(pred) != len(target):
        raise ArgumentError('pred must be (N, C) and target (N,)', received=(tuple(pred.shape), tuple(target.shape)))
    if max(ks) > pred.size(1):
        raise ArgumentError(f'exceeds the {pred.size(1)} classes of pred', field='topk', received=topk)
    values, labels = pred.topk(max(ks), dim=1)
    correct = labels == target[:, None]
    if thresh is not None:
        correct &= values > thresh
    found = [100 * correct[:, :k].sum().float().reshape(1) / max(len(pred), 1) for k in ks]
    return found[0] if isinstance(topk, int) else found


class Accuracy(nn.Module):
    """:func:`accuracy` as a module; ``topk`` and ``thresh`` as there."""

    def __init__(self, topk: int | Sequence[int] = (1,), thresh: float | None = None):
        super().__init__()
        self.topk, self.thresh = topk, thresh

    def forward(self, pred: Tensor, target: Tensor) -> Tensor | list[Tensor]:
        """See :func:`accuracy`."""
        return accuracy(pred, target, self.topk, self.thresh)
