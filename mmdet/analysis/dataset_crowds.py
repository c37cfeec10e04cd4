"""Whether a detector that finds each object by a query can find all objects of what it sees at once: whole images, tiles, mosaics.

Letters: I images, n boxes, m boxes of an image, V views of an image.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmdet_runtime.resizing import tile_windows
from mmdet_runtime.ufp import pack_images
from mmdet_runtime.ufp.mapping import move_objects

from ..config.stages import only_detector
from ..errors import MMDetError
from ..registry import MODELS


@dataclass(frozen=True)
class QueryLimit:
    """What a detector of a config sees at once, and how much it can find there.

    Attributes:
        most: objects that it can find in one view.
        stage: name of its stage in a composite detector, '' of a single one.
        tile_wh, overlap: of the tiles that it sees; None for whole images.
        ufp: arguments of the packing whose mosaics it sees; None for whole images.
    """

    most: int
    stage: str = ''
    tile_wh: tuple[int, int] | None = None
    overlap: float = 0.0
    ufp: Mapping | None = None

    @property
    def view(self) -> str:
        """What a view is called."""
        if self.ufp is not None:
            return 'a mosaic'
        return 'an image' if self.tile_wh is None else 'a tile of {} x {} pixels'.format(*self.tile_wh)

    def on_tiles(self, side: int, overlap: float) -> 'QueryLimit':
        """The same detector on square tiles."""
        return replace(self, tile_wh=(side, side), overlap=overlap)

    def counts(self, corners: np.ndarray, size_wh: tuple[int, int]) -> list[int]:
        """Objects (V,) in the views of an image: those whose centre a tile shows, or the copies in a mosaic.

        Args:
            corners: (m, 4) xyxy.
            size_wh: of the image.
        """
        if self.ufp is not None:
            ((regions, _, _),) = pack_images([corners], [size_wh], **self.ufp)
            return [len(move_objects(corners, regions).bboxes)]
        if self.tile_wh is None:
            return [len(corners)]
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        windows = tile_windows(size_wh, self.tile_wh, self.overlap)
        inside = ((centres >= (x, y)) & (centres < (x + w, y + h)) for x, y, (h, w) in windows)
        return [int(np.count_nonzero(both.all(axis=1))) for both in inside]


@dataclass
class Crowd:
    """The views that hold more objects than can be found.

    Attributes:
        images: positions of those with such a view.
        lost: objects that are too many, over all such views.
        largest: objects in the fullest view of the images that were looked at; 0 if none could be too full.
    """

    images: list[int] = field(default_factory=list)
    lost: int = 0
    largest: int = 0

    def text(self, limit: QueryLimit, total: int) -> str:
        """A sentence about a data set of ``total`` objects."""
        once = limit.tile_wh is None and limit.ufp is None
        lost = (
            f'{self.lost:,} of {total:,} cannot be found'
            if once
            else f'{self.lost:,} are too many (some lie in several)'
        )
        return f'up to {self.largest:,} objects in {limit.view}, where the detector finds {limit.most:,}; {lost}.'


def query_limits(model: Any) -> Iterator[QueryLimit]:
    """The limits of the detectors in the config of a model; a limit that cannot be told is said in the log."""
    if not isinstance(model, Mapping):
        return
    only = only_detector(model)
    for stage in ('', 'stage', 'coarse', 'fine'):
        part = model if not stage else (model.get(stage) or {})
        detector = part if not stage else part.get('detector') or (only if stage == 'fine' else None)
        most = _most(detector)
        if most is None:
            continue
        if stage == 'stage':
            tile_wh = model.get('tile_wh', (640, 640))
            yield QueryLimit(most, stage, None if tile_wh is None else tuple(tile_wh), model.get('overlap', 0.2))
        elif stage == 'fine':
            # Annotations have no scores, by which regions could be left out.
            ufp = {
                key: value for key, value in (model.get('ufp') or {}).items() if key not in ('min_score', 'score_rule')
            }
            yield QueryLimit(most, stage, ufp=ufp)
        else:
            yield QueryLimit(most, stage)


def _most(detector: Any) -> int | None:
    if not isinstance(detector, Mapping) or 'type' not in detector:
        return None
    kind = MODELS.get(detector['type']) if isinstance(detector['type'], str) else detector['type']
    if not hasattr(kind, 'max_objects_of'):
        return None
    try:
        return kind.max_objects_of(detector)
    except MMDetError as error:
        print_log(f'How many objects the detector can find is not known: {error}', 'current', level=30)
        return None


def crowd(limit: QueryLimit, bbox: np.ndarray, image: np.ndarray, sizes_wh: np.ndarray) -> Crowd:
    """Compare the objects of a data set with a limit.

    Args:
        limit: of a detector.
        bbox: (n, 4) xywh of objects, in pixels of the images.
        image: (n,) position of the image.
        sizes_wh: (I, 2) of the images; those of unknown size, 0, are looked at whole only.
    """
    found = Crowd()
    counts = np.bincount(image, minlength=len(sizes_wh))
    order = np.argsort(image, kind='stable')
    ends = np.cumsum(counts)
    whole = limit.tile_wh is None and limit.ufp is None
    # A mosaic shows few objects more than twice; views of fewer objects than half of the limit are not made.
    for row in np.flatnonzero(counts > (limit.most if limit.ufp is None else limit.most // 2)):
        if not whole and not sizes_wh[row].all():
            continue
        own = bbox[order[ends[row] - counts[row] : ends[row]]]
        corners = np.concatenate([own[:, :2], own[:, :2] + own[:, 2:]], axis=1)
        views = np.array(limit.counts(corners, (int(sizes_wh[row, 0]), int(sizes_wh[row, 1]))))
        beyond = np.maximum(views - limit.most, 0)
        found.images += [int(row)] if beyond.any() else []
        found.lost += int(beyond.sum())
        found.largest = max(found.largest, int(views.max()))
    return found
