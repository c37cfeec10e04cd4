"""Mosaics of a whole dataset for the second stage of UFPMP-Det: new images, and a COCO file with the boxes moved into them.

Letters: K boxes of an image, M copies of boxes in its mosaic, R regions.
"""

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData

from ...core.ufp import UnifiedForegroundPacking, boxes_to_mosaic, image_to_mosaic, render_mosaic, whole_image
from ...errors import ConfigError, DataError
from ...formats.coco import CocoFile, ImageId, read_coco
from ...formats.images import decode_image
from ...formats.visdrone import IGNORED_REGION, read_visdrone_rows
from ...utils.files import write_atomically, write_json
from ...utils.lock import LOCK_NAME
from ...utils.progress import progress
from ..transforms.formatting import to_chw
from .mosaic_journal import MosaicJournal
from .mosaic_options import MosaicOptions, MosaicReport
from .visdrone import box_annotation

Stage = Callable[[list[torch.Tensor]], list[InstanceData]]
"""Detector of regions: (3, h, w) uint8 BGR images in, ``bboxes`` xyxy and ``labels`` by descending score out."""


_SUMMED = ('objects', 'lost', 'doubled', 'clipped', 'parts', 'hidden', 'undetected', 'painted', 'resized')


@dataclass
class _Image:
    """An entry of the source file with its boxes."""

    id: ImageId
    file_name: str
    size_wh: tuple[int, ...]
    boxes: np.ndarray  # (K, 4) xyxy
    category_ids: list[ImageId]
    crowd: np.ndarray  # (K,) bool
    ignore: np.ndarray  # (K,) bool
    painted: list[list[float]]  # areas to paint, xywh

    @property
    def counted(self) -> np.ndarray:
        """(K,) bool, the boxes that are objects, not ignored areas."""
        return ~(self.crowd | self.ignore)


