"""What a box coder is: it turns boxes into what a network predicts, and back."""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmdet.errors import ArgumentError

# (height, width), or one pair for each image of a batch.
MaxShape = Sequence[int] | Sequence[Sequence[int]] | Tensor


class BaseBBoxCoder(metaclass=ABCMeta):
    """A box coder.

    Args:
        use_box_type: whether :meth:`decode` returns ``HorizontalBoxes`` instead of a tensor.
        **kwargs: accepted for subclasses.

    Attributes:
        encode_size: how many numbers encode a box.
    """

    encode_size = 4

    def __init__(self, use_box_type: bool = False, **kwargs: Any):
        self.use_box_type = use_box_type

    @abstractmethod
    def encode(self, bboxes: Any, gt_bboxes: Any) -> Tensor:
        """What a network should predict at ``bboxes`` so that the decoded boxes are ``gt_bboxes``."""

    @abstractmethod
    def decode(self, bboxes: Any, bboxes_pred: Tensor) -> Any:
        """The boxes that a network predicts at ``bboxes``."""


def check_pairs(bboxes: Tensor, others: Tensor, field: str, columns: int = 4) -> None:
    """Refuse boxes and their partners (targets, predictions) that do not fit together.

    Raises:
        ArgumentError: they are not equally many, or the last dimension of one is not ``columns`` (of ``others``: a multiple of 4).
    """
    if bboxes.shape[:-1] != others.shape[:-1] or bboxes.size(-1) != columns or others.size(-1) % 4:
        message = f'(..., n, {columns}) and (..., n, 4) must be equally many'
        raise ArgumentError(message, field=field, received=(tuple(bboxes.shape), tuple(others.shape)))
