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
from ..formats.images import IMAGE_SUFFIXES, BrokenImageError, image_size, images_by_stem
from ..formats.visdrone import IGNORED_REGION, OTHERS, VISDRONE_CLASSES, read_visdrone_rows, text_files
from ..registry import DATASETS
from .coco import CocoDataset, make_records, usable_boxes

__all__ = ['IGNORED_REGION', 'IMAGE_SUFFIXES', 'OTHERS', 'VisDroneDataset', 'read_visdrone_rows']


@DATASETS.register_module()
class VisDroneDataset(CocoDataset):
    """VisDrone-DET. Zhu et al., TPAMI 2021.

    With a JSON file as ``ann_file`` it is a ``CocoDataset``. With a folder it reads the original release: one ``.txt`` an image in
    ``ann_file``, the images in ``data_prefix['img']`` (default: the folder ``images`` beside the annotations). Images are ordered by name,
    ``img_id`` is the position in that order. Widths and heights come from the image headers. Ignored regions (category 0), others (11)
    and rows with score 0 become boxes with ``ignore_flag`` 1. An image counts as annotated if it has a row of one of the classes.

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
        if not os.path.isdir(self.ann_file):
            return super().load_data_list()
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
        keep = usable_boxes(table[:, :4], sizes_wh[rows], self.border_margin) & ((labels >= 0) | ignore)
        if self.ignored_regions == 'drop':
            keep &= ~ignore
        return make_records(
            paths=paths,
            image_ids=range(len(paths)),
            sizes_wh=sizes_wh,
            rows=rows[keep],
            bboxes_xywh=table[keep, :4],
            labels=np.maximum(labels[keep], 0),  # an ignored region has no class
            ignore=ignore[keep],
        )

    def _native_images(self) -> Iterator[tuple[str, tuple[int, int], np.ndarray]]:
        """Image path, (width, height) and annotation rows (n, 8), by name."""
        annotation_dir = Path(self.ann_file)
        image_dir = Path(self.image_prefix)
        if not self.image_prefix or image_dir == Path(self.data_root):
            image_dir = annotation_dir.parent / 'images'
        if not image_dir.is_dir():
            raise DataError("no such image folder; set data_prefix=dict(img='...')", file=image_dir)
        images = images_by_stem(image_dir)
        files = text_files(annotation_dir, 'annotation', at_least_one=True)
        unannotated = sorted(set(images) - set(files))
        if unannotated:
            left_out = f'{len(unannotated)} images without annotation file are left out, the first: {unannotated[0]}'
            print_log(f'{image_dir}: {left_out}', logger='current', level=logging.WARNING)
        for stem, file in files.items():
            path = images.get(stem, image_dir / f'{stem}.jpg')
            table = read_visdrone_rows(file)
            try:
                size_wh = image_size(path, self.backend_args)
            except BrokenImageError as error:
                if not self.skip_broken:
                    raise
                self._dropped_images.append(str(path))
                print_log(f'Skipped a broken image: {error}', logger='current', level=logging.WARNING)
                continue
            yield str(path), size_wh, table