class MosaicBuilder:
    """Builds the mosaics of an annotation file, by any number of processes, and goes on where an earlier run stopped.

    Images are taken in groups of ``batch_size`` in the order of the file. A process takes every ``world``-th group, so what the
    detector sees together, and with it every result, is the same for any number of processes. For each image done, a record goes
    into the journal, a folder beside ``out_file``; :meth:`join` makes the annotation file of the records.

    Args:
        ann_file: COCO file of the images; image ids of any kind.
        image_dir: what its file names are relative to.
        out_dir: folder of the mosaics; file names stay, with their folders.
        out_file: COCO file to write.
        options: see :class:`MosaicOptions`.
        batch_size: images in one call of the detector.
        identity: whatever else the result depends on (detector, checkpoint), to be equal in a run that goes on with this one's journal.

    Raises:
        DataError: unusable annotation file, or a journal of other settings.
    """

    def __init__(
        self,
        ann_file: str | os.PathLike,
        image_dir: str | os.PathLike,
        out_dir: str | os.PathLike,
        out_file: str | os.PathLike,
        *,
        options: MosaicOptions | None = None,
        batch_size: int = 8,
        identity: dict | None = None,
    ):
        if batch_size < 1:
            raise ConfigError('must be at least 1', field='batch_size', received=batch_size)
        self.image_dir, self.out_dir, self.out_file = Path(image_dir), Path(out_dir), Path(out_file)
        if self.out_dir.resolve() == self.image_dir.resolve():
            raise ConfigError('must be another folder than that of the images', field='out_dir', received=str(out_dir))
        self.options = options or MosaicOptions()
        self.batch_size = batch_size
        table = read_coco(ann_file)
        self.categories = table.categories
        self.images = _images_of(table)
        settings = {
            **asdict(self.options),
            'batch_size': batch_size,
            'annotations': hashlib.sha256(Path(ann_file).read_bytes()).hexdigest(),
            'out_dir': str(self.out_dir.resolve()),
            **(identity or {}),
        }
        self.journal = MosaicJournal(self.out_file.with_name(f'{self.out_file.name}.journal'), settings)

    @property
    def locks(self) -> list[Path]:
        """Lock files of what the builder writes: the folder of the mosaics, and the annotation file with its journal."""
        return [self.out_dir / LOCK_NAME, self.out_file.with_name(f'.{self.out_file.name}{LOCK_NAME}')]

    def start(self, restart: bool = False) -> int:
        """Open the journal, by one process before any runs; returns the number of images that it says are done.

        Args:
            restart: forget what an earlier run did.
        """
        if restart:
            shutil.rmtree(self.journal.folder, ignore_errors=True)
        self.out_dir.mkdir(parents=True, exist_ok=True)
        self.journal.create()
        return len(self.images) - sum(len(group) for group in self.pending())

    def pending(self, rank: int = 0, world: int = 1) -> list[list[_Image]]:
        """Groups of a process's share of which an image is not done.

        Shares are of all groups, not of those that are left: other processes may be writing while this one looks.
        """
        done = self.journal.read()
        starts = range(0, len(self.images), self.batch_size)[rank::world]
        groups = [self.images[start : start + self.batch_size] for start in starts]
        return [group for group in groups if not all(self._is_done(image, done) for image in group)]

    def _is_done(self, image: _Image, done: dict) -> bool:
        record = done.get(json.dumps(image.id))
        return record is not None and (record['skipped'] or (self.out_dir / image.file_name).is_file())

    def run(self, stage: Stage, rank: int = 0, world: int = 1, num_workers: int = 2) -> None:
        """Make this process's share of the mosaics.

        Args:
            stage: the coarse detector.
            rank: number of this process.
            world: number of processes.
            num_workers: threads that read and write images.

        Raises:
            DataError: an image cannot be read or written; what was done stays done.
        """
        groups = self.pending(rank, world)
        label = 'mosaics' if world == 1 else f'mosaics of process 0 of {world}'
        with ThreadPoolExecutor(max(1, num_workers)) as pool, self.journal.writer(rank) as write:
            loaded = _read_ahead(pool, groups, self._load)
            making: list[Future] = []
            for group, images in progress(loaded, label, total=len(groups)) if rank == 0 else loaded:
                found = stage([to_chw(image) for image in images])
                boxes = [_in_class_order(result) for result in found]
                made, making = making, [pool.submit(self._make, *parts) for parts in zip(group, images, boxes)]
                for future in made:  # of the group before: threads paste while the detector goes on
                    write(future.result())
            for future in making:
                write(future.result())

    def _load(self, group: Sequence[_Image]) -> list[np.ndarray]:
        return [decode_image(self.image_dir / image.file_name) for image in group]

    def _make(self, image: _Image, pixels: np.ndarray, boxes: np.ndarray) -> dict:
        """Write the mosaic of one image; returns its record."""
        options = self.options
        height, width = pixels.shape[:2]
        objects = int(image.counted.sum())
        record = dict(id=image.id, objects=objects, undetected=not len(boxes), resized=image.size_wh != (width, height))
        regions, mosaic_w, mosaic_h = UnifiedForegroundPacking(
            boxes,
            options.expand,
            (width, height),
            mode=options.mode,
            packing=options.packing,
            max_side=options.max_side,
        )
        if not (regions[:, 2:4] >= 1).all(axis=1).any():  # a region thinner than a pixel has no tile
            if options.on_empty == 'skip':
                return dict(record, skipped=True, lost=objects)
            regions, mosaic_w, mosaic_h = whole_image((width, height)), width, height
        copies, counts = self._transfer(image, regions)
        record.update(counts)
        if options.drop_empty and not copies:
            return dict(record, skipped=True)
        ignored = self._ignored(image)
        _paint(pixels, ignored)
        mosaic = render_mosaic(pixels, regions, mosaic_w, mosaic_h)
        write_image_file(self.out_dir / image.file_name, mosaic, options.quality)
        return dict(
            record, skipped=False, painted=len(ignored), copies=copies, regions=len(regions), width=mosaic.shape[1], height=mosaic.shape[0]
        )  # fmt: skip

    def _transfer(self, image: _Image, regions: np.ndarray) -> tuple[list, dict]:
        """Copies of the boxes, rows [index of the annotation, x, y, w, h], and what to count."""
        boxes, counted = image.boxes, image.counted
        mapped, index, region = boxes_to_mosaic(boxes, regions, self.options.min_overlap, clip=True)
        whole = image_to_mosaic(boxes[index], regions[region])
        sides, whole_sides = mapped[:, 2:] - mapped[:, :2], whole[:, 2:] - whole[:, :2]  # (M, 2)
        visible = sides.prod(axis=1) / whole_sides.prod(axis=1)  # boxes without area match nothing
        keep = (sides > 0).all(axis=1) & (visible > self.options.min_visible)
        rows = np.concatenate([mapped[:, :2], sides], axis=1)[keep].round(4)
        own = keep & counted[index]
        counts = dict(
            lost=int(counted.sum()) - len(np.unique(index[counted[index]])),
            doubled=int(own.sum()) - len(np.unique(index[own])),
            clipped=int((np.abs(mapped - whole) > 1e-6).any(axis=1)[own].sum()),
            parts=int((visible < 0.5)[own].sum()),
            hidden=int((~keep & counted[index]).sum()),
        )
        copies = zip(index[keep].tolist(), rows.tolist())
        return [[i, *(int(v) if v.is_integer() else v for v in row)] for i, row in copies], counts

    def _ignored(self, image: _Image) -> list[list]:
        """Rectangles x, y, w, h to paint."""
        if self.options.paint == 'none':
            return []
        if self.options.paint == 'json':
            return image.painted
        rows = read_visdrone_rows(Path(self.options.paint) / f'{Path(image.file_name).stem}.txt')
        return rows[rows[:, 5] == IGNORED_REGION, :4].tolist()

    def join(self) -> MosaicReport:
        """Write the annotation file, by one process after all others finished, and remove the journal.

        Raises:
            DataError: some images are not done.
        """
        missing = sum(len(group) for group in self.pending())
        if missing:
            raise DataError(f'{missing} of the {len(self.images)} images are not done', file=self.journal.folder)
        records = self.journal.read()
        report = MosaicReport(self.out_file)
        document: dict = {'images': [], 'type': 'instances', 'annotations': [], 'categories': self.categories}
        sums: dict[str, float] = defaultdict(float)
        for image in self.images:
            record = records[json.dumps(image.id)]
            for name in _SUMMED:
                setattr(report, name, getattr(report, name) + int(record.get(name, 0)))
            if record['skipped']:
                report.left_out += 1
                continue
            for name, key in (('regions', 'regions'), ('mosaic_w', 'width'), ('mosaic_h', 'height')):
                sums[name] += record[key]
            report.images += 1
            report.copies += len(record['copies'])
            report.without_objects += not record['copies']
            size = dict(height=record['height'], width=record['width'])
            document['images'].append(dict(file_name=image.file_name, **size, id=image.id))
            for index, *bbox in record['copies']:
                document['annotations'].append(self._annotation(image, index, bbox, len(document['annotations']) + 1))
        for name, total in sums.items():
            setattr(report, name, total / report.images)
        self.out_file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.out_file, document)
        shutil.rmtree(self.journal.folder)
        return report

    def _annotation(self, image: _Image, index: int, bbox: list, annotation_id: int) -> dict:
        category_id, ignored = image.category_ids[index], bool(image.ignore[index])
        moved = box_annotation(bbox, image.id, category_id, annotation_id, ignored=ignored)
        moved['iscrowd'] = int(image.crowd[index])
        if self.options.segmentation == 'none':
            del moved['segmentation']
        return moved


