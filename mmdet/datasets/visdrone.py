"""VisDrone-DET: ten classes seen from a drone, as COCO JSON or in the layout of the original release."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..errors import ConfigError, DataError
from ..formats.coco import match_classes
from ..formats.images import IMAGE_SUFFIXES, BrokenImageError, images_by_stem
from ..formats.visdrone import IGNORED_REGION, OTHERS, VISDRONE_CLASSES, read_visdrone_rows, text_files
from ..registry import DATASETS
from .account import (
    CUT,
    UNANNOTATED,
    UNREADABLE,
    UNREADABLE_IMAGE,
    USED,
    count_cut,
    fates_of_boxes,
)
from .coco import CocoDataset, make_records

__all__ = ['IGNORED_REGION', 'IMAGE_SUFFIXES', 'OTHERS', 'VisDroneDataset', 'read_visdrone_rows']


@DATASETS.register_module()
class VisDroneDataset(CocoDataset):
    """VisDrone-DET. Zhu et al., TPAMI 2021.

    With a JSON file as ``ann_file`` it is a ``CocoDataset``. With a folder it reads the original release: one ``.txt`` an image in
    ``ann_file``, the images in ``data_prefix['img']`` (default: the folder ``images`` beside the annotations). Images are ordered by name,
    ``img_id`` is the position in that order. Widths and heights come from the image headers. Ignored regions (category 0), others (11)
    and rows with score 0 become boxes with ``ignore_flag`` 1. An image counts as annotated if it has a row of one of the classes. In evaluation
    the folder may hold no ``.txt`` file, or ``ann_file`` be empty: then all images are taken, without objects (the test-challenge set).

    Args:
        ignored_regions: ``'drop'`` leaves out the boxes with ``ignore_flag`` 1 (as the JSON converter of UFPMP-Det does) and ``'ignore'``
            keeps them. Original layout only.
        **kwargs: see ``CocoDataset``.
    """

    METAINFO = {
        'classes': VISDRONE_CLASSES,
        'palette': [
            (230, 57, 70), (255, 159, 28), (46, 196, 182), (66, 135, 245), (120, 94, 240), (139, 195, 74), (255, 209, 102),
            (176, 113, 74), (216, 27, 196), (0, 200, 255),
        ],
    }  # fmt: skip

    def __init__(self, *args: Any, ignored_regions: str = 'ignore', **kwargs: Any):
        if ignored_regions not in ('ignore', 'drop'):
            raise ConfigError("must be 'ignore' or 'drop'", field='ignored_regions', received=ignored_regions)
        self.ignored_regions = ignored_regions
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Records of the JSON file or of the annotation folder."""
        if isinstance(self.ann_file, list) or not os.path.isdir(self.ann_file):
            return super().load_data_list()
        if self.test_mode and not text_files(self.ann_file, 'annotation'):
            message = f'{self.ann_file} holds no .txt file: the images are taken without annotations'
            print_log(message, logger='current', level=logging.WARNING)
            return self._unannotated_images(self._image_dir())
        classes = self._metainfo['classes']
        label_of = match_classes(classes, VISDRONE_CLASSES, self.ann_file, allow_missing=self.allow_missing_classes)
        self._keep_categories(range(1, len(VISDRONE_CLASSES) + 1), label_of)
        images = list(self._native_images())
        paths, sizes, tables = zip(*images) if images else ((), (), ())
        rows = np.repeat(np.arange(len(paths)), list(map(len, tables)))  # (n,)
        table = np.concatenate([np.zeros((0, 8)), *tables])  # (n, 8)
        sizes_wh = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        categories = table[:, 5].astype(np.int64)
        labels = np.array([-1, *label_of, -1])[categories]
        ignore = (categories == IGNORED_REGION) | (categories == OTHERS) | (table[:, 4] == 0)
        self.cat_img_map = {
            category: np.unique(rows[(labels == label) & ~ignore]).tolist()
            for category, label in self.cat2label.items()
        }
        shape = fates_of_boxes(table[:, :4], sizes_wh[rows], border_margin=self.border_margin)
        keep = (shape == USED) & ((labels >= 0) | ignore)
        if self.ignored_regions == 'drop':
            keep &= ~ignore
        fates = fates_of_boxes(
            table[:, :4],
            sizes_wh[rows],
            unknown=(labels < 0) & ~ignore,
            ignored=ignore,
            border_margin=self.border_margin,
        )
        used = fates == USED
        self._account.images += len(paths)
        self._account.add_fates(fates)
        self._account.note(CUT, count_cut(table[used, :4], sizes_wh[rows[used]]))
        return make_records(
            paths=paths,
            image_ids=range(len(paths)),
            sizes_wh=sizes_wh,
            rows=rows[keep],
            bboxes_xywh=table[keep, :4],
            labels=np.maximum(labels[keep], 0),  # an ignored region has no class
            ignore=ignore[keep],
        )

    def _joins_files(self) -> bool:
        return super()._joins_files() and not any(map(os.path.isdir, self.ann_file))

    def _image_dir(self) -> Path:
        """The folder of the images, that of the config or the one beside the annotations."""
        image_dir = Path(self.image_prefix)
        if not self.image_prefix or image_dir == Path(self.data_root):
            image_dir = Path(self.ann_file).parent / 'images'
        if not image_dir.is_dir():
            raise DataError("no such image folder; set data_prefix=dict(img='...')", file=image_dir)
        return image_dir

    def _native_images(self) -> Iterator[tuple[str, tuple[int, int], np.ndarray]]:
        """Image path, (width, height) and annotation rows (n, 8), by name."""
        annotation_dir = Path(self.ann_file)
        image_dir = self._image_dir()
        images = images_by_stem(image_dir)
        files = text_files(annotation_dir, 'annotation', at_least_one=True)
        unannotated = sorted(set(images) - set(files))
        if unannotated:
            left_out = f'{len(unannotated)} images without annotation file are left out, the first: {unannotated[0]}'
            print_log(f'{image_dir}: {left_out}', logger='current', level=logging.WARNING)
            self._account.images += len(unannotated)
            self._account.leave_out_images(UNANNOTATED, len(unannotated))
        for stem, file in files.items():
            path = images.get(stem, image_dir / f'{stem}.jpg')
            table = read_visdrone_rows(file)
            try:
                size_wh = self.size_of_image(path)
            except BrokenImageError as error:
                if not self.skip_broken:
                    raise
                self._dropped_images.append(str(path))
                self._account.images += 1
                self._account.leave_out_images(UNREADABLE, 1)
                self._account.boxes += len(table)
                self._account.leave_out(UNREADABLE_IMAGE, len(table))
                print_log(f'Skipped a broken image: {error}', logger='current', level=logging.WARNING)
                continue
            yield str(path), size_wh, table
