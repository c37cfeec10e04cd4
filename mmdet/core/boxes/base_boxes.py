"""Boxes as objects that know how to flip, scale and clip themselves, as plug-ins of mmdetection 3.x expect them.

The toolbox's own models compute with plain tensors; :func:`~mmdet.core.boxes.transforms.get_box_tensor` is the way from one to the other.
Naming: D numbers a box (``box_dim``), n boxes; ``img_shape`` is (height, width), while points, distances and factors are (x, y).
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from mmdet.errors import ArgumentError
from mmdet.registry import BOX_TYPES

BoxType = str | type
CONVERTERS: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {}
"""Functions of one tensor, by the names of the kinds that they read and return."""


def get_box_type(box_type: BoxType) -> tuple[str, type['BaseBoxes']]:
    """The (lower-case) name and the class of a registered kind of boxes, given either of them; the case of the name does not matter.

    Raises:
        ArgumentError: the name or class is not registered; it is an AssertionError too.
        KeyError: neither a name nor a class of boxes.
    """
    if isinstance(box_type, str):
        if box_type.lower() not in BOX_TYPES:
            raise ArgumentError(f'must be one of {sorted(BOX_TYPES)}', field='box_type', received=box_type)
        return box_type.lower(), BOX_TYPES[box_type.lower()]
    if not (isinstance(box_type, type) and issubclass(box_type, BaseBoxes)):
        raise KeyError(f'box_type must be a name or a class derived from BaseBoxes. Received: {box_type!r}')
    for name, registered in BOX_TYPES.items():
        if registered is box_type:
            return name, box_type
    raise ArgumentError(f'must be one of {sorted(BOX_TYPES)}', field='box_type', received=box_type.__name__)


class BaseBoxes(metaclass=ABCMeta):
    """n boxes in ``tensor`` (..., D), with the methods that transforms need and the most common ones of tensors.

    It is no tensor: torch functions and arithmetic refuse it. Methods whose names end with ``_`` change the boxes in place and return None.
    Indexing and the tensor-like methods return boxes of the same class and never touch the last dimension; an index that leaves a single
    box keeps its row, (1, D). ``new_*`` methods return plain tensors.

    Args:
        data: tensor, array or nested sequence (..., D) with at least two dimensions; anything empty becomes (0, D).
        dtype, device: of ``tensor``; by default those of ``data``.
        clone: copy; False shares the memory of a tensor or array.

    Raises:
        ArgumentError: another shape; it is an AssertionError too.
    """

    box_dim: ClassVar[int] = 0

    def __init__(
        self,
        data: Tensor | np.ndarray | Sequence,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        clone: bool = True,
    ):
        tensor = torch.as_tensor(data, dtype=dtype, device=device)
        if clone:
            tensor = tensor.clone()
        if tensor.numel() == 0:
            tensor = tensor.reshape(0, self.box_dim)
        if tensor.dim() < 2 or tensor.size(-1) != self.box_dim:
            raise ArgumentError(f'boxes must be (..., {self.box_dim})', field='data', received=tuple(tensor.shape))
        self.tensor = tensor

    def _like(self, tensor: Tensor) -> Self:
        return type(self)(tensor, clone=False)

    def convert_to(self, dst_type: BoxType) -> 'BaseBoxes':
        """These boxes as another registered kind; the same object for its own kind. ArgumentError where no converter is registered."""
        name, cls = get_box_type(dst_type)
        own = get_box_type(type(self))[0]
        return self if name == own else cls(convert_tensor(self.tensor, own, name), clone=False)

    def empty_boxes(self, dtype: torch.dtype | None = None, device: str | torch.device | None = None) -> Self:
        """No box, (0, D), of the same class."""
        return self._like(self.tensor.new_empty((0, self.box_dim), dtype=dtype, device=device))

    def fake_boxes(
        self,
        sizes: Sequence[int],
        fill: float = 0,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
    ) -> Self:
        """Boxes of shape ``sizes`` (..., D), all of whose numbers are ``fill``."""
        return self._like(self.tensor.new_full(tuple(sizes), fill, dtype=dtype, device=device))

    # Indexing.

    def _checked(self, index: Any) -> Any:
        """``index`` with arrays as tensors; ArgumentError if it would reach into the last dimension."""
        if isinstance(index, np.ndarray):
            index = torch.as_tensor(index, device=self.device)
        if isinstance(index, int | slice):
            return index
        parts = index if isinstance(index, tuple) else (index,)
        reached = sum(
            0 if part is None else part.dim() if isinstance(part, Tensor) and part.dtype == torch.bool else 1
            for part in parts
            if part is not Ellipsis
        )
        if any(part is Ellipsis for part in parts[:-1]) or reached >= self.tensor.dim():
            message = (
                f'must leave the last dimension of {tuple(self.shape)} alone, and may have an ellipsis at the end only'
            )
            raise ArgumentError(message, field='index', received=index)
        return index

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Any) -> Self:
        part = self.tensor[self._checked(index)]
        return self._like(part.reshape(1, -1) if part.dim() == 1 else part)

    def __setitem__(self, index: Any, values: Self) -> None:
        if type(values) is not type(self):
            raise ArgumentError(f'must be {type(self).__name__}', field='values', received=type(values).__name__)
        self.tensor[self._checked(index)] = values.tensor

    def __deepcopy__(self, memo: dict) -> Self:
        return self.clone()

    def __repr__(self) -> str:
        return f'{type(self).__name__}(\n{self.tensor})'

    # As of tensors.

    @property
    def shape(self) -> torch.Size:
        return self.tensor.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def size(self, dim: int | None = None) -> Any:
        """As of a tensor, like the methods below that have no text."""
        return self.tensor.size() if dim is None else self.tensor.size(dim)

    def dim(self) -> int:
        return self.tensor.dim()

    def numel(self) -> int:
        return self.tensor.numel()

    def numpy(self) -> np.ndarray:
        return self.tensor.numpy()

    def new_tensor(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.tensor.new_tensor(*args, **kwargs)

    def new_full(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.tensor.new_full(*args, **kwargs)

    def new_empty(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.tensor.new_empty(*args, **kwargs)

    def new_ones(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.tensor.new_ones(*args, **kwargs)

    def new_zeros(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.tensor.new_zeros(*args, **kwargs)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        return self._like(self.tensor.to(*args, **kwargs))

    def cpu(self) -> Self:
        return self._like(self.tensor.cpu())

    def cuda(self, *args: Any, **kwargs: Any) -> Self:
        return self._like(self.tensor.cuda(*args, **kwargs))

    def clone(self) -> Self:
        return self._like(self.tensor.clone())

    def detach(self) -> Self:
        return self._like(self.tensor.detach())

    def view(self, *shape: int) -> Self:
        return self._like(self.tensor.view(*shape))

    def reshape(self, *shape: int) -> Self:
        return self._like(self.tensor.reshape(*shape))

    def expand(self, *sizes: int) -> Self:
        return self._like(self.tensor.expand(*sizes))

    def repeat(self, *sizes: int) -> Self:
        return self._like(self.tensor.repeat(*sizes))

    def _leaves_last(self, *dims: int) -> None:
        if any(dim in (-1, self.tensor.dim() - 1) for dim in dims):
            raise ArgumentError('the last dimension must stay as it is', field='dim', received=dims)

    def transpose(self, dim0: int, dim1: int) -> Self:
        self._leaves_last(dim0, dim1)
        return self._like(self.tensor.transpose(dim0, dim1))

    def permute(self, *dims: int) -> Self:
        self._leaves_last(*dims[:-1])
        return self._like(self.tensor.permute(*dims))

    def split(self, split_size_or_sections: int | Sequence[int], dim: int = 0) -> list[Self]:
        self._leaves_last(dim)
        return [self._like(part) for part in self.tensor.split(split_size_or_sections, dim)]

    def chunk(self, chunks: int, dim: int = 0) -> list[Self]:
        self._leaves_last(dim)
        return [self._like(part) for part in self.tensor.chunk(chunks, dim)]

    def unbind(self, dim: int = 0) -> list[Self]:
        self._leaves_last(dim)
        return [self._like(part) for part in self.tensor.unbind(dim)]

    def flatten(self, start_dim: int = 0, end_dim: int = -2) -> Self:
        self._leaves_last(start_dim, end_dim)
        return self._like(self.tensor.flatten(start_dim, end_dim))

    def squeeze(self, dim: int | None = None) -> Self:
        """Without dimensions of length 1, but always (n, D) at least."""
        if dim is not None:
            return self if dim in (-1, self.tensor.dim() - 1) else self._like(self.tensor.squeeze(dim))
        kept = [length for length in self.shape[:-1] if length != 1] or [1]
        return self._like(self.tensor.reshape(*kept, self.box_dim))

    def unsqueeze(self, dim: int) -> Self:
        if dim in (-1, self.tensor.dim()):
            raise ArgumentError('the last dimension must stay as it is', field='dim', received=dim)
        return self._like(self.tensor.unsqueeze(dim))

    @classmethod
    def _join(cls, function: Callable[..., Tensor], box_list: Sequence[Self], dim: int) -> Self:
        if not isinstance(box_list, Sequence):
            raise ArgumentError('must be a sequence of boxes', field='box_list', received=type(box_list).__name__)
        if len(box_list) == 0:
            raise ValueError(f'box_list must be a sequence of at least one element. Received: {box_list!r}')
        dims = {box_list[0].dim() - 1, box_list[0].dim()} if function is torch.stack else {box_list[0].dim() - 1}
        if (
            not all(isinstance(boxes, cls) for boxes in box_list)
            or dim == -1
            or (function is torch.cat and dim in dims)
        ):
            message = f'must hold {cls.__name__} only, and be joined along another dimension than the last'
            raise ArgumentError(message, field='box_list', received=(list(map(type, box_list)), dim))
        return cls(function([boxes.tensor for boxes in box_list], dim=dim), clone=False)

    @classmethod
    def cat(cls, box_list: Sequence[Self], dim: int = 0) -> Self:
        """Boxes joined along an existing dimension. ValueError for an empty list, ArgumentError for other classes."""
        return cls._join(torch.cat, box_list, dim)

    @classmethod
    def stack(cls, box_list: Sequence[Self], dim: int = 0) -> Self:
        """Boxes joined along a new dimension, otherwise as :meth:`cat`."""
        return cls._join(torch.stack, box_list, dim)

    # What each kind of boxes defines.

    @property
    @abstractmethod
    def centers(self) -> Tensor:
        """(..., 2) x, y."""

    @property
    @abstractmethod
    def areas(self) -> Tensor:
        """(...,) areas in square pixels."""

    @property
    @abstractmethod
    def widths(self) -> Tensor:
        """(...,) widths in pixels."""

    @property
    @abstractmethod
    def heights(self) -> Tensor:
        """(...,) heights in pixels."""

    @abstractmethod
    def flip_(self, img_shape: tuple[int, int], direction: str = 'horizontal') -> None:
        """Mirror the boxes with their image; ``'horizontal'``, ``'vertical'`` or ``'diagonal'`` (both)."""

    @abstractmethod
    def translate_(self, distances: tuple[float, float]) -> None:
        """Move the boxes."""

    @abstractmethod
    def clip_(self, img_shape: tuple[int, int]) -> None:
        """Clip the boxes to the image."""

    @abstractmethod
    def rotate_(self, center: tuple[float, float], angle: float) -> None:
        """Rotate the boxes clockwise around a point, by degrees."""

    @abstractmethod
    def project_(self, homography_matrix: Tensor | np.ndarray) -> None:
        """Map the boxes by a (3, 3) matrix."""

    @abstractmethod
    def rescale_(self, scale_factor: tuple[float, float]) -> None:
        """Scale boxes and image alike, about the origin."""

    @abstractmethod
    def resize_(self, scale_factor: tuple[float, float]) -> None:
        """Scale widths and heights; the centers stay."""

    @abstractmethod
    def is_inside(self, img_shape: tuple[int, int], all_inside: bool = False, allowed_border: int = 0) -> Tensor:
        """(...,) bool: boxes of which a part, or all, is inside the image grown by ``allowed_border`` pixels on each side."""

    @abstractmethod
    def find_inside_points(self, points: Tensor, is_aligned: bool = False) -> Tensor:
        """(m, n) bool: which of the points (m, 2) are inside which of the boxes; (n,) for pairs."""

    @staticmethod
    @abstractmethod
    def overlaps(
        boxes1: 'BaseBoxes', boxes2: 'BaseBoxes', mode: str = 'iou', is_aligned: bool = False, eps: float = 1e-6
    ) -> Tensor:
        """Overlaps of two sets, as ``bbox_overlaps`` returns them."""

    @staticmethod
    @abstractmethod
    def from_instance_masks(masks: Any) -> 'BaseBoxes':
        """The smallest boxes around the masks of n objects."""


def convert_tensor(tensor: Tensor, src: str, dst: str) -> Tensor:
    """Boxes of the kind named ``src`` as the kind named ``dst``.

    Raises:
        ArgumentError: no converter is registered; it is an AssertionError too.
    """
    if src == dst:
        return tensor
    if (src, dst) not in CONVERTERS:
        message = 'no converter of this pair is registered (register_box_converter)'
        raise ArgumentError(message, field='dst_type', received=(src, dst))
    return CONVERTERS[src, dst](tensor)
