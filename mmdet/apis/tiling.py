"""Detection on images that are read by tiles, so that their size is bounded by the disk and not by the memory."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.structures import InstanceData

from ..core.post_processing import merge_views
from ..datasets.transforms import InferencerLoader, PackDetInputs
from ..errors import ConfigError, DataError
from ..formats.image_headers import read_header
from ..formats.images import image_size
from ..formats.windows import WHOLE_PIXELS, TiledImage, open_tiled, slice_starts
from ..models.detectors import BaseDetector, SlicedDet
from ..ops import batched_nms
from ..structures import DetDataSample
from .calls import Call
from .sources import Entry, Source, count_sources, is_video, open_video

# Longer side of the picture of an image that is too large to be drawn on as a whole.
PICTURE_SIDE = 4096


@dataclass(frozen=True)
class Tiling:
    """How an image is cut, and the detections of its tiles merged.

    Attributes:
        tile_wh: width and height of a tile in pixels of the image.
        overlap: share of a tile that the next one repeats.
        nms: config of the NMS over all tiles.
        max_per_img: largest number of detections to keep in an image; a negative number keeps all.
    """

    tile_wh: tuple[int, int] = (640, 640)
    overlap: float = 0.2
    nms: dict = field(default_factory=lambda: dict(type='nms', iou_threshold=0.6))
    max_per_img: int = -1

    @classmethod
    def read(cls, options: Any) -> 'Tiling':
        """The tiling of a dict, or of one number or pair, the tile size.

        Raises:
            ConfigError: an unknown key, a tile without pixels, an overlap outside [0, 1), an NMS that there is not.
        """
        options = dict(options) if isinstance(options, dict) else dict(tile_wh=options)
        names = [item.name for item in dataclasses.fields(cls)]
        if unknown := sorted(set(options) - set(names)):
            raise ConfigError(f'takes only {", ".join(names)}', field='tiles', received=unknown)
        size: Any = options.get('tile_wh', cls.tile_wh)
        sizes = list(size) if isinstance(size, tuple | list) else [size, size]
        if len(sizes) != 2 or not all(_is_integer(v) and v > 0 for v in sizes):
            message = 'must be one or two positive sizes in pixels, (w, h)'
            raise ConfigError(message, field='tiles.tile_wh', received=size)
        tiling = cls(**{**options, 'tile_wh': tuple(sizes)})
        if not isinstance(tiling.overlap, int | float) or not 0 <= tiling.overlap < 1:
            raise ConfigError('must be a number in [0, 1)', field='tiles.overlap', received=tiling.overlap)
        if not _is_integer(tiling.max_per_img):
            raise ConfigError('must be an integer', field='tiles.max_per_img', received=tiling.max_per_img)
        if not isinstance(tiling.nms, dict):
            raise ConfigError('must be a dict', field='tiles.nms', received=tiling.nms)
        batched_nms(
            torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), tiling.nms
        )  # checks it before the first tile
        return tiling


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def reads_by_tiles(model: BaseDetector, pipeline: Any) -> bool:
    """Whether a model cuts its images itself and nothing else is done to them, so that large ones need not be in memory."""
    steps: Any = getattr(pipeline, 'transforms', ())
    return (
        isinstance(model, SlicedDet)
        and model.tile_wh is not None
        and len(steps) == 2
        and isinstance(steps[0], InferencerLoader)
        and isinstance(steps[1], PackDetInputs)
    )


def is_large(entry: Entry) -> bool:
    """Whether an input is a file of an image that is not decoded whole where that can be avoided."""
    if not isinstance(entry, str) or is_video(entry) or not Path(entry).is_file():
        return False
    header = read_header(entry)
    return header is not None and header.size_wh[0] * header.size_wh[1] > WHOLE_PIXELS


def count_tiles(entry: Entry, tile_wh: tuple[int, int], overlap: float) -> int:
    """Expected number of tiles of an image, or of all frames of a video; 1 where the size cannot be told."""
    frames = 1
    if isinstance(entry, np.ndarray):
        height, width = entry.shape[:2]
    elif is_video(entry):
        video = open_video(entry)
        width, height, frames = (
            int(video.get(key))
            for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT)
        )
    else:
        try:
            width, height = image_size(entry)
        except (DataError, ConfigError):  # unreadable, or an address: the reader says what is wrong, if anything is
            return 1
    across, down = (len(slice_starts(length, tile, overlap)) for length, tile in zip((width, height), tile_wh))
    return max(frames, 1) * across * down


def detect_by_tiles(
    image: TiledImage,
    tiling: Tiling,
    predict: Callable[[Iterator[np.ndarray]], Iterator[tuple[list, list[DetDataSample]]]],
    on_tiles: Callable[[int], None],
    end_to_end: bool = False,
) -> InstanceData:
    """Detections of any detector in an image, tile by tile, merged by NMS.

    Args:
        image: the opened image.
        tiling: see there.
        predict: gives, for arrays (h, w, 3), batches of these arrays and their predicted samples, in order.
        on_tiles: called with the number of tiles that were done since the last call.
        end_to_end: whether the detector has one box for each object of a tile.
    """
    origins: deque[tuple[int, int]] = deque()

    def arrays() -> Iterator[np.ndarray]:
        for x, y, pixels in image.tiles(tiling.tile_wh, tiling.overlap):
            origins.append((x, y))
            yield pixels

    views = []
    for _, samples in predict(arrays()):
        for sample in samples:
            found, (x, y) = sample.pred_instances, origins.popleft()
            boxes = getattr(found.bboxes, 'tensor', found.bboxes)
            moved = boxes + boxes.new_tensor([x, y, x, y])
            views.append(InstanceData(bboxes=moved, scores=found.scores, labels=found.labels))
        on_tiles(len(samples))
    return merge_views(views, tiling.nms, tiling.max_per_img, end_to_end)


def sample_of(found: InstanceData, size_wh: tuple[int, int], path: str | None) -> DetDataSample:
    """A data sample of detections in pixels of an image."""
    width, height = size_wh
    shape = (height, width)
    meta = dict(img_id=0, img_path=path, ori_shape=shape, img_shape=shape, scale_factor=(1.0, 1.0))
    return DetDataSample(metainfo=meta, pred_instances=found)


def reduced_sample(sample: DetDataSample, factor: int) -> DetDataSample:
    """The sample for a picture whose sides are divided by a number."""
    found = sample.pred_instances
    smaller = InstanceData(bboxes=found.bboxes / factor, scores=found.scores, labels=found.labels)
    return DetDataSample(metainfo=sample.metainfo, pred_instances=smaller)


def picture_side(size_wh: tuple[int, int]) -> int:
    """Largest side of the picture of an image: its own, or ``PICTURE_SIDE`` for a large image."""
    return PICTURE_SIDE if size_wh[0] * size_wh[1] > WHOLE_PIXELS else max(size_wh)


def warn_if_cut(count: int, max_per_img: int, name: object) -> None:
    """A line in the log where the largest number of detections was reached, which large images do easily."""
    if 0 <= max_per_img <= count:
        message = f'{name}: the best {max_per_img} detections were kept (max_per_img); there may be more'
        print_log(message, logger='current', level=30)


class TilingSteps:
    """The steps of :class:`~mmdet.apis.DetInferencer` for images that are read by tiles."""

    model: BaseDetector
    pipeline: Any
    value_range: Any
    preprocess: Callable[..., Iterator[tuple[list, dict]]]
    forward: Callable[..., list[DetDataSample]]
    _reads_by_tiles: Callable[[], bool]
    _call: Call

    def _count_steps(self, entries: Sequence, tiling: Tiling | None) -> int:
        """Length of the progress bar: images, frames, and the tiles of those that are cut."""
        cut = self.model if tiling is None and self._reads_by_tiles() else tiling
        if cut is None:
            return count_sources(entries)
        return sum(
            count_tiles(entry, cut.tile_wh, cut.overlap) if tiling or is_large(entry) else count_sources([entry])
            for entry in entries
        )

    def _predict_by_tiles(
        self, sources: Iterable[Source], batch_size: int, tiling: Tiling | None
    ) -> Iterator[tuple[list, list[DetDataSample], list[DetDataSample], list[Source]]]:
        """As :meth:`_predict_sources`, one image after the other, of which only the tiles in work need be in memory."""
        call = self._call

        def predict(arrays: Iterator[np.ndarray]) -> Iterator[tuple[list, list[DetDataSample]]]:
            skipped, call.skipped = call.skipped, None  # a broken tile is a broken image
            try:
                for originals, data in self.preprocess(arrays, batch_size=batch_size, **call.of_steps[0]):
                    yield originals, self.forward(data, **call.of_steps[1])
            finally:
                call.skipped = skipped

        for source in sources:
            try:
                with open_tiled(
                    source.image, value_range=self.value_range, backend_args=self._backend_args(source)
                ) as image:
                    if tiling is None:
                        found, limit = self.model.detect_tiled(image, call.advance), self.model.max_per_img
                    else:
                        end_to_end = getattr(self.model, 'end_to_end', False)  # of a model that is no BaseDetector
                        found = detect_by_tiles(image, tiling, predict, call.advance, end_to_end)
                        limit = tiling.max_per_img
                    sample = sample_of(found, image.size_wh, source.image if isinstance(source.image, str) else None)
                    picture, factor = np.zeros((1, 1, 3), np.uint8), 1
                    if call.pictures_wanted:
                        picture, factor = image.reduced(picture_side(image.size_wh))
            except DataError as error:
                if call.skipped is None:
                    raise
                call.skipped.append((str(source), str(error)))
                continue
            warn_if_cut(len(found), limit, source)
            yield [picture], [reduced_sample(sample, factor)], [sample], [source]

    def _backend_args(self, source: Source) -> dict | None:
        """How the file of a source is fetched: as the loader of the pipeline fetches it."""
        loader = self.pipeline.transforms[0] if isinstance(source.image, str) else None
        if not isinstance(loader, InferencerLoader):
            return None
        return loader.loader_of(source.image).backend_args
