"""Mosaics of a whole dataset for the second stage of UFPMP-Det: new images, and a COCO file of the boxes in them.

Letters: K boxes of an image, M copies of boxes in its mosaic, R regions.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import InstanceData

from ...core.ufp import UnifiedForegroundPacking, move_objects, paint_black, render_mosaic, whole_image
from ...errors import ConfigError, DataError
from ...formats.coco import CocoFile, ImageId, read_coco
from ...formats.images import decode_image, write_image_file
from ...formats.visdrone import IGNORED_REGION, read_visdrone_rows
from ...utils.checks import is_finite, is_int
from ...utils.files import make_folder, write_json
from ...utils.lock import LOCK_NAME
from ...utils.outputs import OutputNames, refuse_inputs, source_of
from ...utils.progress import progress
from ..transforms.formatting import to_chw
from .mosaic_journal import MosaicJournal
from .mosaic_options import MosaicOptions, MosaicReport
from .visdrone import box_annotation, coco_document, plain_numbers

Stage = Callable[[list[torch.Tensor]], list[InstanceData]]
"""Detector of regions: (3, h, w) uint8 BGR images in, ``bboxes`` xyxy and ``labels`` by descending score out."""


_AVERAGED = {'regions': 'regions', 'mosaic_w': 'width', 'mosaic_h': 'height'}  # of the report and of the records
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
    """Builds the mosaics of an annotation file in any number of processes, and continues where an earlier run stopped.

    Images are taken in groups of ``batch_size`` in the order of the file. A process takes every ``world``-th group, so what the
    detector sees together, and with it every result, is the same for any number of processes. A record of each finished image is
    written to the journal, a folder beside ``out_file``; :meth:`join` makes the annotation file from the records.

    Args:
        ann_file: COCO file of the images; image ids of any kind.
        image_dir: folder that its file names are relative to.
        out_dir: folder of the mosaics, which keep the file names.
        out_file: COCO file to write.
        options: see :class:`MosaicOptions`.
        batch_size: images in one call of the detector.
        identity: whatever else the result depends on (detector, checkpoint); a run with other values does not continue the journal.

    Raises:
        DataError: an unusable annotation file.
        ConfigError: ``batch_size`` below 1, or an output is an input: an image, the annotation file, the folder of the images.
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
        self.options = options or MosaicOptions()
        self.batch_size = batch_size
        table = read_coco(ann_file)
        self.categories = table.categories
        self.images = _images_of(table)
        settings = dict(
            asdict(self.options),
            batch_size=batch_size,
            annotations=hashlib.sha256(Path(ann_file).read_bytes()).hexdigest(),
            out_dir=str(self.out_dir.resolve()),
        )
        folder = self.out_file.with_name(f'{self.out_file.name}.journal')
        self.journal = MosaicJournal(folder, settings | (identity or {}))
        self._check_outputs(ann_file)

    def _check_outputs(self, ann_file: str | os.PathLike) -> None:
        if self.out_file.is_dir():
            raise ConfigError(
                'is a folder; an annotation file is written', field='out_file', received=str(self.out_file)
            )
        inputs = [ann_file, *(self.image_dir / image.file_name for image in self.images)]
        if self.options.paint not in ('none', 'json'):
            inputs += Path(self.options.paint).glob('*.txt')
        refuse_inputs([self.out_dir, self.journal.folder], [ann_file, self.image_dir], field='out_dir')
        mosaics = dict.fromkeys(self.out_dir / image.file_name for image in self.images)
        refuse_inputs([self.out_file, *mosaics], inputs)

    @property
    def locks(self) -> list[Path]:
        """Lock files of what the builder writes: the folder of the mosaics, and the annotation file with its journal."""
        return [self.out_dir / LOCK_NAME, self.out_file.with_name(f'.{self.out_file.name}{LOCK_NAME}')]

    def start(self, restart: bool = False) -> int:
        """Open the journal, in one process before any :meth:`run`; returns how many images are done already.

        With ``restart``, an earlier run is forgotten, and all images are made again.

        Raises:
            DataError: there is a journal with other settings, or ``out_dir`` holds a file that was not made from the image of its name.
        """
        if restart:
            self.journal.remove()
        make_folder(self.out_dir)
        names = list(dict.fromkeys(image.file_name for image in self.images))
        wanted = [(source_of(self.image_dir / name), name, ['{}']) for name in names]
        given = OutputNames(self.out_dir, exact=True).claim(wanted)
        for name, own in zip(names, given):
            if own != name:
                message = 'was not made from this image, and is left alone; choose another folder for the mosaics'
                raise DataError(message, file=self.out_dir / name, received=str(self.image_dir / name))
        self.journal.create()
        return len(self.images) - sum(len(group) for group in self.pending())

    def pending(self, rank: int = 0, world: int = 1) -> list[list[_Image]]:
        """The groups of a process in which an image is not done.

        All groups are shared out, not only the unfinished ones, because other processes may be writing meanwhile.
        """
        done = self.journal.read()
        starts = range(0, len(self.images), self.batch_size)[rank::world]
        groups = [self.images[start : start + self.batch_size] for start in starts]
        return [group for group in groups if not all(self._is_done(image, done) for image in group)]

    def _is_done(self, image: _Image, done: dict) -> bool:
        record = done.get(json.dumps(image.id))
        if record is None or not _is_record(record, image):
            return False
        return record['skipped'] or (self.out_dir / image.file_name).is_file()

    def run(self, stage: Stage, rank: int = 0, world: int = 1, num_workers: int = 2) -> None:
        """Make the mosaics of one process.

        Args:
            stage: the coarse detector.
            rank, world: number of this process, from 0, and of all processes.
            num_workers: threads that read and write images.

        Raises:
            DataError: an image cannot be read or written; the images finished before remain done.
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
                for future in made:  # those of the group before: threads make them while the detector continues
                    write(future.result())
            for future in making:
                write(future.result())

    def _load(self, group: Sequence[_Image]) -> list[np.ndarray]:
        value_range = self.options.value_range
        return [decode_image(self.image_dir / image.file_name, value_range=value_range) for image in group]

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
        paint_black(pixels, ignored)
        mosaic = render_mosaic(pixels, regions, mosaic_w, mosaic_h)
        write_image_file(self.out_dir / image.file_name, mosaic, options.quality)
        height, width = mosaic.shape[:2]
        made = dict(painted=len(ignored), copies=copies, regions=len(regions), width=width, height=height)
        return dict(record, skipped=False, **made)

    def _transfer(self, image: _Image, regions: np.ndarray) -> tuple[list, dict]:
        """Copies of the boxes, as rows [index of the box, x, y, w, h], and their numbers for the report."""
        counted, moved = image.counted, move_objects(image.boxes, regions, self.options.min_overlap)
        index, keep = moved.index, moved.shown(self.options.min_visible)
        rows = np.concatenate([moved.bboxes[:, :2], moved.bboxes[:, 2:] - moved.bboxes[:, :2]], axis=1)[keep].round(4)
        own = keep & counted[index]
        counts = dict(
            lost=int(counted.sum()) - len(np.unique(index[counted[index]])),
            doubled=int(own.sum()) - len(np.unique(index[own])),
            clipped=int(moved.cut[own].sum()),
            parts=int((moved.visible < 0.5)[own].sum()),
            hidden=int((~keep & counted[index]).sum()),
        )
        return [[i, *plain_numbers(row)] for i, row in zip(index[keep].tolist(), rows.tolist())], counts

    def _ignored(self, image: _Image) -> list[list]:
        """The rectangles x, y, w, h to paint."""
        if self.options.paint == 'none':
            return []
        if self.options.paint == 'json':
            return image.painted
        rows = read_visdrone_rows(Path(self.options.paint) / f'{Path(image.file_name).stem}.txt')
        return rows[rows[:, 5] == IGNORED_REGION, :4].tolist()

    def join(self) -> MosaicReport:
        """Write the annotation file and remove the journal, in one process after all others have finished.

        Raises:
            DataError: some images are not done.
        """
        missing = sum(len(group) for group in self.pending())
        if missing:
            raise DataError(f'{missing} of the {len(self.images)} images are not done', file=self.journal.folder)
        records = self.journal.read()
        report = MosaicReport(self.out_file)
        document = {**coco_document(()), 'categories': self.categories}
        for image in self.images:
            record = records[json.dumps(image.id)]
            for name in _SUMMED:
                setattr(report, name, getattr(report, name) + int(record.get(name, 0)))
            if record['skipped']:
                report.left_out += 1
                continue
            for name, key in _AVERAGED.items():
                setattr(report, name, getattr(report, name) + record[key])
            report.images += 1
            report.copies += len(record['copies'])
            report.without_objects += not record['copies']
            size = dict(height=record['height'], width=record['width'])
            document['images'].append(dict(file_name=image.file_name, **size, id=image.id))
            for index, *bbox in record['copies']:
                document['annotations'].append(self._annotation(image, index, bbox, len(document['annotations']) + 1))
        for name in _AVERAGED:
            setattr(report, name, getattr(report, name) / max(report.images, 1))
        write_json(self.out_file, document)
        self.journal.remove()
        return report

    def _annotation(self, image: _Image, index: int, bbox: list, annotation_id: int) -> dict:
        category_id, ignored = image.category_ids[index], bool(image.ignore[index])
        moved = box_annotation(bbox, image.id, category_id, annotation_id, ignored=ignored)
        moved['iscrowd'] = int(image.crowd[index])
        if self.options.segmentation == 'none':
            del moved['segmentation']
        return moved


def _is_record(record: dict, image: _Image) -> bool:
    """Whether a line of a journal is what :class:`MosaicBuilder` writes about an image, not a damaged one."""
    if type(record.get('skipped')) is not bool or not all(type(record.get(name, 0)) in (int, bool) for name in _SUMMED):
        return False
    if record['skipped']:
        return True
    rows, sizes = record.get('copies'), [record.get(key) for key in _AVERAGED.values()]
    return (
        isinstance(rows, list)
        and all(is_int(size, 1) and size < 10**9 for size in sizes)
        and all(isinstance(row, list) and len(row) == 5 and all(map(is_finite, row)) for row in rows)
        and all(is_int(row[0], 0) and row[0] < len(image.category_ids) for row in rows)
    )


def _images_of(table: CocoFile) -> list[_Image]:
    """The images in the order of the file, with their boxes and the areas to paint."""
    corners = table.bbox.copy()
    corners[:, 2:] += corners[:, :2]
    by_image = np.argsort(table.image, kind='stable')
    starts = np.searchsorted(table.image[by_image], np.arange(len(table.image_ids) + 1))
    images: list[_Image] = []
    for position, (image_id, name) in enumerate(zip(table.image_ids, table.require_file_names(inner=True))):
        rows = by_image[starts[position] : starts[position + 1]]
        category_ids = [table.category_ids[category] for category in table.category[rows]]
        crowd, ignore = table.crowd[rows], table.ignore[rows]
        painted = table.bbox[rows[crowd | ignore]].tolist()
        size_wh = tuple(table.sizes_wh[position].tolist())
        images.append(_Image(image_id, name, size_wh, corners[rows], category_ids, crowd, ignore, painted))
    for position, bbox in zip(*table.ignored_regions):
        images[position].painted.append(bbox.tolist())
    return images


def _in_class_order(found: InstanceData) -> np.ndarray:
    """(n, 4) boxes by class, and by descending score within a class: the order in which UFPMPDet clusters them."""
    order = torch.argsort(found.labels, stable=True)
    return found.bboxes[order].double().cpu().numpy()


def _read_ahead(pool: ThreadPoolExecutor, groups: list, load: Callable) -> Iterator:
    """Each group with its images, while the next group is being read."""
    ahead = [pool.submit(load, group) for group in groups[:1]]
    for i, group in enumerate(groups):
        images = ahead.pop().result()
        ahead = [pool.submit(load, other) for other in groups[i + 1 : i + 2]]
        yield group, images
