"""pycocotools' ``COCO`` under the names of mmdetection, for data sets of plug-ins. The data sets of this package read through ``formats``."""

from collections import defaultdict
from typing import Any

from pycocotools.coco import COCO as PycocoCOCO
from pycocotools.cocoeval import COCOeval

from .coco import area_of

__all__ = ['COCO', 'COCOeval']


class COCO(PycocoCOCO):
    """``pycocotools.coco.COCO`` with methods in snake case.

    Args:
        annotation_file: path of a JSON file; None makes an empty index.

    Attributes:
        img_ann_map: image id -> its annotations.
        cat_img_map: category id -> ids of the images of its annotations, one for each annotation.
    """

    def __init__(self, annotation_file: str | None = None):
        super().__init__(annotation_file=annotation_file)
        self.img_ann_map: defaultdict = self.imgToAnns
        self.cat_img_map: defaultdict = self.catToImgs

    def createIndex(self) -> None:  # noqa: N802  (pycocotools' name)
        """Index the annotations; an area that is missing or not above 0 is that of the box first."""
        for annotation in self.dataset.get('annotations', ()):
            if 'bbox' in annotation:
                annotation['area'] = area_of(annotation)
        super().createIndex()

    def get_ann_ids(
        self, img_ids: Any = (), cat_ids: Any = (), area_rng: Any = (), iscrowd: bool | None = None
    ) -> list:
        """Ids of the annotations of some images and categories, all of them where none are given, within an area range."""
        return self.getAnnIds(img_ids, cat_ids, area_rng, iscrowd)

    def get_cat_ids(self, cat_names: Any = (), sup_names: Any = (), cat_ids: Any = ()) -> list:
        """Ids of the categories of some names, super-categories or ids, in the order of the file."""
        return self.getCatIds(cat_names, sup_names, cat_ids)

    def get_img_ids(self, img_ids: Any = (), cat_ids: Any = ()) -> list:
        """Ids of the images among ``img_ids`` that have all of ``cat_ids``."""
        return self.getImgIds(img_ids, cat_ids)

    def load_anns(self, ids: Any) -> list[dict]:
        """The annotations of one id or several."""
        return self.loadAnns(ids)

    def load_cats(self, ids: Any) -> list[dict]:
        """The categories of one id or several."""
        return self.loadCats(ids)

    def load_imgs(self, ids: Any) -> list[dict]:
        """The images of one id or several."""
        return self.loadImgs(ids)
