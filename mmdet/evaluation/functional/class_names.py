"""Classes of public data sets by the names of the data sets, as mmdetection 3.x writes them (without spaces)."""

from mmdet.formats.class_names import CITYSCAPES_CLASSES, COCO_CLASSES, VOC_CLASSES


def coco_classes() -> list[str]:
    """The 80 classes of COCO, an underscore in the place of each space."""
    return [name.replace(' ', '_') for name in COCO_CLASSES]


def voc_classes() -> list[str]:
    """The 20 classes of PASCAL VOC."""
    return list(VOC_CLASSES)


def cityscapes_classes() -> list[str]:
    """The 8 classes of Cityscapes that have instances."""
    return list(CITYSCAPES_CLASSES)


dataset_aliases = {
    'coco': ['coco', 'mscoco', 'ms_coco'],
    'voc': ['voc', 'pascal_voc', 'voc07', 'voc12'],
    'cityscapes': ['cityscapes'],
}
_CLASSES = {'coco': coco_classes, 'voc': voc_classes, 'cityscapes': cityscapes_classes}


def get_classes(dataset: str) -> list[str]:
    """The classes of a data set, by one of the names in ``dataset_aliases``.

    Raises:
        TypeError: ``dataset`` is no str.
        ValueError: an unknown name.
    """
    if not isinstance(dataset, str):
        raise TypeError(f'dataset must be a str. Received: {type(dataset).__name__}')
    for name, aliases in dataset_aliases.items():
        if dataset in aliases:
            return _CLASSES[name]()
    raise ValueError(f'Unrecognized dataset: {dataset}')