def _images_of(table: CocoFile) -> list[_Image]:
    """The images in the order of the file, with their boxes and the areas to paint."""
    corners = table.bbox.copy()
    corners[:, 2:] += corners[:, :2]
    by_image = np.argsort(table.image, kind='stable')
    starts = np.searchsorted(table.image[by_image], np.arange(len(table.image_ids) + 1))
    images: list[_Image] = []
    for position, (image_id, name) in enumerate(zip(table.image_ids, table.require_file_names())):
        if Path(name).is_absolute() or '..' in Path(name).parts:
            raise DataError(
                'must lead into the image folder',
                file=table.source,
                record=f'image {image_id}',
                field='file_name',
                received=name,
            )
        rows = by_image[starts[position] : starts[position + 1]]
        category_ids = [table.category_ids[category] for category in table.category[rows]]
        painted = table.bbox[rows[table.crowd[rows] | table.ignore[rows]]].tolist()
        size_wh = tuple(table.sizes_wh[position].tolist())
        images.append(
            _Image(image_id, name, size_wh, corners[rows], category_ids, table.crowd[rows], table.ignore[rows], painted)
        )
    for position, bbox in zip(*table.ignored_regions):
        images[position].painted.append(bbox.tolist())
    return images


def _in_class_order(found: InstanceData) -> np.ndarray:
    """(n, 4) boxes class after class, by descending score within a class: what UFPMPDet feeds its clustering."""
    order = torch.argsort(found.labels, stable=True)
    return found.bboxes[order].double().cpu().numpy()


def _paint(pixels: np.ndarray, rectangles: Sequence[Sequence[float]]) -> None:
    """Make rectangles x, y, w, h black, in place; every pixel that they touch."""
    for x, y, w, h in rectangles:
        left, top = max(int(np.floor(x)), 0), max(int(np.floor(y)), 0)
        pixels[top : max(int(np.ceil(y + h)), 0), left : max(int(np.ceil(x + w)), 0)] = 0


def _read_ahead(pool: ThreadPoolExecutor, groups: list, load: Callable) -> Iterator:
    """Each group with its images; the next one is being read meanwhile."""
    ahead = [pool.submit(load, group) for group in groups[:1]]
    for i, group in enumerate(groups):
        images = ahead.pop().result()
        ahead = [pool.submit(load, group) for group in groups[i + 1 : i + 2]]
        yield group, images


def write_image_file(path: Path, image: np.ndarray, quality: int) -> None:
    """Encode and write an image; it appears whole or not at all.

    Raises:
        DataError: a file type that OpenCV does not write, an image too large for it, or a disk that refuses.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix.lower() in ('.jpg', '.jpeg') else []
    try:
        done, data = cv2.imencode(path.suffix, image, options)
    except cv2.error as error:
        raise DataError(f'cannot be encoded ({error.err})', file=path, received=image.shape) from error
    if not done:
        raise DataError('cannot be encoded', file=path, received=image.shape)

    def write(file: BinaryIO) -> None:
        file.write(data.tobytes())

    write_atomically(path, write)
