"""Base classes of the transforms."""

import inspect

import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.core.masks import BaseInstanceMasks
from mmdet.errors import DataError

UNSUPPORTED_KEYS = (
    'gt_masks', 'gt_seg_map', 'gt_semantic_seg', 'gt_panoptic_seg', 'gt_keypoints', 'gt_bboxes_ignore', 'proposals',
)  # fmt: skip
"""Annotations tied to pixels or objects that not all of these transforms change, under mmdetection's and mmcv's names."""


class DetTransform(BaseTransform):
    """A transform whose ``repr`` shows the constructor's arguments, as far as it has attributes of these names."""

    def __repr__(self) -> str:
        values = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters if hasattr(self, name)}
        parts = (f'{k}={v.tolist() if isinstance(v, np.ndarray) else v!r}' for k, v in values.items())
        return f'{type(self).__name__}({", ".join(parts)})'


class GeometricTransform(DetTransform):
    """A transform that changes the image's geometry or the list of objects, and adapts boxes, labels and ignore flags.

    Those that adapt ``gt_masks`` as well say so by ``moves_masks``.

    Raises:
        DataError: the sample holds one of ``UNSUPPORTED_KEYS``, which would no longer fit the image. This is checked at
            each call, whatever is drawn at random.
    """

    moves_masks = False

    def needed_wh(self, image_wh: tuple[int, int]) -> tuple[float, float]:
        """Size that an image of size ``image_wh`` must not fall below for this transform; its own where the transform takes no reduced image.

        A transform with another answer takes the whole size from ``arguments.whole_hw`` instead of from the pixels.
        """
        return image_wh

    def __call__(self, results: dict) -> dict | None:
        for key in UNSUPPORTED_KEYS:
            value = results.get(key)
            if value is None or (key == 'gt_masks' and self.moves_masks and isinstance(value, BaseInstanceMasks)):
                continue
            also = ' (and BitmapMasks, PolygonMasks)' if self.moves_masks else ''
            message = (
                f'{type(self).__name__} changes boxes only{also}, and would leave this annotation out of date; '
                'remove the transform that loads it'
            )
            raise DataError(message, file=results.get('img_path'), field=key, received=type(value).__name__)
        return self.transform(results)
