"""CrowdHuman: people in crowds. Shao et al., 2018, arXiv 1805.00123."""

import os
from typing import Any

from ..errors import DataError
from ..formats.crowdhuman import CrowdHumanImage, read_id_hw, read_odgt
from ..formats.images import image_size
from ..registry import DATASETS
from .base_det_dataset import BaseDetDataset


@DATASETS.register_module()
class CrowdHumanDataset(BaseDetDataset):
    """CrowdHuman as it is released: ``annotation_train.odgt`` and a folder of images, ``data_prefix=dict(img='Images')``.

    The object is the whole body (``fbox``). Boxes that are no person (tag ``mask``) or marked to be ignored get ``ignore_flag`` 1 and the label
    -1. Each record's object keeps ``fbox``, ``hbox`` and ``vbox``, as far as they are there, as lists xyxy.

    Args:
        data_root: folder of the data set.
        ann_file: the annotations, in ``data_root``.
        extra_ann_file: JSON file with [height, width] for each ID. By default ``id_hw_train.json`` or ``id_hw_val.json`` in
            ``data_root``, by the name of ``ann_file``, if there is one; otherwise the headers of the images are read.
        **kwargs: see ``BaseDetDataset``. ``filter_cfg`` drops nothing, as in mmdetection.

    Raises:
        DataError: a file is missing or broken, or ``extra_ann_file`` lacks an image.
    """

    METAINFO = {'classes': ('person',), 'palette': [(220, 20, 60)]}

    def __init__(self, data_root: str, ann_file: str, extra_ann_file: str | None = None, **kwargs: Any):
        self.extra_ann_file = extra_ann_file
        super().__init__(data_root=data_root, ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Records in the order of the file."""
        images, path = read_odgt(self.ann_file), self._sizes_file()
        sizes = {} if path is None else read_id_hw(path)
        if path is not None and (lacking := [image.image_id for image in images if image.image_id not in sizes]):
            raise DataError('the sizes of images are missing', file=path, received=lacking[:3])
        return [self._record(image, sizes.get(image.image_id)) for image in images]

    def _sizes_file(self) -> str | None:
        if self.extra_ann_file is not None:
            given = os.path.join(self.data_root or '', self.extra_ann_file)
            return self.extra_ann_file if os.path.exists(self.extra_ann_file) else given
        name = os.path.basename(self.ann_file)
        split = next((split for split in ('train', 'val') if split in name), None)
        path = os.path.join(self.data_root or '', f'id_hw_{split}.json')
        return path if split is not None and os.path.exists(path) else None

    def _record(self, image: CrowdHumanImage, size_hw: tuple[int, int] | None) -> dict:
        path = os.path.join(self.data_prefix.get('img', ''), f'{image.image_id}.jpg')
        height, width = size_hw or image_size(path, self.backend_args)[::-1]
        instances = []
        for item in image.boxes:
            ignored = item.ignored or item.tag not in self.metainfo['classes']
            boxes = {name: list(corners) for name, corners in item.boxes.items()}
            label = -1 if ignored else self.metainfo['classes'].index(item.tag)
            instances.append(dict(bbox=boxes['fbox'], bbox_label=label, ignore_flag=int(ignored), **boxes))
        return dict(img_id=image.image_id, img_path=path, height=height, width=width, instances=instances)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of record ``idx`` that are not ignored."""
        return [label for label in super().get_cat_ids(idx) if label >= 0]
